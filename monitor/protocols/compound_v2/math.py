"""The integers of Compound V2 and its forks: accrual, liquidity and seizure, rounded as CToken and Comptroller do.

Holds the raw state that they work on. Exp has 18 decimals and truncates. Where checked arithmetic reverts, Overflows is
raised; where a market cannot accrue, Stuck; where the comptroller answers an error code, Rejected.

A borrower's (principal, interestIndex) has no getter. What is read is `borrowBalanceStored`, already rounded down, so
that the debt at a later index is known up to one smallest unit: all debts here are bounds (low, high), equal where the
snapshot is known or nothing has accrued since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from monitor.core.errors import ProtocolError
from monitor.core.types import Address, MarketRef
from monitor.core.units import UINT256_MAX, WAD

BORROW_RATE_MAX = 5 * 10**12
"""CTokenStorage.borrowRateMaxMantissa, 0.0005e16; the same in all forks read."""
PRICE_ERROR = 13
SNAPSHOT_ERROR = 15
"""ComptrollerErrorReporter.Error."""


@dataclass(frozen=True, slots=True)
class MarketFacts:
    """A market of the comptroller. `underlying` is None where it is the chain's own coin."""

    token: Address
    underlying: Address | None
    symbol: str
    decimals: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What changes only when governance lists a market or swaps the oracle. `vai`: the VAI controller, where known."""

    market: MarketRef
    oracle: Address
    markets: tuple[MarketFacts, ...]
    vai: Address | None = None


@dataclass(frozen=True, slots=True)
class Market:
    """A market as stored at its last accrual, and what governance says of it for the account at hand.

    `accrued_at` in the fork's own clock (block number or timestamp), `borrow_rate` per tick of it. `liquidation_factor`
    is the collateral factor except on Venus; `exchange_rate` is exchangeRateStored.
    """

    facts: MarketFacts
    cash: int
    borrows: int
    reserves: int
    supply: int
    index: int
    accrued_at: int
    reserve_factor: int
    borrow_rate: int
    exchange_rate: int
    listed: bool
    collateral_factor: int
    liquidation_factor: int
    incentive: int


@dataclass(frozen=True, slots=True)
class Debt:
    """A borrow snapshot. Not `exact`: the principal is borrowBalanceStored, rounded down at `index`."""

    principal: int
    index: int
    exact: bool = False

    def at(self, index: int) -> tuple[int, int]:
        """The least and the most that borrowBalanceStoredInternal can be at `index`. May raise: Overflows."""
        if self.principal == 0:
            return 0, 0
        if not self.index:
            raise Overflows("the borrow index is 0")
        low = checked(self.principal * index) // self.index
        if self.exact or index == self.index:
            return low, low
        return low, -(-(self.principal + 1) * index // self.index) - 1


@dataclass(frozen=True, slots=True)
class Holding:
    """One market of an account. `error`: what getAccountSnapshot answered instead of numbers, or "" ."""

    market: Market
    entered: bool
    tokens: int
    debt: Debt
    error: str = ""

    @property
    def empty(self) -> bool:
        return not self.tokens and not self.debt.principal

    @property
    def token(self) -> Address:
        return self.market.facts.token


@dataclass(frozen=True, slots=True)
class State:
    """An account: its markets, those entered first and in their order, then others that it holds tokens of.

    `skips_empty`: the comptroller reads no price for an entered market without balance and debt (Venus).
    `price_errors`: why a price is missing, by market. `vai`: the VAI owed, as its controller counts it.
    """

    facts: Facts
    close_factor: int
    holdings: tuple[Holding, ...]
    skips_empty: bool
    price_errors: Mapping[Address, str]
    pool: int = 0
    vai: int = 0
    forced: tuple[Address, ...] = ()
    """markets whose debt of this very account anyone may liquidate whatever its health (Venus)"""

    def of(self, token: Address) -> Holding | None:
        return next((one for one in self.holdings if one.token == token), None)

    @property
    def debts(self) -> list[Holding]:
        return [one for one in self.holdings if one.debt.principal]

    @property
    def free_of_debt(self) -> bool:
        """Known to owe nothing: a market that did not tell its snapshot may hold a debt."""
        return not self.vai and not any(one.debt.principal or one.error for one in self.holdings)


class Overflows(ProtocolError):
    """The contract's own arithmetic would revert."""


class Stuck(ProtocolError):
    """A market whose accrueInterest would revert, so that nobody can act in it."""


class Rejected(ProtocolError):
    """The comptroller answers an error code instead of a liquidity."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def checked(value: int) -> int:
    """A value that must fit 256 bits. May raise: Overflows."""
    if not 0 <= value <= UINT256_MAX:
        raise Overflows("a number does not fit 256 bits")
    return value


def mul(a: int, b: int) -> int:
    """mul_(Exp, Exp), and mul_ScalarTruncate: a * b / 1e18, down."""
    return checked(a * b) // WAD


def exchange_rate(market: Market) -> int:
    """CToken.exchangeRateStoredInternal; without any tokens the initial rate, which is what was read then."""
    if market.supply == 0:
        return market.exchange_rate
    owned = checked(checked(market.cash + market.borrows) - market.reserves)
    return checked(owned * WAD) // market.supply


def accrued(market: Market, now: int) -> Market:
    """CToken.accrueInterest at `now` in the fork's clock: simple interest since the last accrual. May raise: Stuck."""
    if now == market.accrued_at:
        return market
    symbol = market.facts.symbol
    if market.borrow_rate > BORROW_RATE_MAX:
        raise Stuck(f"{symbol}: the borrow rate is absurdly high")
    try:
        factor = checked(market.borrow_rate * checked(now - market.accrued_at))
        interest = mul(factor, market.borrows)
        grown = replace(
            market,
            borrows=checked(market.borrows + interest),
            reserves=checked(market.reserves + mul(market.reserve_factor, interest)),
            index=checked(market.index + mul(factor, market.index)),
            accrued_at=now,
        )
        return replace(grown, exchange_rate=exchange_rate(grown))
    except Overflows as overflows:
        raise Stuck(f"{symbol}: {overflows.message}") from None


@dataclass(frozen=True, slots=True)
class Sums:
    """sumCollateral, and the bounds of sumBorrowPlusEffects, in USD with 18 decimals."""

    collateral: int
    debt_low: int
    debt_high: int

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            checked(self.collateral + other.collateral),
            checked(self.debt_low + other.debt_low),
            checked(self.debt_high + other.debt_high),
        )

    @property
    def margin(self) -> int:
        return self.collateral - self.debt_high


def weigh(holding: Holding, price: int, market: Market) -> Sums:
    """What one entered market adds to the sums, with `market` as it is or accrued. May raise: Overflows."""
    worth = mul(mul(market.liquidation_factor, market.exchange_rate), price)
    low, high = holding.debt.at(market.index)
    return Sums(mul(worth, holding.tokens), mul(price, low), mul(price, high))


def counted(state: State, prices: Mapping[Address, int]) -> Iterator[tuple[Holding, int]]:
    """The entered markets with their prices, in the comptroller's order. May raise: Rejected."""
    for one in state.holdings:
        if not one.entered:
            continue
        if one.error:
            raise Rejected(SNAPSHOT_ERROR, f"{one.market.facts.symbol}: {one.error}")
        if state.skips_empty and one.empty:
            continue
        price = prices.get(one.token)
        if not price:
            why = "the price is 0" if price == 0 else state.price_errors.get(one.token, "no price")
            raise Rejected(PRICE_ERROR, f"{one.market.facts.symbol}: {why}")
        yield one, price


def liquidity(state: State, prices: Mapping[Address, int], now: int, accrue: Collection[Address] = ()) -> Sums:
    """getAccountLiquidityInternal once the markets `accrue` have accrued. May raise: Rejected, Stuck, Overflows."""
    total = Sums(0, state.vai, state.vai)
    for one, price in counted(state, prices):
        total += weigh(one, price, accrued(one.market, now) if one.token in accrue else one.market)
    return total


def worst_accruals(state: State, prices: Mapping[Address, int], now: int) -> set[Address]:
    """The markets that a stranger would accrue, in one transaction with a liquidation call, to leave the least margin.

    The call itself accrues the market of the debt and that of the collateral, also where that helps the borrower; any
    other may be accrued first, and is where its debt grows by more than its collateral. May raise: as `liquidity`.
    """
    harmful, relief = set(), {}
    for one, price in counted(state, prices):
        gain = weigh(one, price, accrued(one.market, now)).margin - weigh(one, price, one.market).margin
        if gain < 0:
            harmful.add(one.token)
        elif gain > 0:
            relief[one.token] = gain
    calls = [{debt.token, seized.token} for debt in state.debts for seized in state.holdings if seized.tokens]
    least = min(calls, key=lambda call: sum(relief.get(token, 0) for token in sorted(call)), default=set())
    return harmful | least


@dataclass(frozen=True, slots=True)
class Seizure:
    """What liquidateBorrow moves: `repay` of the underlying for `tokens` of the collateral's cToken."""

    repay: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why liquidateBorrow would fail, by the contract's name. `undecided`: the debt's last unit decides it."""

    reason: str
    undecided: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """A liquidation call: the market repaid and the market seized from. `forced`: whatever the health.

    `members_only`: only tokens of an entered market can be seized (Venus).
    """

    borrowed: Address
    collateral: Address
    forced: bool = False
    members_only: bool = False


def seize_ratio(price_borrowed: int, collateral: Market, price_collateral: int) -> int:
    """Of liquidateCalculateSeizeTokens: cTokens per underlying repaid, with 18 decimals. May raise: Overflows."""
    numerator = mul(collateral.incentive, price_borrowed)
    denominator = mul(price_collateral, collateral.exchange_rate)
    if denominator == 0:
        raise Overflows("division by zero")
    return checked(numerator * WAD) // denominator


def liquidate(
    state: State, prices: Mapping[Address, int], now: int, pair: Pair, repay: int | None = None
) -> Seizure | Refusal:
    """liquidateBorrow by a stranger, accruing only the two markets up to `now`. Without `repay`: the most that passes.

    May raise: Rejected, Stuck, Overflows, all of which mean that the call fails.
    """
    debt, seized = state.of(pair.borrowed), state.of(pair.collateral)
    if debt is None or seized is None or not (debt.market.listed and seized.market.listed):
        return Refusal("MARKET_NOT_LISTED")
    borrowed, collateral = (accrued(one.market, now) for one in (debt, seized))
    low, high = debt.debt.at(borrowed.index)
    undecided = False
    if not pair.forced:
        sums = liquidity(state, prices, now, (pair.borrowed, pair.collateral))
        if sums.debt_high <= sums.collateral:
            return Refusal("INSUFFICIENT_SHORTFALL")
        undecided = sums.debt_low <= sums.collateral
        low, high = mul(state.close_factor, low), mul(state.close_factor, high)
    price_borrowed, price_collateral = prices.get(pair.borrowed), prices.get(pair.collateral)
    if not price_borrowed or not price_collateral:
        return Refusal("PRICE_ERROR")
    ratio = seize_ratio(price_borrowed, collateral, price_collateral)
    if repay is None:
        repay = min(low, (checked((seized.tokens + 1) * WAD) - 1) // ratio) if ratio else low
    elif repay > high:
        return Refusal("TOO_MUCH_REPAY")
    undecided = undecided or repay > low
    if repay == 0:
        return Refusal("LiquidateCloseAmountIsZero")
    tokens = mul(ratio, repay)
    if tokens > seized.tokens:
        return Refusal("LIQUIDATE_SEIZE_TOO_MUCH")
    if pair.members_only and not seized.entered:
        return Refusal("MARKET_NOT_COLLATERAL")
    return Refusal("the last unit of the debt decides", undecided=True) if undecided else Seizure(repay, tokens)
