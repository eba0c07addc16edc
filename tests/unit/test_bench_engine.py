"""The engine's bench, on markets small enough for a test: that it runs, compares, and tells what it found."""

from __future__ import annotations

import json

import pytest

from monitor.testing import bench_engine
from monitor.testing.figures import Figure, report, table

TINY = bench_engine.Sizes((2_000,), 200, 1_000, 300)


def test_every_figure_is_told() -> None:
    steps: list[str] = []
    figures = bench_engine.measure(TINY, steps.append)
    assert len(steps) == 4
    assert [one.id for one in figures] == ["B1", "B1", "B2", "B3", "B3", "D1", "E1", "E1", "E1"]
    (edge,) = (one for one in figures if one.id == "B2")
    assert edge.measured == 0
    assert edge.peer  # what floats alone would have got wrong
    assert json.loads(json.dumps(report(figures)))["figures"][0]["unit"] == "x"


def test_an_answer_that_differs_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_engine, "_by_integers", lambda *_: [0])
    with pytest.raises(bench_engine.Differs, match="misjudged"):
        bench_engine.at_the_edge(100)


def test_a_figure_knows_its_goal_and_its_limit() -> None:
    less, more = Figure("A", "a time", 3.0, "ms", 2.0, 4.0), Figure("B", "a ratio", 3.0, "x", 2.0, 4.0, True, 6.0, 1.5)
    assert (less.reached, less.failed, more.reached, more.failed) == (False, False, True, True)
    assert not Figure("C", "anything", 3.0, "x", None).failed
    lines = table([less, more])
    assert "missed" in lines[1]
    assert lines[2].split()[-5:] == ["ok", "6.000", "2.0", "1.500", "2.0"]
    assert [one["reached"] for one in report([less, more])["figures"]] == [False, True]
