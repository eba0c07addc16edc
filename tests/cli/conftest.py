"""What the tests of the command line share: running it, a file for a local market, and a wire that listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from monitor.chain import recording
from monitor.cli import app
from tests.cli.wire import Wire
from tests.localnet_fixtures import AnvilAave

ENVIRONMENT = (
    "ETH_RPC_URL",
    "LEVMON_CONFIG",
    "LEVMON_MARKET",
    "LEVMON_RPC_31337",
    "LEVMON_RPC_1",
    "NO_COLOR",
    "COLUMNS",
)


@dataclass(frozen=True)
class Ran:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Levmon = Callable[..., Ran]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to be in, an empty cache, and none of the user's own settings."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    # not by LEVMON_CACHE: what npm and solc brought for the local chains is kept there too
    monkeypatch.setattr("monitor.chain.cache.cache_home", lambda: tmp_path / "cache")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def levmon(home: Path, capsys: pytest.CaptureFixture[str]) -> Levmon:  # noqa: ARG001  # runs in it
    """Run a command line in this process."""

    def run(*args: str) -> Ran:
        capsys.readouterr()
        code = app.run(args)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def wire(anvil_aave: AnvilAave) -> Iterator[Wire]:
    """Anvil behind a proxy that remembers every request."""
    with Wire(anvil_aave.process.url) as wire:
        yield wire


def config_for(url: str, provider: str, owners: tuple[str, ...]) -> str:
    """A levmon.toml for one local market."""
    head = (
        f'[chains.local]\nchain_id = 31337\nrpc = ["{url}"]\n'
        f'[[markets]]\nname = "core"\nchain = "local"\nprotocol = "aave-v3"\naddress = "{provider}"\n'
    )
    return head + "".join(f'[[positions]]\nmarket = "core"\nowner = "{owner}"\n' for owner in owners)


@pytest.fixture
def local(wire: Wire, anvil_aave: AnvilAave, home: Path) -> AnvilAave:
    """The local market, with a levmon.toml for all its borrowers in the current directory."""
    (home / "levmon.toml").write_text(config_for(wire.url, anvil_aave.market.provider, anvil_aave.market.borrowers))
    return anvil_aave


def find_every_touch(levmon: Levmon, path: Path) -> None:
    """Change each number of the state and of the contract's own answers, with and without a digest that fits."""
    content = dict(recording.load(path).content)
    content.pop("digest")
    assert all(len(code) == 66 for codes in content["codes"].values() for code in codes.values())
    found = 0
    for at, call in enumerate(content["calls"]):
        if "result" not in call or len(call["result"]) < 66:
            continue
        last = int(call["result"][-2:], 16) ^ 1
        touched = {**call, "result": f"{call['result'][:-2]}{last:02x}"}
        calls = [*content["calls"][:at], touched, *content["calls"][at + 1 :]]
        told = path.with_name("touched.json.gz")
        recording.save(told, {**content, "calls": calls})
        found += levmon("verify", "--replay", str(told)).code != 0
        text = path.read_text().replace(call["result"], touched["result"])
        told = path.with_name("touched.json")
        told.write_text(text)
        ran = levmon("verify", "--replay", str(told))
        assert ran.code == 2
        assert "its digest does not fit" in ran.err
    assert found >= 4, "numbers decide; texts, and what lies beside the verdict, only the digest keeps"
    samples = [{**one, "expected": dict.fromkeys(one["expected"], "7")} for one in content["samples"]]
    recording.save(path.with_name("other.json"), {**content, "samples": samples})
    assert levmon("verify", "--replay", str(path.with_name("other.json"))).code == 1
