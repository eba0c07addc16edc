"""Which code contracts run at a block, proxies seen through: one short text that changes when any of it does.

The hash is the EVM's own (EXTCODEHASH), asked of many contracts at once by creation code that is called and never
deployed, so that no code travels. A proxy's implementation is where ERC-1967 keeps it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from monitor.chain.jsonrpc import Failure, Reply, Request
from monitor.chain.quantity import parse_data
from monitor.chain.rpc_chain import RpcChain
from monitor.core.errors import BadAnswer, RpcError
from monitor.core.types import Address, BlockRef

IMPLEMENTATION_SLOT = "0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc"
"""keccak256("eip1967.proxy.implementation") - 1"""
CODE_HASHES = bytes.fromhex("602b380380602b60203960200160205b8181101560225780513f8152602001600f565b50601f9003601ff3")
"""For each word behind it, the code hash of that address: a zero byte (created code may not begin with 0xEF), then

the words. Written by hand: copy the words to memory, walk over them with EXTCODEHASH, return.
"""


async def fetch_code(chain: RpcChain, contracts: Sequence[Address], block: BlockRef) -> str:
    """sha256 over the contracts' code hashes, implementations and their code hashes. May raise: ChainError."""
    pin = {"blockHash": block.hash}
    asked = [
        Request("eth_call", ({"data": _question(contracts)}, pin), group=1),
        *(Request("eth_getStorageAt", (one, IMPLEMENTATION_SLOT, pin), group=1) for one in contracts),
    ]
    hashes, *slots = await chain.pool.send(asked, need=block.number)
    behind = ["0x" + _bytes(slot).hex()[-40:] for slot in slots]
    (more,) = await chain.pool.send([Request("eth_call", ({"data": _question(behind)}, pin))], need=block.number)
    told = zip(contracts, _words(hashes, len(contracts)), behind, _words(more, len(behind)), strict=True)
    return hashlib.sha256("\n".join(" ".join(row) for row in told).encode()).hexdigest()


def _question(contracts: Sequence[Address]) -> str:
    return "0x" + CODE_HASHES.hex() + "".join(one[2:].lower().rjust(64, "0") for one in contracts)


def _bytes(reply: Reply) -> bytes:
    if isinstance(reply, Failure):
        raise RpcError(f"code hashes: {reply.message[:200]}", code=reply.code, data=reply.data)
    return parse_data(reply.value, "code hashes")


def _words(reply: Reply, count: int) -> list[str]:
    data = _bytes(reply)
    if len(data) != 1 + 32 * count:
        raise BadAnswer(f"{len(data)} bytes came where the code hashes of {count} contracts were asked for")
    return [data[at : at + 32].hex() for at in range(1, len(data), 32)]
