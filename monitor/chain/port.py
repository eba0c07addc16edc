"""The reader's port: what the rest of levmon needs of a chain. Two adapters: RpcChain (JSON-RPC) and EthTesterChain.

Every answer of one `ask` comes from the state of exactly one block hash; there are as many answers as queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from monitor.core.plan import advance
from monitor.core.types import Answer, BlockRef, Query, ReadPlan

T = TypeVar("T")

BlockAt = str | int
"""`latest`, `safe`, `finalized`, a number, a negative number (that many before latest), or a 32-byte hash."""


class Chain(Protocol):
    """One chain, read-only."""

    @property
    def chain_id(self) -> int:
        """The chain id, checked against the node before the first answer."""
        ...

    async def block(self, at: BlockAt = "latest") -> BlockRef:
        """The block. May raise: ChainError."""
        ...

    async def ask(self, queries: Sequence[Query], block: BlockRef) -> list[Answer]:
        """One answer per query, in order, all at `block.hash`. May raise: ChainError (then nothing is known)."""
        ...

    async def close(self) -> None:
        """Release connections. Idempotent."""
        ...


async def run(chain: Chain, plan: ReadPlan[T], block: BlockRef) -> T:
    """Run a read plan to its end at one block. May raise: ChainError, CallFailed and what the plan raises."""
    try:
        batch = next(plan)
        while True:
            batch = advance(plan, batch, await chain.ask(batch, block) if batch else ())
    except StopIteration as done:
        result: T = done.value
        return result
