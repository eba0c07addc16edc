"""Morpho's integers: accrual, shares and liquidation, rounded as Morpho.sol, SharesMathLib and MathLib 1.0.0 do.

Holds the raw state that they work on. Where the contract's checked arithmetic reverts, Overflows is raised.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitor.core.errors import ProtocolError
from monitor.core.types import Address, MarketRef
from monitor.core.units import UINT256_MAX, WAD, mul_div_down

ORACLE_PRICE_SCALE = 10**36
VIRTUAL_SHARES = 10**6
VIRTUAL_ASSETS = 1
UINT128_MAX = 2**128 - 1


@dataclass(frozen=True, slots=True)
class Token:
    """An ERC-20 of the market."""

    address: Address
    symbol: str
    decimals: int


@dataclass(frozen=True, slots=True)
class Facts:
    """A market's immutable parameters. `adaptive`: the rate model answers rateAtTarget as AdaptiveCurveIrm does."""

    market: MarketRef
    loan: Token
    collateral: Token
    oracle: Address
    irm: Address
    lltv: int
    adaptive: bool

    @property
    def params(self) -> tuple[Address, Address, Address, Address, int]:
        """The MarketParams struct."""
        return (self.loan.address, self.collateral.address, self.oracle, self.irm, self.lltv)

    @property
    def market_id(self) -> bytes:
        """The market id as bytes32."""
        return bytes.fromhex((self.market.id or "").removeprefix("0x"))

    @property
    def price_decimals(self) -> int:
        """The oracle's price of one whole collateral token in whole loan tokens has this many decimals."""
        return 36 + self.loan.decimals - self.collateral.decimals


@dataclass(frozen=True, slots=True)
class Totals:
    """`Morpho.market(id)`; assets in loan units, fee in WAD."""

    total_supply_assets: int
    total_supply_shares: int
    total_borrow_assets: int
    total_borrow_shares: int
    last_update: int
    fee: int


@dataclass(frozen=True, slots=True)
class State:
    """Raw state of one borrower and its market. `rate_at_target` is None when the rate model is not adaptive."""

    facts: Facts
    totals: Totals
    supply_shares: int
    borrow_shares: int
    collateral: int
    borrow_rate: int
    rate_at_target: int | None
    oracle_error: str = ""


class Overflows(ProtocolError):
    """The contract's own arithmetic would revert (256-bit overflow, 128-bit cast, underflow, division by zero)."""


def u256(value: int) -> int:
    if not 0 <= value <= UINT256_MAX:
        raise Overflows("arithmetic under- or overflow")
    return value


def u128(value: int) -> int:
    if not 0 <= value <= UINT128_MAX:
        raise Overflows("max uint128 exceeded")
    return value


def accrue(totals: Totals, borrow_rate: int, now_s: int) -> Totals:
    """Morpho._accrueInterest at `now_s`, with `borrow_rate` in WAD per second. May raise: Overflows."""
    elapsed = now_s - totals.last_update
    if elapsed == 0:
        return totals
    first = u256(borrow_rate * elapsed)
    second = mul_div_down(u256(first * first), 1, 2 * WAD)
    third = mul_div_down(u256(second * first), 1, 3 * WAD)
    interest = u256(totals.total_borrow_assets * u256(first + second + third)) // WAD
    borrow_assets = u128(totals.total_borrow_assets + u128(interest))
    supply_assets = u128(totals.total_supply_assets + interest)
    supply_shares = totals.total_supply_shares
    if totals.fee:
        fee_amount = u256(interest * totals.fee) // WAD
        fee_shares = u256(fee_amount * (supply_shares + VIRTUAL_SHARES)) // (
            supply_assets - fee_amount + VIRTUAL_ASSETS
        )
        supply_shares = u128(supply_shares + u128(fee_shares))
    return Totals(supply_assets, supply_shares, borrow_assets, totals.total_borrow_shares, now_s, totals.fee)


def to_assets_up(shares: int, total_assets: int, total_shares: int) -> int:
    """SharesMathLib.toAssetsUp."""
    denominator = total_shares + VIRTUAL_SHARES
    return u256(u256(shares * (total_assets + VIRTUAL_ASSETS)) + denominator - 1) // denominator


def to_assets_down(shares: int, total_assets: int, total_shares: int) -> int:
    """SharesMathLib.toAssetsDown."""
    return u256(shares * (total_assets + VIRTUAL_ASSETS)) // (total_shares + VIRTUAL_SHARES)


def to_shares_down(assets: int, total_assets: int, total_shares: int) -> int:
    """SharesMathLib.toSharesDown."""
    return u256(assets * (total_shares + VIRTUAL_SHARES)) // (total_assets + VIRTUAL_ASSETS)


def to_shares_up(assets: int, total_assets: int, total_shares: int) -> int:
    """SharesMathLib.toSharesUp."""
    denominator = total_assets + VIRTUAL_ASSETS
    return u256(u256(assets * (total_shares + VIRTUAL_SHARES)) + denominator - 1) // denominator


def liquidation_incentive_factor(lltv: int) -> int:
    """Morpho's bonus as WAD: min(1.15, 1 / (1 - 0.3 (1 - lltv)))."""
    return min(115 * WAD // 100, mul_div_down(WAD, WAD, WAD - 3 * WAD // 10 * (WAD - lltv) // WAD))


@dataclass(frozen=True, slots=True)
class Seizure:
    """What a liquidation moves. Assets in loan units, `seized` in collateral units."""

    repaid_assets: int
    repaid_shares: int
    seized: int
    bad_debt_assets: int
    bad_debt_shares: int


def seized_by(lltv: int, totals: Totals, price: int, shares: int) -> int:
    """The collateral that repaying so many shares takes, be it there or not. May raise: Overflows."""
    if price == 0:
        raise Overflows("division by zero")
    worth = to_assets_down(shares, totals.total_borrow_assets, totals.total_borrow_shares)
    return u256(u256(worth * liquidation_incentive_factor(lltv)) // WAD * ORACLE_PRICE_SCALE) // price


def liquidate(state: State, totals: Totals, price: int, seized: int, shares: int) -> Seizure:
    """Morpho.liquidate after its health check, on accrued totals. May raise: Overflows when the contract reverts."""
    if (seized == 0) == (shares == 0):
        raise Overflows("inconsistent input")
    tba, tbs = totals.total_borrow_assets, totals.total_borrow_shares
    factor = liquidation_incentive_factor(state.facts.lltv)
    if seized:
        quoted = u256(u256(seized * price) + ORACLE_PRICE_SCALE - 1) // ORACLE_PRICE_SCALE
        shares = to_shares_up(u256(u256(quoted * WAD) + factor - 1) // factor, tba, tbs)
    else:
        seized = seized_by(state.facts.lltv, totals, price, shares)
    repaid = to_assets_up(shares, tba, tbs)
    shares_left = u256(state.borrow_shares - u128(shares))
    shares_total = u256(tbs - shares)
    assets_total = max(0, tba - u128(repaid))
    collateral_left = u256(state.collateral - u128(seized))
    bad_shares = bad_assets = 0
    if collateral_left == 0:
        bad_shares = shares_left
        bad_assets = min(assets_total, to_assets_up(bad_shares, assets_total, shares_total))
        u256(totals.total_supply_assets - bad_assets)
    return Seizure(repaid, shares, seized, bad_assets, bad_shares)
