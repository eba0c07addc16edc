"""Would the rescue land? Prices are moved on a stage until the rule acts, and what levmon would do is done there.

The rule, the planner, the limits and the simulation are those of a real rescue. What differs: prices are moved by
force, second price sources that confirm them now are moved alike, and strangers trade the guard's exchange to them, as
far as that can be done; the guardian's signature is replaced by the stage's impersonation, and so the signer's own file
is not asked. The chain that people use is only read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from monitor.chain.port import run
from monitor.core.actions import Plan
from monitor.core.errors import ChainError, LevmonError
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import BlockRef, Health, Known, NoDebt, Position
from monitor.execution import limits as spending
from monitor.execution.port import Passed, WouldRevert
from monitor.execution.simulate import simulate
from monitor.journal.rows import Charge, Totals
from monitor.journal.view import JournalView
from monitor.pipeline.acting import ExecutionView, draft_of, left, own_calls
from monitor.pipeline.exchange import follow, pairs_of
from monitor.pipeline.guardians import PRICE_DECIMALS, PURSE, Guardian, Protection
from monitor.pipeline.memory import Memory
from monitor.pipeline.plans import (
    Outlook,
    best,
    doubts_about,
    marks,
    options,
    outlook,
    plan_for,
    why_not,
    without_partial,
)
from monitor.pipeline.positions import market_of
from monitor.pipeline.snapshot import Depth
from monitor.pipeline.stage import Stage
from monitor.policy.fall import falling_prices
from monitor.policy.levels import decimal
from monitor.policy.planner import Proposal, shown
from monitor.policy.rules import Aim, Decision, Observation, Watch, observe
from monitor.protocols.base import Protocol, reaches
from monitor.report import Report, Subject

RUNGS = 8
"""A target that takes more transactions than this counts as not reached."""
TIP_WEI = 10**9
SOON_S = 1


@dataclass(frozen=True, slots=True)
class Fall:
    """A price that was moved, raw in the market's unit."""

    symbol: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Rung:
    """A transaction of the rescue that landed on the stage."""

    plan: Plan
    gas_used: int
    fee_wei: int


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How it went for one position. `lands`: every transaction did, and the target was reached; else `why` not.

    `aim`: what the rule was brought to do. `notes`: what was taken for granted, or could not be made to happen.
    """

    subject: Subject
    lands: bool
    why: str = ""
    falls: tuple[Fall, ...] = ()
    before: Health | None = None
    triggered: Health | None = None
    rungs: tuple[Rung, ...] = ()
    after: Health | None = None
    aim: Aim = Aim.RAISE
    notes: tuple[str, ...] = ()


class _StageTime:
    """The clock agrees with the stage's newest block, whatever the machine says."""

    def __init__(self, now_s: int) -> None:
        self._now_s = now_s

    def time(self) -> float:
        return self._now_s

    def monotonic(self) -> float:
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a rehearsal waits for nothing")


class _Ended(Exception):
    """The rescue does not land, for this reason."""


@dataclass(slots=True)
class Rehearsing:
    """One position on one stage. The stage is put back by the caller."""

    stage: Stage
    subject: Subject
    protection: Protection
    guardian: Guardian
    memory: Memory
    block_s: int = 12
    aim: Aim = Aim.RAISE
    _notes: list[str] = field(default_factory=list)

    async def run(self) -> Rehearsal:
        """Never raises LevmonError: what went wrong is the result."""
        return replace(await self._run(), notes=tuple(self._notes))

    async def _run(self) -> Rehearsal:
        made = Rehearsal(self.subject, lands=False, aim=self.aim)
        try:
            seen = await self._look()
            report = _known(seen)
            made = replace(made, before=report.health)
            if report.health is not None and isinstance(report.health.verdict, NoDebt):
                return replace(made, lands=True, why="without debt there is nothing to rescue", after=report.health)
            falls = await self._fall(seen, report)
            decision, seen = await self._decide()
            made = replace(made, falls=falls, triggered=_known(seen).health)
            async for rung, after in self._climb(decision, seen):
                made = replace(made, rungs=(*made.rungs, rung), after=after)
        except _Ended as ended:
            return replace(made, why=str(ended))
        except LevmonError as error:
            return replace(made, why=error.message)
        return replace(made, lands=True)

    async def _look(self) -> Outlook:
        depth = Depth(beside=self.guardian.beside)
        return await outlook(
            self.stage.chain,
            [self.subject],
            self.guardian.address,
            self.memory,
            depth=depth,
            guards=self.guardian.guards,
        )

    # -- prices --------------------------------------------------------------------------------------------------

    async def _fall(self, seen: Outlook, report: Report) -> tuple[Fall, ...]:
        """Move the sources of what makes the rule act, and all that follows them; none if it acts already."""
        state, position = seen.snapshot.markets[report.subject.ref], report.position
        protocol: Protocol[Any, Any] = protocol_named(report.subject.ref.protocol)
        if position is None or state.known is None:
            raise _Ended(f"its health is unknown: {report.cause}")
        wanted = self._wanted(protocol, position, report)
        facts = state.known.facts
        sources = await run(
            self.stage.chain, protocol.price_sources(facts, tuple(wanted), position.block), position.block
        )
        names = protocol.price_keys(position)
        if missing := sorted(names.get(key, key) for key in wanted if key not in sources):
            raise _Ended(f"where the price of {', '.join(missing)} comes from is not known")
        for key, price in wanted.items():
            await self.stage.set_price(sources[key], price)
        falls = tuple(Fall(names.get(key, key), position.prices[key], price) for key, price in wanted.items())
        if wanted:
            await self._second(seen, report, wanted)
            await self._trade()
        return falls

    def _wanted(self, protocol: Protocol[Any, Any], position: Position, report: Report) -> Mapping[str, int]:
        """Prices by key: just below the trigger, all that hurt by falling moved alike; or just beyond a price line."""
        rule = self.protection.rule
        if self.aim is Aim.RAISE:
            wanted = falling_prices(protocol, position, rule.trigger)
            if wanted is None:
                raise _Ended("no fall of its collateral's prices brings it below the trigger")
            return wanted
        line = rule.stop_loss if self.aim is Aim.STOP_LOSS else rule.take_profit
        if line is None or report.health is None:
            raise _Ended("the rule has no such price")
        keys = [key for key, name in protocol.price_keys(position).items() if line.key in (key, name)]
        if len(keys) != 1:
            raise _Ended(f"{line.key} is no price of this position")
        unit = 10 ** (PRICE_DECIMALS - report.health.unit.decimals)
        price = -(-line.price // unit) if line.above else line.price // unit
        return {} if line.crossed(position.prices[keys[0]] * unit) else {keys[0]: price}

    async def _second(self, seen: Outlook, report: Report, wanted: Mapping[str, int]) -> None:
        """Second sources that confirm a price now are moved with it; those that do not stay as they are."""
        state, position = seen.snapshot.markets[report.subject.ref], report.position
        doubted = doubts_about(seen.snapshot, report)
        for name, second in state.beside.second.items():
            for key, price in wanted.items():
                symbol = report.symbols.get(key, key)
                if name.lower() not in (key.lower(), symbol.lower()) or position is None or key in doubted:
                    continue
                if second.answer is None or second.decimals is None:
                    continue
                answer = second.answer * price // position.prices[key]
                await self.stage.set_price(second.source.source, answer, second.decimals)
                self._notes.append(f"the second price source of {symbol} is taken to follow; nothing is sold if not")

    async def _trade(self) -> None:
        """Strangers bring the guard's exchange to the prices as they are now."""
        setup, actions = self.guardian.guards.get(self.subject.ref), self.protection.actions
        if setup is None or set(actions) <= set(PURSE):
            return
        await self.stage.mine(1)
        report = _known(await self._look())
        if report.health is None or report.position is None or report.block is None:
            raise _Ended(f"its health is unknown: {report.cause}")
        fee_wei = 4 * (report.block.base_fee or 0) + TIP_WEI
        self._notes += await follow(self.stage, setup, pairs_of(report.health, report.position), fee_wei)

    async def _decide(self) -> tuple[Decision, Outlook]:
        """Blocks until the rule acts, as it would on the real chain."""
        watch, last = Watch(self.subject.id, self.protection.rule), None
        for _ in range(self.protection.rule.confirm):
            await self.stage.mine(self.block_s)
            seen = await self._look()
            report = _known(seen)
            if report.block is None or report.health is None or report.position is None:
                raise _Ended(f"its health is unknown: {report.cause}")
            last = report.health
            told = marks(seen.snapshot, report)
            watch, _, decision = observe(watch, Observation(report.block, report.health, report.position.prices, told))
            if decision is not None:
                return decision, seen
        raise _Ended(f"the rule did not act at health {shown(last)}")

    # -- the rescue ----------------------------------------------------------------------------------------------

    async def _climb(self, decision: Decision, seen: Outlook) -> AsyncIterator[tuple[Rung, Health]]:
        """One transaction after the other until the target is reached, each with the health after it."""
        target = decision.target
        short = ""
        for _ in range(RUNGS):
            proposal = self._propose(seen, target)
            plan = best(proposal if target is not None else without_partial(proposal))
            if plan is None:
                raise _Ended(short + why_not(proposal, self.protection.kinds(self.subject.ref.protocol)))
            rung = await self._include(seen, plan, target, decision.cause)
            seen = await self._look()
            health = _health(_known(seen))
            yield rung, health
            if isinstance(health.verdict, NoDebt) or (target is not None and reaches(health, target)):
                return
            to = "without debt" if target is None else f"to {decimal(target)}"
            short = f"health only comes to {shown(health)}, not {to}: "
        raise _Ended(f"{short}{RUNGS} transactions were not enough")

    def _propose(self, seen: Outlook, target: Fraction | None) -> Proposal:
        report = _known(seen)
        block = _block(report)
        choice = options(seen, report, self.guardian, SOON_S)
        rest = left(self._journal(), self.guardian.address, report.id, choice.limits, block.timestamp)
        clock = _StageTime(block.timestamp)
        return plan_for(seen, report, self.guardian, self.protection, target, left=rest, clock=clock)

    def _journal(self) -> JournalView:
        return JournalView(self.guardian.journal_url)

    async def _include(self, seen: Outlook, plan: Plan, target: Fraction | None, cause: str) -> Rung:
        """Limits, purse and simulation as before a real signature; then the block."""
        report = _known(seen)
        view, call = ExecutionView(self.stage.chain), own_calls()(plan.intent)
        simulated = await simulate(view, self.guardian.address, call, plan.limits.gas, plan.block)
        if not isinstance(simulated, Passed):
            verb = "would revert" if isinstance(simulated, WouldRevert) else "could not be simulated"
            raise _Ended(f"{plan.why}: it {verb}: {simulated.reason}")
        base = plan.block.base_fee or 0
        fee = min(2 * base + TIP_WEI, self.guardian.max_fee_wei)
        if fee < base:
            raise _Ended(f"max_fee_gwei is below the base fee of {base} wei")
        draft = draft_of(plan, self.guardian, target, cause=cause)
        limits = self.guardian.spend_limits(options(seen, report, self.guardian, SOON_S).limits)
        totals = self._totals(plan, _block(report))
        balance = await self.stage.balance_wei(self.guardian.address)
        charge = Charge(plan.amount, draft.gas * fee)
        if reasons := spending.reasons(limits, draft, charge, balance, totals):
            raise _Ended("; ".join(reasons))
        receipt = await self.stage.send(self.guardian.address, call, plan.limits.gas, fee, TIP_WEI)
        used, price = int(receipt["gasUsed"], 16), int(receipt["effectiveGasPrice"], 16)
        if int(receipt["status"], 16) != 1:
            raise _Ended(f"{plan.why}: it reverted after {used} gas")
        return Rung(plan, used, used * price)

    def _totals(self, plan: Plan, block: BlockRef) -> Totals:
        chain_id = market_of(plan.position_id)[0].chain_id
        return self._journal().totals(chain_id, self.guardian.address, plan.asset, plan.position_id, block.timestamp)


def _known(seen: Outlook) -> Report:
    report = seen.snapshot.reports[0]
    if report.position is None or report.health is None or not isinstance(report.health.verdict, Known | NoDebt):
        raise _Ended(f"its health is unknown: {report.cause}")
    return report


def _block(report: Report) -> BlockRef:
    if report.block is None:
        raise ChainError("no block was read")
    return report.block


def _health(report: Report) -> Health:
    if report.health is None:
        raise _Ended(f"its health is unknown: {report.cause}")
    return report.health


def aims(protection: Protection) -> tuple[Aim, ...]:
    """What the rule may be brought to do, each to be rehearsed by itself."""
    lines = ((Aim.STOP_LOSS, protection.rule.stop_loss), (Aim.TAKE_PROFIT, protection.rule.take_profit))
    return (Aim.RAISE, *(aim for aim, line in lines if line is not None))
