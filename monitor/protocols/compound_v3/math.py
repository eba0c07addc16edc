"""Comet's integers: rates, accrual, present values, liquidity and absorption, rounded as Comet.sol does (d5a30b0a).

Holds the raw state that they work on. Indexes have a scale of 10**15, factors of 10**18, prices 8 decimals. Where the
contract's checked arithmetic or a cast reverts, Overflows is raised; where its price feed does, BadPrice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from monitor.core.errors import ProtocolError
from monitor.core.types import Address, MarketRef
from monitor.core.units import UINT256_MAX, WAD

BASE_INDEX_SCALE = 10**15
FACTOR_SCALE = WAD
PRICE_DECIMALS = 8
SUPPLY_PAUSED, ABSORB_PAUSED = 1 << 0, 1 << 3
"""In pauseFlags (CometStorage, CometCore.PAUSE_SUPPLY_OFFSET and PAUSE_ABSORB_OFFSET)."""
EXTENDED_FROM = 16
"""Assets from this number on have their bit in `_reserved` (CometWithExtendedAssetList)."""


@dataclass(frozen=True, slots=True)
class Rates:
    """A kinked curve in 10**18 per second."""

    kink: int
    slope_low: int
    slope_high: int
    base: int

    def at(self, utilization: int) -> int:
        """Comet.getSupplyRate and getBorrowRate."""
        if utilization <= self.kink:
            return self.base + mul_factor(self.slope_low, utilization)
        over = mul_factor(self.slope_high, utilization - self.kink)
        return self.base + mul_factor(self.slope_low, self.kink) + over


@dataclass(frozen=True, slots=True)
class Asset:
    """A collateral asset as getAssetInfo tells it."""

    number: int
    address: Address
    symbol: str
    feed: Address
    scale: int
    borrow_factor: int
    liquidate_factor: int
    liquidation_factor: int
    supply_cap: int

    @property
    def decimals(self) -> int:
        """Comet keeps 10 ** decimals only."""
        return len(str(self.scale)) - 1


@dataclass(frozen=True, slots=True)
class Facts:
    """A market's parameters; all are immutables of the implementation and change only with it."""

    market: MarketRef
    base: Address
    base_symbol: str
    base_feed: Address
    base_scale: int
    base_borrow_min: int
    quote: str
    """what prices are in: USD, or the base asset where its feed is constant"""
    supply_rates: Rates
    borrow_rates: Rates
    assets: tuple[Asset, ...]

    @property
    def base_decimals(self) -> int:
        return len(str(self.base_scale)) - 1


@dataclass(frozen=True, slots=True)
class Totals:
    """`Comet.totalsBasic()`, as stored at the last accrual."""

    base_supply_index: int
    base_borrow_index: int
    total_supply_base: int
    total_borrow_base: int
    last_accrual_s: int
    pause_flags: int


@dataclass(frozen=True, slots=True)
class State:
    """One account: principal (below 0: a debt) and balances of the assets that its bits name, in their order.

    `price_errors`: why a price is missing, by asset (the base too).
    """

    facts: Facts
    totals: Totals
    principal: int
    balances: tuple[tuple[Asset, int], ...]
    price_errors: Mapping[Address, str]


class Overflows(ProtocolError):
    """The contract's own arithmetic or a cast would revert."""


class BadPrice(ProtocolError):
    """The contract would revert because a price feed does, or answers nothing positive."""


def checked(value: int, bits: int = 256) -> int:
    """A value that must fit. May raise: Overflows."""
    if not 0 <= value <= (UINT256_MAX if bits == 256 else 2**bits - 1):
        raise Overflows(f"a number does not fit {bits} bits")
    return value


def mul_factor(number: int, factor: int) -> int:
    """CometMath: n * factor / 1e18, down."""
    return checked(number * factor) // FACTOR_SCALE


def mul_price(number: int, price: int, from_scale: int) -> int:
    """CometCore.mulPrice: n * price / scale, down."""
    return checked(number * price) // from_scale


def in_asset(number: int, assets_in: int, reserved: int) -> bool:
    """CometCore.isInAsset, with the bits of the extended list."""
    if number < EXTENDED_FROM:
        return bool(assets_in >> number & 1)
    return bool(reserved >> (number - EXTENDED_FROM) & 1)


def present(principal: int, index: int) -> int:
    """presentValueSupply and presentValueBorrow: both down."""
    return checked(principal * index) // BASE_INDEX_SCALE


def utilization(totals: Totals) -> int:
    """Comet.getUtilization, on stored indexes."""
    supplied = present(totals.total_supply_base, totals.base_supply_index)
    if supplied == 0:
        return 0
    return checked(present(totals.total_borrow_base, totals.base_borrow_index) * FACTOR_SCALE) // supplied


def accrued(facts: Facts, totals: Totals, now_s: int) -> Totals:
    """Comet.accrueInternal at `now_s`: simple interest since the last accrual. May raise: Overflows."""
    elapsed_s = checked(now_s - totals.last_accrual_s)
    if elapsed_s == 0:
        return totals
    used = utilization(totals)
    supply_rate, borrow_rate = (checked(rates.at(used), 64) for rates in (facts.supply_rates, facts.borrow_rates))
    grown = [
        checked(index + checked(mul_factor(index, rate * elapsed_s), 64), 64)
        for index, rate in ((totals.base_supply_index, supply_rate), (totals.base_borrow_index, borrow_rate))
    ]
    return replace(totals, base_supply_index=grown[0], base_borrow_index=grown[1], last_accrual_s=now_s)


def debt_of(principal: int, totals: Totals) -> int:
    """The debt in base units at these indexes; 0 for a supplier."""
    return present(-principal, totals.base_borrow_index) if principal < 0 else 0


def supply_of(principal: int, totals: Totals) -> int:
    """What is supplied in base units at these indexes; 0 for a borrower."""
    return present(principal, totals.base_supply_index) if principal > 0 else 0


@dataclass(frozen=True, slots=True)
class Weighed:
    """Debt and the collateral that counts, in quote units, down; `values` are unweighted, by asset in order.

    `settled`: the contract stopped looking at further assets, because what it had seen sufficed.
    """

    debt: int
    counted: int
    values: tuple[tuple[Asset, int, int], ...]
    settled: bool


def weigh(state: State, prices: Mapping[Address, int], totals: Totals, *, borrowing: bool = False) -> Weighed:
    """What isLiquidatable (or, `borrowing`, isBorrowCollateralized) adds up. May raise: BadPrice, Overflows.

    The contract stops as soon as the collateral covers the debt, and so an asset whose feed fails after that does not
    matter to it. Beyond that point a missing price ends the sum here too, and `settled` tells.
    """
    facts = state.facts
    owed = mul_price(debt_of(state.principal, totals), price_of(state, prices, facts.base), facts.base_scale)
    counted, values, settled = 0, [], False
    for asset, balance in state.balances:
        settled = settled or counted >= owed
        if asset.address not in prices and settled:
            break
        value = mul_price(balance, price_of(state, prices, asset.address), asset.scale)
        part = mul_factor(value, asset.borrow_factor if borrowing else asset.liquidate_factor)
        counted += part
        values.append((asset, balance, value))
    return Weighed(owed, counted, tuple(values), settled or counted >= owed)


def price_of(state: State, prices: Mapping[Address, int], asset: Address) -> int:
    """May raise: BadPrice."""
    if asset not in prices:
        raise BadPrice(state.price_errors.get(asset, "no price"))
    return prices[asset]


@dataclass(frozen=True, slots=True)
class Absorbed:
    """What `absorb` does to an account: everything is seized, and what is worth more than the debt stays as supply."""

    seized: Sequence[tuple[Asset, int, int]]
    """(asset, balance, value in quote units)"""
    base_paid_out: int
    new_balance: int


def absorb(state: State, prices: Mapping[Address, int], totals: Totals) -> Absorbed:
    """Comet.absorbInternal on accrued totals, once the account is liquidatable. May raise: BadPrice, Overflows."""
    facts = state.facts
    base_price = price_of(state, prices, facts.base)
    old = -debt_of(state.principal, totals)
    delta, seized = 0, []
    for asset, balance in state.balances:
        value = mul_price(balance, price_of(state, prices, asset.address), asset.scale)
        delta += mul_factor(value, asset.liquidation_factor)
        seized.append((asset, balance, value))
    balance = max(old + checked(delta * facts.base_scale) // base_price, 0)
    return Absorbed(seized, balance - old, balance)
