"""The vat's notes, and what is in the vat after them: every urn and every ilk, from its logs alone.

The vat (dss 1.0.x) logs each call anonymously with FOUR topics: the selector, left-aligned, and the first three
arguments, without the caller. The other contracts' notes have the caller second; one layout for both would shift the
arguments. The data hold the calldata, where all arguments are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from monitor.core.errors import ProtocolError
from monitor.core.units import RAY

WORD = 32
HEAD = 2 * WORD
SELECTOR = 4
ARGUMENTS = 6
INIT, FILE = bytes.fromhex("3b663195"), bytes.fromhex("1a0b287e")
FROB, GRAB, FORK = bytes.fromhex("76088703"), bytes.fromhex("7bab3f40"), bytes.fromhex("870c616d")
FOLD = bytes.fromhex("b65337df")


@dataclass(frozen=True, slots=True)
class Note:
    """One call of the vat's: its selector and the first six words of its arguments."""

    selector: bytes
    words: tuple[bytes, ...]

    def number(self, place: int) -> int:
        return int.from_bytes(self.words[place], "big")

    def signed(self, place: int) -> int:
        return int.from_bytes(self.words[place], "big", signed=True)

    def address(self, place: int) -> str:
        """In lower case."""
        return "0x" + self.words[place][12:].hex()


def read_note(topics: Sequence[bytes], data: bytes) -> Note:
    """One of the vat's own logs. May raise: ProtocolError where it is laid out in another way."""
    if len(topics) != 4 or len(data) != HEAD + 7 * WORD or any(topics[0][SELECTOR:]):
        raise ProtocolError("a log of the vat's that is no note")
    calldata = data[HEAD:]
    words = tuple(calldata[SELECTOR + WORD * k : SELECTOR + WORD * (k + 1)] for k in range(ARGUMENTS))
    if calldata[:SELECTOR] != topics[0][:SELECTOR] or words[:3] != tuple(topics[1:]):
        raise ProtocolError("a note whose topics are not its arguments")
    return Note(calldata[:SELECTOR], words)


@dataclass(slots=True)
class IlkBook:
    """An ilk as `vat.ilks` tells it."""

    art: int = 0
    rate: int = 0
    spot: int = 0
    line: int = 0
    dust: int = 0


@dataclass(slots=True)
class VatBook:
    """The vat's urns (ink, art) by ilk and address in lower case, and its ilks. Empty: the vat as it was deployed."""

    urns: dict[tuple[bytes, str], tuple[int, int]] = field(default_factory=dict)
    ilks: dict[bytes, IlkBook] = field(default_factory=dict)

    def add(self, note: Note) -> None:
        """Take one more note, in chain order. Notes that move no urn and no ilk change nothing."""
        name = note.words[0]
        if note.selector in (FROB, GRAB):
            self._move(name, note.address(1), note.signed(4), note.signed(5))
            self._ilk(name).art += note.signed(5)
        elif note.selector == FORK:
            self._move(name, note.address(1), -note.signed(3), -note.signed(4))
            self._move(name, note.address(2), note.signed(3), note.signed(4))
        elif note.selector == INIT:
            self._ilk(name).rate = RAY
        elif note.selector == FOLD:
            self._ilk(name).rate += note.signed(2)
        elif note.selector == FILE:
            what = note.words[1].rstrip(b"\0").decode("ascii", "replace")
            if what in ("spot", "line", "dust"):
                setattr(self._ilk(name), what, note.number(2))

    def _ilk(self, name: bytes) -> IlkBook:
        return self.ilks.setdefault(name, IlkBook())

    def _move(self, name: bytes, urn: str, ink: int, art: int) -> None:
        before = self.urns.get((name, urn), (0, 0))
        self.urns[name, urn] = before[0] + ink, before[1] + art
