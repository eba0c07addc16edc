"""The command line without a chain: help, configuration, usage errors, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from monitor.cli import app, check_command
from monitor.cli.app import COMMANDS
from monitor.core.errors import ConfigError
from tests.cli.conftest import Levmon

OWNER = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
PROVIDER = "0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9e"


def test_help_names_every_command(levmon: Levmon) -> None:
    ran = levmon("--help")
    assert ran.code == 0
    for name, told in COMMANDS.items():
        assert name in ran.out
        assert told.split()[0] in ran.out


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_that_names_its_options(levmon: Levmon, name: str) -> None:
    ran = levmon(name, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: levmon {name}")
    command = app.app.get_command(click.Context(app.app), name)
    assert command is not None
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.opts[0] in ran.out
            assert param.help, f"{param.name} has no help"


def test_version(levmon: Levmon) -> None:
    assert levmon("--version").out.startswith("levmon 0.")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("nonsense",), "No such command"),
        (("check", "--nonsense"), "No such option"),
        (("check",), "levmon config init"),
        (("check", OWNER), "no market is named"),
        (("check", "--market", "ethereum/aave-v3/cor", OWNER), "ethereum/aave-v3/core"),
        (("check", "--market", f"aave-v9:{PROVIDER}", OWNER), "unknown protocol 'aave-v9'"),
        (("check", "--market", "aave-v3:0x12", OWNER), "not an address"),
        (("check", "--market", f"aave-v3:{PROVIDER}", OWNER), "--rpc-url"),
        (("check", "--market", "ethereum/aave-v3/core", OWNER), "LEVMON_RPC_1"),
        (("check", "--market", "ethereum/aave-v3/core", "--rpc-url", "nonsense", OWNER), "not a usable URL"),
        (("check", "--market", f"aave-v3:{PROVIDER}", "--rpc-url", "http://127.0.0.1:1", "treasury"), "treasury"),
        (("check", "--market", f"aave-v3:{PROVIDER}", "--rpc-url", "http://127.0.0.1:1", OWNER[:-1] + "D"), OWNER),
        (("check", "--market", f"aave-v3:{PROVIDER}", "--rpc-url", "http://127.0.0.1:1", "a.eth"), "LEVMON_RPC_1"),
        (("check", "--block", "yesterday"), "is no block"),
        (("check", "--warn", "much"), "not a number"),
        (("check", "--config", "none.toml"), "cannot read none.toml"),
        (("verify", "--block", "9..3"), "blocks"),
        (("whatif", OWNER, "--shock", "WETH"), "WETH=-20%"),
        (("whatif", OWNER, "--shock", "WETH=-120%"), "at most 100%"),
        (("whatif", OWNER, "--days", "-1"), "between 0 and"),
        (("explain",), "POSITION"),
        (("config", "init", "--market", "nonsense"), "unknown market"),
        (("protocols", "nonsense"), "unknown protocol"),
    ],
)
def test_wrong_usage_is_2_and_says_what_to_do(levmon: Levmon, args: tuple[str, ...], told: str) -> None:
    ran = levmon(*args)
    assert ran.code == 2
    assert told in ran.err
    assert not ran.out


def test_config_init_writes_a_file_that_is_right(levmon: Levmon) -> None:
    assert levmon("config", "init").code == 0
    assert levmon("config", "check").out == "levmon.toml is right: 1 chains, 1 markets, 0 positions\n"
    again = levmon("config", "init")
    assert again.code == 2
    assert "--force" in again.err
    assert levmon("config", "init", "--force", "--market", "ethereum/morpho-blue").code == 0


def test_config_show_hides_secrets_and_says_where_they_come_from(
    levmon: Levmon, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "levmon.toml").write_text(
        '[chains.a]\nchain_id = 1\nrpc = ["https://x.example/s3cr3t"]\n[chains.b]\nchain_id = 2\n'
        f'[[markets]]\nname = "m"\nchain = "a"\nprotocol = "aave-v3"\naddress = "{PROVIDER}"\n'
        f'[addresses]\nme = "{OWNER}"\n[[positions]]\nmarket = "m"\nowner = "me"\nwarn = 1.6\n'
    )
    monkeypatch.setenv("LEVMON_RPC_2", "https://y.example/s3cr3t")
    ran = levmon("config", "show")
    assert ran.code == 0
    assert "chain a: id 1, endpoints x.example, quorum off" in ran.lines
    assert "chain b: id 2, endpoints y.example  (from LEVMON_RPC_2), quorum off" in ran.lines
    assert f"position {OWNER} (me) in m: levels 2/1.6/1.1" in ran.lines
    assert "s3cr3t" not in ran.out


def test_a_wrong_file_stops_every_command_that_reads_it(levmon: Levmon, home: Path) -> None:
    (home / "levmon.toml").write_text("[chains.a]\nchain_id = 1\nrcp = []\n")
    for args in (("config", "check"), ("config", "show"), ("check",), ("watch",), ("verify",), ("doctor",)):
        ran = levmon(*args)
        assert ran.code == 2
        assert "levmon.toml:3" in ran.out + ran.err
        assert "'rpc'" in ran.out + ran.err


def test_protocols(levmon: Levmon) -> None:
    ran = levmon("protocols")
    assert ran.code == 0
    assert any(line.startswith("aave-v3") for line in ran.lines)
    assert any(line.split()[:3] == ["3.1", "by", "source,"] for line in ran.lines)
    named = levmon("protocols", "aave-v3")
    assert f"  {PROVIDER}" in named.lines
    assert "source: " in named.out
    assert "  a purse  nothing: nobody but its owner" in levmon("protocols", "liquity-v1").out
    [told] = [json.loads(line) for line in levmon("protocols", "aave-v3", "--json").lines]
    assert told["schema"] == "levmon.protocol/1"
    assert set(told["helpers"]) == {"purse", "owner"}
    assert {key: value for key, value in told["deployments"][0].items() if key != "source"} == {
        "name": "ethereum/aave-v3/core",
        "chain_id": 1,
        "address": PROVIDER,
        "id": None,
    }


def test_an_unexpected_exception_is_70_and_shows_no_values(levmon: Levmon, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("https://x.example/s3cr3t")

    monkeypatch.setattr(check_command, "_check", broken)
    ran = levmon("check", OWNER)
    assert ran.code == 70
    assert "unexpected RuntimeError" in ran.err
    assert "s3cr3t" not in ran.err


def test_ctrl_c_is_130_and_an_error_of_ours_has_its_own_code(levmon: Levmon, monkeypatch: pytest.MonkeyPatch) -> None:
    for error, code in ((KeyboardInterrupt(), 130), (ConfigError("no", hint="do this"), 2)):

        def interrupted(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(check_command, "_check", interrupted)
        assert levmon("check", OWNER).code == code


@pytest.mark.usefixtures("home")
def test_a_pipe_that_closes_is_no_verdict_and_no_noise() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "monitor", "protocols"]
    root = Path(app.__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=env, check=False)
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == b""
