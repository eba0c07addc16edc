"""One action followed from its decision to wherever it comes to rest. What is told is what the journal holds.

Each look is one step of the executor, so following it is also what makes it go on: signing, sending, replacing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum

from monitor.chain.clock import SYSTEM, Clock
from monitor.core.actions import ActionState
from monitor.journal.rows import Action, Draft
from monitor.pipeline.acting import Acting


class Until(StrEnum):
    """How far to follow: sent, in a block, or beyond every reorganisation."""

    SENT = "sent"
    MINED = "mined"
    FINAL = "final"


FAILED = frozenset(
    {
        ActionState.FINAL_REVERTED,
        ActionState.FINAL_CANCELLED,
        ActionState.CLOSED_REJECTED,
        ActionState.CLOSED_EXPIRED,
        ActionState.FOREIGN_NONCE,
        ActionState.QUARANTINED,
    }
)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an action stands: its row, and what the executor says of it now, `held` first of all."""

    action: Action
    why: str

    @property
    def hash(self) -> str | None:
        """The transaction: the one in a block, else the newest that may be on its way."""
        if self.action.mined is not None:
            return self.action.mined.hash
        return self.action.signed[-1].hash if self.action.signed else None

    @property
    def ended(self) -> bool:
        return not self.action.open or self.action.state is ActionState.QUARANTINED

    @property
    def failed(self) -> bool:
        """It came to an end without doing what it was for. A reverted one in a block counts already."""
        mined = self.action.mined
        return self.action.state in FAILED or (mined is not None and not mined.ok and self.ended)

    def reached(self, until: Until) -> bool:
        """Whether there is nothing left to wait for."""
        if self.ended:
            return True
        state = self.action.state
        if until is Until.FINAL:
            return False
        if state is ActionState.MINED:
            return True
        return until is Until.SENT and state is ActionState.BROADCAST


async def carry(
    acting: Acting,
    draft: Draft,
    *,
    until: Until = Until.FINAL,
    within_s: float = 900,
    poll_s: float = 1,
    clock: Clock = SYSTEM,
) -> AsyncGenerator[Standing, None]:
    """Open the action and follow it: a standing whenever it changes. Ends at `until`, or after `within_s` seconds.

    Yields nothing where the position has an open action already. May raise: JournalError.
    """
    opened = acting.plan(draft)
    if opened is None:
        return
    last = Standing(opened, "decided")
    yield last
    end = clock.monotonic() + within_s
    health = {draft.intent.position_id: draft.health_wad} if draft.health_wad else {}
    while not last.reached(until) and clock.monotonic() < end:
        report = await acting.step(health)
        told = {action_id: why for action_id, _, why in report.actions}
        why = "; ".join(report.held) or told.get(draft.id, "")
        now = Standing(acting.journal.action(draft.id), why)
        if (now.action.state, now.why, now.hash) != (last.action.state, last.why, last.hash):
            yield now
        last = now
        if not last.reached(until):
            await clock.sleep(poll_s)
