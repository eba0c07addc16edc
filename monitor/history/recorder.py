"""Keeps what a daemon sees, in a thread of its own: the daemon hands over and goes on, whatever the database does.

Where the history cannot be written that is said once, and again once it can; nothing else ever depends on it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Full, Queue

from monitor.history.rows import HistoryError
from monitor.history.store import History
from monitor.history.thinning import Age
from monitor.report import Report

WAITING = 32
"""So many looks may wait for the database; what comes then is passed over."""
DRAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class _Seen:
    reports: Sequence[Report]
    now_s: int


@dataclass(frozen=True, slots=True)
class _Gone:
    chain_id: int
    hashes: Sequence[str]


class Recorder:
    """One daemon's. `say` is told in words when the history begins to fail and when it works again, from its thread."""

    def __init__(self, url: str, age: Age, say: Callable[[str], None]) -> None:
        self._url = url
        self._age = age
        self._say = say
        self._queue: Queue[_Seen | _Gone | None] = Queue(WAITING)
        self._failing = ""
        self._history: History | None = None
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    def see(self, reports: Sequence[Report], now_s: int) -> None:
        """Keep what is worth it. `now_s` is the machine's time. Never waits."""
        with suppress(Full):
            self._queue.put_nowait(_Seen(tuple(reports), now_s))

    def gone(self, chain_id: int, hashes: Sequence[str]) -> None:
        """These blocks left the chain: what was seen at them was never so. Never waits."""
        with suppress(Full):
            self._queue.put_nowait(_Gone(chain_id, tuple(hashes)))

    def close(self) -> None:
        """Write what waits, for as long as that takes no longer than DRAIN_S."""
        with suppress(Full):
            self._queue.put(None, timeout=DRAIN_S)
        self._thread.join(DRAIN_S)

    def _run(self) -> None:
        while (event := self._queue.get()) is not None:
            self._try(event)
        if self._history is not None:
            self._history.close()

    def _try(self, event: _Seen | _Gone) -> None:
        try:
            if self._history is None:
                self._history = History(self._url)
            match event:
                case _Seen(reports, now_s):
                    self._history.keep(reports, now_s)
                    self._history.tidy(now_s, self._age)
                case _Gone(chain_id, hashes):
                    self._history.forget(chain_id, hashes)
        except HistoryError as error:
            if not self._failing:
                self._say(f"history: not kept: {error.message}")
            self._failing = error.message
        else:
            if self._failing:
                self._say("history: kept again")
            self._failing = ""
