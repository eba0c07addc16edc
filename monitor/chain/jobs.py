"""The pieces of work into which the reader cuts a batch of queries, and how each piece is taken apart when it fails.

A job knows which answers it owes (by place), which JSON-RPC items it sends, and what follows from their replies: every
place is either answered or handed to exactly one later job. Jobs do no I/O; the reader sends them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from monitor.chain import abi
from monitor.chain.aggregate import (
    MULTICALL3,
    Item,
    Outcome,
    aggregate3_calldata,
    deployless_code,
    read_aggregate3,
    read_deployless,
)
from monitor.chain.jsonrpc import Failure, Reply, Request, Result
from monitor.chain.quantity import parse_data, parse_hash, parse_quantity
from monitor.chain.replies import Kind, kind
from monitor.core.errors import BadAnswer, DecodeError, Reorged, StateMissing
from monitor.core.types import Answer, BlockRef, Call, Log, LogQuery, Ok, Reverted, Unread, Word

MAX_LOG_SPLITS = 2


@dataclass(slots=True)
class Sheet:
    """The answers of one ask, by place, and what its jobs need to know."""

    answers: list[Answer | None]
    block: BlockRef
    pin: Any
    """the block parameter of eth_call"""
    split: bool = True
    canonical_logs: bool = True

    def put(self, place: int, answer: Answer) -> None:
        """Every place is answered once."""
        if self.answers[place] is not None:
            raise AssertionError(f"place {place} is answered twice")
        self.answers[place] = answer


class Job(ABC):
    """Some places, their JSON-RPC items, and what follows."""

    @abstractmethod
    def requests(self, sheet: Sheet) -> list[Request]: ...

    @abstractmethod
    def settle(self, replies: Sequence[Reply], sheet: Sheet) -> Iterable[Job]:
        """Answer places or return the jobs that will. May raise: StateMissing, Reorged, BadAnswer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A call with its place and its bytes."""

    place: int
    call: Call
    item: Item

    def answer(self, succeeded: bool, data: bytes) -> Answer:
        if not succeeded:
            return Reverted(data, abi.revert_reason(data, self.call.function))
        try:
            return Ok(abi.function(self.call.function).decode(data))
        except DecodeError as wrong:
            return Unread("no data: there is no such contract or function" if not data else wrong.message)


def missing(failure: Failure) -> StateMissing:
    return StateMissing(f"no endpoint has the state of the pinned block: {failure.message[:120]}")


class Direct(Job):
    """One call by itself, as an ordinary eth_call: what has a sender, may write, or could not be aggregated."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked

    def requests(self, sheet: Sheet) -> list[Request]:
        call = {"to": self.asked.call.to, "data": "0x" + self.asked.item.data.hex()}
        if self.asked.call.sender is not None:
            call["from"] = self.asked.call.sender
        return [Request("eth_call", (call, sheet.pin))]

    def settle(self, replies: Sequence[Reply], sheet: Sheet) -> Iterable[Job]:
        (reply,) = replies
        if isinstance(reply, Result):
            sheet.put(self.asked.place, self.asked.answer(True, parse_data(reply.value, "answer of eth_call")))
        elif (what := kind(reply)) is Kind.STATE_MISSING:
            raise missing(reply)
        elif what is Kind.REVERTED:
            data = bytes.fromhex(reply.data[2:])
            sheet.put(self.asked.place, self.asked.answer(False, data))
        else:
            sheet.put(self.asked.place, Unread(f"{what.value}: {reply.message[:120]}"))
        return ()


class Alone(Job):
    """One question of its own, answered with one value."""

    def __init__(self, place: int) -> None:
        self.place = place

    @abstractmethod
    def value(self, given: Any) -> Any:
        """May raise: BadAnswer."""

    def settle(self, replies: Sequence[Reply], sheet: Sheet) -> Iterable[Job]:
        (reply,) = replies
        if isinstance(reply, Result):
            sheet.put(self.place, Ok((self.value(reply.value),)))
        elif (what := kind(reply)) is Kind.STATE_MISSING:
            raise missing(reply)
        else:
            sheet.put(self.place, Unread(f"{what.value}: {reply.message[:120]}"))
        return ()


class Stored(Alone):
    """One word of storage, as an ordinary eth_getStorageAt."""

    def __init__(self, place: int, word: Word) -> None:
        super().__init__(place)
        self.word = word

    def requests(self, sheet: Sheet) -> list[Request]:
        return [Request("eth_getStorageAt", (self.word.address, f"{self.word.slot:#066x}", sheet.pin))]

    def value(self, given: Any) -> int:
        return int.from_bytes(parse_data(given, "answer of eth_getStorageAt", length=32))


class Creation(Alone):
    """Creation code of ours with a question of its own."""

    def __init__(self, place: int, code: str, data: bytes) -> None:
        super().__init__(place)
        self.code = code + data.hex()

    def requests(self, sheet: Sheet) -> list[Request]:
        return [Request("eth_call", ({"data": self.code}, sheet.pin))]

    def value(self, given: Any) -> bytes:
        return parse_data(given, "answer of creation code")


class Aggregate(Job):
    """Many calls as one eth_call. Splits itself where it is too much, down to single calls."""

    def __init__(self, asked: Sequence[Asked], code: bytes | None) -> None:
        """`code`: the deployless aggregator's; None: through Multicall3."""
        self.asked = tuple(asked)
        self.code = code

    def requests(self, sheet: Sheet) -> list[Request]:
        items = [asked.item for asked in self.asked]
        if self.code is None:
            call = {"to": MULTICALL3, "data": "0x" + aggregate3_calldata(items).hex()}
        else:
            call = {"data": "0x" + deployless_code(self.code, items).hex()}
        return [Request("eth_call", (call, sheet.pin))]

    def settle(self, replies: Sequence[Reply], sheet: Sheet) -> Iterable[Job]:
        (reply,) = replies
        if isinstance(reply, Failure):
            return self._failed(reply, sheet)
        data = parse_data(reply.value, "answer of an aggregate")
        try:
            if self.code is None:
                return self._from_multicall(read_aggregate3(data, len(self.asked)), sheet)
            return self._from_deployless(read_deployless(data, len(self.asked)), sheet)
        except BadAnswer:
            # not the aggregator's bytes: no Multicall3 at this block, or a machine that cannot run ours
            return [Direct(asked) for asked in self.asked]

    def _failed(self, failure: Failure, sheet: Sheet) -> Iterable[Job]:
        what = kind(failure)
        if what is Kind.STATE_MISSING:
            raise missing(failure)
        if what is Kind.RATE_LIMITED or not sheet.split:
            for asked in self.asked:
                sheet.put(asked.place, Unread(f"{what.value}: {failure.message[:120]}"))
            return ()
        if what in {Kind.OUT_OF_GAS, Kind.TOO_LARGE} and len(self.asked) > 1:
            half = len(self.asked) // 2
            return [Aggregate(self.asked[:half], self.code), Aggregate(self.asked[half:], self.code)]
        return [Direct(asked) for asked in self.asked]

    def _from_multicall(self, outcome: Outcome, sheet: Sheet) -> Iterable[Job]:
        later = []
        for asked, (succeeded, data) in zip(self.asked, outcome.parts, strict=True):
            if succeeded or data or not sheet.split:
                sheet.put(asked.place, asked.answer(succeeded, data))
            else:
                # a bare revert and running out of the shared gas look alike here
                later.append(Direct(asked))
        return later

    def _from_deployless(self, outcome: Outcome, sheet: Sheet) -> Iterable[Job]:
        done = list(zip(self.asked, outcome.parts, strict=False))
        rest = self.asked[len(done) :]
        if not sheet.split:
            for asked in rest:
                sheet.put(asked.place, asked.answer(False, b""))
            rest = ()
        later: list[Job] = []
        if outcome.starved and done and sheet.split:
            # gas got short within the last call that was tried: it gets a batch of its own
            last, (succeeded, data) = done.pop()
            if len(self.asked) > 1:
                later.append(Aggregate([last], self.code))
            elif succeeded:
                sheet.put(last.place, last.answer(True, data))
            else:
                sheet.put(last.place, Unread("it ran out of gas, or broke a rule that costs all gas"))
        for asked, (succeeded, data) in done:
            sheet.put(asked.place, asked.answer(succeeded, data))
        if rest:
            # a single answer that has no room is asked without the aggregator
            later.append(Direct(rest[0]) if len(rest) == len(self.asked) else Aggregate(rest, self.code))
            if len(rest) == len(self.asked) and len(rest) > 1:
                later.append(Aggregate(rest[1:], self.code))
        return later


@dataclass(slots=True)
class Harvest:
    """What the parts of one log query bring in, and how many of them are still out."""

    place: int
    query: LogQuery
    logs: list[Log] = field(default_factory=list)
    out: int = 1
    failure: str = ""

    def part_done(self, sheet: Sheet) -> None:
        """Answer once the last part is in; a part that could not be read spoils the whole."""
        self.out -= 1
        if self.out == 0:
            self.logs.sort(key=lambda log: (log.block_number, log.log_index))
            sheet.put(self.place, Unread(self.failure) if self.failure else Ok(tuple(self.logs)))


class Logs(Job):
    """One log query over a range of blocks, fenced by two looks at the pinned block's number."""

    def __init__(self, harvest: Harvest, first: int, last: int, depth: int = 0) -> None:
        self.harvest, self.first, self.last, self.depth = harvest, first, last, depth
        self.query = harvest.query

    def requests(self, sheet: Sheet) -> list[Request]:
        topic = "0x" + abi.event(self.query.event).topic.hex()
        span = {"address": self.query.address, "topics": [topic]}
        if self.first == self.last == sheet.block.number and sheet.canonical_logs:
            return [Request("eth_getLogs", (span | {"blockHash": sheet.block.hash},))]
        logs = Request("eth_getLogs", (span | {"fromBlock": hex(self.first), "toBlock": hex(self.last)},), id(self))
        if not sheet.canonical_logs:
            return [logs]
        fence = Request("eth_getBlockByNumber", (hex(sheet.block.number), False), id(self))
        return [fence, logs, fence]

    def settle(self, replies: Sequence[Reply], sheet: Sheet) -> Iterable[Job]:
        if len(replies) == 3:
            _check_fence(replies[0], sheet)
            _check_fence(replies[2], sheet)
        reply = replies[len(replies) // 2]
        if isinstance(reply, Result):
            self.harvest.logs.extend(self._read(reply.value, sheet))
            self.harvest.part_done(sheet)
            return ()
        what = kind(reply)
        if what is Kind.STATE_MISSING:
            raise missing(reply)
        if what is Kind.TOO_LARGE and self.first < self.last and self.depth < MAX_LOG_SPLITS and sheet.split:
            return self._split()
        self.harvest.failure = f"{what.value}: {reply.message[:120]}"
        self.harvest.part_done(sheet)
        return ()

    def _split(self) -> list[Job]:
        """Eight parts that go out together."""
        step = -(-(self.last - self.first + 1) // 8)
        starts = range(self.first, self.last + 1, step)
        self.harvest.out += len(starts) - 1
        return [Logs(self.harvest, start, min(start + step - 1, self.last), self.depth + 1) for start in starts]

    def _read(self, value: Any, sheet: Sheet) -> list[Log]:
        if not isinstance(value, list):
            raise BadAnswer("logs are no list")
        # a log that comes twice is one log
        logs = list(
            {(log.block_number, log.log_index): log for log in (_parse_log(e, self.query) for e in value)}.values()
        )
        for log in logs:
            if not self.first <= log.block_number <= self.last:
                raise BadAnswer(f"a log of block {log.block_number} is outside the range that was asked")
            if log.block_number == sheet.block.number and log.block_hash != sheet.block.hash:
                raise Reorged("a log belongs to another block of the pinned number")
        return logs


def _check_fence(reply: Reply, sheet: Sheet) -> None:
    if isinstance(reply, Failure):
        raise missing(reply)
    if reply.value is None:
        raise StateMissing("the node does not have the pinned block")
    if not isinstance(reply.value, dict) or parse_hash(reply.value.get("hash"), "block hash") != sheet.block.hash:
        raise Reorged(f"block {sheet.block.number} is no longer {sheet.block.hash}")


def _parse_log(entry: Any, query: LogQuery) -> Log:
    if not isinstance(entry, dict) or not isinstance(entry.get("topics"), list) or entry.get("removed") is True:
        raise BadAnswer("a log is malformed or removed")
    address = abi.checksum(parse_data(entry.get("address"), "log address", length=20))
    if address != query.address:
        raise BadAnswer(f"a log of {address} answers a question about {query.address}")
    try:
        return abi.decode_log(
            query.event,
            address,
            [parse_data(topic, "log topic", length=32) for topic in entry["topics"]],
            parse_data(entry.get("data"), "log data"),
            parse_quantity(entry.get("blockNumber"), "log block", bits=64),
            parse_hash(entry.get("blockHash"), "log block hash"),
            parse_quantity(entry.get("logIndex"), "log index", bits=64),
        )
    except DecodeError as wrong:
        raise BadAnswer(f"a log does not fit its event: {wrong.message}") from None
