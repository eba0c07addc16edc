"""Whether a liquidation call would succeed, and what it would take, to the wei: LiquidationLogic of every version.

Walks the contract's own conditions for one (collateral, debt) pair and writes each down as a gate. A gate that the
account's state decides is open or shut; one that needs the context (grace, sentinel, free liquidity) is unknown where
that was not read. Assumes a funded liquidator other than the borrower, and tokens that transfer what they are told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from monitor.core.types import Address, Gate, GateState
from monitor.core.units import UINT256_MAX
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.account import AccountData, Holding, debt_value, in_category, price_of, supplied_balance
from monitor.protocols.aave_v3.math import (
    ArithmeticReverts,
    mulDivFloor,
    percentDiv,
    percentDivCeil,
    percentDivFloor,
    percentMul,
    percentMulCeil,
    percentMulFloor,
    rayDiv,
    rayDivCeil,
    rayDivFloor,
    uint256,
)
from monitor.protocols.aave_v3.records import ZERO, Context, ReserveContext, State
from monitor.protocols.aave_v3.versions import Rules

DEFAULT_LIQUIDATION_CLOSE_FACTOR = 5_000
CLOSE_FACTOR_HF_THRESHOLD = 95 * 10**16
HEALTH_FACTOR_LIQUIDATION_THRESHOLD = 10**18
MINIMUM_HEALTH_FACTOR_LIQUIDATION_THRESHOLD = 95 * 10**16
MIN_BASE_MAX_CLOSE_FACTOR_THRESHOLD = 2_000 * 10**8
MIN_LEFTOVER_BASE = MIN_BASE_MAX_CLOSE_FACTOR_THRESHOLD // 2
DEBT_CEILING_DECIMALS = 2

OPEN, SHUT, UNKNOWN = GateState.OPEN, GateState.SHUT, GateState.UNKNOWN


@dataclass(frozen=True, slots=True)
class Seizure:
    """What one liquidation call moves, in the smallest units; the liquidator receives `collateral`."""

    collateral_asset: Address
    debt_asset: Address
    debt_to_cover: int
    collateral: int
    protocol_fee: int
    clears_collateral: bool
    """Nothing of the account's collateral is left, so that the rest of its debt is written off (>= 3.3)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the call fails, or why that is not known; `gate` names the first condition that is not open."""

    gate: Gate


@dataclass(frozen=True, slots=True)
class Attempt:
    """The call that is asked about: liquidationCall's arguments, the moment, and what is known around it."""

    rules: Rules
    state: State
    data: AccountData
    prices: Mapping[str, int]
    context: Context | None
    at_s: int
    debt_to_cover: int = UINT256_MAX
    receive_a_token: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The gates of one pair in the contract's order, and the amounts if the call comes as far as reckoning them."""

    gates: tuple[Gate, ...]
    seizure: Seizure | None

    @property
    def verdict(self) -> bool | None:
        """True: succeeds. False: reverts. None: depends on what was not read."""
        states = {gate.state for gate in self.gates}
        if SHUT in states:
            return False
        return None if UNKNOWN in states else True


def liquidation_call(attempt: Attempt, collateral: Holding, debt: Holding) -> Outcome:
    """Everything that decides about one pair, in the contract's order."""
    gates = [
        _flag("active", words.active, collateral, debt, "is not active"),
        _flag("pause", lambda word: not words.paused(word), collateral, debt, "is paused"),
        *_sentinel(attempt),
        *_grace(attempt, collateral, debt),
        *_account(attempt, collateral, debt),
    ]
    if any(gate.state is SHUT for gate in gates):
        return Outcome(tuple(gates), None)
    if attempt.data.health_factor >= HEALTH_FACTOR_LIQUIDATION_THRESHOLD:
        return Outcome((*gates, Gate("health", SHUT, "the health factor is not below 1")), None)
    try:
        seizure, steps = _amounts(attempt, collateral, debt)
    except ArithmeticReverts as reverts:
        return Outcome((*gates, Gate("amounts", SHUT, str(reverts))), None)
    gates += steps
    if not attempt.receive_a_token:
        gates.append(_liquidity(attempt, collateral, debt, seizure))
    return Outcome(tuple(gates), seizure)


def _flag(name: str, good: Callable[[int], bool], collateral: Holding, debt: Holding, complaint: str) -> Gate:
    bad = [h.reserve.symbol for h in (collateral, debt) if not good(h.reserve.configuration)]
    return Gate(name, SHUT, f"{' and '.join(dict.fromkeys(bad))} {complaint}") if bad else Gate(name, OPEN)


def _sentinel(attempt: Attempt) -> list[Gate]:
    """ValidationLogic.validateLiquidationCall, <= 3.6: below 0.95 nobody asks the sentinel."""
    if not attempt.rules.sentinel or attempt.state.sentinel == ZERO:
        return []
    if attempt.data.health_factor < MINIMUM_HEALTH_FACTOR_LIQUIDATION_THRESHOLD:
        return [Gate("sentinel", OPEN, "bypassed below 0.95")]
    allowed = attempt.context.sentinel_allows if attempt.context else None
    if allowed is None:
        return [Gate("sentinel", UNKNOWN, "not read")]
    return [Gate("sentinel", OPEN) if allowed else Gate("sentinel", SHUT, "the sentinel allows no liquidation")]


def _grace(attempt: Attempt, collateral: Holding, debt: Holding) -> list[Gate]:
    """>= 3.1: both reserves' liquidationGracePeriodUntil must lie before the block's timestamp."""
    if not attempt.rules.grace_periods:
        return []
    known = [(h.reserve.symbol, _context(attempt, h).grace_until_s) for h in (collateral, debt)]
    waiting = [f"{symbol} until {until}" for symbol, until in known if until and until >= attempt.at_s]
    if waiting:
        return [Gate("grace", SHUT, ", ".join(dict.fromkeys(waiting)))]
    unread = any(until is None for _, until in known)
    return [Gate("grace", UNKNOWN, "not read") if unread else Gate("grace", OPEN)]


def _account(attempt: Attempt, collateral: Holding, debt: Holding) -> list[Gate]:
    gates = [Gate("collateral", OPEN)]
    if not collateral.enabled:
        gates = [Gate("collateral", SHUT, f"{collateral.reserve.symbol} is not used as collateral")]
    if debt.debt == 0:
        gates.append(Gate("debt", SHUT, f"no debt in {debt.reserve.symbol}"))
    elif attempt.rules.discounted_debt and not words.virtual_accounting(debt.reserve.configuration):
        gates.append(
            Gate("debt", UNKNOWN, f"{debt.reserve.symbol} is discounted in a way that its state does not tell")
        )
    return gates


def _context(attempt: Attempt, holding: Holding) -> ReserveContext:
    if attempt.context is None:
        return ReserveContext(holding.reserve.asset, None, None, None)
    return attempt.context.of(holding.reserve.asset)


def _liquidity(attempt: Attempt, collateral: Holding, debt: Holding, seizure: Seizure) -> Gate:
    """The aToken must hold the underlying, and from 3.1 the pool's virtual balance must cover it too."""
    around = _context(attempt, collateral)
    limits = [around.underlying]
    virtual = attempt.rules.taylor_interest or words.virtual_accounting(collateral.reserve.configuration)
    if attempt.rules.grace_periods and virtual:
        repaid = seizure.debt_to_cover if collateral.reserve.id == debt.reserve.id else 0
        limits.append(None if around.virtual_balance is None else around.virtual_balance + repaid)
    short = [limit for limit in limits if limit is not None and limit < seizure.collateral]
    if short:
        return Gate(
            "liquidity", SHUT, f"{collateral.reserve.symbol} has {min(short)} of {seizure.collateral} to pay out"
        )
    return Gate("liquidity", UNKNOWN, "not read") if None in limits else Gate("liquidity", OPEN)


# -- amounts -----------------------------------------------------------------------------------------------------------


def _amounts(attempt: Attempt, collateral: Holding, debt: Holding) -> tuple[Seizure, list[Gate]]:
    """executeLiquidationCall from the close factor on, and the gates of the steps that can revert."""
    rules = attempt.rules
    collateral_price, debt_price = _prices(attempt, collateral, debt)
    index = supply_index(rules, collateral, debt)
    balance = supplied_balance(rules, collateral.reserve.scaled_a_token, index)
    cover = min(attempt.debt_to_cover, _max_liquidatable_debt(attempt, collateral, debt, balance))
    bonus = bonus_of(rules, attempt.state, collateral)
    taken, cover, fee = _seized(rules, collateral, debt, (collateral_price, debt_price), (cover, balance, bonus))
    clears = _clears_collateral(attempt, collateral, index, (taken, fee))
    seizure = Seizure(collateral.reserve.asset, debt.reserve.asset, cover, taken, fee, clears)
    gates = _dust(rules, collateral, debt, (collateral_price, debt_price), (balance, seizure))
    refused = _burns(attempt, debt, index, seizure) + _ceiling(attempt, collateral, debt, balance, seizure)
    return seizure, gates + (refused or [Gate("amounts", OPEN)])


def supply_index(rules: Rules, collateral: Holding, debt: Holding) -> int:
    """The liquidity index that the seizure is reckoned with."""
    if rules.stale_index_on_same_asset and collateral.reserve.id == debt.reserve.id:
        return collateral.reserve.liquidity_index
    return collateral.normalized_income


def fee_moved(rules: Rules, collateral: Holding, debt: Holding, seizure: Seizure) -> int:
    """What the treasury is sent of the seizure's fee: no more than is left once the liquidator's part is burnt.

    The two can differ by a unit, where both are rounded and the deposit is used up.
    """
    index = supply_index(rules, collateral, debt)
    divide = rayDivCeil if rules.directed_rounding else rayDiv
    left = collateral.reserve.scaled_a_token - divide(seizure.collateral, index)
    if divide(seizure.protocol_fee, index) <= left:
        return seizure.protocol_fee
    return supplied_balance(rules, left, index)


def _prices(attempt: Attempt, collateral: Holding, debt: Holding) -> tuple[int, int]:
    """<= 3.1 in e-mode the debt is priced by the category's source whatever its own category."""
    category = attempt.state.category
    if attempt.rules.reserve_e_mode and category is not None and category.price_source != ZERO:
        source = attempt.prices[category.price_source]
        inside = in_category(attempt.rules, collateral.reserve, category)
        return (source if inside else attempt.prices[collateral.reserve.asset]), source
    return price_of(collateral, attempt.prices), price_of(debt, attempt.prices)


def bonus_of(rules: Rules, state: State, collateral: Holding) -> int:
    """What a liquidator of this collateral gets for the debt's value, in basis points of it, e.g. 10500."""
    category = state.category
    if category is not None and in_category(rules, collateral.reserve, category):
        return category.liquidation_bonus
    return words.liquidation_bonus(collateral.reserve.configuration)


def _max_liquidatable_debt(attempt: Attempt, collateral: Holding, debt: Holding, balance: int) -> int:
    rules, data = attempt.rules, attempt.data
    above = data.health_factor > CLOSE_FACTOR_HF_THRESHOLD
    if not rules.value_close_factor:
        return percentMul(debt.debt, DEFAULT_LIQUIDATION_CLOSE_FACTOR) if above else debt.debt
    collateral_price, debt_price = _prices(attempt, collateral, debt)
    in_base = debt_value(rules, debt.debt, debt_price, debt.unit)
    collateral_in_base = mulDivFloor(balance, collateral_price, collateral.unit)
    if above and min(in_base, collateral_in_base) >= MIN_BASE_MAX_CLOSE_FACTOR_THRESHOLD:
        half = percentMul(data.debt, DEFAULT_LIQUIDATION_CLOSE_FACTOR)
        if in_base > half:
            return mulDivFloor(half, debt.unit, debt_price)
    return debt.debt


def _seized(
    rules: Rules,
    collateral: Holding,
    debt: Holding,
    prices: tuple[int, int],
    amounts: tuple[int, int, int],
) -> tuple[int, int, int]:
    """_calculateAvailableCollateralToLiquidate: (to the liquidator, debt needed, fee).

    `prices` of (collateral, debt); `amounts` are (debt to cover, collateral balance, bonus in basis points).
    """
    collateral_price, debt_price = prices
    cover, balance, bonus = amounts
    base = mulDivFloor(uint256(debt_price * cover), collateral.unit, uint256(collateral_price * debt.unit))
    most = percentMulFloor(base, bonus) if rules.floored_seizure else percentMul(base, bonus)
    if most > balance:
        taken = balance
        needed = mulDivFloor(uint256(collateral_price * taken), debt.unit, uint256(debt_price * collateral.unit))
        cover = percentDivCeil(needed, bonus) if rules.directed_rounding else percentDiv(needed, bonus)
    else:
        taken = most
    fee_share = words.liquidation_protocol_fee(collateral.reserve.configuration)
    if fee_share == 0:
        return taken, cover, 0
    if rules.floored_seizure:
        fee = percentMulCeil(uint256(taken - percentDivFloor(taken, bonus)), fee_share)
    else:
        fee = percentMul(uint256(taken - percentDiv(taken, bonus)), fee_share)
    return uint256(taken - fee), cover, fee


def _clears_collateral(attempt: Attempt, collateral: Holding, index: int, amounts: tuple[int, int]) -> bool:
    """hasNoCollateralLeft: by the seized value, from 3.7 by the scaled amounts that will really be burnt."""
    rules = attempt.rules
    if not rules.value_close_factor:
        return False
    taken, fee = amounts
    price = price_of(collateral, attempt.prices)
    if not rules.floored_seizure:
        return mulDivFloor(taken + fee, price, collateral.unit) == attempt.data.collateral
    scaled = min(rayDivCeil(taken, index) + rayDivCeil(fee, index), collateral.reserve.scaled_a_token)
    consumed = supplied_balance(rules, scaled, index)
    return mulDivFloor(consumed, price, collateral.unit) == attempt.data.collateral


def _dust(
    rules: Rules, collateral: Holding, debt: Holding, prices: tuple[int, int], left: tuple[int, Seizure]
) -> list[Gate]:
    """>= 3.3: unless the pair's debt or collateral is used up, 1000 base units of both must stay."""
    balance, seizure = left
    rest_debt = debt.debt - seizure.debt_to_cover
    rest_collateral = balance - seizure.collateral - seizure.protocol_fee
    if not rules.value_close_factor:
        return []
    enough = min(rest_debt, rest_collateral) <= 0 or (
        debt_value(rules, rest_debt, prices[1], debt.unit) >= MIN_LEFTOVER_BASE
        and mulDivFloor(rest_collateral, prices[0], collateral.unit) >= MIN_LEFTOVER_BASE
    )
    complaint = "the call would leave less than 1000 of debt or collateral"
    return [Gate("dust", OPEN) if enough else Gate("dust", SHUT, complaint)]


def _burns(attempt: Attempt, debt: Holding, index: int, seizure: Seizure) -> list[Gate]:
    """ScaledBalanceTokenBase._burnScaled refuses amounts whose scaled value is 0, on either side."""
    rules = attempt.rules
    burnt = debt.debt if seizure.clears_collateral else seizure.debt_to_cover
    if rules.stable_debt and burnt > debt.variable_debt:
        burnt = debt.variable_debt  # the rest is stable debt, which is not scaled; no variable debt is no burn
        debt_scaled = 1 if burnt == 0 else rayDiv(burnt, debt.normalized_debt)
    else:
        divide = rayDivFloor if rules.directed_rounding else rayDiv
        debt_scaled = divide(burnt, debt.normalized_debt)
    if debt_scaled == 0:
        return [Gate("amounts", SHUT, "the debt to cover rounds to 0")]
    divide = rayDivCeil if rules.directed_rounding else rayDiv
    if not attempt.receive_a_token and divide(seizure.collateral, index) == 0:
        return [Gate("amounts", SHUT, "the collateral to seize rounds to 0")]
    return []


def _ceiling(attempt: Attempt, collateral: Holding, debt: Holding, balance: int, seizure: Seizure) -> list[Gate]:
    """The debt ceiling's book divides by 10 ** (decimals - 2), which reverts for debts of fewer decimals."""
    if words.decimals(debt.reserve.configuration) >= DEBT_CEILING_DECIMALS:
        return []
    ceiling = 0
    if attempt.rules.debt_ceiling_of_collateral:
        ceiling = words.debt_ceiling(collateral.reserve.configuration)
    elif attempt.rules.debt_ceiling_of_user:
        enabled = attempt.state.user_configuration
        if seizure.collateral + seizure.protocol_fee == balance:
            enabled &= ~(2 << 2 * collateral.reserve.id)
        if words.collateral_count(enabled) == 1:
            ceiling = sum(
                words.debt_ceiling(reserve.configuration)
                for reserve in attempt.state.reserves
                if words.is_using_as_collateral(enabled, reserve.id)
            )
    return [Gate("amounts", SHUT, "an isolated debt of fewer than 2 decimals cannot be reckoned")] if ceiling else []
