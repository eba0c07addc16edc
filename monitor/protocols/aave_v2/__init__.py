"""Aave V2: Aave's markets of 2020 and 2021, in wind-down; one pause for all, a close factor of a half, stable debt.

A market is its LendingPoolAddressesProvider. Values are in the oracle's base: ETH on Ethereum and Polygon, where the
price of ETH itself moves nothing for what is held in ETH. liquidationCall compares the health factor with interest up
to its own block, as getUserAccountData does. Rules as of protocol-v2 1.0.1: later patches of single deployments are not
known here. What this file must not know: nodes, clocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from monitor.core.actions import Intent, Move, Step, Template
from monitor.core.guarding import GuardSetup
from monitor.core.liquidations import Liquidation
from monitor.core.plan import gather, values
from monitor.core.types import (
    Address,
    Answer,
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
    Unread,
    Unreadable,
    Verdict,
)
from monitor.core.units import WAD, format_units
from monitor.oracles.chainlink import ZERO, Reading, as_price, read_source, remarks
from monitor.protocols.aave_v2 import keeper
from monitor.protocols.aave_v2.effects import after
from monitor.protocols.aave_v2.math import (
    AccountData,
    Facts,
    NoPrice,
    Reserve,
    ReserveFacts,
    Seizure,
    State,
    account_data,
    balances,
    bounds,
    liquidation,
    pairs,
)
from monitor.protocols.aave_v2.rescue import Purse, read_purse, steps
from monitor.protocols.aave_v2.templates import LIQUIDATE, REPAY, SUPPLY, TEMPLATES
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.math import ArithmeticReverts
from monitor.protocols.base import Deployment, Helpers, Protocol, Truth, Version
from monitor.protocols.symbols import symbol_calls, symbol_of

ABI = "aave_v2"
_BOOK = "npm:@aave-dao/aave-address-book@4.68.1 src/"
REVERTS = (ArithmeticReverts, NoPrice)


@dataclass(frozen=True, slots=True)
class Context:
    """What the price sources say of their ages, by asset."""

    readings: tuple[tuple[Address, Reading], ...]

    def of(self, asset: Address) -> Reading | None:
        return next((reading for one, reading in self.readings if one == asset), None)


class AaveV2(Protocol[Facts, Context]):
    """Aave V2."""

    name = "aave-v2"
    title = "Aave V2"
    helpers = Helpers(
        "repay, of which levmon does variable debt only, or deposit more of a collateral that counts",
        "the same, or pay debt with collateral",
    )
    versions: ClassVar[Sequence[Version]] = (
        Version(
            "2", "recorded contracts: all six numbers, every liquidation call and its amounts, and rescues, equal", 65
        ),
    )
    facts_type = Facts
    templates: ClassVar[tuple[Template, ...]] = TEMPLATES
    deployments: ClassVar[Mapping[str, Deployment]] = {
        "ethereum/aave-v2": Deployment(1, "0xB53C1a33016B2DC2fF3653530bfF1848a515c8c5", f"{_BOOK}AaveV2Ethereum.sol"),
        "ethereum/aave-v2/amm": Deployment(
            1, "0xAcc030EF66f9dFEAE9CbB0cd1B25654b82cFA8d5", f"{_BOOK}AaveV2EthereumAMM.sol"
        ),
        "polygon/aave-v2": Deployment(137, "0xd05e3E715d945B59290df0ae8eF85c1BdB684744", f"{_BOOK}AaveV2Polygon.sol"),
        "avalanche/aave-v2": Deployment(
            43_114, "0xb6A86025F0FE1862B372cb0ca18CE3EDe02A318f", f"{_BOOK}AaveV2Avalanche.sol"
        ),
    }

    def static(self, market: MarketRef, block: BlockRef) -> ReadPlan[Facts]:
        found = yield _contract_calls(market.address)
        pool, oracle = (values(answer)[0] for answer in found)
        listed, base, unit = yield (
            Call(pool, f"{ABI}.getReservesList"),
            Call(oracle, "aave_v3_oracle.BASE_CURRENCY", allow_revert=True),
            Call(oracle, "aave_v3_oracle.BASE_CURRENCY_UNIT", allow_revert=True),
        )
        (assets,) = values(listed)
        answers = yield (
            *(Call(pool, f"{ABI}.getReserveData", (asset,)) for asset in assets),
            *(call for asset in assets for call in symbol_calls(asset)),
        )
        reserves = []
        for number, asset in enumerate(assets):
            (configuration,), *numbers = values(answers[number])[0]
            at = len(assets) + 2 * number
            name = symbol_of(asset, *answers[at : at + 2])
            reserves.append(ReserveFacts(number, asset, name, words.decimals(configuration), numbers[6]))
        in_dollars = isinstance(base, Ok) and base.values[0] == ZERO
        places = len(str(unit.values[0])) - 1 if isinstance(unit, Ok) else 18
        return Facts(market, pool, oracle, "USD" if in_dollars else "ETH", places, tuple(reserves))

    def recheck(self, facts: Facts, block: BlockRef) -> ReadPlan[bool]:
        """Whether pool and oracle are the same and no reserve was added. All else is read with every state."""
        answers = yield (
            *(Call(call.to, call.function, allow_revert=True) for call in _contract_calls(facts.market.address)),
            Call(facts.pool, f"{ABI}.getReservesList", allow_revert=True),
        )
        mine = [facts.pool, facts.oracle, tuple(one.asset for one in facts.reserves)]
        return [answer.values[0] if isinstance(answer, Ok) else None for answer in answers] == mine

    def state(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
        shared = [
            Call(facts.pool, f"{ABI}.paused", allow_revert=True),
            *(Call(facts.pool, f"{ABI}.getReserveData", (one.asset,), allow_revert=True) for one in facts.reserves),
            *(
                Call(facts.oracle, "aave_v3_oracle.getAssetPrice", (one.asset,), allow_revert=True)
                for one in facts.reserves
            ),
        ]
        maps = [Call(facts.pool, f"{ABI}.getUserConfiguration", (owner,), allow_revert=True) for owner in owners]
        paused, *answers = yield (*shared, *maps)
        count = len(facts.reserves)
        read = _Read(facts, block, paused, answers[:count], answers[count : 2 * count], {})
        wanted = [
            call
            for owner, bitmap in zip(owners, answers[2 * count :], strict=True)
            for call in read.balance_calls(owner, bitmap)
        ]
        read.held.update(zip(wanted, (yield tuple(wanted)) if wanted else (), strict=True))
        return [read.position(owner, bitmap) for owner, bitmap in zip(owners, answers[2 * count :], strict=True)]

    def context(self, facts: Facts, block: BlockRef) -> ReadPlan[Context]:
        sources = yield _source_calls(facts, [one.asset for one in facts.reserves])
        told = [
            (one.asset, answer.values[0])
            for one, answer in zip(facts.reserves, sources, strict=True)
            if isinstance(answer, Ok) and answer.values[0] != ZERO
        ]
        readings: list[Any] = yield from gather([read_source(source) for _, source in told])
        pairs_ = zip(told, readings, strict=True)
        return Context(tuple((asset, one) for (asset, _), one in pairs_ if isinstance(one, Reading)))

    def evaluate(self, position: Position, context: Context | None = None, at_s: int | None = None) -> Health:
        state: State = position.state
        facts, now_s = state.facts, position.block.timestamp if at_s is None else at_s
        unit = Unit(facts.base, facts.base_decimals)
        gates = [Gate("pool", GateState.SHUT if state.paused else GateState.OPEN, "paused" if state.paused else "")]
        try:
            data = account_data(state, position.prices, now_s)
        except REVERTS as reverts:
            name = "price" if isinstance(reverts, NoPrice) else "arithmetic"
            gates.append(Gate(name, GateState.SHUT, f"the contract itself reverts: {reverts}"))
            verdict: Verdict = Unknown(gates[-1].detail) if state.borrows else NoDebt()
            return Health(position.id, position.block, verdict, unit, {}, tuple(gates), liquidatable=False)
        verdict = _verdict(state, position.prices, data)
        return Health(
            position_id=position.id,
            block=position.block,
            verdict=verdict,
            unit=unit,
            reported=data.reported(),
            gates=tuple(gates),
            liquidatable=_liquidatable(state, position.prices, now_s, data),
            legs=_legs(state, position.prices, now_s),
            collateral=data.collateral,
            debt=data.debt,
            input_age_s=_age(state, context, now_s),
            notes=tuple(_notes(state, position, context, now_s)),
        )

    def truth(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Truth]]:
        answers = yield tuple(
            Call(facts.pool, f"{ABI}.getUserAccountData", (owner,), allow_revert=True) for owner in owners
        )
        names = AccountData(0, 0, 0, 0, 0, 0, 0).reported()
        return [
            Truth(owner, dict(zip(names, answer.values, strict=True)))
            if isinstance(answer, Ok)
            else Truth(owner, {}, answer.reason)
            for owner, answer in zip(owners, answers, strict=True)
        ]

    def explain(self, position: Position, context: Context | None = None) -> list[Line]:
        state: State = position.state
        facts, now_s = state.facts, position.block.timestamp
        verdict = self.evaluate(position, context).verdict
        lines = [Line("paused", str(state.paused), source="pool.paused()")]
        if not isinstance(verdict, Known):
            return lines
        for one in state.reserves:
            lines += _explained(one, position.prices[one.asset], now_s, facts)
        data = account_data(state, position.prices, now_s)
        lines += [
            Line("average threshold", f"{data.threshold} bps", f"floor({data.weighted} / {data.collateral})"),
            Line(
                "health factor",
                format_units(data.health_factor, 18),
                f"wadDiv(percentMul({data.collateral}, {data.threshold}), {data.debt})",
                "pool.getUserAccountData(owner).healthFactor",
            ),
        ]
        return [*lines, Line("health", f"{verdict.numerator} / {verdict.denominator}", "health factor / 10^18")]

    def prices(
        self, facts: Facts, positions: Sequence[Position], context: Context | None, block: BlockRef
    ) -> list[Price]:
        used = {asset: price for position in positions for asset, price in position.prices.items()}
        return [
            as_price(
                one.asset, used[one.asset], facts.base_decimals, facts.base, context.of(one.asset) if context else None
            )
            for one in facts.reserves
            if one.asset in used
        ]

    def price_keys(self, position: Position) -> Mapping[str, str]:
        symbols = self.symbols(position.state.facts)
        return {asset: symbols[asset] for asset in position.prices}

    def symbols(self, facts: Facts) -> Mapping[str, str]:
        return {one.asset: one.symbol for one in facts.reserves}

    def price_sources(self, facts: Facts, keys: Sequence[str], block: BlockRef) -> ReadPlan[Mapping[str, Address]]:
        answers = yield _source_calls(facts, keys)
        return {
            key: answer.values[0]
            for key, answer in zip(keys, answers, strict=True)
            if isinstance(answer, Ok) and answer.values[0] != ZERO
        }

    def unhealthy_between_prices(
        self, position: Position, key: str, at_s: int | None = None
    ) -> Callable[[int, int], bool | None]:
        now_s = position.block.timestamp if at_s is None else at_s

        def at(price: int) -> AccountData:
            return account_data(position.state, {**position.prices, key: price}, now_s)

        return lambda low, high: _between(at, low, high)

    def unhealthy_between_times(self, position: Position) -> Callable[[int, int], bool | None]:
        def at(at_s: int) -> AccountData:
            return account_data(position.state, position.prices, at_s)

        return lambda low, high: _between(at, low, high)

    def parameters(self, position: Position) -> Any:
        state: State = position.state
        return state.facts.oracle, tuple((one.asset, one.configuration) for one in state.reserves)

    # -- acting --------------------------------------------------------------------------------------------------------

    def rescue_context(
        self,
        facts: Facts,
        guardian: Address,
        positions: Sequence[Position],
        block: BlockRef,
        guard: GuardSetup | None = None,
    ) -> ReadPlan[Purse]:
        return read_purse(facts, guardian, positions)

    def rescue_steps(self, facts: Facts, position: Position, rescue: Purse, until_s: int) -> list[Step]:
        return steps(facts, position, rescue, until_s)

    def after(self, position: Position, intent: Intent, at_s: int) -> Position:
        return after(position, intent, at_s)

    def contracts(self, facts: Facts) -> tuple[Address, ...]:
        return facts.pool, facts.oracle

    def moves(self, facts: Facts, intent: Intent) -> tuple[Move, ...]:
        """Reserves are held by their aTokens. Where debt and collateral are one asset, the purse gains in all."""
        if intent.kind in (REPAY.kind, SUPPLY.kind):
            pays = {str(intent.args["asset"]): True}
        elif intent.kind == LIQUIDATE.kind:
            pays = {str(intent.args["debtAsset"]): True, str(intent.args["collateralAsset"]): False}
        else:
            return ()
        return tuple(Move(one.asset, one.a_token, pays[one.asset]) for one in facts.reserves if one.asset in pays)

    def liquidations(
        self, facts: Facts, position: Position, rescue: Purse, context: Context | None, at_s: int
    ) -> list[Liquidation]:
        return keeper.pairs(facts, position, rescue, at_s)

    def liquidated(self, pair: Liquidation, amount: int, context: Context | None, at_s: int) -> Liquidation:
        return keeper.liquidated(pair, amount, at_s)

    def repeated(
        self, facts: Facts, pair: Liquidation, intent: Intent, context: Context | None, at_s: int
    ) -> Liquidation | None:
        return keeper.repeated(pair, intent, at_s)

    def liquidation_loss(self, position: Position) -> int:
        return keeper.loss(position)


# -- reading -----------------------------------------------------------------------------------------------------------


def _contract_calls(provider: Address) -> tuple[Call, ...]:
    return tuple(Call(provider, f"{ABI}.{name}") for name in ("getLendingPool", "getPriceOracle"))


def _source_calls(facts: Facts, assets: Sequence[Address]) -> tuple[Call, ...]:
    return tuple(Call(facts.oracle, "aave_v3_oracle.getSourceOfAsset", (asset,), allow_revert=True) for asset in assets)


@dataclass(frozen=True, slots=True)
class _Read:
    """The answers of one state plan: those that all accounts share, and balances by call."""

    facts: Facts
    block: BlockRef
    paused: Answer
    reserves: Sequence[Answer]
    prices: Sequence[Answer]
    held: dict[Call, Answer]

    def balance_calls(self, owner: Address, bitmap: Answer) -> list[Call]:
        """The balances that a set bit lets count, in their order; of reserves that could not be read none."""
        word = bitmap.values[0][0] if isinstance(bitmap, Ok) else 0
        calls = []
        for number in words.reserve_ids(word):
            data = self.reserves[number] if number < len(self.reserves) else None
            if not isinstance(data, Ok):
                continue
            *_, a_token, stable, variable, _, _ = data.values[0]
            if words.is_using_as_collateral(word, number):
                calls.append(_balance(a_token, "scaledBalanceOf", owner))
            if words.is_borrowing(word, number):
                calls.append(_balance(variable, "scaledBalanceOf", owner))
                names = ("principalBalanceOf", "getUserStableRate", "getUserLastUpdated")
                calls += [_balance(stable, name, owner) for name in names]
        return calls

    def position(self, owner: Address, bitmap: Answer) -> Position | Unreadable:
        name = self.facts.market.position_id(owner)
        calls = self.balance_calls(owner, bitmap)
        if failed := self._failed(bitmap, calls):
            return Unreadable(name, owner, self.block, failed)
        word = values(bitmap)[0][0]
        told = iter([values(self.held[call])[0] for call in calls])
        reserves, prices, errors = [], {}, {}
        for number in words.reserve_ids(word):
            facts = self.facts.reserves[number]
            (configuration,), *numbers = values(self.reserves[number])[0]
            income, debt_index, liquidity_rate, variable_rate, _, updated_s = numbers[:6]
            collateral, borrowing = words.is_using_as_collateral(word, number), words.is_borrowing(word, number)
            scaled = next(told) if collateral else 0
            owed = [next(told) for _ in range(4)] if borrowing else [0] * 4
            rates = liquidity_rate, variable_rate, updated_s
            terms = configuration, income, debt_index, *rates
            reserves.append(Reserve(facts, *terms, collateral, borrowing, scaled, *owed))
            price = self.prices[number]
            if isinstance(price, Ok):
                prices[facts.asset] = price.values[0]
            else:
                errors[facts.asset] = f"{facts.symbol}: getAssetPrice(): {price.reason}"
        found = State(self.facts, values(self.paused)[0], tuple(reserves), errors)
        return Position(name, owner, self.block, Rule(AaveV2.name, "2"), prices, found)

    def _failed(self, bitmap: Answer, calls: Sequence[Call]) -> str:
        """The first thing that was needed and could not be read; "" if all was."""
        if not isinstance(bitmap, Ok):
            return f"getUserConfiguration(): {bitmap.reason}"
        if not isinstance(self.paused, Ok):
            return f"paused(): {self.paused.reason}"
        for number in words.reserve_ids(bitmap.values[0][0]):
            if number >= len(self.reserves):
                return f"reserve {number} was added after the facts were read"
            data, price = self.reserves[number], self.prices[number]
            if not isinstance(data, Ok):
                return f"getReserveData(): {data.reason}"
            if isinstance(price, Unread):
                return f"getAssetPrice(): {price.reason}"
        broken = [(call, answer) for call in calls if not isinstance(answer := self.held[call], Ok)]
        return f"{broken[0][0].function.partition('.')[2]}(): {broken[0][1].reason}" if broken else ""


def _balance(token: Address, name: str, owner: Address) -> Call:
    return Call(token, f"aave_v3_token.{name}", (owner,), allow_revert=True)


# -- judging -----------------------------------------------------------------------------------------------------------


def _verdict(state: State, prices: Mapping[Address, int], data: AccountData) -> Verdict:
    """Health alone. Unknown where a debt is at a price of 0 and would count for nothing."""
    owing = [one for one in state.reserves if one.scaled_variable_debt or one.stable_principal]
    free = [one.facts.symbol for one in owing if prices[one.asset] == 0]
    if free and data.health_factor >= WAD:
        return Unknown(f"{free[0]}: the oracle answers 0, so its debt would count for nothing")
    return Known(data.health_factor, WAD) if data.debt else NoDebt()


def _liquidatable(state: State, prices: Mapping[Address, int], now_s: int, data: AccountData) -> bool:
    """Whether some pair's call succeeds, paid out in aTokens so that the pool's cash does not matter."""
    if state.paused or data.health_factor >= WAD:
        return False
    for collateral, debt in pairs(state):
        try:
            outcome = liquidation(state, prices, now_s, collateral, debt)
        except REVERTS:
            continue
        if isinstance(outcome, Seizure):
            return True
    return False


def _between(at: Callable[[int], AccountData], low: int, high: int) -> bool | None:
    """True if unhealthy at all of low..high, False if at none, None if undecided, which a single point never is."""
    try:
        least, most = bounds(at(low), at(high)) if low != high else (at(low).health_factor,) * 2
    except REVERTS:
        return None if low != high else False
    if most < WAD:
        return True
    return False if least >= WAD else None


def _legs(state: State, prices: Mapping[Address, int], now_s: int) -> tuple[Leg, ...]:
    legs = []
    for one in state.reserves:
        held, price = balances(one, now_s), prices[one.asset]
        terms = one.asset, one.facts.symbol, one.facts.decimals
        decimals = state.facts.base_decimals
        if held.supplied:
            value = held.supplied * price // one.unit
            legs.append(
                Leg(Side.COLLATERAL, *terms, held.supplied, price, decimals, value, one.threshold, enabled=one.counts)
            )
        if held.debt:
            legs.append(Leg(Side.DEBT, *terms, held.debt, price, decimals, held.debt * price // one.unit, 10_000))
    return tuple(legs)


def _explained(one: Reserve, price: int, now_s: int, facts: Facts) -> list[Line]:
    held, symbol, lines = balances(one, now_s), one.facts.symbol, []
    if one.counts:
        lines.append(
            Line(
                f"{symbol} counts",
                f"{format_units(price * held.supplied // one.unit, facts.base_decimals)} {facts.base}",
                f"floor({price} × {held.supplied} / {one.unit}), threshold {one.threshold} bps",
                f"aToken.scaledBalanceOf(owner) = {one.scaled_a_token}, pool.getReserveData({symbol})",
            )
        )
    if one.borrowing:
        lines.append(
            Line(
                f"{symbol} debt",
                f"{format_units(price * held.debt // one.unit, facts.base_decimals)} {facts.base}",
                f"floor({price} × ({held.stable_debt} stable + {held.variable_debt} variable) / {one.unit})",
                f"variableDebtToken.scaledBalanceOf(owner) = {one.scaled_variable_debt}, "
                f"stableDebtToken.principalBalanceOf(owner) = {one.stable_principal}",
            )
        )
    return lines


def _age(state: State, context: Context | None, now_s: int) -> int | None:
    """None where a source does not tell; the base currency itself has none and does not count."""
    if context is None:
        return None
    readings = [reading for one in state.reserves if (reading := context.of(one.asset)) is not None]
    times = [reading.updated_at for reading in readings if reading.updated_at is not None]
    return max(now_s - time for time in times) if times and len(times) == len(readings) else None


def _notes(state: State, position: Position, context: Context | None, now_s: int) -> list[str]:
    said = []
    for one in state.reserves:
        reading = context.of(one.asset) if context else None
        if reading is not None and one.asset in position.prices:
            said += remarks(one.facts.symbol, position.prices[one.asset], now_s, reading)
        if one.borrowing and one.liquidity_rate == 0 and one.variable_borrow_rate:
            said.append(f"{one.facts.symbol}: suppliers earn nothing, so the next action drops the interest since then")
    return said


PROTOCOL = AaveV2()
