from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.core.errors import ChainError, ConfigError
from monitor.testing import aave_v3, localnet, localnet_cli
from monitor.testing.aave_v3_market import AaveMarket
from monitor.testing.anvil import STATES, AnvilFailed, AnvilProcess, remove_scratch_of_the_dead
from monitor.testing.child import birth_of
from monitor.testing.devchain import ZERO_ADDRESS, DevChain, DevChainError
from tests.localnet_checks import CHECKS
from tests.localnet_fixtures import AnvilAave

pytestmark = pytest.mark.anvil
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("anvil_aave", ["3.0", "3.6"], indirect=True)
def test_market_on_anvil(anvil_aave: AnvilAave, check: Callable[[DevChain, AaveMarket], None]) -> None:
    check(anvil_aave.chain, anvil_aave.market)


def test_two_runs_give_the_same_market(anvil_aave: AnvilAave) -> None:
    with AnvilProcess() as process:
        chain = process.chain()
        again = aave_v3.deploy(chain, "3.0")
        chain.close()
    assert again == anvil_aave.market


def test_snapshot_and_revert_bring_back_time_too(anvil_aave: AnvilAave) -> None:
    chain, market = anvil_aave.chain, anvil_aave.market
    before = chain.block_number(), chain.timestamp(), aave_v3.account_data(chain, market, market.borrowers[0])
    snapshot = chain.snapshot()
    chain.warp(1_000_000)
    aave_v3.shock(chain, market, {"WETH": "+50%"})
    chain.revert(snapshot)
    assert before == (
        *(chain.block_number(), chain.timestamp()),
        aave_v3.account_data(chain, market, market.borrowers[0]),
    )
    chain.mine()
    assert chain.timestamp() == before[1] + 1


def test_anvil_is_gone_afterwards_and_says_what_was_wrong() -> None:
    with AnvilProcess() as process:
        pid, scratch = process.pid, process.scratch
        assert birth_of(pid)
        assert scratch is not None
        assert scratch.is_dir()
        taken = AnvilProcess(port=process.port)
        with pytest.raises(AnvilFailed, match="ddress already in use"):
            taken.start()
        assert not taken.running
    assert birth_of(pid) is None
    assert not scratch.exists()
    with pytest.raises(AnvilFailed, match="--no-such-flag"):
        AnvilProcess(flags=["--no-such-flag"]).start()


def test_a_killed_starter_takes_anvil_along_and_the_next_one_tidies_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = """
from monitor.testing.anvil import AnvilProcess
process = AnvilProcess().start()
print(process.pid, process.scratch, flush=True)
process.wait()
"""
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with (
        AnvilProcess() as other,
        subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) as starter,
    ):
        assert starter.stdout is not None
        pid, scratch = starter.stdout.readline().split()
        ended = os.pidfd_open(int(pid))
        starter.kill()
        assert select.select([ended], [], [], 10)[0]
        os.close(ended)
        assert Path(scratch).is_dir()
        remove_scratch_of_the_dead()
        assert [str(other.scratch)] == [str(left) for left in tmp_path.iterdir()]


def test_old_states_are_let_go_and_not_written_down() -> None:
    with AnvilProcess() as process:
        chain = process.chain()
        chain.mine(5)
        snapshot = chain.snapshot()
        chain.rpc("anvil_mine", hex(2 * STATES))
        assert chain.rpc("eth_getBalance", ZERO_ADDRESS, hex(STATES + 10)) == "0x0"
        with pytest.raises(DevChainError, match="BlockOutOfRange"):
            chain.rpc("eth_getBalance", ZERO_ADDRESS, "0x1")
        assert process.scratch is not None
        written = [file for file in process.scratch.rglob("*") if file.is_file()]
        assert sum(file.stat().st_size for file in written) < 2**16
        chain.revert(snapshot)
        assert chain.block_number() == 5
        chain.mine()
        chain.close()


def test_what_is_undone_pushes_nothing_out_where_all_states_are_kept() -> None:
    """As in a chain that many tests share: each takes back what it mined, and the deployment must stay readable."""
    with AnvilProcess(states=None) as process:
        chain = process.chain()
        chain.mine(10)
        for _ in range(6):
            before = chain.snapshot()
            chain.mine(100)
            chain.revert(before)
        assert chain.rpc("eth_getBalance", ZERO_ADDRESS, hex(chain.block_number() - 4)) == "0x0"
        chain.close()


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What these tests start is not seen by somebody who uses localnet on this machine meanwhile, and the reverse."""
    monkeypatch.setenv("LEVMON_LOCALNET_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def run(*args: str, cwd: Path, code: int = 0) -> str:
    done = subprocess.run([ROOT / "scripts" / "localnet", *args], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.mark.slow
def test_script_from_up_to_down(tmp_path: Path) -> None:
    text = run("up", "--port", "0", "--background", cwd=tmp_path)
    config = tomllib.loads((tmp_path / "levmon.toml").read_text())
    url = config["chains"]["local"]["rpc"][0]
    port = url.rsplit(":", 1)[1]
    net = localnet.load(int(port))
    try:
        assert f"url {url}" in text
        assert [market["name"] for market in config["markets"]] == ["core", "core36"]
        assert [market["address"] for market in config["markets"]] == [m.provider for m in net.markets.values()]
        owners = {(position["market"], position["owner"]) for position in config["positions"]}
        assert owners == {(name, owner) for name, m in net.markets.items() for owner in m.borrowers}

        status = run("status", "--port", port, cwd=tmp_path)
        assert len(status.splitlines()) == 3 + len(owners)
        assert "below 1" not in run("status", "--port", port, "--market", "core36", cwd=tmp_path).splitlines()[-1]

        moved = run("shock", "--port", port, "--market", "core36", "WETH=-20%", "usdc=+1.5%", cwd=tmp_path)
        assert moved.split() == [
            *("core36", "WETH", "1,999.37654321", "->", "1,599.50123456"),
            *("core36", "USDC", "0.99987654", "->", "1.01487468"),
        ]
        assert "below 1" in run("status", "--port", port, "--market", "core36", cwd=tmp_path)

        block = int(run("mine", "3", "--port", port, cwd=tmp_path).split()[1])
        stamp = int(run("warp", "5d", "--port", port, cwd=tmp_path).split()[-1])
        with localnet.at_once(net) as chain:
            assert (chain.block_number(), chain.timestamp()) == (block + 1, stamp)

        assert "no asset 'NOPE'" in run("shock", "--port", port, "NOPE=1%", cwd=tmp_path, code=2)
        assert "at most four decimals" in run("shock", "--port", port, "WETH=0.00001%", cwd=tmp_path, code=2)
        assert "no change of a price" in run("shock", "--port", port, "WETH", cwd=tmp_path, code=2)
        assert "is taken" in run("up", "--port", port, "--version", "3.0", cwd=tmp_path, code=2)
        assert "no market 'x'" in run("status", "--port", port, "--market", "x", cwd=tmp_path, code=2)
    finally:
        run("down", "--port", port, cwd=tmp_path)
    assert birth_of(net.pid) is None
    assert not Path(net.scratch).exists()
    assert "no localnet is up" in run("status", "--port", port, cwd=tmp_path, code=3)


def test_a_market_of_aave_v2_beside_has_its_own_prices() -> None:
    process, net = localnet.start((), beside=(localnet.AAVE_V2_NAME,))
    try:
        assert net.aave_v2 is not None
        assert localnet.Localnet.from_json(json.loads(json.dumps(net.to_json()))) == net
        (moved,) = localnet.shock(net, {"LINK": "-20%"}, localnet.AAVE_V2_NAME)
        name, symbol, before, after = moved
        assert (name, symbol) == ("aave-v2", "LINK")
        assert after == before * 8 // 10 > 0
        with pytest.raises(ConfigError, match="no asset 'WETH'"):
            localnet.shock(net, {"WETH": "-20%"}, localnet.AAVE_V2_NAME)
    finally:
        process.stop()


def test_a_foreground_chain_ends_with_its_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "monitor.testing.localnet_cli", "up", "--port", "0", "--version", "3.0"]
    with subprocess.Popen(
        [*command, "--block-time", "60"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as up:
        assert up.stdout is not None
        assert up.stderr is not None
        port = int(up.stdout.readline().rsplit(":", 1)[1])
        while "press Ctrl-C" not in up.stderr.readline():
            assert up.poll() is None
        net = localnet.load(port)
        # blocks come once a minute here, and yet a price moves at once
        ((_, _, before, after),) = localnet.shock(net, {"LINK": "-50%"})
        assert after == before // 2
        assert [row for row in localnet.standings(net) if row.health_wad is not None and row.health_wad < 10**18]
        up.terminate()
        up.communicate(timeout=20)
    assert birth_of(net.pid) is None
    with pytest.raises(ChainError, match="no localnet is up"):
        localnet.load(port)


def test_somebody_elses_config_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "levmon.toml").write_text("[chains.mainnet]\n")
    with pytest.raises(ConfigError, match="was not written by localnet"):
        localnet.check_config_path(tmp_path / "levmon.toml")
    localnet.check_config_path(tmp_path / "other.toml")


def test_a_recycled_pid_is_left_alone(anvil_aave: AnvilAave, tmp_path: Path, own_state: Path) -> None:
    stranger = localnet.Localnet(
        1, os.getpid(), "not when we were born", str(tmp_path / "none"), None, {"core": anvil_aave.market}, {}
    )
    localnet.save(stranger)
    assert localnet.stop(stranger) is False
    assert localnet.running() == []
    assert list(own_state.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "length"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7_200), ("5d", 432_000), ("1w", 604_800)]
)
def test_lengths_of_time(text: str, length: int) -> None:
    assert localnet_cli.seconds(text) == length


@pytest.mark.parametrize("text", ["", "d", "0", "-5", "5y", "1.5h", "5 d"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ConfigError):
        localnet_cli.seconds(text)


@pytest.mark.parametrize(
    ("text", "parts"), [("-20%", 800_000), ("+1%", 1_010_000), ("0.0001%", 1_000_001), ("-99.9999%", 1), ("0%", 10**6)]
)
def test_percentages_are_exact(text: str, parts: int) -> None:
    assert aave_v3.parse_shock(text) == parts


@pytest.mark.parametrize(
    "text", ["20", "-100%", "-101%", "0.00001%", "x%", "%", "nan%", "inf%", "1e2%", "0.12345%", "1,5%"]
)
def test_what_is_no_percentage(text: str) -> None:
    with pytest.raises(ValueError, match="%"):
        aave_v3.parse_shock(text)
