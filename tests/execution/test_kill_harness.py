"""1,200 kills, a hundred at each of the twelve points, in eight runs that workers share; nightly there are 20,000.

What the whole must reach is asked of each part: an eighth of the kills at every point, an eighth of those with a
transaction in the mempool. `scripts/kill_harness` prints the same as one table, for any seed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.testing.kill_child import POINTS
from monitor.testing.kill_harness import many_runs, naive_run

PARTS = 8
KILLS = 1200
AT_EACH_POINT = 80
IN_MEMPOOL = 300


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_is_lost_or_done_twice(part: int) -> None:
    tally = many_runs(KILLS // PARTS, f"ci/{part}", workers=1, per_run=75)
    assert tally.problems == []
    assert sum(tally.kills.values()) >= KILLS // PARTS
    assert {point: n for point, n in tally.kills.items() if n < AT_EACH_POINT // PARTS} == {}
    assert set(tally.kills) == set(POINTS)
    assert tally.in_mempool >= IN_MEMPOOL // PARTS
    assert all((tally.wipes, tally.spikes, tally.reorgs[64], tally.rescues, tally.alerts))


@pytest.mark.slow
def test_a_careless_sender_is_found_out(tmp_path: Path) -> None:
    """The same harness, the same faults: without a journal things are done twice."""
    tally = naive_run(tmp_path, "ci").run(60)
    assert any("was rescued 2 times" in problem for problem in tally.problems)
