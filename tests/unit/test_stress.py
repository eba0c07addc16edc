"""Markets under many price vectors: the counts hold the integers' own, whatever the scenarios are."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from monitor.health.book import ONE, Book
from monitor.health.stress import TILE, stress
from monitor.protocols.columns import F64
from monitor.testing.crowd import Market, crowd, market


def factors(of: Market, keys: list[str], size: int, seed: int, wide: float) -> F64:
    """Correlated moves, rounded so that the prices that they make are whole numbers."""
    random = np.random.default_rng(seed)
    moves = np.exp(random.normal(0, wide, (size, 1)) + random.normal(0, wide / 3, (size, len(keys))))
    prices = np.array([of.globals_.prices[key] for key in keys], float)
    found: F64 = np.maximum(np.rint(moves * prices), 1) / prices
    return found


@pytest.mark.parametrize("version", ["3.0", "3.2", "3.6"])
@pytest.mark.parametrize("threshold", [ONE, Fraction(21, 20)])
def test_counts_hold_the_exact_ones(version: str, threshold: Fraction) -> None:
    of = market(version, 1, 20)
    columns = crowd(of, 3000, 2, (0.9, 2.5))
    columns.mode[::500] = 99
    keys = list(of.bulk.prices(of.globals_))[:-2]  # two prices stay where they are
    moves = factors(of, keys, 2 * TILE + 7, 3, 0.2)
    found = stress(of.bulk, columns, of.globals_, of.at_s, keys, moves, threshold)
    assert found.left == 6
    assert (found.most - found.least).max() < 30
    book = Book(of.bulk, columns)
    for scenario in (*range(0, len(moves), 40), len(moves) - 1):
        prices = {key: round(of.globals_.prices[key] * f) for key, f in zip(keys, moves[scenario], strict=True)}
        exact = book.below(of.bulk.at_prices(of.globals_, prices), of.at_s, threshold)
        assert found.least[scenario] <= len(exact.rows) <= found.most[scenario] - len(exact.unknown)


@pytest.mark.parametrize("above", [False, True])
def test_no_count_is_surer_than_its_floats(above: bool) -> None:
    """Everybody is on the same side of the edge in the one scenario, nearer to it than float32 can see."""
    of = market("3.6", 2, 20, (18,))
    span = (1 + 1e-9, 1 + 3e-8) if above else (1 - 3e-8, 1 - 1e-9)
    columns = crowd(of, 2000, 6, span, (19, 23))
    keys = list(of.bulk.prices(of.globals_))
    moves = factors(of, keys, 1, 3, 1.0)
    before = of.bulk.at_prices(
        of.globals_, {k: round(of.globals_.prices[k] / f) for k, f in zip(keys, moves[0], strict=True)}
    )
    back = np.array([[of.globals_.prices[key] / before.prices[key] for key in keys]])
    found = stress(of.bulk, columns, before, of.at_s, keys, back)
    exact = len(Book(of.bulk, columns).below(of.globals_, of.at_s).rows)
    assert exact == (0 if above else 2000)
    assert found.least[0] <= exact <= found.most[0]


def test_the_shortfall_is_what_is_lacking() -> None:
    of = market("3.6", 1, 20)
    columns = crowd(of, 2000, 2, (0.8, 1.5))
    keys = list(of.bulk.prices(of.globals_))
    moves = factors(of, keys, 50, 3, 0.2)
    found = stress(of.bulk, columns, of.globals_, of.at_s, keys, moves)
    codes, amounts = of.bulk.codes(columns), columns.amounts()
    rows = np.repeat(np.arange(len(columns)), np.diff(columns.start))
    for scenario, move in enumerate(moves):
        prices = {key: round(of.globals_.prices[key] * f) for key, f in zip(keys, move, strict=True)}
        worth = of.bulk.weights(of.bulk.at_prices(of.globals_, prices), of.at_s).upper[codes] * amounts
        lacking = -np.minimum(np.bincount(rows, worth), 0).sum()
        assert found.shortfall[scenario] == pytest.approx(lacking, rel=1e-4)


def test_scenarios_come_back_in_their_order() -> None:
    of = market("3.6", 1, 20)
    columns = crowd(of, 500, 2, (0.9, 2.5))
    keys = list(of.bulk.prices(of.globals_))
    moves = factors(of, keys, 600, 3, 0.3)
    there, back = (stress(of.bulk, columns, of.globals_, of.at_s, keys, each) for each in (moves, moves[::-1]))
    assert there.least.tolist() == back.least.tolist()[::-1]
    assert there.most.tolist() == back.most.tolist()[::-1]


def test_nobody_and_nothing() -> None:
    of = market("3.6", 1, 20)
    nobody = crowd(of, 10, 2).take(np.zeros(0, np.int64))
    found = stress(of.bulk, nobody, of.globals_, of.at_s, [], np.ones((3, 0)))
    assert (found.least.tolist(), found.most.tolist(), found.left) == ([0, 0, 0], [0, 0, 0], 0)
    whole = stress(of.bulk, crowd(of, 1000, 2, (0.5, 1.5)), of.globals_, of.at_s, [], np.ones((2, 0)))
    assert 300 < whole.least[0] == whole.least[1] <= whole.most[0] < 700


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_price_is_refused(factor: float) -> None:
    of = market("3.6", 1, 8)
    keys = list(of.bulk.prices(of.globals_))[:1]
    with pytest.raises(ValueError, match="above 0"):
        stress(of.bulk, crowd(of, 10, 2), of.globals_, of.at_s, keys, np.full((1, 1), factor))
