"""What a node means by its JSON-RPC errors. Pure: a table of codes and words seen in real nodes, and one decision.

The same condition has many texts (geth, Erigon, Nethermind, Besu, reth, anvil, hosted providers). What no rule knows is
OTHER, which is never taken for a revert: a revert is a contract's answer and must be proven by code 3, revert data or
the words that every client uses for it.
"""

from __future__ import annotations

import re
from enum import Enum

from monitor.chain.jsonrpc import Failure


class Kind(Enum):
    """What to do about a failed item."""

    REVERTED = "the contract refused"
    OUT_OF_GAS = "it ran out of gas or broke the machine's rules"
    TOO_LARGE = "the node's limits on range, size or time"
    RATE_LIMITED = "asked too often"
    STATE_MISSING = "the node lacks the block or its state"
    OTHER = "anything else"


_RATE = re.compile(
    r"rate.?limit|too many requests|^limit exceeded|request limit|exceeded.*(capacity|quota|per second|credits)|throttl"
    r"|daily request|request count|compute units",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(
    r"query returned more than|block range|range (is )?too|too many (blocks|results|logs)|response size|too large"
    r"|max.?results|more than \d+ (results|logs|blocks)|limited to|exceeds? (the )?(max|limit|range)|initcode size"
    r"|code size|timeout|timed out|time limit|execution aborted",
    re.IGNORECASE,
)
_STATE = re.compile(
    r"missing trie node|header not found|header for hash not found|unknown block|block not found|resource not found"
    r"|cannot query unfinalized|(state|block|data|history).*(not available|unavailable|pruned|not found|missing)"
    r"|pruned|archive|outofrange|out of range|not.*canonical|no state|block is not.*available|block.*does not exist"
    r"|after last accepted",
    re.IGNORECASE,
)
_GAS = re.compile(
    r"out ?of ?gas|gas required exceeds|intrinsic gas|oog|gas too low|not enough gas|gas limit|invalid.{0,4}opcode"
    r"|invalid instruction|bad instruction|invalid jump|stack (under|over)flow|max call depth|EVM error"
    r"|contract creation code storage",
    re.IGNORECASE,
)
_REVERT = re.compile(r"revert", re.IGNORECASE)


def kind(failure: Failure) -> Kind:
    """The kind of a failed item. Order matters: the surest signs come first."""
    text = failure.message
    if failure.code == 3 or (_REVERT.search(text) and failure.code in {-32000, -32015, -32603, -32003, -32016}):
        return Kind.REVERTED
    if failure.code in {429, -32005, -32029, -32007} or _RATE.search(text):
        # -32005 is also how some providers refuse a wide range of logs
        return Kind.TOO_LARGE if _TOO_LARGE.search(text) and not _RATE.search(text) else Kind.RATE_LIMITED
    if _GAS.search(text):
        return Kind.OUT_OF_GAS
    if failure.code == -32001 or _STATE.search(text):
        return Kind.STATE_MISSING
    if _TOO_LARGE.search(text):
        return Kind.TOO_LARGE
    return Kind.OTHER
