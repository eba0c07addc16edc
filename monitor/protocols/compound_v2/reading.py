"""The reads of Compound V2 and its forks: markets, accounts and gates, as plans pinned to one block.

An account takes two rounds: what it has entered, then those markets. Nothing here judges health. Must not know nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.core.errors import ProtocolError
from monitor.core.plan import values
from monitor.core.types import (
    Address,
    Answer,
    BlockRef,
    Call,
    MarketRef,
    Ok,
    Position,
    ReadPlan,
    Reverted,
    Rule,
    Unread,
    Unreadable,
)
from monitor.protocols.compound_v2.math import Debt, Facts, Holding, Market, MarketFacts, State
from monitor.protocols.compound_v2.variant import COINS, Variant
from monitor.protocols.symbols import symbol_calls, symbol_of

ABI = "compound_v2"
VENUS = "venus_core"
SEIZE, REPAY, LIQUIDATE = 4, 3, 5
"""ComptrollerTypes.Action of Venus."""


@dataclass(frozen=True, slots=True)
class MarketGates:
    """What stops or frees liquidations in one market; None where it could not be read.

    `released`: Venus' forced liquidation; elsewhere that borrowing is paused, one of the three signs of deprecation.
    """

    token: Address
    repaying_shut: bool | None = None
    seizing_shut: bool | None = None
    released: bool | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """The comptroller's pauses. `vai`: Venus' VAI controller (zero: none); None where it could not be read."""

    shut: bool | None
    gates: tuple[MarketGates, ...]
    vai: Address | None = None

    def of(self, token: Address) -> MarketGates:
        return next((one for one in self.gates if one.token == token), MarketGates(token))


def static(market: MarketRef, variant: Variant) -> ReadPlan[Facts]:
    """Three rounds. The texts may fail; without decimals they are told from the exchange rate, for people only."""
    listed, oracle = yield (Call(market.address, f"{ABI}.getAllMarkets"), Call(market.address, f"{ABI}.oracle"))
    tokens: tuple[Address, ...] = values(listed)[0]
    answers = yield tuple(
        Call(token, f"{ABI}.{name}", allow_revert=True)
        for token in tokens
        for name in ("underlying", "exchangeRateStored")
    )
    underlying = [answer.values[0] if isinstance(answer, Ok) else None for answer in answers[::2]]
    if underlying.count(None) > 1:  # a chain has one coin of its own
        raise ProtocolError(f"{market}: several markets do not tell their underlying token")
    names = yield tuple(
        call
        for asset in underlying
        if asset is not None
        for call in (*symbol_calls(asset), Call(asset, "erc20.decimals", allow_revert=True))
    )
    told = iter(names)
    markets = []
    for token, asset, rate in zip(tokens, underlying, answers[1::2], strict=True):
        if asset is None:
            markets.append(MarketFacts(token, None, COINS.get(market.chain_id, "coin"), 18))
            continue
        name = symbol_of(asset, next(told), next(told))
        decimals = next(told)
        places = decimals.values[0] if isinstance(decimals, Ok) else _decimals(rate)
        markets.append(MarketFacts(token, asset, name, places))
    vai = (variant.vai or {}).get((market.chain_id, market.address))
    return Facts(market, values(oracle)[0], tuple(markets), vai)


def recheck(facts: Facts) -> ReadPlan[bool]:
    """Whether no market was listed and no oracle or VAI controller swapped. Factors are read with every state."""
    comptroller = facts.market.address
    asked = [Call(comptroller, f"{ABI}.{name}", allow_revert=True) for name in ("getAllMarkets", "oracle")]
    if facts.vai is not None:
        asked.append(Call(comptroller, f"{VENUS}.vaiController", allow_revert=True))
    answers = yield tuple(asked)
    mine = [tuple(one.token for one in facts.markets), facts.oracle, *([] if facts.vai is None else [facts.vai])]
    return [answer.values[0] if isinstance(answer, Ok) else None for answer in answers] == mine


def context(facts: Facts, variant: Variant) -> ReadPlan[Context]:
    """One round of flags, each of which may be unreadable."""
    comptroller, tokens = facts.market.address, [one.token for one in facts.markets]
    if not variant.pools:
        answers = yield (
            Call(comptroller, f"{ABI}.seizeGuardianPaused", allow_revert=True),
            *(Call(comptroller, f"{ABI}.borrowGuardianPaused", (token,), allow_revert=True) for token in tokens),
        )
        paused, *borrowing = (_flag(answer) for answer in answers)
        gates = [MarketGates(token, False, False, flag) for token, flag in zip(tokens, borrowing, strict=True)]
        return Context(paused, tuple(gates))
    answers = yield (
        Call(comptroller, f"{VENUS}.protocolPaused", allow_revert=True),
        Call(comptroller, f"{VENUS}.vaiController", allow_revert=True),
        *(
            call
            for token in tokens
            for call in (
                *(
                    Call(comptroller, f"{VENUS}.actionPaused", (token, action), allow_revert=True)
                    for action in (REPAY, LIQUIDATE, SEIZE)
                ),
                Call(comptroller, f"{VENUS}.isForcedLiquidationEnabled", (token,), allow_revert=True),
            )
        ),
    )
    flags = [_flag(answer) for answer in answers[2:]]
    rows = zip(tokens, flags[::4], flags[1::4], flags[2::4], flags[3::4], strict=True)
    found = tuple(MarketGates(token, either(a, b), seize, forced) for token, a, b, seize, forced in rows)
    controller = answers[1].values[0] if isinstance(answers[1], Ok) else None
    return Context(_flag(answers[0]), found, controller)


def state(
    facts: Facts, variant: Variant, rule: Rule, owners: Sequence[Address], block: BlockRef
) -> ReadPlan[list[Position | Unreadable]]:
    """Two rounds: accounts, then the markets that any of them is in."""
    reader = _Reader(facts, variant)
    yield from reader.ask(reader.first(owners))
    yield from reader.ask(reader.second(owners))
    return [reader.position(owner, rule, block) for owner in owners]


class _Unread(Exception):
    """One account cannot be told: the call and its reason."""


class _Reader:
    """The answers of one state plan, by call."""

    def __init__(self, facts: Facts, variant: Variant) -> None:
        self.facts, self.variant = facts, variant
        self.tokens = tuple(one.token for one in facts.markets)
        self.answers: dict[Call, Answer] = {}

    def ask(self, calls: Iterable[Call]) -> ReadPlan[None]:
        fresh = tuple(call for call in dict.fromkeys(calls) if call not in self.answers)
        if fresh:
            self.answers.update(zip(fresh, (yield fresh), strict=True))

    # -- the questions -------------------------------------------------------------------------------------------------

    def comptroller(self, name: str, *args: Any, abi: str = ABI) -> Call:
        return Call(self.facts.market.address, f"{abi}.{name}", args, allow_revert=True)

    def snapshot(self, token: Address, owner: Address) -> Call:
        return Call(token, f"{ABI}.getAccountSnapshot", (owner,), allow_revert=True)

    def price(self, token: Address) -> Call:
        return Call(self.facts.oracle, f"{ABI}.getUnderlyingPrice", (token,), allow_revert=True)

    def market_calls(self, token: Address) -> list[Call]:
        names = ("getCash", "totalBorrows", "totalReserves", "totalSupply", "borrowIndex", self.variant.accrued_at)
        more = ("reserveFactorMantissa", self.variant.borrow_rate, "exchangeRateStored")
        return [Call(token, f"{ABI}.{name}", allow_revert=True) for name in (*names, *more)]

    def listing(self, token: Address, pool: int = 0) -> Call:
        if pool:
            return self.comptroller("poolMarkets", pool, token, abi=VENUS)
        return self.comptroller("markets", token, abi=VENUS if self.variant.pools else ABI)

    def vai_owed(self, owner: Address) -> Call:
        return Call(str(self.facts.vai), f"{VENUS}.getVAIRepayAmount", (owner,), allow_revert=True)

    def first(self, owners: Sequence[Address]) -> list[Call]:
        """Without Venus' membership rule tokens of markets not entered can be seized too: all are asked for."""
        calls = [self.comptroller("closeFactorMantissa")]
        if not self.variant.pools:
            calls.append(self.comptroller("liquidationIncentiveMantissa"))
        for owner in owners:
            calls.append(self.comptroller("getAssetsIn", owner))
            if self.variant.pools:
                calls.append(self.comptroller("userPoolId", owner, abi=VENUS))
            else:
                calls += [self.snapshot(token, owner) for token in self.tokens]
            if self.facts.vai is not None:
                calls.append(self.vai_owed(owner))
        return calls

    def second(self, owners: Sequence[Address]) -> list[Call]:
        calls = []
        for owner in owners:
            pool = self._pool(owner)
            for token in self._used(owner):
                calls += [*self.market_calls(token), self.listing(token), self.price(token)]
                calls.append(self.snapshot(token, owner))
                if pool:
                    calls += [self.comptroller("pools", pool, abi=VENUS), self.listing(token, pool)]
                if self.facts.vai is not None:
                    calls.append(self._forced(owner, token))
        return calls

    def _forced(self, owner: Address, token: Address) -> Call:
        return self.comptroller("isForcedLiquidationEnabledForUser", owner, token, abi=VENUS)

    # -- the answers ---------------------------------------------------------------------------------------------------

    def told(self, call: Call) -> tuple[Any, ...]:
        """May raise: _Unread."""
        answer = self.answers[call]
        if not isinstance(answer, Ok):
            raise _Unread(f"{call.function.partition('.')[2]}(): {answer.reason}")
        return answer.values

    def _pool(self, owner: Address) -> int:
        if not self.variant.pools:
            return 0
        answer = self.answers[self.comptroller("userPoolId", owner, abi=VENUS)]
        return int(answer.values[0]) if isinstance(answer, Ok) else 0

    def _entered(self, owner: Address) -> tuple[Address, ...]:
        answer = self.answers[self.comptroller("getAssetsIn", owner)]
        return tuple(token for token in answer.values[0] if token in self.tokens) if isinstance(answer, Ok) else ()

    def _used(self, owner: Address) -> list[Address]:
        """Entered markets in their order, then others that the account holds tokens of."""
        entered = self._entered(owner)
        if self.variant.pools:
            return list(entered)
        held = [token for token in self.tokens if token not in entered and self._holds(token, owner)]
        return [*entered, *held]

    def _holds(self, token: Address, owner: Address) -> bool:
        answer = self.answers[self.snapshot(token, owner)]
        return isinstance(answer, Unread) or (isinstance(answer, Ok) and answer.values[0] == 0 and answer.values[1] > 0)

    def position(self, owner: Address, rule: Rule, block: BlockRef) -> Position | Unreadable:
        name = self.facts.market.position_id(owner)
        try:
            return self._position(name, owner, rule, block)
        except _Unread as unread:
            return Unreadable(name, owner, block, str(unread))

    def _position(self, name: str, owner: Address, rule: Rule, block: BlockRef) -> Position:
        (close_factor,) = self.told(self.comptroller("closeFactorMantissa"))
        (entered,) = self.told(self.comptroller("getAssetsIn", owner))
        strangers = [token for token in entered if token not in self.tokens]
        if strangers:
            raise _Unread(f"entered {strangers[0]}, a market that the facts do not know")
        pool = self.told(self.comptroller("userPoolId", owner, abi=VENUS))[0] if self.variant.pools else 0
        vai = self.told(self.vai_owed(owner))[0] if self.facts.vai is not None else 0
        holdings = tuple(self._holding(token, owner, token in entered, pool) for token in self._used(owner))
        prices, errors = {}, {}
        for one in holdings:
            answer = self.answers[self.price(one.token)]
            if isinstance(answer, Ok):
                prices[one.token] = answer.values[0]
            elif isinstance(answer, Reverted):
                errors[one.token] = f"getUnderlyingPrice(): {answer.reason}"
            elif not (self.variant.pools and one.empty):
                self.told(self.price(one.token))
        forced = tuple(
            one.token for one in holdings if self.facts.vai is not None and self.told(self._forced(owner, one.token))[0]
        )
        skips = self.variant.pools
        found = State(self.facts, close_factor, holdings, skips, errors, pool, vai, forced)
        return Position(name, owner, block, rule, prices, found)

    def _holding(self, token: Address, owner: Address, entered: bool, pool: int) -> Holding:
        market = self._market(token, pool)
        answer = self.answers[self.snapshot(token, owner)]
        if isinstance(answer, Reverted):
            return Holding(market, entered, 0, Debt(0, market.index), f"getAccountSnapshot(): {answer.reason}")
        error, tokens, debt, _ = self.told(self.snapshot(token, owner))
        said = f"getAccountSnapshot() answers error {error}" if error else ""
        return Holding(market, entered, tokens, Debt(debt, market.index), said)

    def _market(self, token: Address, pool: int) -> Market:
        facts = next(one for one in self.facts.markets if one.token == token)
        numbers = [self.told(call)[0] for call in self.market_calls(token)]
        return Market(facts, *numbers, *self._terms(token, pool))

    def _terms(self, token: Address, pool: int) -> list[Any]:
        """Listed, collateral factor, liquidation factor, incentive."""
        if not self.variant.pools:
            listed, factor = self.told(self.listing(token))
            return [listed, factor, factor, *self.told(self.comptroller("liquidationIncentiveMantissa"))]
        core = self.told(self.listing(token))
        row = core
        if pool:  # MarketFacet.getLiquidationParams
            _, active, falls_back = self.told(self.comptroller("pools", pool, abi=VENUS))
            own = self.told(self.listing(token, pool))
            row = own if active and (own[0] or not falls_back) else core
        _, factor, _, threshold, incentive, *_ = row
        return [core[0], factor, threshold, incentive]


def _flag(answer: Answer) -> bool | None:
    return bool(answer.values[0]) if isinstance(answer, Ok) else None


def either(*flags: bool | None) -> bool | None:
    """Three-valued or."""
    if True in flags:
        return True
    return None if None in flags else False


def _decimals(rate: Answer) -> int:
    """By the forks' habit: a rate starts at 0.02 underlying per cToken of 8 decimals: 2 * 10 ** (decimals + 8)."""
    return max(len(str(rate.values[0])) - 9, 0) if isinstance(rate, Ok) else 18
