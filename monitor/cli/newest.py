"""The newest head that nobody has taken yet: for commands that act on heads, and would rather skip one than be late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor.chain.heads import Head, Trouble
    from monitor.cli.session import Open


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest head, if nobody has taken it yet, and the task that looks for the next."""

    queue: asyncio.Queue[Head | Trouble]
    task: asyncio.Task[None]


async def next_head(newest: Newest, within_s: float) -> Head | Trouble | None:
    """The newest head; None when there was none for so long. Raises what ended the task, which must never end."""
    try:
        async with asyncio.timeout(within_s):
            return await newest.queue.get()
    except TimeoutError:
        if newest.task.done():
            newest.task.result()
            raise AssertionError("nobody looks for new blocks any more") from None
        return None


@asynccontextmanager
async def newest_heads(chain: Open, poll_s: float | None) -> AsyncIterator[Newest]:
    """A queue of one: a head that nobody has taken yet is replaced by the next, and counts as skipped there."""
    from dataclasses import replace

    from monitor.chain.heads import Head

    queue: asyncio.Queue[Head | Trouble] = asyncio.Queue(maxsize=1)

    async def fill() -> None:
        async for event in chain.heads(poll_s).events():
            fresh: Head | Trouble = event
            if queue.full():
                old = queue.get_nowait()
                if isinstance(old, Head) and isinstance(event, Head):
                    reorg = event.reorg or old.reorg
                    fresh = replace(event, skipped=event.skipped + old.skipped + 1, reorg=reorg)
            queue.put_nowait(fresh)

    task = asyncio.create_task(fill())
    try:
        yield Newest(queue, task)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
