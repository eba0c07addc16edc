"""The kill switch: a file. It is there, or it cannot be looked for: nothing is signed. It survives restarts by nature.

Optionally a dead man's switch beside it: a file that someone keeps touching; once it is older than agreed, the signer
stops by itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

AHEAD_S = 60
"""How far ahead of our clock a touch may be: who touches a file far in the future wants to touch it only once."""


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """`file` kills by being there; `armed_file`, if any, by not having been touched for `armed_for_s` seconds.

    `now_s` is the wall clock, since it is compared with the time of a file.
    """

    file: Path
    now_s: Callable[[], int]
    armed_file: Path | None = None
    armed_for_s: int = 0

    def reason(self) -> str:
        """Why nothing may be signed now; empty when it may."""
        try:
            os.lstat(self.file)
        except FileNotFoundError:
            if not self.file.parent.is_dir():
                return f"the kill switch's directory {self.file.parent} is gone"
        except OSError as failed:
            return f"the kill switch {self.file} cannot be looked for: {failed.strerror}"
        else:
            return f"the kill switch is on: {self.file} exists"
        return self._disarmed(self.armed_file) if self.armed_file else ""

    def _disarmed(self, file: Path) -> str:
        try:
            age_s = self.now_s() - int(file.stat().st_mtime)
        except OSError as failed:
            return f"not armed: {file}: {failed.strerror}"
        if not -AHEAD_S <= age_s <= self.armed_for_s:
            return f"not armed: {file} was touched {age_s} s ago, {self.armed_for_s} s are allowed"
        return ""

    def turn_on(self) -> None:
        """Leave the file, so that it also holds after a restart. May raise: OSError."""
        os.close(os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        directory = os.open(self.file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
