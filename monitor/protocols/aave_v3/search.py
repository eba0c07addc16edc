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
from monitor.protocols.aave_v3.math import HALF_PERCENTAGE_FACTOR, PERCENTAGE_FACTOR, ArithmeticReverts
from monitor.protocols.aave_v3.verdict import account_of
from monitor.protocols.aave_v3.versions import TABLE, Rules

Probe = Callable[[int, int], bool | None]
"""(low, high) -> unhealthy at all of it (True), at none of it (False), or undecided (None; never if low == high)."""


MAX_THRESHOLD = 2**16 - 1
"""What fits a configuration's bits."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Collateral and debt in base units, and collateral weighted by threshold."""

    collateral: int = 0
    weighted: int = 0
    debt: int = 0

    @property
    def threshold(self) -> int:
        """The average threshold in whole basis points."""
        return self.weighted // self.collateral if self.collateral else 0


def _sums(rules: Rules, priced: Iterable[tuple[Holding, int]], start: Sums) -> Sums:
    """`start` and what each holding adds at its price. May raise: ArithmeticReverts."""
    collateral, weighted, debt = start.collateral, start.weighted, start.debt
    for holding, price in priced:
        value = counted_collateral(holding, price)
        collateral += value
        weighted += value * holding.threshold
        debt += counted_debt(rules, holding, price)
    return Sums(collateral, weighted, debt)


def _decide(rules: Rules, low: Sums, high: Sums, thresholds: tuple[int, int]) -> bool | None:
    """`low` and `high` bound every sum in between; `thresholds` bound the average threshold."""
    try:
        least = covered(rules, low.collateral, thresholds[0], low.weighted)
        most = covered(rules, high.collateral, thresholds[1], high.weighted)
        if low != high and not rules.directed_rounding:
            # collateral times average, floored, is between weighted - collateral and weighted
            least = max(least, (low.weighted - high.collateral) // PERCENTAGE_FACTOR)
            most = min(most, (high.weighted + HALF_PERCENTAGE_FACTOR) // PERCENTAGE_FACTOR)
        worst = health_factor(rules, least, high.debt)
        best = health_factor(rules, most, low.debt)
    except ArithmeticReverts:
        # where the contract cannot compute nobody is liquidated; an interval that only ends there must be split
        return False if low == high else None
    if worst >= HEALTH_FACTOR_LIQUIDATION_THRESHOLD:
        return False
    return True if best < HEALTH_FACTOR_LIQUIDATION_THRESHOLD else None


def price_probe(position: Position, key: str, at_s: int | None = None) -> Probe:
    """Over prices of `key`, all else equal. May raise: Undecidable."""
    account = account_of(position, at_s)
    rules = account.rules
    moving = [h for h in account.held if h.price_key == key]
    still = _sums(rules, ((h, price_of(h, position.prices)) for h in account.held if h.price_key != key), Sums())

    @cache
    def at(price: int) -> Sums:
        return _sums(rules, ((holding, price) for holding in moving), still)

    def probe(low: int, high: int) -> bool | None:
        try:
            bottom, top = at(low), at(high)
        except ArithmeticReverts:
            return False if low == high else None
        # all that moves has one threshold, so the average moves one way only between the ends
        return _decide(rules, bottom, top, _between(bottom.threshold, top.threshold))

    return probe


def _between(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one <= other else (other, one)


def time_probe(position: Position) -> Probe:
    """Over timestamps in seconds, not before the position's own block, at constant prices. May raise: Undecidable."""
    account_of(position)
    rules, state = TABLE[position.rule.version], position.state

    @cache
    def at(moment_s: int) -> Sums:
        held = holdings(rules, state, moment_s)
        return _sums(rules, ((holding, price_of(holding, position.prices)) for holding in held), Sums())

    def probe(low: int, high: int) -> bool | None:
        try:
            before, after = at(low), at(high)
        except ArithmeticReverts:
            return False if low == high else None
        if low == high:
            return _decide(rules, before, after, (before.threshold, after.threshold))
        least = before.weighted // after.collateral if after.collateral else 0
        most = after.weighted // before.collateral if before.collateral else MAX_THRESHOLD
        return _decide(rules, before, after, (least, most))

    return probe
