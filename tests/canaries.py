"""Secrets that the tests use, and the look for them in all that a test run prints and writes.

Each is used where a real secret would be: in an endpoint's URL, as a keystore's password, as a private key. None may
turn up in what a test printed, logged or left behind, other than in the files that are there to hold it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from monitor.testing.devchain import account_key

RPC = "c4n4ry-of-the-endpoint"
PASSWORD = "c4n4ry-of-the-keystore"
KEYS = tuple(account_key(label).hex() for label in ("guardian of the cli", "guardian", "demo guardian"))
SECRETS = (RPC, PASSWORD, *KEYS)
HOLDERS = {"levmon.toml": (RPC,), "password": (PASSWORD,), "guardian.key": KEYS, "key": KEYS}
"""Files that a user puts a secret into, by name, and which."""
LARGEST = 64 * 2**20


def in_text(text: str) -> Iterator[str]:
    """What is told of each secret that the text holds, without telling the secret."""
    for number, secret in enumerate(SECRETS):
        if secret in text:
            yield f"secret number {number}, after {text[: text.index(secret)][-60:]!r}"


def in_files(folder: Path) -> Iterator[str]:
    """The same of every file below the folder, raw bytes of keys too."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.is_symlink() and file.stat().st_size <= LARGEST:
            content = file.read_bytes()
            for number, secret in enumerate(SECRETS):
                forms = [secret.encode(), *([bytes.fromhex(secret)] if secret in KEYS else [])]
                if secret not in HOLDERS.get(file.name, ()) and any(form in content for form in forms):
                    yield f"secret number {number} in {file.name}"


def found(sections: Iterable[tuple[str, str]], failure: str, folder: Path | None) -> list[str]:
    """All that one test gave away: by what was captured of it, by its failure, by the files that it left."""
    told = [f"{name}: {one}" for name, text in (*sections, ("failure", failure)) for one in in_text(text)]
    return told + (list(in_files(folder)) if folder is not None and folder.is_dir() else [])
