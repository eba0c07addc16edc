"""Row S14: what is installed beside the key, and what its process loads of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.faults.rows import row

ROOT = Path(__file__).parents[2]
MAY_LOAD = {
    # keys, calldata and transactions
    *("eth_abi", "eth_account", "eth_hash", "eth_keyfile", "eth_keys", "eth_typing", "eth_utils", "rlp", "coincurve"),
    *("Crypto", "ckzg", "hexbytes", "parsimonious", "regex", "toolz", "cytoolz", "cython_runtime"),
    # its configuration
    *("annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"),
    "monitor",
}
"""Top-level packages; what the standard library brings is free."""
BESIDE = re.compile(
    r"_cython_\w+|_distutils_hack|_sysconfigdata.+|_cffi_backend|_virtualenv|sitecustomize|__\w+__|\w+__mypyc"
)
MOST = 60
"""distributions of a user's installation, all of them together"""


def unhashed(lock: str) -> list[str]:
    """Distributions of a lock without an exact version or without hashes."""
    entries = re.split(r"\n(?=\S)", lock.strip())
    entries = [entry for entry in entries if not entry.startswith("#")]
    return [entry.split()[0] for entry in entries if "==" not in entry.split()[0] or "--hash=sha256:" not in entry]


def anything_goes(_: str) -> list[str]:
    return []


@row(
    "S14",
    "every distribution is locked to a version and hashes, and there are few of them",
    "tests.signer.test_supply_rows:unhashed",
    careless=anything_goes,
    limit="whether a locked version is good is for people and audits to find out",
)
def test_locks() -> None:
    for name in ("run.txt", "test.txt"):
        lock = (ROOT / "scripts" / "locks" / name).read_text()
        assert sys.modules["tests.signer.test_supply_rows"].unhashed(lock) == []
        edited = re.sub(r"^(rlp==[^\n]*?)( ;[^\n]*?)? \\\n(    --hash[^\n]*\n)+", r"\1\n", lock, flags=re.MULTILINE)
        assert edited != lock
        assert sys.modules["tests.signer.test_supply_rows"].unhashed(edited) != []
    installed = re.findall(r"^[A-Za-z0-9_.-]+==", (ROOT / "scripts" / "locks" / "run.txt").read_text(), re.MULTILINE)
    assert 20 < len(installed) < MOST
    setup = (ROOT / "scripts" / "setup").read_text()
    assert "--require-hashes" in setup


@row("S14", "the process with the key loads what it needs and nothing else", "its own small process")
def test_the_signer_loads_little(off: str | None) -> None:
    module = "monitor.cli.signer_command, monitor.pipeline.acting" if off else "monitor.signer.__main__"
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name for name in done.stdout.split() if not BESIDE.fullmatch(name)} - sys.stdlib_module_names
    assert loaded <= MAY_LOAD, loaded - MAY_LOAD
