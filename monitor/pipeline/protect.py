"""The loop that protects: head, snapshot with purse, rules, decision, plan, journal, one step of the executor.

Watching never waits for acting: whatever stands in the way of acting (no journal, no signer, a kill switch, a lost
chain) is told, and the next block is looked at all the same. Start-up is recovery: actions that an earlier run left
open are stepped first, and count as running for the rules. One guard per chain; the journal is shared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction

from monitor.chain import chains
from monitor.chain.clock import SYSTEM, Clock
from monitor.chain.rpc_chain import RpcChain
from monitor.core.actions import ActionState, Plan
from monitor.core.errors import ChainError, LevmonError
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import Address, BlockRef, MarketRef
from monitor.execution.executor import StepReport
from monitor.execution.limits import AssetLimits
from monitor.execution.port import Passed
from monitor.execution.simulate import simulate
from monitor.journal.rows import IN_FLIGHT, Action, Hold, JournalError
from monitor.journal.store import Journal
from monitor.journal.view import JournalView
from monitor.pipeline.acting import Acting, Ending, ExecutionView, draft_of, health_wad, is_rescue, own_calls
from monitor.pipeline.basis import (
    OTHER_CODE,
    Basis,
    confirmed_code,
    fetch_decided_on,
    fetch_market_code,
    held_for_code,
    refused_code,
    trusted_code,
)
from monitor.pipeline.events import Concerned, Decided, Disputed, Event, Held, Moved, Suspect
from monitor.pipeline.guardians import Guardian, Protection
from monitor.pipeline.permissions import Permissions
from monitor.pipeline.plans import Options, Outlook, best, doubts_about, marks, options, plan_for, without_partial
from monitor.pipeline.positions import market_of
from monitor.pipeline.readiness import Readiness
from monitor.pipeline.settling import rejected, rested, settled
from monitor.pipeline.today import Means, Rest, fetch_objections, rest_of
from monitor.policy.planner import Proposal, Sort, sort_of
from monitor.policy.rules import Aim, Decision, Observation, Outcome, Rule, Watch, adopt, observe, settle
from monitor.report import Report

ROLLUP_BUFFER = Fraction(1, 20)
"""By how much sooner levmon acts on a rollup whose market has no grace period after an outage."""
SUSPECT = "a price jumped beyond belief between two blocks"
"""How the reason of a hold begins that ends when the price comes back."""


@dataclass(slots=True)
class Guard:
    """One chain's positions under protection. `acting` None: dry, so decisions are simulated and nothing else."""

    guardian: Guardian
    protections: Mapping[str, Protection]
    """by position id"""
    chain: RpcChain
    acting: Acting | None
    clock: Clock = SYSTEM
    watches: dict[str, Watch] = field(default_factory=dict)
    draining: bool = False
    _told: dict[str, tuple[ActionState, str]] = field(default_factory=dict)
    _held: str = ""
    _disputed: dict[str, frozenset[Address]] = field(default_factory=dict)
    """by position: assets whose price a second source did not confirm"""
    _permissions: Permissions = field(default_factory=Permissions)
    _health: dict[str, int] = field(default_factory=dict)
    _rejected: dict[str, set[Sort]] = field(default_factory=dict)
    """by position: the sorts of rescues that were rejected before they were signed; others come first"""
    _codes: dict[MarketRef, tuple[object, str]] = field(default_factory=dict)
    """by market: how its rules were confirmed, and the code that they were confirmed with"""
    _rules: dict[str, Rule] = field(default_factory=dict)
    """Those that were adopted since the start."""
    _readiness: Readiness = field(init=False)
    _means: Means = field(init=False)

    def __post_init__(self) -> None:
        self._readiness, self._means = Readiness(self.guardian), Means(self.guardian)
        for position_id, protection in self.protections.items():
            self.watches[position_id] = Watch(position_id, protection.rule)
        if self.acting is not None:
            self._recover(self.acting)

    def _recover(self, acting: Acting) -> None:
        """What the journal has open is running; what it closed last still counts for the rest after it."""
        for action in acting.journal.actions():
            watch = self.watches.get(action.position_id)
            if watch is None or not is_rescue(action.draft):
                continue
            decision = json.loads(action.draft.decision)
            aim = Aim(decision.get("aim", Aim.RAISE))
            fired = watch.fired if aim is Aim.RAISE else (aim,)
            running = replace(watch, running=decision.get("rule_version", 0), running_aim=aim, fired=fired)
            self.watches[action.position_id] = running
            self.watches[action.position_id] = settled(running, action)

    def adopt(self, protections: Mapping[str, Protection]) -> list[str]:
        """New versions of the rules: what they tighten holds at once, a running action keeps its own.

        Answers what cannot be changed while running: positions that came or went, and what actions may be taken.
        """
        found = []
        for position_id, old in self.protections.items():
            new = protections.get(position_id)
            if new is None:
                found.append(f"{position_id} is not protected in the new file; it stays so until a restart")
            elif (new.actions, new.assets) != (old.actions, old.assets):
                found.append(f"{position_id}: other actions or assets need a restart")
            if new is not None and new.rule != self._rules.get(position_id, old.rule):
                self.watches[position_id] = adopt(self.watches[position_id], new.rule)
                self._rules[position_id] = new.rule
        found += [f"{one} is protected only after a restart" for one in protections if one not in self.protections]
        return found

    # -- one head ------------------------------------------------------------------------------------------------------

    async def look(self, seen: Outlook) -> list[Event]:
        """Take in a snapshot: rules, decisions, then one step of what is open. Never raises LevmonError."""
        events: list[Event] = []
        begun: list[tuple[Report, Decided, Options, Watch]] = []
        looked_at: dict[str, tuple[Report, Options, Protection]] = {}
        await self._pin_code(seen)
        for report in seen.snapshot.reports:
            watch = self.watches.get(report.id)
            if watch is None or report.health is None or report.block is None or report.position is None:
                continue
            self._health[report.id] = health_wad(report.health)
            before = watch
            rule = watch.rule
            watch = replace(watch, rule=self._buffered(rule, seen, report))
            seen_now = Observation(report.block, report.health, report.position.prices, marks(seen.snapshot, report))
            watch, change, decision = observe(watch, seen_now)
            watch = replace(watch, rule=rule)
            self.watches[report.id] = watch
            if change is not None:
                events.append(change)
            events += self._note_doubts(report, before, watch)
            events += self._note_disputes(seen, report)
            choice = options(seen, report, self.guardian, 1)
            if self.acting is not None:
                self.acting.allow(choice.limits)  # also for what an earlier run has left open
            events += self._permissions.look(seen, report, choice, self.protections[report.id])
            looked_at[report.id] = report, choice, replace(self.protections[report.id], rule=rule)
            if decision is not None:
                decided = await self._decide(seen, report, decision, choice)
                if decided.action is None:
                    self.watches[report.id] = self._undone(before, watch, decided, report.block)
                events.append(decided)
                begun.append((report, decided, choice, watch))
        events += await self.step()
        for report, decided, choice, watch in begun:
            events += await self._next_best(seen, report, decided, choice, watch)
        if self.acting is None and seen.snapshot.block is not None:
            view = ExecutionView(self.chain)
            events += [Concerned(text) for text in await self._means.look(view, seen.snapshot.block)]
        return [*events, *self._readiness.look(seen, looked_at, self._rest)]

    def _rest(self, position_id: str, choice: Options) -> Rest | None:
        """What is left of today's limits; also for a dry run beside an armed one."""
        block = choice.report.block
        if block is None:
            return None
        try:
            journal = JournalView(self.guardian.journal_url) if self.acting is None else self.acting.journal
            return rest_of(journal, self.guardian, position_id, choice.limits, block.timestamp)
        except JournalError:
            return None  # nothing is decided without a journal, and that is told

    async def _next_best(
        self, seen: Outlook, report: Report, decided: Decided, choice: Options, running: Watch
    ) -> list[Event]:
        """What was rejected before its signature, at this very block, leaves the others to be tried at it."""
        events: list[Event] = []
        while self.acting is not None and decided.action is not None:
            action = self.acting.journal.action(decided.action.id)
            if not rejected(self.acting.journal, action):
                break
            ended, self.watches[report.id] = self.watches[report.id], running
            decided = await self._decide(seen, report, decided.decision, choice, once_more=False)
            events.append(decided)
            if decided.action is None:
                self.watches[report.id] = rested(ended, action.changed_s)
            else:
                events += await self.step()
        return events

    async def _pin_code(self, seen: Outlook) -> None:
        """The code of markets whose rules have just been confirmed, or that are met for the first time.

        What an earlier run has met still counts: a change while nobody looked holds the market's positions.
        """
        for ref, state in seen.snapshot.markets.items():
            block, known, pinned, acting = seen.snapshot.block, state.known, self._codes.get(ref), self.acting
            if acting is None or known is None or block is None:
                continue
            if pinned is not None and pinned[0] == known.confirmation:
                continue
            with suppress(ChainError, JournalError):  # then nothing is decided before it could be read and kept
                code = await fetch_market_code(self.chain, ref, known.facts, block)
                trust = trusted_code if pinned is None else confirmed_code
                trusted = trust(acting.journal, ref, code, block.timestamp)
                if code != trusted:
                    for position_id in self.protections:
                        if market_of(position_id)[0] == ref:
                            acting.journal.hold(Hold(f"position:{position_id}", OTHER_CODE), block.timestamp)
                self._codes[ref] = known.confirmation, trusted

    async def _basis(self, acting: Acting, seen: Outlook, report: Report, plan: Plan) -> Basis:
        """What the decision rests on. May raise: ChainError; Refused where the market's code is not the known one."""
        ref = report.subject.ref
        pinned = self._codes.get(ref)
        if pinned is None:
            raise ChainError("the market's code could not be read")
        basis = await fetch_decided_on(self.chain, seen.snapshot, report, plan.block)
        if basis.code != pinned[1]:
            refused_code(acting.journal, ref, basis.code, pinned[1], plan.block.timestamp)
            raise held_for_code(acting.journal, report.id, plan.block.timestamp)
        return basis

    def _undone(self, before: Watch, watch: Watch, decided: Decided, block: BlockRef) -> Watch:
        """No action came of it. Dry, it counts as declined; else it is tried again after the rule's rest."""
        if self.acting is None and decided.plan is not None:
            return settle(watch, Outcome.DECLINED, block.timestamp)
        return rested(replace(before, seen=watch.seen, level=watch.level, streak=watch.streak), block.timestamp)

    def _buffered(self, rule: Rule, seen: Outlook, report: Report) -> Rule:
        """The rule with a higher trigger where the first block after an outage may already liquidate."""
        known, ref = seen.snapshot.markets[report.subject.ref].known, report.subject.ref
        if ref.chain_id not in chains.ROLLUPS or known is None:
            return rule
        if protocol_named(ref.protocol).waits_after_outage(known.facts):
            return rule
        return replace(rule, trigger=min(rule.trigger + ROLLUP_BUFFER, Fraction(rule.trigger + rule.target, 2)))

    def _note_doubts(self, report: Report, before: Watch, watch: Watch) -> list[Event]:
        """Prices that came into doubt or out of it. Held in the journal, so that a restart does not forget."""
        if watch.doubted == before.doubted:
            return []
        scope, prices = f"position:{report.id}", report.position.prices if report.position else {}
        jumps = [f"{report.symbols.get(key, key)} from {watch.prices[key]} to {prices[key]}" for key in watch.doubted]
        why = f"{SUSPECT}: {', '.join(jumps)}" if jumps else ""
        if self.acting is not None and report.block is not None and not watch.rule.trust_jumps:
            journal, at_s = self.acting.journal, report.block.timestamp
            with suppress(JournalError):  # it is told in any case, and nothing is signed without a journal
                if why:
                    journal.hold(Hold(scope, why), at_s)
                elif any(hold.scope == scope and hold.reason.startswith(SUSPECT) for hold in journal.holds()):
                    journal.release(scope, at_s)
        return [Suspect(report.subject, why)]

    def _note_disputes(self, seen: Outlook, report: Report) -> list[Event]:
        """Second sources that began or ceased to say something else; told once, however the numbers move."""
        found = doubts_about(seen.snapshot, report)
        if found.keys() == self._disputed.get(report.id, frozenset()):
            return []
        self._disputed[report.id] = frozenset(found)
        return [Disputed(report.subject, "; ".join(found.values()))]

    async def _decide(
        self, seen: Outlook, report: Report, decision: Decision, choice: Options, *, once_more: bool = True
    ) -> Decided:
        protection = self.protections[report.id]
        if self.watches[report.id].doubted:
            # supplying or selling would be reckoned at a price that is in doubt; repaying is right at any
            if "repay" not in protection.actions:
                said = f"{SUSPECT}, and repaying is not allowed"
                return Decided(report.subject, decision, Proposal(), None, said=said)
            protection = replace(protection, actions=("repay",))
        if self.draining:
            return Decided(report.subject, decision, Proposal(), None, said="levmon is shutting down")
        rest: dict[str, int] = {}
        try:
            if self.acting is not None:
                rest = self.acting.left(report.id, choice.limits, decision.block.timestamp)
            without = frozenset(self._rejected.get(report.id, ()))
            proposal = plan_for(
                seen,
                report,
                self.guardian,
                protection,
                decision.target,
                left=rest,
                rejected=without,
                clock=self.clock,
            )
            # half an end is none: what is left would be judged by nobody's rule
            plan = best(proposal if decision.target is not None else without_partial(proposal))
            if plan is None and without and once_more:
                # nothing else is left: what was rejected is tried once more, and may have mended
                self._rejected.pop(report.id)
                return await self._decide(seen, report, decision, choice)
            if plan is None:
                return Decided(report.subject, decision, proposal, None, said=proposal.note or "nothing is possible")
            basis = None if self.acting is None else await self._basis(self.acting, seen, report, plan)
            return await self._carry_out(report, decision, proposal, plan, basis, choice.limits)
        except LevmonError as error:
            return Decided(report.subject, decision, Proposal(), None, said=error.message)

    async def _carry_out(
        self,
        report: Report,
        decision: Decision,
        proposal: Proposal,
        plan: Plan,
        basis: Basis | None,
        limits: Mapping[Address, AssetLimits],
    ) -> Decided:
        """Simulated where dry; else journaled, to be armed, simulated and signed by the next step."""
        rule, more = self.protections[report.id].rule, len(proposal.ladder) > 1
        line = {Aim.STOP_LOSS: rule.stop_loss, Aim.TAKE_PROFIT: rule.take_profit}.get(decision.aim)
        ending = Ending(decision.aim, line, more) if more or decision.target is None else None
        draft = draft_of(
            plan,
            self.guardian,
            decision.target,
            cause=decision.cause,
            rule=decision.rule,
            version=decision.version,
            basis=basis,
            ending=ending,
        )
        if self.acting is None:
            call = own_calls()(plan.intent)
            view = ExecutionView(self.chain)
            simulated = await simulate(view, self.guardian.address, call, plan.limits.gas, plan.block)
            said = "dry" if isinstance(simulated, Passed) else "dry, and it would not succeed"
            if objections := await fetch_objections(view, self.guardian, draft, limits):
                said = f"{said}; armed, it would not be signed: {'; '.join(objections)}"
            return Decided(report.subject, decision, proposal, plan, simulated, said=said)
        action = self.acting.plan(draft)
        said = "decided" if action is not None else "an action of this position is open already"
        return Decided(report.subject, decision, proposal, plan, action=action, said=said)

    # -- acting --------------------------------------------------------------------------------------------------------

    async def step(self) -> list[Event]:
        """One step of every open action; what changed since the last. Never raises LevmonError."""
        if self.acting is None:
            return []
        self.acting.executor.draining = self.draining
        try:
            report = await self.acting.step(self._health)
            concerned = [Concerned(text) for text in report.concerns]
            return [*self._note_held("; ".join(report.held)), *concerned, *self._note_moves(self.acting, report)]
        except LevmonError as error:
            return self._note_held(error.message)

    def _note_held(self, why: str) -> list[Event]:
        why = why or (self.acting.kill.thrown if self.acting is not None else "")
        if why == self._held:
            return []
        self._held = why
        return [Held(why)]

    def check_kill_switch(self) -> list[Event]:
        """Whether the switch was thrown or reset since the last look; costs one stat."""
        if self.acting is None:
            return []
        thrown = self.acting.kill.thrown
        if bool(thrown) == bool(self._held):
            return []
        return self._note_held(thrown)

    def _note_moves(self, acting: Acting, report: StepReport) -> list[Event]:
        moved: list[Event] = []
        for action_id, state, why in report.actions:
            if self._told.get(action_id) == (state, why):
                continue
            self._told[action_id] = (state, why)
            action = acting.journal.action(action_id)
            found = acting.aftermath.told.get(action.mined.hash) if action.mined else None
            moved.append(Moved(action, f"{why}; {found.why}" if found else why))
            self._settle(acting.journal, action, needless=found is not None)
        return moved

    def _settle(self, journal: Journal, action: Action, *, needless: bool) -> None:
        watch = self.watches.get(action.position_id)
        if not is_rescue(action.draft):
            return
        others = rejected(journal, action)
        if others:
            protocol = protocol_named(market_of(action.position_id)[0].protocol)
            sort = sort_of(protocol, action.draft.intent, action.draft.asset)
            self._rejected.setdefault(action.position_id, set()).add(sort)
        if watch is not None:
            self.watches[action.position_id] = settled(watch, action, needless=needless, others=others)

    @property
    def busy(self) -> bool:
        """Whether something is open that a step may carry on."""
        return self.acting is not None and bool(self.acting.journal.actions(only_open=True))

    @property
    def in_flight(self) -> bool:
        """Whether a signature was asked for and its transaction is not known to be out."""
        if self.acting is None:
            return False
        return any(
            action.state in IN_FLIGHT and action.state is not ActionState.BROADCAST and action.attempts
            for action in self.acting.journal.actions(only_open=True)
        )
