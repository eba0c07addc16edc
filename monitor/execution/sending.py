"""Sending what is saved, and writing down what the endpoints said of it."""

from __future__ import annotations

from monitor.core.actions import ActionState
from monitor.execution.classify import SendClass
from monitor.execution.machine import change
from monitor.execution.sender import Outcome, broadcast, channel, sendable
from monitor.execution.signing import Signing
from monitor.execution.workbench import Done, View, Workbench
from monitor.journal.rows import Action, Severity, Stage


class Sending:
    """The sends of one executor. What is too cheap for every endpoint is bid higher at once."""

    def __init__(self, bench: Workbench, signing: Signing) -> None:
        self._bench, self._signing = bench, signing

    async def send(self, action: Action, view: View) -> Done:
        if self._bench.defences.kill_switch and self._bench.kill.thrown:
            return Done(action, self._bench.kill.thrown)
        if self._bench.defences.lease:
            self._bench.journal.check_lease()
        attempts = sendable(action)
        private = channel(attempts[0], view.head.number, self._bench.settings.relay, self._bench.defences)
        if private is None:
            return self._bench.told(action, "the private relay did not include it, and it may not go public", view)
        outcomes = await broadcast(self._bench.chain, attempts, private=private, defences=self._bench.defences)
        self._bench.probe("after send")
        done = self._mark_sent(action, outcomes, view)
        too_cheap = any(outcomes[0].has(what) for what in (SendClass.UNDERPRICED, SendClass.REPLACEMENT_UNDERPRICED))
        if too_cheap and not outcomes[0].arrived and attempts[0].block_number < view.head.number:
            return await self._signing.replace(done.action, view, cancel=done.action.cancelling)
        return done

    def _mark_sent(self, action: Action, outcomes: list[Outcome], view: View) -> Done:
        """Journal what the endpoints said, where that is new."""
        sent: list[tuple[int, str]] = []
        for outcome in outcomes:
            arrived = outcome.arrived
            if not self._bench.defences.already_known:
                arrived = outcome.has(SendClass.ACCEPTED)
            fresh = outcome.attempt.stage is not Stage.SENT or outcome.attempt.said != outcome.said
            if arrived and fresh:
                sent.append((outcome.attempt.id, outcome.said))
        why = "; ".join(f"attempt {outcome.attempt.id}: {outcome.said}" for outcome in outcomes)
        hostile = sorted({endpoint for outcome in outcomes for endpoint in outcome.hostile})
        if hostile:
            why, severity = f"{', '.join(hostile)} answered with the hash of other bytes", Severity.CRITICAL
            if not sent:
                return self._bench.told(action, why, view, severity)
        if sent:
            to = ActionState.BROADCAST if action.state is ActionState.SIGNED else None
            what = change(action, to, why, sent=tuple(sent), severity=Severity.CRITICAL if hostile else Severity.INFO)
            return Done(self._bench.journal.apply(what, view.head.timestamp, name="sent"), why)
        if any(outcome.has(SendClass.INSUFFICIENT_FUNDS) for outcome in outcomes):
            account = view.accounts[action.draft.signer]
            short = max(action.signed[-1].worst_cost_wei - account.balance_wei, 0)
            return self._bench.told(action, f"the key lacks {short} wei to pay for its gas", view, Severity.CRITICAL)
        return Done(action, why)
