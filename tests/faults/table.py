"""The fault table: `python -m tests.faults.table` prints each row with its test, its defence and its known limit."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

from tests.faults.lab import ROWS, Row

OWNED = (
    *(f"R{n}" for n in (*range(1, 19), 20, 21)),
    *("C1", "C3", "C9"),
    *("O1", "O2", "O3", "O5", "O6", "O14"),
)


def rows() -> list[Row]:
    """All rows, in the order of the fault matrix."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.startswith("test_"):
            importlib.import_module(f"tests.faults.{module.name}")
    return sorted(ROWS, key=lambda row: (row.row[0] != "R", row.row[0], int(re.sub(r"\D", "", row.row))))


def lines() -> list[str]:
    found = [f"{row.row:4} {row.behaviour}\n     {row.test}, {_second(row)}" for row in rows()]
    missing = sorted(set(OWNED) - {row.row for row in rows()})
    return [*found, f"{len(found)} scenarios for {len({row.row for row in rows()})} rows; missing: {missing or 'none'}"]


def _second(row: Row) -> str:
    return f"fails without `{row.defence}`" if row.defence else f"limit: {row.limit}"


if __name__ == "__main__":
    print(*lines(), sep="\n")  # noqa: T201  # printing is what it is for
