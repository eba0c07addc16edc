"""The rungs that ask for single words: first every account's flags and mode, then the balances that they call for.

Three ways to fetch a word: Multicall3 with questions and answers as numpy matrices of fixed layout, one JSON-RPC item
for each, and eth_getStorageValues where a real account has shown which word it is.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from monitor.chain.aggregate import AGGREGATE3, MULTICALL3, read_aggregate3
from monitor.chain.bulk.rung import Rung
from monitor.chain.bulk.wire import RungFailed, Wire, judge
from monitor.chain.jsonrpc import Failure, Request
from monitor.chain.quantity import parse_data
from monitor.chain.replies import Kind, kind
from monitor.core.errors import BadAnswer
from monitor.protocols.columns import I64, U8, U16, U64, Mask
from monitor.protocols.survey import Getter, Part

ITEMS_PER_BATCH = 100
"""As many as the strictest nodes take in one JSON-RPC batch."""


@dataclass(slots=True)
class Words:
    """(m, 32) answers, big-endian; where `bad`, there is none."""

    values: U8
    bad: Mask


class WordRung(Rung):
    """Rounds of words; a getter that fails spoils its account and no other."""

    @abstractmethod
    async def fetch(self, wire: Wire, getters: list[Getter], which: I64, owners: U8) -> Words:
        """The answer of `getters[which[i]]` about `owners[i]`, for each i.

        May raise: TooMuch, RungFailed, ChainError.
        """

    async def read(self, wire: Wire, owners: U8) -> Part:
        survey, count, width = self.survey, len(owners), self.survey.width
        if survey.flags is None or survey.mode is None:
            none = Part(np.zeros((count, width), np.uint64), np.zeros(count, np.uint8), *_no_entries())
            await self._add(wire, owners, none, *survey.called_for(none.flags))
            return none
        first = await self.fetch(
            wire, [survey.flags, survey.mode], np.repeat(np.arange(2), count), np.concatenate([owners, owners])
        )
        flags: U64 = np.ascontiguousarray(first.values[:count, 32 - 8 * width :]).view(">u8")[:, ::-1].astype(np.uint64)
        part = Part(flags, first.values[count:, 31].copy(), *_no_entries(), survey.strangers(flags))
        beyond = np.any(first.values[:count, : 32 - 8 * width], axis=1)
        _fail(part, np.arange(count), beyond, "its configuration has bits of no reserve that is known")
        _fail(part, np.arange(count), np.any(first.values[count:, :31], axis=1), "its e-mode is none")
        _fail(part, np.arange(count), first.bad[:count], "its configuration could not be read")
        _fail(part, np.arange(count), first.bad[count:], "its e-mode could not be read")
        row, kinds = survey.called_for(flags)
        also = np.array([survey.beside.get(number, 0) for number in range(64 * width)], np.uint16)[kinds]
        row, kinds = np.concatenate([row, row[also > 0]]), np.concatenate([kinds, also[also > 0]])
        await self._add(wire, owners, part, row, kinds)
        deeper = (
            [
                (at, inner)
                for at, outer, low, high in zip(
                    part.row.tolist(), part.kind.tolist(), part.low.tolist(), part.high.tolist(), strict=True
                )
                if outer in survey.within and low | high
                for inner in survey.within[outer]
            ]
            if survey.within
            else []
        )
        if deeper:
            pairs = np.array(deeper, np.int64)
            await self._add(wire, owners, part, pairs[:, 0], pairs[:, 1].astype(np.uint16))
        return part

    async def _add(self, wire: Wire, owners: U8, part: Part, row: I64, kinds: U16) -> None:
        if not len(row):
            return
        numbers = sorted(self.survey.balances)
        places = np.zeros(max(numbers) + 1, np.int64)
        places[numbers] = np.arange(len(numbers))
        getters = [self.survey.balances[number] for number in numbers]
        words = await self.fetch(wire, getters, places[kinds], owners[row])
        _fail(part, row, words.bad | words.values[:, :16].any(axis=1), "a balance could not be read")
        halves = np.ascontiguousarray(words.values[:, 16:]).view(">u8").astype(np.uint64)
        part.row, part.kind = np.concatenate([part.row, row]), np.concatenate([part.kind, kinds])
        part.high = np.concatenate([part.high, halves[:, 0]])
        part.low = np.concatenate([part.low, halves[:, 1]])


def _no_entries() -> tuple[I64, U16, U64, U64]:
    return np.zeros(0, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.uint64), np.zeros(0, np.uint64)


def _fail(part: Part, row: I64, where: Mask, why: str) -> None:
    for at in row[where].tolist():
        part.failed.setdefault(at, why)


class Multicall(WordRung):
    """One aggregate3 call a round. The matrices are the ABI's own layout of calls with one word in and one word out."""

    name = "Multicall3"
    most = 1_000

    async def prepare(self, wire: Wire, owners: U8) -> None:
        (reply,) = await wire.ask([Request("eth_getCode", (MULTICALL3, wire.pin))])
        if isinstance(reply, Failure):
            raise judge(reply)
        if not parse_data(reply.value, "code of Multicall3"):
            raise RungFailed("Multicall3 is not on this chain")

    async def fetch(self, wire: Wire, getters: list[Getter], which: I64, owners: U8) -> Words:
        words = await self._aggregate(wire, getters, which, owners)
        if words.bad.any():
            # a bare revert and running out of the shared gas look alike: those that failed are asked by themselves
            again = np.flatnonzero(words.bad)
            second = await self._aggregate(wire, getters, which[again], owners[again])
            values = words.values.copy()
            values[again], words.bad[again] = second.values, second.bad
            words.values = values
        return words

    async def _aggregate(self, wire: Wire, getters: list[Getter], which: I64, owners: U8) -> Words:
        answer = await wire.call(aggregate3_question(getters, which, owners), MULTICALL3)
        return aggregate3_words(answer, getters, which)


def aggregate3_question(getters: list[Getter], which: I64, owners: U8) -> bytes:
    """aggregate3 of getters with calls of one length, each allowed to fail, as monitor.chain.aggregate writes it."""
    count = len(which)
    (size,) = {len(getter.head) + 32 for getter in getters}
    length = 128 + 32 * -(-size // 32)
    targets = np.array([list(bytes.fromhex(getter.contract[2:])) for getter in getters], np.uint8)
    heads = np.array([list(getter.head) for getter in getters], np.uint8)
    body = np.zeros((count, length), np.uint8)  # target, may fail, 96, size, and the call in whole words
    body[:, 12:32] = targets[which]
    body[:, 63], body[:, 95], body[:, 127] = 1, 96, size
    body[:, 128 : 96 + size] = heads[which]
    body[:, 108 + size : 128 + size] = owners
    offsets = np.zeros((count, 4), ">u8")
    offsets[:, 3] = 32 * count + length * np.arange(count)
    head = (32).to_bytes(32, "big") + count.to_bytes(32, "big")
    return AGGREGATE3 + head + offsets.tobytes() + body.tobytes()


def aggregate3_words(answer: bytes, getters: list[Getter], which: I64) -> Words:
    """The words of an answer, by stride where every call succeeded with one word. May raise: RungFailed."""
    count = len(which)
    if all(getter.words == 1 for getter in getters) and len(answer) == 64 + 160 * count:
        offsets = np.frombuffer(answer, ">u8", 4 * count, 64).reshape(count, 4)
        bodies = np.frombuffer(answer, np.uint8, 128 * count, 64 + 32 * count).reshape(count, 128)
        expected = np.zeros(96, np.uint8)
        expected[31], expected[63], expected[95] = 1, 64, 32
        if (
            not offsets[:, :3].any()
            and (offsets[:, 3] == 32 * count + 128 * np.arange(count)).all()
            and (bodies[:, :96] == expected).all()
        ):
            return Words(bodies[:, 96:], np.zeros(count, np.bool_))
    try:
        parts = read_aggregate3(answer, count).parts
    except BadAnswer as wrong:
        raise RungFailed(wrong.message) from None
    return _words([data if ok else None for ok, data in parts], getters, which)


def _words(answers: list[bytes | None], getters: list[Getter], which: I64) -> Words:
    """The word that each getter means; None, or an answer that is not as long as its, is bad."""
    asked = [getters[number] for number in which.tolist()]
    words = [
        answer[32 * getter.place : 32 * getter.place + 32]
        if answer is not None and len(answer) == 32 * getter.words
        else None
        for answer, getter in zip(answers, asked, strict=True)
    ]
    bad = np.array([word is None for word in words], np.bool_)
    good = b"".join(word if word is not None else bytes(32) for word in words)
    return Words(np.frombuffer(good, np.uint8).reshape(len(answers), 32), bad)


class Batch(WordRung):
    """The last rung, and what the others are compared with: a JSON-RPC item for every word."""

    name = "JSON-RPC batch"
    most = 50

    async def prepare(self, wire: Wire, owners: U8) -> None:
        """Nothing: these are the calls that all else is compared with."""

    async def fetch(self, wire: Wire, getters: list[Getter], which: I64, owners: U8) -> Words:
        requests = [
            Request(
                "eth_call",
                ({"to": getters[number].contract, "data": f"0x{getters[number].head.hex()}{word}"}, wire.pin),
            )
            for number, word in zip(
                which.tolist(), (owner.tobytes().hex().rjust(64, "0") for owner in owners), strict=True
            )
        ]
        answers: list[bytes | None] = []
        for at in range(0, len(requests), ITEMS_PER_BATCH):
            for reply in await wire.ask(requests[at : at + ITEMS_PER_BATCH]):
                if not isinstance(reply, Failure):
                    answers.append(parse_data(reply.value, "answer of eth_call"))
                elif kind(reply) is Kind.REVERTED:
                    answers.append(None)
                else:
                    raise judge(reply)
        return _words(answers, getters, which)
