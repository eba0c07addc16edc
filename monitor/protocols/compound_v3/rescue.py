"""What a guardian could do for a borrower of Comet from its purse: repay the base asset, or add to a collateral.

Both are `supplyTo`, bounded by the purse, by what is owed, and by what is left of an asset's supply cap, which counts
all accounts together. There is no least amount: baseBorrowMin is for new debt only. Collateral that the owner does not
hold yet is not offered. Needs no permission from the owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from monitor.core.actions import Intent, Step, Template
from monitor.core.types import Address, Call, Ok, Position, ReadPlan
from monitor.protocols.compound_v3.math import (
    SUPPLY_PAUSED,
    Asset,
    BadPrice,
    Facts,
    Overflows,
    State,
    absorb,
    accrued,
    debt_of,
    mul_price,
    price_of,
    weigh,
)
from monitor.protocols.compound_v3.templates import REPAY, SUPPLY
from monitor.protocols.purse import CALLS, Held, bounded, held, held_calls

GAS = 300_000
"""A generous bound, set by hand; the simulation at the newest block decides whether it is enough."""
UINT128_MAX = 2**128 - 1


@dataclass(frozen=True, slots=True)
class Purse:
    """A guardian's tokens, by asset, and of each collateral what all accounts have supplied; None where unread."""

    guardian: Address
    tokens: tuple[tuple[Address, Held], ...]
    supplied: tuple[tuple[Address, int | None], ...]

    def of(self, asset: Address) -> Held:
        return dict(self.tokens).get(asset, Held(None, None))

    def supplied_of(self, asset: Address) -> int | None:
        return dict(self.supplied).get(asset)


def read_purse(facts: Facts, guardian: Address, positions: Sequence[Position]) -> ReadPlan[Purse]:
    """See Protocol.rescue_context. One round."""
    comet = facts.market.address
    used = {asset.address for position in positions for asset, _ in position.state.balances}
    assets = [asset.address for asset in facts.assets if asset.address in used]
    tokens = [facts.base, *assets]
    answers = yield (
        *(call for token in tokens for call in held_calls(token, guardian, comet)),
        *(Call(comet, "compound_v3.totalsCollateral", (asset,), allow_revert=True) for asset in assets),
    )
    purse = [(token, held(answers[CALLS * at : CALLS * (at + 1)])) for at, token in enumerate(tokens)]
    totals = [answer.values[0] if isinstance(answer, Ok) else None for answer in answers[CALLS * len(tokens) :]]
    return Purse(guardian, tuple(purse), tuple(zip(assets, totals, strict=True)))


def steps(facts: Facts, position: Position, purse: Purse) -> list[Step]:
    """See Protocol.rescue_steps: the repayment, then each collateral that the owner holds."""
    state: State = position.state
    base = _blank(facts, position, REPAY, facts.base, facts.base_symbol, facts.base_decimals)
    return [
        _repayment(facts, base, purse),
        *(
            _supply(
                facts,
                _blank(facts, position, SUPPLY, asset.address, asset.symbol, asset.decimals),
                asset,
                balance,
                purse,
            )
            for asset, balance in state.balances
        ),
    ]


def _repayment(facts: Facts, step: Step, purse: Purse) -> Step:
    state: State = step.position.state
    if state.principal >= 0:
        return replace(step, refused="the owner has no debt")
    if step.refused:
        return step
    try:
        # a debt only grows with time: what is not more than it now is not more than it later
        owed = debt_of(state.principal, accrued(facts, state.totals, step.position.block.timestamp))
    except Overflows as overflow:
        return replace(step, refused=f"the contract's own arithmetic reverts: {overflow.message}")
    return _bounded(facts, step, purse, owed, "the debt", "less than one unit is owed")


def _supply(facts: Facts, step: Step, asset: Asset, balance: int, purse: Purse) -> Step:
    if step.refused:
        return step
    if asset.liquidate_factor == 0:
        return replace(step, refused=f"{asset.symbol} does not count any more: more of it does not help")
    supplied = purse.supplied_of(asset.address)
    if supplied is None:
        return replace(step, refused=f"how much {asset.symbol} is supplied could not be read")
    room, fits = asset.supply_cap - supplied, UINT128_MAX - balance
    why = "SupplyCapExceeded: the market takes no more of it"
    return _bounded(facts, step, purse, max(min(room, fits), 0), "the supply cap", why)


def _bounded(facts: Facts, step: Step, purse: Purse, most: int, limited_by: str, least: str) -> Step:
    return bounded(
        step, purse.of(step.asset), most, limited_by, taker=facts.market.address, called="Comet", least=least
    )


def _blank(facts: Facts, position: Position, template: Template, asset: Address, symbol: str, decimals: int) -> Step:
    return Step(
        position=position,
        intent=Intent(
            kind=template.kind,
            chain_id=position.block.chain_id,
            position_id=position.id,
            owner=position.owner,
            to=facts.market.address,
            args={"asset": asset, "amount": 0},
        ),
        asset=asset,
        symbol=symbol,
        decimals=decimals,
        price=position.prices.get(asset, 0),
        least=1,
        most=0,
        gas=GAS,
        refused="Paused: the market takes no supply" if position.state.totals.pause_flags & SUPPLY_PAUSED else "",
    )


def loss(position: Position) -> int:
    """See Protocol.liquidation_loss: what the collateral is worth, less the debt and what an absorption leaves."""
    state: State = position.state
    facts = state.facts
    try:
        totals = accrued(facts, state.totals, position.block.timestamp)
        if not debt_of(state.principal, totals):
            return 0
        worth = sum(value for _, _, value in weigh(state, position.prices, totals).values)
        paid = absorb(state, position.prices, totals).base_paid_out
        kept = mul_price(paid, price_of(state, position.prices, facts.base), facts.base_scale)
    except (BadPrice, Overflows):
        return 0
    return max(worth - kept, 0)
