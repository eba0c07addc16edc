"""What the output is: a terminal with a width and colours, or a pipe with neither."""

from __future__ import annotations

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
    """Print, with colour where there is any."""
    click.echo("\n".join(lines), color=colour())


def live() -> bool:
    """Whether a display may renew itself in place."""
    return sys.stdout.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
