"""What `deleverage` and `close` of the guard do to the owner's raw state, to the wei.

Mirrors monitor/contracts/guard.vy over BorrowLogic.executeRepay, AToken._transfer, SupplyLogic.executeFinalizeTransfer,
executeWithdraw, executeSupply and FlashLoanLogic._handleFlashLoanRepayment of core-v3 1.19.3 and aave-v3-origin v3.6.0;
between the two what differs is laid to the version that is known for it. What the exchange takes is an input: at the
position's block the route's curve, afterwards the guard's own event. As in `effects`, judge the result at once only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from monitor.core.actions import Intent
from monitor.core.types import Position
from monitor.core.units import RAY, WAD
from monitor.protocols.aave_v3 import effects, words
from monitor.protocols.aave_v3.account import (
    account_data,
    holdings,
    normalized_debt,
    normalized_income,
    stable_debt_balance,
    supplied_balance,
    variable_debt_balance,
)
from monitor.protocols.aave_v3.effects import (
    check_amount,
    repaid,
    repaid_stable,
    supplied,
    supply_refused,
    updated,
    with_reserve,
)
from monitor.protocols.aave_v3.math import ArithmeticReverts, percentMul, percentMulCeil, rayDiv, rayDivCeil, rayMul
from monitor.protocols.aave_v3.purse import accrued
from monitor.protocols.aave_v3.records import ReserveState, Route, State
from monitor.protocols.aave_v3.templates import BY_GUARD, CLOSE
from monitor.protocols.aave_v3.versions import TABLE, Rules
from monitor.protocols.base import Impossible

RAY_PER_WAD = RAY // WAD


@dataclass(frozen=True, slots=True)
class Trade:
    """One action of the guard: what is repaid, what is pulled from the owner at most, what of it is sold."""

    repaid: int
    pulled: int
    sold: int


def after(position: Position, intent: Intent, at_s: int, sold: int | None = None) -> Position:
    """See Protocol.after. `sold`: what the exchange took for a guard's action, where that is known."""
    if intent.kind not in BY_GUARD:
        return effects.after(position, intent, at_s)
    try:
        trade = trade_of(position, intent, at_s, sold)
        state = traded(position, route_of(position.state, intent), trade, at_s)
    except ArithmeticReverts as reverts:
        raise Impossible(f"the contract's own arithmetic reverts: {reverts}") from None
    return replace(position, state=state)


def route_of(state: State, intent: Intent) -> Route:
    """The route that the intent names. May raise: Impossible."""
    wanted = tuple(intent.args[name] for name in ("collateral", "debt", "router", "fee"))
    for route in state.routes:
        if (route.collateral, route.debt, route.router, route.fee) == wanted:
            return route
    raise Impossible("nothing is known of what the exchange would take")


def trade_of(position: Position, intent: Intent, at_s: int, sold: int | None = None) -> Trade:
    """What the guard would do at `at_s`, by its own limits. May raise: Impossible, ArithmeticReverts."""
    rules, state = TABLE[position.rule.version], position.state
    route = route_of(state, intent)
    amount = int(intent.args["amount"])
    owed = _reserve(state, route.debt)
    variable = variable_debt_balance(rules, owed.scaled_variable_debt, normalized_debt(rules, owed, at_s))
    due = variable or stable_debt_balance(rules, owed, at_s)
    if amount > due and intent.kind != CLOSE.kind:
        raise Impossible(f"REPAID: the owner owes only {due} of {owed.symbol}")
    amount = min(due, amount)
    check_amount(amount)
    held = _reserve(state, route.collateral)
    balance = supplied_balance(rules, held.scaled_a_token, normalized_income(held, at_s))
    most = min(int(intent.args["max_collateral"]), int(amount * route.swap.worth), balance)
    if sold is None:
        sold = sold_for(rules, route, amount)
    if sold > most:
        raise Impossible(f"SLIPPAGE: {sold} of {held.symbol} are wanted, and {most} may go")
    return Trade(amount, most, sold)


def premium(rules: Rules, amount: int, bps: int) -> int:
    """The flash loan's premium: half up, from 3.5 up (FlashLoanLogic.executeFlashLoanSimple)."""
    return percentMulCeil(amount, bps) if rules.directed_rounding else percentMul(amount, bps)


def sold_for(rules: Rules, route: Route, amount: int) -> int:
    """The collateral that repaying `amount` takes; without an exchange that is known exactly. May raise: Impossible."""
    if route.collateral == route.debt:
        return amount + premium(rules, amount, route.premium_bps)
    try:
        return route.swap.sold.at(amount)
    except ValueError:
        raise Impossible(f"no exchange was asked for as much as {amount}") from None


def traded(position: Position, route: Route, trade: Trade, at_s: int, *, checked: bool = True) -> State:
    """The owner's state after the trade. `checked`: as far as the pool lets it happen, else what it would come to.

    May raise: Impossible, ArithmeticReverts.
    """
    rules = TABLE[position.rule.version]
    before: State = position.state
    owed = _reserve(before, route.debt)
    repay = repaid if owed.scaled_variable_debt else repaid_stable
    state = repay(rules, before, owed, trade.repaid, at_s)
    state, arrived = _pulled(rules, state, _reserve(state, route.collateral), trade.pulled, at_s)
    if checked:
        _check_health(rules, position, before, state, route.collateral, at_s)
    if arrived < trade.sold:
        raise Impossible(f"SLIPPAGE: only {arrived} of the collateral arrive")
    state = _given_back(rules, state, route, arrived - trade.sold, at_s)
    return _with_premium(rules, before, state, route, trade.repaid, at_s)


def _reserve(state: State, asset: str) -> ReserveState:
    found = next((reserve for reserve in state.reserves if reserve.asset == asset), None)
    if found is None:
        raise Impossible(f"nothing is known of the owner in {asset}")
    return found


def _pulled(rules: Rules, state: State, held: ReserveState, amount: int, at_s: int) -> tuple[State, int]:
    """The owner's aTokens at the guard and redeemed there: half up, from 3.5 up; and what of the asset arrives."""
    index = normalized_income(held, at_s)
    balance = supplied_balance(rules, held.scaled_a_token, index)
    scaled = rayDivCeil(amount, index) if rules.directed_rounding else rayDiv(amount, index)
    if scaled > held.scaled_a_token or amount > balance:
        raise Impossible(f"the owner has less than {amount} of {held.symbol}")
    empties = scaled == held.scaled_a_token if rules.directed_rounding else amount == balance
    configuration = state.user_configuration
    if empties and scaled:
        configuration = words.with_collateral(configuration, held.id, used=False)
    changed = replace(updated(rules, held, at_s), scaled_a_token=held.scaled_a_token - scaled)
    return with_reserve(state, changed, configuration), supplied_balance(rules, scaled, index)


def _check_health(rules: Rules, position: Position, before: State, state: State, asset: str, at_s: int) -> None:
    """ValidationLogic.validateHFAndLtv, from 3.4 validateHFAndLtvzero, when the aTokens leave the owner."""
    held = _reserve(before, asset)
    used = words.is_using_as_collateral(before.user_configuration, held.id)
    if not used or not words.is_borrowing_any(state.user_configuration):
        return
    now = holdings(rules, state, at_s)
    data = account_data(rules, now, position.prices)
    if data.health_factor < WAD:
        raise Impossible(
            "HealthFactorLowerThanLiquidationThreshold: while the collateral is on its way, the rest is not enough"
        )
    if any(one.enabled and one.ltv == 0 for one in now):
        (own,) = (one for one in now if one.reserve.asset == asset)
        ltv = own.ltv if rules.ltvzero_bitmap else words.ltv(held.configuration)
        if ltv:
            raise Impossible(
                f"LtvValidationFailed: the owner has collateral with an LTV of 0, which must go before {held.symbol}"
            )


def _given_back(rules: Rules, state: State, route: Route, amount: int, at_s: int) -> State:
    """What was not sold, supplied for the owner; where the pool refuses, it is in the wallet and not in here."""
    held = _reserve(state, route.collateral)
    if amount == 0 or not route.returned or supply_refused(held):
        return state
    try:
        return supplied(rules, state, held, amount, at_s)
    except Impossible:
        return state


def _with_premium(rules: Rules, before: State, state: State, route: Route, amount: int, at_s: int) -> State:
    """The suppliers' part of the premium, which raises the liquidity index. ReserveLogic.cumulateToLiquidityIndex."""
    owed = _reserve(state, route.debt)
    total = premium(rules, amount, route.premium_bps)
    shared = total - percentMul(total, route.to_treasury_bps)
    if shared == 0 or route.supply is None or owed.scaled_a_token == 0:
        return state
    index = normalized_income(owed, at_s)
    old = _reserve(before, route.debt)
    scaled = route.supply.scaled + owed.scaled_a_token - old.scaled_a_token
    treasury = accrued(rules, old, route.supply, at_s)
    liquidity = rayMul(scaled, index) + rayMul(treasury, index)
    grown = rayMul(rayDiv(shared * RAY_PER_WAD, liquidity * RAY_PER_WAD) + RAY, index)
    return with_reserve(state, replace(owed, liquidity_index=grown), state.user_configuration)
