"""Whole markets against the rule that single positions are judged by, on markets with everything that may go wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from monitor.core.errors import ProtocolError
from monitor.core.types import BlockRef, Known, NoDebt, Unreadable
from monitor.protocols.aave_v3 import PROTOCOL, words
from monitor.protocols.aave_v3.bulk import AaveV3Bulk
from monitor.protocols.aave_v3.cells import STABLE_KIND
from monitor.protocols.aave_v3.globals import Globals
from monitor.protocols.aave_v3.reading import read_state
from monitor.protocols.aave_v3.records import Facts
from monitor.protocols.aave_v3.static import read_static
from monitor.protocols.aave_v3.versions import TABLE
from monitor.protocols.columns import Columns, Mask
from monitor.testing.crowd import Market, address, crowd, market
from tests.protocols import aave_v3_fake as fake
from tests.protocols.aave_v3_fake import FakePool, fake_pool

VERSIONS = tuple(TABLE)
BLOCK = BlockRef(1, 100, "0x" + "11" * 32, "0x" + "22" * 32, 0)
ODD_DECIMALS = (18, 6, 8, 0, 36)
Verdict = tuple[int, int] | None


def judged(of: Market, columns: Columns, row: int, at_s: int) -> Verdict:
    """What every other command would say."""
    position = of.bulk.position(of.globals_, columns, row, BLOCK)
    if isinstance(position, Unreadable):
        return None
    verdict = PROTOCOL.evaluate(position, None, at_s).verdict
    if isinstance(verdict, Known):
        return verdict.numerator, verdict.denominator
    return (1, 0) if isinstance(verdict, NoDebt) else None


def exact(of: Market, columns: Columns, at_s: int | None = None) -> list[Verdict]:
    return of.bulk.exact(of.globals_, columns, np.arange(len(columns)), of.at_s if at_s is None else at_s)


def compare(of: Market, columns: Columns, at_s: int | None = None) -> list[Verdict]:
    """The exact verdicts, after each was found equal to the one of its position."""
    when = of.at_s if at_s is None else at_s
    found = exact(of, columns, when)
    assert found == [judged(of, columns, row, when) for row in range(len(columns))]
    return found


def surely(of: Market, columns: Columns, threshold: float, at_s: int) -> tuple[Mask, Mask]:
    """Who is at least at the threshold for sure, and who is below it for sure, by the promise of `Weights`."""
    weights, codes, amounts = of.bulk.weights(of.globals_, at_s), of.bulk.codes(columns), columns.amounts()
    rows = np.repeat(np.arange(len(columns)), np.diff(columns.start))

    def total(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.bincount(rows, values, len(columns))

    slack = total(weights.slack[codes])
    terms = [array[codes] * amounts for array in (weights.lower, weights.upper)]
    # not by maximum(terms, 0), which would make a number of what is none
    credit, debit = zip(*((total(np.where(t < 0, 0, t)), total(np.where(t > 0, 0, -t))) for t in terms), strict=True)
    safe = credit[0] - slack >= threshold * (debit[0] + slack)
    below = credit[1] + slack < threshold * (debit[1] - slack)
    masks = of.bulk.unknown_flags(of.globals_, columns.flags.shape[1], at_s)
    flagged = np.any(columns.flags & masks[columns.mode], axis=1)
    safe[flagged] = below[flagged] = False
    return safe, below


def misjudged(verdicts: list[Verdict], safe: Mask, below: Mask, threshold: tuple[int, int]) -> int:
    """How many of those that the floats decided the integers decide otherwise."""
    wrong = 0
    for verdict, sure, under in zip(verdicts, safe.tolist(), below.tolist(), strict=True):
        is_below = verdict is not None and verdict[0] * threshold[1] < threshold[0] * verdict[1]
        wrong += (sure and (verdict is None or is_below)) or (under and (verdict is None or not is_below))
    return wrong


@pytest.mark.parametrize("version", VERSIONS)
def test_a_crowd_is_judged_as_each_of_it_would_be(version: str) -> None:
    of = market(version, 1, 12, ODD_DECIMALS)
    for later_s in (0, 86_400):
        found = compare(of, crowd(of, 150, 2, (0.999, 1.001), (0, 22)), of.at_s + later_s)
        assert any(verdict and verdict[1] and verdict[0] < verdict[1] for verdict in found)
        assert any(verdict and verdict[1] and verdict[0] > verdict[1] for verdict in found)


def change_reserve(of: Market, number: int, **changes: Any) -> Market:
    reserves = {**of.globals_.reserves, number: replace(of.globals_.reserves[number], **changes)}
    return replace(of, globals_=replace(of.globals_, reserves=reserves))


def lose(of: Market, **changes: Any) -> Market:
    return replace(of, globals_=replace(of.globals_, **changes))


def without_price(of: Market, number: int) -> Market:
    return lose(of, prices={key: price for key, price in of.globals_.prices.items() if key != address(number)})


def with_price(of: Market, number: int, price: int) -> Market:
    return replace(of, globals_=of.bulk.at_prices(of.globals_, {address(number): price}))


def with_word(of: Market, number: int, change: Callable[[int], int]) -> Market:
    return change_reserve(of, number, configuration=change(of.globals_.reserves[number].configuration))


ODDITIES: dict[str, Callable[[Market], Market]] = {
    "a price is missing": lambda of: without_price(of, 0),
    "a price is 0": lambda of: with_price(of, 0, 0),
    "a price overflows": lambda of: with_price(of, 0, 2**250),
    "a category's price is missing": lambda of: without_price(of, 1000),
    "a category's price is 0": lambda of: with_price(of, 1000, 0),
    "a reserve is unreadable": lambda of: lose(
        of, unreadable={1: "why"}, reserves={n: r for n, r in of.globals_.reserves.items() if n != 1}
    ),
    "a reserve was dropped": lambda of: lose(of, reserves={n: r for n, r in of.globals_.reserves.items() if n != 1}),
    "a category is unread": lambda of: lose(of, categories={2: of.globals_.categories[2]}),
    "a category's threshold is 0": lambda of: lose(
        of, categories={n: replace(c, liquidation_threshold=0) for n, c in of.globals_.categories.items()}
    ),
    "a reserve's threshold is 0": lambda of: with_word(of, 0, lambda word: word & ~0xFFFFFFFF),
    "a reserve has no virtual accounting": lambda of: with_word(of, 0, lambda word: word & ~(1 << 252)),
    "an index is vast": lambda of: change_reserve(of, 0, liquidity_index=2**200),
    "a rate reverts": lambda of: change_reserve(of, 0, variable_borrow_rate=2**255, liquidity_rate=2**255),
    "a reserve is from the future": lambda of: change_reserve(of, 0, last_update_s=of.at_s + 1),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("oddity", ODDITIES)
def test_what_is_odd_is_odd_here_too(version: str, oddity: str) -> None:
    of = ODDITIES[oddity](market(version, 1, 6))
    columns = crowd(market(version, 1, 6), 60, 3, (0.9, 1.1))
    columns.flags[::7] |= np.uint64(0b1100_0011)  # bits without balances, and balances whose debt bit is in the way
    columns.flags[1::11] &= ~np.uint64(0b11)
    verdicts = compare(of, columns)
    for threshold in ((1, 1), (21, 20)):
        safe, below = surely(of, columns, threshold[0] / threshold[1], of.at_s)
        assert misjudged(verdicts, safe, below, threshold) == 0


@pytest.mark.parametrize("version", ["3.0", "3.2", "3.6"])
def test_accounts_that_floats_leave_alone(version: str) -> None:
    """Stable debt, huge balances, modes that nobody read, balances in reserves that nobody listed."""
    of = market(version, 1, 6)
    columns = crowd(of, 80, 3, (0.9, 1.1))
    columns.mode[:10] = 77
    columns.high[columns.start[10:20]] = 2**50
    columns.flags[20:23] |= np.uint64(1)
    for row, place, kind, amount in (
        (20, 0, STABLE_KIND, 10**18),
        (20, 1, STABLE_KIND + 256, of.at_s - 999),
        (21, 0, STABLE_KIND, 10**18),
        (21, 1, STABLE_KIND + 128, 10**25),
        (22, 0, STABLE_KIND + 128, 10**25),
        (23, 0, 2 * 6 + 1, 5),
        (24, 0, 90, 7),
    ):
        at = columns.start[row] + place
        columns.kind[at], columns.low[at], columns.high[at] = kind, amount % 2**64, amount >> 64
    columns.flags[30:33] = 0
    columns.mode[30:32] = (1, 77)
    verdicts = compare(of, columns)
    assert set(verdicts[30:33]) == {(1, 0)}
    assert verdicts[:10] == [None] * 10
    safe, below = surely(of, columns, 1.0, of.at_s)
    assert misjudged(verdicts, safe, below, (1, 1)) == 0
    assert not safe[:21].any()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("worth", "decimals"), [((9.0, 14.0), (18, 6, 8)), ((0.0, 22.0), ODD_DECIMALS)])
def test_no_float_is_wrong_where_it_decides(
    version: str, worth: tuple[float, float], decimals: tuple[int, ...]
) -> None:
    """At the very edge, where half of them are on either side, and at thresholds that are not 1."""
    of = market(version, 5, 30, decimals)
    for threshold in ((1, 1), (21, 20), (1, 2)):
        at = threshold[0] / threshold[1]
        columns = crowd(of, 2500 if worth[0] else 500, 6, (at * (1 - 3e-4), at * (1 + 3e-4)), worth)
        safe, below = surely(of, columns, at, of.at_s)
        assert misjudged(exact(of, columns), safe, below, threshold) == 0
        # the bound is worth something: half of the range is farther from the edge than a rounded threshold can reach
        assert safe.sum() > len(columns) // 12
        assert below.sum() > len(columns) // 12


@pytest.mark.parametrize("version", ["3.0", "3.6"])
def test_price_codes_are_those_that_a_price_moves(version: str) -> None:
    of = market(version, 5, 8)
    before = of.bulk.weights(of.globals_, of.at_s)
    for key, price in of.bulk.prices(of.globals_).items():
        after = of.bulk.weights(of.bulk.at_prices(of.globals_, {key: 2 * price}), of.at_s)
        moved = of.bulk.price_codes(of.globals_, key)
        for old, new in ((before.lower, after.lower), (before.upper, after.upper)):
            np.testing.assert_array_equal(np.where(moved, 2 * old, old), new)
        assert (after.slack <= 2 * before.slack + 1e-9)[moved].all()


# -- what is read ------------------------------------------------------------------------------------------------------

ALICE, BOB, CAROL = (address(0x500 + n) for n in range(3))


def facts_of(pool: FakePool) -> Facts:
    return pool.run(read_static(fake.MARKET))


def globals_of(pool: FakePool, bulk: AaveV3Bulk) -> Globals:
    return pool.run(bulk.read_globals(fake.BLOCK))


def people(pool: FakePool) -> tuple[Columns, list[str]]:
    pool.open_account(ALICE, 0b10_01_10)
    pool.open_account(BOB, 0b01_00_11, 1)
    pool.open_account(CAROL, 0)
    pool.give(ALICE, 0, 0)
    pool.give(ALICE, 1, 11, 12)
    pool.give(ALICE, 2, 13)
    pool.give(ALICE, 0, 14)
    pool.give(BOB, 0, 21, 22, (5, 6, 7))
    pool.give(BOB, 2, 0, 23)
    owners = np.array([list(bytes.fromhex(owner[2:])) for owner in (ALICE, BOB, CAROL)], np.uint8)
    entries = [[(1, 14), (2, 12), (3, 11), (5, 13)], [(0, 22), (1, 21), (4, 23)], []]
    flags = np.array([[0b10_01_10], [0b01_00_11], [0]], np.uint64)
    start = np.array([0, 4, 7, 7])
    kind, low = (np.array([entry[n] for one in entries for entry in one]) for n in (0, 1))
    mode = np.array([0, 1, 0], np.uint8)
    columns = Columns(owners, mode, flags, start, kind.astype(np.uint16), low.astype(np.uint64), np.zeros(7, np.uint64))
    return columns, [ALICE, BOB, CAROL]


class TestReading:
    def check(self, pool: FakePool) -> Globals:
        """The positions are those that reading each owner brings."""
        columns, owners = people(pool)
        facts = facts_of(pool)
        bulk = AaveV3Bulk(facts, (1,))
        read = globals_of(pool, bulk)
        singles = pool.run(read_state(facts, owners, fake.BLOCK))
        if facts.version in ("3.0", "3.1"):
            stable = [STABLE_KIND, STABLE_KIND + 128, STABLE_KIND + 256]
            columns.kind = np.concatenate([columns.kind, np.array(stable, np.uint16)])
            columns.low = np.concatenate([columns.low, np.array([5, 6, 7], np.uint64)])
            columns.high = np.zeros(10, np.uint64)
            columns.start[2:] = 10
        for row, single in enumerate(singles):
            found = bulk.position(read, columns, row, fake.BLOCK)
            if isinstance(single, Unreadable):
                assert isinstance(found, Unreadable)
            else:
                assert found == single
        return read

    def pool(self, **changes: Any) -> FakePool:
        pool = fake_pool(functions=fake.SINCE_3_6)
        pool.say(fake.POOL, "aave_v3_pool.getEModeCategoryCollateralConfig", 1, is_=(9000, 9300, 10100))
        pool.say(fake.POOL, "aave_v3_pool.getEModeCategoryCollateralBitmap", 1, is_=0b101)
        pool.say(fake.POOL, "aave_v3_pool.getEModeCategoryLtvzeroBitmap", 1, is_=0b100)
        return pool

    def test_everything_there(self) -> None:
        pool = self.pool()
        read = self.check(pool)
        assert read.version == "3.6"
        assert sorted(read.prices) == sorted(address(n) for n in range(3))
        assert read.categories[1].collateral_bitmap == 0b101
        globals_of(pool, AaveV3Bulk(facts_of(pool), (1,)))
        assert len(pool.rounds) == 1

    def test_a_category_with_its_own_price_takes_a_round_more(self) -> None:
        pool = fake_pool()
        pool.say(fake.POOL, "aave_v3_pool.getEModeCategoryData", 1, is_=(9000, 9300, 10100, address(0), ""))
        pool.list_reserve(3, category=1)
        pool.say(fake.ORACLE, "aave_v3_oracle.getAssetPrice", address(700), is_=5 * 10**7)
        facts = facts_of(pool)
        pool.say(fake.POOL, "aave_v3_pool.getEModeCategoryData", 1, is_=(9000, 9300, 10100, address(700), ""))
        bulk = AaveV3Bulk(facts, (1,))
        assert globals_of(pool, bulk).prices[address(700)] == 5 * 10**7
        assert len(pool.rounds) == 2
        self.check(pool)

    @pytest.mark.parametrize(
        ("to", "function", "key"),
        [
            (fake.ORACLE, "aave_v3_oracle.getAssetPrice", address(1)),
            (fake.POOL, "aave_v3_pool.getEModeCategoryCollateralConfig", 1),
        ],
    )
    def test_what_is_missing_harms_its_holders(self, to: str, function: str, key: Any) -> None:
        pool = self.pool()
        pool.mute(to, function, key)
        read = self.check(pool)
        assert address(1) not in read.prices or 1 not in read.categories

    def test_a_reserve_that_changed_harms_its_holders(self) -> None:
        pool = self.pool()
        columns, _ = people(pool)
        bulk = AaveV3Bulk(facts_of(pool), (1,))
        pool.mute(fake.POOL, "aave_v3_pool.getReserveData", address(1))
        read = globals_of(pool, bulk)
        assert sorted(read.unreadable) == [1]
        assert bulk.exact(read, columns, np.arange(3), fake.BLOCK.timestamp)[0] is None
        of = Market(bulk, read, fake.BLOCK.timestamp)
        assert compare(of, columns)[2] == (1, 0)

    def test_another_list_is_refused(self) -> None:
        pool = self.pool()
        bulk = AaveV3Bulk(facts_of(pool), (1,))
        pool.list_reserve(3)
        with pytest.raises(ProtocolError, match="list of reserves"):
            globals_of(pool, bulk)


def test_kinds_are_the_bits_of_the_configuration() -> None:
    assert words.is_borrowing(1 << 2 * 5, 5)
    assert words.is_using_as_collateral(1 << 2 * 5 + 1, 5)
    of = market("3.6", 1, 40)
    columns = crowd(of, 50, 1)
    assert columns.flags.shape == (50, 2)
    assert (of.bulk.codes(columns) >= 2).all()
    columns.flags[:] = 0
    assert not of.bulk.codes(columns).any()
