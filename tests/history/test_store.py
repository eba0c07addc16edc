from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.core.types import Known, Level, LiquidationPrice, NoDebt, Unit, Unknown
from monitor.history.rows import HistoryError, HistoryRow, Tracked
from monitor.history.store import History, HistoryView
from monitor.history.thinning import DAY_S, HOUR_S, Age
from tests.history.looks import REF, START_S, SUBJECT, TOKEN, WAD, block, seen, unknown

LATER_S = START_S + 10**9


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'history.db'}"


@pytest.fixture
def history(url: str) -> Iterator[History]:
    made = History(url)
    yield made
    made.close()


def kept(history: HistoryView) -> list[HistoryRow]:
    return history.rows(SUBJECT.id, 0, LATER_S, 10**6)


def test_what_is_kept_comes_back_to_the_last_unit(history: History) -> None:
    assert history.keep([seen(1, 2**256 - 1, 2**255 - 19)], 0) == 1
    assert history.keep([seen(2, WAD - 1)], 0) == 1
    assert history.keep([seen(3, None)], 0) == 1
    assert history.keep([unknown(4, "no\x00 answer")], 0) == 1
    first, second, third, fourth = kept(history)
    assert first == HistoryRow(
        START_S + 12,
        Level.OK,
        Known(2**256 - 1, 2**255 - 19),
        1,
        block(1).hash,
        False,
        2**255,
        1,
        LiquidationPrice(TOKEN, "WETH", 2**200 + 1, 8, 2**201, "below"),
    )
    assert (second.level, second.verdict, second.debt) == (Level.CRITICAL, Known(WAD - 1, WAD), 2)
    assert (third.level, third.verdict, third.collateral) == (Level.OK, NoDebt(), 2**255)
    assert (fourth.level, fourth.verdict) == (Level.UNKNOWN, Unknown("no\\u{0} answer"))
    assert history.positions() == [Tracked(SUBJECT.id, 31337, "core", SUBJECT.owner, "treasury", Unit("USD", 8))]


def test_a_quiet_block_costs_no_row(history: History) -> None:
    assert [history.keep([seen(number, 2 * WAD)], 0) for number in (1, 2, 300, 301)] == [1, 0, 0, 1]


def test_a_run_goes_on_where_the_last_one_ended(url: str) -> None:
    for number in (1, 2):
        history = History(url)
        assert history.keep([seen(number, 2 * WAD)], 0) == (number == 1)
        history.close()


def test_two_writers_of_the_same_row_are_harmless(url: str, history: History) -> None:
    other = History(url)
    assert (history.keep([seen(1, WAD)], 0), other.keep([seen(1, WAD)], 0)) == (1, 0)
    assert (history.keep([seen(2, 2 * WAD)], 0), other.keep([seen(2, 2 * WAD)], 0)) == (1, 1)
    assert len(kept(other)) == 2
    other.close()


def test_what_was_seen_on_blocks_that_left_the_chain_was_never_so(history: History) -> None:
    history.keep([seen(1, 3 * WAD), seen(1, 3 * WAD, owner=7)], 0)
    history.keep([seen(2, WAD // 2), seen(2, WAD // 2, owner=7)], 0)
    assert history.newest_blocks(31337) == [(2, block(2).hash), (1, block(1).hash)]
    assert history.forget(31337, [block(2).hash, block(9).hash]) == 2
    assert history.forget(1, [block(1).hash]) == 0
    history.keep([seen(2, 3 * WAD, branch="b")], 0)  # nothing moved: the low one never was
    assert [row.verdict for row in kept(history)] == [Known(3 * WAD, WAD)]
    assert history.newest_blocks(31337) == [(1, block(1).hash)]


def test_a_series_begins_with_what_held_then(history: History) -> None:
    for number in range(1, 11):
        history.keep([seen(number, number * WAD)], 0)
    since_s, until_s = START_S + 12 * 5, START_S + 12 * 8
    assert [row.block_number for row in history.rows(SUBJECT.id, since_s, until_s)] == [4, 5, 6, 7, 8]
    assert [row.block_number for row in history.rows(SUBJECT.id, since_s, until_s, 3)] == [4, 5, 8]
    assert history.rows(REF.position_id("0x" + "99" * 20), 0, LATER_S) == []


def test_old_rows_become_the_worst_of_each_hour_and_then_none(history: History) -> None:
    for number in range(600):
        history.keep([seen(number, WAD * (2 + number * 7 % 11))], 0)
    history.keep([unknown(600)], 0)
    history.keep([seen(601, 5 * WAD)], 0)
    age = Age(full_s=DAY_S, keep_s=30 * DAY_S)
    assert history.tidy(START_S + DAY_S, age) == 0
    hours = {row.at_s // HOUR_S for row in kept(history)}
    assert history.tidy(START_S + 2 * DAY_S, age) > 500
    left = kept(history)
    assert [row.verdict for row in left if isinstance(row.verdict, Known)] == [Known(2 * WAD, WAD)] * len(hours)
    assert sum(row.level is Level.UNKNOWN for row in left) == 1
    assert history.tidy(START_S + 2 * DAY_S, age) == 0
    assert history.tidy(START_S + 40 * DAY_S, age) == len(left)
    for _ in range(4):
        history.tidy(START_S + 40 * DAY_S, age)
    assert (kept(history), history.newest_blocks(31337)) == ([], [])


def test_a_view_of_what_is_not_there_yet_is_empty(url: str, tmp_path: Path) -> None:
    view = HistoryView(url)
    assert (view.positions(), kept(view), list(tmp_path.iterdir())) == ([], [], [])
    view.close()


def test_a_file_that_is_something_else_is_said(tmp_path: Path) -> None:
    (tmp_path / "history.db").write_text("this is no database, and long enough not to be taken for an empty one" * 20)
    with pytest.raises(HistoryError, match="not a database"):
        History(f"sqlite:///{tmp_path / 'history.db'}")
