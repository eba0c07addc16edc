"""Reports as a table for people: most urgent first, never wider than the terminal, nothing rounded up.

Lays out by itself rather than by a library, because what may be dropped when the terminal is narrow is a decision:
level, health and owner always stay. Text in, text out; only a block's age needs the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from monitor.core.text import clean
from monitor.core.types import BlockRef, Health, Level, Unit
from monitor.policy.levels import URGENCY
from monitor.report import Report
from monitor.wording import (
    ago,
    amount_text,
    buffer_text,
    exact,
    full_owner,
    health_text,
    money,
    nearest_text,
    remarks,
    short_owner,
    urgency,
)

__all__ = [
    "ago",
    "amount_text",
    "buffer_text",
    "exact",
    "full_owner",
    "health_text",
    "money",
    "nearest_text",
    "short_owner",
    "urgency",
]

STYLES: dict[Level, dict[str, Any]] = {
    Level.UNKNOWN: {"fg": "magenta", "bold": True},
    Level.CRITICAL: {"fg": "red", "bold": True},
    Level.WARN: {"fg": "yellow"},
    Level.WATCH: {"fg": "cyan"},
    Level.OK: {"fg": "green"},
}
GAP = "  "
NARROWEST = 24
NOTES = 12


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what it says of a report, and how early it is given up (0: never)."""

    title: str
    cell: Callable[[Report], str]
    given_up: int = 0
    right: bool = False


def render(reports: Sequence[Report], width: int | None) -> list[str]:
    """The table's lines, with colour; `width` None is unlimited, as for a pipe."""
    rows = sorted(reports, key=urgency)
    for columns in _layouts(rows):
        cells = [[column.cell(report) for column in columns] for report in rows]
        widths = [
            max(len(text) for text in (column.title, *(row[at] for row in cells))) for at, column in enumerate(columns)
        ]
        if width is None or sum(widths) + len(GAP) * (len(widths) - 1) <= width:
            break
    else:
        columns, cells, widths = _squeezed(columns, cells, widths, max(width or 0, NARROWEST))
    head = _line([column.title for column in columns], columns, widths)
    lines = [click.style(head, bold=True)]
    for report, row in zip(rows, cells, strict=True):
        text = _line(row, columns, widths)
        mark = len(report.level.value)
        lines.append(click.style(text[:mark], **STYLES[report.level]) + text[mark:])
    return lines


def _layouts(rows: Sequence[Report]) -> list[list[Column]]:
    """From everything to the least, the owner's address whole as long as there is room."""
    many = len({report.subject.market for report in rows}) > 1
    columns = [
        Column("LEVEL", lambda report: report.level.value),
        Column("HEALTH", health_text, right=True),
        Column("BUFFER", buffer_text, 4, right=True),
        Column("LIQUIDATED AT", nearest_text, 3),
        Column("COLLATERAL", lambda report: money(report.health, "collateral"), 1, right=True),
        Column("DEBT", lambda report: money(report.health, "debt"), 2, right=True),
        *([Column("MARKET", lambda report: clean(report.subject.market, 24), 5)] if many else []),
        Column("OWNER", full_owner),
    ]
    short = [*columns[:-1], Column("OWNER", short_owner)]
    drops = sorted({column.given_up for column in columns} - {0})
    return [
        columns,
        short,
        *([column for column in short if column.given_up not in drops[:n]] for n in range(1, len(drops) + 1)),
    ]


def _squeezed(
    columns: list[Column], cells: list[list[str]], widths: list[int], width: int
) -> tuple[list[Column], list[list[str]], list[int]]:
    """The last resort: the owner is cut to what is left."""
    room = max(width - sum(widths[:-1]) - len(GAP) * (len(widths) - 1), 4)
    cut = [[*row[:-1], row[-1] if len(row[-1]) <= room else row[-1][: room - 1] + "…"] for row in cells]
    return columns, cut, [*widths[:-1], min(widths[-1], room)]


def _line(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    padded = (
        text.rjust(width) if column.right else text.ljust(width)
        for text, column, width in zip(cells, columns, widths, strict=True)
    )
    return GAP.join(padded).rstrip()


# -- what stands below the table -------------------------------------------------------------------------------------


def notes(reports: Sequence[Report], width: int | None) -> list[str]:
    """Reasons: why unknown, what stale price, whether what is unhealthy can be liquidated."""
    lines: list[str] = []
    told: dict[str, list[Report]] = {}
    for report in sorted(reports, key=urgency):
        for text in remarks(report):
            told.setdefault(text, []).append(report)
    for text, about in told.items():
        who = short_owner(about[0]) if len(about) == 1 else f"{len(about)} positions"
        lines.extend(_wrapped(f"{who}: {text}", width))
    if len(lines) > NOTES * 2:
        lines = [*lines[: NOTES * 2], "  more is in the output of --json"]
    return lines


def _wrapped(text: str, width: int | None) -> list[str]:
    import textwrap

    if width is None:
        return [f"  {text}"]
    return textwrap.wrap(text, max(width, NARROWEST), initial_indent="  ", subsequent_indent="    ")


def summary(reports: Sequence[Report]) -> str:
    """How many positions of each level, most urgent first."""
    counts = [(level, sum(report.level is level for report in reports)) for level in URGENCY]
    told = ", ".join(click.style(f"{count} {level.value}", **STYLES[level]) for level, count in counts if count)
    return f"{len(reports)} position{'' if len(reports) == 1 else 's'}: {told}"


EMPTY = 4
"""So many positions of nothing are listed beside others; more are counted."""


def worth_a_row(reports: Sequence[Report]) -> list[Report]:
    """All reports, but those without anything only while they are few beside others."""
    full = [report for report in reports if report.verdict != "no_debt" or (report.health and report.health.legs)]
    return list(reports) if not full or len(reports) - len(full) <= EMPTY else full


def totals(reports: Sequence[Report]) -> list[str]:
    """Collateral and debt of all positions in each unit, and how many are left out because they are unknown."""
    sums: dict[Unit, list[Health]] = {}
    for report in reports:
        if report.health is not None and report.verdict != "unknown" and report.health.legs:
            sums.setdefault(report.health.unit, []).append(report.health)
    lines = []
    for unit, found in sorted(sums.items(), key=lambda one: (one[0].symbol, one[0].decimals)):
        if len(found) > 1:
            collateral, debt = sum(one.collateral for one in found), sum(one.debt for one in found)
            both = replace(found[0], collateral=collateral, debt=debt)
            told = f"collateral {money(both, 'collateral')}, debt {money(both, 'debt')}"
            lines.append(f"in {clean(unit.symbol, 8)} together: {told} of {len(found)} positions")
    left_out = sum(report.verdict == "unknown" for report in reports)
    if lines and left_out:
        lines.append(f"without what is unknown of {left_out}")
    empty = len(reports) - len(worth_a_row(reports))
    return [*lines, f"{empty} more without collateral or debt"] if empty else lines


def block_line(chain: str, block: BlockRef | None) -> str:
    """Where a chain was read, and how long ago that block was by this machine's clock."""
    import time

    if block is None:
        return f"{chain}: no block could be read"
    return f"{chain}: block {block.number} {block.hash[:10]}…, {ago(int(time.time()) - block.timestamp)}"
