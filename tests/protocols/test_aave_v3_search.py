"""The nearest liquidation price and moment against looking at every single one, on accounts small enough for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from monitor.core.types import Known, Position
from monitor.health.solve import liquidation_price, nearest_unhealthy, seconds_to_liquidation
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.records import Category
from monitor.protocols.aave_v3.search import Sums, threshold_bounds
from monitor.protocols.aave_v3.verdict import Undecidable
from monitor.protocols.aave_v3.versions import TABLE
from monitor.protocols.base import with_price
from tests.protocols.aave_v3_positions import NOW_S, RAY, asset, position, reserve

VERSIONS = tuple(TABLE)
SOURCE = "0x00000000000000000000000000000000000000fF"
YEAR_S = 31_536_000


def unhealthy(found: Position, at_s: int | None = None) -> bool:
    verdict = PROTOCOL.evaluate(found, None, at_s).verdict
    return isinstance(verdict, Known) and verdict.unhealthy


def by_hand(found: Position, key: str, prices: range) -> int | None:
    return next((price for price in prices if unhealthy(with_price(found, key, price))), None)


def some_position(chance: random.Random, version: str) -> Position:
    """Thresholds far apart and small values, so that whole basis points weigh; assets that are collateral and debt."""
    held = [
        reserve(
            n,
            chance.choice((0, chance.randrange(1, 40))),
            chance.choice((0, 0, chance.randrange(1, 12))),
            word_={
                "threshold": chance.choice((300, 2_000, 5_001, 7_777, 8_000, 9_500)),
                "decimals": chance.choice((0, 1)),
            },
        )
        for n in range(3)
    ]
    held.append(reserve(3, 0, chance.randrange(1, 15)))
    return position(version, held, [chance.randrange(10, 60) for _ in held])


@pytest.mark.parametrize("version", VERSIONS)
def test_the_nearest_price_is_the_nearest_of_all(version: str) -> None:
    chance = random.Random(f"prices {version}")
    crossings = {"below": 0, "above": 0}
    for _ in range(40):
        found = some_position(chance, version)
        if unhealthy(found):
            continue
        for key, current in found.prices.items():
            below = by_hand(found, key, range(current - 1, 0, -1))
            assert liquidation_price(PROTOCOL, found, key, "below") == below
            far = 3 * current
            above = liquidation_price(PROTOCOL, found, key, "above")
            assert (above if above is not None and above <= far else None) == by_hand(
                found, key, range(current + 1, far + 1)
            )
            crossings["below"] += below is not None
            crossings["above"] += above is not None
    assert min(crossings.values()) >= 5


def test_health_up_to_3_4_rises_while_a_price_falls() -> None:
    """What a bisection would get wrong: below a first band of liquidation lies health again, and then liquidation."""
    held = [reserve(0, 1, word_={"threshold": 8000}), reserve(1, 1, word_={"threshold": 4000}), reserve(2, 0, 1)]
    found = position("3.4", held, [10_000, 3_000, 9_198])
    verdicts = [unhealthy(with_price(found, asset(1), price)) for price in range(3_000, 0, -1)]
    turns = sum(a != b for a, b in pairwise(verdicts))
    assert not verdicts[0]
    assert turns >= 3
    assert liquidation_price(PROTOCOL, found, asset(1), "below") == by_hand(found, asset(1), range(2_999, 0, -1))


@pytest.mark.parametrize("version", ["3.0", "3.1"])
def test_a_categorys_source_moves_all_of_its_assets(version: str) -> None:
    own = Category(1, 9000, 9300, 10100, price_source=SOURCE)
    inside = {"category": 1}
    held = [reserve(0, 30, word_=inside), reserve(1, 20, 9, word_=inside), reserve(2, 7), reserve(3, 0, 11)]
    prices = {SOURCE: 90, asset(2): 40, asset(3): 300} | {asset(n): 1 for n in (0, 1)}
    found = position(version, held, prices, own)
    assert not unhealthy(found)
    crossing = by_hand(found, SOURCE, range(89, 0, -1))
    assert crossing is not None
    assert liquidation_price(PROTOCOL, found, SOURCE, "below") == crossing
    assert liquidation_price(PROTOCOL, found, asset(0), "below") is None


@pytest.mark.parametrize("version", VERSIONS)
def test_no_price_does_it(version: str) -> None:
    alone = position(version, [reserve(0, 1000), reserve(1, 1000), reserve(2, 0, 1)], [100, 100, 1])
    assert liquidation_price(PROTOCOL, alone, asset(0), "below") is None
    assert liquidation_price(PROTOCOL, alone, asset(0), "above") is None
    assert liquidation_price(PROTOCOL, alone, asset(2), "below") is None
    assert liquidation_price(PROTOCOL, alone, asset(2), "above") == 160_001


@pytest.mark.parametrize("version", VERSIONS)
def test_the_first_unhealthy_second(version: str) -> None:
    chance = random.Random(f"times {version}")
    hits = 0
    for _ in range(20):
        rates = [chance.randrange(0, 400) * RAY for _ in range(2)]
        amounts = [chance.randrange(10**6) for _ in range(2)]
        covered = (amounts[0] * 8000 + amounts[1] * 5001) // 10_000
        held = [
            reserve(0, amounts[0], liquidity_rate=rates[0] * chance.choice((0, 1)), word_={"threshold": 8000}),
            reserve(1, amounts[1], liquidity_rate=rates[0] // 3, word_={"threshold": 5001}),
            reserve(2, 0, covered * chance.randrange(9_985, 10_000) // 10_000, variable_borrow_rate=rates[1]),
        ]
        found = position(version, held, [1, 1, 1])
        if unhealthy(found):
            assert seconds_to_liquidation(PROTOCOL, found) == 0
            continue
        within = 250
        expected = next((s for s in range(1, within + 1) if unhealthy(found, NOW_S + s)), None)
        assert seconds_to_liquidation(PROTOCOL, found, within) == expected
        hits += expected is not None
    assert hits >= 5


def test_time_never_comes() -> None:
    still = position("3.6", [reserve(0, 10), reserve(1, 0, 1)], [100, 1])
    assert seconds_to_liquidation(PROTOCOL, still) is None
    assert seconds_to_liquidation(PROTOCOL, position("3.6", [reserve(0, 10)], [1])) is None
    slow = position("3.6", [reserve(0, 10**6), reserve(1, 0, 10**5, variable_borrow_rate=RAY // 10)], [1, 1])
    assert seconds_to_liquidation(PROTOCOL, slow) is None
    assert seconds_to_liquidation(PROTOCOL, slow, 40 * YEAR_S) is not None


def test_searches_are_quick() -> None:
    """Counted in probes and not in seconds, so that a busy machine does not matter."""
    for version in VERSIONS:
        held = [
            reserve(0, 3 * 10**18, word_={"decimals": 18, "threshold": 8250}, liquidity_rate=RAY // 50),
            reserve(1, 10**8, word_={"decimals": 8, "threshold": 7800}, liquidity_rate=RAY // 100),
            reserve(2, 10**9, 5 * 10**10, word_={"decimals": 6}, variable_borrow_rate=RAY // 20),
        ]
        found = position(version, held, [2_500 * 10**8, 60_000 * 10**8, 10**8])
        for key, current in found.prices.items():
            for near, far in ((current - 1, 1), (current + 1, 2**96)):
                count, probe = counted(PROTOCOL.unhealthy_between_prices(found, key))
                nearest_unhealthy(probe, near, far)
                assert count() < 600
        count, probe = counted(PROTOCOL.unhealthy_between_times(found))
        assert nearest_unhealthy(probe, NOW_S + 1, NOW_S + 10 * YEAR_S) is not None
        assert count() < 600


def counted(probe: Callable[[int, int], bool | None]) -> tuple[Callable[[], int], Callable[[int, int], bool | None]]:
    calls = []

    def counting(low: int, high: int) -> bool | None:
        calls.append((low, high))
        return probe(low, high)

    return lambda: len(calls), counting


@pytest.mark.parametrize("version", VERSIONS)
def test_a_probe_is_never_wrong_about_an_interval(version: str) -> None:
    chance = random.Random(f"intervals {version}")
    seen = dict.fromkeys((True, False, None), 0)
    for _ in range(30):
        found = some_position(chance, version)
        for key in found.prices:
            probe = PROTOCOL.unhealthy_between_prices(found, key)
            low = chance.randrange(1, 200)
            high = low + chance.randrange(0, 60)
            verdict = probe(low, high)
            seen[verdict] += 1
            inside = {unhealthy(with_price(found, key, price)) for price in range(low, high + 1)}
            if verdict is not None:
                assert inside == {verdict}
            else:
                assert low < high
    assert min(seen.values()) > 0


def test_threshold_bounds() -> None:
    low = Sums(((10, 8000), (10, 4000)), 20, 120_000, 0)
    high = Sums(((30, 8000), (10, 4000)), 40, 280_000, 0)
    assert threshold_bounds(low, high) == (6000, 7000)
    both = Sums(((30, 8000), (30, 4000)), 60, 360_000, 0)
    assert threshold_bounds(low, both) == (5000, 7000)
    assert threshold_bounds(low, low) == (6000, 6000)
    empty = Sums(((0, 8000),), 0, 0, 0)
    assert threshold_bounds(empty, empty) == (0, 0)


def test_what_cannot_be_computed_is_not_unhealthy() -> None:
    huge = position("3.6", [reserve(0, 10**30), reserve(1, 10**30, 10**29)], [1, 1])
    probe = PROTOCOL.unhealthy_between_prices(huge, asset(1))
    assert probe(2**200, 2**200) is False
    assert probe(1, 2**200) is None
    with pytest.raises(Undecidable):
        PROTOCOL.unhealthy_between_prices(position("3.6", [reserve(0, 1)], {}), asset(0))
    with pytest.raises(Undecidable):
        PROTOCOL.unhealthy_between_times(position("3.6", [reserve(0, 1)], {}))
