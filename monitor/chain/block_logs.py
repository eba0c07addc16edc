"""The logs of single blocks by hash: read strictly, each once, in their order, and never believed to be none unproven.

Nodes that lag answer `[]` for a block whose logs they do not have. An empty answer is therefore held against the bloom
filter of the block's header, whose hash is checked; where the bloom leaves it open, all logs of the block are asked for
and must make up that very bloom.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from eth_utils.crypto import keccak

from monitor.chain.defences import ALL, Defences
from monitor.chain.endpoint import Endpoint
from monitor.chain.jsonrpc import Failure, Reply, Request, Result
from monitor.chain.quantity import parse_data, parse_hash, parse_quantity
from monitor.chain.replies import Kind, kind
from monitor.chain.rpc_chain import RpcChain
from monitor.core.errors import BadAnswer, Reorged, RpcError, StateMissing
from monitor.core.types import Answer, BlockRef, Query
from monitor.protocols.events import RawLog, Watch

BLOOM_BYTES = 256


class LogFeed:
    """The watched logs of one market's blocks."""

    def __init__(self, chain: RpcChain, watch: Watch, defences: Defences = ALL) -> None:
        self._chain, self._watch, self._defences = chain, watch, defences

    async def fetch(
        self, blocks: Sequence[BlockRef], queries: Sequence[Query], target: BlockRef
    ) -> tuple[list[list[RawLog]], list[Answer]]:
        """Each block's logs, and the queries' answers at `target`, in one HTTP request. May raise: ChainError.

        A block without any costs one more for its header, and another for all of its logs where the bloom is open.
        """
        requests = [watched_request(self._watch, block) for block in blocks]
        replies, answers = await self._chain.ask_beside(requests, queries, target)
        logs = [parse_logs(reply, block, self._defences) for reply, block in zip(replies, blocks, strict=True)]
        silent = [n for n, found in enumerate(logs) if not found]
        if silent and self._defences.log_bloom:
            headers = await self._chain.pool.send(
                [Request("eth_getBlockByHash", (blocks[n].hash, False)) for n in silent], need=target.number
            )
            for n, reply in zip(silent, headers, strict=True):
                logs[n] = await self._proven(blocks[n], reply)
        return logs, answers

    async def _proven(self, block: BlockRef, header: Reply) -> list[RawLog]:
        """The watched logs of a block that was said to have none. May raise: BadAnswer."""
        self._chain.check_header(header, block)
        bloom = parse_bloom(header.value if isinstance(header, Result) else None, block)
        if not may_hold(bloom, self._watch):
            return []

        async def work(endpoint: Endpoint) -> list[RawLog]:
            _, (reply,) = await endpoint.ask([all_request(block)], self._chain.chain_id)
            logs = parse_logs(reply, block, self._defences)
            if bloom_of(logs) != bloom:
                raise BadAnswer(f"{endpoint.alias}: these are not all logs of block {block.number}")
            return only(self._watch, logs)

        answered, trouble = await self._chain.pool.each(self._chain.pool.usable(), work, 1)
        if not answered:
            raise trouble[0]
        return answered[0][1]


def watched_request(watch: Watch, block: BlockRef) -> Request:
    """The block's logs that are watched."""
    topics = ["0x" + topic.hex() for topic in watch.topics]
    return Request("eth_getLogs", ({"blockHash": block.hash, "address": list(watch.addresses), "topics": [topics]},))


def all_request(block: BlockRef) -> Request:
    """All of the block's logs."""
    return Request("eth_getLogs", ({"blockHash": block.hash},))


def parse_logs(reply: Reply, block: BlockRef, defences: Defences = ALL) -> list[RawLog]:
    """A block's logs, each once, in their order. May raise: StateMissing, Reorged, BadAnswer, RpcError."""
    if isinstance(reply, Failure):
        if kind(reply) is Kind.STATE_MISSING:
            raise StateMissing(f"no endpoint has the logs of block {block.number}: {reply.message[:120]}")
        raise RpcError(f"logs of block {block.number}: {reply.message[:200]}", code=reply.code, data=reply.data)
    if not isinstance(reply.value, list):
        raise BadAnswer("logs are no list")
    logs = [_parse(entry, block, defences) for entry in reply.value]
    if not defences.log_identity:
        return logs
    found: dict[int, RawLog] = {}
    for log in logs:
        if found.setdefault(log.index, log) != log:
            raise BadAnswer(f"block {block.number} has two logs of index {log.index}")
    return [found[index] for index in sorted(found)]


def _parse(entry: Any, block: BlockRef, defences: Defences) -> RawLog:
    if not isinstance(entry, dict) or not isinstance(entry.get("topics"), list):
        raise BadAnswer("a log is malformed")
    if defences.log_identity:
        if entry.get("removed") is True:
            raise Reorged(f"the node has removed a log of block {block.number}")
        if entry.get("blockHash") != block.hash and parse_hash(entry.get("blockHash"), "block hash") != block.hash:
            raise BadAnswer(f"a log of another block answers a question about block {block.number}")
    return RawLog(
        parse_quantity(entry.get("logIndex"), "log index", bits=64),
        _known(entry.get("address"), 20),
        tuple([_known(topic, 32) for topic in entry["topics"]]),
        parse_data(entry.get("data"), "log data"),
    )


def _known(value: Any, length: int) -> bytes:
    return _parsed(value, length) if isinstance(value, str) else parse_data(value, "log", length=length)


@lru_cache(maxsize=16384)
def _parsed(value: str, length: int) -> bytes:
    """Remembered: contracts, events and busy accounts come back in every block."""
    return parse_data(value, "address or topic of a log", length=length)


# -- bloom filters: a log sets three bits for its address and three for each topic ------------------------------------


def bloom_of(logs: Iterable[RawLog]) -> int:
    """The filter that these logs make."""
    bits = 0
    for item in {item for log in logs for item in (log.address, *log.topics)}:
        bits |= bloom_bits(item)
    return bits


@lru_cache(maxsize=65536)
def bloom_bits(item: bytes) -> int:
    """An address's or topic's three bits of 2048."""
    digest = keccak(item)
    bits = 0
    for at in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[at : at + 2], "big") & 2047)
    return bits


def may_hold(bloom: int, watch: Watch) -> bool:
    """Whether the filter leaves room for a watched log."""
    addresses = (bytes.fromhex(address[2:]) for address in watch.addresses)
    return any(_has(bloom, topic) for topic in watch.topics) and any(_has(bloom, address) for address in addresses)


def _has(bloom: int, item: bytes) -> bool:
    bits = bloom_bits(item)
    return bloom & bits == bits


def parse_bloom(header: Any, block: BlockRef) -> int:
    """The filter in a block's header. May raise: BadAnswer."""
    if not isinstance(header, dict) or parse_hash(header.get("hash"), "block hash") != block.hash:
        raise BadAnswer(f"block {block.number} was asked for and another came")
    return int.from_bytes(parse_data(header.get("logsBloom"), "bloom filter", length=BLOOM_BYTES), "big")


def only(watch: Watch, logs: Iterable[RawLog]) -> list[RawLog]:
    """The watched ones."""
    addresses = {bytes.fromhex(address[2:]) for address in watch.addresses}
    topics = set(watch.topics)
    return [log for log in logs if log.address in addresses and log.topics and log.topics[0] in topics]
