"""A snapshot per head: what changed is for the caller to see, what went wrong is told and never passed over.

The newest block is what matters: heads that came while the last one was read are counted as skipped, not queued. When a
chain gives no heads, or old ones, every position of it is unknown until it does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from monitor.chain.branch import Reorg
from monitor.chain.heads import Heads, Trouble
from monitor.chain.port import Chain
from monitor.core.errors import ChainError
from monitor.core.types import BlockRef
from monitor.pipeline.memory import Memory
from monitor.pipeline.snapshot import FULL, Depth, Snapshot, failed, snapshot
from monitor.report import Subject


@dataclass(frozen=True, slots=True)
class Tick:
    """One head and what was found there. `skipped`: blocks since the last tick that were not looked at."""

    snapshot: Snapshot
    skipped: int = 0
    reorg: Reorg | None = None
    trouble: ChainError | None = None


async def watch(
    chain: Chain, subjects: Sequence[Subject], memory: Memory, heads: Heads, depth: Depth = FULL
) -> AsyncGenerator[Tick, None]:
    """Ticks without end, as long as the consumer asks for them. Never raises ChainError."""
    last: BlockRef | None = None
    async for event in heads.events():
        if isinstance(event, Trouble):
            yield Tick(failed(subjects, event.error, last), trouble=event.error)
            continue
        # pinned to the head; should it be reorganised away meanwhile, the newest block is taken instead, once
        taken = await snapshot(chain, subjects, memory, "latest", depth, first=event.block)
        last = taken.block or event.block
        yield Tick(taken, event.skipped, event.reorg)
