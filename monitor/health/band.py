"""Those near a threshold, drawn once and followed while the market moves little: nobody else can have crossed it.

Proof. Let a be the least factor by which any weight in `lower` of a credit has changed since the band was drawn, b the
largest of a debit, s the largest of a slack, and s <= 2 * min(a, b) (else the band does not cover). By the promise of
`columns.Weights` an account is at or above t if credits - slack >= t * (debits + slack); its credits are at least a
times those of the drawing, its debits at most b times, its slack at most s times; so it is if

  key := (credits - 2 * slack) / (debits + 2 * slack) >= t * b / a,     reckoned from the weights of the drawing.

Whoever was not near at the drawing has a key of at least t * REACH by the proof of `shadow`, asked with twice the
slack; so a band covers up to t * b / a = t * REACH. An account that has changed since is held to the same key anew:
what it has now, by the weights of the drawing. GUARD is for the floats of this reckoning itself. A weight that has
become NaN is not covered; one that was NaN has its accounts always looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from monitor.health.screen import Entries, entries, sums
from monitor.health.shadow import Shadow
from monitor.protocols.columns import F64, I64, Bulk, Rows, Weights

REACH = 1.01
GUARD = 1 + 2.0**-40
MANY = 4096
"""Once so many accounts have changed, the band is drawn anew."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """Rows: surely below; for the integers. Everybody else is safe."""

    below: I64
    undecided: I64


class Band:
    """The accounts near one threshold by the weights of one moment."""

    def __init__(self, bulk: Bulk[Any, Any], source: Rows, shadow: Shadow, weights: Weights, threshold: float) -> None:
        self._bulk = bulk
        self._source = source
        self._shadow = shadow
        self._weights = weights
        self._threshold = threshold
        near = shadow.may_be_below(Weights(weights.lower, weights.upper, 2 * weights.slack), threshold * REACH)
        keys = self._keys_of(near)
        order = np.argsort(keys, kind="stable")
        self._keys: F64 = keys[order]
        self._rows: I64 = near[order]
        self._entries = self._take(self._rows)
        self._changed: I64 = np.zeros(0, np.int64)
        self._late: I64 = np.zeros(0, np.int64)
        """of those that have changed, who is near now"""
        self._late_entries = self._take(self._late)

    def __len__(self) -> int:
        return len(self._rows)

    def changed(self, rows: I64) -> None:
        """These rows are no longer what they were at the drawing."""
        self._changed = np.union1d(self._changed, rows)
        near = rows[~(self._keys_of(rows) > self._threshold * REACH)]
        self._late = np.union1d(np.setdiff1d(self._late, rows), near)
        self._late_entries = self._take(self._late)

    def covers(self, weights: Weights) -> bool:
        """Whether the market is still near enough to where it was at the drawing."""
        return len(self._changed) < MANY and self._factor(weights) <= REACH

    def sift(self, weights: Weights) -> Sifted:
        """Who is what, by weights that the band covers."""
        end = int(np.searchsorted(self._keys, self._threshold * self._factor(weights), "right"))
        rows, judged = self._rows[:end], sums(self._entries.first(end), weights)
        below, safe = judged.below(self._threshold), judged.safe(self._threshold)
        if len(self._changed):
            stale = np.isin(rows, self._changed)
            late = sums(self._late_entries, weights)
            rows = np.concatenate([rows, self._late])
            below = np.concatenate([below & ~stale, late.below(self._threshold)])
            safe = np.concatenate([safe | stale, late.safe(self._threshold)])
        return Sifted(rows[below], rows[~safe & ~below])

    def _take(self, rows: I64) -> Entries:
        return entries(self._bulk, self._source.take(rows))

    def _keys_of(self, rows: I64) -> F64:
        found = sums(self._take(rows), self._weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            keys = (found.credit_least - 2 * found.slack) / (found.debit_most + 2 * found.slack)
        keys[np.isnan(keys)] = -np.inf
        keys[found.debit_most == 0] = np.inf  # no debt, however little there is of collateral
        return keys

    def _factor(self, weights: Weights) -> float:
        """b / a, with GUARD; infinite where the band does not cover."""
        used = self._shadow.used(len(weights.lower)) & ~np.isnan(self._weights.lower) & ~np.isnan(self._weights.slack)
        old, new = self._weights.lower[used], weights.lower[used]
        slack, slack_now = self._weights.slack[used], weights.slack[used]
        if np.isnan(new).any() or np.isnan(slack_now).any() or (new[old == 0] < 0).any():
            return np.inf
        credit, debit, room = old > 0, old < 0, slack > 0
        a = (new[credit] / old[credit]).min(initial=1.0)
        b = (new[debit] / old[debit]).max(initial=1.0)
        s = (slack_now[room] / slack[room]).max(initial=0.0)
        if a <= 0 or (slack_now[~room] > 0).any() or s > 2 * min(a, b):
            return np.inf
        return float(b / a * GUARD)
