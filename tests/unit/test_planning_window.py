"""For how long a plan holds: until blocks may come again, and never for years."""

from __future__ import annotations

import pytest

from monitor.core.types import BlockRef
from monitor.pipeline.plans import LONGEST_S, window_s
from monitor.testing.clock import FakeClock

NOW_S = 1_700_000_000
YEAR_S = 365 * 24 * 3600


@pytest.mark.parametrize(
    ("age_s", "held_s"),
    [
        (0, 300),
        (1, 301),
        (LONGEST_S, LONGEST_S + 300),
        (LONGEST_S + 1, LONGEST_S + 300),
        (20 * YEAR_S, LONGEST_S + 300),
        (-60, 300),
    ],
)
def test_a_plan_holds_until_the_next_block_may_come_and_at_most_so_long(age_s: int, held_s: int) -> None:
    block = BlockRef(31337, 1, "0x" + "11" * 32, "0x" + "00" * 32, NOW_S - age_s, 10**9)
    assert window_s(block, 300, FakeClock(NOW_S)) == held_s
