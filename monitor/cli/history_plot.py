"""Health over time as text: a mark for each stretch of time, the thresholds as lines, and what happened below.

A mark is the worst that was kept in its stretch, or what held until then. Where nobody looked there is nothing, and
what was unknown is a question mark at the top; nothing is drawn between two marks.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from monitor.core.types import Known, Level, NoDebt, Unknown
from monitor.core.units import format_ratio
from monitor.history.rows import HistoryRow, worst_of

HELD_S = 2 * 3600
"""For so long a row holds: while somebody looks, none is older than 300 blocks, or than two hours once thinned."""
LEFT = 9
MOST = Fraction(10)
"""Health above this is drawn at the top."""


def plot(
    rows: Sequence[HistoryRow],
    since_s: int,
    until_s: int,
    thresholds: Mapping[str, Fraction],
    marks: Iterable[tuple[int, str]] = (),
    *,
    columns: int = 80,
    height: int = 12,
) -> list[str]:
    """Lines of at most `columns`. `marks`: a time and a character each, for the line below; `since_s < until_s`."""
    wide = max(10, columns - LEFT)
    cells = _cells(rows, since_s, until_s, wide)
    healths = [_health(cell) for cell in cells]
    drawn = [health for health in healths if health is not None]
    low = min([*drawn, *thresholds.values(), Fraction(1)])
    high = max([*drawn, *thresholds.values()])
    step = (high - low) / (height - 1) or Fraction(1)
    at: dict[int, str] = {}
    for name, value in thresholds.items():
        here = int((value - low) / step + Fraction(1, 2))
        at[here] = f"{at[here]}, {name}" if here in at else name
    lines = []
    for line in range(height - 1, -1, -1):
        label = format_ratio(*(low + step * line).as_integer_ratio(), 3)
        text = "".join(
            _mark(cell, health, line, int((health - low) / step) if health is not None else 0, height, at)
            for cell, health in zip(cells, healths, strict=True)
        )
        lines.append(f"{label:>{LEFT - 2}} │{text}  {at.get(line, '')}".rstrip())
    below = [" "] * wide
    for when_s, mark in marks:
        if since_s <= when_s <= until_s:
            below[_column(when_s, since_s, until_s, wide)] = mark
    first, last = _time(since_s), _time(until_s)
    return [
        *lines,
        f"{'':{LEFT - 2}} └{'─' * wide}",
        f"{'':{LEFT}}{''.join(below)}".rstrip(),
        f"{'':{LEFT}}{first}{last:>{max(len(last) + 1, wide - len(first))}}",
    ]


def _cells(rows: Sequence[HistoryRow], since_s: int, until_s: int, wide: int) -> list[HistoryRow | None]:
    together: list[list[HistoryRow]] = [[] for _ in range(wide)]
    held: HistoryRow | None = None
    for row in rows:
        if row.at_s < since_s:
            held = row
        elif row.at_s <= until_s:
            together[_column(row.at_s, since_s, until_s, wide)].append(row)
    found: list[HistoryRow | None] = []
    for number, here in enumerate(together):
        begins_s = since_s + (until_s - since_s) * number // wide
        if here:
            found.append(worst_of(here))
            held = here[-1]
        else:
            found.append(held if held is not None and begins_s - held.at_s <= HELD_S else None)
    return found


def _column(at_s: int, since_s: int, until_s: int, wide: int) -> int:
    return min(wide - 1, (at_s - since_s) * wide // max(1, until_s - since_s))


def _health(row: HistoryRow | None) -> Fraction | None:
    if row is None or not isinstance(row.verdict, Known):
        return None
    return min(MOST, Fraction(row.verdict.numerator, row.verdict.denominator))


def _mark(
    row: HistoryRow | None, health: Fraction | None, line: int, mine: int, height: int, at: Mapping[int, str]
) -> str:
    empty = "┄" if line in at else " "
    if row is None:
        return empty
    if health is None:
        top = line == height - 1
        return ("?" if isinstance(row.verdict, Unknown) else "∞") if top else empty
    return ("#" if row.level is Level.CRITICAL else "*") if line == mine else empty


def _time(at_s: int) -> str:
    return dt.datetime.fromtimestamp(at_s, dt.UTC).strftime("%Y-%m-%d %H:%M")


def row_dict(position_id: str, row: HistoryRow) -> dict[str, object]:
    """The object of schema `levmon.health/1`."""
    verdict, near = row.verdict, row.nearest
    known = isinstance(verdict, Known)
    return {
        "schema": "levmon.health/1",
        "position": position_id,
        "at_s": str(row.at_s),
        "block": {"number": None if row.block_number is None else str(row.block_number), "hash": row.block_hash},
        "level": row.level.value,
        "verdict": "known" if known else "no_debt" if isinstance(verdict, NoDebt) else "unknown",
        "num": str(verdict.numerator) if isinstance(verdict, Known) else None,
        "den": str(verdict.denominator) if isinstance(verdict, Known) else None,
        "liquidatable": row.liquidatable,
        "collateral_raw": str(row.collateral),
        "debt_raw": str(row.debt),
        "liquidation_price": None
        if near is None
        else {
            "asset": near.asset,
            "symbol": near.symbol,
            "decimals": near.decimals,
            "price_raw": str(near.price),
            "current_raw": str(near.current),
            "direction": near.direction,
        },
        "reason": verdict.reason if isinstance(verdict, Unknown) else None,
    }
