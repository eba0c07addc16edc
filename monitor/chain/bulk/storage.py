"""The rung that asks for storage words by eth_getStorageValues, which costs a node least of all.

Where a getter's number is kept is learnt from accounts that have one: the only candidate slot whose words are their
numbers. Getters that nobody in the sample has a number of are asked as getters; so is a balance whose highest byte is
not zero, because some versions keep another thing in there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from monitor.chain.bulk.keccak import entry_keys
from monitor.chain.bulk.lens import CreatedLens, of_lens
from monitor.chain.bulk.places import CANDIDATES, Place
from monitor.chain.bulk.wire import RungFailed, Wire, judge
from monitor.chain.bulk.words import Batch, WordRung, Words
from monitor.chain.jsonrpc import Failure, Request
from monitor.chain.quantity import parse_data
from monitor.core.errors import BadAnswer
from monitor.protocols.columns import I64, U8
from monitor.protocols.survey import Getter, Part, Survey

SLOTS_A_REQUEST = 1_024
SAMPLE = 300
WITNESSES = 3
"""Accounts that must agree on where a getter's number is kept."""
FORMS = {256: ((0, 256),), 128: ((0, 128), (0, 120), (128, 128)), 40: ((0, 40),), 8: ((0, 8),)}
"""(shift, bits) in which a getter's number may lie in its word."""


class StorageValues(WordRung):
    """See above."""

    name = "eth_getStorageValues"
    by_lens = True
    most = 1_000

    def __init__(self, survey: Survey) -> None:
        super().__init__(survey)
        self._places: dict[Getter, Place] = {}
        self._plain = Batch(survey)

    async def prepare(self, wire: Wire, owners: U8) -> None:
        flags, mode = of_lens(self.survey)
        sample = owners[np.unique(np.linspace(0, len(owners) - 1, SAMPLE).astype(np.int64))]
        part = await CreatedLens(self.survey).read(wire, sample)
        for getter, witnesses in _witnesses(self.survey, part).items():
            if (place := await self._found(wire, getter, sample, witnesses)) is not None:
                self._places[getter] = place
        for getter, what in ((flags, "flags"), (mode, "mode")):
            if getter not in self._places:
                raise RungFailed(f"no account of a sample shows where the {what} of accounts are kept")

    async def _found(
        self, wire: Wire, getter: Getter, sample: U8, witnesses: Sequence[tuple[int, int]]
    ) -> Place | None:
        """The only place that tells every witness's number."""
        rows = np.array([row for row, _ in witnesses], np.int64)
        for slots in CANDIDATES:
            asked = np.tile(np.array(slots, np.int64), len(rows))
            keys = entry_keys(np.repeat(sample[rows], len(slots), axis=0), asked)
            raw = await _stored(wire, [getter.contract] * len(keys), keys)
            words = [int.from_bytes(word, "big") for word in raw]
            for shift, bits in FORMS[getter.bits]:
                fits = [
                    slot
                    for place, slot in enumerate(slots)
                    if all(
                        Place(slot, shift, bits).of(words[n * len(slots) + place]) == value
                        for n, (_, value) in enumerate(witnesses)
                    )
                ]
                if len(fits) == 1:
                    return Place(fits[0], shift, bits)
        return None

    async def fetch(self, wire: Wire, getters: list[Getter], which: I64, owners: U8) -> Words:
        known = np.array([getter in self._places for getter in getters])[which]
        values, bad = np.zeros((len(which), 32), np.uint8), np.zeros(len(which), np.bool_)
        at = np.flatnonzero(known)
        slots = np.array([self._places[g].slot if g in self._places else 0 for g in getters], np.int64)[which[at]]
        contracts = [getters[number].contract for number in which[at].tolist()]
        stored = await _stored(wire, contracts, entry_keys(owners[at], slots))
        doubtful = np.zeros(len(which), np.bool_)
        for number, getter in enumerate(getters):
            mine = which[at] == number
            if (place := self._places.get(getter)) is None or not mine.any():
                continue
            size, end = place.bits // 8, 32 - place.shift // 8
            values[at[mine], 32 - size :] = stored[mine, end - size : end]
            if (place.shift, place.bits) == (0, 128):
                doubtful[at[mine]] = stored[mine, 16] != 0
        rest = np.flatnonzero(~known | doubtful)
        if len(rest):
            plain = await self._plain.fetch(wire, getters, which[rest], owners[rest])
            values[rest], bad[rest] = plain.values, plain.bad
        return Words(values, bad)


def _witnesses(survey: Survey, part: Part) -> dict[Getter, list[tuple[int, int]]]:
    """By getter, a few (row, number) where the number is not zero."""
    found: dict[Getter, list[tuple[int, int]]] = {}

    def add(getter: Getter, row: int, value: int) -> None:
        its = found.setdefault(getter, [])
        if value and len(its) < WITNESSES and row not in part.failed:
            its.append((row, value))

    its_flags, its_mode = of_lens(survey)
    for row, (words, mode) in enumerate(zip(part.flags.tolist(), part.mode.tolist(), strict=True)):
        add(its_flags, row, sum(word << 64 * place for place, word in enumerate(words)))
        add(its_mode, row, mode)
    entries = zip(part.row.tolist(), part.kind.tolist(), part.low.tolist(), part.high.tolist(), strict=True)
    for row, kind, low, high in entries:
        add(survey.balances[kind], row, high << 64 | low)
    return {getter: its for getter, its in found.items() if its}


async def _stored(wire: Wire, contracts: Sequence[str], keys: U8) -> U8:
    """(m, 32): the words, in the order in which they were asked for. May raise: TooMuch, RungFailed, ChainError."""
    texts = ["0x" + key.tobytes().hex() for key in keys]
    found: list[bytes] = []
    for first in range(0, len(texts), SLOTS_A_REQUEST):
        span = range(first, min(first + SLOTS_A_REQUEST, len(texts)))
        asked: dict[str, list[str]] = {}
        for n in span:
            asked.setdefault(contracts[n].lower(), []).append(texts[n])
        (reply,) = await wire.ask([Request("eth_getStorageValues", (asked, wire.pin))])
        if isinstance(reply, Failure):
            raise judge(reply)
        told = _by_contract(reply.value, {contract: len(its) for contract, its in asked.items()})
        found += [next(told[contracts[n].lower()]) for n in span]
    return np.frombuffer(b"".join(found), np.uint8).reshape(-1, 32)


def _by_contract(value: object, sizes: Mapping[str, int]) -> dict[str, Iterator[bytes]]:
    """Each contract's words in order. May raise: BadAnswer."""
    if not isinstance(value, dict):
        raise BadAnswer("storage values are no object")
    found = {str(name).lower(): words for name, words in value.items()}
    if {name: len(words) if isinstance(words, list) else -1 for name, words in found.items()} != sizes:
        raise BadAnswer("other storage values came than were asked for")
    return {
        name: iter([parse_data(word, "storage value", length=32) for word in words]) for name, words in found.items()
    }
