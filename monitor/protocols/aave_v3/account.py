"""One account's six numbers from raw state: GenericLogic.calculateUserAccountData, every version, at any time.

In two steps, because searches repeat only the second: `holdings` brings the balances to a moment, `account_data` puts
prices on them. `health_bounds` bounds the health factor over a whole interval of prices or times, so that a search
can rule intervals out without looking at every price in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitor.core.units import UINT256_MAX
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.math import (
    PERCENTAGE_FACTOR,
    calculateCompoundedInterest,
    calculateCompoundedInterestTaylor,
    calculateLinearInterest,
    mulDivCeil,
    mulDivFloor,
    percentMul,
    percentMulFloor,
    rayMul,
    rayMulCeil,
    rayMulFloor,
    uint256,
    wadDiv,
)
from monitor.protocols.aave_v3.records import ZERO, Category, ReserveState, State
from monitor.protocols.aave_v3.versions import Rules


@dataclass(frozen=True, slots=True)
class Holding:
    """A reserve's balances at a moment, in the asset's smallest unit, and how it counts."""

    reserve: ReserveState
    price_key: str
    unit: int
    normalized_income: int
    normalized_debt: int
    enabled: bool
    """The collateral bit is set and the version lets the reserve count."""
    supplied: int
    variable_debt: int
    stable_debt: int
    borrowed: bool
    """The borrowing bit is set."""
    threshold: int
    ltv: int

    @property
    def debt(self) -> int:
        """Variable and stable debt."""
        return self.variable_debt + self.stable_debt

    @property
    def due(self) -> int:
        """What the guard repays of it in one action: the variable debt, or where there is none the stable one."""
        return self.variable_debt or self.stable_debt


@dataclass(frozen=True, slots=True)
class Valued:
    """A holding at its price, in base units: what is added to the sums (0 if it does not count)."""

    holding: Holding
    price: int
    collateral_value: int
    debt_value: int


@dataclass(frozen=True, slots=True)
class AccountData:
    """What getUserAccountData returns, with what it was made of. `weighted` is the sum of value times threshold."""

    values: tuple[Valued, ...]
    collateral: int
    debt: int
    weighted: int
    weighted_ltv: int
    available_borrows: int
    threshold: int
    ltv: int
    health_factor: int

    def reported(self) -> dict[str, int]:
        """The ABI's own names, in the ABI's order."""
        return {
            "totalCollateralBase": self.collateral,
            "totalDebtBase": self.debt,
            "availableBorrowsBase": self.available_borrows,
            "currentLiquidationThreshold": self.threshold,
            "ltv": self.ltv,
            "healthFactor": self.health_factor,
        }


def normalized_income(reserve: ReserveState, at_s: int) -> int:
    """The supply index in ray at `at_s`. ReserveLogic.getNormalizedIncome. May raise: ArithmeticReverts."""
    elapsed_s = uint256(at_s - reserve.last_update_s)
    if elapsed_s == 0:
        return reserve.liquidity_index
    return rayMul(calculateLinearInterest(reserve.liquidity_rate, elapsed_s), reserve.liquidity_index)


def normalized_debt(rules: Rules, reserve: ReserveState, at_s: int) -> int:
    """The variable debt index in ray at `at_s`. ReserveLogic.getNormalizedDebt. May raise: ArithmeticReverts."""
    elapsed_s = uint256(at_s - reserve.last_update_s)
    if elapsed_s == 0:
        return reserve.variable_borrow_index
    grown = calculateCompoundedInterestTaylor if rules.taylor_interest else calculateCompoundedInterest
    return rayMul(grown(reserve.variable_borrow_rate, elapsed_s), reserve.variable_borrow_index)


def supplied_balance(rules: Rules, scaled: int, index: int) -> int:
    """aToken.balanceOf: half up, from 3.5 down (TokenMath.getATokenBalance)."""
    return rayMulFloor(scaled, index) if rules.directed_rounding else rayMul(scaled, index)


def variable_debt_balance(rules: Rules, scaled: int, index: int) -> int:
    """variableDebtToken.balanceOf: half up, from 3.5 up (TokenMath.getVTokenBalance)."""
    return rayMulCeil(scaled, index) if rules.directed_rounding else rayMul(scaled, index)


def stable_debt_balance(rules: Rules, reserve: ReserveState, at_s: int) -> int:
    """StableDebtToken.balanceOf: principal with interest compounded since the owner's own last update (<= 3.1)."""
    if not rules.stable_debt or reserve.stable_principal == 0:
        return 0
    elapsed_s = uint256(at_s - reserve.stable_update_s)
    return rayMul(reserve.stable_principal, calculateCompoundedInterest(reserve.stable_rate, elapsed_s))


def debt_value(rules: Rules, debt: int, price: int, unit: int) -> int:
    """A debt in base units: down, from 3.5 up (GenericLogic._getUserDebtInBaseCurrency)."""
    return mulDivCeil(debt, price, unit) if rules.directed_rounding else mulDivFloor(debt, price, unit)


def in_category(rules: Rules, reserve: ReserveState, category: Category | None) -> bool:
    """Whether the owner's e-mode applies to the reserve as collateral."""
    if category is None:
        return False
    if rules.reserve_e_mode:
        return words.e_mode_category(reserve.configuration) == category.id
    return words.in_bitmap(category.collateral_bitmap, reserve.id)


def price_key(rules: Rules, reserve: ReserveState, category: Category | None) -> str:
    """Whose price counts: the asset's, or (<= 3.1) the category's own source if it has one and the reserve is in it."""
    if rules.reserve_e_mode and category and category.price_source != ZERO and in_category(rules, reserve, category):
        return category.price_source
    return reserve.asset


def reserve_ltv(rules: Rules, reserve: ReserveState, category: Category | None) -> int:
    """Loan to value in basis points; from 3.6 ValidationLogic.getUserReserveLtv."""
    base = words.ltv(reserve.configuration)
    if category is None:
        return base
    if in_category(rules, reserve, category):
        if rules.ltvzero_bitmap:
            return 0 if words.in_bitmap(category.ltvzero_bitmap, reserve.id) else category.ltv
        return category.ltv if base else 0
    return 0 if rules.isolated_e_mode and category.isolated else base


def reserve_threshold(rules: Rules, reserve: ReserveState, category: Category | None) -> int:
    """Liquidation threshold in basis points."""
    if category is not None and in_category(rules, reserve, category):
        return category.liquidation_threshold
    return words.liquidation_threshold(reserve.configuration)


def counts_as_collateral(rules: Rules, state: State, reserve: ReserveState) -> bool:
    """The owner's collateral bit is set and, up to 3.5, the reserve's own threshold is not 0."""
    if rules.threshold_gates_collateral and words.liquidation_threshold(reserve.configuration) == 0:
        return False
    return words.is_using_as_collateral(state.user_configuration, reserve.id)


def holdings(rules: Rules, state: State, at_s: int) -> tuple[Holding, ...]:
    """All balances at `at_s` (a block timestamp). May raise: ArithmeticReverts."""
    found = []
    for reserve in state.reserves:
        income = normalized_income(reserve, at_s)
        debt_index = normalized_debt(rules, reserve, at_s)
        found.append(
            Holding(
                reserve=reserve,
                price_key=price_key(rules, reserve, state.category),
                unit=10 ** words.decimals(reserve.configuration),
                normalized_income=income,
                normalized_debt=debt_index,
                enabled=counts_as_collateral(rules, state, reserve),
                supplied=supplied_balance(rules, reserve.scaled_a_token, income),
                variable_debt=variable_debt_balance(rules, reserve.scaled_variable_debt, debt_index),
                stable_debt=stable_debt_balance(rules, reserve, at_s),
                borrowed=words.is_borrowing(state.user_configuration, reserve.id),
                threshold=reserve_threshold(rules, reserve, state.category),
                ltv=reserve_ltv(rules, reserve, state.category),
            )
        )
    return tuple(found)


def supplied_value(holding: Holding, price: int) -> int:
    """A deposit in base units, down (GenericLogic._getUserBalanceInBaseCurrency)."""
    return mulDivFloor(holding.supplied, price, holding.unit)


def valued(rules: Rules, holding: Holding, price: int) -> Valued:
    """The holding at a price (base units per whole token). May raise: ArithmeticReverts."""
    return Valued(
        holding,
        price,
        counted_collateral(holding, price),
        counted_debt(rules, holding, price),
    )


def counted_collateral(holding: Holding, price: int) -> int:
    """What the holding adds to the collateral, in base units."""
    return supplied_value(holding, price) if holding.enabled else 0


def counted_debt(rules: Rules, holding: Holding, price: int) -> int:
    """What the holding adds to the debt, in base units."""
    return debt_value(rules, holding.debt, price, holding.unit) if holding.borrowed else 0


def price_of(holding: Holding, prices: Mapping[str, int]) -> int:
    """The price that counts; a category's source that answers 0 gives way to the asset's own. May raise: KeyError."""
    return prices[holding.price_key] or prices[holding.reserve.asset]


def covered(rules: Rules, collateral: int, threshold: int, weighted: int) -> int:
    """The collateral that the thresholds let count: in base units up to 3.4, in base units times 10000 from 3.5.

    Up to 3.4 from the average threshold in whole basis points, which loses up to one of them.
    """
    return weighted if rules.directed_rounding else percentMul(collateral, threshold)


def health_factor(rules: Rules, covered_: int, debt: int) -> int:
    """The wad that the contract compares with 1e18; 2**256 - 1 without debt. GenericLogic, every version."""
    if debt == 0:
        return UINT256_MAX
    ratio = wadDiv(covered_, debt)
    return ratio // PERCENTAGE_FACTOR if rules.directed_rounding else ratio


def account_data(rules: Rules, held: Sequence[Holding], prices: Mapping[str, int]) -> AccountData:
    """The account at these prices (by price key). May raise: ArithmeticReverts, KeyError for a missing price."""
    values = tuple(valued(rules, holding, price_of(holding, prices)) for holding in held)
    collateral = uint256(sum(v.collateral_value for v in values))
    debt = uint256(sum(v.debt_value for v in values))
    weighted = uint256(sum(v.collateral_value * v.holding.threshold for v in values))
    weighted_ltv = uint256(sum(v.collateral_value * v.holding.ltv for v in values))
    threshold = weighted // collateral if collateral else 0
    ltv = weighted_ltv // collateral if collateral else 0
    borrowable = percentMulFloor(collateral, ltv) if rules.directed_rounding else percentMul(collateral, ltv)
    return AccountData(
        values=values,
        collateral=collateral,
        debt=debt,
        weighted=weighted,
        weighted_ltv=weighted_ltv,
        available_borrows=max(borrowable - debt, 0),
        threshold=threshold,
        ltv=ltv,
        health_factor=health_factor(rules, covered(rules, collateral, threshold, weighted), debt),
    )
