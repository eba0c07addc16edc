"""The roundings against exact rational arithmetic, and text against the number it stands for."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core import units
from monitor.core.errors import ConfigError

UINT = st.integers(0, units.UINT256_MAX)
POSITIVE = st.integers(1, units.UINT256_MAX)
SIGNED = st.integers(-units.UINT256_MAX, units.UINT256_MAX)


def test_constants() -> None:
    assert (units.WAD, units.RAY, units.BPS) == (1_000_000_000_000_000_000, units.WAD * 1_000_000_000, 100 * 100)
    assert f"{units.UINT256_MAX:x}" == "f" * 64


@given(UINT, UINT, POSITIVE)
def test_mul_div_down_is_the_floor(a: int, b: int, denominator: int) -> None:
    exact = Fraction(a * b, denominator)
    assert units.mul_div_down(a, b, denominator) <= exact < units.mul_div_down(a, b, denominator) + 1


@given(UINT, UINT, POSITIVE)
def test_mul_div_up_is_the_ceiling(a: int, b: int, denominator: int) -> None:
    exact = Fraction(a * b, denominator)
    assert units.mul_div_up(a, b, denominator) - 1 < exact <= units.mul_div_up(a, b, denominator)


@given(UINT, UINT, POSITIVE)
def test_mul_div_half_up_is_the_nearest(a: int, b: int, denominator: int) -> None:
    """Nearest, with the half as the contract has it: half of an odd denominator is floored first."""
    error = units.mul_div_half_up(a, b, denominator) * denominator - a * b
    assert -denominator < 2 * error + denominator % 2 <= denominator


@pytest.mark.parametrize(
    ("a", "b", "denominator", "down", "half_up", "up"),
    [
        (0, 5, 3, 0, 0, 0),
        (1, 6, 3, 2, 2, 2),
        (1, 1, 3, 0, 0, 1),
        (1, 2, 3, 0, 1, 1),
        (1, 1, 2, 0, 1, 1),
        (7, 1, 4, 1, 2, 2),
        (5, 1, 4, 1, 1, 2),
        (1, 1, 1, 1, 1, 1),
    ],
)
def test_roundings_by_hand(a: int, b: int, denominator: int, down: int, half_up: int, up: int) -> None:
    assert units.mul_div_down(a, b, denominator) == down
    assert units.mul_div_half_up(a, b, denominator) == half_up
    assert units.mul_div_up(a, b, denominator) == up


@pytest.mark.parametrize(
    ("raw", "decimals", "text"),
    [
        (0, 0, "0"),
        (0, 18, "0"),
        (120, 0, "120"),
        (-120, 0, "-120"),
        (1, 18, "0.000000000000000001"),
        (-1, 2, "-0.01"),
        (1_500_000, 6, "1.5"),
        (-1_500_000, 6, "-1.5"),
        (10_000_000, 6, "10"),
        (10, 1, "1"),
        (15, 1, "1.5"),
    ],
)
def test_format_units(raw: int, decimals: int, text: str) -> None:
    assert units.format_units(raw, decimals) == text


@given(SIGNED, st.integers(0, 40))
def test_formatted_units_say_the_exact_number(raw: int, decimals: int) -> None:
    text = units.format_units(raw, decimals)
    assert Fraction(text) == Fraction(raw, 10**decimals)
    assert "e" not in text.lower()
    assert "." not in text or text[-1] not in "0."


@pytest.mark.parametrize(
    ("numerator", "denominator", "places", "text"),
    [
        (9999, 10_000, 2, "0.99"),
        (9999, 10_000, 4, "0.9999"),
        (1, 1, 2, "1.00"),
        (3, 2, 0, "1"),
        (-3, 2, 0, "-1"),
        (-3, 2, 1, "-1.5"),
        (0, 7, 3, "0.000"),
        (205, 100, 2, "2.05"),
        (10, 1, 1, "10.0"),
    ],
)
def test_format_ratio(numerator: int, denominator: int, places: int, text: str) -> None:
    assert units.format_ratio(numerator, denominator, places) == text


@given(SIGNED, POSITIVE, st.integers(0, 30))
def test_a_formatted_ratio_is_truncated_toward_zero(numerator: int, denominator: int, places: int) -> None:
    shown, exact = Fraction(units.format_ratio(numerator, denominator, places)), Fraction(numerator, denominator)
    assert abs(shown) <= abs(exact) < abs(shown) + Fraction(1, 10**places)
    assert shown * exact >= 0


@pytest.mark.parametrize("text", ["1.5", "+1.5", "15e-1", " 1.5 ", Decimal("1.50")])
def test_parse_decimal_is_exact(text: str | Decimal) -> None:
    assert units.parse_decimal(text) == Fraction(3, 2)


def test_parse_decimal_keeps_every_digit() -> None:
    assert units.parse_decimal("0.1") == Fraction(1, 10)
    assert units.parse_decimal("1." + "0" * 40 + "1") == 1 + Fraction(1, 10**41)
    assert units.parse_decimal(-3) == -3


@pytest.mark.parametrize("text", ["", "one", "1,5", "0x10", "1.5.2", "--1"])
def test_parse_decimal_refuses_what_is_no_number(text: str) -> None:
    with pytest.raises(ConfigError, match=r"not a number.*"):
        units.parse_decimal(text)


@pytest.mark.parametrize("text", ["inf", "-Infinity", "nan", "sNaN"])
def test_parse_decimal_refuses_what_is_not_finite(text: str) -> None:
    with pytest.raises(ConfigError, match=r"not a finite number"):
        units.parse_decimal(text)


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("1e78", Fraction(10**78)),
        ("-9.9e78", Fraction(-99 * 10**77)),
        ("1e-78", Fraction(1, 10**78)),
        ("0e1000000", Fraction(0)),
        ("100." + "0" * 77 + "1", 100 + Fraction(1, 10**78)),
    ],
)
def test_parse_decimal_takes_what_a_uint256_can_say(text: str, exact: Fraction) -> None:
    assert units.parse_decimal(text) == exact


@pytest.mark.parametrize("text", ["1e79", "-1e79", "1e-79", "1e999999", "1e-999999", "100." + "0" * 78 + "1"])
def test_parse_decimal_refuses_what_would_fill_the_memory(text: str) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        units.parse_decimal(text)


def test_a_refusal_repeats_only_the_beginning_of_a_long_text() -> None:
    with pytest.raises(ConfigError) as refused:
        units.parse_decimal("12345678" * 10)
    assert repr("12345678" * 5) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "exact"),
    [("-20%", Fraction(-1, 5)), ("+1.5%", Fraction(3, 200)), (" 7 % ", Fraction(7, 100)), ("0%", Fraction(0))],
)
def test_parse_percent(text: str, exact: Fraction) -> None:
    assert units.parse_percent(text) == exact


@pytest.mark.parametrize("text", ["20", "%", "-20%%", "", "% 20"])
def test_parse_percent_refuses_what_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="not a"):
        units.parse_percent(text)
