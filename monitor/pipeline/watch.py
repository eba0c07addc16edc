"""A snapshot per head: what changed is for the caller to see, what went wrong is told and never passed over.

The newest block is what matters: heads that came while the last one was read are counted as skipped, not queued. When a
chain gives no heads, or old ones, every position of it is unknown until it does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from monitor.chain.branch import Reorg
from monitor.chain.heads import Heads, Trouble
from monitor.chain.port import Chain
from monitor.core.errors import ChainError
from monitor.core.types import BlockRef, Price
from monitor.oracles.chainlink import went_back
from monitor.pipeline.memory import Memory
from monitor.pipeline.snapshot import FULL, Depth, Snapshot, failed, snapshot
from monitor.report import Report, Subject


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
    before: Snapshot | None = None
    async for event in heads.events():
        if isinstance(event, Trouble):
            yield Tick(failed(subjects, event.error, last), trouble=event.error)
            continue
        # pinned to the head; should it be reorganised away meanwhile, the newest block is taken instead, once
        taken = await snapshot(chain, subjects, memory, "latest", depth, first=event.block)
        last = taken.block or event.block
        if before is not None and event.reorg is None:
            taken = told_of_backward_rounds(before, taken)
        before = taken
        yield Tick(taken, event.skipped, event.reorg)


def told_of_backward_rounds(before: Snapshot, after: Snapshot) -> Snapshot:
    """`after`, in which every report says which of its prices went back to an earlier round or time since `before`.

    Health is left alone: the protocol takes such a price, so it decides. After a reorg this proves nothing.
    """
    known = {(price.source, price.asset): price for report in before.reports for price in report.prices}

    def errors(report: Report) -> list[str]:
        said = []
        for price in report.prices:
            earlier = known.get((price.source, price.asset))
            if earlier is not None and went_back(earlier, price):
                symbol = report.symbols.get(price.asset, price.asset)
                said.append(f"{symbol}: the price source went back from {_dated(earlier)} to {_dated(price)}")
        return said

    reports = tuple(replace(report, errors=(*report.errors, *errors(report))) for report in after.reports)
    return replace(after, reports=reports)


def _dated(price: Price) -> str:
    return f"round {price.round_id} of {price.updated_at}"
