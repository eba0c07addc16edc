"""What is read of a market beside what its protocol goes by: second price sources, at the same block in the same round.

Knows which sources the file names. Decides nothing of health: what comes of it are warnings, and doubts at which
nothing is traded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from monitor.core.plan import gather
from monitor.core.types import Address, MarketRef, ReadPlan
from monitor.oracles.second import SecondPrice, SecondSource, doubt, read_second

if TYPE_CHECKING:
    from monitor.core.config import Config


@dataclass(frozen=True, slots=True)
class Sources:
    """What to read beside one market. `second`: by the asset's symbol or address."""

    second: Mapping[str, SecondSource] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Beside:
    """What was read. `second`: by the same names."""

    second: Mapping[str, SecondPrice] = field(default_factory=dict)


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
        found[config.ref(market)] = Sources(second)
    return found


def read_beside(sources: Sources) -> ReadPlan[Beside]:
    """No call fails the plan."""
    plans: list[ReadPlan[Any]] = [read_second(source) for source in sources.second.values()]
    found: list[Any] = yield from gather(plans)
    return Beside(dict(zip(sources.second, found, strict=True)))


def doubts(
    beside: Beside, prices: Mapping[Address, int], symbols: Mapping[Address, str], decimals: int, now_s: int
) -> dict[Address, str]:
    """By asset: why nothing is to be traded at its price. `prices` are the protocol's, with `decimals`."""
    found = {}
    for name, second in beside.second.items():
        for asset, price in prices.items():
            symbol = symbols.get(asset, asset)
            if name.lower() not in (asset.lower(), symbol.lower()):
                continue
            if why := doubt(symbol, price, decimals, second, now_s):
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
