"""What to read of every account of a market, said once for every way of reading; and what was read, put into columns.

A protocol says which getters tell an account's flags, mode and balances, and which balances the flags call for; it may
add a lens, a contract of ours that asks the getters of many accounts in one call. How the questions travel is for the
chain's rungs to know. An account of which anything could not be read is told with the reason and has no row: what is
missing here is never an empty position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from monitor.core.types import Address
from monitor.protocols.columns import I64, U8, U16, U64, Columns, Mask


@dataclass(frozen=True, slots=True)
class Getter:
    """A view with the account as its last argument, one word of whose answer is a number below `2**bits`.

    `before`: the words of the arguments before it; `place`: which of the answer's `words` words it is.
    """

    contract: Address
    selector: bytes
    bits: int = 128
    before: bytes = b""
    place: int = 0
    words: int = 1

    @property
    def head(self) -> bytes:
        """The call without the account."""
        return self.selector + self.before


@dataclass(slots=True)
class Part:
    """What a rung read of n accounts. Row i is the i-th account asked; entries are in any order and may be zero."""

    flags: U64
    """(n, w)"""
    mode: U8
    row: I64
    """(m,): whose the entry is"""
    kind: U16
    low: U64
    high: U64
    failed: dict[int, str] = field(default_factory=dict)
    """By row: why nothing else here may be believed of that account."""

    def __len__(self) -> int:
        return len(self.mode)


@dataclass(frozen=True, slots=True)
class Reading:
    """A lens's answer: the accounts that it got to, and the gas that it had at start and end."""

    part: Part
    gas: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Survey:
    """One market's questions. Kinds below `64 * width` are bits of the flags; others hang on those.

    Without flags all balances are read of everybody. Without a lens only the rungs of single words can be stood on.
    """

    flags: Getter | None
    mode: Getter | None
    width: int
    """How many 64-bit words the flags take."""
    balances: Mapping[int, Getter] = field(hash=False)
    """By kind."""
    beside: Mapping[int, int] = field(hash=False)
    """A kind that is read wherever the other one is called for."""
    within: Mapping[int, tuple[int, ...]] = field(hash=False)
    """Kinds that are read where this one is not zero."""
    lens: str
    """The lens's file in abis/; empty without one."""

    def question(self, owners: U8, room: int, least: int, slots: tuple[int, int] = (0, 0)) -> bytes:
        """The lens's input: `room` bytes at most for the answer, `least` gas before each account.

        `slots`: of the mappings of flags and modes, for a lens that runs in the place of the contract that has both.
        """
        raise AssertionError("this market has no lens")

    def reading(self, answer: bytes, count: int) -> Reading:
        """The lens's answer about the first of `count` accounts. May raise: DecodeError."""
        raise AssertionError("this market has no lens")

    def getters(self) -> tuple[Getter, ...]:
        """Each once."""
        return tuple(dict.fromkeys(one for one in (self.flags, self.mode, *self.balances.values()) if one is not None))

    def known_bits(self) -> Mask:
        """(64 * width,): bits that have a balance to read."""
        known = np.zeros(64 * self.width, np.bool_)
        known[[kind for kind in self.balances if kind < len(known)]] = True
        return known

    def called_for(self, flags: U64) -> tuple[I64, U16]:
        """(row, kind) of each balance that the flags call for, by row and kind."""
        if self.flags is None:
            kinds = np.array(sorted(self.balances), np.uint16)
            return np.repeat(np.arange(len(flags)), len(kinds)), np.tile(kinds, len(flags))
        row, kind = np.nonzero(bits_of(flags) & self.known_bits())
        return row, kind.astype(np.uint16)

    def strangers(self, flags: U64) -> dict[int, str]:
        """By row: a bit without a balance to read, which only a market that has changed can have."""
        row, kind = np.nonzero(bits_of(flags) & ~self.known_bits())
        reasons = zip(row.tolist(), kind.tolist(), strict=True)
        return {at: f"bit {bit} of its flags is of no reserve that is known" for at, bit in reasons}


def bits_of(flags: U64) -> Mask:
    """(n, 64 * w), lowest bit first."""
    octets = np.ascontiguousarray(flags, "<u8").view(np.uint8)
    return np.unpackbits(octets, axis=1, bitorder="little").view(np.bool_)


def join(owners: U8, parts: Sequence[Part]) -> tuple[Columns, list[tuple[int, str]]]:
    """Columns of `owners` from parts that follow each other, and (row of `owners`, reason) of those left out."""
    lengths = [len(part) for part in parts]
    if sum(lengths) != len(owners):
        raise AssertionError(f"{sum(lengths)} of {len(owners)} accounts are there")
    firsts = np.cumsum([0, *lengths])
    failed = {
        int(first) + row: why for first, part in zip(firsts, parts, strict=False) for row, why in part.failed.items()
    }
    row = np.concatenate([part.row + first for first, part in zip(firsts, parts, strict=False)])
    flags, mode = np.concatenate([part.flags for part in parts]), np.concatenate([part.mode for part in parts])
    kind, low, high = (np.concatenate([getattr(part, name) for part in parts]) for name in ("kind", "low", "high"))
    keep = (low | high) != 0
    if failed:
        good = np.ones(len(owners), np.bool_)
        good[list(failed)] = False
        keep &= good[row]
        row = (np.cumsum(good) - 1)[row]
        owners, flags, mode = owners[good], flags[good], mode[good]
    if not keep.all():
        row, kind, low, high = row[keep], kind[keep], low[keep], high[keep]
    place = row * 2**16 + kind
    if (place[1:] < place[:-1]).any():
        order = np.argsort(place, kind="stable")
        row, kind, low, high = row[order], kind[order], low[order], high[order]
    start = np.zeros(len(owners) + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=len(owners)), out=start[1:])
    return Columns(owners, mode, flags, start, kind, low, high), sorted(failed.items())
