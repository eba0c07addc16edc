"""How long until interest alone liquidates, for the rows that are shown: a search of milliseconds each.

So a page reckons as many as it has time for, the rest is reckoned beside it, and pushed to whoever looks. A row whose
time is not reckoned yet says so; it never shows that of another moment.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from monitor.pipeline.questions import seconds_left
from monitor.report import Report
from monitor.web.board import Board

HOUR_S = 3600
YEAR_H = 8766
LATER = "…"
REST = 3
"""After each of them, so many times as long is left to pages and to the watch."""
PUSH_S = 0.5
MOST = 300
"""So many are waited for; who asked long ago has left the page."""

Seen = tuple[Any, ...]
"""What else the row shows: as long as that is the same, so is the time left, to the hour."""


class TimesLeft:
    """`at_once_s`: so long a page may take for them; without end where nothing runs beside it."""

    def __init__(self, board: Board, at_once_s: float = math.inf, rest: float = REST) -> None:
        self._board, self._at_once_s, self._rest = board, at_once_s, rest
        self._until_s = 0.0
        self._known: dict[str, tuple[Seen, str]] = {}
        self._wanted: dict[str, tuple[Seen, Report]] = {}
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """A page is being made."""
        self._until_s = time.perf_counter() + self._at_once_s

    def of(self, report: Report, seen: Seen) -> str:
        """The text, or LATER where it will be known soon."""
        known = self._known.get(report.id)
        if known is not None and known[0] == seen:
            return known[1]
        if time.perf_counter() < self._until_s:
            return self._reckon(report, seen)
        self._wanted.pop(report.id, None)
        self._wanted[report.id] = (seen, report)
        if len(self._wanted) > MOST:
            del self._wanted[next(iter(self._wanted))]
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._catch_up())
        return LATER

    def _reckon(self, report: Report, seen: Seen) -> str:
        text = left_text(report)
        self._known[report.id] = (seen, text)
        self._wanted.pop(report.id, None)
        return text

    async def _catch_up(self) -> None:
        pushed_s = time.perf_counter()
        while self._wanted:
            began_s = time.perf_counter()
            seen, report = next(iter(self._wanted.values()))
            self._reckon(report, seen)
            if time.perf_counter() - pushed_s > PUSH_S:
                pushed_s = time.perf_counter()
                self._board.touch()
            await asyncio.sleep(self._rest * (time.perf_counter() - began_s))
        self._board.touch()


def left_text(report: Report) -> str:
    """How long until interest alone brings it below 1, at the rates of its block."""
    left_s = seconds_left(report)
    if left_s is None:
        return "never" if report.verdict == "known" else ""
    hours = left_s // HOUR_S
    return "now" if not left_s else f"{hours:,} h" if hours < 2 * YEAR_H else f"{hours // YEAR_H} years"
