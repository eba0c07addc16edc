"""The table knows every row of the fault matrix, each with one owner or a reason, and can be printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.faults.table import NOT_BUILT, lines, names, rows


def test_every_row_has_one_owner_or_a_reason() -> None:
    from tests.faults.table import faults

    assert len(names()) == 121
    assert faults() == []


def test_each_scenario_has_a_defence_or_a_known_limit() -> None:
    assert [row for row in rows() if not row.defence and not row.limit] == []


def test_it_can_be_printed() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "tests.faults.table"], capture_output=True, text=True, check=True
    ).stdout
    assert "missing: none" in printed
    assert len(re.findall(r"^[RCTPOS][0-9]+ ", printed, re.MULTILINE)) == len(rows()) + len(NOT_BUILT)


def test_it_tells_the_results_of_a_run(tmp_path: Path) -> None:
    from tests.faults.table import results

    report = tmp_path / "report.xml"
    place = 'classname="tests.faults.test_pool_rows"'
    report.write_text(
        f'<testsuites><testsuite><testcase {place} name="test_wrong_chain_at_start[None]"/>'
        f'<testcase {place} name="test_wrong_chain_later[None]"/>'
        f'<testcase {place} name="test_wrong_chain_later[chain_id]"><failure/></testcase></testsuite></testsuites>'
    )
    told = "\n".join(lines(results(report)))
    assert re.search(r"test_wrong_chain_at_start, .*; passed", told)
    assert re.search(r"test_wrong_chain_later, .*; FAILED", told)
    assert re.search(r"test_different_chains, .*; not run", told)
