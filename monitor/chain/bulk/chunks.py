"""Cuts a long list of accounts into questions that an endpoint will answer, and loses none of them.

What is too much is asked again by halves; an answer about fewer accounts than were asked leaves the others to be asked;
sizes grow back, but not to what was refused. A single account that is too much is told as unreadable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from monitor.chain.bulk.wire import TooMuch
from monitor.chain.clock import Clock
from monitor.core.errors import RateLimited
from monitor.protocols.columns import U8
from monitor.protocols.survey import Part

PARALLEL = 3
SLOW_S = 3.0
"""An answer that took longer halves the next question: nodes give up after five seconds or so."""
QUICK_S = 1.0
WAITS = 6
"""How often one question waits for an endpoint that asks for patience."""


@dataclass(slots=True)
class Work:
    """What is read and what is not: `parts` by the row of their first account, `todo` as [first, last)."""

    owners: U8
    parts: dict[int, Part] = field(default_factory=dict)
    unread: dict[int, str] = field(default_factory=dict)
    """Single accounts that were too much."""
    todo: list[tuple[int, int]] = field(default_factory=list)
    progress: Callable[[int], None] = lambda _: None

    @classmethod
    def of(cls, owners: U8, progress: Callable[[int], None] = lambda _: None) -> Work:
        return cls(owners, todo=[(0, len(owners))] if len(owners) else [], progress=progress)


class Cutter:
    """One sweep of one rung over the work that is left."""

    def __init__(self, work: Work, read: Callable[[U8], Awaitable[Part]], most: int, clock: Clock) -> None:
        self._work, self._read, self._clock = work, read, clock
        left = sum(last - first for first, last in work.todo)
        self._most = max(1, min(most, -(-left // max(1, -(-left // most)))))
        self._size = self._most
        self._refused = 2**62

    async def run(self) -> None:
        """Until nothing is left. May raise: RungFailed, ChainError; what was read by then stays read."""
        running = {asyncio.create_task(self._worker()) for _ in range(PARALLEL)}
        try:
            while running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _worker(self) -> None:
        todo = self._work.todo
        while todo:
            first, last = todo.pop()
            if last - first > self._size:
                todo.append((first + self._size, last))
                last = first + self._size
            answered = first
            try:
                answered = await self._ask(first, last)
            finally:
                if answered < last:
                    todo.append((answered, last))

    async def _ask(self, first: int, last: int) -> int:
        """The row up to which it was answered."""
        began = self._clock.monotonic()
        try:
            part = await self._patiently(self._work.owners[first:last])
        except TooMuch as refused:
            self._refused = min(self._refused, last - first)
            self._size = max(1, min(self._size, (last - first) // 2))
            if last - first > 1:
                return first
            self._work.unread[first] = str(refused)
            return last
        took_s = self._clock.monotonic() - began
        self._work.parts[first] = part
        self._work.progress(len(part))
        if len(part) < last - first:
            self._size = min(self._size, len(part))
        elif took_s > SLOW_S:
            self._size = max(1, min(self._size, (last - first) // 2))
        elif took_s < QUICK_S and last - first >= self._size:
            self._size = max(self._size, min(self._most, 2 * self._size, 3 * self._refused // 4))
        return first + len(part)

    async def _patiently(self, owners: U8) -> Part:
        for _ in range(WAITS):
            try:
                return await self._read(owners)
            except RateLimited as limited:
                await self._clock.sleep(limited.retry_after_s)
        return await self._read(owners)
