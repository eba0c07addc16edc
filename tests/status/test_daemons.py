"""The daemons as they run: each exports the metrics that the list names for it, and says when it is not ready."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from monitor.status.names import METRICS
from monitor.testing import localnet
from monitor.testing.child import bound
from tests.cli.conftest import config_for
from tests.cli.guarded import ROOT, WAIT_S, Daemon, guarded, no_secret
from tests.localnet_fixtures import AnvilAave

pytestmark = [pytest.mark.anvil, pytest.mark.slow]
ABSENT = {"alert_channel_failing", "alert_oldest_age_seconds", "head_age_limit_seconds"}
PLACE = ("--listen", "127.0.0.1:0")


def asked(url: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url + path, timeout=10) as answer:  # noqa: S310  # loopback
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def names(text: str) -> set[str]:
    return set(re.findall(r"^levmon_(\w+)[ {]", text, re.MULTILINE))


def place_of(line: str) -> str:
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found is not None, line
    return found[0]


@contextmanager
def running(folder: Path, *args: str) -> Iterator[subprocess.Popen[str]]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "LEVMON_CACHE": str(folder / "cache")}
    process = subprocess.Popen(
        bound([sys.executable, "-m", "monitor", *args]),
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_watch_and_keep_export_what_the_list_says(anvil_aave: AnvilAave, tmp_path: Path) -> None:
    market = anvil_aave.market
    text = config_for(anvil_aave.process.url, market.provider, market.borrowers[:3])
    (tmp_path / "levmon.toml").write_text(text)
    common = (*PLACE, "--poll", "0.05", "--log-json")
    with running(tmp_path, "watch", *common) as watch, running(tmp_path, "keep", "core", *common) as keep:
        for command, process in (("watch", watch), ("keep", keep)):
            assert process.stdout is not None
            assert process.stderr is not None
            said = process.stderr.readline()
            told = json.loads(said)
            assert (told["schema"], told["kind"]) == ("levmon.log/1", "run")
            first = json.loads(process.stdout.readline())  # a block was judged
            assert first["schema"] == ("levmon.keep/1" if command == "keep" else "levmon.log/1")
            status, text = asked(place_of(said), "/metrics")
            listed = {name for name, about in METRICS.items() if command in about.of}
            # no channel and no guardian are set up, and this chain has no block time
            assert listed - names(text) == ABSENT | ({"actions", "holds"} if command == "keep" else set())
            assert names(text) <= listed
            assert (status, asked(place_of(said), "/readyz")[0]) == (200, 200)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) in (0, 1)
            for line in (*process.stdout.read().splitlines(), *process.stderr.read().splitlines()):
                assert json.loads(line)["schema"] in {"levmon.log/1", "levmon.keep/1"}, line


def checks_of(daemon_url: str) -> tuple[int, dict[str, str]]:
    status, text = asked(daemon_url, "/readyz")
    told = json.loads(text)
    assert told["ready"] is (status == 200)
    return status, {name: why for name, why in told["checks"].items() if why}


def until(daemon_url: str, check: str) -> str:
    """Why that check fails, asked until it does; no answer is remembered for long."""
    failing: dict[str, str] = {}
    end = time.monotonic() + WAIT_S
    while check not in failing:
        assert time.monotonic() < end, f"{check} does not fail: {failing}"
        _, failing = checks_of(daemon_url)
    return failing[check]


def test_an_armed_daemon_says_why_it_is_not_ready(tmp_path: Path) -> None:
    process, net = localnet.start(("3.0",))
    try:
        with guarded(net, "core", tmp_path) as room:
            signer = room.signer()
            daemon: Daemon = room.start("protect", "--broadcast", "--poll", "0.1", *PLACE)
            url = place_of(daemon.until("listening on"))
            daemon.until("in ")
            assert checks_of(url) == (200, {})
            found = {one["check"]: one for one in room.objects("doctor", code=3)}
            assert found["signer"]["state"] == found["purse on local"]["state"] == found["kill switch"]["state"] == "ok"
            assert found["journal, lock"]["detail"] == "a running levmon works with it"
            assert {found[f"file {name}"]["state"] for name in ("keystore.json", "password", "signer.toml")} <= {
                "ok",
                "warn",
            }
            lacks = found[f"rescue of core/{room.owner}"]
            assert (lacks["state"], "levmon approve" in lacks["mend"]) == ("bad", True), lacks
            listed = {name for name, about in METRICS.items() if "protect" in about.of}
            told = asked(url, "/metrics")[1]
            assert listed - names(told) == {"alert_channel_failing", "head_age_limit_seconds"}
            assert names(told) <= listed
            assert 'levmon_actions{state="final_ok"}' in told
            assert f'owner="{room.owner}"' in told
            room.said += told
            signer.end(signal.SIGKILL)
            assert "no signer" in until(url, "signer")
            with closing(sqlite3.connect(tmp_path / "levmon.db")) as other:
                other.execute("UPDATE leases SET epoch = epoch + 1")
                other.commit()
            assert "lease" in until(url, "journal")
            process.stop()
            assert until(url, "head local")
            told = asked(url, "/metrics")[1]
            assert "levmon_ready 0.0" in told
            assert "\nlevmon_position_health" not in told
            assert "levmon_position_unknown" in told
            assert asked(url, "/healthz")[0] == 200
            daemon.end(signal.SIGTERM)
        no_secret(room)
    finally:
        process.stop()
