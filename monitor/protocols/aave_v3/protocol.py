"""Aave V3 as the rest of the house sees it: each question of the Protocol contract, answered by its module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from monitor.core.actions import Intent, Move, Step, Template
from monitor.core.errors import ProtocolError
from monitor.core.guarding import GuardSetup
from monitor.core.liquidations import Liquidation
from monitor.core.plan import done, gather
from monitor.core.types import (
    Address,
    BlockRef,
    Call,
    Health,
    Line,
    MarketRef,
    Ok,
    Position,
    Price,
    ReadPlan,
    Unreadable,
)
from monitor.oracles.chainlink import as_price
from monitor.protocols.aave_v3.account import price_key
from monitor.protocols.aave_v3.deployments import DEPLOYMENTS
from monitor.protocols.aave_v3.explain import explain
from monitor.protocols.aave_v3.guard import GuardState, read_guard
from monitor.protocols.aave_v3.guard_steps import guard_steps
from monitor.protocols.aave_v3.guarded import after
from monitor.protocols.aave_v3.happenings import read_happenings
from monitor.protocols.aave_v3.keeper import (
    flash_liquidation,
    liquidated,
    loss,
    pairs,
    read_flash_premium,
    repeated,
)
from monitor.protocols.aave_v3.liquidation import Attempt, Refusal, Seizure, liquidation_call
from monitor.protocols.aave_v3.purse import Purse, read_purse
from monitor.protocols.aave_v3.reading import read_context, read_grace, read_price_sources, read_state
from monitor.protocols.aave_v3.records import ZERO, Context, Facts
from monitor.protocols.aave_v3.rescue import steps
from monitor.protocols.aave_v3.reverts import NAMES
from monitor.protocols.aave_v3.search import amount_guess, amount_probe, moment_probe, price_probe, time_probe
from monitor.protocols.aave_v3.static import read_recheck, read_sample, read_static
from monitor.protocols.aave_v3.templates import CLOSE, DELEVERAGE, LIQUIDATE, REPAY, SUPPLY, TEMPLATES
from monitor.protocols.aave_v3.verdict import account_of, health_of
from monitor.protocols.aave_v3.versions import TABLE
from monitor.protocols.base import Deployment, Happening, Helpers, Protocol, Truth, Version

if TYPE_CHECKING:
    from monitor.protocols.whole import Whole

MAX_COVER = 2**256 - 1
FIELDS = (
    "totalCollateralBase",
    "totalDebtBase",
    "availableBorrowsBase",
    "currentLiquidationThreshold",
    "ltv",
    "healthFactor",
)

RECORDED = {"3.0": 68, "3.3": 69, "3.4": 71, "3.5": 72, "3.6": 68, "3.7": 65}
"""Accounts by version; see base.Version."""


class AaveV3(Protocol[Facts, Context]):
    """Aave V3.0 to 3.7 and forks; a market is its PoolAddressesProvider."""

    name = "aave-v3"
    title = "Aave V3"
    helpers = Helpers(
        "repay variable debt, or supply more of a collateral that counts",
        "the same, or let a guard pay debt with collateral (levmon guard)",
    )
    versions: ClassVar[Sequence[Version]] = tuple(
        Version(r.version, r.proof, RECORDED.get(r.version, 0)) for r in TABLE.values()
    )
    deployments: ClassVar[Mapping[str, Deployment]] = DEPLOYMENTS
    facts_type = Facts
    templates: ClassVar[tuple[Template, ...]] = TEMPLATES

    def static(self, market: MarketRef, block: BlockRef) -> ReadPlan[Facts]:
        return read_static(market)

    def recheck(self, facts: Facts, block: BlockRef) -> ReadPlan[bool]:
        return read_recheck(facts)

    def state(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
        return read_state(facts, owners, block)

    def context(self, facts: Facts, block: BlockRef) -> ReadPlan[Context]:
        return read_context(facts)

    def evaluate(self, position: Position, context: Context | None = None, at_s: int | None = None) -> Health:
        return health_of(position, context, at_s)

    def truth(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Truth]]:
        """Pool.getUserAccountData; a revert is an answer too, namely that there is no number."""
        answers = yield tuple(
            Call(facts.pool, "aave_v3_pool.getUserAccountData", (owner,), allow_revert=True) for owner in owners
        )
        return [
            Truth(owner, dict(zip(FIELDS, answer.values, strict=True)))
            if isinstance(answer, Ok)
            else Truth(owner, {}, answer.reason)
            for owner, answer in zip(owners, answers, strict=True)
        ]

    def explain(self, position: Position, context: Context | None = None) -> list[Line]:
        return explain(position, context)

    def prices(
        self, facts: Facts, positions: Sequence[Position], context: Context | None, block: BlockRef
    ) -> list[Price]:
        """One per price in use, in the order of the market's reserves, a category's own source last."""
        answers: dict[Address, int] = {}
        for position in positions:
            answers.update(position.prices)
        order = [r.asset for r in facts.reserves] + [c.source for c in facts.categories]
        found = []
        for key in sorted(answers, key=lambda key: order.index(key) if key in order else len(order)):
            reading = context.of(key).reading if context else None
            decimals = len(str(facts.base_unit)) - 1
            found.append(as_price(key, answers[key], decimals, facts.base_symbol, reading))
        return found

    def symbols(self, facts: Facts) -> Mapping[str, str]:
        own = {c.source: f"e-mode {c.label or c.id}" for c in facts.categories}
        return own | {r.asset: r.symbol for r in facts.reserves}

    def candidates(self, facts: Facts) -> tuple[Facts, ...]:
        return tuple(replace(facts, version=version) for version in facts.candidates)

    def sample(self, facts: Facts, block: BlockRef, blocks: int) -> ReadPlan[list[Address]]:
        return read_sample(facts, blocks)

    def price_sources(self, facts: Facts, keys: Sequence[str], block: BlockRef) -> ReadPlan[Mapping[str, Address]]:
        return read_price_sources(facts, keys)

    def whole(self, facts: Facts, block: BlockRef) -> ReadPlan[Whole | None]:
        from monitor.protocols.aave_v3.whole import read_whole

        return read_whole(facts)

    # -- searches ------------------------------------------------------------------------------------------------------

    def unhealthy_between_prices(
        self, position: Position, key: str, at_s: int | None = None
    ) -> Callable[[int, int], bool | None]:
        return price_probe(position, key, at_s)

    def unhealthy_between_times(self, position: Position) -> Callable[[int, int], bool | None]:
        return time_probe(position)

    def price_keys(self, position: Position) -> Mapping[str, str]:
        """The prices that the contract would use for this position, by key, with the symbols they stand for."""
        rules, state = TABLE[position.rule.version], position.state
        names: dict[str, list[str]] = {}
        for reserve in state.reserves:
            names.setdefault(price_key(rules, reserve, state.category), []).append(reserve.symbol)
        return {key: "+".join(symbols) for key, symbols in names.items()}

    # -- acting --------------------------------------------------------------------------------------------------------

    def rescue_context(
        self,
        facts: Facts,
        guardian: Address,
        positions: Sequence[Position],
        block: BlockRef,
        guard: GuardSetup | None = None,
    ) -> ReadPlan[Purse]:
        if guard is None:
            return read_purse(facts, guardian, positions)
        return _purse_and_guard(read_purse(facts, guardian, positions), read_guard(facts, guard, guardian, positions))

    def rescue_steps(self, facts: Facts, position: Position, rescue: Purse, until_s: int) -> list[Step]:
        return [*steps(facts, position, rescue, until_s), *guard_steps(facts, position, rescue, until_s)]

    def after(self, position: Position, intent: Intent, at_s: int) -> Position:
        return after(position, intent, at_s)

    def reaches_between_amounts(self, step: Step, target: Fraction, at_s: int) -> Callable[[int, int], bool | None]:
        return amount_probe(step, target, at_s)

    def amount_guess(self, step: Step, target: Fraction, at_s: int) -> int | None:
        return amount_guess(step, target, at_s)

    def reaches_between_times(self, step: Step, target: Fraction, amount: int) -> Callable[[int, int], bool | None]:
        return moment_probe(step, target, amount)

    def contracts(self, facts: Facts) -> tuple[Address, ...]:
        return tuple(one for one in (facts.market.address, facts.pool, facts.oracle, facts.sentinel) if one != ZERO)

    def parameters(self, position: Position) -> tuple[object, ...]:
        """The rule version, each reserve's configuration word, and the category: thresholds, bonuses, flags, caps."""
        words = tuple((reserve.asset, reserve.configuration) for reserve in position.state.reserves)
        return position.rule, words, position.state.category

    def waits_after_outage(self, facts: Facts) -> bool:
        """Up to 3.6, where governance has set a sentinel: its grace period, but for health under 0.95."""
        return TABLE[facts.version].sentinel and facts.sentinel != ZERO

    def grace_after_outage(self, facts: Facts) -> ReadPlan[int | None]:
        """PriceOracleSentinel.getGracePeriod; what is below a health of 0.95 does not wait (<= 3.6)."""
        if not self.waits_after_outage(facts):
            return done(0)
        return read_grace(facts)

    def moves(self, facts: Facts, intent: Intent) -> tuple[Move, ...]:
        """Reserves are held by their aTokens. Where debt and collateral are one asset, the purse gains in all."""
        if intent.kind in (REPAY.kind, SUPPLY.kind):
            pays = {str(intent.args["asset"]): True}
        elif intent.kind == LIQUIDATE.kind:
            pays = {str(intent.args["debtAsset"]): True, str(intent.args["collateralAsset"]): False}
        else:
            return ()
        return tuple(Move(one.asset, one.a_token, pays[one.asset]) for one in facts.reserves if one.asset in pays)

    def trades(self, intent: Intent) -> tuple[Address, ...]:
        """A debt that is paid with the same asset needs no exchange."""
        if intent.kind not in (DELEVERAGE.kind, CLOSE.kind):
            return ()
        pair = (str(intent.args.get("collateral", "")), str(intent.args["debt"]))
        return () if pair[0] == pair[1] else pair

    def happenings(self, facts: Facts, owner: Address, guardian: Address, blocks: int) -> ReadPlan[list[Happening]]:
        return read_happenings(facts, owner, guardian, blocks)

    def error_name(self, reason: str) -> str:
        return NAMES.get(reason, reason.removesuffix("()"))

    # -- liquidation ---------------------------------------------------------------------------------------------------

    def liquidations(
        self, facts: Facts, position: Position, rescue: Purse, context: Context | None, at_s: int
    ) -> list[Liquidation]:
        return pairs(facts, position, rescue, context, at_s)

    def liquidated(self, pair: Liquidation, amount: int, context: Context | None, at_s: int) -> Liquidation:
        return liquidated(pair, amount, context, at_s)

    def repeated(
        self, facts: Facts, pair: Liquidation, intent: Intent, context: Context | None, at_s: int
    ) -> Liquidation | None:
        return repeated(pair, intent, context, at_s)

    def flash_premium_bps(self, facts: Facts, block: BlockRef) -> ReadPlan[int | None]:
        return read_flash_premium(facts)

    def flash_liquidation(self, pair: Liquidation, trade: GuardSetup, fee: int, least: int, deadline_s: int) -> Intent:
        return flash_liquidation(pair, trade, fee, least, deadline_s)

    def liquidation_loss(self, position: Position) -> int:
        return loss(position)

    def liquidation(
        self,
        position: Position,
        collateral: Address,
        debt: Address,
        context: Context | None = None,
        *,
        debt_to_cover: int = MAX_COVER,
        receive_a_token: bool = False,
        at_s: int | None = None,
    ) -> Seizure | Refusal:
        """What liquidationCall(collateral, debt, owner, debt_to_cover, receive_a_token) would move, or why it fails.

        Gates that the missing context leaves unknown do not stand in the way of the amounts. May raise:
        ProtocolError for an asset in which the owner has nothing, or a position that cannot be recomputed.
        """
        account = account_of(position, at_s)
        by_asset = {holding.reserve.asset: holding for holding in account.held}
        if collateral not in by_asset or debt not in by_asset:
            raise ProtocolError(f"{position.id} holds nothing in {collateral if collateral not in by_asset else debt}")
        attempt = Attempt(
            account.rules,
            account.state,
            account.data,
            position.prices,
            context,
            account.at_s,
            debt_to_cover,
            receive_a_token,
        )
        outcome = liquidation_call(attempt, by_asset[collateral], by_asset[debt])
        if outcome.verdict is False or outcome.seizure is None:
            return Refusal(next(gate for gate in outcome.gates if gate.state == "shut"))
        return outcome.seizure


def _purse_and_guard(purse: ReadPlan[Purse], guard: ReadPlan[GuardState]) -> ReadPlan[Purse]:
    """Both in the same rounds; neither lets a failed call end it."""
    plans: list[ReadPlan[Any]] = [purse, guard]
    found: list[Any] = yield from gather(plans)
    read: Purse = replace(found[0], guard=found[1])
    return read
