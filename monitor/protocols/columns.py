"""Many accounts of one market in columns, and what a protocol adds so that they can be judged by the hundred thousand.

`Columns` is raw state, exact to the unit; floats made from it only screen, with a bound that the protocol proves, and
what the bound cannot decide is judged with integers. Nothing here reads a chain. This module and those built on it are
the only ones of the pure part that need numpy, and are imported where they are used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from monitor.core.types import BlockRef, Position, ReadPlan, Unreadable

M = TypeVar("M")
G = TypeVar("G")

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(slots=True)
class Columns:
    """Raw state of n accounts with m balances in all; row i of every array is account i.

    Balances of account i are the entries `start[i]:start[i + 1]`, ordered by kind; a balance is `high * 2**64 + low`.
    Zero balances have no entry.
    """

    owners: U8
    """(n, 20): addresses, in the order in which they were asked for; each once."""
    mode: U8
    """(n,): the small number that changes an account's rules as a whole (Aave: the e-mode category)."""
    flags: U64
    """(n, w): the account's bits as the contract holds them, lowest word first (Aave: the user configuration)."""
    start: I64
    """(n + 1,)"""
    kind: U16
    """(m,): which balance, in the protocol's own numbering."""
    low: U64
    """(m,)"""
    high: U64
    """(m,)"""

    def __len__(self) -> int:
        return len(self.owners)

    def owner(self, row: int) -> str:
        """The address in lower case."""
        return f"0x{self.owners[row].tobytes().hex()}"

    def entries(self, rows: I64) -> tuple[I64, I64]:
        """The entries of these rows, row after row: their numbers, and how many each row has."""
        first = self.start[rows]
        counts = self.start[rows + 1] - first
        shift = first - (np.cumsum(counts) - counts)
        return np.repeat(shift, counts) + np.arange(int(counts.sum())), counts

    def take(self, rows: I64) -> Columns:
        """These rows as columns of their own, in this order."""
        at, counts = self.entries(rows)
        start = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        of_rows = (self.owners[rows], self.mode[rows], self.flags[rows])
        return Columns(*of_rows, start, self.kind[at], self.low[at], self.high[at])

    def amounts(self) -> F64:
        """(m,): the balances as floats, at most one part in 2**52 away."""
        return np.ldexp(self.high.astype(np.float64), 64) + self.low.astype(np.float64)

    def balances(self, row: int) -> dict[int, int]:
        """The balances of an account by kind, exact."""
        span = slice(int(self.start[row]), int(self.start[row + 1]))
        parts = zip(self.kind[span].tolist(), self.low[span].tolist(), self.high[span].tolist(), strict=True)
        return {kind: high << 64 | low for kind, low, high in parts}


class Rows(Protocol):
    """Accounts by row, wherever they are kept: columns, or columns that take changes."""

    def __len__(self) -> int: ...

    def take(self, rows: I64) -> Columns:
        """These rows as columns of their own, in this order."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What one unit of a balance is worth to its account's health at one moment, by code: a proven range for each.

    Credits (what counts for the account) are positive, debits negative, `lower` and `upper` bound both. For an account
    with the entries e, as real numbers and so too when reckoned in float64 in any order, at any threshold t of at
    least `LEAST_THRESHOLD`:

    - sum(credits of lower) - slack >= t * (sum(debits of lower) + slack): its health is known, and t or more;
    - sum(credits of upper) + slack < t * (sum(debits of upper) - slack): its health is known, and less than t;
    - sum(debits of lower) = 0: it has no debt;

    with slack = sum(slack of e). A code that is NaN leaves its accounts to the integers. Where implemented, the proof
    stands in the docstring.
    """

    lower: F64
    upper: F64
    slack: F64
    """(codes,) each, in any one unit of value."""


LEAST_THRESHOLD = 2**-10
"""Below it the contracts' own rounding of health would not vanish in the guard of the weights."""


class Bulk(ABC, Generic[M, G]):
    """What a protocol adds for whole markets. G: everything that is the same for all accounts at one block, frozen.

    An entry's `code` says which weight it gets. It follows from the account's row alone, so that a block without
    changes to the account needs none made anew; what a block changes for all accounts is in the weights.
    """

    facts: M

    def for_modes(self, modes: Sequence[int]) -> Bulk[M, G]:
        """One that reads only what accounts of these modes need; all others are unknown to it. Default: no less."""
        return self

    @abstractmethod
    def read_globals(self, block: BlockRef) -> ReadPlan[G]:
        """Prices, indexes, parameters: one round. May raise: CallFailed, ProtocolError."""

    @abstractmethod
    def prices(self, globals_: G) -> Mapping[str, int]:
        """The prices that can be moved, by key; what could not be read is left out."""

    @abstractmethod
    def at_prices(self, globals_: G, prices: Mapping[str, int]) -> G:
        """The same market at these prices by key, all others as they are."""

    @abstractmethod
    def codes(self, columns: Columns) -> U16:
        """(m,): each entry's code; code 0 weighs nothing."""

    @abstractmethod
    def weights(self, globals_: G, at_s: int) -> Weights:
        """The weights of all codes at `at_s` (a block timestamp)."""

    @abstractmethod
    def price_codes(self, globals_: G, key: str) -> Mask:
        """(codes,): whose weights are this price times something, and whose slack grows with it no faster than it."""

    @abstractmethod
    def unknown_flags(self, globals_: G, size: int, at_s: int) -> U64:
        """(256, size): row m holds the flags with which an account of mode m is not for the weights to judge.

        They tell of what must be known of an account that no entry stands for.
        """

    @abstractmethod
    def exact(self, globals_: G, columns: Columns, rows: I64, at_s: int) -> list[tuple[int, int] | None]:
        """(numerator, denominator) of each row's health as the contract has it; (1, 0) without debt, None unknown."""

    @abstractmethod
    def position(self, globals_: G, columns: Columns, row: int, block: BlockRef) -> Position | Unreadable:
        """One account as every other command sees it. `Protocol.evaluate` of it equals `exact`."""
