"""Aave's integer functions against exact fractions, at their rounding and overflow boundaries."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.protocols.aave_v3 import math as aave

RAY, WAD, YEAR = 10**27, 10**18, 31_536_000
MAX = 2**256 - 1
small = st.integers(0, 2**100)
some = st.integers(1, 2**100)


def half_up(exact: Fraction) -> int:
    return floor(exact + Fraction(1, 2))


PRODUCTS: list[tuple[Callable[[int, int], int], int, Callable[[Fraction], int]]] = [
    (aave.rayMul, RAY, half_up),
    (aave.rayMulFloor, RAY, floor),
    (aave.rayMulCeil, RAY, ceil),
    (aave.percentMul, 10_000, half_up),
    (aave.percentMulFloor, 10_000, floor),
    (aave.percentMulCeil, 10_000, ceil),
]
FLOORED = (aave.rayDivFloor, aave.rayDivCeil, aave.percentDivFloor, aave.percentDivCeil)
QUOTIENTS: list[tuple[Callable[[int, int], int], int, Callable[[Fraction], int] | None]] = [
    (aave.wadDiv, WAD, None),
    (aave.rayDiv, RAY, None),
    (aave.rayDivFloor, RAY, floor),
    (aave.rayDivCeil, RAY, ceil),
    (aave.percentDiv, 10_000, None),
    (aave.percentDivFloor, 10_000, floor),
    (aave.percentDivCeil, 10_000, ceil),
]


@pytest.mark.parametrize(("function", "one", "rounded"), PRODUCTS)
@given(a=small, b=small)
def test_products(
    function: Callable[[int, int], int], one: int, rounded: Callable[[Fraction], int], a: int, b: int
) -> None:
    assert function(a, b) == rounded(Fraction(a * b, one))


@pytest.mark.parametrize(("function", "one", "rounded"), QUOTIENTS)
@given(a=small, b=some)
def test_quotients(
    function: Callable[[int, int], int], one: int, rounded: Callable[[Fraction], int] | None, a: int, b: int
) -> None:
    # half up on integers: half of an odd divisor is floored, which moves the tie by less than one unit of it
    expected = rounded(Fraction(a * one, b)) if rounded else floor(Fraction(a * one + b // 2, b))
    assert function(a, b) == expected


def test_ties_and_neighbours() -> None:
    assert [aave.rayMul(1, RAY // 2 + d) for d in (-1, 0, 1)] == [0, 1, 1]
    assert [aave.percentMul(1, p) for p in (4_999, 5_000, 5_001, 15_000)] == [0, 1, 1, 2]
    assert [aave.rayMulCeil(1, x) for x in (0, 1, RAY, RAY + 1)] == [0, 1, 1, 2]
    assert [aave.percentMulCeil(3, p) for p in (0, 3_333, 3_334, 10_000)] == [0, 1, 2, 3]
    assert [aave.percentDivFloor(v, 10_500) for v in (104, 105, 106)] == [99, 100, 100]
    assert [aave.percentDivCeil(v, 10_500) for v in (104, 105, 106)] == [100, 100, 101]
    assert [aave.mulDivFloor(7, 1, 2), aave.mulDivCeil(7, 1, 2), aave.mulDivCeil(8, 1, 2)] == [3, 4, 4]
    assert aave.wadDiv(1, 3) == 333333333333333333
    assert aave.wadDiv(2, 3) == 666666666666666667
    assert [aave.percentDiv(1, 4 * 10_000), aave.percentDiv(2, 4 * 10_000)] == [0, 1]


@pytest.mark.parametrize(
    ("function", "largest"),
    [
        (lambda a: aave.rayMul(a, 1), MAX - RAY // 2),
        (lambda a: aave.rayMulFloor(a, 1), MAX),
        (lambda a: aave.rayMulCeil(a, 1), MAX),
        (lambda a: aave.percentMul(a, 1), MAX - 5_000),
        (lambda a: aave.percentMulFloor(a, 1), MAX),
        (lambda a: aave.percentMulCeil(a, 1), MAX),
        (lambda a: aave.wadDiv(a, 7), (MAX - 3) // WAD),
        (lambda a: aave.rayDiv(a, 7), (MAX - 3) // RAY),
        (lambda a: aave.rayDivFloor(a, 7), MAX // RAY),
        (lambda a: aave.rayDivCeil(a, 7), MAX // RAY),
        (lambda a: aave.percentDiv(a, 7), (MAX - 3) // 10_000),
        (lambda a: aave.percentDivFloor(a, 7), MAX // 10_000),
        (lambda a: aave.percentDivCeil(a, 7), MAX // 10_000),
        (lambda a: aave.mulDivFloor(a, 1, 1), MAX),
        (lambda a: aave.mulDivCeil(a, 1, 1), MAX),
        (aave.uint256, MAX),
    ],
)
def test_overflow_reverts_as_in_the_contract(function: Callable[[int], int], largest: int) -> None:
    function(largest)
    with pytest.raises(aave.ArithmeticReverts, match="256 bits"):
        function(largest + 1)


@pytest.mark.parametrize(
    "function",
    [
        aave.wadDiv,
        aave.rayDiv,
        *FLOORED,
        aave.percentDiv,
        lambda a, b: aave.mulDivFloor(a, 1, b),
        lambda a, b: aave.mulDivCeil(a, 1, b),
    ],
)
def test_division_by_zero_reverts(function: Callable[[int, int], int]) -> None:
    with pytest.raises(aave.ArithmeticReverts, match="division by zero"):
        function(1, 0)


def test_negative_reverts() -> None:
    with pytest.raises(aave.ArithmeticReverts):
        aave.uint256(-1)
    assert aave.uint256(0) == 0


def test_linear_interest() -> None:
    assert aave.calculateLinearInterest(RAY, YEAR) == 2 * RAY
    assert aave.calculateLinearInterest(1, YEAR - 1) == RAY
    assert aave.calculateLinearInterest(1, YEAR) == RAY + 1
    assert aave.calculateLinearInterest(RAY, 0) == RAY


def binomial(rate: int, t: int) -> int:
    """MathUtils.calculateCompoundedInterest of 3.0, spelled out with its own roundings."""
    two = (rate * rate + RAY // 2) // RAY // YEAR**2
    three = (two * rate + RAY // 2) // RAY // YEAR
    return RAY + rate * t // YEAR + t * (t - 1) * two // 2 + t * (t - 1) * (t - 2) * three // 6


def taylor(rate: int, t: int) -> int:
    x = rate * t // YEAR
    inner = x // 2 + (x * (x // 6) + RAY // 2) // RAY
    return RAY + x + (x * inner + RAY // 2) // RAY


@given(rate=st.integers(0, 10 * RAY), t=st.integers(2, 20 * YEAR))
def test_compounded_interest(rate: int, t: int) -> None:
    assert aave.calculateCompoundedInterest(rate, t) == binomial(rate, t)
    assert aave.calculateCompoundedInterestTaylor(rate, t) == taylor(rate, t)


def test_compounded_interest_of_the_first_seconds() -> None:
    rate = 5 * RAY
    assert aave.calculateCompoundedInterest(rate, 0) == RAY
    assert aave.calculateCompoundedInterest(rate, 1) == RAY + rate // YEAR
    assert aave.calculateCompoundedInterest(rate, 2) == binomial(rate, 2)
    assert aave.calculateCompoundedInterest(rate, 3) == binomial(rate, 3)
    assert aave.calculateCompoundedInterest(rate, 3) > RAY + rate * 3 // YEAR + 3 * (25 * RAY // YEAR**2)
    assert aave.calculateCompoundedInterestTaylor(rate, 0) == RAY
    assert aave.calculateCompoundedInterestTaylor(rate, 1) == taylor(rate, 1)
    assert aave.calculateCompoundedInterest(RAY // 20, YEAR) != aave.calculateCompoundedInterestTaylor(RAY // 20, YEAR)


@given(rate=st.integers(0, RAY), t=st.integers(0, 3 * YEAR))
def test_both_approximations_stay_below_the_exponential(rate: int, t: int) -> None:
    growth = Fraction(rate * t, YEAR * RAY)
    exponential = sum((growth**k / _factorial(k) for k in range(20)), Fraction(0))
    for function in (aave.calculateCompoundedInterest, aave.calculateCompoundedInterestTaylor):
        assert RAY + rate * t // YEAR <= function(rate, t) <= exponential * RAY + 2


def _factorial(number: int) -> int:
    product = 1
    for factor in range(2, number + 1):
        product *= factor
    return product
