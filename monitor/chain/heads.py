"""New blocks as they come, with gaps filled or counted, reorganisations told, and silence noticed.

Asking is the truth; a WebSocket only makes us ask sooner. Whatever goes wrong is an event as well (Trouble), because a
watcher that stays quiet when it sees nothing is worse than none. Time comes from the clock that is handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from monitor.chain.branch import WINDOW, Branch, Growth, Reorg
from monitor.chain.chains import chain_info
from monitor.chain.clock import SYSTEM, Clock
from monitor.chain.defences import ALL, Defences
from monitor.chain.port import BlockAt
from monitor.core.errors import ChainError, StaleHead
from monitor.core.types import BlockRef

STALE_BLOCKS = 5
"""A head older than this many block times is stale ..."""
STALE_AT_LEAST_S = 60.0
"""... but never before a minute has passed."""
POLL_S = 1.0
"""How often to ask a chain whose block time is not known."""


class HeadSource(Protocol):
    """What heads need of a chain; both adapters of the port have it."""

    @property
    def chain_id(self) -> int: ...

    async def block(self, at: BlockAt = "latest") -> BlockRef: ...

    async def headers(self, first: int, last: int) -> list[BlockRef]: ...


class Hints(Protocol):
    """Something that says `there may be a new block`, rightly or wrongly."""

    async def wait(self) -> None:
        """Return at the next hint."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Head:
    """A new newest block, `age_s` seconds old (never below 0). `skipped`: how many before it were not delivered."""

    block: BlockRef
    age_s: float = 0.0
    skipped: int = 0
    reorg: Reorg | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Heads cannot be had, or are too old. Told once when it begins and whenever its kind changes."""

    error: ChainError


def max_age_s(chain_id: int) -> float | None:
    """How old a head may be on this chain; None where blocks come on demand."""
    block_time_s = chain_info(chain_id).block_time_s
    return None if block_time_s is None else max(STALE_BLOCKS * block_time_s, STALE_AT_LEAST_S)


def require_fresh(block: BlockRef, clock: Clock = SYSTEM, limit_s: float | None = None) -> None:
    """May raise: StaleHead, when the block is older than `limit_s` (default: what its chain allows)."""
    limit_s = max_age_s(block.chain_id) if limit_s is None else limit_s
    age_s = clock.time() - block.timestamp
    if limit_s is not None and age_s > limit_s:
        raise StaleHead(
            f"the newest block {block.number} is {age_s:.0f} s old; {limit_s:.0f} s is the limit on this chain",
            hint="the endpoint may be out of sync, or the chain has stopped",
        )


class Heads:
    """An endless stream of Head and Trouble. Never raises ChainError; ends only when closed or cancelled."""

    def __init__(
        self,
        source: HeadSource,
        *,
        clock: Clock = SYSTEM,
        hints: Hints | None = None,
        poll_s: float | None = None,
        limit_s: float | None = None,
        window: int = WINDOW,
        back_fill: int = 0,
        defences: Defences = ALL,
    ) -> None:
        """`back_fill`: how many blocks of a gap are delivered as heads of their own; the others count as skipped.

        `limit_s`: the age at which a head is stale, default by chain.
        """
        self._source = source
        self._clock = clock
        self._hints = hints
        self._poll_s = poll_s
        self._limit_s = limit_s
        self._back_fill = back_fill
        self._defences = defences
        self._branch = Branch(window, defences)
        self._trouble: type[ChainError] | None = None
        self._undelivered = 0
        self._untold: Reorg | None = None

    async def events(self) -> AsyncGenerator[Head | Trouble, None]:
        """The stream. Cancelling it leaves nothing behind."""
        while True:
            try:
                found = await self.poll()
            except ChainError as error:
                if self._trouble is not type(error):
                    self._trouble = type(error)
                    yield Trouble(error)
            else:
                for head in found:
                    yield head
            await self._wait()

    async def poll(self) -> list[Head]:
        """Ask once: the new heads, oldest first; none when there is no news. May raise: ChainError."""
        newest = await self._source.block("latest")
        growth = await self._grow(newest)
        tip = self._branch.tip
        try:
            if self._defences.stale_head and tip is not None:
                require_fresh(tip, self._clock, self._limit_s)
        except StaleHead:
            if growth is not None:
                self._undelivered += growth.unseen + len(growth.blocks)
                self._untold = growth.reorg or self._untold
            raise
        self._trouble = None
        return [] if growth is None else self._deliver(growth)

    async def _grow(self, newest: BlockRef) -> Growth | None:
        question = self._branch.grow(newest)
        try:
            first, last = next(question)
            while True:
                first, last = question.send(await self._source.headers(first, last))
        except StopIteration as done:
            result: Growth | None = done.value
            return result

    def _deliver(self, growth: Growth) -> list[Head]:
        wanted = growth.blocks[-1 - self._back_fill :] if self._defences.back_fill else growth.blocks[-1:]
        skipped = growth.unseen + len(growth.blocks) - len(wanted) + self._undelivered
        skipped, reorg = skipped if self._defences.back_fill else 0, growth.reorg or self._untold
        self._undelivered, self._untold = 0, None
        now = self._clock.time()
        heads = [Head(block, max(now - block.timestamp, 0.0)) for block in wanted]
        heads[0] = Head(wanted[0], heads[0].age_s, skipped, reorg)
        return heads

    def delay_s(self) -> float:
        """Seconds until asking is worth it: when the next block is due, then four times per block time."""
        if self._poll_s is not None:
            return self._poll_s
        tip = self._branch.tip
        block_time_s = chain_info(self._source.chain_id).block_time_s if tip is not None else None
        if tip is None or block_time_s is None:
            return POLL_S
        due_s = tip.timestamp + block_time_s - self._clock.time()
        if not self._defences.bounded_wait:
            return due_s
        return due_s if block_time_s / 4 < due_s <= block_time_s else max(block_time_s / 4, 0.25)

    async def _wait(self) -> None:
        """Until the next poll is due or a hint comes."""
        waits: list[Callable[[], Coroutine[Any, Any, None]]] = []
        if self._defences.poll:
            delay_s = self.delay_s()
            waits.append(lambda: self._clock.sleep(delay_s))
        if self._hints is not None:
            waits.append(self._hints.wait)
        tasks = [asyncio.ensure_future(wait()) for wait in waits]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
