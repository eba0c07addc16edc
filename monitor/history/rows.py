"""One look at a position as it is kept, and the rule of which looks are kept. Pure.

A look is kept where something can be seen in it: the level or the verdict changed, the distance to liquidation has
moved by a tenth of a point since the last kept look, or 300 blocks have passed. What is unknown is kept as unknown with
its reason, and nothing is ever made up between two looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from monitor.core.errors import LevmonError
from monitor.core.types import Known, Level, LiquidationPrice, NoDebt, Unit, Unknown, Verdict
from monitor.report import Report, nearest

BLOCKS = 300
"""After so many blocks a look is kept whatever it shows."""
UNKNOWN_S = 3600
"""After so long what is still unknown is kept again: without a chain there are no blocks to count."""
STEP = 1000
"""The distance counts as moved by one part in so many: 0.1 points of percent."""


class HistoryError(LevmonError):
    """The history cannot be opened, read or written."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A position at one block. `at_s` is the block's time; where there was no block to look at, the machine's.

    `collateral` and `debt` are values in the position's unit. `nearest` is the liquidation price that is the smallest
    move away, with the price of that moment. The level is unknown exactly where the verdict is.
    """

    at_s: int
    level: Level
    verdict: Verdict
    block_number: int | None = None
    block_hash: str | None = None
    liquidatable: bool | None = None
    collateral: int = 0
    debt: int = 0
    nearest: LiquidationPrice | None = None


@dataclass(frozen=True, slots=True)
class Tracked:
    """A position that has a history. `unit` counts its values; None as long as it was only ever unknown."""

    position_id: str
    chain_id: int
    market: str
    owner: str
    name: str = ""
    unit: Unit | None = None


def look(report: Report, now_s: int, after: int | None = None) -> HistoryRow:
    """The report as a row. `after`: the number of the block that was looked at before.

    What is unknown because no newer block could be had is of now, by the machine's clock `now_s`.
    """
    block, health = report.block, report.health
    if report.level is Level.UNKNOWN or health is None or isinstance(health.verdict, Unknown):
        why = Unknown(report.cause)
        if block is None or (after is not None and block.number <= after):
            return HistoryRow(now_s, Level.UNKNOWN, why)
        return HistoryRow(block.timestamp, Level.UNKNOWN, why, block.number, block.hash)
    at = health.block
    return HistoryRow(
        at.timestamp,
        report.level,
        health.verdict,
        at.number,
        at.hash,
        health.liquidatable,
        health.collateral,
        health.debt,
        nearest(report.liquidation_prices),
    )


def worth_keeping(last: HistoryRow | None, new: HistoryRow) -> bool:
    """Whether `new` is kept when `last` was kept last."""
    if last is None or last.level is not new.level or type(last.verdict) is not type(new.verdict):
        return True
    if isinstance(last.verdict, Known) and isinstance(new.verdict, Known) and moved(last.verdict, new.verdict):
        return True
    if last.block_number is None or new.block_number is None:
        return new.at_s - last.at_s >= UNKNOWN_S
    return abs(new.block_number - last.block_number) >= BLOCKS


def moved(before: Known, now: Known) -> bool:
    """Whether 1 - 1/health has moved by 1/STEP or more, exactly. Without any collateral it is endlessly far below."""
    if before.numerator == 0 or now.numerator == 0:
        return before.numerator != now.numerator
    gap = before.denominator * now.numerator - now.denominator * before.numerator
    return STEP * abs(gap) >= before.numerator * now.numerator


def lower(one: Verdict, other: Verdict) -> bool:
    """Whether `one` is the worse news: unknown before known, no debt last, between known ones the lower health."""
    if isinstance(one, Known) and isinstance(other, Known):
        return one.numerator * other.denominator < other.numerator * one.denominator
    return _badness(one) > _badness(other)


def _badness(verdict: Verdict) -> int:
    return 2 if isinstance(verdict, Unknown) else 0 if isinstance(verdict, NoDebt) else 1


def thinned(rows: Sequence[HistoryRow], since_s: int, until_s: int, most: int) -> list[HistoryRow]:
    """At most `most` (at least 2) of these rows, oldest first: of each stretch of time the worst and the last.

    Rows from before `since_s` are kept: they say what held when the time began.
    """
    if len(rows) <= most:
        return list(rows)
    buckets = max(1, (most - 1) // 2)
    width = max(1, -(-(until_s - since_s + 1) // buckets))
    found: list[HistoryRow] = []
    for _, group in groupby(rows, lambda row: (row.at_s - since_s) // width if row.at_s >= since_s else -1):
        together = list(group)
        worst = worst_of(together)
        found += [worst] if worst is together[-1] else [worst, together[-1]]
    return found


def worst_of(rows: Sequence[HistoryRow]) -> HistoryRow:
    """The first of the worst."""
    worst = rows[0]
    for row in rows[1:]:
        if lower(row.verdict, worst.verdict):
            worst = row
    return worst
