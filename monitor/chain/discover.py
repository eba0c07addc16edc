"""Who has ever borrowed in a market: accounts named by its logs, from its first block to a settled one.

Ranges grow while the provider answers and shrink to what it says or by half when it refuses. A range's answer is held
against the bloom filters of some of its headers: where the filter leaves room for a log and none came, all logs of that
block must make up its filter, and what they hold must have come. The cursor is a file that is replaced whole; it names
the hash of the last block that it covers, so that it is not believed after a reorganisation.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from monitor.chain.block_logs import all_request, bloom_of, may_hold, only, parse_bloom, parse_logs
from monitor.chain.clock import SYSTEM, Clock
from monitor.chain.jsonrpc import Failure, Reply, Request, Result, parse
from monitor.chain.quantity import parse_data, parse_hash, parse_quantity
from monitor.chain.replies import Kind, kind
from monitor.chain.rpc_chain import RpcChain
from monitor.chain.transport import AnswerTooLarge, NoAnswer, QuestionTooLarge
from monitor.core.errors import BadAnswer, RateLimited, Reorged, RpcError, StateMissing
from monitor.core.types import BlockRef
from monitor.protocols.events import Watch

SCHEMA = "levmon.discover/1"
FIRST_RANGE = 2_000
LARGEST_RANGE = 1_000_000
CHECKED_HEADERS = 32
"""Of each range, spread over it; all of a shorter one."""
SAVED_EACH_S = 5.0
WAITS = 6
_SPAN = re.compile(r"\[?(0x[0-9a-f]+),\s*(0x[0-9a-f]+)\]?", re.IGNORECASE)
_CAP = re.compile(r"(\d[\d,]*)\s*(k?)[ -]*(?:block)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Naming:
    """Logs of one contract that name an account in a topic, e.g. whoever a loan was taken for."""

    contract: str
    event: bytes
    place: int
    """Which topic; 0 is the event itself."""
    inside: bytes = b""
    """the first topic, where one contract logs for many markets"""

    @property
    def watch(self) -> Watch:
        return Watch((self.contract,), (self.event,))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is; `left_s` is None before anything can be said."""

    done: int
    total: int
    accounts: int
    blocks_per_s: float
    left_s: float | None


class Found(NamedTuple):
    """A log that names an account."""

    block: int
    place: int
    """the log's own index in it"""
    account: str
    block_hash: str


class TooWide(Exception):
    """The provider refuses the range; `most` blocks are what it would take, where it says so."""

    def __init__(self, most: int | None) -> None:
        super().__init__(most)
        self.most = most


@dataclass(slots=True)
class Cursor:
    """Accounts by first appearance in blocks `first` to `next - 1`; `hash` is that of the last of these."""

    first: int
    next: int
    hash: str
    accounts: dict[str, None]


class Discovery:
    """One market's logs. Safe to stop at any moment: a later one goes on from the file."""

    def __init__(
        self,
        chain: RpcChain,
        naming: Naming,
        file: Path,
        *,
        clock: Clock = SYSTEM,
        progress: Callable[[Progress], None] = lambda _: None,
        checked: int = CHECKED_HEADERS,
    ) -> None:
        self._chain, self._naming, self._file = chain, naming, file
        self._clock, self._progress, self._checked = clock, progress, checked
        self._size, self._most = FIRST_RANGE, LARGEST_RANGE

    async def run(self, first: int, last: BlockRef) -> list[str]:
        """Every account named in blocks `first` to `last`, in lower case. `last` should be final.

        May raise: ChainError; what was found by then is kept.
        """
        cursor = await self._resumed(first, last)
        began, saved, start = self._clock.monotonic(), self._clock.monotonic(), cursor.next
        try:
            while cursor.next <= last.number:
                found, end, cursor.hash = await self._range(cursor.next, last.number)
                cursor.accounts |= dict.fromkeys(found)
                cursor.next = end + 1
                now = self._clock.monotonic()
                if now - saved >= SAVED_EACH_S:
                    self._save(cursor)
                    saved = now
                rate = (cursor.next - start) / max(now - began, 1e-6)
                left = (last.number + 1 - cursor.next) / rate
                total = last.number - first + 1
                self._progress(Progress(cursor.next - first, total, len(cursor.accounts), rate, left))
            if cursor.hash != last.hash:
                raise Reorged(f"block {last.number} is no longer {last.hash}")
        finally:
            self._save(cursor)
        return list(cursor.accounts)

    async def _range(self, first: int, goal: int) -> tuple[list[str], int, str]:
        """The accounts named from `first` to as far as the endpoint goes at once, that block and its hash."""
        while True:
            last = min(first + self._size - 1, goal)
            try:
                found, closing = await self._patiently(first, last)
            except TooWide as refused:
                if first == last:
                    raise RpcError(
                        f"the logs of block {first} alone are more than the endpoint gives", code=0
                    ) from None
                asked = last - first + 1
                self._most = max(1, min(asked - 1, refused.most or asked - 1))
                self._size = min(self._most, refused.most or max(1, asked // 2))
                continue
            if last - first + 1 >= self._size:
                self._size = max(1, min(2 * self._size, self._most))
            return found, last, closing

    async def _patiently(self, first: int, last: int) -> tuple[list[str], str]:
        for _ in range(WAITS):
            try:
                return await self._ask(first, last)
            except RateLimited as limited:
                await self._clock.sleep(limited.retry_after_s)
        return await self._ask(first, last)

    async def _ask(self, first: int, last: int) -> tuple[list[str], str]:
        """May raise: TooWide, ChainError."""
        numbers = sorted({last, *_spread(first, last, self._checked)})
        topics = ["0x" + topic.hex() for topic in (self._naming.event, self._naming.inside) if topic]
        span = {"address": self._naming.contract, "topics": topics}
        group = 1  # headers and logs of one endpoint
        requests = [Request("eth_getLogs", (span | {"fromBlock": hex(first), "toBlock": hex(last)},), group)]
        requests += [Request("eth_getBlockByNumber", (hex(number), False), group) for number in numbers]
        try:
            reply, *headers = await self._chain.pool.send(requests, need=last)
        except (NoAnswer, AnswerTooLarge, QuestionTooLarge):
            raise TooWide(None) from None
        if isinstance(reply, Failure):
            raise _judge(reply, first)
        logs = _named(reply, self._naming, first, last)
        closing = ""
        for number, header in zip(numbers, headers, strict=True):
            closing = await self._checked_header(number, header, logs)
        return [log.account for log in logs], closing

    async def _checked_header(self, number: int, reply: Reply, logs: list[Found]) -> str:
        """The block's hash. May raise: BadAnswer, when logs of it did not come, or came without being in it."""
        if isinstance(reply, Failure) or not isinstance(reply.value, dict):
            raise StateMissing(f"the node does not have block {number}")
        if parse_quantity(reply.value.get("number"), "block number", bits=64) != number:
            raise BadAnswer(f"block {number} was asked for and another came")
        block = BlockRef(self._chain.chain_id, number, parse_hash(reply.value.get("hash"), "block hash"), "", 0)
        bloom = parse_bloom(reply.value, block)
        came = [log for log in logs if log.block == number]
        if any(log.block_hash != block.hash for log in came):
            raise Reorged(f"a log belongs to another block {number}")
        if not may_hold(bloom, self._naming.watch):
            if came:
                raise BadAnswer(f"a log of block {number} is not in the block's bloom filter")
        elif not came:
            (whole,) = await self._chain.pool.send([all_request(block)], need=number)
            all_logs = parse_logs(whole, block)
            if bloom_of(all_logs) != bloom:
                raise BadAnswer(f"the logs of block {number} do not make up its bloom filter: some are missing")
            left_out = only(self._naming.watch, all_logs)
            if any(log.topics[1:2] == (self._naming.inside,) or not self._naming.inside for log in left_out):
                raise BadAnswer(f"block {number} has logs that were left out of its range")
        return block.hash

    async def _resumed(self, first: int, last: BlockRef) -> Cursor:
        """The cursor in the file where it is of these logs and of this branch; else a new one."""
        fresh = Cursor(first, first, "", {})
        try:
            content = parse(self._file.read_bytes())
            told = [content[name] for name in ("schema", "chain_id", "contract", "event", "place")]
            told.append(content.get("inside", ""))  # of older files
            cursor = Cursor(content["first"], content["next"], content["hash"], dict.fromkeys(content["accounts"]))
        except (OSError, BadAnswer, KeyError, TypeError):
            return fresh
        naming = self._naming
        which = (naming.contract.lower(), naming.event.hex(), naming.place, naming.inside.hex())
        mine = [SCHEMA, self._chain.chain_id, *which]
        if told != mine or cursor.first != first or not first < cursor.next <= last.number + 1:
            return fresh
        block = await self._chain.block(cursor.next - 1)
        return cursor if block.hash == cursor.hash else fresh

    def _save(self, cursor: Cursor) -> None:
        """All of the file or none of it. May raise: OSError."""
        if cursor.next == cursor.first:
            return
        naming = self._naming
        content = {
            "schema": SCHEMA,
            "chain_id": self._chain.chain_id,
            "contract": naming.contract.lower(),
            "event": naming.event.hex(),
            "place": naming.place,
            "inside": naming.inside.hex(),
            "first": cursor.first,
            "next": cursor.next,
            "hash": cursor.hash,
            "accounts": list(cursor.accounts),
        }
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=self._file.parent, suffix=".new", delete=False) as file:
            try:
                json.dump(content, file)
                file.flush()
                Path(file.name).replace(self._file)
            except BaseException:
                with suppress(OSError):
                    Path(file.name).unlink()
                raise


def _spread(first: int, last: int, count: int) -> Iterable[int]:
    if last - first < count:
        return range(first, last + 1)
    return (first + (last - first) * n // max(count - 1, 1) for n in range(count))


def _judge(failure: Failure, first: int) -> Exception:
    match kind(failure):
        case Kind.TOO_LARGE:
            return TooWide(_told_cap(failure.message, first))
        case Kind.RATE_LIMITED:
            return RateLimited(failure.message[:120], retry_after_s=1.0)
        case Kind.STATE_MISSING:
            return StateMissing(f"no endpoint has the logs: {failure.message[:120]}")
        case _:
            return RpcError(f"logs: {failure.message[:200]}", code=failure.code, data=failure.data)


def _told_cap(text: str, first: int) -> int | None:
    """How many blocks from `first` a refusal would allow: a range in brackets, or a number of blocks."""
    if (span := _SPAN.search(text)) and int(span[1], 16) == first <= int(span[2], 16):
        return int(span[2], 16) - first + 1
    if cap := _CAP.search(text):
        number = int(cap[1].replace(",", "")) * (1_000 if cap[2] else 1)
        return number or None
    return None


def _named(reply: Result, naming: Naming, first: int, last: int) -> list[Found]:
    """Each log once, in their order. May raise: BadAnswer."""
    if not isinstance(reply.value, list):
        raise BadAnswer("logs are no list")
    found = set()
    for entry in reply.value:
        if not isinstance(entry, dict) or not isinstance(entry.get("topics"), list) or entry.get("removed") is True:
            raise BadAnswer("a log is malformed or removed")
        number = parse_quantity(entry.get("blockNumber"), "log block", bits=64)
        topics = [parse_data(topic, "log topic", length=32) for topic in entry["topics"]]
        address = "0x" + parse_data(entry.get("address"), "log address", length=20).hex()
        wanted = [naming.event, *([naming.inside] if naming.inside else [])]
        if address != naming.contract.lower() or topics[: len(wanted)] != wanted or not first <= number <= last:
            raise BadAnswer("a log came that was not asked for")
        if len(topics) <= naming.place or any(topics[naming.place][:12]):
            raise BadAnswer("a log names no account where it should")
        index = parse_quantity(entry.get("logIndex"), "log index", bits=64)
        account = "0x" + topics[naming.place][12:].hex()
        found.add(Found(number, index, account, parse_hash(entry.get("blockHash"), "log block hash")))
    return sorted(found)
