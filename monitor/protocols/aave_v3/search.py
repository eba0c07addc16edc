"""Bounds of the health factor over whole intervals of one price, or of time, so that a search misses no crossing.

Health is not monotone: up to 3.4 the average threshold is floored to whole basis points, so a falling price can raise
it; an asset that is collateral and debt at once moves both sides; over years either side may grow faster. What is
monotone are the sums: every value grows with its price, every balance with time. Bounding the sums at both ends
bounds the health factor in between. Undecided intervals are for the caller to split; a single point is always exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from monitor.core.types import Position
from monitor.core.units import UINT256_MAX
from monitor.protocols.aave_v3.account import Holding, Valued, health_factor, holdings, price_of, valued
from monitor.protocols.aave_v3.liquidation import HEALTH_FACTOR_LIQUIDATION_THRESHOLD
from monitor.protocols.aave_v3.math import ArithmeticReverts
from monitor.protocols.aave_v3.verdict import account_of
from monitor.protocols.aave_v3.versions import TABLE, Rules

Probe = Callable[[int, int], bool | None]
"""(low, high) -> unhealthy at all of it (True), at none of it (False), or undecided (None; never if low == high)."""


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


def _plus(sums: Sums, values: Sequence[Valued]) -> Sums:
    return Sums(
        sums.collateral + sum(v.collateral_value for v in values),
        sums.weighted + sum(v.collateral_value * v.holding.threshold for v in values),
        sums.debt + sum(v.debt_value for v in values),
    )


def _decide(rules: Rules, low: Sums, high: Sums, thresholds: tuple[int, int]) -> bool | None:
    """`low` and `high` bound every sum; `thresholds` bound the average threshold."""
    try:
        worst = health_factor(rules, low.collateral, thresholds[0], low.weighted, high.debt)
        best = health_factor(rules, high.collateral, thresholds[1], high.weighted, low.debt)
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
    still = _plus(Sums(), [valued(rules, h, price_of(h, position.prices)) for h in account.held if h.price_key != key])

    def at(price: int) -> Sums:
        return _plus(still, [valued(rules, holding, price) for holding in moving])

    def probe(low: int, high: int) -> bool | None:
        try:
            bottom, top = at(low), at(high)
        except ArithmeticReverts:
            return False if low == high else None
        # all that moves has one threshold, so the average moves one way only between the ends
        averages = sorted((bottom.threshold, top.threshold))
        return _decide(rules, bottom, top, (averages[0], averages[1]))

    return probe


def time_probe(position: Position) -> Probe:
    """Over timestamps in seconds, not before the position's own block, at constant prices. May raise: Undecidable."""
    account_of(position)
    rules, state = TABLE[position.rule.version], position.state

    def at(moment_s: int) -> Sums:
        held: Sequence[Holding] = holdings(rules, state, moment_s)
        return _plus(Sums(), [valued(rules, holding, price_of(holding, position.prices)) for holding in held])

    def probe(low: int, high: int) -> bool | None:
        try:
            before, after = at(low), at(high)
        except ArithmeticReverts:
            return False if low == high else None
        least = before.weighted // after.collateral if after.collateral else 0
        most = after.weighted // before.collateral if before.collateral else UINT256_MAX
        return _decide(rules, before, after, (least, most if low != high else after.threshold))

    return probe
