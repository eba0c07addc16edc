"""Whole markets at once: who is below a threshold, who is riskiest, how the debt is spread over the distance to it.

Every verdict is that of the exact integers; floats only tell, by a proven bound, whose integers need not be reckoned.
Three sieves, each for what the one before leaves: a pass over all accounts in float32 (`shadow`), float64 with each
balance's own slack (`screen`), integers. Knows no protocol, no chain and no clock: the market at a moment is `globals_`
and `at_s`, as `columns.Bulk` takes them.

Proof that the integers left out change nothing: that of `columns.Weights`, of `shadow` and of `screen`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Generic, TypeVar

import numpy as np

from monitor.health.band import Band
from monitor.health.screen import entries, sums
from monitor.health.shadow import CHUNK, Shadow
from monitor.protocols.columns import F64, I64, LEAST_THRESHOLD, U64, Bulk, Rows

M = TypeVar("M")
G = TypeVar("G")
ONE = Fraction(1)
WIDER = 1.03
MOST = 2.0**10


@dataclass(frozen=True, slots=True)
class Below:
    """Rows, ascending: whose health is known and below the threshold, and whose is not known. Nobody is in both.

    `reckoned` tells how many took integers.
    """

    rows: I64
    unknown: I64
    reckoned: int


@dataclass(frozen=True, slots=True)
class Ranked:
    """One account among the riskiest; its health is numerator / denominator."""

    row: int
    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True)
class Spread:
    """How many accounts, and about how much debt, lie between neighbouring edges; from the last one on, without end.

    Accounts without debt are in none of them. Debt is for drawing: a float, in the weights' unit.
    """

    edges: Sequence[Fraction]
    accounts: I64
    debt: F64
    unknown: I64


class Book(Generic[M, G]):
    """The accounts of a market. `update` when some of them have changed; nothing else is kept between two moments."""

    def __init__(self, bulk: Bulk[M, G], source: Rows) -> None:
        self.bulk = bulk
        self.source = source
        self.shadow = Shadow(bulk, source)
        self._words = int(source.take(np.zeros(0, np.int64)).flags.shape[1])
        self._flagged: tuple[U64, I64] | None = None
        self._unseen: I64 = np.arange(len(source))
        self._bands: dict[Fraction, Band] = {}

    def update(self, rows: Sequence[int] | I64) -> None:
        """These rows have changed, or are new."""
        changed = np.unique(np.asarray(rows, np.int64))
        self.shadow.update(changed)
        self._unseen = merged(self._unseen, changed)
        for band in self._bands.values():
            band.changed(changed)

    def below(self, globals_: G, at_s: int, threshold: Fraction = ONE) -> Below:
        """Everybody below the threshold, strictly, and everybody unknown. May raise: ValueError below 2**-10."""
        weights = self.bulk.weights(globals_, at_s)
        suspects = merged(self.shadow.may_be_below(weights, checked(threshold)), self.flagged(globals_, at_s))
        return self.sift(globals_, at_s, threshold, suspects)

    def follow(self, globals_: G, at_s: int, threshold: Fraction = ONE) -> Below:
        """The same, from one block to the next: looks only at those who can have crossed since a band was drawn."""
        weights = self.bulk.weights(globals_, at_s)
        band = self._bands.get(threshold)
        if band is None or not band.covers(weights):
            band = self._bands[threshold] = Band(self.bulk, self.source, self.shadow, weights, checked(threshold))
        sifted = band.sift(weights)
        flagged = self.flagged(globals_, at_s)
        certain = sifted.below[~np.isin(sifted.below, flagged)] if len(flagged) else sifted.below
        rest = self.reckon(globals_, at_s, threshold, merged(sifted.undecided, flagged))
        return Below(merged(certain, rest.rows), rest.unknown, rest.reckoned)

    def sift(self, globals_: G, at_s: int, threshold: Fraction, suspects: I64) -> Below:
        """Who of these rows, ascending, is below the threshold or unknown."""
        weights, level = self.bulk.weights(globals_, at_s), checked(threshold)
        found: list[I64] = []
        unknown: list[I64] = []
        reckoned = 0
        for begin in range(0, len(suspects), CHUNK):
            rows = suspects[begin : begin + CHUNK]
            judged = sums(entries(self.bulk, self.source.take(rows)), weights)
            safe, below = judged.safe(level), judged.below(level)
            open_ = (~safe & ~below) | np.isin(rows, self.flagged(globals_, at_s))
            part = self.reckon(globals_, at_s, threshold, rows[open_])
            found += [rows[below & ~open_], part.rows]
            unknown.append(part.unknown)
            reckoned += part.reckoned
        return Below(merged(*found), merged(*unknown), reckoned)

    def reckon(self, globals_: G, at_s: int, threshold: Fraction, rows: I64) -> Below:
        """The same by integers alone."""
        verdicts = self.exact(globals_, at_s, rows)
        low = [v is not None and v[0] * threshold.denominator < threshold.numerator * v[1] for v in verdicts]
        return Below(rows[np.array(low, np.bool_)], rows[[v is None for v in verdicts]], len(rows))

    def exact(self, globals_: G, at_s: int, rows: Sequence[int] | I64) -> list[tuple[int, int] | None]:
        """The health of each of these rows, as `Bulk.exact` tells it."""
        taken = self.source.take(np.asarray(rows, np.int64))
        return self.bulk.exact(globals_, taken, np.arange(len(taken)), at_s)

    def riskiest(self, globals_: G, at_s: int, size: int) -> list[Ranked]:
        """The accounts with the least known health, least first, equal ones by row. Those without debt are in none."""
        weights, flagged = self.bulk.weights(globals_, at_s), self.flagged(globals_, at_s)
        level, rows = 1.0, np.zeros(0, np.int64)
        while True:
            rows = merged(self.shadow.may_be_below(weights, level), flagged)
            least, most = self._range(rows, weights)
            enough = np.sort(most[np.isfinite(most)])[:size]
            if len(enough) == size and enough[-1] <= level:
                break
            if level > MOST:
                rows = np.arange(len(self.source))
                least, most = self._range(rows, weights)
                enough = np.sort(most)[:size]
                break
            level = level * WIDER if len(enough) < size else min(level * WIDER * 2, enough[-1])
        # who is not in `rows` has at least `level`, which enough others are below
        picked = rows[(least <= enough[-1]) | np.isin(rows, flagged)] if len(enough) else rows
        verdicts = zip(picked.tolist(), self.exact(globals_, at_s, picked), strict=True)
        known = [Ranked(row, *verdict) for row, verdict in verdicts if verdict is not None and verdict[1]]
        return sorted(known, key=lambda one: (Fraction(one.numerator, one.denominator), one.row))[:size]

    def spread(self, globals_: G, at_s: int, edges: Sequence[Fraction]) -> Spread:
        """How accounts and debt lie between these healths, ascending. Every count is exact."""
        levels = np.array([checked(edge) for edge in edges])
        weights, flagged = self.bulk.weights(globals_, at_s), self.flagged(globals_, at_s)
        accounts, debt = np.zeros(len(edges) + 1, np.int64), np.zeros(len(edges) + 1)
        unknown: list[I64] = []
        for begin in range(0, len(self.source), CHUNK):
            rows = np.arange(begin, min(begin + CHUNK, len(self.source)))
            judged = sums(entries(self.bulk, self.source.take(rows)), weights)
            first, last = np.searchsorted(levels, judged.least(), "right"), np.searchsorted(levels, judged.most())
            open_ = (first != last) | np.isin(rows, flagged) | ~(judged.debit_least > judged.slack)
            open_ &= judged.debit_most != 0  # a NaN is not 0
            open_ |= np.isin(rows, flagged)
            place = np.where(judged.debit_most == 0, len(edges) + 1, first)
            for row, verdict in zip(rows[open_].tolist(), self.exact(globals_, at_s, rows[open_]), strict=True):
                place[row - begin] = len(edges) + 1 if verdict is None or not verdict[1] else _place(edges, *verdict)
                if verdict is None:
                    unknown.append(np.array([row]))
            there = place <= len(edges)
            accounts += np.bincount(place[there], minlength=len(edges) + 1)
            debt += np.bincount(place[there], np.nan_to_num(judged.debit_least[there]), len(edges) + 1)
        return Spread(edges, accounts, debt, merged(*unknown))

    def flagged(self, globals_: G, at_s: int) -> I64:
        """The rows, ascending, whose flags leave them to the integers. In a market that was read whole: none."""
        masks = self.bulk.unknown_flags(globals_, self._words, at_s)
        if self._flagged is None or not np.array_equal(self._flagged[0], masks):
            self._flagged, self._unseen = (masks, np.zeros(0, np.int64)), np.arange(len(self.source))
        found = [np.setdiff1d(self._flagged[1], self._unseen)]
        for begin in range(0, len(self._unseen), CHUNK):
            rows = self._unseen[begin : begin + CHUNK]
            columns = self.source.take(rows)
            found.append(rows[(columns.flags & masks[columns.mode]).any(axis=1)])
        self._flagged, self._unseen = (masks, merged(*found)), np.zeros(0, np.int64)
        return self._flagged[1]

    # -- inside --------------------------------------------------------------------------------------------------------

    def _range(self, rows: I64, weights: Any) -> tuple[F64, F64]:
        """A health that each row has for sure, and one that it is below for sure."""
        least, most = [], []
        for begin in range(0, len(rows), CHUNK):
            judged = sums(entries(self.bulk, self.source.take(rows[begin : begin + CHUNK])), weights)
            least.append(judged.least())
            most.append(judged.most())
        return np.concatenate([np.zeros(0), *least]), np.concatenate([np.zeros(0), *most])


def checked(threshold: Fraction) -> float:
    """The threshold as a float. May raise: ValueError where the weights promise nothing."""
    level = float(threshold)
    if not LEAST_THRESHOLD <= level <= MOST:
        raise ValueError(f"a threshold is between {LEAST_THRESHOLD} and {MOST}, not {threshold}")
    return level


def merged(*rows: I64) -> I64:
    """All of these, ascending, each once."""
    return np.unique(np.concatenate([np.zeros(0, np.int64), *rows]))


def _place(edges: Sequence[Fraction], numerator: int, denominator: int) -> int:
    """How many of the edges the health is at or above."""
    return sum(numerator * edge.denominator >= edge.numerator * denominator for edge in edges)
