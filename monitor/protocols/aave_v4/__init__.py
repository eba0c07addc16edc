"""Aave V4: spokes that people borrow from, hubs behind them that hold the money of several spokes.

A market is one spoke; the same wallet has an account of its own in each. What a supply is worth follows from all that
its hub has, so hub totals are state. An account keeps the collateral factors of the day of its last risky step, by a
key, until it takes another; a position is judged by its own key and never the newest. The oracle has no second source:
a price that reverts stops health and liquidation alike. What this file must not know: nodes, clocks, other protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from monitor.core.plan import gather
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
    Verdict,
)
from monitor.core.units import RAY, WAD, format_units
from monitor.oracles.chainlink import ZERO, Reading, as_price, read_source, remarks
from monitor.protocols.aave_v3.math import ArithmeticReverts
from monitor.protocols.aave_v4.deployments import DEPLOYMENTS
from monitor.protocols.aave_v4.math import (
    PAUSED,
    AccountData,
    Facts,
    HubSpoke,
    Reserve,
    Reverts,
    State,
    account_data,
    health_factor,
    liquidation,
    pairs,
    sums,
    toValue,
)
from monitor.protocols.aave_v4.reading import ABI, read_facts, read_state, source_calls, spoke_calls, still_true
from monitor.protocols.base import Deployment, Helpers, Protocol, Truth, Version

REVERTS = (ArithmeticReverts, Reverts)
PRICE_DECIMALS, VALUE_DECIMALS = 8, 26
FIELDS = tuple(AccountData(*[0] * 7).reported())


@dataclass(frozen=True, slots=True)
class Context:
    """What the price sources say of their ages by price key, and what the hubs let the spoke do by reserve id."""

    readings: tuple[tuple[str, Reading], ...]
    spokes: tuple[tuple[int, HubSpoke], ...]

    def of(self, key: str) -> Reading | None:
        return next((reading for one, reading in self.readings if one == key), None)


class AaveV4(Protocol[Facts, Context]):
    """Aave V4."""

    name = "aave-v4"
    title = "Aave V4"
    helpers = Helpers(
        "nothing, until the owner has approved the Giver position manager: from then on anybody may supply or"
        " repay through it",
        "supply, repay, or approve that manager (setUserPositionManager of the spoke)",
    )
    versions: ClassVar[Sequence[Version]] = (
        Version("1", "recorded contracts: all seven numbers, every liquidation call and its amounts equal", 60),
    )
    facts_type = Facts
    deployments: ClassVar[Mapping[str, Deployment]] = DEPLOYMENTS

    def static(self, market: MarketRef, block: BlockRef) -> ReadPlan[Facts]:
        return read_facts(market)

    def recheck(self, facts: Facts, block: BlockRef) -> ReadPlan[bool]:
        return still_true(facts)

    def state(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
        return read_state(facts, owners, block)

    def context(self, facts: Facts, block: BlockRef) -> ReadPlan[Context]:
        count = len(facts.reserves)
        answers = yield (*source_calls(facts, facts.reserves), *spoke_calls(facts))
        told = [
            (one.key, answer.values[0])
            for one, answer in zip(facts.reserves, answers[:count], strict=True)
            if isinstance(answer, Ok) and answer.values[0] != ZERO
        ]
        readings: list[Any] = yield from gather([read_source(source) for _, source in told])
        spokes = []
        for one, answer in zip(facts.reserves, answers[count:], strict=True):
            if isinstance(answer, Ok):
                drawn, premium, _, _, _, _, threshold, active, halted, _ = answer.values[0]
                spokes.append((one.id, HubSpoke(drawn, premium, threshold, active, halted)))
        aged = [(key, one) for (key, _), one in zip(told, readings, strict=True) if isinstance(one, Reading)]
        return Context(tuple(aged), tuple(spokes))

    def evaluate(self, position: Position, context: Context | None = None, at_s: int | None = None) -> Health:
        state: State = position.state
        now_s = position.block.timestamp if at_s is None else at_s
        unit = Unit("USD", VALUE_DECIMALS)
        try:
            data = account_data(state, position.prices, now_s)
            legs = _legs(state, position.prices, now_s)
        except REVERTS as reverts:
            gate = Gate("arithmetic", GateState.SHUT, f"the contract itself reverts: {reverts}")
            borrows = any(one.borrowing for one in state.reserves)
            verdict: Verdict = Unknown(gate.detail) if borrows else NoDebt()
            return Health(position.id, position.block, verdict, unit, {}, (gate,), liquidatable=False)
        verdict = Known(data.health_factor, WAD) if data.total_debt_value_ray else NoDebt()
        return Health(
            position_id=position.id,
            block=position.block,
            verdict=verdict,
            unit=unit,
            reported=data.reported(),
            gates=_gates(state, context),
            liquidatable=_liquidatable(state, position.prices, context, now_s, verdict),
            legs=legs,
            collateral=data.total_collateral_value,
            debt=-(-data.total_debt_value_ray // RAY),
            input_age_s=_age(state, context, now_s),
            notes=tuple(_notes(state, position, context, now_s)),
        )

    def truth(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Truth]]:
        answers = yield tuple(
            Call(facts.market.address, f"{ABI}.getUserAccountData", (owner,), allow_revert=True) for owner in owners
        )
        return [
            Truth(owner, dict(zip(FIELDS, answer.values[0], strict=True)))
            if isinstance(answer, Ok)
            else Truth(owner, {}, answer.reason)
            for owner, answer in zip(owners, answers, strict=True)
        ]

    def explain(self, position: Position, context: Context | None = None) -> list[Line]:
        state: State = position.state
        verdict = self.evaluate(position, context).verdict
        if not isinstance(verdict, Known):
            return []
        now_s, lines = position.block.timestamp, []
        for one in state.reserves:
            lines += _explained(one, position.prices[one.facts.key], now_s)
        weighted, owed = sums(state, position.prices, now_s)
        lines.append(
            Line(
                "health factor",
                format_units(verdict.numerator, 18),
                f"floor({weighted} × 10^14 × 10^27 / {owed})",
                "spoke.getUserAccountData(owner).healthFactor",
            )
        )
        return [*lines, Line("health", f"{verdict.numerator} / {verdict.denominator}", "health factor / 10^18")]

    def prices(
        self, facts: Facts, positions: Sequence[Position], context: Context | None, block: BlockRef
    ) -> list[Price]:
        used = {key: price for position in positions for key, price in position.prices.items()}
        return [
            as_price(one.key, used[one.key], PRICE_DECIMALS, "USD", context.of(one.key) if context else None)
            for one in facts.reserves
            if one.key in used
        ]

    def price_keys(self, position: Position) -> Mapping[str, str]:
        symbols = self.symbols(position.state.facts)
        return {key: symbols[key] for key in position.prices}

    def symbols(self, facts: Facts) -> Mapping[str, str]:
        return {one.key: one.symbol for one in facts.reserves}

    def price_sources(self, facts: Facts, keys: Sequence[str], block: BlockRef) -> ReadPlan[Mapping[str, Address]]:
        wanted = [one for one in facts.reserves if one.key in keys]
        answers = yield source_calls(facts, wanted)
        return {
            one.key: answer.values[0]
            for one, answer in zip(wanted, answers, strict=True)
            if isinstance(answer, Ok) and answer.values[0] != ZERO
        }

    def unhealthy_between_times(self, position: Position) -> Callable[[int, int], bool | None]:
        """Collateral and debt both only grow with time: a healthy start and end do not make what is between healthy."""
        state: State = position.state

        def probe(low: int, high: int) -> bool | None:
            try:
                (least, owed), (most, later) = (sums(state, position.prices, at_s) for at_s in (low, high))
                if health_factor(most, owed) < WAD:
                    return True
                return False if health_factor(least, later) >= WAD else None
            except REVERTS:
                return None if low != high else False

        return probe

    def parameters(self, position: Position) -> Any:
        state: State = position.state
        return state.facts.oracle, state.config, tuple((one.facts.id, one.terms, one.flags) for one in state.reserves)


# -- judging -----------------------------------------------------------------------------------------------------------


def _spokes(state: State, context: Context | None) -> Mapping[int, HubSpoke] | None:
    """What the hubs let the spoke do with all that the account has; None where any of it is not known."""
    found = dict(context.spokes) if context else {}
    return found if all(one.facts.id in found for one in state.reserves) else None


def _gates(state: State, context: Context | None) -> tuple[Gate, ...]:
    paused = [one.facts.symbol for one in state.reserves if one.flags & PAUSED]
    gates = [Gate("reserves", GateState.SHUT if paused else GateState.OPEN, f"paused: {paused}" if paused else "")]
    spokes = _spokes(state, context)
    if spokes is None:
        return *gates, Gate("hubs", GateState.UNKNOWN, "not read")
    shut = [
        one.facts.symbol for one in state.reserves if spokes[one.facts.id].halted or not spokes[one.facts.id].active
    ]
    gates.append(Gate("hubs", GateState.SHUT if shut else GateState.OPEN, f"halted: {shut}" if shut else ""))
    if _has_room(state, spokes):
        return *gates, Gate("premium cap", GateState.OPEN)
    return *gates, Gate("premium cap", GateState.UNKNOWN, "the spoke's premium is near the hub's limit")


def _has_room(state: State, spokes: Mapping[int, HubSpoke]) -> bool:
    most = max((one.collateral_risk for one in state.reserves), default=0)
    return all(spokes[one.facts.id].has_room(one, most) for one in state.reserves if one.borrowing)


def _liquidatable(
    state: State, prices: Mapping[str, int], context: Context | None, now_s: int, verdict: Verdict
) -> bool | None:
    """Whether some pair's call with unlimited cover succeeds, for underlying or for shares; None: hubs decide."""
    if not isinstance(verdict, Known) or not verdict.unhealthy:
        return False
    spokes = _spokes(state, context)
    for collateral, debt in pairs(state):
        for shares in (True, False):
            try:
                liquidation(state, prices, now_s, collateral, debt, receive_shares=shares, spokes=spokes)
            except REVERTS:
                continue
            return True if spokes is not None and _has_room(state, spokes) else None
    return False


def _legs(state: State, prices: Mapping[str, int], now_s: int) -> tuple[Leg, ...]:
    legs = []
    for one in state.reserves:
        facts, price = one.facts, prices.get(one.facts.key, 0)
        token = facts.key, facts.symbol, facts.decimals
        if one.supplied_shares:
            amount = one.supplied(now_s)
            value, factor = toValue(amount, facts, price), one.terms.collateral_factor if one.terms else 0
            enabled = one.factor > 0
            legs.append(Leg(Side.COLLATERAL, *token, amount, price, PRICE_DECIMALS, value, factor, enabled=enabled))
        if one.borrowing:
            value = -(-toValue(one.debt_ray(now_s), facts, price) // RAY)
            legs.append(Leg(Side.DEBT, *token, one.debt(now_s), price, PRICE_DECIMALS, value, 10_000))
    return tuple(legs)


def _explained(one: Reserve, price: int, now_s: int) -> list[Line]:
    symbol, at, lines = one.facts.symbol, one.facts.id, []
    if one.factor and one.supplied_shares and one.terms:
        supplied = one.supplied(now_s)
        value = format_units(toValue(supplied, one.facts, price), VALUE_DECIMALS)
        lines.append(
            Line(
                f"{symbol} counts",
                f"{one.factor} bps of {value} USD",
                f"floor({one.supplied_shares} × ({one.hub.assets(now_s)} + 10^6) / ({one.hub.added_shares} + 10^6)) "
                f"= {supplied}, at {price}, key {one.terms.key}",
                f"spoke.getUserPosition({at}, owner), hub.getAsset({one.facts.asset_id}), "
                f"spoke.getDynamicReserveConfig({at}, {one.terms.key})",
            )
        )
    if one.borrowing:
        owed = toValue(one.debt_ray(now_s), one.facts, price)
        lines.append(
            Line(
                f"{symbol} debt",
                f"{format_units(owed, VALUE_DECIMALS + 27)} USD",
                f"({one.drawn_shares} × {one.hub.index(now_s)} + {one.premium_ray(now_s)}) at {price}",
                f"spoke.getUserPosition({at}, owner), hub.getAsset({one.facts.asset_id})",
            )
        )
    return lines


def _age(state: State, context: Context | None, now_s: int) -> int | None:
    """None where a source does not tell."""
    readings = [context.of(one.facts.key) if context else None for one in state.reserves]
    times = [one.updated_at for one in readings if one is not None and one.updated_at is not None]
    return max(now_s - time for time in times) if times and len(times) == len(readings) else None


def _notes(state: State, position: Position, context: Context | None, now_s: int) -> list[str]:
    said = []
    for one in state.reserves:
        if one.terms and one.terms.key != one.newest_key:
            said.append(
                f"{one.facts.symbol}: the collateral factor is that of configuration {one.terms.key}; the next borrow, "
                f"withdrawal or refresh takes over configuration {one.newest_key}"
            )
        reading = context.of(one.facts.key) if context else None
        if reading is not None and one.facts.key in position.prices:
            said += remarks(one.facts.symbol, position.prices[one.facts.key], now_s, reading)
    return said


PROTOCOL = AaveV4()
