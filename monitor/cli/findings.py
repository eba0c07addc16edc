"""What `levmon doctor` says of one thing that it looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`state` is ok, warn or bad; `mend` says what to do unless it is ok."""

    check: str
    state: str
    detail: str
    mend: str = ""
    exit_code: int = 0
