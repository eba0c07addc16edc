"""What a guardian could do for a borrower of Morpho Blue from its purse: repay the loan, or supply collateral.

Both steps are bounded by what the purse holds, what Morpho may take of it and what is owed, or are refused with the
reason. Needs no permission from the owner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from monitor.core.actions import Intent, Step, Template
from monitor.core.types import Address, Position, ReadPlan
from monitor.protocols.morpho_blue.effects import most_repaid, totals_at
from monitor.protocols.morpho_blue.math import ORACLE_PRICE_SCALE, UINT128_MAX, Facts, Overflows, State, Token
from monitor.protocols.morpho_blue.templates import REPAY, SUPPLY
from monitor.protocols.purse import CALLS, Held, bounded, held, held_calls

GAS = {REPAY.kind: 400_000, SUPPLY.kind: 300_000}
"""A generous bound, set by hand; the simulation at the newest block decides whether it is enough."""


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
        call for token in (facts.loan.address, facts.collateral.address) for call in held_calls(token, guardian, morpho)
    ]
    return Purse(guardian, held(answers[:CALLS]), held(answers[CALLS:]))


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


def _step(facts: Facts, position: Position, template: Template, token: Token, purse: Held) -> Step:
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
    try:
        most, limited_by = _bound(position, template)
    except Overflows as overflow:
        return replace(blank, refused=f"the contract's own arithmetic reverts: {overflow.message}")
    least = "less than one unit is owed, and a repayment by assets would be too much"
    return bounded(blank, purse, most, limited_by, taker=facts.market.address, called="Morpho", least=least)


def _bound(position: Position, template: Template) -> tuple[int, str]:
    """The most that the contract takes. As interest runs, an amount burns fewer shares: what fits now fits later."""
    state: State = position.state
    if template is SUPPLY:
        return UINT128_MAX - state.collateral, "what a balance can be"
    return most_repaid(state, totals_at(state, position.block, position.block.timestamp)), "the debt"
