"""What a decision rests on besides numbers: the market's code, and the parameters that governance may change.

Both are written into the decision and looked at once more before a signature. Where they differ, the plan was made for
another market and is made anew; code that nobody has confirmed the rules of is not acted upon at all. The journal keeps
the code that a market was met with, so that one which changed while nobody looked is not taken for the known one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from monitor.chain.code import fetch_code
from monitor.chain.rpc_chain import RpcChain
from monitor.core.errors import ChainError
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import BlockRef, MarketRef, Position
from monitor.journal.codes import Codes, Met
from monitor.journal.rows import Draft, Hold, Refused
from monitor.journal.store import Journal
from monitor.pipeline.positions import market_of
from monitor.pipeline.snapshot import Snapshot
from monitor.protocols.base import Protocol
from monitor.report import Report

OTHER_CODE = "the market's code is not that with which its rules were confirmed"
"""How the reason of a hold begins that a person lifts by agreeing to the code (levmon resume)."""


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


def trusted_code(journal: Journal, ref: MarketRef, code: str, at_s: int) -> str:
    """Of the code of a market that this process has not met before, and the one in the journal, the one to trust.

    A market that is new to the journal is trusted as it is. May raise: JournalError.
    """
    codes = Codes(journal)
    met = codes.met(str(ref))
    trusted = code if met is None else met.trusted
    codes.keep(str(ref), Met(trusted, "" if code == trusted else code), at_s)
    return trusted


def confirmed_code(journal: Journal, ref: MarketRef, code: str, at_s: int) -> str:
    """The code with which a market's rules were confirmed anew while this process looked. May raise: JournalError."""
    Codes(journal).keep(str(ref), Met(code), at_s)
    return code


def require_trusted(journal: Journal, draft: Draft) -> None:
    """Before a decision is opened: does it rest on the code that the journal trusts? One without a basis is let pass.

    May raise: JournalError; Refused, and then its position is held until a person agrees to just that code.
    """
    found = json.loads(draft.decision).get("basis")
    if found is None:
        return
    position_id, at_s = draft.intent.position_id, draft.block.timestamp
    if trusted_code(journal, market_of(position_id)[0], found["code"], at_s) != found["code"]:
        raise held_for_code(journal, position_id, at_s)


def held_for_code(journal: Journal, position_id: str, at_s: int) -> Refused:
    """Hold the position, for another code than the trusted one; what to raise. May raise: JournalError."""
    journal.hold(Hold(f"position:{position_id}", OTHER_CODE), at_s)
    return Refused(f"{OTHER_CODE}: nothing is done until somebody agrees to it (levmon resume)")


def refused_code(journal: Journal, ref: MarketRef, code: str, trusted: str, at_s: int) -> None:
    """Another code than the trusted one was met: a person is to agree to just this one. May raise: JournalError."""
    Codes(journal).keep(str(ref), Met(trusted, code), at_s)


def lift(journal: Journal, hold: Hold, at_s: int) -> None:
    """A person has looked into it: release the hold, and agree to the code where that was why. May raise: JournalError.

    A change after the one that was looked at is held anew.
    """
    if hold.reason.startswith(OTHER_CODE):
        Codes(journal).agree(str(market_of(hold.scope.removeprefix("position:"))[0]), at_s)
    journal.release(hold.scope, at_s)
