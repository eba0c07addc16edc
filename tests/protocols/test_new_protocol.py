"""A new protocol costs three files, and one from another distribution is found and judged like levmon's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from monitor.chain import recording
from monitor.testing import new_protocol

ROOT = Path(__file__).resolve().parents[2]
MARKET = "0x" + "11" * 20
OWNERS = ["0x" + f"{number:02x}" * 20 for number in (0x21, 0x22, 0x23)]
FUNCTIONS = {
    "revision": ((), ("uint256",)),
    "context": ((), ("uint256",)),
    "account": (("address",), ("address", "uint256", "uint256")),
    "truth": (("address",), ("uint256",)),
}


def python(*args: str, path: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}"}
    return subprocess.run(
        [sys.executable, *args], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def pytest_in(cwd: Path, path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", *args, path=path, cwd=cwd)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the tree that may be written to."""
    for folder in ("monitor", "abis"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    (tmp_path / "tests" / "protocols").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "protocols" / "cassette.py", tmp_path / "tests" / "protocols")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_three_files_are_written_and_their_tests_say_what_to_do(house: Path) -> None:
    written = new_protocol.write("my-vault", house)
    assert [str(path.relative_to(house)) for path in written] == [
        "monitor/protocols/my_vault.py",
        "abis/my_vault.json",
        "tests/protocols/test_my_vault.py",
    ]
    known = python("-m", "monitor", "protocols", "my-vault", path=house, cwd=house)
    assert known.returncode == 0, known.stderr
    assert "My Vault" in known.stdout
    ran = pytest_in(house, house, str(written[2]))
    assert ran.returncode == 1, ran.stdout
    assert "5 failed" in ran.stdout
    assert "levmon verify --market my-vault:0xMARKET 0xOWNER" in ran.stdout, "its adapter samples nobody yet"
    assert "name the deployments" in ran.stdout
    python_files = [str(path) for path in written if path.suffix == ".py"]
    for tool in (("ruff", "check"), ("ruff", "format", "--check")):
        told = python("-m", *tool, *python_files, path=house, cwd=house)
        assert told.returncode == 0, told.stdout + told.stderr


def test_nothing_that_is_there_is_written_over(tmp_path: Path) -> None:
    written = new_protocol.write("my-vault", tmp_path)
    written[1].unlink()
    with pytest.raises(FileExistsError, match="my_vault"):
        new_protocol.write("my-vault", tmp_path)
    assert not written[1].exists()
    for name in ("", "My-Vault", "a_b", "../x", "1a", "a--b"):
        with pytest.raises(ValueError, match="is no name"):
            new_protocol.files(name)


# -- from another distribution -----------------------------------------------------------------------------------------


def row(name: str, args: tuple[str, ...], values: tuple[object, ...]) -> dict[str, str]:
    inputs, outputs = FUNCTIONS[name]
    data = keccak(text=f"{name}({','.join(inputs)})")[:4] + encode(inputs, args)
    return {
        "block_hash": "0x" + "ab" * 32,
        "to": MARKET,
        "data": f"0x{data.hex()}",
        "result": f"0x{encode(outputs, values).hex()}",
    }


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """What `pip install levmon-toy` leaves behind: a package with its ABI, and metadata with an entry point."""
    site = tmp_path / "site"
    package, info = site / "levmon_toy", site / "levmon_toy-1.0.dist-info"
    (package / "abis").mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text((ROOT / "tests" / "unit" / "toy.py").read_text() + "\n\nPROTOCOL = Toy()\n")
    abi = [
        {
            "type": "function",
            "name": name,
            "stateMutability": "view",
            "inputs": [{"name": "", "type": kind} for kind in inputs],
            "outputs": [{"name": "", "type": kind} for kind in outputs],
        }
        for name, (inputs, outputs) in FUNCTIONS.items()
    ]
    (package / "abis" / "toy.json").write_text(json.dumps(abi))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: levmon-toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[monitor.protocols]\ntoy = levmon_toy:PROTOCOL\n")
    return site


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Their own tests: a recording, and a class of two lines."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    calls = [row("revision", (), (1,))]
    for owner, debt in zip(OWNERS, (500, 2000, 0), strict=True):
        calls += [row("account", (owner,), ("0x" + "a0" * 20, 1000, debt))]
        calls += [row("truth", (owner,), (1000 * 10**18 // debt if debt else 0,))]
    block = {"number": "7", "hash": "0x" + "ab" * 32, "timestamp": "1700000000"}
    where = [f"eip155:1/toy/{MARKET}/{owner}" for owner in OWNERS]
    samples = [{"name": "x", "chain_id": "1", "block": block, "position": position} for position in where]
    recording.save(folder / "toy.json.gz", {"samples": samples, "calls": calls})
    (folder / "test_toy.py").write_text(
        "from pathlib import Path\n"
        "from monitor.chain import recording\n"
        "from monitor.testing.contract_samples import samples\n"
        "from monitor.testing.contract_suite import ContractSuite\n\n\n"
        "class TestToy(ContractSuite):\n"
        "    names = ('toy',)\n\n"
        "    def samples_of(self, name):\n"
        "        return samples(recording.load(Path(__file__).with_name('toy.json.gz')))\n"
    )
    return folder


def test_an_installed_protocol_is_found(site: Path, tmp_path: Path) -> None:
    ran = python("-m", "monitor", "protocols", "toy", "--json", path=site, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["name"] == "toy"


def test_an_installed_protocol_is_judged_by_the_suite(site: Path, theirs: Path) -> None:
    ran = pytest_in(theirs, site, "test_toy.py")
    assert ran.returncode == 0, ran.stdout
    assert "18 passed" in ran.stdout
    broken = (site / "levmon_toy" / "__init__.py").read_text()
    worse = broken.replace("found.append(Unreadable(name, owner, block, answer.reason))", BELIEVES)
    assert worse != broken
    (site / "levmon_toy" / "__init__.py").write_text(worse)
    ran = pytest_in(theirs, site, "test_toy.py")
    assert ran.returncode == 1
    assert "test_a_lost_answer_is_never_health" in ran.stdout


BELIEVES = 'found.append(Position(name, owner, block, Rule("toy", "1"), {COIN: WAD}, State(1, COIN, 0, 0)))'
"""What a careless adapter does with an answer that did not come: nothing is owed."""
