from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monitor.core.types import Known, Level, NoDebt, Unknown
from monitor.history.rows import BLOCKS, HistoryRow, look, lower, moved, thinned, worst_of, worth_keeping
from tests.history.looks import START_S, WAD, block, seen, unknown

RATIOS = st.builds(Known, st.integers(0, 2**256), st.integers(1, 2**256))


def kept(*numerators: int) -> list[int]:
    """Which of a run of looks are kept, one a block."""
    last: HistoryRow | None = None
    found = []
    for number, numerator in enumerate(numerators):
        new = look(seen(number, numerator), 0)
        if worth_keeping(last, new):
            found.append(number)
            last = new
    return found


def test_a_tenth_of_a_point_is_measured_from_what_was_kept_last() -> None:
    """Of 40 %, 39.96 %, 39.89 %, 39.85 % and 39.79 %."""
    assert kept(*(WAD * 10_000 // (10_000 - distance) for distance in (4000, 3996, 3989, 3985, 3979))) == [0, 2, 4]


def test_exactly_a_tenth_is_enough() -> None:
    assert moved(Known(1000, 500), Known(1000, 501))
    assert not moved(Known(10_000, 5000), Known(10_000, 5009))
    assert moved(Known(0, 1), Known(1, 1))
    assert not moved(Known(0, 1), Known(0, 5))


@given(RATIOS, RATIOS)
def test_moving_is_the_same_both_ways_and_needs_no_float(one: Known, other: Known) -> None:
    assert moved(one, other) == moved(other, one)
    assert not moved(one, one)


def test_a_quiet_position_is_kept_every_so_many_blocks() -> None:
    first, soon, late = (look(seen(number, 2 * WAD), 0) for number in (1, BLOCKS, BLOCKS + 1))
    assert worth_keeping(None, first)
    assert not worth_keeping(first, soon)
    assert worth_keeping(first, late)


def test_a_level_and_a_verdict_that_change_are_kept_however_little_moved() -> None:
    watch, warn = look(seen(1, WAD * 3 // 2), 0), look(seen(2, WAD * 3 // 2 - 1), 0)
    assert (watch.level, warn.level) == (Level.WATCH, Level.WARN)
    assert worth_keeping(watch, warn)
    assert worth_keeping(look(seen(1, 5 * WAD), 0), look(seen(2, None), 0))


def test_what_is_unknown_is_kept_with_its_reason_and_its_time() -> None:
    row = look(unknown(7), 9, after=6)
    assert (row.level, row.verdict, row.at_s) == (Level.UNKNOWN, Unknown("the node is down"), START_S + 84)
    assert row.block_hash == block(7).hash
    for old in (look(unknown(7), 9, after=7), look(unknown(None), 9)):  # no newer block could be had
        assert (old.at_s, old.block_number, old.block_hash) == (9, None, None)
    assert worth_keeping(look(seen(6, WAD), 0), row)
    assert not worth_keeping(row, look(unknown(8, "the node is still down"), 9, after=7))
    assert not worth_keeping(old, look(unknown(None), 9 + 3599))
    assert worth_keeping(old, look(unknown(None), 9 + 3600))


@given(st.lists(st.one_of(RATIOS, st.just(NoDebt()), st.just(Unknown("why"))), min_size=1, max_size=80), st.data())
def test_drawing_less_hides_no_danger(verdicts: list[Known | NoDebt | Unknown], data: st.DataObject) -> None:
    rows = [HistoryRow(number, Level.OK, verdict) for number, verdict in enumerate(verdicts)]
    since_s = data.draw(st.integers(0, len(rows) - 1))
    most = data.draw(st.integers(2, 100))
    few = thinned([row for row in rows if row.at_s >= since_s - 1], since_s, len(rows) - 1, most)
    assert len(few) <= most + 1
    assert few == sorted(few, key=lambda row: row.at_s)
    assert few[-1] is rows[-1]
    shown = [row for row in few if row.at_s >= since_s]
    assert not lower(worst_of(rows[since_s:]).verdict, worst_of(shown).verdict)
