"""Programs that levmon is measured beside; each runs in an environment of its own and imports nothing of levmon."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LOCK = ROOT / "scripts" / "locks" / "bench.txt"
FOLDER = ROOT / ".bench"


def python() -> Path:
    """The Python of the peers' environment, made from its lock where it is not there yet.

    May raise: CalledProcessError.
    """
    found, stamp = FOLDER / "bin" / "python", FOLDER / "stamp"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        print("bench: installing the peers", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
        quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
        install: list[str | Path] = [found, "-m", "pip", "install", *quiet, "--require-hashes", "-r", LOCK]
        subprocess.run([*install, "--only-binary", ":all:"], check=True, stderr=subprocess.DEVNULL)
        stamp.write_text(wanted)
    return found
