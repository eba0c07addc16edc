"""Every account's balances as small floats, laid out so that one pass over a million accounts takes milliseconds.

Accounts are grouped by how many balances weigh anything, each balance is a float32 and a code, and a pass goes block by
block so that what it works on stays in the processor's cache. The pass tells who *may* be below a threshold; nobody
else is. Accounts without anything that weighs are in no group: they have no debt.

Proof that nobody below is missed. By the promise of `columns.Weights`, an account is at or above t if, in real numbers,
the sum over its n entries of v * amount is at least (1 + t) * the sum of their slacks, with v = lower for credits and
t * lower for debits. Here v and the amount (times 2**SCALE) are rounded to float32, a part in 2**24 each; so is each
product, and n - 1 additions lose a part in 2**24 of what was added up, which is at most the sum of the sizes of all
terms. For n <= 16 that is under 20 parts in 2**24 < SMALL = 2**-19 of each term. v is made SMALL * |v| less before it
is rounded, so the float32 sum is no more than the real one. The slack of every code is taken as the largest of those
not left out (NaN), n times, and SMALL more. What underflows: a weight too small for a float32 becomes 0 for a credit
and the smallest normal number for a debit, both to the account's disadvantage; a product loses at most 2**-149, which
is 2**-89 after SCALE, and any debit's slack is far more. What might overflow, weights of 2**50 or more, is NaN; so is
what has a large slack, lest it raise the bar for all. A NaN makes its account one that may be below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.protocols.columns import F64, I64, U16, Bulk, Columns, Mask, Rows, Weights

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

SMALL = 2.0**-19
SCALE = -60
"""The power of two that amounts are kept times, so that no product overflows."""
LARGEST = 2.0**50
NORMAL = 2.0**-126
BLOCK = 32_768
CHUNK = 65_536
WIDTHS = np.array([1, 2, 3, 4, 5, 6, 8, 12, 16])
WIDEST = 16
SPARE = 8
"""One part in so many of each group is left free for accounts that come to it."""
LOUD = 500
"""Of so many balances one may be left out of the pass for its slack."""
NOWHERE = -1


@dataclass(slots=True)
class Group:
    """Accounts of one width. (width, places): what is not in use has code 0; (places,): the row, or NOWHERE."""

    codes: U16
    amounts: F32
    rows: I32
    used: int

    @property
    def width(self) -> int:
        return len(self.codes)

    def nbytes(self) -> int:
        return self.codes.nbytes + self.amounts.nbytes + self.rows.nbytes


class Shadow:
    """The accounts of a market, for passes. `update` follows changes of theirs."""

    def __init__(self, bulk: Bulk[Any, Any], source: Rows) -> None:
        self._bulk = bulk
        self._source = source
        self._group = np.full(len(source), NOWHERE, np.int8)
        self._place = np.zeros(len(source), np.int32)
        self._wide: set[int] = set()
        self._counts: I64 = np.zeros(2**16, np.int64)
        parts: list[list[tuple[U16, F32, I32]]] = [[] for _ in WIDTHS]
        for begin in range(0, len(source), CHUNK):
            rows = np.arange(begin, min(begin + CHUNK, len(source)))
            for group, part in self._parts(rows, source.take(rows)):
                parts[group].append(part)
        self._groups = [self._assembled(group, found) for group, found in enumerate(parts)]

    def nbytes(self) -> int:
        """What it takes in memory."""
        return sum(group.nbytes() for group in self._groups) + self._group.nbytes + self._place.nbytes

    def may_be_below(self, weights: Weights, threshold: float) -> I64:
        """The rows, ascending, that are not at or above the threshold for sure."""
        table, slack = self.table(weights, threshold), self.slack(weights, threshold)
        found = [self.wide]
        for group in self._groups:
            bar = np.nextafter(np.float32(group.width * slack), np.float32(np.inf))
            safe = np.empty(group.used, np.bool_)
            for span, totals in _totals(group, table):
                np.greater_equal(totals, bar, out=safe[span])
            rows = group.rows[np.flatnonzero(~safe)]
            found.append(rows[rows != NOWHERE].astype(np.int64))
        return np.sort(np.concatenate(found))

    def totals(self, table: F32) -> Iterator[tuple[I32, F32, int]]:
        """What each account's balances come to with these weights by code, times 2**SCALE: rows, sums, balances each.

        Accounts with more than WIDEST balances are not among them.
        """
        for group in self._groups:
            found = np.empty(group.used, np.float32)
            for span, totals in _totals(group, table):
                found[span] = totals
            yield group.rows[: group.used], found, group.width

    @property
    def wide(self) -> I64:
        """The rows, ascending, that no pass tells of."""
        return np.array(sorted(self._wide), np.int64)

    def used(self, size: int) -> Mask:
        """Which of so many codes any account has, or has had."""
        return self._counts[:size] > 0

    def table(self, weights: Weights, threshold: float) -> F32:
        """The weights of a pass by code, with debits at the threshold."""
        loud = ~(weights.slack <= self._bar(weights.slack))
        lower = np.where(weights.lower < 0, weights.lower * threshold * (1 + SMALL), weights.lower * (1 - SMALL))
        lower = np.where((np.abs(lower) < LARGEST) & ~loud, lower, np.nan)
        tiny = np.abs(lower) < NORMAL
        lower = np.where(tiny & (lower < 0), -NORMAL, np.where(tiny, 0.0, lower))
        return lower.astype(np.float32)

    def slack(self, weights: Weights, threshold: float) -> float:
        """What one balance of a pass may be short of for its slack, times 2**SCALE."""
        return float(np.ldexp(self._bar(weights.slack) * (1 + threshold) * (1 + SMALL), SCALE))

    def update(self, rows: I64) -> None:
        """Take these rows, changed or new, from the source again."""
        size = len(self._source)
        if size > len(self._group):
            more = size - len(self._group)
            self._group = np.concatenate([self._group, np.full(more, NOWHERE, np.int8)])
            self._place = np.concatenate([self._place, np.zeros(more, np.int32)])
        for row in rows.tolist():
            self._leave(row)
        for number, (codes, amounts, at) in self._parts(rows, self._source.take(rows)):
            group = self._groups[number] = _with_room(self._groups[number], len(at))
            span = slice(group.used, group.used + len(at))
            group.codes[:, span], group.amounts[:, span], group.rows[span] = codes, amounts, at
            self._group[at], self._place[at] = number, np.arange(span.start, span.stop)
            group.used = span.stop

    # -- inside --------------------------------------------------------------------------------------------------------

    def _parts(self, rows: I64, columns: Columns) -> list[tuple[int, tuple[U16, F32, I32]]]:
        """The groups that these rows belong to, with what goes there. Counts codes, and notes what is too wide."""
        codes = self._bulk.codes(columns)
        self._counts += np.bincount(codes, minlength=2**16)
        weighs = codes != 0
        amounts = np.ldexp(columns.amounts(), SCALE).astype(np.float32)
        of = np.repeat(np.arange(len(columns)), np.diff(columns.start))[weighs]
        counts = np.bincount(of, minlength=len(columns))
        codes, amounts = codes[weighs], amounts[weighs]
        first = np.cumsum(counts) - counts
        self._wide.update(rows[counts > WIDEST].tolist())
        found = []
        for number, width in enumerate(WIDTHS.tolist()):
            narrower = WIDTHS[number - 1] if number else 0
            picked = np.flatnonzero((counts > narrower) & (counts <= width))
            if len(picked):
                at = first[picked] + np.arange(width)[:, None]
                there = np.arange(width)[:, None] < counts[picked]
                at = np.where(there, at, 0)
                part = np.where(there, codes[at], 0).astype(np.uint16), np.where(there, amounts[at], np.float32(0))
                found.append((number, (*part, rows[picked].astype(np.int32))))
        return found

    def _assembled(self, number: int, parts: list[tuple[U16, F32, I32]]) -> Group:
        width, used = int(WIDTHS[number]), sum(len(rows) for _, _, rows in parts)
        room = used + used // SPARE + 64
        group = Group(np.zeros((width, room), np.uint16), np.zeros((width, room), np.float32), _nowhere(room), used)
        begin = 0
        while parts:
            codes, amounts, rows = parts.pop(0)
            span = slice(begin, begin + len(rows))
            group.codes[:, span], group.amounts[:, span], group.rows[span] = codes, amounts, rows
            self._group[rows], self._place[rows] = number, np.arange(begin, span.stop)
            begin = span.stop
        return group

    def _leave(self, row: int) -> None:
        """Take the row out of where it is; the last of its group takes the place."""
        self._wide.discard(row)
        number, place = int(self._group[row]), int(self._place[row])
        if number == NOWHERE:
            return
        group = self._groups[number]
        group.used -= 1
        last = int(group.rows[group.used])
        for array in (group.codes, group.amounts):
            array[:, place] = array[:, group.used]
        group.rows[place], self._place[last] = last, place
        self._group[row] = NOWHERE

    def _bar(self, slack: F64) -> float:
        """The largest slack that is not left out."""
        used = self._counts[: len(slack)]
        known = np.flatnonzero(~np.isnan(slack) & (used > 0))
        order = known[np.argsort(slack[known])]
        loud = np.cumsum(used[order][::-1])[::-1] <= used.sum() // LOUD
        quiet = order[~loud]
        return float(slack[quiet].max(initial=0.0))


def _totals(group: Group, table: F32) -> Iterator[tuple[slice, F32]]:
    """Block by block: the places, and their sums in an array that the next block overwrites."""
    sums, terms = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for begin in range(0, group.used, BLOCK):
        span = slice(begin, min(begin + BLOCK, group.used))
        total, term = sums[: span.stop - begin], terms[: span.stop - begin]
        np.take(table, group.codes[0, span], out=total, mode="clip")
        np.multiply(total, group.amounts[0, span], out=total)
        for n in range(1, group.width):
            np.take(table, group.codes[n, span], out=term, mode="clip")
            np.multiply(term, group.amounts[n, span], out=term)
            np.add(total, term, out=total)
        yield span, total


def _nowhere(size: int) -> I32:
    return np.full(size, NOWHERE, np.int32)


def _with_room(group: Group, more: int) -> Group:
    room = group.used + more
    if room <= len(group.rows):
        return group
    extra = room // SPARE + more + 64
    return Group(
        np.concatenate([group.codes, np.zeros((group.width, extra), np.uint16)], axis=1),
        np.concatenate([group.amounts, np.zeros((group.width, extra), np.float32)], axis=1),
        np.concatenate([group.rows, _nowhere(extra)]),
        group.used,
    )
