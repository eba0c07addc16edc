"""Euler V2's integers: owed, quotes, liquidity by liquidation LTV, and what checkLiquidation answers.

Mirrors LiquidityUtils, LTVConfig, RPow and Liquidation of euler-vault-kit 5b98b42. Holds the raw state they work on. An
oracle of Euler quotes amounts, not prices: a Quote is exact for the amount that was read, and is scaled in proportion
for other amounts or prices. Where the vault reverts, Refused is raised with its error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from monitor.core.errors import ProtocolError
from monitor.core.types import Address, MarketRef
from monitor.core.units import RAY, UINT256_MAX, WAD

CONFIG_SCALE = 10_000
INTERNAL_DEBT_PRECISION_SHIFT = 31
OP_LIQUIDATE = 1 << 11
PRICE_DIGITS = 9
"""A price has so many decimals more than the unit of account, since it is told from a rounded quote."""


class Refused(ProtocolError):
    """The vault reverts; the message is its error, or its oracle's."""


@dataclass(frozen=True, slots=True)
class Token:
    """A collateral vault (amounts are its shares), or the asset that is owed."""

    address: Address
    symbol: str
    decimals: int


@dataclass(frozen=True, slots=True)
class Facts:
    """A vault that is borrowed from. `unit`: what its oracle quotes in, an address that may be a currency's number."""

    market: MarketRef
    evc: Address
    asset: Token
    oracle: Address
    unit: Address
    unit_symbol: str
    unit_decimals: int
    collaterals: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Ltv:
    """LTVFull: basis points, and the ramp from `initial` to `liquidation` that ends at `target_s`."""

    borrow: int
    liquidation: int
    initial: int
    target_s: int
    ramp_s: int

    @property
    def recognized(self) -> bool:
        return self.target_s != 0

    def at(self, now_s: int) -> int:
        """LTVConfig.getLTV for liquidations: falls in a line while it ramps, and never rises."""
        if now_s >= self.target_s or self.liquidation >= self.initial:
            return self.liquidation
        return self.liquidation + (self.initial - self.liquidation) * (self.target_s - now_s) // self.ramp_s


@dataclass(frozen=True, slots=True)
class Quote:
    """What the oracle says that `amount` of a token is worth. `error` instead of a value where it reverts."""

    token: Token
    amount: int
    value: int
    error: str = ""

    @property
    def price(self) -> int:
        """Per whole token, with PRICE_DIGITS decimals more than the unit; up, so 0 only where the value is."""
        return -(-self.value * 10 ** (self.token.decimals + PRICE_DIGITS) // self.amount) if self.amount else 0

    def at(self, price: int | None, amount: int, *, up: bool = False) -> int:
        """The value of `amount` at `price`: the quote itself where both are as read. May raise: Refused."""
        if price is None or self.error:
            raise Refused(self.error or f"no quote for {self.token.symbol}")
        whole, parts = price * amount, 10 ** (self.token.decimals + PRICE_DIGITS)
        if self.price and self.amount:  # in proportion to what was read, so that nothing is lost at that very price
            whole, parts = self.value * whole, self.price * self.amount
        return checked(-(-whole // parts) if up else whole // parts)


@dataclass(frozen=True, slots=True)
class Collateral:
    """An enabled collateral that the vault recognizes, with the account's shares."""

    ltv: Ltv
    quote: Quote

    @property
    def balance(self) -> int:
        return self.quote.amount

    @property
    def token(self) -> Token:
        return self.quote.token


@dataclass(frozen=True, slots=True)
class State:
    """One account (a sub-account is one) in one vault, at `read_s`. `owed` in 2**-31 of the asset's smallest unit.

    `controlled`: the vault is the account's controller; without, it has no debt here. `hooked_ops` and `hook_target`
    are hookConfig.
    """

    facts: Facts
    read_s: int
    controlled: bool
    owed: int
    interest_rate: int
    collaterals: tuple[Collateral, ...]
    debt_quote: Quote
    max_discount: int
    cool_off_s: int
    checked_s: int
    hook_target: Address
    hooked_ops: int


def checked(value: int) -> int:
    """A value that must fit 256 bits. May raise: Refused."""
    if value > UINT256_MAX:
        raise Refused("panic 0x11")
    return value


def rpow(x: int, n: int, base: int) -> int:
    """RPow.rpow: x ** n in fixed point, half up at each step. May raise: Refused where that overflows."""
    z = x if n % 2 else base
    n //= 2
    while n:
        x = checked(x * x + base // 2) // base
        if n % 2:
            z = checked(z * x + base // 2) // base
        n //= 2
    return z


def debt(state: State, now_s: int) -> int:
    """debtOf in the asset's smallest unit, up. After `read_s` an upper bound: at most a unit above the vault's."""
    owed = state.owed
    if owed and now_s > state.read_s:
        elapsed_s = now_s - state.read_s
        # what was read is already rounded: a unit, and the ulps that so many steps of rpow may lose
        growth = rpow(state.interest_rate + RAY, elapsed_s, RAY) + elapsed_s + 2
        owed = -(-(owed + 1) * growth // RAY)
    return -(-owed >> INTERNAL_DEBT_PRECISION_SHIFT) if owed else 0


@dataclass(frozen=True, slots=True)
class Liquidity:
    """accountLiquidity(account, true), in the unit of account. Equality is already liquidatable."""

    collateral: int
    liability: int

    @property
    def violated(self) -> bool:
        return self.collateral <= self.liability and self.liability > 0


def liability_value(state: State, prices: Mapping[Address, int], now_s: int) -> int:
    """LiquidityUtils.getLiabilityValue at mid prices. May raise: Refused."""
    facts, due = state.facts, debt(state, now_s)
    if due == 0 or facts.asset.address == facts.unit:
        return due
    return state.debt_quote.at(prices.get(facts.asset.address), due, up=True)


def collateral_value(one: Collateral, prices: Mapping[Address, int], now_s: int) -> int:
    """LiquidityUtils.getCollateralValue at mid prices. May raise: Refused."""
    ltv = one.ltv.at(now_s)
    if ltv == 0 or one.balance == 0:
        return 0
    return checked(full_value(one, prices) * ltv) // CONFIG_SCALE


def full_value(one: Collateral, prices: Mapping[Address, int]) -> int:
    """A collateral without its LTV. May raise: Refused."""
    return one.quote.at(prices.get(one.token.address), one.balance)


def liquidity(state: State, prices: Mapping[Address, int], now_s: int) -> Liquidity:
    """LiquidityUtils.calculateLiquidity for liquidations. May raise: Refused."""
    if int(state.facts.oracle, 16) == 0:
        raise Refused("E_NoPriceOracle()")
    collateral = checked(sum(collateral_value(one, prices, now_s) for one in state.collaterals))
    return Liquidity(collateral, liability_value(state, prices, now_s))


@dataclass(frozen=True, slots=True)
class Seizure:
    """checkLiquidation: the liquidator takes over `repay` of the debt for `shares` of the collateral."""

    repay: int
    shares: int

    @property
    def any(self) -> bool:
        return bool(self.repay or self.shares)


def in_cool_off(state: State, now_s: int) -> bool:
    """Liquidation.isInLiquidationCoolOff."""
    return now_s < state.checked_s + state.cool_off_s


def check_liquidation(state: State, prices: Mapping[Address, int], now_s: int, collateral: Address) -> Seizure:
    """Liquidation.checkLiquidation for a stranger: zeros for a healthy account. May raise: Refused."""
    one = next((held for held in state.collaterals if held.token.address == collateral), None)
    if not state.controlled:
        raise Refused("E_NoLiability()")
    if one is None:
        known = any(token.address == collateral for token in state.facts.collaterals)
        raise Refused("E_CollateralDisabled()" if known else "E_BadCollateral()")
    if in_cool_off(state, now_s):
        raise Refused("E_LiquidationCoolOff()")
    due = debt(state, now_s)
    if due == 0:
        return Seizure(0, 0)
    found = liquidity(state, prices, now_s)
    if not found.violated:
        return Seizure(0, 0)
    least = WAD - WAD * state.max_discount // CONFIG_SCALE
    factor = max(checked(found.collateral * WAD) // found.liability, least)
    value = full_value(one, prices)
    if value == 0:
        return Seizure(0, one.balance)
    if factor == 0:
        raise Refused("panic 0x12")
    max_repay, max_yield = found.liability, checked(found.liability * WAD) // factor
    if value < max_yield:
        max_repay, max_yield = checked(value * factor) // WAD, value
    return Seizure(checked(max_repay * due) // found.liability, checked(max_yield * one.balance) // value)
