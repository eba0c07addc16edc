"""The table has a line for every row of the fault matrix that is owned here, and can be printed."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.faults.table import OWNED, rows


def test_no_row_is_missing() -> None:
    assert set(OWNED) <= {row.row for row in rows()}
    assert len(OWNED) == 29


def test_each_scenario_has_a_defence_or_a_known_limit() -> None:
    assert [row for row in rows() if not row.defence and not row.limit] == []
    assert {row.row for row in rows() if not row.defence} == {"R15", "R21"}


def test_it_can_be_printed() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "tests.faults.table"], capture_output=True, text=True, check=True
    ).stdout
    assert "missing: none" in printed
    assert len(re.findall(r"^[RCO][0-9]+ ", printed, re.MULTILINE)) == len(rows())
