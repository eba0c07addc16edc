"""What a guardian could do for a borrower of Morpho Blue from its purse: repay the loan, or supply collateral.

Both steps are bounded by what the purse holds, what Morpho may take of it and what is owed, or are refused with the
reason. Whether a token lets the purse pay at all (it may be paused, or have blocked one side) is asked of the token
itself, with the transfer that Morpho would make, of one unit. Needs no permission from the owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from monitor.core.actions import Intent, Step, Template
from monitor.core.types import Address, Answer, Call, Ok, Position, ReadPlan, Reverted
from monitor.core.units import format_units
from monitor.protocols.base import APPROVE
from monitor.protocols.morpho_blue.effects import most_repaid, totals_at
from monitor.protocols.morpho_blue.math import ORACLE_PRICE_SCALE, UINT128_MAX, Facts, Overflows, State, Token
from monitor.protocols.morpho_blue.templates import REPAY, SUPPLY

GAS = {REPAY.kind: 400_000, SUPPLY.kind: 300_000}
"""A generous bound, set by hand; the simulation at the newest block decides whether it is enough."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the purse has of a token and lets Morpho take, None where unread; `stuck`: why the token lets none go."""

    balance: int | None
    allowance: int | None
    stuck: str = ""


@dataclass(frozen=True, slots=True)
class Purse:
    """A guardian's two tokens of one market."""

    guardian: Address
    loan: Held
    collateral: Held


def read_purse(facts: Facts, guardian: Address) -> ReadPlan[Purse]:
    """See Protocol.rescue_context."""
    morpho = facts.market.address
    answers = yield [
        call
        for token in (facts.loan.address, facts.collateral.address)
        for call in (
            Call(token, "erc20.balanceOf", (guardian,), allow_revert=True),
            Call(token, "erc20.allowance", (guardian, morpho), allow_revert=True),
            Call(token, "morpho_blue.transferFrom", (guardian, morpho, 1), allow_revert=True, sender=morpho),
        )
    ]
    return Purse(guardian, _held(answers[:3]), _held(answers[3:]))


def _held(answers: Sequence[Answer]) -> Held:
    balance, allowance = (answer.values[0] if isinstance(answer, Ok) else None for answer in answers[:2])
    transfer = answers[2]
    refused = isinstance(transfer, Reverted) and balance and allowance
    return Held(balance, allowance, transfer.reason if isinstance(transfer, Reverted) and refused else "")


def market_args(facts: Facts) -> dict[str, int | str]:
    """The MarketParams as arguments of an intent."""
    return {
        "loanToken": facts.loan.address,
        "collateralToken": facts.collateral.address,
        "oracle": facts.oracle,
        "irm": facts.irm,
        "lltv": facts.lltv,
    }


def token_price(facts: Facts, position: Position, token: Token) -> int:
    """Of a whole token, in the loan token's smallest unit; 0 without one."""
    if token == facts.loan:
        return int(10**token.decimals)
    return int(position.prices.get(token.address, 0) * 10**token.decimals // ORACLE_PRICE_SCALE)


def steps(facts: Facts, position: Position, purse: Purse) -> list[Step]:
    """See Protocol.rescue_steps: the repayment, then the supply."""
    return [
        _step(facts, position, REPAY, facts.loan, purse.loan),
        _step(facts, position, SUPPLY, facts.collateral, purse.collateral),
    ]


def _step(facts: Facts, position: Position, template: Template, token: Token, held: Held) -> Step:
    blank = Step(
        position=position,
        intent=Intent(
            kind=template.kind,
            chain_id=position.block.chain_id,
            position_id=position.id,
            owner=position.owner,
            to=facts.market.address,
            args={**market_args(facts), "amount": 0},
        ),
        asset=token.address,
        symbol=token.symbol,
        decimals=token.decimals,
        price=token_price(facts, position, token),
        least=1,
        most=0,
        gas=GAS[template.kind],
    )
    if template is REPAY and position.state.borrow_shares == 0:
        return replace(blank, refused="the owner has no debt")
    if template is SUPPLY and facts.lltv == 0:
        return replace(blank, refused="the market lends nothing against its collateral: more of it does not help")
    if held.balance is None or held.allowance is None:
        return replace(blank, refused=f"the purse's {token.symbol} could not be read")
    try:
        bound, limited_by = _bound(position, template, held.balance)
    except Overflows as overflow:
        return replace(blank, refused=f"the contract's own arithmetic reverts: {overflow.message}")
    most, limited_by = min((bound, limited_by), (held.balance, "the purse"), (held.allowance, "the purse's allowance"))
    step = replace(blank, most=most, limited_by=limited_by, purse=held.balance)
    if limited_by == "the purse's allowance":
        step = replace(step, remedy=_approval(facts, step, min(bound, held.balance)))
    if held.stuck:
        return replace(step, refused=f"{token.symbol} does not let the purse pay: {held.stuck}")
    if most >= step.least:
        return step
    return replace(step, refused=_too_little(step, held))


def _bound(position: Position, template: Template, balance: int) -> tuple[int, str]:
    """The most that the contract takes. As interest runs, an amount burns fewer shares: what fits now fits later."""
    state: State = position.state
    if template is SUPPLY:
        return min(balance, UINT128_MAX - state.collateral), "the purse"
    return most_repaid(state, totals_at(state, position.block, position.block.timestamp)), "the debt"


def _approval(facts: Facts, step: Step, amount: int) -> Intent:
    return Intent(
        kind=APPROVE.kind,
        chain_id=step.intent.chain_id,
        position_id=step.intent.position_id,
        owner=step.intent.owner,
        to=step.asset,
        args={"spender": facts.market.address, "amount": amount},
    )


def _too_little(step: Step, held: Held) -> str:
    if step.limited_by == "the debt":
        return "less than one unit is owed, and a repayment by assets would be too much"
    has, allowed = (format_units(amount or 0, step.decimals) for amount in (held.balance, held.allowance))
    if step.limited_by == "the purse":
        return f"the purse holds {has} {step.symbol}"
    return f"the purse lets Morpho take {allowed} of its {has} {step.symbol}"
