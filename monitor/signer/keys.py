"""Private keys: where people keep them, and a type that never shows one.

Looks where Foundry and ape look, in a key file, and at Foundry's environment variables. A raw key is never taken from a
flag, a configuration or the environment: those end up in shell histories, process lists and crash reports. What prints,
logs, compares or pickles a key by accident gets its address. Errors name files, never what is in them.
"""

from __future__ import annotations

import re
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from eth_keys.datatypes import PrivateKey, Signature
from eth_utils.address import to_checksum_address
from eth_utils.exceptions import ValidationError

from monitor.core.errors import ConfigError
from monitor.core.types import Address
from monitor.signer import strict_json

FOUNDRY = Path(".foundry") / "keystores"
APE = Path(".ape") / "accounts"
FILE_LIMIT = 64_000
SCRYPT_LIMIT = 2**30
"""Bytes that scrypt may take: four times what geth's own keystores need."""
PBKDF2_LIMIT = 20_000_000
_RAW = re.compile(rb"\s*(?:0x)?([0-9a-fA-F]{64})\s*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@+-]{0,99}")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def looks_like_key(text: str) -> bool:
    """Whether somebody wrote a raw key where a name or a path belongs; then no message may repeat it."""
    return _RAW.fullmatch(text.encode(errors="replace")) is not None


class Password:
    """A password that shows as nothing."""

    __slots__ = ("_bytes",)

    def __init__(self, content: bytes) -> None:
        self._bytes = content

    def reveal(self) -> bytes:
        """The password itself, for the decryption."""
        return self._bytes

    def __repr__(self) -> str:
        return "Password(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a password is not pickled")


class SecretKey:
    """A private key that shows as its address."""

    __slots__ = ("_key", "address")

    def __init__(self, content: bytes) -> None:
        """May raise: ConfigError, which does not repeat the bytes."""
        try:
            self._key = PrivateKey(content)
            public = self._key.public_key
        except (ValidationError, ValueError):
            raise ConfigError("not a private key", hint="it must be 32 bytes between 1 and the curve's order") from None
        self.address: Address = public.to_checksum_address()

    def sign_hash(self, digest: bytes) -> Signature:
        """The signature of 32 bytes: the same for the same bytes, always (RFC 6979)."""
        return self._key.sign_msg_hash(digest)

    def __repr__(self) -> str:
        return f"SecretKey({self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not pickled")


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where one key is: a keystore with its password's file (if none: it is asked for), or a file with the raw key.

    `address` is what it must turn out to be, if known.
    """

    keystore: Path | None = None
    key_file: Path | None = None
    password_file: Path | None = None
    address: Address | None = None


Ask = Callable[[str], str]
"""Asks a person for a password, given the prompt; for programs without a terminal it raises ConfigError."""


def find_account(name: str, home: Path) -> Path:
    """The keystore of that name where Foundry or ape keep it. May raise: ConfigError."""
    if not _NAME.fullmatch(name) or looks_like_key(name):
        raise ConfigError("not an account's name", hint="give the name of a keystore, without directories")
    places = [home / FOUNDRY / name, home / FOUNDRY / f"{name}.json", home / APE / f"{name}.json"]
    found = [place for place in places if place.is_file()]
    if len(found) > 1:
        raise ConfigError(
            f"account {name} is in {found[0]} and in {found[1]}", hint="name the one you mean with `keystore`"
        )
    if not found:
        raise ConfigError(
            f"no account {name} in {home / FOUNDRY} or {home / APE}",
            hint="make one with `cast wallet import` or `ape accounts import`, or name a file with `keystore`",
        )
    return found[0]


def from_environment(env: Mapping[str, str], home: Path) -> KeySource:
    """What ETH_KEYSTORE, ETH_KEYSTORE_ACCOUNT, ETH_PASSWORD (a file) and ETH_FROM say. May raise: ConfigError."""
    keystore, account = env.get("ETH_KEYSTORE"), env.get("ETH_KEYSTORE_ACCOUNT")
    if bool(keystore) == bool(account):
        raise ConfigError(
            "both ETH_KEYSTORE and ETH_KEYSTORE_ACCOUNT are set" if keystore else "no key in the environment",
            hint="set ETH_KEYSTORE to a file, or ETH_KEYSTORE_ACCOUNT to a name",
        )
    if keystore and looks_like_key(keystore):
        raise ConfigError("ETH_KEYSTORE is the path of a keystore, never a key", hint="`cast wallet import` makes one")
    password, sender = env.get("ETH_PASSWORD"), env.get("ETH_FROM")
    if sender and not re.fullmatch(r"0x[0-9a-fA-F]{40}", sender):
        raise ConfigError("ETH_FROM is not an address", hint="an address is 0x and 40 hexadecimal digits")
    return KeySource(
        keystore=Path(keystore).expanduser() if keystore else find_account(account or "", home),
        password_file=Path(password).expanduser() if password else None,
        address=to_checksum_address(sender) if sender else None,
    )


def load(source: KeySource, ask: Ask) -> SecretKey:
    """Open the key. May raise: ConfigError, which names the file and what to do."""
    if source.keystore is not None and source.key_file is None:
        key = _from_keystore(source.keystore, source.password_file, ask)
    elif source.key_file is not None and source.keystore is None:
        key = _from_key_file(source.key_file)
    else:
        raise ConfigError("a key is in a keystore or in a key file", hint="give exactly one of the two")
    if source.address is not None and source.address != key.address:
        raise ConfigError(
            f"the key is of {key.address}, not of {source.address}", hint="correct the address, or name another key"
        )
    return key


def read_password(path: Path) -> Password:
    """The first line of a file that is only its owner's. May raise: ConfigError, which does not name the file.

    Somebody may have written the password itself where its file belongs.
    """
    try:
        content = _read_private(path, "the password's file")
    except ConfigError:
        raise ConfigError(
            "cannot use the password's file: it is not there, or others can read it",
            hint="password_file and ETH_PASSWORD are the path of a file of mode 600, not the password",
        ) from None
    return Password(content.split(b"\n", 1)[0].removesuffix(b"\r"))


def _from_key_file(path: Path) -> SecretKey:
    found = _RAW.fullmatch(_read_private(path, "the key file"))
    if found is None:
        raise ConfigError(f"{path} holds no raw private key", hint="write 64 hexadecimal digits; or use a keystore")
    return SecretKey(bytes.fromhex(found[1].decode()))


def _from_keystore(path: Path, password_file: Path | None, ask: Ask) -> SecretKey:
    content = _keystore(path)
    password = read_password(password_file) if password_file else Password(ask(f"password of {path.name}: ").encode())
    try:
        key = SecretKey(_decrypt(content, password))
    except (ValueError, TypeError, KeyError, NotImplementedError):
        # eth-keyfile quotes the keystore in some of its messages
        raise ConfigError(f"{path}: wrong password, or a damaged keystore", hint="check the password's file") from None
    named = content.get("address")  # ape and geth write it, cast does not
    if named is not None and str(named).lower().removeprefix("0x") != key.address[2:].lower():
        raise ConfigError(f"{path} says another address than its key has", hint="the file was altered: do not use it")
    return key


def _decrypt(content: dict[str, object], password: Password) -> bytes:
    # Imported only here: with it comes py_ecc, which takes a second to load and raises the recursion limit for good.
    limit = sys.getrecursionlimit()
    from eth_keyfile.keyfile import decode_keyfile_json

    sys.setrecursionlimit(limit)
    return bytes(decode_keyfile_json(content, password.reveal()))


def _keystore(path: Path) -> dict[str, object]:
    """The keystore's JSON, if it is one whose decryption is bounded. May raise: ConfigError."""
    bad = ConfigError(f"{path} is not a version 3 keystore", hint="it is the JSON file that cast, geth or ape writes")
    try:
        content = strict_json.loads(_read(path, "the keystore"), floats=True)
        if not isinstance(content, dict) or int(content["version"]) != 3:
            raise bad
        crypto = content["crypto"] if "crypto" in content else content["Crypto"]
        kind, parameters = str(crypto["kdf"]).lower(), crypto["kdfparams"]
        if kind == "scrypt":
            heavy = 128 * int(parameters["n"]) * int(parameters["r"]) * int(parameters["p"]) > SCRYPT_LIMIT
        else:
            heavy = int(parameters["c"]) > PBKDF2_LIMIT
    except (ValueError, KeyError, TypeError):
        raise bad from None
    if heavy:
        raise ConfigError(f"{path} asks for more work than any known tool writes", hint="write it again with your tool")
    return content


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_LIMIT + 1)
    except OSError as failed:
        raise ConfigError(
            f"cannot read {what} {path}: {failed.strerror}", hint="check the path and whose it is"
        ) from None
    if len(content) > FILE_LIMIT:
        raise ConfigError(f"{what} {path} is larger than {FILE_LIMIT} bytes", hint="this is another kind of file")
    return content


def _read_private(path: Path, what: str) -> bytes:
    """A file in the clear, if others cannot read it."""
    try:
        mode = path.stat().st_mode
    except OSError as failed:
        raise ConfigError(
            f"cannot read {what} {path}: {failed.strerror}", hint="check the path and whose it is"
        ) from None
    if stat.S_ISREG(mode) and mode & _OTHERS:
        raise ConfigError(f"{what} {path} can be read by others", hint=f"chmod 600 {path}")
    return _read(path, what)
