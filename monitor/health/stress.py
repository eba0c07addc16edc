"""All accounts under many price vectors: how many are below a threshold, and how much covered collateral they lack.

A count is a range that holds the exact one: accounts that floats are sure of, and with those that they are not. The
shortfall is a float, for people. Time goes into those accounts only that some scenarios of a tile bring down and others
do not: scenarios are sorted by what they do to the market as a whole and cut into tiles, and an account that is safe,
or below, under the worst and the best of every price in the tile takes one look.

Proof of the range. By `columns.Weights` and the proportionality of weights to their price, an account's margin at the
price factors f, its credits - t * debits as reckoned from either end of its weights, lies within the sum of f * E over
prices (E: the middle of both ends, in float64) by at most the largest factor F >= 1 times

  w := half the sum of |upper - lower| * amount + (1 + t) * slack + (keys + 8) * ERROR * sum of |weight| * amount,

where ERROR = 2**-22 is more than what float32 loses of a term: E, f and their product are rounded to 2**-24 each, the
addition of all keys loses as much for each, and all of that twice where a tile's middle and half width stand for f.
With E / w in place of E an account is safe if the sum is at least F, and below if it is less than -F. Prices are real
numbers here; a chain's are whole ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.health.book import ONE, checked
from monitor.health.screen import entries
from monitor.protocols.columns import F64, I64, Bulk, Mask, Rows, Weights

F32 = NDArray[np.float32]

ERROR = 2.0**-22
TILE = 250
CHUNK = 100_000
BLOCK = 4096
MOST_KEYS = 512


@dataclass(frozen=True, slots=True)
class Outcome:
    """Per scenario, in the order asked: `least` <= accounts below the threshold <= `most`; what those of `most` lack.

    `left` accounts are known to no float (unknown, or for the integers): in every `most`, and not in the shortfall.
    """

    least: I64
    most: I64
    shortfall: F64
    left: int


def stress(
    bulk: Bulk[Any, Any],
    source: Rows,
    globals_: Any,
    at_s: int,
    keys: Sequence[str],
    factors: F64,
    threshold: Fraction = ONE,
) -> Outcome:
    """The market at `factors` (scenarios, keys) times the prices of these keys, all others as they are.

    May raise: ValueError for a factor that is not above 0, or too many keys.
    """
    if not (factors > 0).all() or not np.isfinite(factors).all() or len(keys) > MOST_KEYS:
        raise ValueError(f"every factor is a number above 0, and there are at most {MOST_KEYS} keys")
    level = checked(threshold)
    weights = bulk.weights(globals_, at_s)
    places = np.full(len(weights.lower), len(keys))
    for place, key in enumerate(keys):
        places[bulk.price_codes(globals_, key)] = place
    # the last column is for what no key moves
    vectors = np.hstack([factors, np.ones((len(factors), 1))]).astype(np.float32)
    order = np.argsort(vectors @ _whole(bulk, source, weights, places), kind="stable")
    tiles = _Tiles(vectors[order])
    left = 0
    for begin in range(0, len(source), CHUNK):
        rows = np.arange(begin, min(begin + CHUNK, len(source)))
        exposures, widths, unsure = _exposures(bulk, source, rows, weights, places, level, globals_, at_s)
        left += int(unsure.sum())
        tiles.add(exposures, widths)
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return Outcome(tiles.least[back], tiles.most[back] + left, tiles.shortfall[back], left)


class _Tiles:
    """Scenarios in tiles, and what the accounts added so far come to in each."""

    def __init__(self, vectors: F32) -> None:
        self._vectors = vectors
        self._spans = [slice(at, min(at + TILE, len(vectors))) for at in range(0, len(vectors), TILE)]
        low = np.array([vectors[span].min(axis=0) for span in self._spans])
        high = np.array([vectors[span].max(axis=0) for span in self._spans])
        self._middle, self._half = (low + high) / 2, (high - low) / 2
        self._reach = np.maximum(high.max(axis=1), 1)
        self.least, self.most = np.zeros(len(vectors), np.int64), np.zeros(len(vectors), np.int64)
        self.shortfall = np.zeros(len(vectors))

    def add(self, exposures: F32, widths: F32) -> None:
        """Accounts: (n, columns) exposures over widths, and the widths."""
        middle, half = self._middle @ exposures.T, self._half @ np.abs(exposures).T
        for tile, span in enumerate(self._spans):
            reach = self._reach[tile]
            down = middle[tile] + half[tile] < -reach
            mixed = ~down & (middle[tile] - half[tile] < reach)
            self._all_below(span, exposures, widths, np.flatnonzero(down))
            picked = np.flatnonzero(mixed)
            for begin in range(0, len(picked), BLOCK):
                block = picked[begin : begin + BLOCK]
                self._some_below(span, exposures[block], widths[block], reach)

    def _all_below(self, span: slice, exposures: F32, widths: F32, rows: I64) -> None:
        if len(rows):
            self.least[span] += len(rows)
            self.most[span] += len(rows)
            self.shortfall[span] -= self._vectors[span] @ (widths[rows] @ exposures[rows])

    def _some_below(self, span: slice, exposures: F32, widths: F32, reach: np.float32) -> None:
        margins = self._vectors[span] @ exposures.T
        for found, bar in ((self.least, -reach), (self.most, reach)):
            below = margins < bar
            # row by row: numpy counts a row of booleans far faster than it sums an axis
            found[span] += [np.count_nonzero(row) for row in below]
        np.minimum(margins, 0, out=margins)
        self.shortfall[span] -= margins @ widths


def _whole(bulk: Bulk[Any, Any], source: Rows, weights: Weights, places: I64) -> F32:
    """About what all credits of the market come to by key: a fall of these is a bad day."""
    some = entries(bulk, source.take(np.arange(0, len(source), max(len(source) // CHUNK, 1))))
    worth = np.maximum(np.nan_to_num(weights.upper), 0)[some.codes] * some.amounts
    total = np.bincount(places[some.codes], worth, places.max(initial=0) + 1)
    size = total.sum()
    return (total / (size if size > 0 else 1)).astype(np.float32)


def _exposures(
    bulk: Bulk[Any, Any],
    source: Rows,
    rows: I64,
    weights: Weights,
    places: I64,
    level: float,
    globals_: Any,
    at_s: int,
) -> tuple[F32, F32, Mask]:
    """Exposures over widths, widths, both of those that floats may judge; and who is not among them."""
    columns = source.take(rows)
    some = entries(bulk, columns)
    size = int(places.max(initial=0)) + 1
    lower, upper = (
        np.where(ends < 0, ends * level, ends)[some.codes] * some.amounts for ends in (weights.lower, weights.upper)
    )
    at = some.of * size + places[some.codes]
    exposures = np.bincount(at, (lower + upper) / 2, some.size * size).reshape(some.size, size)
    slack = np.bincount(some.of, weights.slack[some.codes], some.size)
    between = np.bincount(some.of, (upper - lower) / 2, some.size)
    gross = np.bincount(some.of, np.maximum(np.abs(lower), np.abs(upper)), some.size)
    widths = between + (1 + level) * slack + (size + 8) * ERROR * gross
    masks = bulk.unknown_flags(globals_, columns.flags.shape[1], at_s)
    unsure = np.isnan(widths) | np.isnan(exposures).any(axis=1) | np.any(columns.flags & masks[columns.mode], axis=1)
    counts = ~unsure & (exposures < 0).any(axis=1)  # without a debit nothing brings it down
    return (exposures[counts] / widths[counts, None]).astype(np.float32), widths[counts].astype(np.float32), unsure
