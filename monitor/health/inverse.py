"""Who falls if one price moves: for one asset, every holder's critical price, sorted: a move is one bisection.

Proof that nobody who falls is missed. At a threshold t let an account have M = credits - t * debits - (1 + t) * slack
by the weights of the drawing, made worse by the drift, and m the part of credits - t * debits that this price is in. At
f times the price, everything else within the drift, its weights give at least

  M + (f - 1) * m for f <= 1,     M + (f - 1) * (m - (1 + t) * slack) for f > 1,

as weights are proportional to their price and slacks grow no faster. By `columns.Weights` it is safe where that is not
negative. M and m are sums in float32, each at most 2**-19 of the sum of the sizes S of all terms away (`shadow`), so
that M - 2**-18 * S stands for M, and m with as much on the worse side for m. Accounts that this does not decide at
f = 1 (a NaN, a large slack, more balances than a pass takes) are always among the candidates.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Generic, TypeVar

import numpy as np

from monitor.health.book import ONE, Below, Book, checked, merged
from monitor.protocols.columns import F64, I64, Weights

M = TypeVar("M")
G = TypeVar("G")
ERROR = np.float32(2.0**-18)
LEAST_DRIFT = 2.0**-40
DRIFT = Fraction(1, 1000)


class Inverse(Generic[M, G]):
    """The holders of one asset by critical price, as drawn at one moment.

    It holds while nobody's balances change (draw it anew, or look at the changed besides) and all other weights move by
    at most `drift`, which interest takes hours for.
    """

    def __init__(
        self, book: Book[M, G], globals_: G, at_s: int, key: str, threshold: Fraction = ONE, drift: Fraction = DRIFT
    ) -> None:
        self._book, self._key, self._threshold = book, key, threshold
        self._price = book.bulk.prices(globals_)[key]
        self._codes = book.bulk.price_codes(globals_, key)
        self._weights = _worse(book.bulk.weights(globals_, at_s), max(float(drift), LEAST_DRIFT))
        self._draw(checked(threshold), book.flagged(globals_, at_s))

    def candidates(self, factor: float) -> I64:
        """Rows, each once but in no order: everybody who may be below at `factor` times the price."""
        if factor <= 1:
            return self._falling[: np.searchsorted(self._falls_at, -factor, "right")]
        return self._rising[: np.searchsorted(self._rises_at, factor, "right")]

    def below(self, globals_: G, at_s: int) -> Below:
        """Which holders are below at this market, where only the one price has moved. Exact, as Book.below.

        May raise: ValueError where more has moved than the drift.
        """
        factor = self._book.bulk.prices(globals_)[self._key] / self._price
        if not self._holds(self._book.bulk.weights(globals_, at_s), factor):
            raise ValueError("more has changed than this price and a little drift: draw the inverse anew")
        return self._book.sift(globals_, at_s, self._threshold, np.sort(self.candidates(factor)))

    # -- inside --------------------------------------------------------------------------------------------------------

    def _draw(self, level: float, flagged: I64) -> None:
        shadow, weights = self._book.shadow, self._weights
        table, slack = shadow.table(weights, level), shadow.slack(weights, level)
        part, own = np.where(self._codes, table, np.float32(0)), self._codes.astype(np.float32)
        always = merged(flagged, shadow.wide)
        down: list[tuple[F64, I64]] = [(np.full(len(always), np.inf), always)]
        up: list[tuple[F64, I64]] = [(np.ones(len(always)), always)]
        passes = (shadow.totals(each) for each in (table, part, np.abs(table), own))
        for (rows, total, width), (_, moved, _), (_, sizes, _), (_, held, _) in zip(*passes, strict=True):
            holder = np.flatnonzero(held > 0)
            bar = np.float32(width * slack)
            sums, parts, error = (array[holder].astype(np.float64) for array in (total, moved, sizes * ERROR))
            left, holders = sums - bar - error, rows[holder].astype(np.int64)
            open_ = ~(left >= 0)
            with np.errstate(divide="ignore", invalid="ignore"):
                falls = np.where(open_, np.inf, 1 - left / (parts + error))
                rises = np.where(open_, 1.0, 1 + left / (bar + error - parts))
            fall, rise = (parts + error > 0) & (falls > 0) | open_, (bar + error - parts > 0) | open_
            down.append((falls[fall], holders[fall]))
            up.append((rises[rise], holders[rise]))
        self._falls_at, self._falling = _sorted(down, -1)
        self._rises_at, self._rising = _sorted(up, 1)

    def _holds(self, weights: Weights, factor: float) -> bool:
        used = self._book.shadow.used(len(weights.lower)) & ~np.isnan(self._weights.lower)
        moved = np.where(self._codes, factor, 1.0)
        grown = np.where(self._codes, max(factor, 1.0), 1.0)
        known = (weights.lower >= self._weights.lower * moved) & (weights.slack <= self._weights.slack * grown)
        return bool(known[used].all())


def _worse(weights: Weights, drift: float) -> Weights:
    lower = np.where(weights.lower > 0, weights.lower * (1 - drift), weights.lower * (1 + drift))
    return Weights(lower, weights.upper, weights.slack * (1 + drift))


def _sorted(parts: list[tuple[F64, I64]], sign: int) -> tuple[F64, I64]:
    """All of them by `sign` times where they fall. The first part wins where others have its rows too."""
    always = parts[0][1]
    if len(always):
        kept = [~np.isin(rows, always) for _, rows in parts[1:]]
        parts = [parts[0], *((at[k], rows[k]) for (at, rows), k in zip(parts[1:], kept, strict=True))]
    at, found = np.concatenate([sign * at for at, _ in parts]), np.concatenate([rows for _, rows in parts])
    order = np.argsort(at, kind="stable")
    return at[order], found[order]
