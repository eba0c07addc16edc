"""Alerts from the command line: `alerts test` and `list` on a real server, `watch` over a fall of prices."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.journal.store import Journal
from tests.cli.conftest import Levmon, config_for
from tests.cli.hook import SECRET, TOKEN, Hook, alerts_text
from tests.localnet_fixtures import AnvilAave

BARE = '[chains.local]\nchain_id = 31337\nrpc = ["http://127.0.0.1:1"]\n'


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as hook:
        yield hook


def test_a_test_message_is_marked_and_told_per_channel(levmon: Levmon, home: Path, hook: Hook) -> None:
    (home / "levmon.toml").write_text(BARE + alerts_text(hook))
    ran = levmon("alerts", "test")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("ops: delivered in ")
    [got] = hook.bodies
    assert got["schema"] == "levmon.test/1"
    hook.answer(401)
    ran = levmon("alerts", "test", "--channel", "ops", "--json")
    assert ran.code == 4
    told = json.loads(ran.out)
    assert (told["channel"], told["delivered"]) == ("ops", False)
    assert "does not let levmon in" in told["error"]
    ran = levmon("alerts", "test", "--channel", "fax")
    assert (ran.code, "no channel 'fax'" in ran.err) == (2, True)
    assert TOKEN not in ran.out + ran.err + told["error"]


def test_without_channels_it_is_said_how_to_add_one(levmon: Levmon, home: Path) -> None:
    (home / "levmon.toml").write_text(BARE)
    for words in (("alerts", "test"), ("alerts", "list")):
        ran = levmon(*words)
        assert (ran.code, "no channel is configured" in ran.err) == (2, True)


def test_the_file_is_shown_without_its_urls(levmon: Levmon, home: Path, hook: Hook) -> None:
    (home / "levmon.toml").write_text(BARE + alerts_text(hook))
    ran = levmon("config", "show")
    assert "channel ops: http://*** signed, info or worse of level, " in ran.out
    assert TOKEN not in ran.out
    assert SECRET not in ran.out


@pytest.mark.anvil
def test_watch_tells_what_is_not_ok_once_and_remembers(
    levmon: Levmon, home: Path, hook: Hook, anvil_aave: AnvilAave
) -> None:
    text = config_for(anvil_aave.process.url, anvil_aave.market.provider, anvil_aave.market.borrowers)
    (home / "levmon.toml").write_text(text + alerts_text(hook, events='"level", "run"'))
    ran = levmon("watch", "--count", "1")
    assert ran.code in (0, 1), ran.err
    levels = [alert for alert in hook.alerts if alert["kind"] == "level"]
    worse = [line for line in ran.lines if "  health " in line]
    assert len(levels) == len(worse) > 0
    assert all(alert["standing"] == "provisional" for alert in levels)
    assert [alert["text"] for alert in hook.alerts if alert["kind"] == "run"] == [
        f"watch ({len(anvil_aave.market.borrowers)} positions) started",
        f"watch ({len(anvil_aave.market.borrowers)} positions) stopped",
    ]
    before = len(hook.alerts)
    assert levmon("watch", "--count", "1").code == ran.code
    assert [alert["kind"] for alert in hook.alerts[before:]] == ["run", "run"], "what was told is not told again"
    told = levmon("alerts", "list")
    assert "channel ops: 0 pending; well" in told.out
    objects = [json.loads(line) for line in levmon("alerts", "list", "--json").lines]
    assert objects[0]["channel"] == "ops"
    assert [one["kind"] for one in objects[1:]].count("level") == len(levels)
    assert TOKEN not in ran.out + ran.err + told.out
    assert TOKEN.encode() not in (home / "alerts.db").read_bytes()
    only_shown = len(hook.alerts)
    assert levmon("watch", "--count", "1", "--no-alerts").code == ran.code
    assert len(hook.alerts) == only_shown


@pytest.mark.anvil
def test_a_second_levmon_only_shows(levmon: Levmon, home: Path, hook: Hook, anvil_aave: AnvilAave) -> None:
    text = config_for(anvil_aave.process.url, anvil_aave.market.provider, anvil_aave.market.borrowers)
    (home / "levmon.toml").write_text(text + alerts_text(hook))
    first = Journal(f"sqlite:///{home / 'alerts.db'}", now_s=0)
    ran = levmon("watch", "--count", "1")
    first.close()
    assert ran.code in (0, 1)
    assert "another levmon tells them" in ran.err
    assert hook.bodies == []


@pytest.mark.anvil
def test_a_damaged_journal_does_not_keep_alerts_back(
    levmon: Levmon, home: Path, hook: Hook, anvil_aave: AnvilAave
) -> None:
    text = config_for(anvil_aave.process.url, anvil_aave.market.provider, anvil_aave.market.borrowers)
    (home / "levmon.toml").write_text(text + alerts_text(hook, events='"level"'))
    (home / "alerts.db").write_bytes(b"no journal at all " * 1000)
    ran = levmon("watch", "--count", "1")
    assert ran.code in (0, 1)
    assert "sent without a journal" in ran.err
    told = [alert for alert in hook.alerts if alert["kind"] == "level"]
    assert len(told) == len([line for line in ran.lines if "  health " in line]) > 0


@pytest.mark.anvil
def test_what_a_dead_channel_was_not_told_waits_for_the_next_run(
    levmon: Levmon, home: Path, hook: Hook, anvil_aave: AnvilAave
) -> None:
    text = config_for(anvil_aave.process.url, anvil_aave.market.provider, anvil_aave.market.borrowers)
    (home / "levmon.toml").write_text(text + alerts_text(hook, events='"level"'))
    hook.answer(500)
    ran = levmon("watch", "--count", "1")
    assert "channel ops fails: answered 500" in ran.err
    listed = levmon("alerts", "list").out
    assert "failing for" in listed
    assert "pending" in listed
    hook.answer(200)
    with sqlite3.connect(home / "alerts.db") as db:
        assert db.execute("SELECT failures FROM channels").fetchone()[0] > 0
        db.execute("UPDATE channels SET retry_s = 0")  # the wait is over
    db.close()
    levmon("watch", "--count", "1")
    told = [alert for alert in hook.alerts if alert["kind"] == "level"]
    assert len(told) == len([line for line in ran.lines if "  health " in line])
    assert "0 pending; well" in levmon("alerts", "list").out
