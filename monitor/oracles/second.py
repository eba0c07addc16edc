"""A second opinion on an asset's price: an aggregator on the same chain that the protocol does not ask.

Never decides health, which the protocol's own price does. It warns; and while the two are too far apart, or the second
itself is old or cannot be read, nothing is sold at either. Chainlink's interface (latestRoundData, decimals).
"""

from __future__ import annotations

from dataclasses import dataclass

from monitor.core.types import Address, Call, Ok, ReadPlan
from monitor.core.units import BPS, format_ratio, format_units

MAX_DECIMALS = 77
"""More have no place in 256 bits."""


@dataclass(frozen=True, slots=True)
class SecondSource:
    """Where a second price is, how far the protocol's may be from it, and how old it may be."""

    source: Address
    max_gap_bps: int = 200
    max_age_s: int = 90_000


@dataclass(frozen=True, slots=True)
class SecondPrice:
    """What a second source says at a block. None: it could not be read."""

    source: SecondSource
    answer: int | None = None
    decimals: int | None = None
    updated_at: int | None = None


def read_second(source: SecondSource) -> ReadPlan[SecondPrice]:
    """One round. No call fails the plan."""
    names = ("latestRoundData", "decimals")
    rounds, decimals = yield tuple(Call(source.source, f"price_source.{name}", allow_revert=True) for name in names)
    if not isinstance(rounds, Ok) or not isinstance(decimals, Ok):
        return SecondPrice(source)
    _, answer, _, updated_at, _ = rounds.values
    return SecondPrice(source, answer, decimals.values[0], updated_at)


def doubt(symbol: str, price: int, decimals: int, second: SecondPrice, now_s: int) -> str:
    """Why nothing should be traded at the protocol's `price`, in words; empty while the second source confirms it."""
    answer, places, at_s = second.answer, second.decimals, second.updated_at
    if answer is None or places is None or at_s is None or places > MAX_DECIMALS:
        return f"{symbol}: the second price source cannot be read"
    if answer <= 0 or at_s == 0 or at_s > now_s:
        return f"{symbol}: the second price source has no valid answer"
    if now_s - at_s > second.source.max_age_s:
        return f"{symbol}: the second price source is stale, {now_s - at_s} s old"
    ours, theirs = price * 10**places, answer * 10**decimals
    gap = abs(ours - theirs)
    if gap * BPS <= second.source.max_gap_bps * theirs:
        return ""
    side = "above" if ours > theirs else "below"
    return (
        f"{symbol}: the protocol's price {format_units(price, decimals)} is {format_ratio(gap * 100, theirs, 2)} % "
        f"{side} the second source's {format_units(answer, places)}"
    )
