"""From nothing to the first check in three commands, as a user types them: with flags, and answering on a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Levmon
from tests.cli.guarded import ROOT
from tests.localnet_fixtures import AnvilAave

OWNER = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
SECONDS = 120


def environment(folder: Path, url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ETH_", "LEVMON_"))}
    more = {"LEVMON_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT), "TERM": "xterm", "LEVMON_RPC_31337": url}
    return {**kept, **more}


def run(folder: Path, env: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monitor", *args]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=SECONDS)


def typed(folder: Path, env: dict[str, str], answers: list[str], *args: str) -> str:
    """What a terminal shows while the answers are typed, each when its question stands there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "monitor", *args], cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown, asked = "", 0
    end = time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                got = os.read(ours, 4096).decode()
            except OSError:  # the other end has been closed
                break
            if not got:
                break
            shown += got
            while asked < len(answers) and shown.count(": ", shown.find("Market")) > asked and shown.endswith(": "):
                os.write(ours, f"{answers[asked]}\n".encode())
                asked += 1
                shown += "\n"
        assert process.wait(SECONDS) == 0, shown
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert asked == len(answers), shown
    return shown


@pytest.mark.anvil
def test_flags_to_the_first_check(anvil_aave: AnvilAave, tmp_path: Path) -> None:
    market, began = anvil_aave.market, time.monotonic()
    env = environment(tmp_path, anvil_aave.process.url)  # the first command: export LEVMON_RPC_31337=...
    place = ("--market", f"aave-v3:{market.provider}", "--chain-id", "31337")
    made = run(tmp_path, env, "config", "init", *place, "--owner", market.borrowers[0])
    assert made.returncode == 0, made.stderr
    assert made.stdout == "wrote levmon.toml; next:\n  levmon check\n"
    checked = run(tmp_path, env, "check")
    assert checked.returncode in (0, 1), checked.stderr
    assert market.borrowers[0][:6] in checked.stdout
    assert time.monotonic() - began < SECONDS


@pytest.mark.anvil
def test_a_terminal_is_asked(anvil_aave: AnvilAave, tmp_path: Path) -> None:
    market = anvil_aave.market
    env = environment(tmp_path, anvil_aave.process.url)
    answers = [
        *("nonsense", f"aave-v3:{market.provider}", "31337"),
        *("nobody", market.borrowers[0].lower(), market.borrowers[1], ""),
        *(f"{anvil_aave.process.url}/key", ""),
        *("", "0.9", "1.6", ""),
        "",
    ]
    shown = typed(tmp_path, env, answers, "config", "init")
    for told in ("unknown market", "is no owner", "that is no variable's name", "0.9 is not above 1", "levmon check"):
        assert told in shown
    text = (tmp_path / "levmon.toml").read_text()
    assert anvil_aave.process.url not in text
    assert "warn = 1.6" in text
    assert run(tmp_path, env, "config", "check").stdout.startswith("levmon.toml is right: 1 chains, 1 markets, 2 pos")
    assert run(tmp_path, env, "check", "--json").stdout.count("levmon.position/1") == 2


def test_what_flags_write_is_right(levmon: Levmon, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = levmon(
        "config", "init", "--owner", OWNER, "--owner", "vitalik.eth", "--rpc-env", "MINE", "--alert-env", "HOOK"
    )
    assert made.code == 0, made.err
    assert "export MINE=" in made.out
    assert "export HOOK=" in made.out
    assert "MINE is not set" in levmon("config", "check").err
    monkeypatch.setenv("MINE", "https://a.example/key")
    monkeypatch.setenv("HOOK", "json://b.example")
    told = levmon("config", "check").out
    assert told == "levmon.toml is right: 1 chains, 1 markets, 2 positions\n"
    assert "channel first" in levmon("config", "show").out
    assert (home / "levmon.toml").read_text().count("[[positions]]") == 2


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--owner", "nobody"), "is no owner"),
        (("--owner", OWNER[:-1] + "D"), OWNER),
        (("--rpc-env", "https://a.example/key-0001"), "stays outside"),
        (("--market", f"aave-v3:{OWNER}"), "--chain-id"),
        (("--market", "ethereum/aave-v3/core", "--chain-id", "10"), "is on chain 1"),
        (("--warn", "2.5"), "warn"),
        (("--critical", "0.5"), "not above 1"),
        (("--config", "nowhere/levmon.toml"), "cannot be written"),
    ],
)
def test_what_would_not_be_right_is_not_written(levmon: Levmon, home: Path, args: tuple[str, ...], told: str) -> None:
    ran = levmon("config", "init", *args)
    assert ran.code == 2
    assert told in ran.err
    assert "key-0001" not in ran.err
    assert not (home / "levmon.toml").exists()


def test_another_market_is_on_its_own_chain(levmon: Levmon, home: Path) -> None:
    assert levmon("config", "init", "--market", "base/aave-v3/core").code == 0
    assert "LEVMON_RPC_8453" in (home / "levmon.toml").read_text()
