"""Morpho Blue: isolated markets of one collateral and one loan token, borrow shares, an adaptive interest curve.

The market's address is the Morpho singleton, its id the market id. Health has no getter on chain: the contract compares
maxBorrow with borrowed in `_isHealthy` on freshly accrued totals, and so does this file, with Morpho's own roundings
(Morpho.sol, SharesMathLib, MathLib of 1.0.0; AdaptiveCurveIrm for later times). An oracle that reverts blocks
liquidation, and makes health unknown. What this file must not know: nodes, clocks, other protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from monitor.core.actions import Intent, Move, Step, Template
from monitor.core.errors import ProtocolError
from monitor.core.guarding import GuardSetup
from monitor.core.liquidations import Liquidation
from monitor.core.plan import done, values
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
    Side,
    Unit,
    Unknown,
    Unreadable,
)
from monitor.core.units import WAD, format_units
from monitor.protocols.base import Deployment, Helpers, Protocol, Truth, Version
from monitor.protocols.morpho_blue.effects import after, totals_at
from monitor.protocols.morpho_blue.keeper import liquidated, loss, pairs, repeated
from monitor.protocols.morpho_blue.math import (
    ORACLE_PRICE_SCALE,
    Facts,
    Overflows,
    State,
    Token,
    Totals,
    accrue,
    liquidate,
    to_assets_up,
    u256,
)
from monitor.protocols.morpho_blue.reading import ABI, VERSION, ZERO, read_state
from monitor.protocols.morpho_blue.rescue import Purse, read_purse, steps
from monitor.protocols.morpho_blue.templates import LIQUIDATE, REPAY, SUPPLY, TEMPLATES

if TYPE_CHECKING:
    from monitor.protocols.whole import Whole

STRANGER: Address = "0x000000000000000000000000000000000000dEaD"
MAX_DECIMALS = 36


class MorphoBlue(Protocol[Facts, None]):
    """Morpho Blue."""

    name = "morpho-blue"
    title = "Morpho Blue"
    helpers = Helpers(
        "repay, or supply collateral",
        "the same, or pay debt with collateral",
    )
    versions: ClassVar[Sequence[Version]] = (
        Version(VERSION, "recorded contracts and localnet: health, accrual, rescues and liquidations equal", 128),
    )
    facts_type = Facts
    templates: ClassVar[tuple[Template, ...]] = TEMPLATES
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
        params, stored = yield [
            Call(market.address, f"{ABI}.idToMarketParams", (identity,)),
            Call(market.address, f"{ABI}.market", (identity,), allow_revert=True),
        ]
        loan, collateral, oracle, irm, lltv = values(params)
        if loan == ZERO:
            raise ProtocolError(f"Morpho at {market.address} has no market {market.id}", hint="check the id")
        tokens = [Call(token, f"{ABI}.{name}") for token in (loan, collateral) for name in ("symbol", "decimals")]
        # what the first state asks next is asked here already, which saves it a round
        early = [Call(oracle, f"{ABI}.price", allow_revert=True)]
        if irm != ZERO and isinstance(stored, Ok):
            asked = (loan, collateral, oracle, irm, lltv), stored.values
            early.append(Call(irm, f"{ABI}.borrowRateView", asked, allow_revert=True))
        ask_rate = Call(irm, f"{ABI}.rateAtTarget", (identity,), allow_revert=True)
        *answers, rate = (yield [*tokens, ask_rate, *early])[: len(tokens) + 1]
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
        return read_state(facts, owners, block)

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
            if state.borrow_shares == 0:
                legs = self._legs(state, price, 0)
                return Health(
                    position.id,
                    position.block,
                    NoDebt(),
                    unit,
                    liquidatable=False,
                    legs=legs,
                    reported={"isHealthy": 1},
                    collateral=legs[0].value if price is not None and legs else 0,
                )
            totals = totals_at(state, position.block, now_s)
            borrowed = to_assets_up(state.borrow_shares, totals.total_borrow_assets, totals.total_borrow_shares)
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
            quoted = u256(state.collateral * price) // ORACLE_PRICE_SCALE
            max_borrow = u256(quoted * facts.lltv) // WAD
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
            reported={"isHealthy": int(not verdict.unhealthy)},
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

    def price_keys(self, position: Position) -> Mapping[str, str]:
        collateral = position.state.facts.collateral
        return {collateral.address: collateral.symbol} if position.prices else {}

    def symbols(self, facts: Facts) -> Mapping[str, str]:
        return {facts.collateral.address: facts.collateral.symbol}

    def whole(self, facts: Facts, block: BlockRef) -> ReadPlan[Whole | None]:
        from monitor.protocols.morpho_blue.whole import whole

        return done(whole(facts))

    # -- acting --------------------------------------------------------------------------------------------------------

    def rescue_context(
        self,
        facts: Facts,
        guardian: Address,
        positions: Sequence[Position],
        block: BlockRef,
        guard: GuardSetup | None = None,
    ) -> ReadPlan[Purse]:
        return read_purse(facts, guardian)

    def rescue_steps(self, facts: Facts, position: Position, rescue: Purse, until_s: int) -> list[Step]:
        return steps(facts, position, rescue)

    def after(self, position: Position, intent: Intent, at_s: int) -> Position:
        return after(position, intent, at_s)

    def contracts(self, facts: Facts) -> tuple[Address, ...]:
        return tuple(one for one in (facts.market.address, facts.oracle, facts.irm) if one != ZERO)

    def parameters(self, position: Position) -> tuple[object, ...]:
        """What a market is made of never changes; its fee may."""
        return position.rule, position.state.facts.params, position.state.totals.fee

    def moves(self, facts: Facts, intent: Intent) -> tuple[Move, ...]:
        """Morpho itself holds every token. Where both are one, the purse gains in all by a liquidation."""
        pays = {
            REPAY.kind: {facts.loan.address: True},
            SUPPLY.kind: {facts.collateral.address: True},
            LIQUIDATE.kind: {facts.loan.address: True, facts.collateral.address: False},
        }.get(intent.kind, {})
        return tuple(Move(asset, facts.market.address, paid) for asset, paid in pays.items())

    def liquidations(
        self, facts: Facts, position: Position, rescue: Purse, context: None, at_s: int
    ) -> list[Liquidation]:
        return pairs(facts, position, rescue, at_s)

    def liquidated(self, pair: Liquidation, amount: int, context: None, at_s: int) -> Liquidation:
        return liquidated(pair, amount, at_s)

    def repeated(self, facts: Facts, pair: Liquidation, intent: Intent, context: None, at_s: int) -> Liquidation | None:
        return repeated(facts, pair, intent, at_s)

    def liquidation_loss(self, position: Position) -> int:
        return loss(position)


def _identity(market: MarketRef) -> bytes:
    try:
        identity = bytes.fromhex((market.id or "").removeprefix("0x"))
    except ValueError:
        identity = b""
    if len(identity) != 32:
        raise ProtocolError("a Morpho market needs its 32-byte id", hint='add id = "0x..." to the market')
    return identity


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
