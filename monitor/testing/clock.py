"""A clock for tests: it stands still until someone sleeps, and then jumps. Nothing ever waits."""

from __future__ import annotations

import asyncio


class FakeClock:
    """Both kinds of time move together. `slept` holds every wait that was asked for, in seconds."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Jump, and let every other task have its turn first."""
        await asyncio.sleep(0)
        self.slept.append(seconds)
        self.now += seconds
