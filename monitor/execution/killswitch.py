"""The kill switch: a file. While it is there nothing is signed and nothing is sent; a restart changes nothing.

It is looked at each time, never remembered, so that it works within the time of one stat call. A switch that cannot be
read counts as thrown. Optionally the switch also counts as thrown unless another file was touched lately (dead man).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


class KillSwitch:
    """`path` thrown when it exists; `alive` must have been touched within `alive_s` seconds, where given."""

    def __init__(
        self, path: Path, *, alive: Path | None = None, alive_s: float = 0.0, now: Callable[[], float] | None = None
    ) -> None:
        if alive is not None and now is None:
            raise ValueError("a dead man's switch needs a clock")
        self._path = path
        self._alive = alive
        self._alive_s = alive_s
        self._now = now

    @property
    def thrown(self) -> str:
        """Why nothing may be signed; empty where it may."""
        try:
            self._path.lstat()
        except FileNotFoundError:
            return self._silence()
        except OSError as error:
            return f"the kill switch cannot be read: {error.strerror}"
        return "the kill switch is thrown"

    def _silence(self) -> str:
        if self._alive is None or self._now is None:
            return ""
        try:
            touched = self._alive.stat().st_mtime
        except OSError:
            return "nobody has touched the alive file"
        return "" if self._now() - touched <= self._alive_s else "nobody has touched the alive file lately"

    def throw(self, reason: str) -> None:
        """Durable before it returns."""
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, reason.encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def reset(self) -> None:
        self._path.unlink(missing_ok=True)
