"""What `repay(asset, amount, mode, owner)` and `supply(asset, amount, owner, 0)` do to the raw state, to the wei.

Mirrors BorrowLogic.executeRepay, SupplyLogic.executeSupply, ScaledBalanceTokenBase, TokenMath and the part of
ValidationLogic that refuses, of core-v3 1.19.3 and aave-v3-origin v3.1 to v3.7, as sent by somebody who lacks the role
of an isolated collateral supplier. Rates move with the action, which does not matter in the same second; so the state
that comes out is to be judged at that second and no later. Caps and purses are known to `rescue`, not here.
"""

from __future__ import annotations

from dataclasses import replace

from monitor.core.actions import Intent
from monitor.core.types import Position
from monitor.core.units import RAY
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.account import (
    normalized_debt,
    normalized_income,
    reserve_ltv,
    stable_debt_balance,
    variable_debt_balance,
)
from monitor.protocols.aave_v3.math import ArithmeticReverts, rayDiv, rayDivFloor
from monitor.protocols.aave_v3.records import ReserveState, State
from monitor.protocols.aave_v3.templates import REPAY, SUPPLY
from monitor.protocols.aave_v3.versions import TABLE, Rules
from monitor.protocols.base import Impossible

LARGEST = 2**112
"""Larger amounts are nobody's: scaled balances are kept in 120 bits, in 128 before 3.4."""


def after(position: Position, intent: Intent, at_s: int) -> Position:
    """See Protocol.after."""
    rules, state = TABLE[position.rule.version], position.state
    asset, amount = intent.args["asset"], int(intent.args["amount"])
    held = next((reserve for reserve in state.reserves if reserve.asset == asset), None)
    if held is None:
        raise Impossible(f"nothing is known of the owner in {asset}")
    try:
        if intent.kind == REPAY.kind:
            changed = repaid(rules, state, held, amount, at_s)
        elif intent.kind == SUPPLY.kind:
            changed = supplied(rules, state, held, amount, at_s)
        else:
            raise Impossible(f"no effect is known of {intent.kind}")
    except ArithmeticReverts as reverts:
        raise Impossible(f"the contract's own arithmetic reverts: {reverts}") from None
    return replace(position, state=changed)


# -- repay -------------------------------------------------------------------------------------------------------------


def repaid(rules: Rules, state: State, reserve: ReserveState, amount: int, at_s: int) -> State:
    """The account after `amount` (at most the variable debt) is repaid. May raise: Impossible, ArithmeticReverts."""
    if why := repay_refused(reserve):
        raise Impossible(why)
    check_amount(amount)
    index = normalized_debt(rules, reserve, at_s)
    debt = variable_debt_balance(rules, reserve.scaled_variable_debt, index)
    paid = min(amount, debt)
    burnt = burnt_by(rules, paid, index)
    if burnt == 0:
        raise Impossible(f"InvalidBurnAmount: {paid} of the smallest unit of {reserve.symbol} is no share of its debt")
    left = reserve.scaled_variable_debt - burnt
    owed = left if rules.bit_by_scaled_debt else debt + stable_debt_balance(rules, reserve, at_s) - paid
    configuration = state.user_configuration
    if owed == 0:
        configuration = words.with_borrowing(configuration, reserve.id, borrowing=False)
    return with_reserve(state, replace(updated(rules, reserve, at_s), scaled_variable_debt=left), configuration)


def repaid_stable(rules: Rules, state: State, reserve: ReserveState, amount: int, at_s: int) -> State:
    """The same of stable debt (<= 3.1): what is left has its interest in it. StableDebtToken.burn."""
    if why := closed(reserve):
        raise Impossible(why)
    check_amount(amount)
    debt = stable_debt_balance(rules, reserve, at_s)
    if debt == 0:
        raise Impossible(f"NoDebtOfSelectedType: the owner has no stable debt in {reserve.symbol}")
    left = debt - min(amount, debt)
    configuration = state.user_configuration
    if left == 0 and reserve.scaled_variable_debt == 0:
        configuration = words.with_borrowing(configuration, reserve.id, borrowing=False)
    changed = replace(updated(rules, reserve, at_s), stable_principal=left, stable_update_s=at_s)
    return with_reserve(state, changed, configuration)


def repay_refused(reserve: ReserveState) -> str:
    """Why no amount can be repaid; empty if some can. A frozen reserve takes repayments."""
    if why := closed(reserve):
        return why
    if reserve.scaled_variable_debt == 0:
        return f"NoDebtOfSelectedType: the owner has no variable debt in {reserve.symbol}"
    return ""


def burnt_by(rules: Rules, amount: int, index: int) -> int:
    """The scaled debt that a repayment burns: half up, from 3.5 down (TokenMath.getVTokenBurnScaledAmount)."""
    return rayDivFloor(amount, index) if rules.directed_rounding else rayDiv(amount, index)


# -- supply ------------------------------------------------------------------------------------------------------------


def supplied(rules: Rules, state: State, reserve: ReserveState, amount: int, at_s: int) -> State:
    """The account after `amount` is supplied in its name. May raise: Impossible, ArithmeticReverts."""
    if why := supply_refused(reserve):
        raise Impossible(why)
    check_amount(amount)
    minted = minted_by(rules, amount, normalized_income(reserve, at_s))
    if minted == 0:
        name = "InvalidAmount" if rules.directed_rounding else "InvalidMintAmount"
        raise Impossible(f"{name}: {amount} of the smallest unit of {reserve.symbol} is no share of its supply")
    configuration = state.user_configuration
    if reserve.scaled_a_token == 0 and enabled_by_first_supply(rules, state, reserve):
        configuration = words.with_collateral(configuration, reserve.id)
    changed = replace(updated(rules, reserve, at_s), scaled_a_token=reserve.scaled_a_token + minted)
    return with_reserve(state, changed, configuration)


def supply_refused(reserve: ReserveState) -> str:
    """Why no amount can be supplied; empty if some can."""
    if why := closed(reserve):
        return why
    if words.frozen(reserve.configuration):
        return f"ReserveFrozen: {reserve.symbol} is frozen"
    return ""


def useless_supply(rules: Rules, state: State, reserve: ReserveState) -> str:
    """Why a supply that succeeds would not count as collateral; empty if it would."""
    if words.is_using_as_collateral(state.user_configuration, reserve.id):
        return ""
    if reserve.scaled_a_token:
        return f"the owner's {reserve.symbol} is not used as collateral, and only the owner can change that"
    if not enabled_by_first_supply(rules, state, reserve):
        why = "isolation mode" if _has_ceilings(rules) and _isolation_stands_in(state, reserve) else "an LTV of 0"
        return f"{reserve.symbol} would not become collateral by itself: {why}"
    return ""


def minted_by(rules: Rules, amount: int, index: int) -> int:
    """The scaled supply that an amount mints: half up, from 3.5 down (TokenMath.getATokenMintScaledAmount)."""
    return rayDivFloor(amount, index) if rules.directed_rounding else rayDiv(amount, index)


def enabled_by_first_supply(rules: Rules, state: State, reserve: ReserveState) -> bool:
    """ValidationLogic.validateAutomaticUseAsCollateral, for a sender without roles."""
    category = state.category if rules.ltvzero_bitmap else None
    if reserve_ltv(rules, reserve, category) == 0:
        return False
    return not (_has_ceilings(rules) and _isolation_stands_in(state, reserve))


def _has_ceilings(rules: Rules) -> bool:
    return rules.debt_ceiling_of_user or rules.debt_ceiling_of_collateral


def _isolation_stands_in(state: State, reserve: ReserveState) -> bool:
    """The reserve is an isolated one, or the owner is in isolation mode (one collateral, which has a debt ceiling)."""
    if words.debt_ceiling(reserve.configuration):
        return True
    if words.collateral_count(state.user_configuration) != 1:
        return False
    used = (r for r in state.reserves if words.is_using_as_collateral(state.user_configuration, r.id))
    return any(words.debt_ceiling(one.configuration) for one in used)


# -- both --------------------------------------------------------------------------------------------------------------


def least_amount(rules: Rules, index: int) -> int:
    """The smallest amount that mints or burns a share at this index (at least RAY)."""
    return -(-index // RAY) if rules.directed_rounding else max(1, -(-(index - index // 2) // RAY))


def closed(reserve: ReserveState) -> str:
    """Why nothing can be done with it; empty if something can."""
    if not words.active(reserve.configuration):
        return f"ReserveInactive: {reserve.symbol} is not active"
    if words.paused(reserve.configuration):
        return f"ReservePaused: {reserve.symbol} is paused"
    return ""


def check_amount(amount: int) -> None:
    """May raise: Impossible."""
    if amount <= 0:
        raise Impossible("InvalidAmount: nothing is no amount")
    if amount >= LARGEST:
        raise Impossible("the amount does not fit the contract's numbers")


def updated(rules: Rules, reserve: ReserveState, at_s: int) -> ReserveState:
    """The reserve with its indices written at `at_s`. ReserveLogic.updateState.

    Where nobody has variable debt the contract leaves that index alone; no balance depends on it then.
    """
    return replace(
        reserve,
        liquidity_index=normalized_income(reserve, at_s),
        variable_borrow_index=normalized_debt(rules, reserve, at_s),
        last_update_s=at_s,
    )


def with_reserve(state: State, changed: ReserveState, configuration: int) -> State:
    """The account with one reserve and the bitmap changed."""
    reserves = tuple(changed if reserve.id == changed.id else reserve for reserve in state.reserves)
    return replace(state, reserves=reserves, user_configuration=configuration)
