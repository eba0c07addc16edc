"""Costs between the points that were asked for are never said too low."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.curve import Curve, largest


def test_between_two_points_it_rounds_up() -> None:
    curve = Curve(((0, 1), (10, 4), (20, 100)))
    assert [curve.at(x) for x in (0, 1, 9, 10, 11, 20)] == [1, 2, 4, 4, 14, 100]


@pytest.mark.parametrize("x", [-1, 21])
def test_beyond_the_points_nothing_is_known(x: int) -> None:
    with pytest.raises(ValueError, match="nothing is known"):
        Curve(((0, 0), (20, 5))).at(x)


@given(deep=st.integers(10**6, 10**24), sold=st.integers(10**3, 10**24), part=st.integers(1, 9), x=st.fractions(0, 1))
def test_it_is_above_what_a_pool_of_constant_product_takes(deep: int, sold: int, part: int, x: object) -> None:
    """sold * x / (deep - x) is convex: every chord is above it, and not by much where points are near."""
    top = deep * part // 10

    def cost(amount: int) -> int:
        return -(-sold * amount // (deep - amount))

    points = sorted({top * 5**n // 7**n for n in range(12)} - {0})
    curve = Curve(((0, 0), *((point, cost(point)) for point in points)))
    amount = int(curve.most * x)  # type: ignore[operator]  # a Fraction
    assert cost(amount) <= curve.at(amount) <= cost(min(amount * 3 // 2 + 1, curve.most)) + cost(points[0]) + 1


@given(st.integers(0, 10**30), st.integers(0, 10**30))
def test_the_largest_that_fits(most: int, bound: int) -> None:
    assert largest(most, lambda amount: amount <= bound) == min(most, bound)
