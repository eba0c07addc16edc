"""A local chain with real Aave V3, and others if asked: started once, found by its state file, stopped by its pid.

Everything that `scripts/localnet` does, as functions: `start`, `load`, `shock`, `standings`, `stop`, and the
levmon.toml that fits. Loopback only. Knows nothing of levmon's reading side: standings are what the contracts say.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from monitor.core.errors import ChainError, ConfigError
from monitor.testing import aave_v2, aave_v3, guard, morpho
from monitor.testing.aave_v2 import AaveV2Market
from monitor.testing.aave_v3_market import AaveMarket, Version
from monitor.testing.anvil import SCRATCH_PREFIX, AnvilDevChain, AnvilFailed, AnvilProcess
from monitor.testing.artifacts import cache_dir
from monitor.testing.child import birth_of
from monitor.testing.devchain import MAX_UINT256
from monitor.testing.guard import GuardSite
from monitor.testing.morpho import MorphoMarket
from monitor.testing.solc import AAVE_3_6, MORPHO, compile_project

DEFAULT_PORT = 8545
NAMES: Mapping[Version, str] = {"3.0": "core", "3.6": "core36"}
MARKET_AGE_S = 31 * 86_400 + 3_600  # what deploy_all lets pass, and room for its blocks
MORPHO_NAME, AAVE_V2_NAME = "morpho", "aave-v2"
BESIDE = (MORPHO_NAME, AAVE_V2_NAME)
MORPHO_PRICE = 10**16
"""Of its oracle's answers, what makes one of Aave's: a hundred-millionth of a dollar for a token."""
AAVE_V2_PRICE = 10**10
"""Of its oracle's answers, what makes a hundred-millionth of an ETH for a token."""
CONFIG_MARK = "# written by scripts/localnet"
STOP_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Localnet:
    """A running chain; `birth` tells its process from a later one with the same pid, `scratch` is anvil's directory.

    `guards` has the guard and the exchange of each market, under the market's name, where they were asked for.
    """

    port: int
    pid: int
    birth: str
    scratch: str
    block_time: int | None
    markets: Mapping[str, AaveMarket]
    guards: Mapping[str, GuardSite]
    morpho: MorphoMarket | None = None
    aave_v2: AaveV2Market | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def chain(self) -> AnvilDevChain:
        return AnvilDevChain(self.url)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "markets": {name: market.to_json() for name, market in self.markets.items()},
            "guards": {name: site.to_json() for name, site in self.guards.items()},
        }

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        return cls(
            **{
                **raw,
                "markets": {name: AaveMarket.from_json(market) for name, market in raw["markets"].items()},
                "guards": {name: GuardSite.from_json(site) for name, site in raw["guards"].items()},
                "morpho": raw["morpho"] and MorphoMarket.from_json(raw["morpho"]),
                "aave_v2": raw["aave_v2"] and AaveV2Market.from_json(raw["aave_v2"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """One borrower as getUserAccountData sees it; `health_wad` is None without debt."""

    market: str
    owner: str
    collateral_e8: int
    debt_e8: int
    health_wad: int | None


def start(
    versions: Sequence[Version],
    *,
    port: int = 0,
    block_time: int | None = None,
    own_session: bool = False,
    outlives: bool = False,
    guarded: bool = False,
    beside: Collection[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> tuple[AnvilProcess, Localnet]:
    """Anvil with one market per version, at the present time; port 0 takes a free one.

    `outlives`: see AnvilProcess. `guarded`: a guard for each too, and an exchange with a pool for every pair of assets.
    `beside`: markets of other protocols, of BESIDE.
    May raise: ConfigError (the port is taken), ProvisionFailed, AnvilFailed. Nothing is left running then.
    """
    if "3.6" in versions:
        compile_project(AAVE_3_6)
    if MORPHO_NAME in beside:
        compile_project(MORPHO)
    began_s = int(time.time()) - MARKET_AGE_S
    # people ask for any block of theirs, and so the states of all are kept
    process = AnvilProcess(port=port, timestamp=began_s, own_session=own_session, outlives=outlives, states=None)
    try:
        process.start()
    except AnvilFailed as failure:
        if "ddress already in use" in str(failure):
            hint = "choose another with --port, or end what listens there (scripts/localnet down, if it is a localnet)"
            raise ConfigError(f"port {port} is taken", hint=hint) from failure
        raise
    try:
        say(f"anvil listens on {process.url}; deploying Aave {' and '.join(versions)}")
        chain = process.chain()
        markets = aave_v3.deploy_all(chain, versions)
        guards = {}
        if guarded:
            began = time.monotonic()
            guards = {NAMES[market.version]: guard.deploy(chain, market) for market in markets}
            say(f"guards and Uniswap V3 with a pool for every pair took {time.monotonic() - began:.1f} s")
        blue = morpho.populate(chain, morpho.deploy(chain)) if MORPHO_NAME in beside else None
        old = aave_v2.populate(chain, aave_v2.deploy(chain)) if AAVE_V2_NAME in beside else None
        chain.rpc("anvil_removeBlockTimestampInterval")
        chain.set_next_timestamp(int(time.time()))
        for market in markets:
            aave_v3.refresh_prices(chain, market)
        if block_time is not None:
            chain.rpc("evm_setIntervalMining", block_time)
        chain.close()
        named = {NAMES[market.version]: market for market in markets}
        birth, scratch = birth_of(process.pid) or "", str(process.scratch)
        return process, Localnet(process.port, process.pid, birth, scratch, block_time, named, guards, blue, old)
    except BaseException:
        process.stop()
        raise


def is_running(net: Localnet) -> bool:
    return net.birth != "" and birth_of(net.pid) == net.birth


def state_dir() -> Path:
    """`LEVMON_LOCALNET_STATE`, else in the cache; chains whose state lies elsewhere are not seen, and not moved."""
    chosen = os.environ.get("LEVMON_LOCALNET_STATE")
    return Path(chosen).absolute() if chosen else cache_dir() / "localnet"


def _state_file(port: int) -> Path:
    return state_dir() / f"{port}.json"


def save(net: Localnet) -> None:
    file = _state_file(net.port)
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(net.to_json()))
    fresh.replace(file)


def forget(net: Localnet) -> None:
    """Removes the state file and what anvil has put aside."""
    _state_file(net.port).unlink(missing_ok=True)
    if Path(net.scratch).name.startswith(SCRATCH_PREFIX):
        shutil.rmtree(net.scratch, ignore_errors=True)


def running() -> list[Localnet]:
    """All localnets that this user has up; state files of dead ones are removed."""
    nets = []
    for file in sorted(state_dir().glob("*.json")):
        try:
            net = Localnet.from_json(json.loads(file.read_text()))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue  # removed meanwhile, or written by another version
        if is_running(net):
            nets.append(net)
        else:
            forget(net)
    return nets


def load(port: int | None = None) -> Localnet:
    """The running localnet at `port`, or the only one. May raise ChainError: none is up, or several are."""
    nets = [net for net in running() if port is None or net.port == port]
    if len(nets) == 1:
        return nets[0]
    if nets:
        ports = ", ".join(str(net.port) for net in nets)
        raise ChainError(f"several localnets are up, on ports {ports}", hint="say which one: --port PORT")
    where = "" if port is None else f" on port {port}"
    raise ChainError(f"no localnet is up{where}", hint="start one: scripts/localnet up --background")


def stop(net: Localnet) -> bool:
    """Ends exactly the process that was started; False if it was gone. May raise ChainError: it would not end."""
    if not is_running(net):
        forget(net)
        return False
    os.kill(net.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_WITHIN_S
    never = threading.Event()
    while is_running(net):
        if time.monotonic() > deadline:
            raise ChainError(f"anvil (pid {net.pid}) did not end within {STOP_WITHIN_S} s")
        never.wait(0.02)  # it need not be a child of ours, so there is nothing to be told by
    forget(net)
    return True


@contextmanager
def at_once(net: Localnet) -> Iterator[AnvilDevChain]:
    """The chain, mining each transaction as it comes; afterwards it mines as it did before."""
    chain = net.chain()
    try:
        if net.block_time is not None:
            chain.rpc("evm_setAutomine", True)
        yield chain
    except ConnectionError as error:
        raise ChainError("the localnet does not answer", hint="scripts/localnet down, then up again") from error
    finally:
        if net.block_time is not None and is_running(net):
            chain.rpc("evm_setIntervalMining", net.block_time)
        chain.close()


def _chosen(net: Localnet, market: str | None) -> dict[str, AaveMarket]:
    if market is None:
        return dict(net.markets)
    if market not in net.markets:
        raise ConfigError(f"no market {market!r} on this localnet", hint=f"it has {', '.join(net.markets)}")
    return {market: net.markets[market]}


def shock(net: Localnet, changes: Mapping[str, str], market: str | None = None) -> list[tuple[str, str, int, int]]:
    """Moves prices in one market or in all that list the asset; answers (market, symbol, before, after).

    May raise ConfigError: an unknown asset or a bad percentage; no price has moved then.
    """
    blue = net.morpho if market in (None, MORPHO_NAME) else None
    old = net.aave_v2 if market in (None, AAVE_V2_NAME) else None
    chosen = {} if market and (blue or old) else _chosen(net, market)
    known = {symbol.upper(): symbol for entry in chosen.values() for symbol in entry.reserves}
    known |= {"WETH": "WETH"} if blue else {}
    feeds = {one.symbol: one.feed for one in old.reserves if one.feed} if old else {}
    known |= {symbol.upper(): symbol for symbol in feeds}
    wanted = {}
    for name, change in changes.items():
        if name.upper() not in known:
            raise ConfigError(f"no asset {name!r} on this localnet", hint=f"it has {', '.join(known.values())}")
        try:
            aave_v3.parse_shock(change)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        wanted[known[name.upper()]] = change
    moved = []
    with at_once(net) as chain:
        for name, entry in chosen.items():
            here = {symbol: change for symbol, change in wanted.items() if symbol in entry.reserves}
            moved += [(name, symbol, *prices) for symbol, prices in aave_v3.shock(chain, entry, here).items()]
        if old:
            for symbol, feed in feeds.items():
                if symbol in wanted:
                    was = aave_v3.price_of(chain, feed)
                    now = was * aave_v3.parse_shock(wanted[symbol]) // aave_v3.SHOCK_SCALE
                    aave_v2.set_price(chain, old, feed, now)
                    moved.append((AAVE_V2_NAME, symbol, was // AAVE_V2_PRICE, now // AAVE_V2_PRICE))
        if blue and "WETH" in wanted:
            before = morpho.price_of(chain, blue)
            after = before * aave_v3.parse_shock(wanted["WETH"]) // aave_v3.SHOCK_SCALE
            morpho.set_price(chain, blue, after)
            moved.append((MORPHO_NAME, "WETH", before // MORPHO_PRICE, after // MORPHO_PRICE))
    return moved


def standings(net: Localnet, market: str | None = None) -> list[Standing]:
    """Every borrower, the nearest to liquidation first."""
    rows = []
    with at_once(net) as chain:
        for name, entry in _chosen(net, market).items():
            for owner in entry.borrowers:
                collateral, debt, _, _, _, health = aave_v3.account_data(chain, entry, owner)
                rows.append(Standing(name, owner, collateral, debt, None if health == MAX_UINT256 else health))
    return sorted(rows, key=lambda row: MAX_UINT256 if row.health_wad is None else row.health_wad)


def config_text(net: Localnet) -> str:
    """A levmon.toml that watches every borrower of every market."""
    lines = [
        f"{CONFIG_MARK}; it is overwritten by the next one",
        "[chains.local]",
        f"chain_id = {next(iter(net.markets.values())).chain_id}",
        f'rpc = ["{net.url}"]',
        "finality = 1  # nobody reorganises this chain, and it may not mine another 64 blocks for a day",
        "",
    ]
    for name, market in net.markets.items():
        lines += [
            f"[[markets]]  # Aave {market.version}",
            f'name = "{name}"',
            'chain = "local"',
            'protocol = "aave-v3"',
            f'address = "{market.provider}"',
            "",
        ]
    people = {name: market.borrowers for name, market in net.markets.items()}
    if net.morpho:
        lines += [
            "[[markets]]  # Morpho Blue",
            f'name = "{MORPHO_NAME}"',
            'chain = "local"',
            'protocol = "morpho-blue"',
            f'address = "{net.morpho.morpho}"',
            f'id = "{net.morpho.id}"',
            "",
        ]
        people[MORPHO_NAME] = net.morpho.borrowers
    if net.aave_v2:
        lines += [
            "[[markets]]  # Aave V2",
            f'name = "{AAVE_V2_NAME}"',
            'chain = "local"',
            'protocol = "aave-v2"',
            f'address = "{net.aave_v2.provider}"',
            "",
        ]
        people[AAVE_V2_NAME] = net.aave_v2.borrowers
    for name, borrowers in people.items():
        for owner in borrowers:
            lines += ["[[positions]]", f'market = "{name}"', f'owner = "{owner}"', ""]
    return "\n".join(lines)


def check_config_path(path: Path) -> None:
    """May raise ConfigError: the file is somebody's own, and is not overwritten."""
    if path.exists() and not path.read_text().startswith(CONFIG_MARK):
        hint = "move it away, or choose another place: --config PATH"
        raise ConfigError(f"{path} exists and was not written by localnet", hint=hint)
