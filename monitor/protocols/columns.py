"""Many accounts of one market in columns, and what a protocol adds so that they can be judged by the hundred thousand.

`Columns` is raw state, exact to the unit; floats made from it only screen, with a bound that the protocol proves, and
what the bound cannot decide is judged with integers. Nothing here reads a chain. This module and those built on it are
the only ones of the pure part that need numpy, and are imported where they are used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from monitor.core.types import BlockRef, Position, ReadPlan

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

    def balances(self, row: int) -> dict[int, int]:
        """The balances of an account by kind, exact."""
        span = slice(int(self.start[row]), int(self.start[row + 1]))
        parts = zip(self.kind[span].tolist(), self.low[span].tolist(), self.high[span].tolist(), strict=True)
        return {kind: high << 64 | low for kind, low, high in parts}


class Bulk(ABC, Generic[M, G]):
    """What a protocol adds for whole markets. G: everything that is the same for all accounts at one block, frozen.

    An entry's `code` says which weight it gets: its kind, and its account's mode where that changes the weight.
    """

    facts: M

    @abstractmethod
    def read_globals(self, block: BlockRef) -> ReadPlan[G]:
        """Prices, indexes, parameters: one round. May raise: CallFailed, ProtocolError."""

    @abstractmethod
    def at_prices(self, globals_: G, prices: Mapping[str, int]) -> G:
        """The same market at these prices by key, all others as they are."""

    @abstractmethod
    def codes(self, globals_: G, columns: Columns) -> U16:
        """(m,): each entry's code, below `len(weights)`."""

    @abstractmethod
    def weights(self, globals_: G, threshold: Fraction, at_s: int) -> tuple[F64, F64]:
        """Per code: the signed weight and the slack, such that health >= threshold for sure wherever
        sum(weight * balance) > sum(slack) over an account's entries, reckoned in float64 in any order.

        The proof stands where this is implemented.
        """

    @abstractmethod
    def always_exact(self, columns: Columns) -> Mask:
        """(n,): accounts that no weight can judge, whose health is always reckoned with integers."""

    @abstractmethod
    def exact(self, globals_: G, columns: Columns, rows: Sequence[int], at_s: int) -> list[tuple[int, int] | None]:
        """(numerator, denominator) of each row's health as the contract has it; (1, 0) without debt, None unknown."""

    @abstractmethod
    def position(self, globals_: G, columns: Columns, row: int, block: BlockRef) -> Position:
        """One account as every other command sees it. `Protocol.evaluate` of it equals `exact`."""
