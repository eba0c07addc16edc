"""Whether the purse could do its job if it were needed now: each rescue thought through while its position is well.

The position is put at prices at which its rule would just act, and the planner is asked as it would be then, within the
limits of one action and, where that may be soon, of what the day leaves. Nothing is decided by it: it is told,
so that tokens, allowances and limits are mended before they are needed. What exchanges would take at other prices
nobody knows; so what the owner's own collateral could do is no part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from monitor.core.actions import Plan
from monitor.core.errors import LevmonError
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import Known
from monitor.core.units import format_units
from monitor.execution.fees import Urgency, offer
from monitor.pipeline.acting import fee_policy
from monitor.pipeline.beside import NOTHING
from monitor.pipeline.events import Unready
from monitor.pipeline.guardians import PURSE, Guardian, Protection
from monitor.pipeline.plans import Options, Outlook, best, options, plan_for, why_not
from monitor.pipeline.today import Rest
from monitor.policy.fall import falling_prices
from monitor.policy.levels import below, decimal
from monitor.policy.planner import Proposal, shown
from monitor.protocols.base import Protocol
from monitor.report import Report

RECHECK_S = 600
"""Of chain time: what a market's prices and debts do in between is told that much later."""
NEAR = Fraction(5, 4)
"""Within this of its trigger a position may need its rescue today: so far prices have fallen in a day."""
AT_ONCE = 4
"""So many rescues are thought through at a head, those first that were not for longest."""


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a rescue would not reach its target; `helpless`: it could not even begin. "": it would reach it."""

    why: str = ""
    helpless: bool = False


def lacking(
    seen: Outlook, report: Report, guardian: Guardian, protection: Protection, rest: Rest | None = None
) -> Lack | None:
    """What a rescue from the purse would lack, were prices to fall until the rule acts. Pure.

    `rest`: what is left of today's limits; it is minded where the position is near. None where nothing can be said: the
    rule would act already, no fall makes it act, or it pays nothing from the purse.
    """
    state, position = seen.snapshot.markets.get(report.subject.ref), report.position
    protection = replace(protection, actions=tuple(one for one in protection.actions if one in PURSE))
    if position is None or report.health is None or state is None or state.known is None or not protection.actions:
        return None
    if not isinstance(report.health.verdict, Known):
        return None
    protocol: Protocol[Any, Any] = protocol_named(report.subject.ref.protocol)
    rule = protection.rule
    try:
        prices = falling_prices(protocol, position, rule.trigger)
        if not prices:
            return None
        fallen = replace(position, prices={**position.prices, **prices})
        then = replace(report, position=fallen, health=protocol.evaluate(fallen, state.context))
        # what other sources say of a price that nobody has seen yet is no doubt about it
        markets = {**seen.snapshot.markets, report.subject.ref: replace(state, beside=NOTHING)}
        seen = replace(seen, snapshot=replace(seen.snapshot, markets=markets))
        found = plan_for(seen, then, guardian, protection, rule.target)
        lack = _told(found, protection, report)
        if lack.why or rest is None or not below(report.health.verdict, NEAR * rule.trigger):
            return lack
        found = plan_for(seen, then, guardian, protection, rule.target, left=rest.amounts)
        lack = _told(found, protection, report)
    except LevmonError:
        return None
    if lack.why:
        steps = options(seen, then, guardian, 1).steps
        have = {one.symbol: format_units(rest.amounts.get(one.asset, 0), one.decimals) for one in steps if one.purse}
        amounts = ", ".join(f"{amount} {symbol}" for symbol, amount in have.items()) or "nothing"
        return replace(lack, why=f"within what is left of today's limits ({amounts}), {lack.why}")
    return _without_gas(best(found), guardian, rest)


def _without_gas(plan: Plan | None, guardian: Guardian, rest: Rest) -> Lack:
    """Whether the day's gas pays for the first step, at what would be offered for it now."""
    if plan is None:
        return Lack()
    policy = fee_policy(guardian)
    fee_wei = min(offer(plan.block.base_fee or 0, 0, Urgency.PRESSING, policy).max_fee_wei, guardian.max_fee_wei)
    wanted_wei = plan.limits.gas * fee_wei + plan.limits.l1_data_fee_wei
    if wanted_wei <= rest.gas_wei:
        return Lack()
    return Lack(f"{rest.gas_wei} wei are left of today's gas, and it would need {wanted_wei}", helpless=True)


def _told(found: Proposal, protection: Protection, report: Report) -> Lack:
    if found.plans or found.ladder:
        return Lack()
    rule, reasons = protection.rule, why_not(found, protection.kinds(report.subject.ref.protocol))
    if not found.partial:
        return Lack(f"below {decimal(rule.trigger)} nothing could be done from the purse: {reasons}", helpless=True)
    reached = f"from {decimal(rule.trigger)} health would only come to {shown(found.partial[0].expected)}"
    return Lack(f"{reached}, not to {decimal(rule.target)}: {reasons}")


@dataclass(slots=True)
class Readiness:
    """What was said of each position, so that it is said again only when it is otherwise."""

    guardian: Guardian
    _told: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    """by position: whether anything is lacking, and whether that is everything"""
    _known: dict[str, tuple[object, int]] = field(default_factory=dict)
    """by position, those first that were looked at longest ago: what its purse could pay, and when"""

    def look(
        self,
        seen: Outlook,
        of: Mapping[str, tuple[Report, Options, Protection]],
        rest: Callable[[str, Options], Rest | None] = lambda *_: None,
    ) -> list[Unready]:
        """What began to be lacking, or no longer is, among the positions that are due at this head.

        `rest`: what is left of today's limits, where that is known.
        """
        block = seen.snapshot.block
        if block is None:
            return []
        means = {one: (protection.rule, _means(choice)) for one, (_, choice, protection) in of.items()}
        due = [one for one in of if self._is_due(one, means[one], block.timestamp)]
        due.sort(key=lambda one: self._known.get(one, (None, 0))[1])
        events = []
        for position_id in due[:AT_ONCE]:
            report, choice, protection = of[position_id]
            self._known[position_id] = means[position_id], block.timestamp
            lack = lacking(seen, report, self.guardian, protection, rest(position_id, choice))
            if lack is None:
                continue
            now = bool(lack.why), lack.helpless
            if now != self._told.get(position_id, (False, False)):
                self._told[position_id] = now
                events.append(Unready(report.subject, lack.why, lack.helpless))
        return events

    def _is_due(self, position_id: str, means: object, now_s: int) -> bool:
        known, at_s = self._known.get(position_id, (None, 0))
        return known != means or now_s - at_s >= RECHECK_S


def _means(choice: Options) -> tuple[object, ...]:
    """What the purse has, and may pay where that is less."""
    return tuple(
        (step.key, step.purse, step.remedy is not None, step.most if step.remedy is not None else 0)
        for step in choice.steps
        if step.swap is None and not step.closes
    )
