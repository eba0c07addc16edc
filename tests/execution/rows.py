"""A row of the fault matrix: a scenario that must hold with every defence on, and must fail with its defence off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    row: str
    behaviour: str
    test: str
    defence: str | None
    limit: str


ROWS: list[Row] = []
Scenario = Callable[..., None]
"""Gets a folder and, where the row has a defence, the one that is off (None: all on)."""


def row(name: str, behaviour: str, defence: str | None = None, limit: str = "") -> Callable[[Scenario], Any]:
    """Make a scenario the test of a row. Without a defence it is run once, and `limit` must say why."""
    if defence is None and not limit:
        raise AssertionError(f"{name} has neither a defence nor a limit")

    def decorate(scenario: Scenario) -> Any:
        ROWS.append(Row(name, behaviour, scenario.__name__, defence, limit))

        @pytest.mark.parametrize("without", [None, defence] if defence else [None], ids=str)
        def test(without: str | None, tmp_path: Path) -> None:
            if without is None:
                scenario(tmp_path, *([None] if defence else []))
                return
            with pytest.raises(AssertionError):
                scenario(tmp_path, without)

        test.__name__ = scenario.__name__
        test.__qualname__ = scenario.__name__
        test.__module__ = scenario.__module__
        test.__doc__ = scenario.__doc__
        return test

    return decorate
