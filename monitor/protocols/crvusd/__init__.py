"""crvUSD and LlamaLend: loans whose collateral lies in price bands of an AMM, which sells it as the price falls.

A market is its Controller. In soft liquidation (the active band has come to the loan's first one) everybody who trades
changes what the loan consists of; health is told for the bands as they are, and is not monotone in the price then. A
hard liquidation is open to anyone once health, with the distance above the bands, is below zero. Only the v1 generation
is known; that is asked, not assumed. What this file must not know: nodes, clocks, other protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from monitor.core.plan import done
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
    Side,
    Unit,
    Unknown,
    Unreadable,
)
from monitor.core.units import WAD, format_units
from monitor.oracles.chainlink import as_price
from monitor.protocols.base import Deployment, Helpers, Protocol, Truth, Version
from monitor.protocols.crvusd.math import (
    Facts,
    Judged,
    Reverts,
    State,
    bands,
    debt_of,
    floor,
    get_sum_xy,
    judge,
    liquidation,
    reach,
)
from monitor.protocols.crvusd.reading import ABI, read_facts, read_state, still_true

PRICE_DECIMALS = 18
TINY = 10**12
"""Intervals are no longer doubted when health can differ in them by no more than one part of this."""


class CrvUsd(Protocol[Facts, None]):
    """crvUSD mint markets and LlamaLend. No deployment is named: those whose generation is sourced are others."""

    name = "crvusd"
    title = "crvUSD and LlamaLend"
    helpers = Helpers(
        "in markets of the first version repay a part, or add collateral as long as none of it has been "
        "converted; in those of LlamaLend V2 nothing without the owner's approval",
        "repay, or close the loan; add collateral, as long as none of it has been converted",
    )
    versions: ClassVar[Sequence[Version]] = (
        Version("v1", "recorded contracts: health, debt, x_down, every liquidate and its amounts equal", 67),
    )
    facts_type = Facts
    deployments: ClassVar[Mapping[str, Deployment]] = {}

    def static(self, market: MarketRef, block: BlockRef) -> ReadPlan[Facts]:
        return read_facts(market)

    def recheck(self, facts: Facts, block: BlockRef) -> ReadPlan[bool]:
        return still_true(facts)

    def state(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
        return read_state(facts, owners, block)

    def context(self, facts: Facts, block: BlockRef) -> ReadPlan[None]:
        return done(None)

    def evaluate(self, position: Position, context: None = None, at_s: int | None = None) -> Health:
        state: State = position.state
        now_s = position.block.timestamp if at_s is None else at_s
        unit = Unit(state.facts.borrowed.symbol, state.facts.borrowed.decimals)
        if state.initial_debt == 0:
            return Health(position.id, position.block, NoDebt(), unit, {}, liquidatable=False)
        try:
            judged = _judged(position, now_s)
        except Reverts as reverts:
            gate = Gate("price", GateState.SHUT, f"the contract itself reverts: {reverts.message}")
            verdict = Unknown(gate.detail)
            return Health(position.id, position.block, verdict, unit, {}, (gate,), liquidatable=False)
        return Health(
            position_id=position.id,
            block=position.block,
            verdict=Known(WAD + judged.health, WAD),
            unit=unit,
            reported={"health": judged.health, "debt": judged.debt, "get_x_down": judged.x_down},
            liquidatable=_liquidatable(position, now_s),
            legs=_legs(state, judged, position.prices),
            collateral=judged.x_down,
            debt=judged.debt,
            notes=tuple(_notes(state, judged, position.prices, now_s)),
        )

    def truth(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Truth]]:
        answers = yield tuple(
            call
            for owner in owners
            for call in (
                Call(facts.market.address, f"{ABI}.health", (owner, True), allow_revert=True),
                Call(facts.market.address, f"{ABI}.debt", (owner,), allow_revert=True),
                Call(facts.amm, f"{ABI}.get_x_down", (owner,), allow_revert=True),
            )
        )
        told = []
        for at, owner in enumerate(owners):
            mine = answers[3 * at : 3 * at + 3]
            error = next((answer.reason or "reverts" for answer in mine if not isinstance(answer, Ok)), "")
            found = [answer.values[0] for answer in mine if isinstance(answer, Ok)]
            names = ("health", "debt", "get_x_down")
            told.append(Truth(owner, {}, error) if error else Truth(owner, dict(zip(names, found, strict=True))))
        return told

    def explain(self, position: Position, context: None = None) -> list[Line]:
        state: State = position.state
        verdict, now_s = self.evaluate(position).verdict, position.block.timestamp
        if not isinstance(verdict, Known):
            return []
        judged, facts = _judged(position, now_s), state.facts
        lines = [
            Line(
                f"band {n}",
                f"{format_units(band.part(band.x), 18)} {facts.borrowed.symbol}, "
                f"{format_units(band.part(band.y), 18)} {facts.collateral.symbol}",
                f"{band.shares} of {band.total_shares} shares, below {format_units(price, 18)}",
                f"AMM.bands_x({n}), AMM.bands_y({n}), AMM.user_shares(owner)",
            )
            for n, price, band in bands(state, now_s)
        ]
        lines += [
            Line("price", format_units(judged.p_o, 18), "limited after an exchange", "AMM.price_oracle()"),
            Line("x_down", str(judged.x_down), "the bands traded down", "AMM.get_x_down(owner)"),
            Line("debt", str(judged.debt), "initial_debt × rate_mul / loan.rate_mul", "Controller.debt(owner)"),
            Line(
                "health(full)",
                format_units(judged.health, 18),
                f"{judged.x_down} × (10^18 - {state.liquidation_discount}) / {judged.debt} - 10^18, and what is above",
                "Controller.health(owner, true)",
            ),
        ]
        return [*lines, Line("health", f"{verdict.numerator} / {verdict.denominator}", "1 + health(full)")]

    def prices(self, facts: Facts, positions: Sequence[Position], context: None, block: BlockRef) -> list[Price]:
        key = facts.collateral.address
        used = {position.prices[key] for position in positions if key in position.prices}
        return [as_price(key, price, PRICE_DECIMALS, facts.borrowed.symbol, None) for price in sorted(used)]

    def price_keys(self, position: Position) -> Mapping[str, str]:
        return self.symbols(position.state.facts) if position.prices else {}

    def symbols(self, facts: Facts) -> Mapping[str, str]:
        return {facts.collateral.address: facts.collateral.symbol}

    def price_sources(self, facts: Facts, keys: Sequence[str], block: BlockRef) -> ReadPlan[Mapping[str, Address]]:
        return done(dict.fromkeys(keys, facts.oracle))

    def unhealthy_between_prices(
        self, position: Position, key: str, at_s: int | None = None
    ) -> Callable[[int, int], bool | None]:
        """Outside soft liquidation health rises with the price; inside it bounds rule intervals out."""
        state: State = position.state
        if not state.soft:
            return super().unhealthy_between_prices(position, key, at_s)
        now_s = position.block.timestamp if at_s is None else at_s
        return lambda low, high: _between(state, (low, now_s), (high, now_s))

    def unhealthy_between_times(self, position: Position) -> Callable[[int, int], bool | None]:
        state: State = position.state
        price = position.prices.get(state.facts.collateral.address, 0)
        return lambda low, high: _between(state, (price, low), (price, high))

    def contracts(self, facts: Facts) -> tuple[Address, ...]:
        return facts.market.address, facts.amm

    def parameters(self, position: Position) -> Any:
        state: State = position.state
        return state.facts.oracle, state.facts.A, state.liquidation_discount


def _judged(position: Position, now_s: int) -> Judged:
    """May raise: Reverts."""
    state: State = position.state
    price = position.prices.get(state.facts.collateral.address)
    if price is None:
        raise Reverts(state.price_error or "no price")
    return judge(state, price, now_s)


def _liquidatable(position: Position, now_s: int) -> bool:
    state: State = position.state
    try:
        liquidation(state, position.prices[state.facts.collateral.address], now_s)
    except Reverts:
        return False
    return True


def _between(state: State, first: tuple[int, int], last: tuple[int, int]) -> bool | None:
    """Over everything between two (price, time): True if unhealthy throughout, False if nowhere, None if undecided.

    Where the contract reverts nobody is liquidated; it does so beyond a price, and not at one between two that work.
    """
    ends = [_worth(state, *one) for one in (first, last)]
    known = [end for end in ends if end is not None]
    if first == last or not known:
        return bool(known) and known[0] < WAD
    if len(known) == 1:
        return None
    most, least, slack = reach(state, first[0], last[0], first[1], last[1])
    if most * TINY <= least * (TINY + 1) and (known[0] < WAD) is (known[1] < WAD):
        return known[0] < WAD  # what may turn twice in between does so by roundings
    if floor(state, first[0], last[0], first[1], last[1]) >= WAD + slack:
        return False
    if (max(known) - slack) * least >= (WAD + slack) * most:
        return False
    return True if (min(known) + slack) * most < (WAD - slack) * least else None


def _worth(state: State, price: int, at_s: int) -> int | None:
    """1 + health; None where the contract reverts."""
    try:
        return WAD + judge(state, price, at_s).health
    except Reverts:
        return None


def _legs(state: State, judged: Judged, prices: Mapping[str, int]) -> tuple[Leg, ...]:
    """Both coins that the bands hold for the loan, and the debt. A coin of the debt's kind is worth itself."""
    facts, (x, y) = state.facts, get_sum_xy(state)
    price, kept, one = prices[facts.collateral.address], WAD - state.liquidation_discount, WAD
    coin = facts.borrowed.address, facts.borrowed.symbol, facts.borrowed.decimals
    other = facts.collateral.address, facts.collateral.symbol, facts.collateral.decimals
    worth = y * facts.collateral.precision * price // WAD // facts.borrowed.precision
    legs = []
    if y:
        legs.append(Leg(Side.COLLATERAL, *other, y, price, PRICE_DECIMALS, worth, kept, 18))
    if x:
        legs.append(Leg(Side.COLLATERAL, *coin, x, one, PRICE_DECIMALS, x, kept, 18))
    return *legs, Leg(Side.DEBT, *coin, judged.debt, one, PRICE_DECIMALS, judged.debt, one, 18)


def _notes(state: State, judged: Judged, prices: Mapping[str, int], now_s: int) -> list[str]:
    said = []
    if state.soft:
        said.append("in soft liquidation: trades change what the loan holds, and collateral cannot be added")
    if judged.p_o != prices[state.facts.collateral.address]:
        said.append("the AMM takes less of the oracle's last move than there was, for up to two minutes")
    if debt_of(state, now_s) and not state.bands:
        said.append("the loan has no bands")
    return said


PROTOCOL = CrvUsd()
