"""Acting: one `step` per head, over every open action, in the order in which a kill at any moment does no harm.

What to do is the machine's word, what it may cost the limits'. This module only keeps the order of the stages:
decision, then budget and nonce, then simulation at the newest block, then the reservation of an attempt, the signature,
the signed bytes, and only then the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from monitor.chain.clock import Clock
from monitor.core.actions import ActionState, Intent
from monitor.core.errors import ChainError, SignerRefused, SignerUnavailable, WrongSignature
from monitor.execution import fees as pricing
from monitor.execution.killswitch import KillSwitch
from monitor.execution.lookout import Lookout
from monitor.execution.machine import Act, Observation, Verdict, decide
from monitor.execution.nonce import NonceState, NonceView
from monitor.execution.port import ExecutionChain, Receipt, Signer, TxCall
from monitor.execution.sending import Sending
from monitor.execution.signing import Signing
from monitor.execution.workbench import (
    Aftermath,
    Done,
    NoLongerNeeded,
    Objection,
    Outdated,
    Overtaken,
    Recheck,
    Settings,
    StepReport,
    Unfit,
    Unmeasured,
    View,
    Workbench,
)
from monitor.journal.rows import Action, Change, Charge, Draft, Refused, Severity
from monitor.journal.store import Journal

__all__ = [
    "Aftermath",
    "Executor",
    "NoLongerNeeded",
    "Objection",
    "Outdated",
    "Overtaken",
    "Recheck",
    "Settings",
    "StepReport",
    "Unfit",
    "Unmeasured",
]

MAX_MOVES = 16
"""What one action can do at one head: plan to broadcast takes eight; more means that it goes in circles."""


def _nothing(_: str) -> None:
    pass


class Executor:
    """One per chain and journal. `build` makes calldata from an intent, by the protocol's template.

    `outcome` tells in words what an included transaction did, for the record; empty where there is nothing to tell.
    `failure` says why an included transaction that did not revert has failed all the same; empty where it has not.
    """

    def __init__(  # noqa: PLR0913  # the parts that it ties together
        self,
        journal: Journal,
        chain: ExecutionChain,
        signer: Signer,
        build: Callable[[Intent], TxCall],
        kill: KillSwitch,
        clock: Clock,
        settings: Settings,
        *,
        recheck: Recheck | None = None,
        outcome: Callable[[Draft, Receipt], str] | None = None,
        failure: Callable[[Draft, Receipt], str] | None = None,
        aftermath: Aftermath | None = None,
        probe: Callable[[str], None] = _nothing,
    ) -> None:
        rules = replace(settings.rules, endpoints=chain.endpoints)
        self._bench = Workbench(
            journal, chain, signer, build, kill, clock, settings, rules, recheck, outcome, failure, aftermath, probe
        )
        self._lookout = Lookout(self._bench)
        self._signing = Signing(self._bench)
        self._sending = Sending(self._bench, self._signing)
        self._forgotten = set() if rules.defences.resume else {one.id for one in journal.actions(only_open=True)}
        self.draining = False
        """Set on shutdown: nothing new is armed, what is on its way is still looked after."""

    async def step(self, health: Mapping[str, int] | None = None) -> StepReport:
        """Do all that can be done at the newest head. `health` in wad by position id. May raise: JournalError."""
        report = StepReport()
        try:
            head = await self._bench.chain.head()
            report.head = head
            view = View(head, await self._bench.chain.finalized(), {}, health or {}, report.held, report.concerns)
            await self._lookout.look(view)
        except ChainError as error:
            report.held.append(f"the chain cannot be read: {error.message}")
            return report
        opened = self._bench.journal.actions(chain_id=head.chain_id, only_open=True)
        self._bench.once.keep(opened)
        for action in opened:
            if action.id in self._forgotten:
                continue
            try:
                done, why = await self._work(action, view)
            except ChainError as error:
                done, why = self._bench.journal.action(action.id), f"the chain cannot be read: {error.message}"
            report.actions.append((done.id, done.state, why))
        return report

    # -- one action ----------------------------------------------------------------------------------------------

    async def _work(self, action: Action, view: View) -> tuple[Action, str]:
        seen = await self._lookout.observe(action, view)
        hashes = {attempt.hash for attempt in action.signed}
        for _ in range(MAX_MOVES):
            if hashes != {attempt.hash for attempt in action.signed}:
                seen = await self._lookout.observe(action, view)
                hashes = {attempt.hash for attempt in action.signed}
            now_s = view.head.timestamp if self._bench.defences.chain_time else int(self._bench.clock.time())
            verdict = decide(action, seen, now_s, self._bench.rules)
            if verdict.change is not None:
                what = self._with_outcome(action, verdict.change, seen)
                action = self._apply(action, await self._explained(action, what), view)
            if verdict.act is Act.WAIT:
                if verdict.change is None or not action.open:
                    return action, verdict.why or action.note
                continue
            if verdict.act is Act.ASK_OCCUPANT:
                found = await self._bench.chain.occupant(action.draft.signer, action.nonce or 0)
                call = self._bench.build(action.draft.intent)
                seen = replace(seen, occupant=found, occupant_asked=True, intent_call=call)
                continue
            done = await self._do(verdict, action, view)
            action = done.action
            if not done.more:
                return action, done.why
        return action, "it goes in circles"

    def _with_outcome(self, action: Action, what: Change, seen: Observation) -> Change:
        """The change, and what the transaction did by its own events, once it is in a block."""
        if self._bench.outcome is None or what.mined is None or not what.mined.ok:
            return what
        if what.to not in (ActionState.MINED, ActionState.FINAL_OK) or what.mined.hash not in seen.receipts:
            return what
        told = self._bench.outcome(action.draft, seen.receipts[what.mined.hash])
        return replace(what, why=f"{what.why}; {told}") if told else what

    async def _explained(self, action: Action, what: Change) -> Change:
        """With what others did before our transaction, where it has just been seen in a block."""
        if what.to is not ActionState.MINED or what.mined is None or self._bench.aftermath is None:
            return what
        try:
            found = await self._bench.aftermath(action.draft, what.mined)
        except ChainError:
            return what  # that it is in a block must be written down, with or without the story
        if found is None:
            return what
        severity = Severity.CRITICAL if found.critical else Severity.WARN
        return replace(what, why=f"{what.why}; {found.why}", severity=severity)

    def _apply(self, action: Action, what: Change, view: View) -> Action:
        name = "mark"
        if what.to is ActionState.MINED or (what.to is None and what.mined is not None):
            name = "mined"
        elif action.state is ActionState.MINED and what.to is not None:
            name = "rollback" if what.settle is None else "settle"
        return self._bench.journal.apply(what, view.head.timestamp, name=name)

    async def _do(self, verdict: Verdict, action: Action, view: View) -> Done:
        done = await self._try(verdict.act, action, view)
        if verdict.resend and not done.more and not view.held:
            sent = await self._try(Act.SEND, done.action, view)
            return replace(sent, why=f"{done.why}; {sent.why}")
        return done

    async def _try(self, act: Act, action: Action, view: View) -> Done:  # noqa: PLR0911  # one per act
        if view.held or not self._lookout.reconciled:
            return Done(action, "; ".join(view.held) or "journal and chain are not yet reconciled")
        try:
            match act:
                case Act.ARM:
                    return await self._arm(action, view)
                case Act.SIGN:
                    return await self._signing.first(action, view)
                case Act.RESIGN:
                    return await self._signing.again(action, view)
                case Act.BUMP:
                    return await self._signing.replace(action, view, cancel=action.cancelling)
                case Act.CANCEL:
                    return await self._signing.replace(action, view, cancel=True)
                case Act.SEND:
                    return await self._sending.send(action, view)
                case _:
                    raise AssertionError(f"nothing to do for {act}")
        except Refused as refused:
            return self._bench.told(action, refused.message, view)
        except SignerUnavailable as silent:
            return self._bench.told(action, f"the signer does not answer: {silent.message}", view)
        except (SignerRefused, WrongSignature) as wrong:
            return self._bench.told(action, f"not signed: {wrong.message}", view, Severity.CRITICAL)

    async def _arm(self, action: Action, view: View) -> Done:
        if self.draining and self._bench.defences.drain:
            return Done(action, "levmon is shutting down")
        draft, account = action.draft, view.accounts[action.draft.signer]
        nonces = NonceView(account.nonce, self._bench.journal.next_nonce(draft.intent.chain_id, draft.signer))
        nonce = account.nonce
        if self._bench.defences.nonce_check and nonces.state is not NonceState.FREE:
            return Done(action, f"the chain is at nonce {nonces.chain}, the journal at {nonces.journal}")
        if not self._bench.defences.nonce_check and nonces.journal is not None:
            nonce = nonces.journal
        offer = await self._bench.first_offer(action, view)
        if isinstance(offer, pricing.Capped):
            return self._bench.told(action, f"fee cap reached: {offer.why}", view, Severity.CRITICAL)
        charge = Charge(draft.amount, draft.gas * offer.max_fee_wei + draft.l1_data_fee_wei)
        judge = self._bench.judge(action, charge, account)
        single = self._bench.defences.one_in_flight
        armed = self._bench.journal.arm(action, nonce, charge, judge, view.head.timestamp, single=single)
        return Done(armed, "armed", more=True)
