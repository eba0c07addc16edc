"""Ends a process whose event loop does not come round any more: whoever started it starts it again, and it recovers.

A loop that is blocked watches nothing and cannot even be told so; being ended is harmless, since being killed is. The
watchdog is a thread of its own. A process that was stopped as a whole (SIGSTOP, a suspended machine) is not blocked.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from monitor.chain.clock import SYSTEM, Clock

EXIT_CODE = 70
LIMIT_S = 60.0
LOOKS = 4
"""so many times within the limit is looked"""


def end_process(why: str) -> None:
    """Never returns. Tells where every thread is, without values, which could be secret."""
    os.write(2, f"levmon: {why}\n".encode())  # past all buffers and locks, which somebody may hold
    faulthandler.dump_traceback(file=2, all_threads=True)
    os._exit(EXIT_CODE)


class Watchdog:
    """Use as an async context around the work. `end` is called from the watchdog's thread."""

    def __init__(
        self, limit_s: float = LIMIT_S, *, end: Callable[[str], None] = end_process, clock: Clock = SYSTEM
    ) -> None:
        self._limit_s, self._end, self._clock = limit_s, end, clock
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watchdog", daemon=True)
        self._task: asyncio.Task[None] | None = None
        self._came_round_s = clock.monotonic()

    async def __aenter__(self) -> Self:
        self._came_round_s = self._clock.monotonic()
        self._task = asyncio.create_task(self._come_round())
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.join()

    async def _come_round(self) -> None:
        while True:
            self._came_round_s = self._clock.monotonic()
            await self._clock.sleep(self._limit_s / LOOKS)

    def _look(self) -> None:
        between_s = self._limit_s / LOOKS
        looked_s = self._clock.monotonic()
        while not self._stopped.wait(between_s):
            now_s = self._clock.monotonic()
            stopped, looked_s = now_s - looked_s > 2 * between_s, now_s
            if stopped:
                self._came_round_s = now_s  # this thread did not run either: nobody is to blame
            elif now_s - self._came_round_s > self._limit_s:
                self._end(f"the event loop has been blocked for {now_s - self._came_round_s:.0f} s")
