"""What the end of an action means for the rule that wanted it."""

from __future__ import annotations

import json
from dataclasses import replace

from monitor.core.actions import ActionState
from monitor.journal.rows import Action
from monitor.journal.store import Journal
from monitor.pipeline.acting import ANEW
from monitor.policy.rules import Outcome, Watch, settle

OUTCOMES = {
    ActionState.FINAL_OK: Outcome.DONE,
    ActionState.CLOSED_NOOP: Outcome.DECLINED,
    ActionState.FINAL_CANCELLED: Outcome.FAILED,
    ActionState.FINAL_REVERTED: Outcome.FAILED,
    ActionState.FOREIGN_NONCE: Outcome.FAILED,
}


def settled(watch: Watch, action: Action, *, needless: bool = False, others: bool = False) -> Watch:
    """The watch after its action, if that has ended. One for which nothing was ever signed is no failure of the plan:

    a kill switch, a silent signer or a limit stood in its way, and may not tomorrow. An outdated one is made anew at
    once; one that others made `needless` waits until it is needed again. One that was rejected by itself leaves
    `others` to try, at once too.
    """
    if action.open:
        return watch
    unsent = {ActionState.CLOSED_EXPIRED, ActionState.CLOSED_REJECTED}
    if action.state in unsent and not action.attempts:
        if action.note.endswith(ANEW) or (others and action.state is ActionState.CLOSED_REJECTED):
            return unfired(watch)
        return rested(unfired(watch), action.changed_s)
    outcome = Outcome.DECLINED if needless else OUTCOMES.get(action.state, Outcome.FAILED)
    after = settle(watch, outcome, action.changed_s)
    if action.state is ActionState.FINAL_OK and json.loads(action.draft.decision).get("more"):
        # it was one of several that belong together: the next is to follow at once
        fired = tuple(aim for aim in after.fired if aim is not watch.running_aim)
        return replace(after, fired=fired, ready_at_s=min(after.ready_at_s, action.changed_s))
    return after


def unfired(watch: Watch) -> Watch:
    """As if the action had never begun: a price line that called for it was not acted upon yet."""
    fired = tuple(aim for aim in watch.fired if aim is not watch.running_aim)
    return replace(watch, running=None, running_aim=None, fired=fired)


def rejected(journal: Journal, action: Action) -> bool:
    """By itself, before anything was signed, and without a successor that tries the same with more gas."""
    if action.state is not ActionState.CLOSED_REJECTED or action.attempts:
        return False
    return not any(one.draft.retry_of == action.id for one in journal.actions(only_open=True))


def rested(watch: Watch, at_s: int) -> Watch:
    """Tried again after the rule's rest, which nothing cuts short."""
    return replace(watch, ready_at_s=max(watch.ready_at_s, at_s + watch.rule.retry_s), patient=True)
