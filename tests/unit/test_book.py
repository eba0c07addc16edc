"""Whole markets in floats against the integers of everybody in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from monitor.health.band import Band
from monitor.health.book import ONE, Below, Book
from monitor.health.inverse import Inverse
from monitor.protocols.aave_v3.bound import GUARD
from monitor.protocols.aave_v3.globals import Globals
from monitor.protocols.columns import I64, Columns, Weights
from monitor.testing.crowd import Market, address, crowd, market
from tests.protocols.test_aave_v3_bulk import ODD_DECIMALS, ODDITIES

VERSIONS = ("3.0", "3.2", "3.4", "3.6", "3.7")
THRESHOLDS = (ONE, Fraction(21, 20), Fraction(1, 2), Fraction(3))


class Kept:
    """Accounts that take changes."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns)

    def take(self, rows: I64) -> Columns:
        return self.columns.take(rows)

    def change(self, rows: Sequence[int], by: Columns) -> None:
        """These rows, or new ones beyond the last, become the rows of `by`."""
        both = joined(self.columns, by)
        order = list(range(max(len(self.columns), max(rows) + 1)))
        for place, row in enumerate(rows):
            order[row] = len(self.columns) + place
        self.columns = both.take(np.array(order))


def joined(one: Columns, other: Columns) -> Columns:
    start = np.concatenate([one.start, one.start[-1] + other.start[1:]])
    pairs = ((getattr(one, n), getattr(other, n)) for n in ("owners", "mode", "flags", "kind", "low", "high"))
    owners, mode, flags, kind, low, high = (np.concatenate(pair) for pair in pairs)
    return Columns(owners, mode, flags, start, kind, low, high)


def by_integers(of: Market, columns: Columns, globals_: Globals | None = None, at_s: int | None = None) -> list[object]:
    return list(
        of.bulk.exact(globals_ or of.globals_, columns, np.arange(len(columns)), of.at_s if at_s is None else at_s)
    )


def check(found: Below, verdicts: list[object], threshold: Fraction) -> None:
    """The same rows as the integers of everybody give."""
    pairs = [(row, v) for row, v in enumerate(verdicts) if isinstance(v, tuple) and v[1]]
    assert found.rows.tolist() == [row for row, (n, d) in pairs if Fraction(n, d) < threshold]
    assert found.unknown.tolist() == [row for row, v in enumerate(verdicts) if v is None]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("worth", [(9.0, 14.0), (0.0, 22.0)], ids=["ordinary", "any"])
def test_verdicts_are_those_of_the_integers(version: str, worth: tuple[float, float]) -> None:
    of = market(version, 1, 30, ODD_DECIMALS if worth[0] == 0 else (18, 6, 8))
    size = 2000 if worth[0] else 300  # an asset of 36 decimals is left to the integers, one account at a time
    near = crowd(of, size, 2, (0.9997, 1.0003), worth)
    columns = joined(near, crowd(of, size, 3, (0.4, 4), worth))
    book, verdicts = Book(of.bulk, columns), by_integers(of, columns)
    for threshold in THRESHOLDS:
        found = book.below(of.globals_, of.at_s, threshold)
        check(found, verdicts, threshold)
        if worth[0] > 0:
            assert found.reckoned < len(columns) // 2
        assert len(book.follow(of.globals_, of.at_s, threshold).rows) == len(found.rows)


@pytest.mark.parametrize("oddity", ODDITIES)
@pytest.mark.parametrize("version", ["3.1", "3.3", "3.6"])
def test_the_unknown_are_found_whatever_is_odd(version: str, oddity: str) -> None:
    plain = market(version, 1, 6)
    columns = crowd(plain, 200, 3, (0.9, 1.1))
    columns.flags[::7] |= np.uint64(0b1100_0011)
    columns.mode[::31] = 99
    of = ODDITIES[oddity](plain)
    book = Book(plain.bulk, columns)
    check(book.follow(plain.globals_, of.at_s), by_integers(plain, columns), ONE)
    verdicts = by_integers(of, columns)
    check(book.below(of.globals_, of.at_s), verdicts, ONE)
    check(book.follow(of.globals_, of.at_s), verdicts, ONE)
    check(book.follow(plain.globals_, of.at_s), by_integers(plain, columns), ONE)
    assert book.spread(of.globals_, of.at_s, [ONE]).unknown.tolist() == [i for i, v in enumerate(verdicts) if v is None]


def test_accounts_of_any_width() -> None:
    """None, one or very many balances; more than a pass takes are judged all the same."""
    of = market("3.6", 1, 40)
    parts = []
    for width in (0, 1, 2, 5, 9, 15, 16, 17, 30, 39):
        for health in (0.99, 1.01):
            one = crowd(of, 1, width, (1.0, 1.0))
            kinds = np.array([2 * n + (n > 0) for n in range(width)], np.uint16)
            flags = np.zeros((1, 2), np.uint64)
            for kind in kinds.tolist():
                flags[0, kind // 64] |= np.uint64(1 << kind % 64)
            account = Columns(
                one.owners,
                one.mode * 0,
                flags,
                np.array([0, width]),
                kinds,
                np.ones(width, np.uint64),
                np.zeros(width, np.uint64),
            )
            weights = of.bulk.weights(of.globals_, of.at_s).upper[of.bulk.codes(account)]
            credit = 1e12 / np.maximum(weights[1:], 1e-30)
            account.low[1:] = np.minimum(credit, 2.0**63).astype(np.uint64)
            if width > 1:
                owed = (weights[1:] * account.low[1:]).sum() / health / -weights[0]
                account.low[0], account.high[0] = int(owed) % 2**64, int(owed) >> 64
            parts.append(account)
    columns = parts[0]
    for part in parts[1:]:
        columns = joined(columns, part)
    book, verdicts = Book(of.bulk, columns), by_integers(of, columns)
    assert {bool(v[0] < v[1]) for v in verdicts if isinstance(v, tuple) and v[1]} == {True, False}
    assert len(book.shadow.wide) == 6
    for threshold in (ONE, Fraction(21, 20)):
        check(book.below(of.globals_, of.at_s, threshold), verdicts, threshold)
        check(book.follow(of.globals_, of.at_s, threshold), verdicts, threshold)


@pytest.mark.parametrize("span", [1e-4, 1e-5, 1e-6, 2e-7, 1e-10, 2e-12, 3e-13, 1e-15])
def test_floats_are_as_sure_as_they_may_be(span: float) -> None:
    """Fortunes whose roundings are far below the edge: only what floats themselves lose is left to be wrong about."""
    of = market("3.6", 2, 30, (18,))
    middle = 1 + 2 * GUARD  # the crowd is made from weights that have it
    columns = crowd(of, 2000, 6, (middle - span, middle + span), (19, 23))
    found = Book(of.bulk, columns).below(of.globals_, of.at_s)
    check(found, by_integers(of, columns), ONE)
    assert 600 < len(found.rows) < 1400
    if span > 1e-11:
        assert found.reckoned < 400


def test_dust_without_debt_takes_no_integers() -> None:
    of = market("3.6", 1, 24)
    columns = crowd(of, 500, 2, (0.9, 1.1))
    collateral = columns.kind % 2 == 1
    columns.flags &= np.uint64(0xAAAAAAAAAAAAAAAA)
    columns.low[collateral], columns.high[collateral] = 1, 0
    book = Book(of.bulk, columns)
    for found in (book.below(of.globals_, of.at_s), book.follow(of.globals_, of.at_s)):
        assert (len(found.rows), len(found.unknown), found.reckoned) == (0, 0, 0)
    assert set(by_integers(of, columns)) == {(1, 0)}


def moved(of: Market, globals_: Globals, random: np.random.Generator, by: float) -> Globals:
    prices = of.bulk.prices(globals_)
    return of.bulk.at_prices(globals_, {k: int(p * (1 + random.uniform(-by, by))) for k, p in prices.items()})


@pytest.mark.parametrize("version", ["3.0", "3.6"])
def test_a_market_is_followed(version: str) -> None:
    """Prices, interest, accounts that change, come and go wide, parameters: after each the answer is the integers'."""
    of = market(version, 1, 24)
    random = np.random.default_rng(7)
    kept = Kept(crowd(of, 1000, 2, (0.98, 1.3)))
    book = Book(of.bulk, kept)
    globals_, at_s = of.globals_, of.at_s
    for step in range(24):
        at_s += int(random.integers(1, 4000))
        globals_ = moved(of, globals_, random, 0.05 if step % 10 == 9 else 0.002)
        if step % 3 == 1:
            rows = np.unique(random.integers(0, len(kept) + 5, 8))
            rows = np.concatenate([rows[rows < len(kept)], len(kept) + np.arange((rows >= len(kept)).sum())])
            kept.change(rows.tolist(), crowd(of, len(rows), step, (0.97, 1.03)))
            book.update(rows)
        if step == 13:
            categories = {n: replace(c, liquidation_threshold=9000) for n, c in globals_.categories.items()}
            globals_ = replace(globals_, categories=categories)
        verdicts = by_integers(of, kept.columns, globals_, at_s)
        check(book.follow(globals_, at_s), verdicts, ONE)
        check(book.follow(globals_, at_s, Fraction(21, 20)), verdicts, Fraction(21, 20))
        check(book.below(globals_, at_s), verdicts, ONE)


def test_many_changes_draw_the_band_anew() -> None:
    of = market("3.6", 1, 24)
    kept = Kept(crowd(of, 6000, 2, (0.98, 1.3)))
    book = Book(of.bulk, kept)
    book.follow(of.globals_, of.at_s)
    rows = np.arange(5000)
    kept.change(rows.tolist(), crowd(of, 5000, 9, (0.97, 1.03)))
    book.update(rows)
    for _ in range(2):
        check(book.follow(of.globals_, of.at_s), by_integers(of, kept.columns), ONE)


def test_a_band_covers_what_it_has_room_for() -> None:
    """Weights that move against the accounts by less than its reach; slacks that at most double; nothing unknown."""
    of = market("3.6", 1, 24)
    columns = crowd(of, 500, 2, (0.98, 1.3))
    before = of.bulk.weights(of.globals_, of.at_s)
    band = Band(of.bulk, columns, Book(of.bulk, columns).shadow, before, 1.0)
    credits_, debits = before.lower > 0, before.lower < 0
    code = int(of.bulk.codes(columns)[0])

    def covers(credit: float = 1, debit: float = 1, slack: float = 1, one: float = 1) -> bool:
        lower = np.where(credits_, before.lower * credit, np.where(debits, before.lower * debit, before.lower))
        lower[code] *= one
        return band.covers(Weights(lower, before.upper, before.slack * slack))

    assert covers()
    assert covers(credit=0.991)
    assert covers(debit=1.009)
    assert covers(credit=0.996, debit=1.005)
    assert covers(credit=1.3, debit=0.8)
    assert covers(slack=1.9)
    assert not covers(credit=0.98)
    assert not covers(debit=1.02)
    assert not covers(credit=0.994, debit=1.006)
    assert not covers(slack=2.1)
    assert not covers(one=np.nan)
    assert not covers(one=-1)


@pytest.mark.parametrize("version", ["3.0", "3.6"])
def test_the_riskiest_in_order(version: str) -> None:
    of = market(version, 1, 24)
    columns = crowd(of, 900, 2, (1.1, 5))
    columns = joined(columns, columns.take(np.arange(200, 300)))  # the same hundred twice: ties
    columns.flags[500:510] = 0
    verdicts = by_integers(of, columns)
    known = [(Fraction(*v), row) for row, v in enumerate(verdicts) if isinstance(v, tuple) and v[1]]
    book = Book(of.bulk, columns)
    for size in (1, 7, 50, 2000):
        ranked = book.riskiest(of.globals_, of.at_s, size)
        assert [(Fraction(one.numerator, one.denominator), one.row) for one in ranked] == sorted(known)[:size]
    assert len({health for health, _ in known}) < len(known)


def test_the_riskiest_are_among_the_known() -> None:
    of = market("3.6", 1, 24)
    columns = crowd(of, 300, 2, (1.1, 5))
    columns.mode[::3] = 99
    ranked = Book(of.bulk, columns).riskiest(of.globals_, of.at_s, 40)
    assert len(ranked) == 40
    assert not [one for one in ranked if one.row % 3 == 0]


@pytest.mark.parametrize("version", ["3.0", "3.6"])
def test_the_spread_counts_everybody_once(version: str) -> None:
    of = market(version, 1, 24)
    columns = joined(crowd(of, 800, 2, (0.5, 5)), crowd(of, 800, 2, (0.9999, 1.0001), (0, 12)))
    columns.flags[100:110] = 0
    columns.mode[110:115] = 99
    edges = [Fraction(1, 2), ONE, Fraction(21, 20), Fraction(2)]
    spread = Book(of.bulk, columns).spread(of.globals_, of.at_s, edges)
    verdicts = by_integers(of, columns)
    healths = [Fraction(*v) for v in verdicts if isinstance(v, tuple) and v[1]]
    places = [sum(health >= edge for edge in edges) for health in healths]
    assert spread.accounts.tolist() == np.bincount(places, minlength=5).tolist()
    assert spread.unknown.tolist() == list(range(110, 115))
    assert (spread.debt[spread.accounts > 0] > 0).all()


@pytest.mark.parametrize("version", ["3.0", "3.6"])
@pytest.mark.parametrize("threshold", [ONE, Fraction(21, 20)])
def test_who_falls_with_one_price(version: str, threshold: Fraction) -> None:
    of = market(version, 1, 8, (18, 6, 8, 0))
    columns = joined(crowd(of, 2000, 2, (0.95, 2.5)), crowd(of, 500, 2, (0.9, 1.5), (0, 22)))
    columns.mode[::97] = 99
    book = Book(of.bulk, columns)
    for key in (address(0), address(1)):
        inverse = Inverse(book, of.globals_, of.at_s, key, threshold)
        price = of.bulk.prices(of.globals_)[key]
        holds = np.zeros(len(columns), np.bool_)
        codes = of.bulk.codes(columns)
        rows = np.repeat(np.arange(len(columns)), np.diff(columns.start))
        holds[rows[of.bulk.price_codes(of.globals_, key)[codes]]] = True
        for percent in (1, 50, 95, 99, 100, 101, 105, 150, 1000):
            shocked = of.bulk.at_prices(of.globals_, {key: max(price * percent // 100, 1)})
            found = inverse.below(shocked, of.at_s + 60)
            everybody = book.below(shocked, of.at_s + 60, threshold)
            assert found.rows[holds[found.rows]].tolist() == everybody.rows[holds[everybody.rows]].tolist()
            assert set(everybody.unknown) <= set(found.unknown)
        assert len(inverse.candidates(0.99)) < holds.sum()


@pytest.mark.parametrize("factor", [0.001, 0.05, 0.9, 1.1, 20, 1000])
@pytest.mark.parametrize(
    ("decimals", "worth", "span"), [(18, (19, 23), 1e-7), (6, (4, 8), 0.1)], ids=["fortunes", "dust"]
)
def test_critical_prices_have_room_for_what_is_lost(
    factor: float, decimals: int, worth: tuple[float, float], span: float
) -> None:
    """All are at the edge once the price has moved: fortunes nearer than float32 can see, dust by its roundings."""
    of = market("3.6", 2, 6, (decimals,))
    columns = crowd(of, 4000, 6, (1 - span, 1 + span), worth)
    book, price = Book(of.bulk, columns), of.globals_.prices[address(0)]
    before = of.bulk.at_prices(of.globals_, {address(0): round(price / factor)})
    inverse = Inverse(book, before, of.at_s, address(0), drift=Fraction(0))
    rows = np.repeat(np.arange(len(columns)), np.diff(columns.start))
    holders = np.unique(rows[of.bulk.price_codes(of.globals_, address(0))[of.bulk.codes(columns)]])
    below = np.intersect1d(book.below(of.globals_, of.at_s).rows, holders)
    assert len(below) > 400
    assert np.isin(below, inverse.below(of.globals_, of.at_s).rows).all()


def test_an_inverse_that_is_out_of_date_says_so() -> None:
    of = market("3.6", 1, 8)
    book = Book(of.bulk, crowd(of, 100, 2))
    inverse = Inverse(book, of.globals_, of.at_s, address(0))
    other = of.bulk.at_prices(of.globals_, {address(1): of.globals_.prices[address(1)] * 101 // 100})
    with pytest.raises(ValueError, match="draw the inverse anew"):
        inverse.below(other, of.at_s)
    with pytest.raises(ValueError, match="draw the inverse anew"):
        inverse.below(of.globals_, of.at_s + 10**7)


@pytest.mark.parametrize("threshold", [Fraction(0), Fraction(1, 2000), Fraction(2000)])
def test_thresholds_without_a_promise_are_refused(threshold: Fraction) -> None:
    of = market("3.6", 1, 8)
    with pytest.raises(ValueError, match="a threshold is between"):
        Book(of.bulk, crowd(of, 10, 2)).below(of.globals_, of.at_s, threshold)


def test_what_it_takes_in_memory() -> None:
    """Exact columns and shadow of a million accounts stay below 150 MB."""
    of = market("3.6", 1)
    columns = crowd(of, 20_000, 2)
    arrays = (columns.owners, columns.mode, columns.flags, columns.start, columns.kind, columns.low, columns.high)
    assert sum(array.nbytes for array in arrays) + Book(of.bulk, columns).shadow.nbytes() < 150 * len(columns)


def test_who_comes_to_have_an_unknown_bit_is_unknown_and_who_loses_it_is_not() -> None:
    """The bit alone: no balance, and so no weight, tells of it."""
    of = market("3.6", 1, 24)
    globals_ = replace(
        of.globals_,
        reserves={number: reserve for number, reserve in of.globals_.reserves.items() if number != 3},
        unreadable={3: "T3: its reserve data could not be read"},
    )
    kept = Kept(crowd(of, 300, 2, (0.98, 1.3)))
    book = Book(of.bulk, kept)
    for step in range(4):
        rows = np.arange(20 * step, 20 * step + 60)
        changed = crowd(of, len(rows), step, (0.97, 1.2))
        changed.flags[: 10 * step] |= np.uint64(1 << 2 * 3 + 1)
        kept.change(rows.tolist(), changed)
        book.update(rows)
        verdicts = by_integers(of, kept.columns, globals_, of.at_s)
        assert sum(verdict is None for verdict in verdicts) >= 10 * step
        check(book.follow(globals_, of.at_s), verdicts, ONE)
        check(book.below(globals_, of.at_s), verdicts, ONE)
