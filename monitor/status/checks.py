"""What must hold before a daemon may call itself ready, each asked at most every few seconds.

A check answers why it fails, or "". It may write the one row by which a journal proves that it commits, and ask the
signer for its status; it never signs, and never reads a chain.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.core.errors import LevmonError
from monitor.core.text import clean
from monitor.execution.killswitch import KillSwitch
from monitor.signer.client import SignerClient

if TYPE_CHECKING:
    from monitor.journal.commits import Commits
    from monitor.pipeline.guardians import Guardian
    from monitor.pipeline.telling import Teller
    from monitor.status.board import Board

Check = Callable[[], Awaitable[str]]
EVERY_S = 2.0
"""Whoever asks more often is told the same once more: asking must not become load."""
SIGNER_S = 3.0


@dataclass(slots=True)
class Readiness:
    """The board's heads, and the checks beside them by name."""

    board: Board
    checks: dict[str, Check] = field(default_factory=dict)
    _asked_s: float = float("-inf")
    _found: dict[str, str] = field(default_factory=dict)

    async def reasons(self) -> dict[str, str]:
        """By name of the check why it fails; "" for each that holds."""
        board = self.board
        now_s, clock_s = board.clock.time(), board.clock.monotonic()
        found = {f"head {chain.name}": chain.why_unknown(now_s) for chain in board.chains}
        if board.draining:
            found["daemon"] = "levmon is shutting down"
        if clock_s - self._asked_s >= EVERY_S:
            self._asked_s = clock_s
            self._found = {name: await check() for name, check in self.checks.items()}
        return found | self._found


def journal_commits(journal: Commits, now_s: Callable[[], float]) -> Check:
    """Whether a commit goes through just now."""

    async def check() -> str:
        try:
            journal.prove(int(now_s()))
        except LevmonError as error:
            return error.message
        return ""

    return check


def signer_answers(guardian: Guardian) -> Check:
    """Whether the signer is there, has the guardian's key, and may sign."""

    async def check() -> str:
        try:
            status = await SignerClient(guardian.socket, {}, deadline_s=SIGNER_S).status()
        except LevmonError as error:
            return error.message
        if guardian.address not in status.keys:
            return f"the signer has no key of {guardian.address}"
        return "the signer's kill switch is thrown" if status.killed else KillSwitch(guardian.kill_file).thrown

    return check


def alerts_go_out(teller: Teller, now_s: Callable[[], float]) -> Check:
    """Whether alerts are journaled before they are sent. A channel that fails is a number, and told on the others."""
    journal = teller.journal

    async def check() -> str:
        if journal is None:
            return "alerts are sent from memory: their journal cannot be written"
        return clean(await journal_commits(journal, now_s)(), 300)

    return check
