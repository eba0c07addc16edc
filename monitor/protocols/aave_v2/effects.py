"""What `repay` and `deposit` on behalf of an owner do to the raw state, to the wei. LendingPool of protocol-v2 1.0.1.

Both bring the reserve's indexes up to their second first, but only while its suppliers earn something: otherwise the
debt's interest since the last action is dropped, and a repayment of all of it burns more than there is. Rates move with
the amount, which does not matter in the same second; so what comes out is to be judged at that second and no later.
"""

from __future__ import annotations

from dataclasses import replace

from monitor.core.actions import Intent
from monitor.core.types import Position
from monitor.protocols.aave_v2.math import Reserve, State, balances, getNormalizedIncome, stored_debt_index
from monitor.protocols.aave_v2.templates import REPAY, SUPPLY
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.math import ArithmeticReverts, rayDiv
from monitor.protocols.base import Impossible


def after(position: Position, intent: Intent, at_s: int) -> Position:
    """See Protocol.after. Codes are those of Errors.sol."""
    state: State = position.state
    amount, asset = int(intent.args["amount"]), str(intent.args["asset"])
    if state.paused:
        raise Impossible("64: the pool is paused")
    if amount <= 0:
        raise Impossible("1: nothing is no amount")
    reserve = next((one for one in state.reserves if one.asset == asset), None)
    if reserve is None:
        raise Impossible(f"the account has no {asset}: its reserve is not read")
    if not words.active(reserve.configuration):
        raise Impossible("2: the reserve is not active")
    try:
        if intent.kind == REPAY.kind:
            changed = repaid(reserve, amount, at_s)
        elif intent.kind == SUPPLY.kind:
            changed = deposited(reserve, amount, at_s)
        else:
            raise Impossible(f"no effect is known of {intent.kind}")
    except ArithmeticReverts as reverts:
        raise Impossible(f"the contract's own arithmetic reverts: {reverts}") from None
    reserves = tuple(changed if one.asset == asset else one for one in state.reserves)
    return replace(position, state=replace(state, reserves=tuple(one for one in reserves if _kept(one))))


def _kept(reserve: Reserve) -> bool:
    """A reserve without either bit is not read."""
    return reserve.borrowing or reserve.collateral


def updated(reserve: Reserve, at_s: int) -> Reserve:
    """ReserveLogic.updateState. May raise: ArithmeticReverts."""
    return replace(
        reserve,
        liquidity_index=getNormalizedIncome(reserve, at_s),
        variable_borrow_index=stored_debt_index(reserve, at_s),
        last_update_s=at_s,
    )


def repaid(reserve: Reserve, amount: int, at_s: int) -> Reserve:
    """LendingPool.repay of variable debt. May raise: Impossible, ArithmeticReverts."""
    held = balances(reserve, at_s)
    if not held.variable_debt:
        raise Impossible("15: no variable debt")
    paid, grown = min(amount, held.variable_debt), updated(reserve, at_s)
    burnt = rayDiv(paid, grown.variable_borrow_index)
    if not burnt:
        raise Impossible("58: so little burns nothing")
    if burnt > reserve.scaled_variable_debt:
        raise Impossible("ERC20: burn amount exceeds balance")
    left = replace(grown, scaled_variable_debt=reserve.scaled_variable_debt - burnt)
    if held.debt != paid:
        return left
    # the bit goes, and with it what else is read of the debt
    return replace(left, borrowing=False, scaled_variable_debt=0, stable_principal=0, stable_rate=0, stable_update_s=0)


def deposited(reserve: Reserve, amount: int, at_s: int) -> Reserve:
    """LendingPool.deposit into a reserve whose collateral bit is set. May raise: Impossible, ArithmeticReverts."""
    if words.frozen(reserve.configuration):
        raise Impossible("3: the reserve is frozen")
    grown = updated(reserve, at_s)
    minted = rayDiv(amount, grown.liquidity_index)
    if not minted:
        raise Impossible("56: so little mints nothing")
    return replace(grown, scaled_a_token=reserve.scaled_a_token + minted)
