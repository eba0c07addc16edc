"""What doctor finds in files and at sockets: each thing that could fail at night, and none where all is well."""

from __future__ import annotations

import os
import resource
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from monitor.cli import doctor_acting, doctor_machine
from monitor.cli.doctor_alerts import channels
from monitor.cli.doctor_endpoint import quorum, websocket
from monitor.cli.findings import Finding
from monitor.core.alerting import AlertsConfig, ChannelConfig
from monitor.core.guardian import GuardianConfig
from monitor.core.secret import RpcUrl
from monitor.journal.rows import Hold
from monitor.journal.store import Journal
from monitor.pipeline.guardians import Guardian
from tests.alerts.ledger import NOW_S
from tests.execution.test_process_rows import in_child

ADDRESS = "0x000000000000000000000000000000000000dEaD"
SIGNER = f"""
socket = "signer.sock"
database = "sign.db"
kill_file = "levmon.kill"

[keys.keeper]
keystore = "keystore.json"
password_file = "password"

[chains.local]
chain_id = 31337
owners = ["{ADDRESS}"]
max_gas = 1000000
max_fee_per_gas_wei = 1
max_priority_fee_per_gas_wei = 1
max_cost_wei = 1
max_cost_per_day_wei = 1
"""


def by_check(found: Iterable[Finding]) -> dict[str, Finding]:
    made = {one.check: one for one in found}
    assert all(one.mend or one.state == "ok" for one in made.values())
    return made


async def all_of(found: AsyncIterator[Finding]) -> dict[str, Finding]:
    return by_check([one async for one in found])


def guardian(folder: Path, *, armed: bool = True) -> Guardian:
    return Guardian(GuardianConfig(address=ADDRESS, armed=armed), folder)


def test_a_journal_that_is_not_there_yet_is_no_mistake(tmp_path: Path) -> None:
    found = by_check(doctor_acting.journal(guardian(tmp_path).journal_url))
    assert {one.state for one in found.values()} <= {"ok", "warn"}
    assert "not there yet" in found["journal"].detail


def test_a_journal_with_a_hold_and_its_lock(tmp_path: Path) -> None:
    url = guardian(tmp_path).journal_url
    journal = Journal(url, now_s=NOW_S)
    journal.hold(Hold("position:x", "its price jumped"), NOW_S)
    found = by_check(doctor_acting.journal(url))
    assert found["journal"].state == "ok"
    assert found["journal, lock"].detail == "a running levmon works with it"
    assert "levmon resume 'position:x'" in found["journal, hold"].mend
    journal.close()
    assert by_check(doctor_acting.journal(url))["journal, lock"].detail == "is free"


def test_a_journal_that_somebody_changed_or_that_is_none(tmp_path: Path) -> None:
    url = guardian(tmp_path).journal_url
    journal = Journal(url, now_s=NOW_S)
    journal.hold(Hold("position:x", "its price jumped"), NOW_S)
    journal.close()
    with closing(sqlite3.connect(tmp_path / "levmon.db")) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute("UPDATE records SET body = replace(body, 'jumped', 'fell') WHERE seq = 2")
        db.commit()
    [found] = doctor_acting.journal(url)
    assert (found.state, found.exit_code, "record 2" in found.detail) == ("bad", 3, True)
    (tmp_path / "levmon.db").write_bytes(b"not a database" * 100)
    for name in ("levmon.db-wal", "levmon.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    [found] = doctor_acting.journal(url)
    assert (found.state, found.exit_code) == ("bad", 3)


def test_the_kill_switch(tmp_path: Path) -> None:
    one = guardian(tmp_path, armed=False)
    assert by_check(doctor_acting.stops(one))["kill switch"].state == "ok"
    assert "not armed" in by_check(doctor_acting.stops(one))["armed"].detail
    one.kill_file.touch()
    assert by_check(doctor_acting.stops(one))["kill switch"].state == "warn"


async def test_a_signer_step_by_step(tmp_path: Path) -> None:
    one = guardian(tmp_path)
    assert "keys init" in (await all_of(doctor_acting.signer(one)))["signer.toml"].mend
    one.signer_file.write_text("nonsense")
    assert (await all_of(doctor_acting.signer(one)))["signer.toml"].exit_code == 3
    one.signer_file.write_text(SIGNER)
    one.signer_file.chmod(0o600)
    found = await all_of(doctor_acting.signer(one))
    assert found["file keystore.json"].state == found["signer"].state == "bad"
    for name in ("keystore.json", "password"):
        (tmp_path / name).touch(0o644)
    (tmp_path / "password").chmod(0o600)
    found = await all_of(doctor_acting.signer(one))
    assert found["file keystore.json"].mend == "chmod 600 keystore.json"
    assert found["file password"].state == "ok"
    assert "left over" not in found["signer"].detail
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(one.socket))
    found = await all_of(doctor_acting.signer(one))
    assert "left over from a process that has ended" in found["signer"].detail
    unarmed = replace(one, config=GuardianConfig(address=ADDRESS))
    assert (await all_of(doctor_acting.signer(unarmed)))["signer"].exit_code == 0


async def test_channels_are_reached_for_and_told_nothing() -> None:
    assert (await all_of(channels(None)))["alerts"].state == "warn"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        hook = ChannelConfig.model_validate(
            {"name": "hook", "url": f"http://127.0.0.1:{port}/key-of-the-hook", "secret": "a secret of some length"}
        )
        found = await all_of(channels(AlertsConfig(channels=(hook,))))
        assert found["channel hook"].state == "ok"
        taken, _ = server.accept()
        with taken:
            assert taken.recv(100) == b""
    found = await all_of(channels(AlertsConfig(channels=(hook,))))
    assert found["channel hook"].state == "warn"
    assert "key-of-the-hook" not in str(found)


def test_a_quorum_with_nobody_to_spare() -> None:
    assert quorum("local", 0, 1).state == "ok"
    assert quorum("local", 2, 3).state == "ok"
    assert quorum("local", 2, 2).state == "warn"
    assert (quorum("local", 2, 1).state, quorum("local", 2, 1).exit_code) == ("bad", 3)


async def test_a_websocket_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    found = await websocket(RpcUrl(f"ws://127.0.0.1:{port}/secret-path"))
    assert (found.state, "secret-path" in str(found)) == ("warn", False)


def test_a_machine_that_grants_too_little() -> None:
    assert {one.state for one in doctor_machine.machine(1)} <= {"ok", "warn"}

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (70, 70))
        found = by_check(doctor_machine.machine(3))
        os._exit(42 if found["open files"].state == "bad" else 1)

    assert in_child(work) == 42


def test_a_folder_in_memory_does_not_keep_a_journal(tmp_path: Path) -> None:
    assert doctor_machine.disk("disk", Path("/dev/shm")).state == "warn"  # noqa: S108  # what is meant
    assert str(tmp_path) in doctor_machine.disk("disk", tmp_path / "not" / "there").detail
