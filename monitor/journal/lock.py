"""One process per journal: an flock beside the file, which the kernel gives back however the process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from monitor.journal.rows import LeaseHeld


class FileLock:
    """Held from construction to `release`. Not inherited across exec."""

    def __init__(self, path: Path) -> None:
        """May raise: LeaseHeld."""
        self._fd: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise LeaseHeld(
                f"another levmon works with {path.name.removesuffix('.lock')}", hint="stop it first, or use its output"
            ) from None

    def release(self) -> None:
        """Idempotent."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
