"""What a decision rests on besides numbers: the market's code, and the parameters that governance may change.

Both are written into the decision and looked at once more before a signature. Where they differ, the plan was made for
another market and is made anew; code that nobody has confirmed the rules of is not acted upon at all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from monitor.chain.code import fetch_code
from monitor.chain.rpc_chain import RpcChain
from monitor.core.errors import ChainError
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import BlockRef, MarketRef, Position
from monitor.pipeline.snapshot import Snapshot
from monitor.protocols.base import Protocol
from monitor.report import Report


@dataclass(frozen=True, slots=True)
class Basis:
    """Two hashes, each of which stands for many values."""

    code: str
    parameters: str

    def differs(self, other: Basis) -> str:
        """What is not as in the other one, in words; empty if nothing."""
        changed = [name for name in ("code", "parameters") if getattr(self, name) != getattr(other, name)]
        return " and ".join(changed)

    def to_dict(self) -> dict[str, str]:
        return {"code": self.code, "parameters": self.parameters}


async def fetch_basis(chain: RpcChain, ref: MarketRef, facts: Any, position: Position, block: BlockRef) -> Basis:
    """At that block. May raise: ChainError."""
    protocol: Protocol[Any, Any] = protocol_named(ref.protocol)
    code = await fetch_market_code(chain, ref, facts, block)
    text = repr(protocol.parameters(position))
    return Basis(code, hashlib.sha256(text.encode()).hexdigest())


async def fetch_decided_on(chain: RpcChain, seen: Snapshot, report: Report, block: BlockRef) -> Basis:
    """What a decision about the report's position rests on. May raise: ChainError."""
    state = seen.markets.get(report.subject.ref)
    if state is None or state.known is None or report.position is None:
        raise ChainError("the market's code could not be read")
    return await fetch_basis(chain, report.subject.ref, state.known.facts, report.position, block)


async def fetch_market_code(chain: RpcChain, ref: MarketRef, facts: Any, block: BlockRef) -> str:
    """The code of all contracts that decide what an intent does in this market. May raise: ChainError."""
    protocol: Protocol[Any, Any] = protocol_named(ref.protocol)
    return await fetch_code(chain, protocol.contracts(facts), block)
