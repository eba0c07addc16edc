"""A mirror's accounts through the ladder of bulk reading."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from monitor.chain.bulk.reader import BulkReader
from monitor.chain.mirror import Reading
from monitor.core.types import BlockRef

Newcomers = Callable[[int, BlockRef], Awaitable[Sequence[bytes]]]
"""Who has borrowed from that block number up to the block."""


class BulkAccounts:
    """What a mirror asks for, in bulk."""

    def __init__(self, reader: BulkReader, newcomers: Newcomers) -> None:
        self._reader, self._newcomers = reader, newcomers

    async def read(self, owners: Sequence[bytes], block: BlockRef) -> Reading:
        """May raise: ChainError."""
        asked = np.frombuffer(b"".join(owners), np.uint8).reshape(-1, 20)
        swept = await self._reader.read(asked, block)
        return Reading(swept.columns, {bytes.fromhex(owner[2:]): reason for owner, reason in swept.unread})

    async def newcomers(self, first: int, block: BlockRef) -> Sequence[bytes]:
        """May raise: ChainError."""
        return await self._newcomers(first, block)
