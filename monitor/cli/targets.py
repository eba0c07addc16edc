"""From options, environment and file to what is asked of which chain. Asks nothing itself.

`--market` accepts a name in the file, then a known deployment's name, then PROTOCOL:ADDRESS[/ID]. Owners given on the
command line replace those of the file; whoever is named twice is asked about once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.core.address import looks_like_address, parse_address
from monitor.core.deployments import parse_market
from monitor.core.errors import ConfigError
from monitor.core.secret import RpcUrl, rpc_urls
from monitor.core.thresholds import DEFAULT, Thresholds
from monitor.core.types import Address, MarketRef

if TYPE_CHECKING:
    from monitor.core.config import ChainConfig, Config, MarketConfig


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a command line asked for, as typed."""

    config_file: Path | None = None
    markets: tuple[str, ...] = ()
    chain: str | None = None
    rpc_urls: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    watch: Fraction | None = None
    warn: Fraction | None = None
    critical: Fraction | None = None
    file_owners: bool = True
    """whether, without owners, those of the file are meant"""
    every_market: bool = False
    """whether, without --market, markets without a position in the file are meant too"""


@dataclass(frozen=True, slots=True)
class Owner:
    """`who` is a checksummed address, or an ENS name still to be resolved; `name` is what to call it."""

    who: str
    name: str
    thresholds: Thresholds

    @property
    def unresolved(self) -> bool:
        """An ENS name."""
        return not looks_like_address(self.who)


@dataclass(frozen=True, slots=True)
class MarketTarget:
    """One market and whose positions in it."""

    name: str
    protocol: str
    address: Address
    id: str | None
    owners: tuple[Owner, ...]

    def ref(self, chain_id: int) -> MarketRef:
        """The market on that chain."""
        return MarketRef(chain_id, self.protocol, self.address, self.id)


@dataclass(frozen=True, slots=True)
class ChainTarget:
    """One chain, how to reach it, and what to ask there. `chain_id` is None when only the node can tell."""

    name: str
    chain_id: int | None
    urls: tuple[RpcUrl, ...]
    ws: tuple[RpcUrl, ...] = ()
    quorum: int = 0
    markets: tuple[MarketTarget, ...] = ()
    block_time_s: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Targets:
    """Everything that was asked for. `ens` is the chain that resolves names, None when nothing needs it."""

    chains: tuple[ChainTarget, ...]
    config: Config | None = None
    ens: ChainTarget | None = None
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """A market that was named, before owners are known."""

    name: str
    chain: str | None
    chain_id: int | None
    protocol: str
    address: Address
    id: str | None


def one_position(text: str, wanted: Wanted) -> Wanted:
    """POSITION as typed: its id, MARKET/OWNER, or OWNER with --market or a file. May raise: ConfigError."""
    market, slash, owner = text.rpartition("/")
    if not slash:
        return replace(wanted, owners=(text,))
    if wanted.markets:
        raise ConfigError(f"{text!r} names its market already", hint="leave --market out")
    return replace(wanted, markets=(market,), owners=(owner,))


ETHEREUM = 1


def resolve(wanted: Wanted, env: Mapping[str, str] | None = None) -> Targets:
    """What to ask of whom. May raise: ConfigError."""
    env = os.environ if env is None else env
    config, path = _load(wanted, env)
    places = [_place(text, config, wanted.chain) for text in dict.fromkeys(wanted.markets)]
    if not places:
        places = _places_of_file(config, wanted)
    chains: dict[str, ChainTarget] = {}
    for place in places:
        target = _chain(place, config, wanted, env)
        known = chains.setdefault(target.name, target)
        owners = _owners(place, config, wanted)
        market = MarketTarget(place.name, place.protocol, place.address, place.id, owners)
        chains[target.name] = replace(known, markets=(*known.markets, market))
    if wanted.rpc_urls and len(chains) > 1:
        raise ConfigError(
            f"--rpc-url is one chain's, and the markets are on {len(chains)}: {', '.join(chains)}",
            hint="name the markets of one chain with --market",
        )
    needs_ens = any(o.unresolved for chain in chains.values() for market in chain.markets for o in market.owners)
    return Targets(tuple(chains.values()), config, _ens(config, chains, env) if needs_ens else None, path)


def _load(wanted: Wanted, env: Mapping[str, str]) -> tuple[Config | None, Path | None]:
    path = wanted.config_file or Path("levmon.toml")
    if wanted.config_file is None and not path.exists():
        return None, None
    from monitor.core import config  # pydantic: only where there is a file

    return config.load(path, env), path


# -- markets ---------------------------------------------------------------------------------------------------------


def _place(text: str, config: Config | None, chain: str | None) -> _Place:
    found = _place_in_file(config, lambda market: market.name == text) if config else None
    if found is not None:
        return found
    named = parse_market(text)
    chain_id = named.chain_id
    if chain_id is None and chain is not None:
        chain_id = config.chains[chain].chain_id if config and chain in config.chains else _chain_id(chain)
    if config is None:
        return _Place(named.name, None, chain_id, named.protocol, named.address, named.id)
    found = _place_in_file(
        config,
        lambda market: (
            (market.protocol, market.address, market.id) == (named.protocol, named.address, named.id)
            and chain_id in (None, config.chain_of(market).chain_id)
        ),
    )
    if found is not None:
        return found  # under its own name, so that the file's thresholds hold
    if chain_id is None and len(config.chains) == 1:
        chain_id = next(iter(config.chains.values())).chain_id
    entry = next((key for key, value in config.chains.items() if value.chain_id == chain_id), None)
    return _Place(named.name, entry, chain_id, named.protocol, named.address, named.id)


def _place_in_file(config: Config, fits: Callable[[MarketConfig], bool]) -> _Place | None:
    for market in config.markets:
        if fits(market):
            chain_id = config.chain_of(market).chain_id
            return _Place(market.name, market.chain, chain_id, market.protocol, market.address, market.id)
    return None


def _chain_id(text: str) -> int:
    from monitor.chain.chains import chain_id_of

    return chain_id_of(text)


def _places_of_file(config: Config | None, wanted: Wanted) -> list[_Place]:
    if config is None:
        raise ConfigError(
            "no market is named, and there is no levmon.toml here",
            hint="name one with --market (see `levmon protocols aave-v3`), or write a file with `levmon config init`",
        )
    names = [market.name for market in config.markets]
    if not wanted.owners and wanted.file_owners and not wanted.every_market:
        used = {position.market for position in config.positions}
        names = [name for name in names if name in used]
        if not names:
            raise ConfigError("the file names no position", hint="give an OWNER, or add [[positions]] to the file")
    if not names:
        raise ConfigError("the file names no market", hint="add [[markets]] to it, or give --market")
    return [_place(name, config, None) for name in names]


# -- chains ----------------------------------------------------------------------------------------------------------


def _chain(place: _Place, config: Config | None, wanted: Wanted, env: Mapping[str, str]) -> ChainTarget:
    entry = config.chains[place.chain] if config is not None and place.chain is not None else None
    if entry is not None and place.chain is not None:
        return _configured(place.chain, entry, wanted, env)
    urls = rpc_urls(place.chain_id, (), wanted.rpc_urls, env)
    name = "" if place.chain_id is None else str(place.chain_id)
    return ChainTarget(name, place.chain_id, urls)


def _configured(name: str, entry: ChainConfig, wanted: Wanted, env: Mapping[str, str]) -> ChainTarget:
    urls = rpc_urls(entry.chain_id, entry.rpc, wanted.rpc_urls, env)
    own = urls == entry.rpc  # quorum and WebSocket belong to the endpoints in the file, not to others given for a run
    return ChainTarget(
        name,
        entry.chain_id,
        urls,
        entry.ws if own else (),
        entry.quorum if own else 0,
        (),
        entry.block_time_s,
    )


def _ens(config: Config | None, chains: Mapping[str, ChainTarget], env: Mapping[str, str]) -> ChainTarget:
    for target in chains.values():
        if target.chain_id == ETHEREUM:
            return replace(target, markets=())
    for name, entry in config.chains.items() if config else ():
        if entry.chain_id == ETHEREUM:
            return _configured(name, entry, Wanted(), env)
    if env.get(f"LEVMON_RPC_{ETHEREUM}"):
        return ChainTarget("ethereum", ETHEREUM, rpc_urls(ETHEREUM, (), (), env))
    raise ConfigError(
        "an ENS name needs an Ethereum endpoint to be resolved",
        hint="add [chains.ethereum] with chain_id = 1 and rpc, or set LEVMON_RPC_1, or give the 0x address",
    )


# -- owners ----------------------------------------------------------------------------------------------------------


def _owners(place: _Place, config: Config | None, wanted: Wanted) -> tuple[Owner, ...]:
    in_file: dict[str, Thresholds] = {}
    typed: dict[str, str] = {}
    if config is not None:
        for position in config.positions:
            who = config.owner(position.owner)
            typed.setdefault(who, position.owner)
            if position.market == place.name:
                in_file[who] = config.thresholds(position)
    asked = list(in_file) if wanted.file_owners else []
    if wanted.owners:
        pairs = [(config.owner(text) if config else parse_owner(text), text) for text in wanted.owners]
        typed |= {who: text for who, text in pairs if not looks_like_address(text)}
        asked = list(dict.fromkeys(who for who, _ in pairs))
    base = config.thresholds() if config else DEFAULT
    return tuple(Owner(who, _called(who, typed, config), _overruled(in_file.get(who, base), wanted)) for who in asked)


def _called(who: str, typed: Mapping[str, str], config: Config | None) -> str:
    name = typed.get(who, "")
    if not name or looks_like_address(name):
        name = config.label(who) if config else ""
    return name


def parse_owner(text: str) -> str:
    """An address checksummed, or an ENS name as it is, without a file. May raise: ConfigError."""
    if looks_like_address(text):
        return parse_address(text)
    if "." in text.strip("."):
        return text.lower()
    raise ConfigError(
        f"unknown owner {text!r}", hint="write a 0x address or an ENS name; labels come from [addresses] of a file"
    )


def _overruled(base: Thresholds, wanted: Wanted) -> Thresholds:
    thresholds = Thresholds(
        base.watch if wanted.watch is None else wanted.watch,
        base.warn if wanted.warn is None else wanted.warn,
        base.critical if wanted.critical is None else wanted.critical,
    )
    wrong = thresholds.wrong()
    if wrong:
        raise ConfigError(wrong, hint="give --watch, --warn and --critical in order")
    return thresholds
