"""levmon.toml: pydantic models, and errors that name the file, the line and the fix. Numbers stay exact.

Knows the format and nothing of nodes: ENS names stay names here, a protocol is known by its registered name. Secrets
come by `${ENV}` inside strings or by `*_file`; RPC URLs show as their host. This is the only module of core that needs
pydantic, so it is imported where a configuration is read and not before.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from monitor.core import alerting, registry, toml_source
from monitor.core import guardian as protection
from monitor.core.address import looks_like_address, parse_address
from monitor.core.alerting import AlertsConfig, ChannelConfig
from monitor.core.errors import ConfigError
from monitor.core.guardian import (
    FlashConfig,
    GuardConfig,
    GuardianConfig,
    LimitsConfig,
    LiquidateConfig,
    PriceConfig,
    ProtectConfig,
)
from monitor.core.history import HistoryConfig
from monitor.core.secret import HTTP, WEBSOCKET, RpcUrl, parse_urls, split_urls
from monitor.core.thresholds import DEFAULT, Thresholds
from monitor.core.toml_model import NAME, ChecksumAddress, Exact, Name, Table, lift
from monitor.core.types import Address, MarketRef

DEFAULT_FILE = "levmon.toml"
SIZE_LIMIT = 4_000_000
_ENV = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET_KEYS = ("rpc", "ws")

HttpUrls = Annotated[tuple[RpcUrl, ...], BeforeValidator(lambda v: lift(parse_urls, v, HTTP))]
WebSocketUrls = Annotated[tuple[RpcUrl, ...], BeforeValidator(lambda v: lift(parse_urls, v, WEBSOCKET))]


class ChainConfig(Table):
    """One chain and its endpoints. `finality`: the tag, or a number of blocks, after which nothing is reorganised.

    `sequencer_feed`: Chainlink's uptime feed of a rollup, where it is not the known one.
    """

    chain_id: Annotated[int, Field(ge=1, lt=2**53)]
    rpc: HttpUrls = ()
    rpc_file: str | None = None
    ws: WebSocketUrls = ()
    ws_file: str | None = None
    quorum: Annotated[int, Field(ge=0, le=100)] = 0
    block_time_s: Exact | None = None
    finality: Literal["finalized", "safe"] | Annotated[int, Field(ge=0, le=100_000)] = "finalized"
    sequencer_feed: ChecksumAddress | None = None


class MarketConfig(Table):
    """One market: the protocol's minimal address, and an id where one contract holds many markets."""

    name: Name
    chain: str
    protocol: str
    address: ChecksumAddress
    id: Annotated[str, Field(pattern=r"^[0-9A-Za-z_.:-]{1,100}$")] | None = None
    second_prices: dict[Annotated[str, Field(min_length=1, max_length=100)], SecondPriceConfig] = Field(
        default_factory=dict
    )
    """by the asset's symbol or address"""


class SecondPriceConfig(Table):
    """[markets.second_prices.ASSET]: a Chainlink aggregator that the market does not ask, in the market's own unit.

    Where the market's price is more than `max_gap_bps` away from it, or it is older than `max_age_s`, it is told, and
    nothing is sold.
    """

    source: ChecksumAddress
    max_gap_bps: Annotated[int, Field(ge=1, le=5_000)] = 200
    max_age_s: Annotated[int, Field(ge=1, le=10_000_000)] = 90_000


class LevelsConfig(Table):
    """Thresholds for all positions that have none of their own."""

    watch: Exact | None = None
    warn: Exact | None = None
    critical: Exact | None = None

    def over(self, base: Thresholds) -> Thresholds:
        """These thresholds where given, else those of `base`."""
        return Thresholds(
            base.watch if self.watch is None else self.watch,
            base.warn if self.warn is None else self.warn,
            base.critical if self.critical is None else self.critical,
        )


class PositionConfig(LevelsConfig):
    """One position. `owner`: an address, an ENS name, or a label of [addresses]."""

    market: str
    owner: str


class Config(Table):
    """A whole levmon.toml, checked."""

    chains: dict[Name, ChainConfig] = Field(default_factory=dict)
    markets: Annotated[tuple[MarketConfig, ...], Field(strict=False)] = ()
    positions: Annotated[tuple[PositionConfig, ...], Field(strict=False)] = ()
    addresses: dict[Name, ChecksumAddress] = Field(default_factory=dict)
    levels: LevelsConfig = LevelsConfig()
    guardian: GuardianConfig | None = None
    protect: Annotated[tuple[ProtectConfig, ...], Field(strict=False)] = ()
    alerts: AlertsConfig | None = None
    history: HistoryConfig = HistoryConfig()

    def chain_of(self, market: MarketConfig) -> ChainConfig:
        """The chain of a market."""
        return self.chains[market.chain]

    def ref(self, market: MarketConfig) -> MarketRef:
        """The market as the rest of levmon names it."""
        return MarketRef(self.chain_of(market).chain_id, market.protocol, market.address, market.id)

    def thresholds(self, position: PositionConfig | None = None) -> Thresholds:
        """The thresholds in force for a position, or for any that is not in the file."""
        base = self.levels.over(DEFAULT)
        return base if position is None else position.over(base)

    def owner(self, text: str) -> str:
        """A label of [addresses] as its address, a hex address checksummed, an ENS name as it is.

        May raise: ConfigError for what is none of the three.
        """
        if text in self.addresses:
            return self.addresses[text]
        if looks_like_address(text):
            return parse_address(text)
        if "." in text and not text.startswith(".") and not text.endswith("."):
            return text.lower()
        known = ", ".join(sorted(self.addresses)) or "none"
        raise ConfigError(
            f"unknown owner {text!r}",
            hint=f"write a 0x address, an ENS name, or a label of [addresses] (known: {known})",
        )

    def label(self, owner: Address) -> str:
        """The label of an address, or nothing."""
        return next((name for name, address in self.addresses.items() if address == owner), "")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration: where, what, and how to mend it."""

    path: toml_source.Path
    what: str
    fix: str


# -- reading ---------------------------------------------------------------------------------------------------------


def load(path: Path, env: Mapping[str, str] | None = None) -> Config:
    """Read and check a file. May raise: ConfigError, which names every mistake with its line."""
    try:
        raw = path.read_bytes()[: SIZE_LIMIT + 1]
    except OSError as failed:
        raise ConfigError(
            f"cannot read {path}: {failed.strerror}",
            hint="`levmon config init` writes one; or name it with --config, or use --rpc-url and --market without one",
        ) from None
    if len(raw) > SIZE_LIMIT:
        raise ConfigError(f"{path} is larger than {SIZE_LIMIT} bytes", hint="split it into several files")
    try:
        text = raw.decode()
    except UnicodeDecodeError as failed:
        line = raw.count(b"\n", 0, failed.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text", hint="save the file as UTF-8") from None
    return parse(text, str(path), env, path.parent)


def parse(text: str, name: str = DEFAULT_FILE, env: Mapping[str, str] | None = None, base: Path = Path()) -> Config:
    """Check the text of a levmon.toml; `*_file` is relative to `base`. May raise: ConfigError with every mistake."""
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError) as wrong:
        found = re.search(r"at line (\d+)", str(wrong))
        line = found[1] if found else str(text.count("\n") + 1)
        reason = re.sub(r" \(at .*\)$", "", str(wrong))
        raise ConfigError(f"{name}:{line}: not valid TOML: {reason}", hint="mend the line; see toml.io") from None
    problems: list[Problem] = []
    expanded = _expand(document, os.environ if env is None else env, (), problems)
    config: Config | None = None
    if not problems:
        _read_secret_files(expanded, base, problems)
        try:
            config = Config.model_validate(expanded)
        except ValidationError as wrong:
            problems += _from_pydantic(wrong)
        else:
            problems += _check(config)
    if problems or config is None:
        raise _report(problems, text, name)
    return config


def _report(problems: list[Problem], text: str, name: str) -> ConfigError:
    lines = toml_source.key_lines(text)
    told = sorted({(toml_source.line_of(lines, p.path), _dotted(p.path), p.what, p.fix) for p in problems})
    shown = [f"{name}:{line}: {where}: {what}\n  {fix}" for line, where, what, fix in told[:20]]
    if len(told) > len(shown):
        shown.append(f"and {len(told) - len(shown)} more")
    return ConfigError("\n".join(shown))


def _dotted(path: toml_source.Path) -> str:
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "file"


def _expand(value: Any, env: Mapping[str, str], path: toml_source.Path, problems: list[Problem]) -> Any:
    """`${NAME}` inside strings, from the environment."""
    if isinstance(value, dict):
        return {key: _expand(item, env, (*path, key), problems) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, env, (*path, index), problems) for index, item in enumerate(value)]
    if isinstance(value, str):
        unset = sorted({name for name in _ENV.findall(value) if not env.get(name)})
        problems += [Problem(path, f"environment variable {name} is not set", f"export {name}=...") for name in unset]
        return _ENV.sub(lambda found: env.get(found[1], ""), value)
    return value


def _read_secret_files(document: dict[str, Any], base: Path, problems: list[Problem]) -> None:
    """`rpc_file` and `ws_file` hold URLs, one a line or separated by blanks; they add to those in the file."""
    chains = document.get("chains")
    for name, chain in chains.items() if isinstance(chains, dict) else ():
        for key in _SECRET_KEYS:
            file = chain.get(f"{key}_file") if isinstance(chain, dict) else None
            if not isinstance(file, str):
                continue
            path: toml_source.Path = ("chains", name, f"{key}_file")
            try:
                urls = split_urls((base / file).read_text(), WEBSOCKET if key == "ws" else HTTP)
            except (OSError, UnicodeDecodeError) as failed:
                problems.append(Problem(path, f"cannot read {file}: {failed}", "put one URL a line into it"))
            except ConfigError as wrong:
                problems.append(Problem(path, f"{file}: {wrong.message}", wrong.hint))
            else:
                given = chain.get(key, [])
                given = [given] if isinstance(given, str) else given
                if isinstance(given, list):
                    chain[key] = [*given, *(url.reveal() for url in urls)]
    _read_channel_files(document.get("alerts"), base, problems)


def _read_channel_files(alerts: Any, base: Path, problems: list[Problem]) -> None:
    """`url_file` and `secret_file` of a channel stand for its `url` and `secret`."""
    channels = alerts.get("channels") if isinstance(alerts, dict) else None
    for index, channel in enumerate(channels if isinstance(channels, list) else ()):
        for file_key, key in alerting.SECRET_FILES if isinstance(channel, dict) else ():
            file = channel.get(file_key)
            if not isinstance(file, str):
                continue
            path: toml_source.Path = ("alerts", "channels", index, file_key)
            if key in channel:
                problems.append(Problem(path, f"{key} and {file_key} are both there", "remove one of the two"))
                continue
            try:
                text = (base / file).read_text().strip()
                alerting.parse_secret(key, text)
            except (OSError, UnicodeDecodeError) as failed:
                what = failed.strerror if isinstance(failed, OSError) else "not UTF-8 text"
                problems.append(Problem(path, f"cannot read {file}: {what}", "put it into that file, beside this one"))
            except ConfigError as wrong:
                problems.append(Problem(path, f"{file}: {wrong.message}", wrong.hint))
            else:
                channel[key] = text


# -- mistakes --------------------------------------------------------------------------------------------------------

_FIXES = {
    "string_pattern_mismatch": "use letters, digits, - and _ only",
    "string_type": "write it as text in quotes",
    "int_type": "write a whole number without quotes",
    "greater_than_equal": "raise it",
    "less_than_equal": "lower it",
    "less_than": "lower it",
    "dict_type": "write it as a table, such as [chains.local]",
    "model_type": "write it as a table",
    "tuple_type": "write it as tables with double brackets, such as [[markets]]",
}


def _from_pydantic(wrong: ValidationError) -> Iterable[Problem]:
    for error in wrong.errors(include_url=False, include_input=False, include_context=False):
        # an Optional or Literal | int field adds the branch's name to the path; only keys of the document count
        path = tuple(part for part in error["loc"] if isinstance(part, int) or re.fullmatch(NAME, part))
        kind = error["type"]
        if kind == "extra_forbidden":
            known = _keys_beside(path)
            near = difflib.get_close_matches(str(path[-1]), known, 1)
            fix = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
            yield Problem(path, "unknown key", fix)
        elif kind == "missing":
            yield Problem(path, "missing", f"add {path[-1]} = ... to this table")
        elif kind == "value_error":
            what, _, fix = error["msg"].removeprefix("Value error, ").partition("\n")
            yield Problem(path, what, fix or "write a decimal number such as 1.5")
        else:
            path = path[:-1] if path and path[-1] in ("int", "str") else path
            what = error["msg"][:1].lower() + error["msg"][1:].replace("Input should", "should")
            yield Problem(path, what.replace("input should", "it should"), _FIXES.get(kind, "see the README's table"))


def _keys_beside(path: toml_source.Path) -> list[str]:
    models: dict[str, type[Table]] = {
        "chains": ChainConfig,
        "markets": MarketConfig,
        "positions": PositionConfig,
        "levels": LevelsConfig,
        "guardian": GuardianConfig,
        "protect": ProtectConfig,
        "alerts": AlertsConfig,
        "history": HistoryConfig,
    }
    model = Config if len(path) < 2 else models.get(str(path[0]), Config)
    if path[:2] == ("alerts", "channels") and len(path) > 2:
        model = ChannelConfig
    if path[:2] in (("guardian", "limits"), ("guardian", "assets")) and len(path) > 2:
        model = LimitsConfig
    if path[:2] == ("guardian", "liquidate") and len(path) > 2:
        model = FlashConfig if "flash" in path[2:-1] else LiquidateConfig
    if path[:2] == ("guardian", "guards") and len(path) > 2:
        model = GuardConfig
    if path[0] == "markets" and "second_prices" in path[:-1]:
        model = SecondPriceConfig
    if path[0] == "protect" and path[-2] in ("stop_loss", "take_profit"):
        model = PriceConfig
    return list(model.model_fields)


def _check(config: Config) -> Iterable[Problem]:
    """What no single field can know."""
    yield from _check_chains(config)
    yield from _check_markets(config)
    base = config.thresholds()
    if base.wrong():
        yield Problem(("levels",), base.wrong(), "change the one that is out of line")
    yield from _check_positions(config, levels_hold=not base.wrong())
    yield from (Problem(*mistake) for mistake in protection.check(config.guardian, config.protect))
    yield from _check_protected(config)
    yield from (Problem(*mistake) for mistake in alerting.check(config.alerts))


def _check_chains(config: Config) -> Iterable[Problem]:
    ids: dict[int, str] = {}
    for name, chain in config.chains.items():
        if chain.chain_id in ids:
            what = f"chain id {chain.chain_id} is already chain {ids[chain.chain_id]!r}"
            yield Problem(("chains", name, "chain_id"), what, "put all endpoints of a chain into one table's rpc list")
        ids.setdefault(chain.chain_id, name)
        if chain.quorum and len(chain.rpc) < 3:
            what = f"a quorum needs at least 3 endpoints, and there are {len(chain.rpc)}"
            yield Problem(("chains", name, "quorum"), what, "add endpoints to rpc, or remove quorum")
        elif chain.quorum > len(chain.rpc):
            what = f"quorum {chain.quorum} of {len(chain.rpc)} endpoints cannot be reached"
            yield Problem(("chains", name, "quorum"), what, "lower it, or add endpoints to rpc")
        if chain.block_time_s is not None and not Fraction(1, 100) <= chain.block_time_s <= 3600:
            yield Problem(
                ("chains", name, "block_time_s"), "out of range", "write the seconds between blocks, 0.01 to 3600"
            )


def _check_markets(config: Config) -> Iterable[Problem]:
    names: set[str] = set()
    places: dict[tuple[str, str, str, str | None], str] = {}
    known = sorted(registry.protocols())
    for index, market in enumerate(config.markets):
        path = ("markets", index)
        if market.name in names:
            yield Problem((*path, "name"), f"a market {market.name!r} is already there", "give it another name")
        names.add(market.name)
        if market.chain not in config.chains:
            yield Problem((*path, "chain"), f"unknown chain {market.chain!r}", _near(market.chain, config.chains))
        if market.protocol not in known:
            yield Problem((*path, "protocol"), f"unknown protocol {market.protocol!r}", _near(market.protocol, known))
        place = (market.chain, market.protocol, market.address, market.id)
        if place in places:
            yield Problem((*path, "address"), f"the same market as {places[place]!r}", "remove one of the two")
        places.setdefault(place, market.name)


def _check_positions(config: Config, *, levels_hold: bool) -> Iterable[Problem]:
    names = [market.name for market in config.markets]
    seen: dict[tuple[str, str], int] = {}
    for index, position in enumerate(config.positions):
        path = ("positions", index)
        if position.market not in names:
            yield Problem((*path, "market"), f"unknown market {position.market!r}", _near(position.market, names))
        try:
            owner = config.owner(position.owner)
        except ConfigError as wrong:
            yield Problem((*path, "owner"), wrong.message, wrong.hint)
            continue
        first = seen.setdefault((position.market, owner), index)
        if first != index:
            yield Problem((*path, "owner"), f"the same position as positions[{first + 1}]", "remove one of the two")
        wrong_order = config.thresholds(position).wrong()
        if wrong_order and levels_hold:
            given = [key for key in ("watch", "warn", "critical") if getattr(position, key) is not None]
            key = next((key for key in given if wrong_order.startswith(key)), given[0] if given else "owner")
            yield Problem((*path, key), wrong_order, "change it, or give the position the other thresholds too")


def _check_protected(config: Config) -> Iterable[Problem]:
    names = [market.name for market in config.markets]
    for index, rule in enumerate(config.protect):
        path = ("protect", index)
        if rule.market is not None and rule.market not in names:
            yield Problem((*path, "market"), f"unknown market {rule.market!r}", _near(rule.market, names))
        try:
            if rule.owner is not None:
                config.owner(rule.owner)
        except ConfigError as wrong:
            yield Problem((*path, "owner"), wrong.message, wrong.hint)
    keeper = config.guardian.liquidate if config.guardian else None
    for name in keeper.flash if keeper else ():
        if name not in names:
            yield Problem(("guardian", "liquidate", "flash", name), f"unknown market {name!r}", _near(name, names))
    for name in config.guardian.guards if config.guardian else ():
        if name not in names:
            yield Problem(("guardian", "guards", name), f"unknown market {name!r}", _near(name, names))


def _near(text: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(text, names, 1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
