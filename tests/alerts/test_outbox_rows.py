from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from monitor.core.types import Level
from monitor.journal.outbox import Note, Told
from monitor.journal.replay import broken_links
from monitor.journal.rows import JournalUnfit, Severity
from monitor.journal.store import Journal
from monitor.journal.view import JournalView
from tests.alerts.ledger import NOW_S, block, everything, fell, opened, put

V1 = """
CREATE TABLE meta (name VARCHAR NOT NULL PRIMARY KEY, value VARCHAR NOT NULL);
INSERT INTO meta VALUES ('schema_version', '1');
CREATE TABLE records (seq INTEGER NOT NULL PRIMARY KEY, at_s INTEGER NOT NULL, kind VARCHAR NOT NULL,
 subject VARCHAR NOT NULL, cause_seq INTEGER, body TEXT NOT NULL, prev_hash VARCHAR NOT NULL, hash VARCHAR NOT NULL);
CREATE TABLE leases (name VARCHAR NOT NULL PRIMARY KEY, epoch INTEGER NOT NULL, holder VARCHAR NOT NULL);
CREATE TABLE outbox (id INTEGER NOT NULL PRIMARY KEY, record_seq INTEGER NOT NULL REFERENCES records (seq),
 dedupe_key VARCHAR NOT NULL UNIQUE, severity VARCHAR NOT NULL, subject VARCHAR NOT NULL, body TEXT NOT NULL,
 at_s INTEGER NOT NULL, delivered_s INTEGER);
CREATE INDEX outbox_pending ON outbox (id) WHERE delivered_s IS NULL;
"""


def old_journal(folder: Path) -> str:
    """A journal as schema 1 made it, with an alert that nobody was told."""
    path = folder / "old.db"
    with sqlite3.connect(path) as db:
        db.executescript(V1)
        body = ("1", "1", "level", "x", "{}", "0" * 64, "f" * 64)
        db.execute("INSERT INTO records VALUES (?, ?, ?, ?, NULL, ?, ?, ?)", body)
        db.execute("INSERT INTO outbox VALUES (1, 1, 'k/1', 'critical', 'a-1', 'planned: x', ?, NULL)", (NOW_S,))
        db.execute("UPDATE records SET hash = ?", (_hash(),))
    db.close()
    return f"sqlite:///{path}"


def _hash() -> str:
    from monitor.journal.codec import record_hash
    from monitor.journal.rows import Record

    return record_hash(Record(1, 1, "level", "x", None, "{}", "0" * 64))


def test_an_old_journal_is_brought_up_to_date_with_its_alerts(tmp_path: Path) -> None:
    url = old_journal(tmp_path)
    with pytest.raises(JournalUnfit, match="another version"):
        JournalView(url)
    journal = Journal(url, now_s=NOW_S)
    [alert] = journal.pending_alerts()
    assert (alert.kind, alert.standing, alert.block_hash) == ("action", "final", None)
    journal.close()
    again = Journal(url, now_s=NOW_S)
    assert len(again.pending_alerts()) == 1
    again.close()
    JournalView(url)


def test_a_level_and_its_alert_are_one_commit(tmp_path: Path) -> None:
    class Dead(Exception):
        pass

    def die(point: str) -> None:
        if point == "before note commit":
            raise Dead

    outbox = opened(tmp_path, probe=die)
    with pytest.raises(Dead):
        put(outbox, fell())
    assert (outbox.levels(), outbox.wanted(everything())) == ({}, [])
    outbox.journal.close()
    outbox = opened(tmp_path)
    put(outbox, fell())
    [told] = outbox.levels().values()
    assert told.level is Level.CRITICAL
    [record] = [one for one in outbox.journal.records() if one.kind == "level"]
    outbox.enroll(["phone"], NOW_S)
    [alert] = outbox.wanted(everything())
    assert (alert.record_seq, alert.standing) == (record.seq, "provisional")
    assert broken_links(outbox.journal.records()) == []
    outbox.journal.close()


def test_a_reorganised_level_is_corrected_to_who_was_told_and_counts_as_never_told(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.enroll(["phone", "careful"], NOW_S)
    put(outbox, fell(5))
    [alert] = outbox.wanted(everything())
    assert outbox.wanted(everything("careful", only_final=True)) == []
    outbox.compose("m", "phone", [alert.id], NOW_S)
    assert outbox.provisional(31337) == [(5, block(5).hash)]
    restored = outbox.reconcile(31337, [block(5).hash], [], NOW_S)
    assert [one.level for one in restored.values()] == [Level.OK]
    assert outbox.levels() == {}
    [correction] = outbox.wanted(everything())
    assert (correction.kind, correction.severity, correction.corrects) == ("correction", Severity.CRITICAL, alert.id)
    assert "block 5 has left the chain" in correction.body
    assert outbox.wanted(everything("careful", only_final=True)) == []
    put(outbox, fell(5))  # the block is back
    assert len(outbox.wanted(everything())) == 2
    outbox.reconcile(31337, [], [block(5).hash], NOW_S)
    [final] = outbox.wanted(everything("careful", only_final=True))
    assert final.standing == "final"
    assert outbox.provisional(31337) == []
    outbox.journal.close()


def test_of_two_changes_that_left_the_chain_the_level_before_both_counts(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    note, told = fell(5, level=Level.WARN)
    put(outbox, (note, told))
    deeper, deepest = fell(6)
    worse = Note("level", deeper.subject, deeper.severity, deeper.body, "", {**deeper.detail, "was": "warn"}, block(6))
    put(outbox, (worse, deepest))
    assert outbox.reconcile(31337, [block(6).hash, block(5).hash], [], NOW_S)[note.subject].level is Level.OK
    put(outbox, (note, told), (worse, deepest))
    assert outbox.reconcile(31337, [block(6).hash], [], NOW_S)[note.subject].level is Level.WARN
    assert outbox.levels()[note.subject].level is Level.WARN
    outbox.journal.close()


def test_a_new_channel_hears_what_nobody_was_told_lately(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    outbox.note([Note("run", "old", Severity.INFO, "long ago")], NOW_S - 2 * 24 * 3600)
    outbox.note([Note("run", "told", Severity.INFO, "told")], NOW_S)
    assert outbox.settle([], NOW_S) == 0
    outbox.note([Note("run", "fresh", Severity.INFO, "fresh")], NOW_S)
    outbox.enroll(["phone"], NOW_S)
    assert [alert.subject for alert in outbox.wanted(everything())] == ["fresh"]
    assert outbox.settle([everything()], NOW_S) == 1
    outbox.journal.close()


def test_a_note_with_a_key_is_told_once(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    note = Note("held", "x", Severity.WARN, "acting is held", "held/1")
    outbox.note([note], NOW_S)
    outbox.note([note], NOW_S)
    outbox.enroll(["phone"], NOW_S)
    assert len(outbox.wanted(everything())) == 1
    outbox.journal.close()


def test_levels_that_are_ok_again_take_no_room(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    _, told = fell()
    outbox.note([], NOW_S, [told])
    outbox.note([], NOW_S, [Told(told.position_id, Level.OK)])
    assert outbox.levels() == {}
    outbox.journal.close()
