"""A cost that was asked for at some amounts and is wanted at others: straight lines between the points, rounded up.

What an exchange takes for an amount grows ever faster with it, so a line between two points lies above the curve: the
cost is never said too low. Pure integers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from monitor.core.units import mul_div_up


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (x, y) with x rising and y never falling, the first at x = 0."""

    points: tuple[tuple[int, int], ...]

    @property
    def most(self) -> int:
        """The largest x that anything is known of."""
        return self.points[-1][0]

    def at(self, x: int) -> int:
        """y at x, up. May raise: ValueError beyond the last point."""
        if not 0 <= x <= self.most:
            raise ValueError(f"nothing is known at {x}")
        place = bisect_left(self.points, x, key=lambda point: point[0])
        right_x, right_y = self.points[place]
        if right_x == x:
            return right_y
        left_x, left_y = self.points[place - 1]
        return left_y + mul_div_up(right_y - left_y, x - left_x, right_x - left_x)


def largest(most: int, fits: Callable[[int], bool]) -> int:
    """The largest of 0..most that fits, where everything below one that fits does too; 0 if nothing does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
