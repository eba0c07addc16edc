"""How much of its owner's collateral a guard would have to take, beside what the owner lets it take. Pure.

An exchange is only asked once the guard may act; so this reckons with the worst trade that the owner's own settings
allow, by the protocol's prices: more is never taken. An allowance for all of a deposit is enough whatever happens.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from monitor.core.errors import LevmonError
from monitor.core.types import Health, Known, Leg, Side
from monitor.core.units import BPS, format_units
from monitor.pipeline.guardians import Protection
from monitor.policy.fall import falling_prices
from monitor.policy.levels import decimal
from monitor.protocols.aave_v3.guard import GuardState
from monitor.protocols.base import Protocol
from monitor.report import Report

ROOM = Fraction(11, 10)
"""What was too little must become so much more than enough, so that a price that wavers is not told block by block."""


def too_little(
    protocol: Protocol[Any, Any],
    guard: GuardState,
    report: Report,
    protection: Protection,
    context: Any,
    *,
    known: bool = False,
) -> str:
    """Why what the guard may take of any one deposit would not do for a rescue, in numbers; empty where it would.

    `known`: it was too little before. Nothing is said of an owner who lets the guard take nothing at all: that is
    another matter. Amounts are those at the rule's trigger, prices falling, and now.
    """
    position, health, wishes = report.position, report.health, guard.wishes_of(report.owner)
    if position is None or health is None or wishes is None or guard.premium_bps is None:
        return ""
    deposits = {leg.asset: leg for leg in health.legs if leg.side is Side.COLLATERAL and leg.amount and leg.value}
    allowed = {asset: guard.allowance(report.owner, asset) or 0 for asset in deposits}
    if not any(allowed.values()) or any(allowed[asset] >= leg.amount for asset, leg in deposits.items()):
        return ""
    rate = Fraction(BPS - wishes.max_slippage_bps, BPS + guard.premium_bps)
    target = protection.rule.target if "deleverage" in protection.actions else None
    try:
        prices = falling_prices(protocol, position, protection.rule.trigger)
        fallen = replace(position, prices={**position.prices, **(prices or {})})
        then = protocol.evaluate(fallen, context) if prices else health
    except LevmonError:
        return ""
    told = []
    for at_trigger in (leg for leg in then.legs if leg.side is Side.COLLATERAL and allowed.get(leg.asset)):
        may = allowed[at_trigger.asset]
        most = needed(then, at_trigger, target, rate)
        if may >= (most * ROOM if known else most):
            return ""
        now = needed(health, deposits[at_trigger.asset], target, rate)
        texts = (format_units(amount, at_trigger.decimals) for amount in (may, most, now))
        told.append((at_trigger.symbol, *texts))
    return "; ".join(
        f"the guard may take {may} {symbol}, and a rescue may need {most} at health "
        f"{decimal(protection.rule.trigger)}, {now} now"
        for symbol, may, most, now in told
    )


def needed(health: Health, leg: Leg, target: Fraction | None, rate: Fraction) -> int:
    """The most of this deposit that a sale would take to bring health to `target`, or with None to end the debt.

    `rate`: what of the value sold repays debt, at worst. Never more than the deposit. 0 where nothing is to be done.
    """
    if not isinstance(health.verdict, Known) or rate <= 0 or not leg.value:
        return 0
    worth = health.debt / rate
    if target is not None:
        now = Fraction(health.verdict.numerator, health.verdict.denominator)
        if now >= target:
            return 0
        # (weighted - sold x factor) / (debt - sold x rate) = target, in values
        gained = target * rate - (Fraction(leg.factor, 10**leg.factor_decimals) if leg.enabled else 0)
        worth = min(worth, health.debt * (target - now) / gained) if gained > 0 else worth
    return min(-(-worth * leg.amount // leg.value), leg.amount)
