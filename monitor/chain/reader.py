"""Answers batches of queries at one block hash with as few JSON-RPC items as possible.

Each round of jobs is one batch, and so one HTTP request; only what failed is asked again. Every query gets exactly one
answer, in its order. Knows nothing of endpoints: `send` is a pool, or one endpoint of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from typing import Any

from monitor.chain import abi
from monitor.chain.aggregate import CREATED_CODE_BYTES, CREATION_CODE_BYTES, Item
from monitor.chain.defences import ALL, Defences
from monitor.chain.jobs import Aggregate, Asked, Creation, Direct, Harvest, Job, Logs, Sheet, Stored
from monitor.chain.jsonrpc import Reply, Request
from monitor.core.errors import DecodeError
from monitor.core.types import Answer, BlockRef, Call, Created, LogQuery, Query, Unread, Word

Send = Callable[[Sequence[Request]], Awaitable[list[Reply]]]

CALLS_PER_BATCH = 100
MULTICALL_BYTES = 96 * 1024
DYNAMIC_ANSWER_BYTES = 640
"""What an answer of unknown length is taken for when batches are cut; a wrong guess costs a round and no answer."""


async def read(
    send: Send, queries: Sequence[Query], block: BlockRef, *, multicall: bool, defences: Defences = ALL
) -> list[Answer]:
    """One answer per query, all from `block`. May raise: ChainError, when nothing can be known."""
    places: dict[Query, int] = {}
    for query in queries:
        places.setdefault(query, len(places))
    pin: Any = {"blockHash": block.hash, "requireCanonical": True} if defences.hash_pin else hex(block.number)
    sheet = Sheet([None] * len(places), block, pin, split=defences.split, canonical_logs=defences.canonical_logs)
    jobs = cut(places, sheet, None if multicall else aggregator_code())
    while jobs:
        jobs = await _round(send, jobs, sheet)
    answers = [sheet.answers[places[query]] for query in queries]
    if any(answer is None for answer in answers):
        raise AssertionError("a query was left without an answer")
    return answers  # type: ignore[return-value]  # none is None


async def _round(send: Send, jobs: Sequence[Job], sheet: Sheet) -> list[Job]:
    """One HTTP request for all jobs; answers the jobs of the next round."""
    spans: list[slice] = []
    requests: list[Request] = []
    for job in jobs:
        own = job.requests(sheet)
        spans.append(slice(len(requests), len(requests) + len(own)))
        requests.extend(own)
    replies = await send(requests)
    if len(replies) != len(requests):
        raise AssertionError(f"{len(requests)} requests got {len(replies)} replies")
    return [later for job, span in zip(jobs, spans, strict=True) for later in job.settle(replies[span], sheet)]


def cut(places: dict[Query, int], sheet: Sheet, code: bytes | None) -> list[Job]:
    """The jobs of the first round. `code` as in Aggregate."""
    jobs: list[Job] = []
    shared: list[Asked] = []
    for query, place in places.items():
        if isinstance(query, LogQuery):
            first = max(sheet.block.number - query.blocks + 1, 0)
            jobs.append(Logs(Harvest(place, query), first, sheet.block.number))
            continue
        if isinstance(query, Word):
            jobs.append(Stored(place, query))
            continue
        if isinstance(query, Created):
            jobs.append(Creation(place, abi.load(query.file).bytecode, query.data))
            continue
        try:
            function = abi.function(query.function)
            asked = Asked(place, query, Item(bytes.fromhex(query.to[2:]), function.encode(query.args)))
        except DecodeError as wrong:
            sheet.put(place, Unread(wrong.message))
            continue
        if query.sender is not None or not function.view:
            jobs.append(Direct(asked))
        else:
            shared.append(asked)
    return [*(Aggregate(batch, code) for batch in batches(shared, code)), *jobs]


def batches(asked: Sequence[Asked], code: bytes | None) -> list[list[Asked]]:
    """Cut by number, by bytes of the question and by the likely bytes of the answer."""
    question_room = MULTICALL_BYTES if code is None else CREATION_CODE_BYTES - len(code) - 4
    answer_room = 2**62 if code is None else CREATED_CODE_BYTES - 17
    found: list[list[Asked]] = []
    question = answer = 0
    for one in asked:
        asks, gets = len(one.item.data) + (192 if code is None else 23), answer_bytes(one.call) + 4
        full = question + asks > question_room or answer + gets > answer_room
        if not found or full or len(found[-1]) == CALLS_PER_BATCH:
            found.append([])
            question = answer = 0
        found[-1].append(one)
        question, answer = question + asks, answer + gets
    return found


def answer_bytes(call: Call) -> int:
    """How long the answer of a call is: exact for static types, a guess for dynamic ones."""
    return sum(map(_type_bytes, abi.function(call.function).outputs))


@cache
def _type_bytes(kind: str) -> int:
    if kind.endswith("]"):
        inner, _, count = kind[:-1].rpartition("[")
        return int(count) * _type_bytes(inner) if count else DYNAMIC_ANSWER_BYTES
    if kind.startswith("("):
        return sum(map(_type_bytes, abi.split_tuple(kind)))
    return DYNAMIC_ANSWER_BYTES if kind in {"bytes", "string"} else 32


@cache
def aggregator_code() -> bytes:
    """The deployless aggregator's creation code."""
    return bytes.fromhex(abi.load("deployless").bytecode[2:])
