"""What was kept, as other programs and people get it: `export`, read back by DuckDB, and `history --plot`."""

from __future__ import annotations

import csv
import json
import sqlite3
from pathlib import Path
from typing import Any

import duckdb
import pytest

from monitor.history.store import History
from monitor.journal.store import Journal
from tests.cli.conftest import Levmon, config_for
from tests.history.looks import OWNER, PROVIDER, START_S, SUBJECT, WAD, seen, unknown

SCHEMA_2 = Path(__file__).parents[1] / "journal" / "schema_2.sql"
CONFIG = config_for("http://127.0.0.1:1", PROVIDER, (OWNER,)) + (
    "warn = 3\nwatch = 4\n"
    '[guardian]\naddress = "0x000000000000000000000000000000000000dEaD"\n'
    "[guardian.limits]\nper_action = 1\nper_position_day = 1\nper_key_day = 1\n"
)
HUGE = 2**256 - 1


def asked(query: str) -> list[Any]:
    found = duckdb.sql(query)
    assert found is not None
    return found.fetchall()


TABLES = ("history", "actions", "attempts", "decisions", "alerts")


@pytest.fixture
def kept(home: Path) -> Path:
    """A history of four looks, and a journal with an action that was done and one that is planned."""
    (home / "levmon.toml").write_text(CONFIG)
    history = History(f"sqlite:///{home / 'levmon-history.db'}")
    for look in (seen(1, HUGE, 2**255 - 19), seen(2, 3 * WAD), unknown(3, 'no "answer", at all'), seen(4, WAD - 1)):
        history.keep([look], START_S + 36)
    history.close()
    journal = home / "levmon.db"
    with sqlite3.connect(journal) as db:
        db.executescript(SCHEMA_2.read_text())
    db.close()
    Journal(f"sqlite:///{journal}", now_s=START_S).close()
    return home


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_duckdb_reads_every_table_whole(levmon: Levmon, kept: Path, form: str) -> None:
    for table in TABLES:
        ran = levmon("export", table, "--out", f"{table}.{form}")
        assert ran.code == 0, ran.err
        source = {"parquet": "read_parquet", "csv": "read_csv", "jsonl": "read_json"}[form]
        options = "" if form == "parquet" else ", all_varchar = true" if form == "csv" else ""
        count = asked(f"SELECT count(*) FROM {source}('{kept / table}.{form}'{options})")[0]  # noqa: S608
        assert count[0] > 0
        assert ran.lines == [f"wrote {table}.{form}: {count[0]} row{'' if count[0] == 1 else 's'}"]
    assert sorted(path.name for path in kept.glob("*.part")) == []


def test_no_integer_is_rounded_and_no_text_broken(levmon: Levmon, kept: Path) -> None:
    for form in ("parquet", "csv", "jsonl"):
        assert levmon("export", "history", "--out", f"h.{form}").code == 0
    columns = "health_num, health_den, verdict, reason, collateral_raw, price_raw"
    rows = asked(f"SELECT {columns} FROM read_parquet('{kept}/h.parquet') ORDER BY at_s")  # noqa: S608
    assert rows[0] == (str(HUGE), str(2**255 - 19), "known", None, str(2**255), str(2**201))
    assert rows[2][2:4] == ("unknown", 'no "answer", at all')
    with (kept / "h.csv").open(newline="") as file:
        told = list(csv.DictReader(file))
    assert [row["health_num"] for row in told] == [str(HUGE), str(3 * WAD), "", str(WAD - 1)]
    assert told[2]["reason"] == 'no "answer", at all'
    lines = [json.loads(line) for line in (kept / "h.jsonl").read_text().splitlines()]
    assert [line["health_num"] for line in lines] == [str(HUGE), str(3 * WAD), None, str(WAD - 1)]
    assert [line["level"] for line in lines][2:] == ["unknown", "critical"]


def test_signed_bytes_are_not_exported(levmon: Levmon, kept: Path) -> None:
    with sqlite3.connect(kept / "levmon.db") as db:
        raws = [raw for (raw,) in db.execute("SELECT raw FROM attempts WHERE raw IS NOT NULL")]
    db.close()
    assert raws
    assert levmon("export", "attempts", "--out", "a.jsonl").code == 0
    assert not [raw for raw in raws if raw in (kept / "a.jsonl").read_text()]


def test_a_whole_file_or_none(levmon: Levmon, kept: Path) -> None:
    (kept / "old.csv").write_text("mine")
    for args, word in (
        (("history", "--out", "missing/x.csv"), "cannot write"),
        (("history", "--out", "x.xls"), "no format is called 'xls'"),
        (("nothing", "--out", "x.csv"), "nothing"),
    ):
        ran = levmon("export", *args)
        assert ran.code == 2
        assert word in ran.err
    (kept / "levmon-history.db").write_bytes(b"not a database at all" * 100)
    ran = levmon("export", "history", "--out", "old.csv")
    assert ran.code != 0
    assert (kept / "old.csv").read_text() == "mine"
    assert not list(kept.glob(".old.csv*"))


def test_nothing_kept_is_an_empty_table(levmon: Levmon, home: Path) -> None:
    (home / "levmon.toml").write_text(CONFIG)
    for form in ("parquet", "csv", "jsonl"):
        assert levmon("export", "history", "--out", f"h.{form}").lines == [f"wrote h.{form}: 0 rows"]
    assert (home / "h.csv").read_text().startswith("position_id,chain_id,")
    assert asked(f"SELECT count(*) FROM read_parquet('{home}/h.parquet')") == [(0,)]  # noqa: S608


def test_the_plot_shows_danger_gaps_and_lines(levmon: Levmon, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: START_S + 60.0)
    ran = levmon("history", f"core/{OWNER}", "--plot", "--hours", "0.02")
    assert ran.code == 0, ran.err
    text = ran.out
    assert "Health of treasury" in text
    assert (kept / "levmon-history.db").exists()
    for word in ("watch", "warn", "critical", "liquidation", "?", "#", "*"):
        assert word in text, word
    assert "2023-11-14 22:1" in text, "both ends of the time are told"
    drawn = levmon("history", SUBJECT.id, "--plot", "--hours", "0.02", "--json")
    rows = [json.loads(line) for line in drawn.lines]
    assert [row["num"] for row in rows if row["schema"] == "levmon.health/1"] == [
        str(HUGE),
        str(3 * WAD),
        None,
        str(WAD - 1),
    ]


def test_who_only_watches_has_a_plot_too(levmon: Levmon, kept: Path) -> None:
    (kept / "levmon.toml").write_text(CONFIG.partition("[guardian]")[0])
    ran = levmon("history", f"core/{OWNER}", "--plot", "--hours", str(24 * 3650))
    assert ran.code == 0, ran.err
    assert "Health of treasury" in ran.out
    assert levmon("history").code == 2, "a journal is the guardian's"
    assert levmon("export", "alerts", "--out", "a.csv").code == 0


def test_a_plot_of_nothing_says_so(levmon: Levmon, kept: Path) -> None:
    assert levmon("history", "--plot").code == 2
    assert "Nothing was kept" in levmon("history", "0x" + "99" * 20, "--plot").out
    assert kept.exists()
