"""Journals that older levmons wrote (`schema_N.sql`: one action done and one planned, as sqlite3 dumped them)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from monitor.core.actions import ActionState
from monitor.journal.migrations import FOLDER, HEAD
from monitor.journal.replay import broken_links, differences
from monitor.journal.rows import JournalUnfit
from monitor.journal.store import Journal
from monitor.journal.view import JournalView

HERE = Path(__file__).parent
LATER_S = 2_000_000_000


def old(folder: Path, schema: int) -> Path:
    path = folder / "journal.db"
    with sqlite3.connect(path) as db:
        db.executescript((HERE / f"schema_{schema}.sql").read_text())
    db.close()
    return path


def everything(path: Path) -> dict[str, list[dict[str, object]]]:
    """Every row of every table, by the names of its columns."""
    db = sqlite3.connect(path)
    db.row_factory = sqlite3.Row
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    found = {name: [dict(row) for row in db.execute(f"SELECT * FROM {name}")] for name in names}  # noqa: S608  # its own names
    db.close()
    return found


@pytest.mark.parametrize("schema", [1, 2])
def test_what_an_older_levmon_wrote_is_all_there(tmp_path: Path, schema: int) -> None:
    path = old(tmp_path, schema)
    before = everything(path)
    url = f"sqlite:///{path}"
    if schema == 1:
        with pytest.raises(JournalUnfit, match="another version"):
            JournalView(url)
    journal = Journal(url, now_s=LATER_S)
    assert {action.id: action.state for action in journal.actions()}["a"] is ActionState.FINAL_OK
    assert broken_links(journal.records()) == []
    assert differences(journal.records(), journal.actions(), journal.charges()) == []
    journal.close()
    after = everything(path)
    assert after.pop("journal_version") == [{"version_num": HEAD}]
    for table, rows in before.items():
        now = after[table]
        if table in {"meta", "leases"}:
            continue
        if table == "records":
            now = now[: len(rows)]  # and then the lease that opening took
        assert [{name: row[name] for name in one} for one, row in zip(rows, now, strict=True)] == rows, table
    assert not [row for row in after["meta"] if row["name"] == "schema_version"]
    Journal(url, now_s=LATER_S).close()
    assert len(JournalView(url).actions()) == len(before["actions"])


@pytest.mark.parametrize("schema", [1, 2])
def test_an_upgraded_journal_has_the_tables_of_a_new_one(tmp_path: Path, schema: int) -> None:
    Journal(f"sqlite:///{old(tmp_path, schema)}", now_s=LATER_S).close()
    Journal(f"sqlite:///{tmp_path / 'new.db'}", now_s=LATER_S).close()

    def shape(name: str) -> dict[str, set[str]]:
        db = sqlite3.connect(tmp_path / name)
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'index')")]
        tables = [name for name in tables if not name.startswith("sqlite_")]
        found = {table: {row[1] for row in db.execute(f"PRAGMA table_info({table})")} for table in tables}
        db.close()
        return found

    assert shape("journal.db") == shape("new.db")


def test_a_migration_that_fails_half_way_has_not_happened(tmp_path: Path) -> None:
    path = old(tmp_path, 1)
    before = everything(path)
    more = tmp_path / "more"
    more.mkdir()
    (more / "newer.py").write_text(
        f'from alembic import op\nrevision, down_revision = "newer", "{HEAD}"\n'
        'def upgrade():\n    op.execute("CREATE TABLE extra (x INTEGER)")\n    op.execute("nonsense")\n'
    )
    with pytest.raises(JournalUnfit, match="nonsense"):
        Journal(f"sqlite:///{path}", now_s=LATER_S, versions=(FOLDER / "versions", more))
    assert everything(path) == before
    Journal(f"sqlite:///{path}", now_s=LATER_S).close()


def test_the_newest_revision_is_the_one_that_is_opened_without_asking() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]
