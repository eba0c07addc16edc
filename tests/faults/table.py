"""The fault table: `python -m tests.faults.table` prints each row of the matrix with its tests, defences and limits.

With the report of a test run (`pytest --junit-xml=FILE`, then `--junit FILE`) it also tells the results.
"""

from __future__ import annotations

import importlib
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults.rows import ROWS, TESTS, Row

MATRIX = {"R": 22, "C": 12, "T": 23, "P": 26, "O": 22, "S": 16}
"""How many rows the fault matrix has under each letter: RPC, chain, transaction, process, oracles, security."""

OWNERS = {
    "R10": "faults/test_pool_rows",  # the watching half; the acting half is in execution
    "R14": "faults/test_pool_rows",  # with a quorum; what is signed without one is in rescue/test_node_rows and anvil
    "P24": "execution/test_process_rows",  # what piles up; a full disk under the output is in cli/test_daemon_rows
    "P25": "cli/test_daemon_rows",  # what is asked for at the start; running out of memory is in execution
    "O1": "faults/test_oracle_rows",  # what is shown; what is not sold is in rescue/test_second_price_rows
    "O4": "rescue/test_condition_rows",  # when to act; at which price to sell is in rescue/test_second_price_rows
    "O15": "rescue/test_condition_rows",  # which step is chosen; what comes after a rejected one is in test_token_rows
    "O11": "rescue/test_outage_rows",  # what is shown, as for O1
}
"""Who answers for a row of which other files have scenarios too."""

NOT_BUILT = {
    "R19": "not built: a followed market costs one request a block; without it, nothing is known of anybody",
}
"""Rows without a scenario, each with its reason."""


def names() -> list[str]:
    """Every row of the matrix, in its order."""
    return [f"{letter}{n}" for letter, count in MATRIX.items() for n in range(1, count + 1)]


def rows() -> list[Row]:
    """All scenarios, in the order of the matrix; imports every test file that declares one."""
    for file in sorted(TESTS.rglob("test_*.py")):
        text = file.read_text()
        if "tests.faults.rows import" in text or "tests.faults.market import" in text:
            importlib.import_module("tests." + ".".join(file.relative_to(TESTS).with_suffix("").parts))
    place = {name: index for index, name in enumerate(names())}
    return sorted(ROWS.values(), key=lambda row: (place[row.row], row.module, row.test))


def faults() -> list[str]:
    """Rows with no owner or several, and files that are owners of nothing; empty where the table is whole."""
    modules: dict[str, set[str]] = {name: set() for name in names()}
    for row in rows():
        modules[row.row].add(row.module)
    return [*_without_one_owner(modules), *(f"{row}: no such row" for row in NOT_BUILT if row not in modules)]


def _without_one_owner(modules: dict[str, set[str]]) -> Iterator[str]:
    for name, found in modules.items():
        if name in NOT_BUILT:
            if found:
                yield f"{name} has scenarios in {sorted(found)} and is said to be {NOT_BUILT[name]}"
        elif not found:
            yield f"{name} has neither a scenario nor a reason"
        elif len(found) > 1 and OWNERS.get(name) not in found:
            yield f"{name} is claimed by {sorted(found)}"
        elif len(found) == 1 and name in OWNERS:
            yield f"{name} needs no word on who owns it"


def results(report: Path) -> dict[str, str]:
    """What a test run came to, by `module.test[off]`."""
    found = {}
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314  # written by our own run
        failed = any(case.find(what) is not None for what in ("failure", "error", "skipped"))
        found[f"{case.get('classname')}.{case.get('name')}"] = "FAILED" if failed else "passed"
    return found


def lines(told: dict[str, str] | None = None) -> list[str]:
    """The table. `told`: results of a test run."""
    found = rows()
    shown = []
    for name in names():
        if name in NOT_BUILT:
            shown.append(f"{name:4} {NOT_BUILT[name]}")
        for row in found:
            if row.row == name:
                result = "" if told is None else f"; {_result(row, told)}"
                shown.append(f"{name:4} {row.behaviour}\n     {row.module}: {row.test}, {_second(row)}{result}")
    owned = {row.row for row in found}
    wrong = faults()
    return [*shown, f"{len(found)} scenarios for {len(owned)} of {len(names())} rows; missing: {wrong or 'none'}"]


def _second(row: Row) -> str:
    said = [f"fails without `{row.defence}`"] if row.defence else []
    return "; ".join([*said, *([f"limit: {row.limit}"] if row.limit else [])])


def _result(row: Row, told: dict[str, str]) -> str:
    start = f"tests.{row.module.replace('/', '.')}.{row.test}["
    mine = [result for test, result in told.items() if test.startswith(start)]
    return "not run" if not mine else "FAILED" if "FAILED" in mine else "passed"


def main(arguments: Sequence[str]) -> None:
    told = results(Path(arguments[1])) if arguments[:1] == ["--junit"] else None
    print(*lines(told), sep="\n")  # noqa: T201  # printing is what it is for


if __name__ == "__main__":
    main(sys.argv[1:])
