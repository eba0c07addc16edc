"""Bounds of the health factor over whole intervals of one price, or of time, so that a search misses no crossing.

Health is not monotone: up to 3.4 the average threshold is floored to whole basis points, so a falling price can raise
it; an asset that is collateral and debt at once moves both sides; over years either side may grow faster. What is
monotone are the sums: every value grows with its price, every balance with time. Bounding the sums at both ends
bounds the health factor in between. Undecided intervals are for the caller to split; a single point is always exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from monitor.core.types import Position
from monitor.protocols.aave_v3.account import (
    Holding,
    counted_collateral,
    counted_debt,
    covered,
    health_factor,
    holdings,
    price_of,
)
from monitor.protocols.aave_v3.liquidation import HEALTH_FACTOR_LIQUIDATION_THRESHOLD
from monitor.protocols.aave_v3.math import ArithmeticReverts
from monitor.protocols.aave_v3.verdict import account_of
from monitor.protocols.aave_v3.versions import TABLE, Rules

Probe = Callable[[int, int], bool | None]
"""(low, high) -> unhealthy at all of it (True), at none of it (False), or undecided (None; never if low == high)."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Collateral by parts (value in base units, threshold in basis points), and debt in base units."""

    parts: tuple[tuple[int, int], ...]
    collateral: int
    weighted: int
    debt: int


def _sums(rules: Rules, priced: Iterable[tuple[Holding, int]], start: Sums | None = None) -> Sums:
    """`start` and what each holding adds at its price. May raise: ArithmeticReverts."""
    parts, debt = (list(start.parts), start.debt) if start else ([], 0)
    for holding, price in priced:
        parts.append((counted_collateral(holding, price), holding.threshold))
        debt += counted_debt(rules, holding, price)
    return Sums(tuple(parts), sum(value for value, _ in parts), sum(v * threshold for v, threshold in parts), debt)


def threshold_bounds(low: Sums, high: Sums) -> tuple[int, int]:
    """The least and the most average threshold in whole basis points, if each part is anywhere between its two values.

    The mean is least when the parts under it are large and those above it small, so one of the splits of the parts in
    order of threshold has it.
    """
    spans = sorted(
        (threshold, least, most) for (least, threshold), (most, _) in zip(low.parts, high.parts, strict=True)
    )
    least_mean = _extreme(min, [(threshold, most, least) for threshold, least, most in spans])
    most_mean = _extreme(max, [(threshold, least, most) for threshold, least, most in spans])
    return least_mean, most_mean


def _extreme(pick: Callable[[list[int]], int], spans: list[tuple[int, int, int]]) -> int:
    """Over all splits: parts before it at their first value, parts from it on at their second."""
    means = []
    collateral = sum(second for _, _, second in spans)
    weighted = sum(threshold * second for threshold, _, second in spans)
    for threshold, first, second in [(0, 0, 0), *spans]:
        collateral += first - second
        weighted += threshold * (first - second)
        means.append(weighted // collateral if collateral else 0)
    return pick(means)


def _decide(rules: Rules, low: Sums, high: Sums) -> bool | None:
    """`low` and `high` bound every value in between. May raise: ArithmeticReverts."""
    if rules.directed_rounding:
        return _verdict(rules, (low.weighted, high.weighted), low, high)
    thresholds = threshold_bounds(low, high)
    least = covered(rules, low.collateral, thresholds[0], low.weighted)
    most = covered(rules, high.collateral, thresholds[1], high.weighted)
    return _verdict(rules, (least, most), low, high)


def _verdict(rules: Rules, covered_: tuple[int, int], low: Sums, high: Sums) -> bool | None:
    if health_factor(rules, covered_[0], high.debt) >= HEALTH_FACTOR_LIQUIDATION_THRESHOLD:
        return False
    return True if health_factor(rules, covered_[1], low.debt) < HEALTH_FACTOR_LIQUIDATION_THRESHOLD else None


def _probe(rules: Rules, at: Callable[[int], Sums]) -> Probe:
    def probe(low: int, high: int) -> bool | None:
        try:
            return _decide(rules, at(low), at(high))
        except ArithmeticReverts:
            # where the contract cannot compute nobody is liquidated; an interval that only ends there must be split
            return False if low == high else None

    return probe


def price_probe(position: Position, key: str, at_s: int | None = None) -> Probe:
    """Over prices of `key`, all else equal. May raise: Undecidable."""
    account = account_of(position, at_s)
    moving = [h for h in account.held if h.price_key == key]
    others = ((h, price_of(h, position.prices)) for h in account.held if h.price_key != key)
    still = _sums(account.rules, others)
    return _probe(
        account.rules,
        cache(lambda price: _sums(account.rules, ((holding, price) for holding in moving), still)),
    )


def time_probe(position: Position) -> Probe:
    """Over timestamps in seconds, not before the position's own block, at constant prices. May raise: Undecidable."""
    account_of(position)
    rules, state = TABLE[position.rule.version], position.state

    @cache
    def at(moment_s: int) -> Sums:
        held = holdings(rules, state, moment_s)
        return _sums(rules, ((holding, price_of(holding, position.prices)) for holding in held))

    return _probe(rules, at)
