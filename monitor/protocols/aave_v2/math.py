# ruff: noqa: N802  (functions bear the names of the contract functions that they mirror)
"""Aave V2's integers: interest, the six numbers of an account, and what a liquidation call moves.

Mirrors MathUtils, ReserveLogic, GenericLogic and LendingPoolCollateralManager of protocol-v2 1.0.1. WadRayMath,
PercentageMath and the linear interest are the same libraries as in Aave V3 3.0 and are taken from there; the compounded
interest is not: V2 floors the rate per second first. Holds the raw state that they work on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitor.core.errors import ProtocolError
from monitor.core.types import Address, MarketRef
from monitor.core.units import RAY, UINT256_MAX, WAD
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.math import (
    SECONDS_PER_YEAR,
    calculateLinearInterest,
    mulDivFloor,
    percentDiv,
    percentMul,
    rayDiv,
    rayMul,
    uint256,
    wadDiv,
)

LIQUIDATION_CLOSE_FACTOR_PERCENT = 5_000
MAX_THRESHOLD = 0xFFFF
"""The configuration word has no room for more."""


@dataclass(frozen=True, slots=True)
class ReserveFacts:
    """A reserve, by its place in getReservesList, which is its place in an account's bitmap."""

    id: int
    asset: Address
    symbol: str
    decimals: int
    a_token: Address
    """which holds the reserve's cash"""


@dataclass(frozen=True, slots=True)
class Facts:
    """A market's contracts. `base` is what its oracle counts in: ETH, or USD where the oracle says so."""

    market: MarketRef
    pool: Address
    oracle: Address
    base: str
    base_decimals: int
    reserves: tuple[ReserveFacts, ...]


@dataclass(frozen=True, slots=True)
class Reserve:
    """A reserve as getReserveData tells it and what the account has in it. Rates and indexes in ray, times in seconds.

    Of the balances only those are read that a set bit of the account lets count.
    """

    facts: ReserveFacts
    configuration: int
    liquidity_index: int
    variable_borrow_index: int
    liquidity_rate: int
    variable_borrow_rate: int
    last_update_s: int
    collateral: bool
    borrowing: bool
    scaled_a_token: int = 0
    scaled_variable_debt: int = 0
    stable_principal: int = 0
    stable_rate: int = 0
    stable_update_s: int = 0

    @property
    def asset(self) -> Address:
        return self.facts.asset

    @property
    def unit(self) -> int:
        return int(10 ** words.decimals(self.configuration))

    @property
    def threshold(self) -> int:
        return words.liquidation_threshold(self.configuration)

    @property
    def counts(self) -> bool:
        """Whether a deposit counts: the bit is set and the reserve's threshold is not 0."""
        return self.collateral and self.threshold != 0


@dataclass(frozen=True, slots=True)
class State:
    """One account: the reserves whose bits are set, in their order. `price_errors`: why a price is missing."""

    facts: Facts
    paused: bool
    reserves: tuple[Reserve, ...]
    price_errors: Mapping[Address, str]

    @property
    def borrows(self) -> bool:
        return any(one.borrowing for one in self.reserves)


class NoPrice(ProtocolError):
    """The contract reverts because its oracle does."""


def calculateCompoundedInterest(rate: int, elapsed_s: int) -> int:
    """Growth in ray of a debt after `elapsed_s` at `rate` (ray per year). MathUtils: the rate is floored first."""
    if elapsed_s == 0:
        return RAY
    minus_one, minus_two = elapsed_s - 1, max(elapsed_s - 2, 0)
    per_second = rate // SECONDS_PER_YEAR
    base_power_two = rayMul(per_second, per_second)
    base_power_three = rayMul(base_power_two, per_second)
    second_term = uint256(elapsed_s * minus_one * base_power_two) // 2
    third_term = uint256(elapsed_s * minus_one * minus_two * base_power_three) // 6
    return uint256(RAY + per_second * elapsed_s + second_term + third_term)


def getNormalizedIncome(reserve: Reserve, at_s: int) -> int:
    """ReserveLogic.getNormalizedIncome in ray at `at_s`. May raise: ArithmeticReverts."""
    elapsed_s = uint256(at_s - reserve.last_update_s)
    if elapsed_s == 0:
        return reserve.liquidity_index
    return rayMul(calculateLinearInterest(reserve.liquidity_rate, elapsed_s), reserve.liquidity_index)


def getNormalizedDebt(reserve: Reserve, at_s: int) -> int:
    """ReserveLogic.getNormalizedDebt in ray at `at_s`. May raise: ArithmeticReverts."""
    elapsed_s = uint256(at_s - reserve.last_update_s)
    if elapsed_s == 0:
        return reserve.variable_borrow_index
    return rayMul(calculateCompoundedInterest(reserve.variable_borrow_rate, elapsed_s), reserve.variable_borrow_index)


@dataclass(frozen=True, slots=True)
class Balances:
    """What the tokens' balanceOf say at a moment, in the asset's smallest unit."""

    reserve: Reserve
    supplied: int
    variable_debt: int
    stable_debt: int

    @property
    def debt(self) -> int:
        return self.stable_debt + self.variable_debt


def balances(reserve: Reserve, at_s: int) -> Balances:
    """AToken, VariableDebtToken and StableDebtToken.balanceOf at `at_s`. May raise: ArithmeticReverts."""
    stable = 0
    if reserve.stable_principal:
        elapsed_s = uint256(at_s - reserve.stable_update_s)
        stable = rayMul(reserve.stable_principal, calculateCompoundedInterest(reserve.stable_rate, elapsed_s))
    return Balances(
        reserve,
        rayMul(reserve.scaled_a_token, getNormalizedIncome(reserve, at_s)),
        rayMul(reserve.scaled_variable_debt, getNormalizedDebt(reserve, at_s)),
        stable,
    )


@dataclass(frozen=True, slots=True)
class AccountData:
    """Of getUserAccountData, with the sum of value times threshold that its average is floored from. In base units."""

    collateral: int
    debt: int
    available_borrows: int
    weighted: int
    threshold: int
    ltv: int
    health_factor: int

    def reported(self) -> dict[str, int]:
        """The ABI's own names, in the ABI's order."""
        return {
            "totalCollateralETH": self.collateral,
            "totalDebtETH": self.debt,
            "availableBorrowsETH": self.available_borrows,
            "currentLiquidationThreshold": self.threshold,
            "ltv": self.ltv,
            "healthFactor": self.health_factor,
        }


def price_of(state: State, prices: Mapping[Address, int], asset: Address) -> int:
    """May raise: NoPrice."""
    if asset not in prices:
        raise NoPrice(state.price_errors.get(asset, "no price"))
    return prices[asset]


def health_factor(collateral: int, debt: int, threshold: int) -> int:
    """GenericLogic.calculateHealthFactorFromBalances."""
    return wadDiv(percentMul(collateral, threshold), debt) if debt else UINT256_MAX


def account_data(state: State, prices: Mapping[Address, int], at_s: int) -> AccountData:
    """GenericLogic.calculateUserAccountData at `at_s`. May raise: ArithmeticReverts, NoPrice."""
    collateral = debt = weighted = weighted_ltv = 0
    for reserve in state.reserves:
        price = price_of(state, prices, reserve.asset)
        held = balances(reserve, at_s)
        if reserve.counts:
            value = mulDivFloor(price, held.supplied, reserve.unit)
            collateral = uint256(collateral + value)
            weighted = uint256(weighted + value * reserve.threshold)
            weighted_ltv = uint256(weighted_ltv + value * words.ltv(reserve.configuration))
        if reserve.borrowing:
            debt = uint256(debt + mulDivFloor(price, held.debt, reserve.unit))
    threshold = weighted // collateral if collateral else 0
    ltv = weighted_ltv // collateral if collateral else 0
    return AccountData(
        collateral=collateral,
        debt=debt,
        available_borrows=max(percentMul(collateral, ltv) - debt, 0),
        weighted=weighted,
        threshold=threshold,
        ltv=ltv,
        health_factor=health_factor(collateral, debt, threshold),
    )


def bounds(low: AccountData, high: AccountData) -> tuple[int, int]:
    """The least and the most that the health factor can be between two ends of prices or times.

    Every sum grows with prices and time, so the average threshold lies between the quotients of opposite ends. The
    contract floors it to whole basis points, which is why health may turn between ends that agree.
    """
    floor = low.weighted // high.collateral if high.collateral else 0
    ceiling = min(high.weighted // low.collateral, MAX_THRESHOLD) if low.collateral else MAX_THRESHOLD
    return health_factor(low.collateral, high.debt, floor), health_factor(high.collateral, low.debt, ceiling)


@dataclass(frozen=True, slots=True)
class Seizure:
    """What liquidationCall moves: `debt_to_cover` of the debt asset for `collateral`, both in their smallest units."""

    debt_to_cover: int
    collateral: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why liquidationCall would fail: the contract's own code, 23 where the manager's call itself reverts."""

    code: str


def liquidation(
    state: State,
    prices: Mapping[Address, int],
    at_s: int,
    collateral: Address,
    debt: Address,
    debt_to_cover: int = UINT256_MAX,
    *,
    receive_a_token: bool = True,
    liquidity: int | None = None,
) -> Seizure | Refusal:
    """LendingPoolCollateralManager.liquidationCall by a funded stranger. May raise: ArithmeticReverts, NoPrice.

    Both errors mean that the call fails with 23. `liquidity` is the underlying that the aToken holds, and only counts
    without `receive_a_token`. Half of a debt is the most that one call covers, whatever the health.
    """
    held, due = (_held(state, asset, at_s) for asset in (collateral, debt))
    code = "64" if state.paused else _validated(account_data(state, prices, at_s), held, due)
    if code or held is None or due is None:
        return Refusal(code)
    most = percentMul(due.debt, LIQUIDATION_CLOSE_FACTOR_PERCENT)
    moved = _available(held, due, prices, min(debt_to_cover, most))
    if not receive_a_token and liquidity is not None and liquidity < moved.collateral:
        return Refusal("45")
    income = getNormalizedIncome(held.reserve, at_s)
    if _burns_variable(moved, due, at_s) and (receive_a_token or rayDiv(moved.collateral, income)):
        return moved
    return Refusal("23")


def _validated(data: AccountData, held: Balances | None, due: Balances | None) -> str:
    """ValidationLogic.validateLiquidationCall: the code, "" if all is well. None: no bit of the account is set."""
    if not all(words.active(one.reserve.configuration) for one in (held, due) if one is not None):
        return "2"
    if data.health_factor >= WAD:
        return "42"
    if held is None or not held.reserve.counts:
        return "43"
    return "44" if due is None or due.debt == 0 else ""


def _burns_variable(moved: Seizure, due: Balances, at_s: int) -> bool:
    """Whether VariableDebtToken.burn, if it is called, has something to burn and not more than there is."""
    reserve, part = due.reserve, min(moved.debt_to_cover, due.variable_debt)
    if part == 0 and moved.debt_to_cover:
        return True  # all of it is stable debt
    return 0 < rayDiv(part, stored_debt_index(reserve, at_s)) <= reserve.scaled_variable_debt


def _available(held: Balances, due: Balances, prices: Mapping[Address, int], cover: int) -> Seizure:
    """_calculateAvailableCollateralToLiquidate: the bonus is applied before the division."""
    bonus = words.liquidation_bonus(held.reserve.configuration)
    price, debt_price = prices[held.reserve.asset], prices[due.reserve.asset]
    worth = percentMul(uint256(debt_price * cover * held.reserve.unit), bonus)
    most = mulDivFloor(worth, 1, uint256(price * due.reserve.unit))
    if most <= held.supplied:
        return Seizure(cover, most)
    needed = mulDivFloor(price * held.supplied, due.reserve.unit, uint256(debt_price * held.reserve.unit))
    return Seizure(min(percentDiv(needed, bonus), cover), held.supplied)


def stored_debt_index(reserve: Reserve, at_s: int) -> int:
    """What the variable index is after updateState: it does not move while suppliers earn nothing."""
    return getNormalizedDebt(reserve, at_s) if reserve.liquidity_rate else reserve.variable_borrow_index


def _held(state: State, asset: Address, at_s: int) -> Balances | None:
    return next((balances(one, at_s) for one in state.reserves if one.asset == asset), None)


def pairs(state: State) -> Sequence[tuple[Address, Address]]:
    """Every (collateral, debt) that a liquidation could name."""
    return [
        (seized.asset, owed.asset)
        for seized in state.reserves
        if seized.counts
        for owed in state.reserves
        if owed.borrowing
    ]
