"""The look for secrets finds each of them, wherever it may turn up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import canaries

pytest_plugins = ["pytester"]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not the folder that is looked through after every test: this one is to hold secrets."""
    return tmp_path_factory.mktemp("canaries")


@pytest.mark.parametrize("number", range(len(canaries.SECRETS)))
def test_a_secret_is_found(number: int, folder: Path) -> None:
    secret = canaries.SECRETS[number]
    assert canaries.found([("stdout", f"connected to {secret}")], "", None)
    assert canaries.found([], f"AssertionError: {secret}", None)
    (folder / "levmon.db").write_text(f"... {secret} ...")
    told = canaries.found([], "", folder)
    assert told == [f"secret number {number} in levmon.db"]
    assert secret not in str(told)


def test_raw_bytes_of_a_key_are_found(folder: Path) -> None:
    (folder / "sign.db").write_bytes(b"\0" + bytes.fromhex(canaries.KEYS[0]) + b"\0")
    assert canaries.found([], "", folder) == ["secret number 2 in sign.db"]


def test_what_holds_a_secret_by_its_purpose_may(folder: Path) -> None:
    (folder / "password").write_text(canaries.PASSWORD)
    (folder / "levmon.toml").write_text(f'rpc = ["http://localhost/{canaries.RPC}"]')
    assert canaries.found([("stdout", "nothing")], "", folder) == []
    (folder / "levmon.toml").write_text(canaries.PASSWORD)
    assert canaries.found([], "", folder)


def test_a_run_fails_by_it(pytester: pytest.Pytester) -> None:
    """A test that passes but prints a secret is a failure of the whole run."""
    root = Path(__file__).resolve().parents[2]
    hook = (root / "tests" / "conftest.py").read_text()
    pytester.makeconftest(hook.replace('pytest_plugins = ["tests.localnet_fixtures"]', ""))
    pytester.makepyfile(f"def test_it():\n    print('{canaries.RPC[:4]}' + '{canaries.RPC[4:]}')\n")
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    assert result.ret == 1
    assert "a secret was given away" in result.stdout.str()
    assert canaries.RPC not in result.stdout.str()
