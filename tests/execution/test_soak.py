"""The long run in short: it ends without a problem, and what it reads is what a leak would show in."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.testing.latency import percentile
from monitor.testing.soak import Soak, SoakRun, lines

AS_FAST_AS_IT_GOES = 10**9


@pytest.mark.slow
def test_a_short_life_beside_many_positions(tmp_path: Path) -> None:
    run = SoakRun(tmp_path, "short", 80, AS_FAST_AS_IT_GOES)
    soak = run.soak_it()
    assert (soak.problems, soak.blocks) == ([], 80)
    assert run.tally.rescues
    assert run.tally.alerts
    assert soak.readings
    assert soak.most_bytes > 10 * 2**20
    assert "80 blocks" in lines(soak, run)[0]


def test_growth_shows_as_a_slope() -> None:
    steady = [(float(at_s), 10**8 + (at_s % 2) * 4096, 9, at_s) for at_s in range(100)]
    growing = [(at_s, size + int(at_s) * 1000, files, blocks) for at_s, size, files, blocks in steady]
    assert abs(Soak(readings=steady, seconds=100).slope_per_hour) < 10**5
    assert Soak(readings=growing, seconds=100).slope_per_hour == pytest.approx(3_600_000, rel=0.05)
    early = [(at_s, 10**9 if at_s < 10 else 10**8, 9, 0) for at_s, *_ in steady]
    assert Soak(readings=early, seconds=100).slope_per_hour == 0
    assert Soak(readings=early, seconds=100).most_bytes == 10**9


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(1, 201)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1)) == (100, 198, 200)
    assert percentile([7.0], 0.99) == 7
