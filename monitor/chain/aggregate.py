"""Many view calls in one eth_call: the byte layouts of Multicall3's aggregate3 and of our deployless aggregator. Pure.

The layouts are fixed, so they are written and read by offset instead of with an ABI codec for every call. Reading is
strict: bytes that are not exactly the layout are BadAnswer, never fewer or other answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.core.errors import BadAnswer

MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
AGGREGATE3 = bytes.fromhex("82ad56cb")
"""aggregate3((address,bool,bytes)[])"""
CREATED_CODE_BYTES = 24_576
"""EIP-170: the most that a created contract, and so our answer, may have."""
CREATION_CODE_BYTES = 49_152
"""EIP-3860: the most that creation code, and so our question, may have."""


@dataclass(frozen=True, slots=True)
class Item:
    """One call of a batch: the callee's 20 bytes and the call data."""

    to: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """(succeeded, return or revert data) of the first items; `starved` when gas ran out in the last of them."""

    parts: tuple[tuple[bool, bytes], ...]
    starved: bool = False


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big")


# -- Multicall3 ------------------------------------------------------------------------------------------------------


def aggregate3_calldata(items: Sequence[Item]) -> bytes:
    """aggregate3 with allowFailure for every item."""
    offsets, bodies = [], []
    at = 32 * len(items)
    for item in items:
        padded = item.data + bytes(-len(item.data) % 32)
        body = bytes(12) + item.to + _word(1) + _word(96) + _word(len(item.data)) + padded
        offsets.append(_word(at))
        bodies.append(body)
        at += len(body)
    return AGGREGATE3 + _word(32) + _word(len(items)) + b"".join(offsets) + b"".join(bodies)


def read_aggregate3(data: bytes, count: int) -> Outcome:
    """The (bool,bytes)[] that aggregate3 returns, in the one layout that it writes. May raise: BadAnswer."""

    def number(at: int) -> int:
        if at + 32 > len(data):
            raise BadAnswer(f"the answer of aggregate3 ends after {len(data)} bytes")
        return int.from_bytes(data[at : at + 32], "big")

    if number(0) != 32 or number(32) != count:
        raise BadAnswer(f"aggregate3 did not answer {count} calls")
    parts = []
    expected = 32 * count
    for n in range(count):
        if number(64 + 32 * n) != expected:
            raise BadAnswer("the answer of aggregate3 is laid out in another way")
        at = 64 + expected
        succeeded, offset, size = number(at), number(at + 32), number(at + 64)
        end = at + 96 + size
        if succeeded > 1 or offset != 64 or end > len(data):
            raise BadAnswer("the answer of aggregate3 is laid out in another way")
        padding = -size % 32
        if any(data[end : end + padding]):
            raise BadAnswer("the answer of aggregate3 has something where nothing belongs")
        parts.append((succeeded == 1, data[at + 96 : end]))
        expected += 96 + size + padding
    if len(data) != 64 + expected:
        raise BadAnswer(f"the answer of aggregate3 has {len(data) - 64 - expected} bytes too many")
    return Outcome(tuple(parts))


# -- deployless ------------------------------------------------------------------------------------------------------


def deployless_code(code: bytes, items: Sequence[Item], room: int = CREATED_CODE_BYTES) -> bytes:
    """Creation code that answers the items; the layout is told in contracts/Deployless.yul."""
    calls = b"".join(item.to + len(item.data).to_bytes(3, "big") + item.data for item in items)
    return code + room.to_bytes(4, "big") + calls


def read_deployless(data: bytes, count: int) -> Outcome:
    """A prefix of the answers. `starved` when less than an eighth of the gas was left. May raise: BadAnswer."""
    if len(data) < 17 or data[0] != 0:
        raise BadAnswer(f"the aggregator answered {len(data)} bytes that are not its own")
    started, left = int.from_bytes(data[1:9], "big"), int.from_bytes(data[-8:], "big")
    parts = []
    at, end = 9, len(data) - 8
    while at < end:
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        if at + 4 + size > end or data[at] > 1:
            raise BadAnswer("the aggregator's answer does not end where it should")
        parts.append((data[at] == 1, data[at + 4 : at + 4 + size]))
        at += 4 + size
    if len(parts) > count:
        raise BadAnswer(f"the aggregator answered {len(parts)} of {count} calls")
    return Outcome(tuple(parts), starved=left * 8 < started)
