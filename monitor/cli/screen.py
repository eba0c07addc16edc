"""What the output is: a terminal with a width and colours, or a pipe with neither."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterable

import click


def colour() -> bool:
    """Colours only on a terminal that wants them (NO_COLOR, TERM=dumb)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int | None:
    """Columns of the terminal, or of COLUMNS; None for a pipe, where nothing is cut."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS"):
        return None
    return shutil.get_terminal_size((80, 24)).columns


def echo(lines: Iterable[str]) -> None:
    """Print, with colour where there is any. May raise: OSError."""
    click.echo("\n".join(lines), color=colour())


FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def log(text: str) -> None:
    """A line of a daemon. Lost where the disk under the output is full: watching and acting go on without it.

    What was done is in the journal and in the alerts. Rotating is for whoever keeps the output, since no file is ours.
    """
    try:
        click.echo(text, color=colour())
    except OSError as failed:
        if failed.errno not in FULL:
            raise


def live() -> bool:
    """Whether a display may renew itself in place."""
    return sys.stdout.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
