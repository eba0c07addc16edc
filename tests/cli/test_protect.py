"""Rescues from the command line on real contracts: real signer process, real journal, transactions counted on chain."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import vyper

from monitor.testing import aave_v3, localnet
from tests.cli.guarded import GUARDIAN, Room, config_text, guarded, no_secret
from tests.cli.hook import SECRET, TOKEN, Hook, alerts_text

pytestmark = [pytest.mark.anvil, pytest.mark.slow, pytest.mark.timeout(600)]
HERE = Path(__file__).parent
TARGET, BAND = 1.4, 1.4 * 1.005


@pytest.fixture(scope="module")
def net() -> Iterator[localnet.Localnet]:
    process, started = localnet.start(("3.0", "3.6"))
    try:
        yield started
    finally:
        process.stop()


Guarded = Callable[[str], Room]


@pytest.fixture
def guard(net: localnet.Localnet, tmp_path: Path) -> Iterator[Guarded]:
    """A guarded position in the market of that name; whatever the test prints is searched for secrets."""
    chain = net.chain()
    snapshot = chain.snapshot()
    rooms: list[Room] = []
    with ExitStack() as stack:

        def make(name: str) -> Room:
            rooms.append(stack.enter_context(guarded(net, name, tmp_path)))
            return rooms[-1]

        yield make
    for room in rooms:
        no_secret(room)
        assert room.said
    chain.revert(snapshot)
    chain.close()


def ready(room: Room) -> None:
    """A running signer, and the allowance granted through it."""
    room.signer()
    room.run("approve", room.position, room.debt, "--broadcast", "--until", "mined")
    room.chain.mine(3)
    assert room.nonce == 1


@pytest.mark.parametrize("name", ["core", "core36"])
def test_an_armed_position_is_rescued_when_prices_fall(guard: Guarded, name: str) -> None:
    room = guard(name)
    ready(room)
    daemon = room.protect("--broadcast")
    daemon.until("in ")
    assert room.repayments() == 0
    room.fall("-10%")
    daemon.until("health was below 1.2")
    daemon.until("mined")
    assert TARGET <= room.health <= BAND
    room.chain.mine(2)
    daemon.until("final_ok")
    assert daemon.end(signal.SIGTERM) in (0, 1)
    assert room.repayments() == 1
    assert room.nonce == 2
    story = " ".join(room.run("history", room.position).split())
    for word in ("health was below 1.2", "armed", "signed", "broadcast", "mined", "final_ok"):
        assert word in story, story
    [approval, rescue] = room.objects("history")
    assert approval["kind"] == "erc20/approve"
    assert rescue["state"] == "final_ok"
    assert rescue["mined"]["ok"] is True
    assert [one["kind"] for one in rescue["attempts"]] == ["intent"]
    assert rescue["decision"]["target"] == "7/5"


def test_a_dry_run_sends_nothing_and_unarmed_is_refused(guard: Guarded, net: localnet.Localnet) -> None:
    room = guard("core36")
    ready(room)
    daemon = room.protect()
    daemon.until("in ")
    room.fall("-10%")
    daemon.until("health was below 1.2")
    daemon.until("dry: simulated, it would succeed")
    room.chain.mine()
    daemon.end(signal.SIGTERM)
    told = room.objects("act", room.position)
    assert told[0]["schema"] == "levmon.plan/1"
    assert told[1]["passes"] is True
    assert len(told) == 2
    assert room.nonce == 1, "only the approval"
    assert len(room.objects("history")) == 1
    (room.path / "levmon.toml").write_text(config_text(net, room, armed=False))
    assert "not armed" in room.run("protect", "--broadcast", code=2)


def test_act_lands_exactly_what_it_said(guard: Guarded) -> None:
    room = guard("core36")
    ready(room)
    [planned] = room.objects("plan", room.position, "--target", "1.5")
    told = room.objects("act", room.position, "--target", "1.5", "--broadcast", "--until", "mined")
    assert [one["state"] for one in told[2:]][-1] == "mined"
    assert told[-1]["hash"]
    assert 1.5 <= room.health <= 1.5 * 1.005
    assert planned["plans"][0]["kind"] == "aave-v3/repay"
    assert "under way already" in room.run("act", room.position, "--target", "1.9", "--broadcast", code=4)
    room.chain.mine(2)
    told = room.objects("act", room.position, "--target", "1.5", "--broadcast")
    assert "is not below 1.5" in told[0]["note"]
    assert room.repayments() == 1
    # code that nobody has agreed to: told, held, and done once somebody has
    (implementation,) = room.chain.call(room.market.pool, "implementation()", "(address)", sender=room.market.provider)
    room.chain.rpc("anvil_setCode", implementation, room.chain.rpc("eth_getCode", implementation, "latest") + "00")
    wish = ("act", room.position, "--target", "1.6", "--broadcast", "--until", "mined")
    assert "the market's code is not that" in " ".join(room.run(*wish, code=4).split())
    [held] = room.objects("resume", code=4)[0]["holds"]
    assert "levmon resume" in room.run(*wish, code=4)
    room.run("resume", held["scope"])
    assert room.repayments() == 1
    room.run(*wish)
    assert room.repayments() == 2


def test_the_kill_switch_stops_it_within_a_second(guard: Guarded) -> None:
    room = guard("core36")
    ready(room)
    daemon = room.protect("--broadcast")
    daemon.until("in ")
    assert "the signer has stopped too" in room.run("kill")
    began = time.monotonic()
    daemon.until("acting is held: the kill switch is thrown", 5)
    assert time.monotonic() - began < 1
    room.fall("-10%")
    daemon.until("health was below 1.2")
    room.chain.mine(3)
    daemon.until("action")
    assert "the kill switch" in room.run("act", room.position, "--broadcast", code=4)
    assert room.nonce == 1
    assert [row["killed"] for row in room.objects("keys", code=4)] == [True]
    room.run("resume")
    daemon.until("mined")
    assert room.repayments() == 1
    assert daemon.end(signal.SIGTERM) in (0, 1)


def test_killed_with_its_transaction_in_the_pool_it_sends_no_second(guard: Guarded) -> None:
    room = guard("core36")
    ready(room)
    daemon = room.protect("--broadcast")
    daemon.until("in ")
    room.fall("-10%")
    room.chain.rpc("evm_setAutomine", False)
    try:
        daemon.until("broadcast")
        assert daemon.end(signal.SIGKILL) == -signal.SIGKILL
        again = room.protect("--broadcast")
        again.until("1 position")
        room.chain.mine()
    finally:
        room.chain.rpc("evm_setAutomine", True)
    again.until("mined")
    room.chain.mine(2)
    again.until("final_ok")
    again.end(signal.SIGTERM)
    assert room.repayments() == 1
    assert room.nonce == 2
    assert TARGET <= room.health <= BAND


def test_killed_while_the_signer_was_asked_it_goes_on_with_the_same(guard: Guarded) -> None:
    room = guard("core36")
    ready(room)
    [signing] = room.daemons
    daemon = room.protect("--broadcast")
    daemon.until("in ")
    signing.process.send_signal(signal.SIGSTOP)
    room.fall("-10%")
    daemon.until("health was below 1.2")
    assert daemon.end(signal.SIGKILL) == -signal.SIGKILL
    signing.process.send_signal(signal.SIGCONT)
    again = room.protect("--broadcast")
    again.until("mined")
    again.end(signal.SIGTERM)
    assert room.repayments() == 1
    assert room.nonce == 2
    [_, rescue] = room.objects("history")
    assert rescue["nonce"] == "1"


def test_what_cannot_be_done_is_refused_with_the_reason(guard: Guarded) -> None:
    room = guard("core36")
    assert "the purse lets the pool take 0" in room.run("act", room.position, "--target", "1.5", "--broadcast", code=4)
    ready(room)
    aave_v3.set_paused(room.chain, room.market, room.debt, True)
    refused = room.run("act", room.position, "--target", "1.5", "--broadcast", code=4)
    assert f"ReservePaused: {room.debt} is paused" in refused
    [told] = room.objects("plan", room.position, "--target", "1.5", code=4)
    assert told["plans"] == []
    assert any("ReservePaused" in one["reason"] for one in told["refused"])
    aave_v3.set_paused(room.chain, room.market, room.debt, False)
    assert room.nonce == 1


def test_alerts_go_out_while_it_rescues_and_after_it_was_killed(guard: Guarded, net: localnet.Localnet) -> None:
    room = guard("core36")
    ready(room)
    with Hook() as hook:
        events = '"level", "action", "hold", "run"'
        (room.path / "levmon.toml").write_text(config_text(net, room, more=alerts_text(hook, events=events)))
        hook.answer(500)
        daemon = room.protect("--broadcast")
        daemon.until("channel ops fails: answered 500")
        room.fall("-10%")
        daemon.until("mined")
        assert TARGET <= room.health <= BAND, "acting does not wait for a channel"
        assert listening(daemon.process.pid) == []
        assert daemon.end(signal.SIGKILL) == -signal.SIGKILL
        assert hook.bodies == []
        hook.answer(200)
        with sqlite3.connect(room.path / "levmon.db") as db:
            db.execute("UPDATE channels SET retry_s = 0")  # the wait is over
        db.close()
        again = room.protect("--broadcast")
        room.chain.mine(2)
        again.until("final_ok")
        assert again.end(signal.SIGTERM) in (0, 1)
        told = [(one["kind"], one["detail"].get("state") or one["detail"].get("level")) for one in hook.alerts]
        for expected in (("level", "warn"), ("action", "planned"), ("outcome", "mined"), ("outcome", "final_ok")):
            assert expected in told, told
        keys = [one["key"] for one in hook.alerts]
        assert len(set(keys)) == len(keys)
        mined = [one["detail"] for one in hook.alerts if one["detail"].get("state") == "mined"]
        [story] = [one for one in mined if one["action"] == "aave-v3/repay"]
        assert (story["symbol"], story["cause"]) == ("USDC", "health was below 1.2 in 1 observations in a row")
        assert "0 pending" in room.run("alerts", "list")
    assert TOKEN not in room.said
    assert SECRET not in room.said
    assert all(TOKEN.encode() not in file.read_bytes() for file in room.path.glob("levmon.db*"))


def listening(pid: int) -> list[str]:
    """TCP sockets of the process that wait for somebody to connect."""
    sockets = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            sockets.add(fd.readlink().name)
    rows = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()
    ]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]


def test_keys_and_history_say_where_things_stand(guard: Guarded) -> None:
    room = guard("core36")
    assert "no signer at" in room.run("keys", code=4)
    ready(room)
    [row] = room.objects("keys")
    assert (row["nonce"], row["journal_nonce"], row["signer"], row["guardian"]) == ("1", "1", "ready", True)
    assert int(row["gas_today_wei"]) > 0
    assert "there already" in room.run("keys", "init", "--key-file", "x", code=2)
    wrong = room.run("keys", "init", "--force", "--account", "ab" * 32, code=2)
    assert "ab" * 32 not in wrong
    assert json.loads(room.run("resume", "--json"))["killed"] is False


def test_rules_that_are_read_anew(guard: Guarded) -> None:
    room = guard("core")
    ready(room)
    daemon = room.protect("--broadcast")
    daemon.until("in ")
    file, health = room.path / "levmon.toml", room.health
    text = file.read_text()
    file.write_text(text.replace("trigger = 1.2", "trigger = 2.2"))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.until("the rules stay as they were")  # the target would be below the trigger
    higher = f"trigger = {health + 0.02:.3f}"
    file.write_text(text.replace("trigger = 1.2", higher))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.until("the rules were read anew")
    daemon.until("health was below")
    daemon.until("mined")
    assert TARGET <= room.health <= BAND
    assert daemon.end(signal.SIGTERM) in (0, 1)


def stubborn(room: Room) -> None:
    """The debt's token gets USDT's rule about allowances."""
    asset = room.market.reserves[room.debt].asset
    code = vyper.compile_code((HERE / "Stubborn.vy").read_text(), output_formats=["bytecode_runtime"])
    room.chain.rpc("anvil_setCode", "0x" + "00" * 16 + "c0de0001", room.chain.rpc("eth_getCode", asset, "latest"))
    room.chain.rpc("anvil_setCode", asset, code["bytecode_runtime"])


def test_an_allowance_that_must_be_zero_first(guard: Guarded) -> None:
    room = guard("core")
    room.signer()
    room.run("approve", room.position, room.debt, "--amount", "5", "--broadcast", "--until", "mined")
    room.chain.mine(2)
    stubborn(room)
    told = room.run("approve", room.position, room.debt, "--amount", "900_000")
    assert "an approval of 0, which this token demands first" in told
    assert room.nonce == 1
    room.run("approve", room.position, room.debt, "--amount", "900_000", "--broadcast", "--until", "mined")
    assert room.nonce == 3
    asset = room.market.reserves[room.debt].asset
    allowed = room.chain.call(asset, "allowance(address,address)", "(uint256)", GUARDIAN, room.market.pool)
    assert allowed == (900_000 * 10**6,)
