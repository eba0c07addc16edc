"""A chain whose answers most endpoints give, where several answer in time: for what must not rest on one node's word.

Without a configured quorum any endpoint's answer is believed, since reads are pinned to a block hash. Two that differ
about the same block show that one is wrong: then neither is believed, unless most of the others agree with it. An
endpoint that is silent or fails has no vote, so that one that is down stops nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from monitor.chain.port import BlockAt
from monitor.chain.rpc_chain import RpcChain
from monitor.core.types import Answer, BlockRef, Query


class Majority:
    """A Chain, on the endpoints of another one, which closes them."""

    def __init__(self, chain: RpcChain) -> None:
        self._chain = chain

    @property
    def chain_id(self) -> int:
        """See RpcChain."""
        return self._chain.chain_id

    async def block(self, at: BlockAt = "latest") -> BlockRef:
        """See RpcChain."""
        return await self._chain.block(at)

    async def ask(self, queries: Sequence[Query], block: BlockRef) -> list[Answer]:
        """See Chain; what most do not agree about is Unread. May raise: ChainError."""
        return await self._chain.ask_most(queries, block)

    async def close(self) -> None:
        """Nothing is its own."""
