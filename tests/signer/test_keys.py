"""Keys are found where people keep them, and show nothing of themselves anywhere (row S3 of the fault matrix)."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_keyfile.keyfile import create_keyfile_json

from monitor.core.errors import ConfigError
from monitor.signer import keys
from monitor.signer.keys import KeySource, Password, SecretKey
from tests.signer.room import GUARDIAN, KEY, SECRET, STRANGER

PASSWORD = "canary correct horse"


def ask(prompt: str) -> str:
    assert prompt.startswith("password of ")
    return PASSWORD


def nobody(prompt: str) -> str:
    raise ConfigError(f"nobody to ask for the {prompt}")


def private(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_text(content)
    return path


def keystore(**changes: Any) -> dict[str, Any]:
    """As eth-account and ape write it, with little work for the key."""
    made: dict[str, Any] = Account.encrypt(SECRET, PASSWORD, kdf="scrypt", iterations=2)
    return made | changes


def cast_keystore() -> dict[str, Any]:
    """As `cast wallet import` writes it: no address, and capital letters nowhere."""
    made = create_keyfile_json(SECRET, PASSWORD.encode(), kdf="scrypt", iterations=2)
    made.pop("address")
    return made


class TestFinding:
    @pytest.mark.parametrize("place", [".foundry/keystores/guardian", ".ape/accounts/guardian.json"])
    def test_an_account_by_its_name(self, tmp_path: Path, place: str) -> None:
        path = private(tmp_path / place, json.dumps(keystore()))
        assert keys.find_account("guardian", tmp_path) == path

    def test_a_name_in_two_places_is_asked_back(self, tmp_path: Path) -> None:
        private(tmp_path / ".foundry/keystores/guardian", "{}")
        private(tmp_path / ".ape/accounts/guardian.json", "{}")
        with pytest.raises(ConfigError, match="and in"):
            keys.find_account("guardian", tmp_path)

    @pytest.mark.parametrize("name", ["nobody", "../../guardian", "a/b", "", ".hidden"])
    def test_what_is_not_there_is_told(self, tmp_path: Path, name: str) -> None:
        private(tmp_path / "guardian", "{}")
        with pytest.raises(ConfigError, match="account"):
            keys.find_account(name, tmp_path)

    def test_the_environment_of_foundry(self, tmp_path: Path) -> None:
        path = private(tmp_path / ".foundry/keystores/guardian", json.dumps(cast_keystore()))
        password = private(tmp_path / "password", PASSWORD + "\n")
        for named in ({"ETH_KEYSTORE": str(path)}, {"ETH_KEYSTORE_ACCOUNT": "guardian"}):
            env = named | {"ETH_PASSWORD": str(password), "ETH_FROM": GUARDIAN.lower()}
            source = keys.from_environment(env, tmp_path)
            assert source == KeySource(path, None, password, GUARDIAN)
            assert keys.load(source, nobody).address == GUARDIAN

    def test_a_key_in_the_environment_is_refused_and_not_repeated(self, tmp_path: Path) -> None:
        for name in ("ETH_KEYSTORE", "ETH_KEYSTORE_ACCOUNT"):
            with pytest.raises(ConfigError) as wrong:
                keys.from_environment({name: SECRET.hex()}, tmp_path)
            assert SECRET.hex() not in str(wrong.value)

    @pytest.mark.parametrize(
        "env",
        [
            {},
            {"ETH_FROM": GUARDIAN},
            {"ETH_KEYSTORE": "a", "ETH_KEYSTORE_ACCOUNT": "b"},
            {"ETH_KEYSTORE": "a", "ETH_FROM": "0x12"},
        ],
    )
    def test_an_environment_that_says_too_little_or_too_much(self, tmp_path: Path, env: dict[str, str]) -> None:
        with pytest.raises(ConfigError):
            keys.from_environment(env, tmp_path)


class TestOpening:
    @pytest.mark.parametrize("content", [keystore(), cast_keystore(), keystore(address="0x" + GUARDIAN[2:].lower())])
    def test_a_keystore_with_and_without_an_address(self, tmp_path: Path, content: dict[str, Any]) -> None:
        path = private(tmp_path / "store", json.dumps(content))
        password = private(tmp_path / "password", PASSWORD)
        assert keys.load(KeySource(keystore=path, password_file=password), nobody).address == GUARDIAN
        assert keys.load(KeySource(keystore=path), ask).address == GUARDIAN

    def test_a_keystore_of_geth_with_capital_letters(self, tmp_path: Path) -> None:
        content = keystore()
        content["Crypto"] = content.pop("crypto")
        path = private(tmp_path / "store", json.dumps(content))
        assert keys.load(KeySource(keystore=path), ask).address == GUARDIAN

    def test_pbkdf2(self, tmp_path: Path) -> None:
        content = create_keyfile_json(SECRET, PASSWORD.encode(), kdf="pbkdf2", iterations=2)
        path = private(tmp_path / "store", json.dumps(content))
        assert keys.load(KeySource(keystore=path), ask).address == GUARDIAN

    @pytest.mark.parametrize(
        "text",
        [SECRET.hex(), "0x" + SECRET.hex() + "\n", f"  {SECRET.hex().upper()}\r\n"],
        ids=["plain", "0x and a newline", "capitals and blanks"],
    )
    def test_a_key_file(self, tmp_path: Path, text: str) -> None:
        assert keys.load(KeySource(key_file=private(tmp_path / "key", text)), nobody).address == GUARDIAN

    def test_an_address_that_is_not_the_keys_is_refused(self, tmp_path: Path) -> None:
        path = private(tmp_path / "store", json.dumps(keystore(address=STRANGER)))
        with pytest.raises(ConfigError, match="another address"):
            keys.load(KeySource(keystore=path), ask)
        path = private(tmp_path / "key", SECRET.hex())
        with pytest.raises(ConfigError, match="not of"):
            keys.load(KeySource(key_file=path, address=STRANGER), nobody)

    @pytest.mark.parametrize("name", ["key", "password"])
    def test_secrets_that_others_can_read_are_refused(self, tmp_path: Path, name: str) -> None:
        store = private(tmp_path / "store", json.dumps(keystore()))
        private(tmp_path / "key", SECRET.hex())
        private(tmp_path / "password", PASSWORD)
        (tmp_path / name).chmod(0o640)
        source = (
            KeySource(key_file=tmp_path / "key")
            if name == "key"
            else KeySource(keystore=store, password_file=tmp_path / "password")
        )
        with pytest.raises(ConfigError, match=r"others can read it|read by others"):
            keys.load(source, nobody)

    @pytest.mark.parametrize(
        "change",
        [
            {"version": 4},
            {"crypto": 5},
            {"crypto": {"kdf": "scrypt", "kdfparams": {"n": 2**30, "r": 8, "p": 1}}},
            {"crypto": {"kdf": "pbkdf2", "kdfparams": {"c": 10**12}}},
            {"crypto": {}},
        ],
    )
    def test_what_is_no_keystore_or_a_trap_is_refused(self, tmp_path: Path, change: dict[str, Any]) -> None:
        path = private(tmp_path / "store", json.dumps(keystore() | change))
        with pytest.raises(ConfigError):
            keys.load(KeySource(keystore=path), ask)

    @pytest.mark.parametrize("content", ["", "[]", "5", "[" * 50_000, "x" * 70_000])
    def test_another_file_is_refused(self, tmp_path: Path, content: str) -> None:
        path = private(tmp_path / "store", content)
        for source in (KeySource(keystore=path), KeySource(key_file=path)):
            with pytest.raises(ConfigError):
                keys.load(source, ask)

    def test_one_source_and_not_two_or_none(self, tmp_path: Path) -> None:
        for source in (KeySource(), KeySource(keystore=tmp_path, key_file=tmp_path)):
            with pytest.raises(ConfigError, match="exactly one"):
                keys.load(source, nobody)

    @pytest.mark.parametrize("content", [b"", b"\0" * 32, b"\xff" * 32, b"\1" * 31])
    def test_what_is_no_key_is_refused(self, content: bytes) -> None:
        with pytest.raises(ConfigError, match="not a private key"):
            SecretKey(content)


class TestCanary:
    """Whatever is done to a key by accident, it does not show."""

    FORMS = (SECRET.hex(), SECRET.hex().upper(), str(int.from_bytes(SECRET, "big")), repr(SECRET), PASSWORD)

    def assert_silent(self, text: str) -> None:
        assert [form for form in self.FORMS if form in text] == []

    def test_in_text(self) -> None:
        password = Password(PASSWORD.encode())
        holder = KeySource(keystore=Path("store"))
        for shown in (KEY, password, [KEY], {"key": KEY, "password": password}, holder):
            self.assert_silent(f"{shown} {shown!r} {shown!s:>40}")
        assert repr(KEY) == f"SecretKey({GUARDIAN})"

    @pytest.mark.parametrize("secret", [KEY, Password(PASSWORD.encode())])
    def test_in_pickles_and_copies(self, secret: object) -> None:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match="not pickled") as wrong:
                pickle.dumps(secret, protocol)
            self.assert_silent(str(wrong.value))
        with pytest.raises(TypeError, match="not pickled"):
            copy.deepcopy(secret)

    def test_in_json(self) -> None:
        with pytest.raises(TypeError) as wrong:
            json.dumps(KEY)
        self.assert_silent(str(wrong.value))

    @pytest.mark.misplaces_secrets
    def test_in_errors(self, tmp_path: Path) -> None:
        """Each way to fail, with the secrets in the files: neither message nor traceback holds them."""
        wrong_password = private(tmp_path / "wrong", "canary wrong password")
        store = private(tmp_path / "store", json.dumps(keystore()))
        torn = private(tmp_path / "torn", SECRET.hex()[:-1])
        loose = private(tmp_path / "loose", SECRET.hex())
        loose.chmod(0o644)
        secret_as_store = private(tmp_path / "secret", json.dumps(SECRET.hex()))
        damaged = keystore()
        damaged["crypto"]["mac"] = "canary mac"
        for source in (
            KeySource(keystore=store, password_file=wrong_password),
            KeySource(key_file=torn),
            KeySource(key_file=loose),
            KeySource(keystore=secret_as_store),
            KeySource(keystore=private(tmp_path / "damaged", json.dumps(damaged))),
            KeySource(key_file=private(tmp_path / "good", SECRET.hex()), address=STRANGER),
            KeySource(keystore=store, password_file=Path(PASSWORD)),
        ):
            with pytest.raises(ConfigError) as wrong:
                keys.load(source, ask)
            told = "".join(traceback.format_exception(wrong.value))
            self.assert_silent(told)
            assert "canary" not in told.replace("canary correct", "")
            assert SECRET.hex()[:-1] not in told
