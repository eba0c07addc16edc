"""A block's header as a node tells it: strictly read, and its hash recomputed where the header's fields allow.

keccak(RLP(header)) covers every field, so a changed timestamp, base fee or parent cannot hide. Chains whose headers
carry other fields than Ethereum's cannot be checked this way; which ones is written in chains.py, and on a chain that
is not listed there the check starts with the first header that passes it (HeaderCheck).
"""

from __future__ import annotations

from typing import Any

from eth_utils.crypto import keccak

from monitor.chain.quantity import parse_data, parse_hash, parse_quantity, shown
from monitor.core.errors import BadAnswer
from monitor.core.types import BlockRef

# (name, is a quantity); the header's fields in the order of their introduction, each fork adding to the end
_FIELDS = (
    ("parentHash", False),
    ("sha3Uncles", False),
    ("miner", False),
    ("stateRoot", False),
    ("transactionsRoot", False),
    ("receiptsRoot", False),
    ("logsBloom", False),
    ("difficulty", True),
    ("number", True),
    ("gasLimit", True),
    ("gasUsed", True),
    ("timestamp", True),
    ("extraData", False),
    ("mixHash", False),
    ("nonce", False),
)
_LATER_FIELDS = (
    ("baseFeePerGas", True),
    ("withdrawalsRoot", False),
    ("blobGasUsed", True),
    ("excessBlobGas", True),
    ("parentBeaconBlockRoot", False),
    ("requestsHash", False),
)

_BESIDE = frozenset(
    {
        *("hash", "size", "totalDifficulty", "uncles", "transactions", "withdrawals", "author", "sealFields"),
        *("milliTimestamp", "l1BlockNumber", "sendCount", "sendRoot"),
    }
)
"""What nodes tell of a block beside its header."""


def rlp(items: list[bytes]) -> bytes:
    """RLP of a flat list of byte strings."""
    payload = b"".join(_rlp_string(item) for item in items)
    return _rlp_length(len(payload), 0xC0) + payload


def _rlp_string(item: bytes) -> bytes:
    return item if len(item) == 1 and item[0] < 0x80 else _rlp_length(len(item), 0x80) + item


def _rlp_length(length: int, offset: int) -> bytes:
    if length < 56:
        return bytes([offset + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([offset + 55 + len(size)]) + size


def header_hash(block: dict[str, Any]) -> str | None:
    """The hash of the header, or None where a field is missing. May raise: BadAnswer."""
    if any(block.get(name) is None for name, _ in _FIELDS):
        return None
    fields = [*_FIELDS]
    for name, is_number in _LATER_FIELDS:
        if block.get(name) is None:
            break
        fields.append((name, is_number))
    items = []
    for name, is_number in fields:
        if is_number:
            number = parse_quantity(block[name], name)
            items.append(number.to_bytes((number.bit_length() + 7) // 8, "big"))
        else:
            items.append(parse_data(block[name], name))
    return "0x" + keccak(rlp(items)).hex()


def foreign_fields(block: dict[str, Any]) -> set[str]:
    """Fields that a later fork, or another kind of chain, may have put into the header: then it cannot be checked."""
    return block.keys() - _BESIDE - {name for name, _ in (*_FIELDS, *_LATER_FIELDS)}


class HeaderCheck:
    """Whether headers of one chain are checked. `known`: True always, False never, None once one has passed.

    A header with a field that is not known here is let through: a fork that adds one must not stop every watcher. Who
    lies can use that; it proves less than a quorum.
    """

    def __init__(self, known: bool | None) -> None:
        self.known = known

    def check(self, block: dict[str, Any], told: str) -> None:
        """May raise: BadAnswer, when the hash that was told is not the header's."""
        if self.known is False:
            return
        if header_hash(block) == told:
            self.known = True
        elif self.known and not foreign_fields(block):
            raise BadAnswer(f"block {told} does not hash to its own name: its header was changed")


def parse_block(
    value: Any, chain_id: int, check: HeaderCheck | None = None, *, strict_quantity: bool = True
) -> BlockRef:
    """A block as `eth_getBlockBy...` answers it. May raise: BadAnswer."""
    if not isinstance(value, dict):
        raise BadAnswer(f"a block is no object: {shown(value)}")
    told = parse_hash(value.get("hash"), "block hash")
    base_fee = value.get("baseFeePerGas")
    block = BlockRef(
        chain_id=chain_id,
        number=parse_quantity(value.get("number"), "block number", bits=64, strict=strict_quantity),
        hash=told,
        parent_hash=parse_hash(value.get("parentHash"), "parent hash"),
        timestamp=parse_quantity(value.get("timestamp"), "block timestamp", bits=64, strict=strict_quantity),
        base_fee=None if base_fee is None else parse_quantity(base_fee, "base fee", strict=strict_quantity),
    )
    if check is not None:
        check.check(value, told)
    return block
