"""Rows of the history to values and back, without a unit lost: integers of any size are decimal text."""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping

from monitor.core.text import REASON_LIMIT, clean
from monitor.core.types import Known, Level, LiquidationPrice, NoDebt, Unit, Unknown, Verdict
from monitor.core.units import WAD
from monitor.history.rows import HistoryRow, Tracked

LEVELS = (Level.OK, Level.WATCH, Level.WARN, Level.CRITICAL, Level.UNKNOWN)
"""A level is kept as its place here."""


def columns(row: HistoryRow, position: int, block: int, asset: int | None) -> dict[str, Any]:
    """The row as the table has it. `position`, `block` and `asset` are numbers into the other tables."""
    verdict, near = row.verdict, row.nearest
    known = isinstance(verdict, Known)
    return {
        "position": position,
        "at_s": row.at_s,
        "block": block,
        "level": LEVELS.index(row.level),
        "num": str(verdict.numerator) if isinstance(verdict, Known) else None,
        "den": str(verdict.denominator) if isinstance(verdict, Known) and verdict.denominator != WAD else None,
        "liquidatable": None if row.liquidatable is None else int(row.liquidatable),
        "collateral": None if isinstance(verdict, Unknown) else str(row.collateral),
        "debt": str(row.debt) if known else None,
        "asset": asset,
        "price": str(near.price) if near is not None else None,
        "current": str(near.current) if near is not None else None,
        "reason": clean(verdict.reason, REASON_LIMIT) if isinstance(verdict, Unknown) else None,
    }


def verdict_of(row: Any) -> Verdict:
    """Of any row with `num`, `den` and `reason`."""
    if row.num is not None:
        return Known(int(row.num), WAD if row.den is None else int(row.den))
    return NoDebt() if row.reason is None else Unknown(row.reason)


def row_from(row: Any) -> HistoryRow:
    """A row of `statements.SERIES`."""
    near = None
    if row.price is not None:
        near = LiquidationPrice(row.key, row.symbol, int(row.price), row.decimals, int(row.current), row.direction)
    return HistoryRow(
        row.at_s,
        LEVELS[row.level],
        verdict_of(row),
        row.number,
        None if row.hash is None else "0x" + bytes(row.hash).hex(),
        None if row.liquidatable is None else bool(row.liquidatable),
        int(row.collateral or 0),
        int(row.debt or 0),
        near,
    )


def tracked_from(row: RowMapping) -> Tracked:
    unit = None if row["unit"] is None else Unit(row["unit"], row["unit_decimals"])
    return Tracked(row["position_id"], row["chain_id"], row["market"], row["owner"], row["name"], unit)
