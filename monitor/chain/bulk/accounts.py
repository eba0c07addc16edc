"""A mirror's accounts: read through the ladder of bulk reading, and found in the market's logs after a gap."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monitor.chain.bulk.reader import BulkReader
from monitor.chain.discover import Discovery, Naming
from monitor.chain.mirror import Reading
from monitor.chain.rpc_chain import RpcChain
from monitor.core.types import BlockRef


class BulkAccounts:
    """What a mirror asks for, in bulk. `folder` keeps how far a search for newcomers has come, so that it goes on."""

    def __init__(self, chain: RpcChain, reader: BulkReader, naming: Naming, folder: Path) -> None:
        self._chain, self._reader, self._naming, self._folder = chain, reader, naming, folder

    async def read(self, owners: Sequence[bytes], block: BlockRef) -> Reading:
        """May raise: ChainError."""
        asked = np.frombuffer(b"".join(owners), np.uint8).reshape(-1, 20)
        swept = await self._reader.read(asked, block)
        return Reading(swept.columns, {bytes.fromhex(owner[2:]): reason for owner, reason in swept.unread})

    async def newcomers(self, first: int, block: BlockRef) -> Sequence[bytes]:
        """May raise: ChainError; what was found by then is kept."""
        file = self._folder / f"newcomers-{first}.json"
        found = await Discovery(self._chain, self._naming, file).run(first, block)
        file.unlink(missing_ok=True)
        return [bytes.fromhex(owner[2:]) for owner in found]
