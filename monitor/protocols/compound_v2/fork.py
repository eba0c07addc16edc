"""Compound V2 and its forks as one Protocol, told apart by a Variant.

A market is the comptroller; the price key and the asset of a leg are a cToken, since the oracle prices cTokens and two
of them may share an underlying. getAccountLiquidity looks at stored indexes and is only what is verified against.
`liquidateBorrow` accrues the market of the debt and that of the collateral and no other; but whoever calls it may
accrue others first in the same transaction. So the verdict is about the worst that one transaction can do, and
`liquidatable` about the bare call: unhealthy and not liquidatable is what a debt in a third, stale market makes.

Forks that count blocks are judged at a later time by the most blocks that can come until then. Must not know: nodes,
clocks, other protocols. What is not told: ages of prices, since each fork's oracle keeps its sources its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from monitor.core.errors import ProtocolError
from monitor.core.types import (
    Address,
    BlockRef,
    Call,
    Gate,
    GateState,
    Health,
    Known,
    Leg,
    Line,
    MarketRef,
    NoDebt,
    Ok,
    Position,
    Price,
    ReadPlan,
    Rule,
    Side,
    Unit,
    Unknown,
    Unreadable,
    Verdict,
)
from monitor.core.units import WAD, format_units
from monitor.oracles.chainlink import ZERO, as_price
from monitor.protocols.base import Helpers, Protocol, Truth, with_price
from monitor.protocols.compound_v2 import reading
from monitor.protocols.compound_v2.math import (
    Facts,
    Holding,
    Market,
    Overflows,
    Pair,
    Rejected,
    Seizure,
    State,
    Stuck,
    Sums,
    accrued,
    exchange_rate,
    liquidate,
    liquidity,
    mul,
    worst_accruals,
)
from monitor.protocols.compound_v2.reading import ABI, Context, MarketGates, either
from monitor.protocols.compound_v2.variant import Variant, blocks_until

USD = Unit("USD", 18)
GETTER = ("error", "liquidity", "shortfall")


class CompoundFork(Protocol[Facts, Context]):
    """A fork of Compound V2; subclasses name it and say which variant it is."""

    facts_type = Facts
    helpers = Helpers(
        "repay (repayBorrowBehalf); collateral only by minting cTokens and transferring them to the owner, "
        "and they count only where the owner has entered their market",
        "repay, add collateral, or enter the markets of what is held already",
    )
    variant: ClassVar[Variant]

    def static(self, market: MarketRef, block: BlockRef) -> ReadPlan[Facts]:
        return reading.static(market, self.variant)

    def recheck(self, facts: Facts, block: BlockRef) -> ReadPlan[bool]:
        return reading.recheck(facts)

    def state(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
        return reading.state(facts, self.variant, Rule(self.name, self.versions[0].name), owners, block)

    def context(self, facts: Facts, block: BlockRef) -> ReadPlan[Context]:
        return reading.context(facts, self.variant)

    def evaluate(self, position: Position, context: Context | None = None, at_s: int | None = None) -> Health:
        state: State = position.state
        gates = self._gates(state, context)
        verdict: Verdict
        legs: tuple[Leg, ...]
        sums, legs, liquidatable = Sums(0, 0, 0), (), None
        try:
            now = self._now(position, at_s)
            liquidatable = self._liquidatable(state, position.prices, context, now)
            sums = _worst(state, position.prices, now)
            verdict = _verdict(sums)
            legs = tuple(_legs(state, position.prices, now))
        except (Rejected, Stuck, Overflows, _Pace) as stops:
            verdict = NoDebt() if state.free_of_debt else Unknown(stops.message)
            gates.append(Gate(_GATES[type(stops)], GateState.SHUT, stops.message))
        if doubt := self._doubt(state, context):
            verdict, liquidatable = Unknown(doubt), None
        return Health(
            position_id=position.id,
            block=position.block,
            verdict=verdict,
            unit=USD,
            reported=_reported(state, position.prices),
            gates=tuple(gates),
            liquidatable=liquidatable,
            legs=legs,
            collateral=sum(leg.value for leg in legs if leg.side is Side.COLLATERAL and leg.enabled),
            debt=sums.debt_high,
            notes=tuple(self._notes(state, context)),
        )

    def truth(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Truth]]:
        """The comptroller's getAccountLiquidity, which rests on the indexes of each market's last accrual."""
        answers = yield tuple(
            Call(facts.market.address, f"{ABI}.getAccountLiquidity", (owner,), allow_revert=True) for owner in owners
        )
        return [
            Truth(owner, dict(zip(GETTER, answer.values, strict=True)))
            if isinstance(answer, Ok)
            else Truth(owner, {}, answer.reason)
            for owner, answer in zip(owners, answers, strict=True)
        ]

    def explain(self, position: Position, context: Context | None = None) -> list[Line]:
        state: State = position.state
        verdict = self.evaluate(position, context).verdict
        lines = [Line("close factor", format_units(state.close_factor, 18), source="comptroller.closeFactorMantissa()")]
        if state.pool:
            lines.append(Line("pool", str(state.pool), source="comptroller.userPoolId(owner)"))
        if not isinstance(verdict, Known):
            return lines
        now = self._now(position, None)
        accruing = worst_accruals(state, position.prices, now)
        for one in state.holdings:
            if one.entered and not one.empty:
                lines += _explained(one, position.prices[one.token], now, one.token in accruing)
        if state.vai:
            lines.append(Line("VAI owed", f"{format_units(state.vai, 18)} USD", source="vai.getVAIRepayAmount(owner)"))
        health = f"{verdict.numerator} / {verdict.denominator}"
        return [*lines, Line("health", health, "sum of what counts / sum of debts")]

    def prices(
        self, facts: Facts, positions: Sequence[Position], context: Context | None, block: BlockRef
    ) -> list[Price]:
        used = {token: price for position in positions for token, price in position.prices.items()}
        return [
            as_price(one.token, used[one.token], 36 - one.decimals, USD.symbol, None)
            for one in facts.markets
            if one.token in used
        ]

    def price_keys(self, position: Position) -> Mapping[str, str]:
        state: State = position.state
        used = {one.token: one.market.facts.symbol for one in state.holdings if one.entered and not one.empty}
        return {token: symbol for token, symbol in used.items() if token in position.prices}

    def symbols(self, facts: Facts) -> Mapping[str, str]:
        return {one.token: one.symbol for one in facts.markets}

    def parameters(self, position: Position) -> Any:
        state: State = position.state
        rows = tuple(
            (one.token, one.market.collateral_factor, one.market.liquidation_factor, one.market.reserve_factor)
            for one in state.holdings
        )
        incentives = tuple(one.market.incentive for one in state.holdings)
        return state.facts.oracle, state.close_factor, state.pool, rows, incentives

    def unhealthy_between_prices(
        self, position: Position, key: str, at_s: int | None = None
    ) -> Callable[[int, int], bool | None]:
        """As the default, by the verdict alone: who could liquidate takes far longer to tell."""

        def unhealthy(price: int) -> bool:
            return self._unhealthy(with_price(position, key, price), at_s)

        return lambda low, high: _by_ends(unhealthy, low, high)

    def unhealthy_between_times(self, position: Position) -> Callable[[int, int], bool | None]:
        return lambda low, high: _by_ends(lambda at_s: self._unhealthy(position, at_s), low, high)

    # -- judging -------------------------------------------------------------------------------------------------------

    def _unhealthy(self, position: Position, at_s: int | None) -> bool:
        try:
            verdict = _verdict(_worst(position.state, position.prices, self._now(position, at_s)))
        except (Rejected, Stuck, Overflows, _Pace):
            return False
        return isinstance(verdict, Known) and verdict.unhealthy and not self._doubt(position.state, None)

    def _now(self, position: Position, at_s: int | None) -> int:
        """In the fork's clock. May raise: _Pace."""
        block = position.block
        if self.variant.seconds:
            return block.timestamp if at_s is None else at_s
        if at_s is None or at_s <= block.timestamp:
            return block.number
        blocks = blocks_until(block.chain_id, at_s - block.timestamp)
        if blocks is None:
            raise _Pace(f"interest is counted in blocks, and how fast chain {block.chain_id} makes them is not known")
        return block.number + blocks

    def _doubt(self, state: State, context: Context | None) -> str:
        """What would make the numbers wrong; "" if nothing does."""
        if self.variant.pools and context is not None:
            vai, known = context.vai, state.facts.vai
            if vai != known if known is not None else vai != ZERO:
                return "whether VAI is owed is not known: its controller is not the one that is read"
        for one in state.holdings:
            if one.entered and not one.empty and not _follows(one.market):
                return f"{one.market.facts.symbol}: the exchange rate does not follow from what the market holds"
        return ""

    def _liquidatable(
        self, state: State, prices: Mapping[Address, int], context: Context | None, now: int
    ) -> bool | None:
        """Whether the bare call succeeds for some pair with the most that passes; None if a gate that matters is."""
        found: set[bool | None] = set()
        healthy = _healthy(state, prices, now)
        for debt in state.debts:
            if healthy and self._released(state, context, debt) is False:
                continue  # no call can find a shortfall where not even the worst one does
            for seized in state.holdings:
                if seized.tokens:
                    found.add(self._passes(state, prices, context, now, debt, seized))
        if True in found:
            return True
        if state.vai and not healthy:
            return None  # VAI is liquidated through its controller, whose gates are not read
        return None if None in found else False

    def _passes(
        self,
        state: State,
        prices: Mapping[Address, int],
        context: Context | None,
        now: int,
        debt: Holding,
        seized: Holding,
    ) -> bool | None:
        released = self._released(state, context, debt)
        outcomes: list[bool | None] = []
        for forced in {released} if released is not None else {False, True}:
            pair = Pair(debt.token, seized.token, bool(forced), members_only=self.variant.pools)
            try:
                outcome = liquidate(state, prices, now, pair)
            except (Rejected, Stuck, Overflows):
                outcomes.append(False)
                continue
            outcomes.append(True if isinstance(outcome, Seizure) else None if outcome.undecided else False)
        if len(set(outcomes)) > 1:
            return None
        shut = either(
            None if context is None else context.shut,
            None if context is None else context.of(debt.token).repaying_shut,
            None if context is None else context.of(seized.token).seizing_shut,
        )
        if outcomes[0] is False or shut:
            return False
        return None if shut is None else outcomes[0]

    def _released(self, state: State, context: Context | None, debt: Holding) -> bool | None:
        """Whether anyone may liquidate this debt whatever the health; None if that is not known."""
        told = context.of(debt.token).released if context is not None else None
        if self.variant.pools:
            return True if debt.token in state.forced else told
        market = debt.market
        if self.variant.deprecates and market.collateral_factor == 0 and market.reserve_factor == WAD:
            return told
        return False

    def _gates(self, state: State, context: Context | None) -> list[Gate]:
        told = [("protocol" if self.variant.pools else "seize", context.shut if context else None)]
        for one in state.holdings if self.variant.pools else ():
            gates = context.of(one.token) if context else MarketGates(one.token)
            if one.debt.principal:
                told.append((f"repay {one.market.facts.symbol}", gates.repaying_shut))
            if one.tokens:
                told.append((f"seize {one.market.facts.symbol}", gates.seizing_shut))
        words = {True: (GateState.SHUT, "paused"), False: (GateState.OPEN, ""), None: (GateState.UNKNOWN, "not read")}
        return [Gate(name, *words[flag]) for name, flag in told]

    def _notes(self, state: State, context: Context | None) -> Iterator[str]:
        for one in state.debts:
            if self._released(state, context, one):
                yield f"{one.market.facts.symbol}: anyone may liquidate this debt whatever the health"
        if state.vai:
            yield "VAI: interest since its controller last accrued is not counted, since it does not tell when that was"


class _Pace(ProtocolError):
    """How many blocks will have come by a time is not known."""


_GATES = {Rejected: "liquidity", Stuck: "accrual", Overflows: "arithmetic", _Pace: "time"}


def _follows(market: Market) -> bool:
    """Whether the stored exchange rate is what the market's own numbers make."""
    try:
        return exchange_rate(market) == market.exchange_rate
    except Overflows:
        return False


def _verdict(sums: Sums) -> Verdict:
    if sums.debt_high == 0:
        return NoDebt()
    verdict = Known(sums.collateral, sums.debt_high)
    if verdict.unhealthy and sums.debt_low <= sums.collateral:
        return Unknown("the last unit of a debt decides, and the contract does not tell it")
    return verdict


def _worst(state: State, prices: Mapping[Address, int], now: int) -> Sums:
    return liquidity(state, prices, now, worst_accruals(state, prices, now))


def _healthy(state: State, prices: Mapping[Address, int], now: int) -> bool:
    """Whether no sequence of accruals and a call finds a shortfall, whatever the last unit of any debt."""
    try:
        return _worst(state, prices, now).margin >= 0
    except (Rejected, Stuck, Overflows):
        return False


def _by_ends(unhealthy: Callable[[int], bool], low: int, high: int) -> bool | None:
    ends = {unhealthy(low), unhealthy(high)}
    return None if len(ends) > 1 else ends.pop()


def _reported(state: State, prices: Mapping[Address, int]) -> dict[str, int]:
    """getAccountLiquidity on stored indexes; nothing where it reverts."""
    try:
        sums = liquidity(state, prices, 0)
    except Rejected as rejected:
        return dict(zip(GETTER, (rejected.code, 0, 0), strict=True))
    except Overflows:
        return {}
    surplus = sums.collateral - sums.debt_low
    return dict(zip(GETTER, (0, max(surplus, 0), max(-surplus, 0)), strict=True))


def _legs(state: State, prices: Mapping[Address, int], now: int) -> Iterator[Leg]:
    """With interest up to `now`. Tokens of a market that was not entered do not count."""
    for one in state.holdings:
        facts, price = one.market.facts, prices.get(one.token)
        if price is None or one.empty:
            continue
        market = accrued(one.market, now)
        terms = facts.token, facts.symbol, facts.decimals
        if one.tokens:
            amount = mul(market.exchange_rate, one.tokens)
            value = mul(amount, price)
            factor = market.liquidation_factor
            yield Leg(
                Side.COLLATERAL, *terms, amount, price, 36 - facts.decimals, value, factor, 18, enabled=one.entered
            )
        if one.debt.principal:
            _, amount = one.debt.at(market.index)
            yield Leg(Side.DEBT, *terms, amount, price, 36 - facts.decimals, mul(amount, price), WAD, 18)
    if state.vai:
        yield Leg(Side.DEBT, str(state.facts.vai), "VAI", 18, state.vai, WAD, 18, state.vai, WAD, 18)


def _explained(one: Holding, price: int, now: int, accrues: bool) -> Iterator[Line]:
    market, symbol = accrued(one.market, now) if accrues else one.market, one.market.facts.symbol
    when = f"accrued from {one.market.accrued_at} to {now}" if accrues else f"as stored at {one.market.accrued_at}"
    if one.tokens:
        yield Line(f"{symbol} exchange rate", str(market.exchange_rate), when, f"{symbol}.exchangeRateStored()")
        worth = mul(mul(market.liquidation_factor, market.exchange_rate), price)
        yield Line(
            f"{symbol} counts",
            f"{format_units(mul(worth, one.tokens), 18)} USD",
            f"floor(floor(floor({market.liquidation_factor} × {market.exchange_rate} / 10^18) × {price} / 10^18)"
            f" × {one.tokens} / 10^18)",
            f"comptroller.markets({symbol}), oracle.getUnderlyingPrice({symbol}), {symbol}.getAccountSnapshot(owner)",
        )
    if one.debt.principal:
        _, amount = one.debt.at(market.index)
        yield Line(f"{symbol} borrow index", str(market.index), when, f"{symbol}.borrowIndex()")
        yield Line(
            f"{symbol} debt",
            f"{format_units(amount, market.facts.decimals)} {symbol}",
            f"{one.debt.principal} × {market.index} / {one.debt.index}, at most",
            f"{symbol}.getAccountSnapshot(owner)",
        )
        yield Line(
            f"{symbol} debt value",
            f"{format_units(mul(price, amount), 18)} USD",
            f"floor({price} × {amount} / 10^18)",
            f"oracle.getUnderlyingPrice({symbol})",
        )
