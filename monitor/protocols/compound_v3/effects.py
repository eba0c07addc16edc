"""What `supplyTo` does to a borrower's raw state, to the wei: CometWithExtendedAssetList.sol at d5a30b0a.

Supplying the base accrues interest first, supplying collateral does not. Utilization moves with a repayment, which does
not matter in the same second; so the state that comes out is to be judged at that second and no later. A token that
takes a fee on its transfers brings in less than is said here.
"""

from __future__ import annotations

from dataclasses import replace

from monitor.core.actions import Intent
from monitor.core.types import Position
from monitor.protocols.base import Impossible
from monitor.protocols.compound_v3.math import (
    BASE_INDEX_SCALE,
    SUPPLY_PAUSED,
    Overflows,
    State,
    Totals,
    accrued,
    checked,
    debt_of,
    supply_of,
)
from monitor.protocols.compound_v3.templates import REPAY, SUPPLY


def after(position: Position, intent: Intent, at_s: int) -> Position:
    """See Protocol.after."""
    state: State = position.state
    amount = int(intent.args["amount"])
    if amount <= 0:
        raise Impossible("nothing is no amount")
    if state.totals.pause_flags & SUPPLY_PAUSED:
        raise Impossible("Paused()")
    try:
        if intent.kind == REPAY.kind:
            changed = based(state, accrued(state.facts, state.totals, at_s), amount)
        elif intent.kind == SUPPLY.kind:
            changed = collateralized(state, str(intent.args["asset"]), checked(amount, 128))
        else:
            raise Impossible(f"no effect is known of {intent.kind}")
    except Overflows as overflow:
        raise Impossible(f"the contract's own arithmetic reverts: {overflow.message}") from None
    return replace(position, state=changed)


def based(state: State, totals: Totals, amount: int) -> State:
    """Comet.supplyBase on accrued totals: the debt down to nothing, then supply. May raise: Overflows."""
    old = state.principal
    new = principal_of(supply_of(old, totals) - debt_of(old, totals) + amount, totals)
    repaid, supplied = min(new, 0) - min(old, 0), max(new, 0) - max(old, 0)
    changed = replace(
        totals,
        total_supply_base=checked(totals.total_supply_base + supplied, 104),
        total_borrow_base=checked(totals.total_borrow_base - repaid, 104),
    )
    return replace(state, totals=changed, principal=new)


def principal_of(balance: int, totals: Totals) -> int:
    """CometCore.principalValue: a supply down, a debt up. May raise: Overflows."""
    if balance >= 0:
        return checked(balance * BASE_INDEX_SCALE // totals.base_supply_index, 103)
    return -checked(-(balance * BASE_INDEX_SCALE // totals.base_borrow_index), 103)


def collateralized(state: State, asset: str, amount: int) -> State:
    """Comet.supplyCollateral of an asset that the account holds. May raise: Impossible, Overflows."""
    if asset not in {one.address for one, _ in state.balances}:
        raise Impossible(f"the account holds no {asset}: its price is not read")
    grown = tuple((one, checked(held + amount * (one.address == asset), 128)) for one, held in state.balances)
    return replace(state, balances=grown)
