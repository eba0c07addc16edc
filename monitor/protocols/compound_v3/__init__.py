"""Compound V3 (Comet): one borrowable base asset per market, up to 24 collaterals, liquidation by absorption.

A market is its Comet proxy. Comet has no health getter: `absorb` accrues interest, then compares the collateral, each
asset weighted by its liquidateCollateralFactor, with the debt; that comparison is health here. `isLiquidatable` looks
at the indexes of the last accrual and so may still say no while `absorb` succeeds: it is only what is verified against.
Prices have no staleness check. What this file must not know: nodes, clocks, other protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from monitor.core.actions import Intent, Move, Step, Template
from monitor.core.errors import ProtocolError
from monitor.core.guarding import GuardSetup
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
from monitor.oracles.chainlink import Reading, as_price, read_source, remarks
from monitor.protocols.base import Deployment, Helpers, Protocol, Truth, Version
from monitor.protocols.compound_v3.deployments import DEPLOYMENTS
from monitor.protocols.compound_v3.effects import after
from monitor.protocols.compound_v3.math import (
    ABSORB_PAUSED,
    BASE_INDEX_SCALE,
    PRICE_DECIMALS,
    Asset,
    BadPrice,
    Facts,
    Overflows,
    Rates,
    State,
    Totals,
    Weighed,
    accrued,
    debt_of,
    in_asset,
    supply_of,
    utilization,
    weigh,
)
from monitor.protocols.compound_v3.rescue import Purse, loss, read_purse, steps
from monitor.protocols.compound_v3.templates import REPAY, SUPPLY, TEMPLATES
from monitor.protocols.symbols import symbol_calls, symbol_of

ABI = "compound_v3"
PARAMETERS = ("Kink", "PerSecondInterestRateSlopeLow", "PerSecondInterestRateSlopeHigh", "PerSecondInterestRateBase")
GETTERS = ("baseToken", "baseTokenPriceFeed", "baseScale", "numAssets", "baseBorrowMin")


@dataclass(frozen=True, slots=True)
class Context:
    """What the price feeds say of their ages."""

    readings: tuple[Reading, ...]

    def of(self, feed: Address) -> Reading | None:
        return next((one for one in self.readings if one.source == feed), None)


class CompoundV3(Protocol[Facts, Context]):
    """Compound V3."""

    name = "compound-v3"
    title = "Compound V3"
    helpers = Helpers(
        "repay, or supply collateral up to what its cap leaves",
        "the same, or pay debt with collateral",
    )
    versions: ClassVar[Sequence[Version]] = (
        Version("comet", "recorded contracts: balances, verdicts, absorptions, rescues and their amounts equal", 75),
    )
    facts_type = Facts
    templates: ClassVar[tuple[Template, ...]] = TEMPLATES
    deployments: ClassVar[Mapping[str, Deployment]] = DEPLOYMENTS

    def static(self, market: MarketRef, block: BlockRef) -> ReadPlan[Facts]:
        answers = yield _parameter_calls(market.address)
        base, feed, base_scale, count, borrow_min, *curves = (values(answer)[0] for answer in answers)
        supply_rates, borrow_rates = Rates(*curves[:4]), Rates(*curves[4:])
        infos = yield tuple(Call(market.address, f"{ABI}.getAssetInfo", (number,)) for number in range(count))
        rows = [values(info)[0] for info in infos]
        tokens = (base, *(row[1] for row in rows))
        names = yield (
            *(call for token in tokens for call in symbol_calls(token)),
            Call(feed, f"{ABI}.description", allow_revert=True),
        )
        symbols = [symbol_of(token, *names[2 * at : 2 * at + 2]) for at, token in enumerate(tokens)]
        if any(str(scale).strip("0") != "1" for scale in (base_scale, *(row[3] for row in rows))):
            raise ProtocolError(f"{market}: a scale is not a power of ten")
        assets = tuple(
            Asset(number, row[1], name, row[2], *row[3:])
            for (number, row), name in zip(enumerate(rows), symbols[1:], strict=True)
        )
        base_symbol = symbols[0]
        quote = _quote(names[-1], base_symbol)
        return Facts(market, base, base_symbol, feed, base_scale, borrow_min, quote, supply_rates, borrow_rates, assets)

    def recheck(self, facts: Facts, block: BlockRef) -> ReadPlan[bool]:
        """Every parameter is an immutable of the implementation: a new one may change any of them."""
        comet = facts.market.address
        infos = [Call(comet, f"{ABI}.getAssetInfo", (asset.number,)) for asset in facts.assets]
        calls = (*_parameter_calls(comet), *infos)
        answers = yield tuple(Call(call.to, call.function, call.args, allow_revert=True) for call in calls)
        if not all(isinstance(answer, Ok) for answer in answers):
            return False
        found = [values(answer)[0] for answer in answers]
        fixed = len(answers) - len(infos)
        curves = [
            number
            for rates in (facts.supply_rates, facts.borrow_rates)
            for number in (rates.kink, rates.slope_low, rates.slope_high, rates.base)
        ]
        mine = [facts.base, facts.base_feed, facts.base_scale, len(facts.assets), facts.base_borrow_min, *curves]
        return found[:fixed] == mine and [tuple(row) for row in found[fixed:]] == [_row(one) for one in facts.assets]

    def state(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
        comet = facts.market.address
        feeds = {facts.base: facts.base_feed, **{asset.address: asset.feed for asset in facts.assets}}
        shared = [
            Call(comet, f"{ABI}.totalsBasic", allow_revert=True),
            *(Call(comet, f"{ABI}.getPrice", (feed,), allow_revert=True) for feed in dict.fromkeys(feeds.values())),
        ]
        basics = [Call(comet, f"{ABI}.userBasic", (owner,), allow_revert=True) for owner in owners]
        answers = yield (*shared, *basics)
        totals, mine = answers[0], answers[len(shared) :]
        by_feed = dict(zip(dict.fromkeys(feeds.values()), answers[1 : len(shared)], strict=True))
        holds = [_holds(facts, basic) for basic in mine]
        wanted = [
            Call(comet, f"{ABI}.userCollateral", (owner, asset.address), allow_revert=True)
            for owner, assets in zip(owners, holds, strict=True)
            for asset in assets
        ]
        balances = dict(zip(wanted, (yield tuple(wanted)) if wanted else (), strict=True))
        prices = {asset: by_feed[feed] for asset, feed in feeds.items()}
        return [
            _position(facts, owner, block, totals, prices, basic, assets, balances)
            for owner, basic, assets in zip(owners, mine, holds, strict=True)
        ]

    def context(self, facts: Facts, block: BlockRef) -> ReadPlan[Context]:
        feeds = dict.fromkeys((facts.base_feed, *(asset.feed for asset in facts.assets)))
        readings: list[Any] = yield from gather([read_source(feed) for feed in feeds])
        return Context(tuple(one for one in readings if isinstance(one, Reading)))

    def evaluate(self, position: Position, context: Context | None = None, at_s: int | None = None) -> Health:
        state: State = position.state
        facts, unit = state.facts, Unit(state.facts.quote, PRICE_DECIMALS)
        now_s = position.block.timestamp if at_s is None else at_s
        paused = bool(state.totals.pause_flags & ABSORB_PAUSED)
        gates = [Gate("absorb", GateState.SHUT if paused else GateState.OPEN, "paused" if paused else "")]
        reported: dict[str, int] = {}
        try:
            totals = accrued(facts, state.totals, now_s)
            debt, supplied = debt_of(state.principal, totals), supply_of(state.principal, totals)
            reported = _reported(state, position.prices, totals)
            weighed = weigh(state, position.prices, totals) if debt else Weighed(0, 0, (), settled=True)
        except (BadPrice, Overflows) as reverts:
            name = "price" if isinstance(reverts, BadPrice) else "arithmetic"
            gates.append(Gate(name, GateState.SHUT, f"the contract itself reverts: {reverts.message}"))
            verdict: Verdict = Unknown(gates[-1].detail)
            return Health(position.id, position.block, verdict, unit, reported, tuple(gates), liquidatable=False)
        legs = _legs(state, position.prices, debt, supplied)
        missing = [asset.symbol for asset, _ in state.balances if asset.address not in position.prices]
        verdict = Known(weighed.counted, weighed.debt) if weighed.debt else NoDebt()
        if missing and debt:
            verdict = Unknown(f"no price for {missing[0]}; the contract stops before it and finds enough")
        unhealthy = isinstance(verdict, Known) and verdict.unhealthy
        return Health(
            position_id=position.id,
            block=position.block,
            verdict=verdict,
            unit=unit,
            reported=reported,
            gates=tuple(gates),
            liquidatable=unhealthy and not paused,
            legs=legs,
            collateral=sum(leg.value for leg in legs if leg.side is Side.COLLATERAL),
            debt=weighed.debt,
            input_age_s=_age(state, context, now_s),
            notes=tuple(_notes(state, position, context, now_s, debt)),
        )

    def truth(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Truth]]:
        """Comet's own getters. isLiquidatable rests on the indexes of the last accrual, as `reported` does."""
        names = ("balanceOf", "borrowBalanceOf", "isLiquidatable", "isBorrowCollateralized")
        answers = yield tuple(
            Call(facts.market.address, f"{ABI}.{name}", (owner,), allow_revert=True)
            for owner in owners
            for name in names
        )
        found = []
        for number, owner in enumerate(owners):
            own = answers[number * len(names) : (number + 1) * len(names)]
            failed = next((answer.reason for answer in own if not isinstance(answer, Ok)), "")
            told = {} if failed else {name: int(values(one)[0]) for name, one in zip(names, own, strict=True)}
            found.append(Truth(owner, told, failed))
        return found

    def explain(self, position: Position, context: Context | None = None) -> list[Line]:
        state: State = position.state
        facts, health = state.facts, self.evaluate(position, context)
        stored = state.totals
        lines = [
            Line("principal", str(state.principal), source="comet.userBasic(owner).principal"),
            Line("utilization", format_units(utilization(stored), 18), source="comet.getUtilization()"),
            Line("borrow index, stored", str(stored.base_borrow_index), source="comet.totalsBasic().baseBorrowIndex"),
        ]
        if not isinstance(health.verdict, Known):
            return lines
        totals = accrued(facts, stored, position.block.timestamp)
        debt = debt_of(state.principal, totals)
        base_price, verdict = position.prices[facts.base], health.verdict
        lines += [
            Line("borrow index", str(totals.base_borrow_index), f"accrued from {stored.last_accrual_s}"),
            Line(
                "debt",
                f"{format_units(debt, facts.base_decimals)} {facts.base_symbol}",
                f"floor({-state.principal} × {totals.base_borrow_index} / {BASE_INDEX_SCALE})",
                "comet.borrowBalanceOf(owner)",
            ),
            Line(
                "debt value",
                f"{format_units(verdict.denominator, PRICE_DECIMALS)} {facts.quote}",
                f"floor({debt} × {base_price} / {facts.base_scale})",
                f"comet.getPrice({facts.base_feed})",
            ),
        ]
        for asset, balance, value in weigh(state, position.prices, totals).values:
            lines.append(
                Line(
                    f"{asset.symbol} counts",
                    f"{format_units(value * asset.liquidate_factor // WAD, PRICE_DECIMALS)} {facts.quote}",
                    f"floor(floor({balance} × {position.prices[asset.address]} / {asset.scale}) "
                    f"× {asset.liquidate_factor} / 10^18)",
                    f"comet.userCollateral(owner, {asset.symbol}), getPrice({asset.feed})",
                )
            )
        return [*lines, Line("health", f"{verdict.numerator} / {verdict.denominator}", "collateral that counts / debt")]

    def prices(
        self, facts: Facts, positions: Sequence[Position], context: Context | None, block: BlockRef
    ) -> list[Price]:
        used: dict[Address, int] = {}
        for position in positions:
            used.update(position.prices)
        feeds = {facts.base: facts.base_feed, **{asset.address: asset.feed for asset in facts.assets}}
        return [
            as_price(asset, used[asset], PRICE_DECIMALS, facts.quote, context.of(feed) if context else None)
            for asset, feed in feeds.items()
            if asset in used
        ]

    def price_keys(self, position: Position) -> Mapping[str, str]:
        symbols = self.symbols(position.state.facts)
        return {asset: symbols[asset] for asset in position.prices}

    def symbols(self, facts: Facts) -> Mapping[str, str]:
        return {facts.base: facts.base_symbol, **{asset.address: asset.symbol for asset in facts.assets}}

    def parameters(self, position: Position) -> Any:
        facts: Facts = position.state.facts
        return facts.assets, facts.base_feed, facts.borrow_rates

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
        return steps(facts, position, rescue)

    def after(self, position: Position, intent: Intent, at_s: int) -> Position:
        return after(position, intent, at_s)

    def contracts(self, facts: Facts) -> tuple[Address, ...]:
        return tuple(dict.fromkeys((facts.market.address, facts.base_feed, *(asset.feed for asset in facts.assets))))

    def moves(self, facts: Facts, intent: Intent) -> tuple[Move, ...]:
        """Comet itself holds every token."""
        if intent.kind not in (REPAY.kind, SUPPLY.kind):
            return ()
        return (Move(str(intent.args["asset"]), facts.market.address, pays=True),)

    def liquidation_loss(self, position: Position) -> int:
        return loss(position)


# -- reading -----------------------------------------------------------------------------------------------------------


def _parameter_calls(comet: Address) -> tuple[Call, ...]:
    curves = [f"{side}{name}" for side in ("supply", "borrow") for name in PARAMETERS]
    return tuple(Call(comet, f"{ABI}.{name}") for name in (*GETTERS, *curves))


def _row(asset: Asset) -> tuple[Any, ...]:
    """As getAssetInfo answers."""
    factors = asset.borrow_factor, asset.liquidate_factor, asset.liquidation_factor
    return (asset.number, asset.address, asset.feed, asset.scale, *factors, asset.supply_cap)


def _quote(description: Answer, base_symbol: str) -> str:
    """Where the base's feed is a constant, prices are in the base asset; else in dollars, as all known markets are."""
    constant = isinstance(description, Ok) and "constant" in str(description.values[0]).lower()
    return base_symbol if constant else "USD"


def _holds(facts: Facts, basic: Answer) -> list[Asset]:
    if not isinstance(basic, Ok):
        return []
    *_, assets_in, reserved = basic.values
    return [asset for asset in facts.assets if in_asset(asset.number, assets_in, reserved)]


def _position(
    facts: Facts,
    owner: Address,
    block: BlockRef,
    totals: Answer,
    prices: Mapping[Address, Answer],
    basic: Answer,
    assets: Sequence[Asset],
    balances: Mapping[Call, Answer],
) -> Position | Unreadable:
    name = facts.market.position_id(owner)
    if not isinstance(totals, Ok):
        return Unreadable(name, owner, block, f"totalsBasic(): {totals.reason}")
    if not isinstance(basic, Ok):
        return Unreadable(name, owner, block, f"userBasic(): {basic.reason}")
    principal = basic.values[0]
    held = []
    for asset in assets:
        call = Call(facts.market.address, f"{ABI}.userCollateral", (owner, asset.address), allow_revert=True)
        answer = balances[call]
        if not isinstance(answer, Ok):
            return Unreadable(name, owner, block, f"userCollateral({asset.symbol}): {answer.reason}")
        held.append((asset, answer.values[0]))
    used = {facts.base, *(asset.address for asset, _ in held)} if principal < 0 or held else set()
    for asset_, answer in prices.items():
        if asset_ in used and isinstance(answer, Unread):
            return Unreadable(name, owner, block, f"getPrice(): {answer.reason}")
    known = {one: answer.values[0] for one, answer in prices.items() if one in used and isinstance(answer, Ok)}
    errors = {one: answer.reason for one, answer in prices.items() if one in used and not isinstance(answer, Ok)}
    if 0 in known.values():  # getPrice() itself refuses it: BadPrice()
        return Unreadable(name, owner, block, "getPrice() answers 0")
    numbers = totals.values[0]
    state = State(facts, Totals(*numbers[:2], *numbers[4:]), principal, tuple(held), errors)
    return Position(name, owner, block, Rule(CompoundV3.name, "comet"), known, state)


# -- judging -----------------------------------------------------------------------------------------------------------


def _reported(state: State, prices: Mapping[Address, int], totals: Totals) -> dict[str, int]:
    """What Comet's getters say; the two verdicts look at stored indexes. Without them where a price is missing."""
    told = {
        "balanceOf": supply_of(state.principal, totals),
        "borrowBalanceOf": debt_of(state.principal, totals),
    }
    if state.principal >= 0:
        return {**told, "isLiquidatable": 0, "isBorrowCollateralized": 1}
    try:
        liquidating = weigh(state, prices, state.totals)
        borrowing = weigh(state, prices, state.totals, borrowing=True)
    except (BadPrice, Overflows):
        return told
    verdicts = {
        "isLiquidatable": int(liquidating.counted < liquidating.debt),
        "isBorrowCollateralized": int(borrowing.counted >= borrowing.debt),
    }
    return told | verdicts


def _legs(state: State, prices: Mapping[Address, int], debt: int, supplied: int) -> tuple[Leg, ...]:
    facts = state.facts
    base = facts.base, facts.base_symbol, facts.base_decimals
    rows = [
        *(
            (Side.COLLATERAL, (asset.address, asset.symbol, asset.decimals), balance, asset.liquidate_factor)
            for asset, balance in state.balances
        ),
        (Side.COLLATERAL, base, supplied, WAD),
        (Side.DEBT, base, debt, WAD),
    ]
    return tuple(
        Leg(side, *token, amount, price, PRICE_DECIMALS, amount * price // 10 ** token[2], factor, 18)
        for side, token, amount, factor in rows
        if amount and (price := prices.get(token[0])) is not None
    )


def _age(state: State, context: Context | None, now_s: int) -> int | None:
    if context is None:
        return None
    feeds = [state.facts.base_feed, *(asset.feed for asset, _ in state.balances)]
    times = [reading.updated_at for feed in feeds if (reading := context.of(feed)) is not None]
    known = [time for time in times if time is not None]
    return max(now_s - time for time in known) if known and len(known) == len(feeds) else None


def _notes(state: State, position: Position, context: Context | None, now_s: int, debt: int) -> list[str]:
    facts = state.facts
    said = [] if debt == 0 or position.prices.get(facts.base) else ["the debt's price is 0"]
    for symbol, asset, feed in (
        (facts.base_symbol, facts.base, facts.base_feed),
        *((one.symbol, one.address, one.feed) for one, _ in state.balances),
    ):
        reading = context.of(feed) if context else None
        if reading is not None and asset in position.prices:
            said += remarks(symbol, position.prices[asset], now_s, reading)
    return said


PROTOCOL = CompoundV3()
