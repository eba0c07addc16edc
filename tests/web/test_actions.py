"""What was expected of an action beside what came of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from monitor.cli.serving import OUTCOME_S, outcome
from monitor.core.types import BlockRef, Known
from monitor.history.store import History, HistoryView
from monitor.report import Report
from tests.web.dash import Told, block, dash, report

MINED = 20


def mined_action(**changes: Any) -> Any:
    """As far as `outcome` looks at one."""
    subject = report(1, 10**6)
    mined = SimpleNamespace(block_number=MINED)
    times = {"created_s": block(10).timestamp, "changed_s": block(25).timestamp}
    return SimpleNamespace(**{"position_id": subject.id, "mined": mined, **times, **changes})


def looked(debt: int | None, at: BlockRef) -> Report:
    made = report(1, debt, at)
    return replace(made, block=at)


@pytest.fixture
def view(tmp_path: Path) -> HistoryView:
    """Looks before, in the block before, and after the one in which it was mined; unknown in between."""
    url = f"sqlite:///{tmp_path / 'history.sqlite3'}"
    kept = History(url)
    for number, debt in ((10, 29 * 10**5), (19, 28 * 10**5), (22, None), (24, 2 * 10**6), (30, 10**6)):
        kept.keep([looked(debt, block(number))], 0)
    kept.close()
    return HistoryView(url)


def test_the_outcome_is_the_first_look_since_it_was_mined(view: HistoryView) -> None:
    told = outcome(view, mined_action())
    assert told == {"block": "22", "level": "unknown", "num": None, "den": None}
    told = outcome(view, mined_action(mined=SimpleNamespace(block_number=23)))
    assert told is not None
    verdict = report(1, 2 * 10**6).health
    assert verdict is not None
    assert isinstance(verdict.verdict, Known)
    assert (told["block"], told["num"], told["den"]) == ("24", str(verdict.verdict.numerator), "2000000")
    assert outcome(view, mined_action(mined=SimpleNamespace(block_number=31))) is None, "not looked at yet"
    assert outcome(view, mined_action(mined=None)) is None
    long_ago = block(10).timestamp - OUTCOME_S - 1
    assert outcome(view, mined_action(created_s=long_ago, changed_s=long_ago)) is None, "what came much later"
    view.close()


ACTION = {
    "schema": "levmon.history/1",
    "action": "a1",
    "position": "toy/1",
    "kind": "toy/repay",
    "state": "final_ok",
    "note": "",
    "nonce": "3",
    "decision": {"cause": "below", "why": "cheap", "health_before": ["105", "100"], "health_expected": ["14", "10"]},
    "mined": {"hash": "0xaa", "block": "20", "block_hash": "0xbb", "ok": True},
    "attempts": [],
    "records": [],
}


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [
        ({"block": "24", "level": "ok", "num": "13999", "den": "10000"}, "1.3999 at block 24"),
        ({"block": "24", "level": "ok", "num": None, "den": None}, "no debt at block 24"),
        ({"block": "24", "level": "unknown", "num": None, "den": None}, "unknown at block 24"),
        (None, "not looked at yet"),
    ],
    ids=["known", "no debt", "unknown", "none yet"],
)
def test_expected_and_came_stand_beside_each_other(outcome: Any, shown: str) -> None:
    with dash(behind=Told({"actions": [{**ACTION, "outcome": outcome}]})) as made:
        text = made.ask("/actions")[2]
    assert "<dt>Health at the decision</dt><dd>1.0500</dd>" in text
    assert "<dt>Health expected</dt><dd>1.4000</dd>" in text
    assert f"<dt>Health came</dt><dd>{shown}</dd>" in text
