"""Who is to be read in a market: every borrower that its logs name, those of settled blocks from a durable cursor."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from monitor.chain import abi, cache
from monitor.chain.discover import Discovery, Naming, Progress
from monitor.chain.rpc_chain import RpcChain
from monitor.core.errors import ChainError
from monitor.core.types import BlockRef, MarketRef
from monitor.protocols.columns import U8
from monitor.protocols.whole import Whole


async def fetch_borrowers(
    chain: RpcChain,
    ref: MarketRef,
    whole: Whole,
    block: BlockRef,
    *,
    progress: Callable[[Progress], None] = lambda _: None,
    home: Path | None = None,
) -> U8:
    """(n, 20): all who have borrowed up to `block`, each once. May raise: ChainError.

    What is final is asked for once and kept; only the blocks after it are asked for each time.
    """
    folder = (home or cache.cache_home()) / "borrowers"
    name = f"{ref.chain_id}-{ref.protocol}-{hashlib.sha256(str(ref).encode()).hexdigest()[:16]}"
    naming = naming_of(whole)
    found: dict[str, None] = {}
    settled = await _settled(chain, block)
    discovery = Discovery(chain, naming, folder / f"{name}.json", progress=progress)
    found |= dict.fromkeys(await discovery.run(0, settled))
    if settled.number < block.number:
        newest = Discovery(chain, naming, folder / f"{name}.newest.json", progress=progress)
        found |= dict.fromkeys(await newest.run(settled.number + 1, block))
    return np.frombuffer(b"".join(bytes.fromhex(owner[2:]) for owner in found), np.uint8).reshape(-1, 20)


def naming_of(whole: Whole) -> Naming:
    """The logs that name the market's borrowers."""
    contract, event, place = whole.borrowed
    return Naming(contract, abi.event(event).topic, place, whole.inside)


async def _settled(chain: RpcChain, block: BlockRef) -> BlockRef:
    """The newest final block; the block itself where the chain tells of none."""
    try:
        return await chain.block("finalized")
    except ChainError:
        return block
