"""Child processes that do not outlive whoever started them, and how one process is told from a later one.

A test run that is killed runs no `finally`; what it had started would stay for good. Linux ends a child with its parent
if the child asks for it, so a launcher asks and then becomes the program. Elsewhere, and from other threads than the
first, with whose end Linux would end the child, programs are started as they are.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

# prctl(PR_SET_PDEATHSIG, SIGKILL); who was orphaned before it could ask must not start
_LAUNCH = (
    "import ctypes, os, sys; failed = ctypes.CDLL(None).prctl(1, 9); "
    "os.execv(sys.argv[2], sys.argv[2:]) if not failed and os.getppid() == int(sys.argv[1]) else sys.exit(1)"
)


def bound(command: Sequence[str]) -> list[str]:
    """A command, by its full path, that becomes this one and is killed when the process that starts it ends."""
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *command]


def birth_of(pid: int) -> str | None:
    """When process `pid` began, in the system's own words; None if there is no such process (or only its remains)."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in {"Z", "X"} else fields[19]
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
