"""What a guardian could do for a borrower of Aave V2 from its purse: repay variable debt, or add to what counts.

Stable debt is told, and left alone. V2 has no caps; one pause stops everything, a frozen reserve takes no deposit. Of
the pool's cash what is held of each collateral is read too: a liquidation takes it out. Needs no permission from the
owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from monitor.core.actions import Intent, Step, Template
from monitor.core.types import Address, Call, Ok, Position, ReadPlan
from monitor.core.units import RAY, UINT256_MAX
from monitor.protocols.aave_v2.math import Facts, Reserve, State, balances, getNormalizedIncome, stored_debt_index
from monitor.protocols.aave_v2.templates import REPAY, SUPPLY
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.math import ArithmeticReverts, rayMul
from monitor.protocols.purse import CALLS, Held, bounded, held, held_calls

GAS = 500_000
"""A generous bound, set by hand; the simulation at the newest block decides whether it is enough."""


@dataclass(frozen=True, slots=True)
class Purse:
    """A guardian's tokens, and of each what the pool has in cash; None where unread."""

    guardian: Address
    tokens: tuple[tuple[Address, Held], ...]
    cash: tuple[tuple[Address, int | None], ...]

    def of(self, asset: Address) -> Held:
        return dict(self.tokens).get(asset, Held(None, None))

    def cash_of(self, asset: Address) -> int | None:
        return dict(self.cash).get(asset)


def read_purse(facts: Facts, guardian: Address, positions: Sequence[Position]) -> ReadPlan[Purse]:
    """See Protocol.rescue_context. One round."""
    used = {one.asset for position in positions for one in position.state.reserves}
    places = [(one.asset, one.a_token) for one in facts.reserves if one.asset in used]
    assets = [asset for asset, _ in places]
    if not assets:
        return Purse(guardian, (), ())
    answers = yield (
        *(call for asset in assets for call in held_calls(asset, guardian, facts.pool)),
        *(Call(asset, "erc20.balanceOf", (holder,), allow_revert=True) for asset, holder in places),
    )
    tokens = [(asset, held(answers[CALLS * at : CALLS * (at + 1)])) for at, asset in enumerate(assets)]
    cash = [answer.values[0] if isinstance(answer, Ok) else None for answer in answers[CALLS * len(assets) :]]
    return Purse(guardian, tuple(tokens), tuple(zip(assets, cash, strict=True)))


def steps(facts: Facts, position: Position, purse: Purse, until_s: int) -> list[Step]:
    """See Protocol.rescue_steps: repayments, then deposits, in the order of the reserves."""
    state: State = position.state
    return [
        *(_repayment(facts, position, purse, one) for one in state.reserves if one.borrowing),
        *(_deposit(facts, position, purse, one, until_s) for one in state.reserves if one.counts),
    ]


def _repayment(facts: Facts, position: Position, purse: Purse, reserve: Reserve) -> Step:
    step, now_s = _blank(facts, position, REPAY, reserve), position.block.timestamp
    if step.refused:
        return step
    try:
        due = balances(reserve, now_s)
        # a rest stays where suppliers earn nothing: the contract counts the debt higher than what it then burns from
        most = min(due.variable_debt, rayMul(reserve.scaled_variable_debt, stored_debt_index(reserve, now_s)))
        least = _least(stored_debt_index(reserve, now_s))
    except ArithmeticReverts as reverts:
        return replace(step, refused=f"the contract's own arithmetic reverts: {reverts}")
    if not due.variable_debt:
        return replace(step, refused=f"the owner's debt in {step.symbol} is stable, which is not repaid here")
    return _bounded(facts, replace(step, least=least), purse, most, "the debt", "58: so little burns nothing")


def _deposit(facts: Facts, position: Position, purse: Purse, reserve: Reserve, until_s: int) -> Step:
    step = _blank(facts, position, SUPPLY, reserve)
    if step.refused:
        return step
    if words.frozen(reserve.configuration):
        return replace(step, refused=f"3: {step.symbol} is frozen")
    try:
        # the index grows, so what mints something last mints something first
        least = _least(getNormalizedIncome(reserve, until_s))
    except ArithmeticReverts as reverts:
        return replace(step, refused=f"the contract's own arithmetic reverts: {reverts}")
    return _bounded(facts, replace(step, least=least), purse, UINT256_MAX, "what a balance can be", "")


def _least(index: int) -> int:
    """The least amount that is not rounded to nothing by rayDiv, which rounds halves up."""
    return -(-(index // 2) // RAY) or 1


def _bounded(facts: Facts, step: Step, purse: Purse, most: int, limited_by: str, least: str) -> Step:
    return bounded(step, purse.of(step.asset), most, limited_by, taker=facts.pool, called="the pool", least=least)


def _blank(facts: Facts, position: Position, template: Template, reserve: Reserve) -> Step:
    state: State = position.state
    refused = "2: the reserve is not active" if not words.active(reserve.configuration) else ""
    return Step(
        position=position,
        intent=Intent(
            kind=template.kind,
            chain_id=position.block.chain_id,
            position_id=position.id,
            owner=position.owner,
            to=facts.pool,
            args={"asset": reserve.asset, "amount": 0},
        ),
        asset=reserve.asset,
        symbol=reserve.facts.symbol,
        decimals=reserve.facts.decimals,
        price=position.prices.get(reserve.asset, 0),
        least=1,
        most=0,
        gas=GAS,
        refused="64: the pool is paused" if state.paused else refused,
    )
