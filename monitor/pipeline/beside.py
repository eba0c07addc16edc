"""What is read of a market beside what its protocol goes by: second price sources, and whether a sequencer is up.

At the same block, in the state's own rounds. Knows which sources the file names, and which feeds are known. Decides
nothing of health: what comes of it are warnings, and doubts at which nothing is traded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from monitor.chain.chains import SEQUENCER_FEEDS
from monitor.core.plan import gather
from monitor.core.types import Address, MarketRef, ReadPlan
from monitor.oracles.second import SecondPrice, SecondSource, doubt, read_second
from monitor.oracles.sequencer import Sequencer, Uptime, read_uptime, remark, state_of

if TYPE_CHECKING:
    from monitor.core.config import Config


@dataclass(frozen=True, slots=True)
class Sources:
    """What to read beside one market. `second`: by the asset's symbol or address. `sequencer`: its uptime feed."""

    second: Mapping[str, SecondSource] = field(default_factory=dict)
    sequencer: Address | None = None


@dataclass(frozen=True, slots=True)
class Beside:
    """What was read. `second`: by the same names. `grace_s`: see Protocol.grace_after_outage."""

    second: Mapping[str, SecondPrice] = field(default_factory=dict)
    sequencer: Uptime | None = None
    grace_s: int | None = None


NO_SOURCES: Mapping[MarketRef, Sources] = {}
NOTHING = Beside()


def sources(config: Config | None) -> dict[MarketRef, Sources]:
    """What a file names, by market."""
    if config is None:
        return {}
    found = {}
    for market in config.markets:
        named = market.second_prices.items()
        second = {name: SecondSource(one.source, one.max_gap_bps, one.max_age_s) for name, one in named}
        chain = config.chain_of(market)
        found[config.ref(market)] = Sources(second, chain.sequencer_feed or SEQUENCER_FEEDS.get(chain.chain_id))
    return found


def sources_of(refs: Iterable[MarketRef], config: Config | None) -> dict[MarketRef, Sources]:
    """The same for these markets, in the file or not."""
    named = sources(config)
    return {ref: named.get(ref, Sources(sequencer=SEQUENCER_FEEDS.get(ref.chain_id))) for ref in refs}


def read_beside(sources: Sources, grace_s: ReadPlan[int | None]) -> ReadPlan[Beside]:
    """No call fails the plan. `grace_s` is only asked where there is a sequencer."""
    plans: list[ReadPlan[Any]] = [read_second(source) for source in sources.second.values()]
    if sources.sequencer is not None:
        plans += [read_uptime(sources.sequencer), grace_s]
    found: list[Any] = yield from gather(plans)
    second = dict(zip(sources.second, found, strict=False))
    return Beside(second) if sources.sequencer is None else Beside(second, *found[-2:])


@dataclass(frozen=True, slots=True)
class Outage:
    """What a chain's sequencer is doing, and what people should hear of it; nothing while all is as usual."""

    state: Sequencer
    text: str


def outage(found: Iterable[tuple[str, Beside]], now_s: int) -> Outage | None:
    """Of one chain's markets, by name; None where there is no sequencer to ask about."""
    worst: Sequencer | None = None
    told: dict[str, list[str]] = {}
    for name, beside in found:
        if beside.sequencer is not None:
            state = state_of(beside.sequencer, now_s, beside.grace_s)
            worst = state if worst in (None, Sequencer.UP) else worst
            told.setdefault(remark(beside.sequencer, now_s, beside.grace_s), []).append(name)
    if worst is None:
        return None
    texts = [text if len(told) == 1 else f"{', '.join(names)}: {text}" for text, names in told.items() if text]
    return Outage(worst, "; ".join(texts))


def doubts(
    beside: Beside,
    prices: Mapping[Address, int],
    symbols: Mapping[Address, str],
    decimals: Callable[[Address], int],
    now_s: int,
) -> dict[Address, str]:
    """By asset: why nothing is to be traded at its price. `prices` are the protocol's, each with its own `decimals`."""
    found = {}
    for name, second in beside.second.items():
        for asset, price in prices.items():
            symbol = symbols.get(asset, asset)
            if name.lower() not in (asset.lower(), symbol.lower()):
                continue
            if why := doubt(symbol, price, decimals(asset), second, now_s):
                found[asset] = why
    return found


def strangers_told(beside: Beside, symbols: Mapping[Address, str]) -> list[str]:
    """Second sources that are no asset of the market, in words: nobody's price is compared with theirs."""
    known = {text.lower() for pair in symbols.items() for text in pair}
    return [
        f"{name}: there is a second price source, and no such asset in this market"
        for name in beside.second
        if name.lower() not in known
    ]
