"""Levels at and one unit beside each threshold, and what never may be called ok."""

from __future__ import annotations

from fractions import Fraction
from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.thresholds import DEFAULT, Thresholds
from monitor.core.types import BlockRef, Health, Known, Level, NoDebt, Unit, Unknown, Verdict
from monitor.policy.levels import URGENCY, below, exit_code, level

WAD = 10**18
BLOCK = BlockRef(chain_id=1, number=7, hash="0x07", parent_hash="0x06", timestamp=1_700_000_000, base_fee=None)


def health(verdict: Verdict, *, liquidatable: bool | None = False) -> Health:
    return Health("eip155:1/x/0x1/0x2", BLOCK, verdict, Unit("USD", 8), liquidatable=liquidatable)


@pytest.mark.parametrize(
    ("numerator", "expected", "cause"),
    [
        (WAD - 1, Level.CRITICAL, "health is below 1"),
        (WAD, Level.CRITICAL, "health is below 1.1"),
        (WAD * 11 // 10 - 1, Level.CRITICAL, "health is below 1.1"),
        (WAD * 11 // 10, Level.WARN, "health is below 1.5"),
        (WAD * 3 // 2 - 1, Level.WARN, "health is below 1.5"),
        (WAD * 3 // 2, Level.WATCH, "health is below 2"),
        (2 * WAD - 1, Level.WATCH, "health is below 2"),
        (2 * WAD, Level.OK, "health is 2 or more"),
    ],
)
def test_level_beside_each_threshold(numerator: int, expected: Level, cause: str) -> None:
    assert level(health(Known(numerator, WAD)), DEFAULT) == (expected, cause)


def test_below_one_is_critical_whatever_the_thresholds_say() -> None:
    lowest = Thresholds(Fraction(1), Fraction(1), Fraction(1))
    assert level(health(Known(WAD - 1, WAD)), lowest)[0] is Level.CRITICAL
    assert level(health(Known(WAD, WAD)), lowest) == (Level.OK, "health is 1 or more")


def test_a_cause_says_the_whole_threshold() -> None:
    fine = Thresholds(Fraction(100), Fraction(10), Fraction("1.000000000000000001"))
    assert level(health(Known(WAD, WAD)), fine)[1] == "health is below 1.000000000000000001"
    assert level(health(Known(2, 1)), Thresholds(watch=2 + Fraction("1.9e-18")))[1].endswith("2.000000000000000001")
    assert level(health(Known(9, 1)), fine)[1] == "health is below 10"
    assert level(health(Known(100, 1)), fine)[1] == "health is 100 or more"


def test_what_can_be_liquidated_is_critical_however_healthy() -> None:
    for verdict in (Known(5, 1), NoDebt(), Known(WAD - 1, WAD)):
        assert level(health(verdict, liquidatable=True), DEFAULT) == (Level.CRITICAL, "can be liquidated now")


def test_an_unknown_gate_does_not_change_the_level() -> None:
    assert level(health(Known(5, 1), liquidatable=None), DEFAULT)[0] is Level.OK
    assert level(health(NoDebt(), liquidatable=None), DEFAULT) == (Level.OK, "no debt")


@pytest.mark.parametrize("liquidatable", [True, False, None])
def test_unknown_is_unknown(liquidatable: bool | None) -> None:
    found, cause = level(health(Unknown("no price\x1b[2J"), liquidatable=liquidatable), DEFAULT)
    assert found is Level.UNKNOWN
    assert cause.startswith("no price")
    assert "\x1b" not in cause


@given(st.integers(0, 2**256), st.integers(1, 2**256), st.fractions(1, 10**6))
def test_below_is_exact(numerator: int, denominator: int, threshold: Fraction) -> None:
    assert below(Known(numerator, denominator), threshold) is (Fraction(numerator, denominator) < threshold)
    edge = Known(threshold.numerator, threshold.denominator)
    assert not below(edge, threshold)
    assert below(Known(edge.numerator * denominator - 1, edge.denominator * denominator), threshold)


def test_exit_code_of_every_set_of_levels() -> None:
    """1 if any level is warn or worse, else 3 if any is unknown, else 0."""
    for levels in map(set, chain.from_iterable(combinations(Level, size) for size in range(len(Level) + 1))):
        loud = Level.WARN in levels or Level.CRITICAL in levels
        assert exit_code(levels) == (1 if loud else 3 if Level.UNKNOWN in levels else 0)


def test_urgency_orders_every_level_and_begins_with_what_is_not_known() -> None:
    assert URGENCY == (Level.UNKNOWN, Level.CRITICAL, Level.WARN, Level.WATCH, Level.OK)
    assert set(URGENCY) == set(Level)
