"""The market's globals by one call: the layout of AaveV3Globals.yul's question and answer, and the proof of it.

The lens asks the same getters as `globals.read_globals` and packs what counts; what it does not tell, the plain getters
are asked for. It is believed once it has come to the very globals that the getters come to, at one block; where it has
not, that is said aloud and the getters are asked from then on.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Sequence

from monitor.core.address import parse_address
from monitor.core.errors import CallFailed, DecodeError
from monitor.core.plan import gather
from monitor.core.types import Created, Ok, ReadPlan
from monitor.protocols.aave_v3.globals import Globals, Questions, read_globals
from monitor.protocols.aave_v3.reading import Book
from monitor.protocols.aave_v3.records import ZERO, Facts
from monitor.protocols.aave_v3.versions import TABLE

MOST_BYTES = 24_576
"""EIP-170: what creation code may answer."""
_HEAD = struct.Struct(">B??")
_RESERVE = struct.Struct(">?32s16s16s16s16s5s2s")
_PRICE = struct.Struct(">?32s")
_CATEGORY = struct.Struct(">?HHH20s16s?")
_log = logging.getLogger("levmon.globals")


class Packed:
    """One market's lens, and whether it is believed."""

    def __init__(self, facts: Facts, modes: Sequence[int]) -> None:
        self._asked = asked = Questions(facts, modes)
        self._rules = TABLE[facts.version]
        self._question = Created("aave_v3_globals", self._bytes())
        sizes = {_RESERVE: len(asked.data), _PRICE: len(asked.prices), _CATEGORY: len(asked.modes)}
        self._size = _HEAD.size + sum(one.size * count for one, count in sizes.items())
        self._proven = False
        self._usable = self._size <= MOST_BYTES

    def read(self) -> ReadPlan[Globals]:
        """As read_globals; the getters are asked, too, until the lens is proven. May raise: as read_globals."""
        plans = [self._by_lens()] if self._usable else []
        plans += [] if plans and self._proven else [self._by_getters()]
        found = yield from gather(plans)
        told, plain = found[0], found[-1]
        if isinstance(plain, CallFailed) or plain is None:
            return (yield from read_globals(self._asked))
        if self._usable and not self._proven:
            self._proven = told == plain
            if not self._proven:
                self._refuse("it says other than the market's own getters")
        return plain

    # -- inside --------------------------------------------------------------------------------------------------------

    def _by_getters(self) -> ReadPlan[Globals | None]:
        return (yield from read_globals(self._asked))

    def _by_lens(self) -> ReadPlan[Globals | None]:
        """None where it does not answer; what it could not read, the getters are asked for."""
        book = Book()
        (answer,) = yield (self._question,)
        if not isinstance(answer, Ok):
            if not self._proven:
                self._refuse(answer.reason)
            return None
        try:
            self._note(answer.values[0], book)
        except DecodeError as wrong:
            self._refuse(wrong.message)
            return None
        return (yield from read_globals(self._asked, book))

    def _bytes(self) -> bytes:
        asked, rules = self._asked, self._rules
        facts = asked.facts
        form = 0 if rules.reserve_e_mode else 1 + rules.ltvzero_bitmap + rules.isolated_e_mode
        counts = (len(facts.reserves), len(asked.keys) - len(facts.reserves), len(asked.modes))
        addresses = (facts.pool, facts.oracle, *asked.keys)
        head = bytes([form]) + b"".join(count.to_bytes(2, "big") for count in counts)
        return head + b"".join(bytes.fromhex(one[2:]) for one in addresses) + bytes(asked.modes)

    def _refuse(self, reason: str) -> None:
        self._usable = False
        _log.warning("%s: prices and indexes not by the lens: %s", self._asked.facts.market, reason)

    def _note(self, data: bytes, book: Book) -> None:
        """What the answer tells, as if the getters had. May raise: DecodeError."""
        asked, at = self._asked, _HEAD.size
        if len(data) != self._size:
            raise DecodeError(f"the lens answered {len(data)} bytes where {self._size} bytes belong")
        zero, whole, listed = _HEAD.unpack_from(data)
        if zero or not whole:
            raise DecodeError("gas got short" if not whole else "these are not the lens's bytes")
        answers = book.answers
        if listed:
            answers[asked.listing] = Ok((asked.keys[: len(asked.data)],))
        end = at + _RESERVE.size * len(asked.data)
        for call, (ok, *words) in zip(asked.data, _RESERVE.iter_unpack(data[at:end]), strict=True):
            if ok:
                configuration, *rates, updated_s, number = [int.from_bytes(word, "big") for word in words]
                answers[call] = Ok((((configuration,), *rates, None, updated_s, number),))
        at, end = end, end + _PRICE.size * len(asked.prices)
        for price, (ok, word) in zip(asked.prices, _PRICE.iter_unpack(data[at:end]), strict=True):
            if ok:
                answers[price] = Ok((int.from_bytes(word, "big"),))
        for mode, (ok, *terms, which, without_ltv, isolated) in zip(
            asked.modes, _CATEGORY.iter_unpack(data[end:]), strict=True
        ):
            if ok:
                told = self._category(terms, which, without_ltv, isolated)
                answers.update(zip(asked.categories[mode], told, strict=True))

    def _category(self, terms: list[int], which: bytes, without_ltv: bytes, isolated: bool) -> list[Ok]:
        """The answers to reading.category_calls."""
        if self._rules.reserve_e_mode:
            return [Ok(((*terms, parse_address("0x" + which.hex()) if any(which) else ZERO, ""),))]
        told = [Ok((tuple(terms),)), Ok((int.from_bytes(which, "big"),))]
        told += [Ok((int.from_bytes(without_ltv, "big"),))] if self._rules.ltvzero_bitmap else []
        return told + ([Ok((isolated,))] if self._rules.isolated_e_mode else [])
