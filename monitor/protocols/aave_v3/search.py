"""Bounds of the health factor over whole intervals of a price, of time or of an amount, so that no crossing is missed.

Health is not monotone: up to 3.4 the average threshold is floored to whole basis points, so a falling price can raise
it; an asset that is collateral and debt at once moves both sides; over years either side may grow faster. What is
monotone are the sums: every value grows with its price, every balance with time. Bounding the sums at both ends
bounds the health factor in between. Undecided intervals are for the caller to split; a single point is always exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

from monitor.core.actions import Step, Swap
from monitor.core.types import Address, Position
from monitor.core.units import RAY, WAD
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.account import (
    Holding,
    counted_collateral,
    counted_debt,
    covered,
    health_factor,
    holdings,
    price_of,
    reserve_threshold,
    supplied_balance,
    variable_debt_balance,
)
from monitor.protocols.aave_v3.effects import burnt_by, minted_by
from monitor.protocols.aave_v3.guarded import after, route_of, trade_of, traded
from monitor.protocols.aave_v3.liquidation import HEALTH_FACTOR_LIQUIDATION_THRESHOLD
from monitor.protocols.aave_v3.math import PERCENTAGE_FACTOR, ArithmeticReverts
from monitor.protocols.aave_v3.templates import BY_GUARD, REPAY
from monitor.protocols.aave_v3.verdict import account_of
from monitor.protocols.aave_v3.versions import TABLE, Rules
from monitor.protocols.aave_v3.words import reserve_ids
from monitor.protocols.base import Impossible

Probe = Callable[[int, int], bool | None]
"""(low, high) -> unhealthy at all of it (True), at none of it (False), or undecided (None; never if low == high)."""
GUESSES = 6
"""After so many the guess no longer moves by what matters."""


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


def _decide(rules: Rules, low: Sums, high: Sums, line: int) -> bool | None:
    """Whether health is below `line` (wad); `low` and `high` bound every value. May raise: ArithmeticReverts."""
    if rules.directed_rounding:
        return _verdict(rules, (low.weighted, high.weighted), low, high, line)
    thresholds = threshold_bounds(low, high)
    least = covered(rules, low.collateral, thresholds[0], low.weighted)
    most = covered(rules, high.collateral, thresholds[1], high.weighted)
    return _verdict(rules, (least, most), low, high, line)


def _verdict(rules: Rules, covered_: tuple[int, int], low: Sums, high: Sums, line: int) -> bool | None:
    if health_factor(rules, covered_[0], high.debt) >= line:
        return False
    return True if health_factor(rules, covered_[1], low.debt) < line else None


def _probe(rules: Rules, at: Callable[[int], Sums]) -> Probe:
    def probe(low: int, high: int) -> bool | None:
        try:
            return _decide(rules, at(low), at(high), HEALTH_FACTOR_LIQUIDATION_THRESHOLD)
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


def amount_probe(step: Step, target: Fraction, at_s: int) -> Probe:
    """Over amounts of a step, not under its least: whether health at `at_s` is `target` or more.

    Only one balance moves with the amount: all else is brought to `at_s` once. May raise: Impossible, Undecidable.
    """
    if step.intent.kind in BY_GUARD:
        return _traded_probe(step, target, at_s)
    lean = _lean(step)
    first = after(lean, step.with_amount(step.most), at_s)
    account = account_of(first, at_s)
    rules, asset, repays = account.rules, step.asset, step.intent.kind == REPAY.kind
    still = _sums(rules, ((h, price_of(h, first.prices)) for h in account.held if h.reserve.asset != asset))
    (reserve,) = (r for r in lean.state.reserves if r.asset == asset)
    (full,) = (h for h in account.held if h.reserve.asset == asset)
    price = price_of(full, first.prices)
    (owing,) = (h for h in holdings(rules, lean.state, at_s) if h.reserve.asset == asset)

    @cache
    def at(amount: int) -> Sums:
        # what `after` does to the one balance, without all that it does not change
        if repays:
            burnt = burnt_by(rules, min(amount, owing.variable_debt), full.normalized_debt)
            left = reserve.scaled_variable_debt - burnt
            holding = replace(owing, variable_debt=variable_debt_balance(rules, left, full.normalized_debt))
        else:
            minted = minted_by(rules, amount, full.normalized_income)
            grown = supplied_balance(rules, reserve.scaled_a_token + minted, full.normalized_income)
            holding = replace(full, supplied=grown)
        return _sums(rules, ((holding, price),), still)

    def probe(low: int, high: int) -> bool | None:
        less, more = at(low), at(high)
        if repays:
            less, more = replace(less, debt=more.debt), replace(more, debt=less.debt)
        return _reaches(rules, less, more, target, single=low == high)

    return probe


def _traded_probe(step: Step, target: Fraction, at_s: int) -> Probe:
    """The same where collateral pays: with the amount both the debt and the collateral shrink."""
    lean = _lean(step)
    account_of(lean, at_s)
    rules, moving = TABLE[lean.rule.version], _moving(step)
    target = _with_room(step, target)

    @cache
    def held(amount: int) -> tuple[tuple[Holding, int], ...]:
        intent = step.with_amount(amount)
        trade = trade_of(lean, intent, at_s)
        state = traded(lean, route_of(lean.state, intent), trade, at_s, checked=False)
        return tuple((h, price_of(h, lean.prices)) for h in holdings(rules, state, at_s))

    def bound(amount: int, sign: int) -> Sums:
        return _sums(rules, ((_jittered(holding, moving, sign), price) for holding, price in held(amount)))

    def single(amount: int) -> bool:
        try:
            changed = after(lean, step.with_amount(amount), at_s)
        except Impossible:
            return False
        sums = _sums(rules, ((h, price_of(h, changed.prices)) for h in holdings(rules, changed.state, at_s)))
        return bool(_reaches(rules, sums, sums, target, single=True))

    def probe(low: int, high: int) -> bool | None:
        if low == high:
            return single(low)
        # collateral between what is left after much and after little, debt too; neither goes with the other here
        return _reaches(rules, bound(high, -1), bound(low, 1), target, single=False)

    return probe


def amount_guess(step: Step, target: Fraction, at_s: int) -> int | None:
    """Where weighted collateral over debt is the target, if nothing were rounded. May raise: Undecidable."""
    lean = _lean(step)
    account = account_of(lean, at_s)
    sums = _sums(account.rules, ((h, price_of(h, lean.prices)) for h in account.held))
    (holding,) = (h for h in account.held if h.reserve.asset == step.asset)
    if not step.price:
        return None
    if step.swap is not None:
        return _traded_guess(step, step.swap, sums, target, account.held)
    # the debt, or the weighted collateral, that would be right; each times the target's denominator or numerator
    if step.intent.kind == REPAY.kind:
        unit = PERCENTAGE_FACTOR * target.numerator
        value = sums.debt * unit - sums.weighted * target.denominator
    else:
        unit = max(holding.threshold, 1) * target.denominator
        value = sums.debt * PERCENTAGE_FACTOR * target.numerator - sums.weighted * target.denominator
    return value * holding.unit // (unit * step.price)


def _traded_guess(step: Step, swap: Swap, sums: Sums, target: Fraction, held: Iterable[Holding]) -> int | None:
    """The exchange's price moves with the amount: from one guess to the next."""
    threshold = next(
        (h.threshold if h.enabled else 0 for h in held if h.reserve.asset == swap.collateral and h.supplied), 0
    )
    missing = sums.debt * target - Fraction(sums.weighted, PERCENTAGE_FACTOR)
    unit, amount = 10**step.decimals, step.most
    for _ in range(GUESSES):
        if amount <= 0:
            return None
        paid = Fraction(swap.sold.at(amount) * swap.price * unit, 10**swap.decimals * amount * step.price)
        gain = target - paid * Fraction(threshold, PERCENTAGE_FACTOR)
        if gain <= 0:
            return None
        amount = min(int(Fraction(missing * unit, gain * step.price)), step.most)
    return amount


def moment_probe(step: Step, target: Fraction, amount: int) -> Probe:
    """Over the timestamps at which a step of `amount` may land: whether health right after it is `target` or more.

    The average threshold in whole basis points (up to 3.4) can tip over between two moments that are both well. May
    raise: Impossible, Undecidable.
    """
    rules, intent, lean = TABLE[step.position.rule.version], step.with_amount(amount), _lean(step)
    moving, target = _moving(step), _with_room(step, target)

    @cache
    def held(moment_s: int) -> tuple[tuple[Holding, int], ...]:
        changed = after(lean, intent, moment_s)
        return tuple((h, price_of(h, changed.prices)) for h in holdings(rules, changed.state, moment_s))

    def beside(moment_s: int, sign: int) -> Sums:
        # shares are rounded at an index that moves, so the changed balance jitters by units while the others grow
        return _sums(rules, ((_jittered(holding, moving, sign), price) for holding, price in held(moment_s)))

    def probe(low: int, high: int) -> bool | None:
        if low == high:
            exact = _sums(rules, held(low))
            return _reaches(rules, exact, exact, target, single=True)
        return _reaches(rules, beside(low, -1), beside(high, 1), target, single=False)

    return probe


def _lean(step: Step) -> Position:
    """The position without reserves in which the owner has no bit set, but for the step's own."""
    state = step.position.state
    ids = set(reserve_ids(state.user_configuration))
    kept = tuple(reserve for reserve in state.reserves if reserve.id in ids or reserve.asset == step.asset)
    return replace(step.position, state=replace(state, reserves=kept))


def _reaches(rules: Rules, low: Sums, high: Sums, target: Fraction, *, single: bool) -> bool | None:
    line = -(-target.numerator * WAD // target.denominator)
    try:
        below = _decide(rules, low, high, line)
    except ArithmeticReverts:
        return False if single else None
    return None if below is None else not below


def _with_room(step: Step, target: Fraction) -> Fraction:
    """The target that is enough also where the exchange takes less than foreseen.

    More collateral is left then, never less. But up to 3.4 the average threshold loses up to one basis point, and may
    just then: so much more is aimed at.
    """
    rules, state = TABLE[step.position.rule.version], step.position.state
    if step.swap is None or rules.directed_rounding:
        return target
    used = (r for r in state.reserves if words.is_using_as_collateral(state.user_configuration, r.id))
    thresholds = (reserve_threshold(rules, reserve, state.category) for reserve in used)
    least = min((threshold for threshold in thresholds if threshold > 1), default=0)
    return target * Fraction(least, least - 1) if least else target


def _moving(step: Step) -> frozenset[Address]:
    """The assets whose balances the step changes."""
    return frozenset({step.asset, *([step.swap.collateral] if step.swap else [])})


def _jittered(holding: Holding, moving: frozenset[Address], sign: int) -> Holding:
    """A changed holding off its smooth course by more than rounding to whole shares and units ever takes it.

    A trade rounds twice to shares, when aTokens leave and when the rest is supplied, each time by half of one at most
    (from 3.5 by one, and both to the owner's harm).
    """
    if holding.reserve.asset not in moving:
        return holding
    units = sign * 2 * (max(holding.normalized_income, holding.normalized_debt) // RAY + 2)
    supplied, debt = max(holding.supplied + units, 0), max(holding.variable_debt + units, 0)
    return replace(holding, supplied=supplied, variable_debt=debt)
