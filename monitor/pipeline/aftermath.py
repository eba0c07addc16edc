"""What came between a decision and its transaction: others acted on the position first, and the outcome must say so.

Found when the transaction is seen in a block, from the market's events; told with the blocks, in the same commit. A
rescue that somebody overtook is no failure of its plan, and is not tried again for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from monitor.chain.port import run
from monitor.chain.rpc_chain import RpcChain
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import BlockRef
from monitor.execution.executor import Overtaken
from monitor.journal.rows import Draft, Inclusion
from monitor.pipeline.memory import Memory
from monitor.pipeline.positions import market_of
from monitor.protocols.base import Happening

EASING = frozenset({"repaid", "supplied"})


@dataclass(frozen=True, slots=True)
class Aftermath:
    """Asked once for each inclusion; `told` keeps what was found, by the hash of the transaction."""

    chain: RpcChain
    memory: Memory
    told: dict[str, Overtaken] = field(default_factory=dict)

    async def __call__(self, draft: Draft, mined: Inclusion) -> Overtaken | None:
        """May raise: ChainError."""
        if draft.intent.kind.startswith("erc20/"):
            return None  # an allowance concerns no position
        block = await self.chain.block(mined.block_number)
        happened = await fetch_happenings(self.chain, self.memory, draft, block)
        found = overtaken(happened, draft.block.number, mined)
        if found is not None:
            self.told[mined.hash] = found
        return found


async def fetch_happenings(chain: RpcChain, memory: Memory, draft: Draft, until: BlockRef) -> list[Happening]:
    """What others did to the draft's position after its block, up to that one. May raise: ChainError."""
    ref, owner = market_of(draft.intent.position_id)
    protocol = protocol_named(ref.protocol)
    known, blocks = memory.recall(ref, protocol), until.number - draft.block.number
    if known is None or blocks < 1:
        return []
    return await run(chain, protocol.happenings(known.facts, owner, draft.signer, blocks), until)


def overtaken(found: Sequence[Happening], decided: int, mined: Inclusion) -> Overtaken | None:
    """Who was faster; None where nobody was, or where that did no harm."""
    liquidated = [one for one in found if one.kind == "liquidated"]
    eased = [one for one in found if one.kind in EASING]
    outcome = "landed" if mined.ok else "reverted"
    ours = f"decided at block {decided}, our transaction {outcome} in block {mined.block_number}"
    if liquidated:
        return Overtaken(f"liquidated before it landed: {told(liquidated)}; {ours}", critical=True)
    if eased and not mined.ok:
        return Overtaken(f"no longer needed: {told(eased)}; {ours}", critical=False)
    return None


def told(found: Sequence[Happening]) -> str:
    """Happenings for people."""
    return "; ".join(f"{one.text} in block {one.block_number}" for one in found)
