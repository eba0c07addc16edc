"""Morpho Blue: isolated markets of one collateral and one loan token, borrow shares, an adaptive interest curve.

The market's address is the Morpho singleton, its id the market id. Health has no getter on chain: the contract compares
maxBorrow with borrowed in `_isHealthy` on freshly accrued totals, and so does this file, with Morpho's own roundings
(Morpho.sol, SharesMathLib, MathLib of 1.0.0; AdaptiveCurveIrm for later times). An oracle that reverts blocks
liquidation, and makes health unknown. What this file must not know: nodes, clocks, other protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from monitor.core.errors import ProtocolError
from monitor.core.plan import values
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
    ReadPlan,
    Reverted,
    Rule,
    Side,
    Unit,
    Unknown,
    Unread,
    Unreadable,
)
from monitor.core.units import UINT256_MAX, WAD, format_units, mul_div_down
from monitor.protocols.base import Deployment, Protocol, Truth, Version

ABI = "morpho_blue"
ORACLE_PRICE_SCALE = 10**36
VIRTUAL_SHARES = 10**6
VIRTUAL_ASSETS = 1
UINT128_MAX = 2**128 - 1
ZERO: Address = "0x0000000000000000000000000000000000000000"
STRANGER: Address = "0x000000000000000000000000000000000000dEaD"
MAX_DECIMALS = 36

# -- AdaptiveCurveIrm ------------------------------------------------------------------------------------------------

YEAR = 365 * 86_400
CURVE_STEEPNESS = 4 * WAD
ADJUSTMENT_SPEED = 50 * WAD // YEAR
TARGET_UTILIZATION = 9 * WAD // 10
INITIAL_RATE_AT_TARGET = 4 * WAD // 100 // YEAR
MIN_RATE_AT_TARGET = WAD // 1000 // YEAR
MAX_RATE_AT_TARGET = 2 * WAD // YEAR
LN_2 = 693_147_180_559_945_309
LN_WEI = -41_446_531_673_892_822_312
WEXP_UPPER_BOUND = 93_859_467_695_000_404_319
WEXP_UPPER_VALUE = 57_716_089_161_558_943_949_701_069_502_944_508_345_128_422_502_756_744_429_568


def _div(a: int, b: int) -> int:
    """Signed division toward zero, as the EVM's SDIV."""
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def w_exp(x: int) -> int:
    """ExpLib.wExp: e^x in WAD by range reduction and a second-order Taylor polynomial."""
    if x < LN_WEI:
        return 0
    if x >= WEXP_UPPER_BOUND:
        return WEXP_UPPER_VALUE
    q = _div(x + (LN_2 // 2 if x >= 0 else -(LN_2 // 2)), LN_2)
    r = x - q * LN_2
    exp_r = WAD + r + _div(_div(r * r, WAD), 2)
    return exp_r << q if q >= 0 else exp_r >> -q


def adaptive_rate(totals: Totals, rate_at_target: int, now_s: int) -> int:
    """AdaptiveCurveIrm._borrowRate: the average rate since lastUpdate, WAD per second."""
    tba, tsa = totals.total_borrow_assets, totals.total_supply_assets
    utilization = mul_div_down(tba, WAD, tsa) if tsa else 0
    norm = WAD - TARGET_UTILIZATION if utilization > TARGET_UTILIZATION else TARGET_UTILIZATION
    err = _div((utilization - TARGET_UTILIZATION) * WAD, norm)
    if rate_at_target == 0:
        average = INITIAL_RATE_AT_TARGET
    else:
        linear = _div(ADJUSTMENT_SPEED * err, WAD) * (now_s - totals.last_update)
        if linear == 0:
            average = rate_at_target
        else:
            end = _new_rate_at_target(rate_at_target, linear)
            mid = _new_rate_at_target(rate_at_target, _div(linear, 2))
            average = _div(rate_at_target + end + 2 * mid, 4)
    coefficient = WAD - _div(WAD * WAD, CURVE_STEEPNESS) if err < 0 else CURVE_STEEPNESS - WAD
    return _div((_div(coefficient * err, WAD) + WAD) * average, WAD)


def _new_rate_at_target(start: int, linear: int) -> int:
    return min(max(_div(start * w_exp(linear), WAD), MIN_RATE_AT_TARGET), MAX_RATE_AT_TARGET)


# -- facts and state -------------------------------------------------------------------------------------------------


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


def _u256(value: int) -> int:
    if not 0 <= value <= UINT256_MAX:
        raise Overflows("arithmetic under- or overflow")
    return value


def _u128(value: int) -> int:
    if not 0 <= value <= UINT128_MAX:
        raise Overflows("max uint128 exceeded")
    return value


def accrue(totals: Totals, borrow_rate: int, now_s: int) -> Totals:
    """Morpho._accrueInterest at `now_s`, with `borrow_rate` in WAD per second. May raise: Overflows."""
    elapsed = now_s - totals.last_update
    if elapsed == 0:
        return totals
    first = _u256(borrow_rate * elapsed)
    second = mul_div_down(_u256(first * first), 1, 2 * WAD)
    third = mul_div_down(_u256(second * first), 1, 3 * WAD)
    interest = _u256(totals.total_borrow_assets * _u256(first + second + third)) // WAD
    borrow_assets = _u128(totals.total_borrow_assets + _u128(interest))
    supply_assets = _u128(totals.total_supply_assets + interest)
    supply_shares = totals.total_supply_shares
    if totals.fee:
        fee_amount = _u256(interest * totals.fee) // WAD
        fee_shares = _u256(fee_amount * (supply_shares + VIRTUAL_SHARES)) // (
            supply_assets - fee_amount + VIRTUAL_ASSETS
        )
        supply_shares = _u128(supply_shares + _u128(fee_shares))
    return Totals(supply_assets, supply_shares, borrow_assets, totals.total_borrow_shares, now_s, totals.fee)


def to_assets_up(shares: int, total_assets: int, total_shares: int) -> int:
    """SharesMathLib.toAssetsUp."""
    denominator = total_shares + VIRTUAL_SHARES
    return _u256(_u256(shares * (total_assets + VIRTUAL_ASSETS)) + denominator - 1) // denominator


def to_assets_down(shares: int, total_assets: int, total_shares: int) -> int:
    """SharesMathLib.toAssetsDown."""
    return _u256(shares * (total_assets + VIRTUAL_ASSETS)) // (total_shares + VIRTUAL_SHARES)


def to_shares_up(assets: int, total_assets: int, total_shares: int) -> int:
    """SharesMathLib.toSharesUp."""
    denominator = total_assets + VIRTUAL_ASSETS
    return _u256(_u256(assets * (total_shares + VIRTUAL_SHARES)) + denominator - 1) // denominator


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


def liquidate(state: State, totals: Totals, price: int, seized: int, shares: int) -> Seizure:
    """Morpho.liquidate after its health check, on accrued totals. May raise: Overflows when the contract reverts."""
    if (seized == 0) == (shares == 0):
        raise Overflows("inconsistent input")
    tba, tbs = totals.total_borrow_assets, totals.total_borrow_shares
    factor = liquidation_incentive_factor(state.facts.lltv)
    if seized:
        quoted = _u256(_u256(seized * price) + ORACLE_PRICE_SCALE - 1) // ORACLE_PRICE_SCALE
        shares = to_shares_up(_u256(_u256(quoted * WAD) + factor - 1) // factor, tba, tbs)
    else:
        if price == 0:
            raise Overflows("division by zero")
        assets = _u256(to_assets_down(shares, tba, tbs) * factor) // WAD
        seized = _u256(assets * ORACLE_PRICE_SCALE) // price
    repaid = to_assets_up(shares, tba, tbs)
    shares_left = _u256(state.borrow_shares - _u128(shares))
    shares_total = _u256(tbs - shares)
    assets_total = max(0, tba - _u128(repaid))
    collateral_left = _u256(state.collateral - _u128(seized))
    bad_shares = bad_assets = 0
    if collateral_left == 0:
        bad_shares = shares_left
        bad_assets = min(assets_total, to_assets_up(bad_shares, assets_total, shares_total))
        _u256(totals.total_supply_assets - bad_assets)
    return Seizure(repaid, shares, seized, bad_assets, bad_shares)


# -- the protocol ----------------------------------------------------------------------------------------------------


class MorphoBlue(Protocol[Facts, None]):
    """Morpho Blue."""

    name = "morpho-blue"
    title = "Morpho Blue"
    versions: ClassVar[Sequence[Version]] = (
        Version("1.0.0", "recorded contracts: health, accrual and liquidation amounts equal"),
    )
    facts_type = Facts
    deployments: ClassVar[Mapping[str, Deployment]] = {
        "ethereum/morpho-blue": Deployment(
            1, "0xBBBBBbbBBb9cC5e90e3b3Af64bdAF62C37EEFFCb", "morpho-org/morpho-blue README; add the market's id"
        ),
        "base/morpho-blue": Deployment(
            8453, "0xBBBBBbbBBb9cC5e90e3b3Af64bdAF62C37EEFFCb", "morpho-org/morpho-blue README; add the market's id"
        ),
    }

    def static(self, market: MarketRef, block: BlockRef) -> ReadPlan[Facts]:
        identity = _identity(market)
        [params] = yield [Call(market.address, f"{ABI}.idToMarketParams", (identity,))]
        loan, collateral, oracle, irm, lltv = values(params)
        if loan == ZERO:
            raise ProtocolError(f"Morpho at {market.address} has no market {market.id}", hint="check the id")
        tokens = [Call(token, f"{ABI}.{name}") for token in (loan, collateral) for name in ("symbol", "decimals")]
        *answers, rate = yield [*tokens, Call(irm, f"{ABI}.rateAtTarget", (identity,), allow_revert=True)]
        loan_symbol, loan_decimals, symbol, decimals = (values(answer)[0] for answer in answers)
        if max(loan_decimals, decimals) > MAX_DECIMALS:
            raise ProtocolError(f"{symbol} or {loan_symbol} claims more than {MAX_DECIMALS} decimals")
        adaptive = irm != ZERO and isinstance(rate, Ok)
        return Facts(
            market,
            Token(loan, loan_symbol, loan_decimals),
            Token(collateral, symbol, decimals),
            oracle,
            irm,
            lltv,
            adaptive,
        )

    def recheck(self, facts: Facts, block: BlockRef) -> ReadPlan[bool]:
        [params] = yield [Call(facts.market.address, f"{ABI}.idToMarketParams", (facts.market_id,))]
        return values(params) == facts.params

    def state(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
        morpho, identity = facts.market.address, facts.market_id
        shared = [
            Call(morpho, f"{ABI}.market", (identity,)),
            Call(facts.oracle, f"{ABI}.price", allow_revert=True),
            *([Call(facts.irm, f"{ABI}.rateAtTarget", (identity,))] if facts.adaptive else []),
        ]
        mine = [Call(morpho, f"{ABI}.position", (identity, owner), allow_revert=True) for owner in owners]
        answers = yield [*shared, *mine]
        totals = Totals(*values(answers[0]))
        price = answers[1]
        target = values(answers[2])[0] if facts.adaptive else None
        rate = 0
        if facts.irm != ZERO:
            [answer] = yield [Call(facts.irm, f"{ABI}.borrowRateView", (facts.params, _struct(totals)))]
            rate = values(answer)[0]
        if target is not None and adaptive_rate(totals, target, block.timestamp) != rate:
            target = None  # some other curve that also has a rateAtTarget: its rate is only known at this block
        return [
            self._position(facts, owner, block, totals, price, rate, target, answer)
            for owner, answer in zip(owners, answers[len(shared) :], strict=True)
        ]

    def _position(
        self,
        facts: Facts,
        owner: Address,
        block: BlockRef,
        totals: Totals,
        price: Answer,
        rate: int,
        target: int | None,
        mine: Answer,
    ) -> Position | Unreadable:
        identity = facts.market.position_id(owner)
        if not isinstance(mine, Ok):
            return Unreadable(identity, owner, block, f"position(): {mine.reason}")
        if isinstance(price, Unread):
            return Unreadable(identity, owner, block, f"oracle price(): {price.reason}")
        error = price.reason if isinstance(price, Reverted) else ""
        prices = {facts.collateral.address: price.values[0]} if isinstance(price, Ok) else {}
        supply_shares, borrow_shares, collateral = mine.values
        state = State(facts, totals, supply_shares, borrow_shares, collateral, rate, target, error)
        return Position(identity, owner, block, Rule(self.name, "1.0.0"), prices, state)

    def context(self, facts: Facts, block: BlockRef) -> ReadPlan[None]:
        """Nothing gates a Morpho liquidation but its oracle and its arithmetic, and both are state."""
        yield from ()

    def evaluate(self, position: Position, context: None = None, at_s: int | None = None) -> Health:
        state: State = position.state
        facts = state.facts
        now_s = position.block.timestamp if at_s is None else at_s
        unit = Unit(facts.loan.symbol, facts.loan.decimals)
        price = position.prices.get(facts.collateral.address)
        try:
            totals = accrue(state.totals, _rate_at(state, position.block, now_s), now_s)
            borrowed = to_assets_up(state.borrow_shares, totals.total_borrow_assets, totals.total_borrow_shares)
            if state.borrow_shares == 0:
                legs = self._legs(state, price, 0)
                return Health(
                    position.id,
                    position.block,
                    NoDebt(),
                    unit,
                    liquidatable=False,
                    legs=legs,
                    reported={"borrowed": 0, "isHealthy": 1},
                    collateral=legs[0].value if price is not None and legs else 0,
                )
            if price is None:
                gate = Gate("oracle", GateState.SHUT, f"price() reverts: {state.oracle_error}")
                return Health(
                    position.id,
                    position.block,
                    Unknown(gate.detail),
                    unit,
                    liquidatable=False,
                    gates=(gate,),
                    legs=self._legs(state, None, borrowed),
                    debt=borrowed,
                )
            quoted = _u256(state.collateral * price) // ORACLE_PRICE_SCALE
            max_borrow = _u256(quoted * facts.lltv) // WAD
        except Overflows as overflow:
            gate = Gate("arithmetic", GateState.SHUT, f"the contract itself reverts: {overflow.message}")
            return Health(position.id, position.block, Unknown(gate.detail), unit, liquidatable=False, gates=(gate,))
        verdict = Known(max_borrow, borrowed)
        refusal = "" if not verdict.unhealthy else _refusal(state, totals, price)
        gates = (
            Gate("oracle", GateState.OPEN),
            Gate("arithmetic", GateState.SHUT if refusal else GateState.OPEN, refusal),
        )
        later = position.block.timestamp != now_s and facts.irm != ZERO and state.rate_at_target is None
        return Health(
            position.id,
            position.block,
            verdict,
            unit,
            reported={"maxBorrow": max_borrow, "borrowed": borrowed, "isHealthy": int(not verdict.unhealthy)},
            gates=gates,
            liquidatable=verdict.unhealthy and not refusal,
            legs=self._legs(state, price, borrowed),
            collateral=quoted,
            debt=borrowed,
            notes=("assumes that the rate of this block stays",) if later else (),
        )

    def _legs(self, state: State, price: int | None, borrowed: int) -> tuple[Leg, ...]:
        facts = state.facts
        legs = []
        if state.collateral and price is not None:
            value = state.collateral * price // ORACLE_PRICE_SCALE
            legs.append(
                Leg(
                    Side.COLLATERAL,
                    facts.collateral.address,
                    facts.collateral.symbol,
                    facts.collateral.decimals,
                    state.collateral,
                    price,
                    facts.price_decimals,
                    value,
                    facts.lltv,
                    18,
                )
            )
        if borrowed:
            legs.append(
                Leg(
                    Side.DEBT,
                    facts.loan.address,
                    facts.loan.symbol,
                    facts.loan.decimals,
                    borrowed,
                    1,
                    0,
                    borrowed,
                    WAD,
                    18,
                )
            )
        return tuple(legs)

    def truth(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Truth]]:
        """The contract's `_isHealthy`, seen through liquidate(): a stranger without funds gets past it or does not."""
        answers = yield [
            Call(
                facts.market.address,
                f"{ABI}.liquidate",
                (facts.params, owner, 1, 0, b""),
                allow_revert=True,
                sender=STRANGER,
            )
            for owner in owners
        ]
        return [_truth(owner, answer) for owner, answer in zip(owners, answers, strict=True)]

    def explain(self, position: Position, context: None = None) -> list[Line]:
        state: State = position.state
        facts, health = state.facts, self.evaluate(position)
        loan = facts.loan
        lines = [
            Line("borrow shares", str(state.borrow_shares), source="morpho.position(id, owner).borrowShares"),
            Line(
                "collateral",
                f"{format_units(state.collateral, facts.collateral.decimals)} {facts.collateral.symbol}",
                source="morpho.position(id, owner).collateral",
            ),
            Line(
                "oracle price",
                str(position.prices.get(facts.collateral.address, f"none: {state.oracle_error}")),
                source=f"price() at {facts.oracle}",
            ),
            Line("borrow rate", f"{state.borrow_rate} wad/s", source=f"borrowRateView() at {facts.irm}"),
        ]
        if not isinstance(health.verdict, Known):
            return lines
        price, verdict = position.prices[facts.collateral.address], health.verdict
        totals = accrue(state.totals, state.borrow_rate, position.block.timestamp)
        return [
            *lines,
            Line(
                "total borrow assets",
                str(totals.total_borrow_assets),
                f"{state.totals.total_borrow_assets} accrued from {state.totals.last_update} "
                f"to {position.block.timestamp}",
                "morpho.market(id).totalBorrowAssets",
            ),
            Line(
                "borrowed",
                f"{format_units(verdict.denominator, loan.decimals)} {loan.symbol}",
                f"ceil({state.borrow_shares} × ({totals.total_borrow_assets} + 1) / "
                f"({totals.total_borrow_shares} + 10^6))",
            ),
            Line(
                "max borrow",
                f"{format_units(verdict.numerator, loan.decimals)} {loan.symbol}",
                f"floor(floor({state.collateral} × {price} / 10^36) × {facts.lltv} / 10^18)",
            ),
            Line("health", f"{verdict.numerator} / {verdict.denominator}", "max borrow / borrowed"),
        ]

    def symbols(self, facts: Facts) -> Mapping[str, str]:
        return {facts.collateral.address: facts.collateral.symbol}


def _identity(market: MarketRef) -> bytes:
    try:
        identity = bytes.fromhex((market.id or "").removeprefix("0x"))
    except ValueError:
        identity = b""
    if len(identity) != 32:
        raise ProtocolError("a Morpho market needs its 32-byte id", hint='add id = "0x..." to the market')
    return identity


def _struct(totals: Totals) -> tuple[int, ...]:
    return (
        totals.total_supply_assets,
        totals.total_supply_shares,
        totals.total_borrow_assets,
        totals.total_borrow_shares,
        totals.last_update,
        totals.fee,
    )


def _rate_at(state: State, block: BlockRef, now_s: int) -> int:
    if state.rate_at_target is not None and now_s != block.timestamp:
        return adaptive_rate(state.totals, state.rate_at_target, now_s)
    return state.borrow_rate


def _refusal(state: State, totals: Totals, price: int) -> str:
    """Why no liquidation of this unhealthy position goes through: seize all, repay all, or a single unit of either."""
    reason = ""
    for seized, shares in ((state.collateral, 0), (0, state.borrow_shares), (1, 0), (0, 1)):
        try:
            liquidate(state, totals, price, seized, shares)
        except Overflows as overflow:
            reason = reason or overflow.message
        else:
            return ""
    return reason


def _truth(owner: Address, answer: Answer) -> Truth:
    if isinstance(answer, Ok):
        return Truth(owner, {"isHealthy": 0})
    if answer.reason == "position is healthy":
        return Truth(owner, {"isHealthy": 1})
    if answer.reason.startswith("transferFrom"):
        return Truth(owner, {"isHealthy": 0})
    return Truth(owner, {}, answer.reason)


PROTOCOL = MorphoBlue()
