"""Brings random borrowers of a local Morpho Blue market to random targets with planned transactions, and keeps count.

The planner says what to do, a guardian sends just that at a random second of the plan's time, and what the contract
then answers (shares, collateral, totals, and its verdict as liquidate() gives it) is compared with what was planned.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from monitor.core.actions import Plan, Step
from monitor.core.types import Position
from monitor.policy.planner import Proposal, Terms, propose
from monitor.protocols.morpho_blue import PROTOCOL
from monitor.protocols.morpho_blue.math import State
from monitor.protocols.morpho_blue.rescue import Purse
from monitor.protocols.morpho_blue.templates import REPAY, SUPPLY
from monitor.testing.devchain import CallReverted
from monitor.testing.morpho_lab import MorphoLab, health_of
from monitor.testing.rescues import BAND, MARGIN_S, Tally, calldata, summary

TERMS = Terms(max_fee_per_gas_wei=10**9, native_price=2_000 * 10**6, margin_s=MARGIN_S, least_value=10**4)
LOWEST = Fraction(9, 10)


async def rescue_all(lab: MorphoLab, cases: int) -> list[Tally]:
    """So many cases of either kind, each from the same snapshot."""
    tallies = []
    for kind in (REPAY.kind, SUPPLY.kind):
        tally = Tally("1.0.0", kind)
        for _ in range(cases):
            snapshot = lab.local.snapshot()
            tally.cases += 1
            await _case(lab, tally)
            lab.local.revert(snapshot)
        tallies.append(tally)
    return tallies


async def _case(lab: MorphoLab, tally: Tally) -> None:
    target = Fraction(lab.random.randrange(10_500, 25_000), 10_000)
    owner = await lab.endangered(LOWEST, target)
    position, purse, proposal = await _propose(lab, tally.kind, owner, target)
    if proposal.plans and lab.random.random() < 0.02:
        _take_away(lab, proposal.plans[0])
        position, purse, proposal = await _propose(lab, tally.kind, owner, target)
    if not proposal.plans:
        own = [refusal.reason for refusal in proposal.refused if refusal.key.startswith(tally.kind)]
        tally.refused[summary(own or [proposal.note]).partition(" only ")[0]] += 1
        return
    (plan,) = proposal.plans
    step = next(s for s in _steps(lab, position, purse) if s.intent.kind == tally.kind)
    at_s = position.block.timestamp + lab.random.randrange(1, MARGIN_S + 1)
    lab.local.set_next_timestamp(at_s)
    try:
        lab.local.send_data(lab.guardian, plan.intent.to, calldata(plan.intent))
    except CallReverted as reverted:
        tally.wrong.append(f"{plan.why}: the contract says {reverted.reason}")
        return
    tally.sent += 1
    now, _ = await lab.read(owner)
    predicted = PROTOCOL.after(position, plan.intent, at_s)
    if decisive(predicted) == decisive(now) and await lab.healthy_on_chain(owner) == (health_of(now) >= 1):
        tally.exact += 1
    else:
        tally.wrong.append(f"{plan.why}: {decisive(now)} is not {decisive(predicted)}")
    _judge(tally, plan, step, target, health_of(now))


def decisive(position: Position) -> tuple[object, ...]:
    """All of a borrower's state that an action changes at once."""
    state: State = position.state
    return state.totals, state.borrow_shares, state.collateral


async def _propose(lab: MorphoLab, kind: str, owner: str, target: Fraction) -> tuple[Position, Purse, Proposal]:
    position, purse = await lab.read(owner)
    terms = replace(TERMS, kinds=(kind,))
    return position, purse, propose(PROTOCOL, lab.facts, position, purse, target, terms)


def _steps(lab: MorphoLab, position: Position, purse: Purse) -> list[Step]:
    return PROTOCOL.rescue_steps(lab.facts, position, purse, position.block.timestamp + MARGIN_S)


def _take_away(lab: MorphoLab, plan: Plan) -> None:
    """Leave too little of what the plan needs, in the purse or of its allowance."""
    least = lab.random.randrange(plan.amount)
    if lab.random.random() < 0.5:
        lab.local.send(lab.guardian, plan.asset, "approve(address,uint256)", lab.market.morpho, least)
        return
    (held,) = lab.local.call(plan.asset, "balanceOf(address)", "(uint256)", lab.guardian)
    lab.local.send(lab.guardian, plan.asset, "transfer(address,uint256)", lab.market.admin, held - least)


def _judge(tally: Tally, plan: Plan, step: Step, target: Fraction, health: Fraction) -> None:
    if health < target:
        tally.wrong.append(f"{plan.why}: only {float(health)}")
    elif not _is_smallest(step, plan.amount, target):
        tally.wrong.append(f"{plan.why}: less would do")
    elif health <= target * BAND:
        tally.in_band += 1
    else:
        tally.by_least_step += 1


def _is_smallest(step: Step, amount: int, target: Fraction) -> bool:
    """One unit less does not reach the target at one of the moments, or is less than the smallest step."""
    worth = (amount - 1) * step.price // 10**step.decimals
    if amount - 1 < step.least or worth < TERMS.least_value:
        return True
    now_s = step.position.block.timestamp
    probe = PROTOCOL.reaches_between_times(step, target, amount - 1)
    return any(probe(at_s, at_s) is False for at_s in range(now_s + MARGIN_S, now_s, -1))
