"""Time as something that is handed in: what the chain room waits by and judges age by.

Only this module asks the machine for the time. Tests hand in a clock of their own and so never wait.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Seconds, in two kinds, and a way to let them pass."""

    def monotonic(self) -> float:
        """Seconds that only ever grow: for intervals."""
        ...

    def time(self) -> float:
        """Seconds since 1970: for comparing with the timestamps of blocks."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        ...


class SystemClock:
    """The machine's own time."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


SYSTEM = SystemClock()
