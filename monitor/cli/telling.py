"""What `protect` and `watch` share: a teller with its sender running beside them, for as long as they run.

Who acts tells from the guardian's journal, who only looks from one of its own. Without a journal (its disk is full,
another levmon has it) alerts go out from memory or, where another levmon tells them already, not at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.alerts.outbox import Sender
from monitor.alerts.setup import channels_of, pace_of
from monitor.core.alerting import AlertsConfig
from monitor.core.database import database_url, shown
from monitor.core.types import BlockRef
from monitor.journal.outbox import Outbox
from monitor.journal.rows import JournalError, LeaseHeld
from monitor.journal.store import Journal
from monitor.pipeline.acting import ExecutionView
from monitor.pipeline.telling import Teller

if TYPE_CHECKING:
    from monitor.cli.session import Open, Session

DRAIN_S = 5.0


class BlocksOf(ExecutionView):
    """A chain as far as corrections need it."""

    def __init__(self, session: Session, chain: Open) -> None:
        from monitor.cli.guarding import finality_of

        super().__init__(chain.chain, finality_of(session, chain))

    async def block(self, at: int) -> BlockRef:
        """May raise: ChainError."""
        return await self._reader.block(at)


def journal_url(alerts: AlertsConfig, base: Path) -> str:
    """Where alerts are kept by who does not act."""
    return database_url(alerts.journal, base)


@asynccontextmanager
async def telling(
    session: Session, journal: Journal | None, say: Callable[[str], None], does: Callable[[str], str], what: str
) -> AsyncIterator[Teller | None]:
    """A teller; None where nobody is to be told anything. `what` is told first. May raise: ConfigError."""
    alerts = session.targets.config.alerts if session.targets.config else None
    alerts = alerts or AlertsConfig()
    if not alerts.channels and journal is None:
        yield None
        return
    channels = channels_of(alerts)
    with ExitStack() as stack:
        if journal is None:
            try:
                base = (session.targets.path or Path()).absolute().parent
                journal = stack.enter_context(closing(Journal(journal_url(alerts, base), now_s=int(time.time()))))
            except LeaseHeld:
                say(f"alerts: another levmon tells them ({shown(alerts.journal)}); this one only shows")
                yield None
                return
            except JournalError as error:
                say(f"alerts: sent without a journal, so that none is repeated after a crash: {error.message}")
        outbox = Outbox(journal) if journal is not None else None
        made: list[Teller] = []
        sender = Sender(channels, outbox, pace_of(alerts), pulse=lambda: made[0].beat() if made else None, say=say)
        teller = Teller(outbox, sender, escalation_s=alerts.escalation_s, does=does)
        made.append(teller)
        teller.run(f"{what} started")
        sending = asyncio.create_task(sender.run()) if channels else None
        try:
            yield teller
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
            teller.run(f"{what} stopped")
            await sender.drain(DRAIN_S)
