"""Everything that a history holds, row by row, for other programs: names of its own, and no integer that is rounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from monitor.core.types import Known, NoDebt, Unknown
from monitor.core.units import WAD
from monitor.history.codec import LEVELS, verdict_of
from monitor.history.engine import telling
from monitor.history.statements import EVERYTHING
from monitor.history.store import HistoryView

COLUMNS = {
    "position_id": str,
    "chain_id": int,
    "market": str,
    "owner": str,
    "name": str,
    "at_s": int,
    "block_number": int,
    "block_hash": str,
    "level": str,
    "verdict": str,
    "health_num": str,
    "health_den": str,
    "liquidatable": bool,
    "collateral_raw": str,
    "debt_raw": str,
    "unit": str,
    "unit_decimals": int,
    "price_asset": str,
    "price_symbol": str,
    "price_decimals": int,
    "price_direction": str,
    "liquidation_price_raw": str,
    "price_raw": str,
    "reason": str,
}
"""What there is, and as what: integers of the EVM are decimal text."""

_WORDS = {Known: "known", NoDebt: "no_debt", Unknown: "unknown"}


def everything(view: HistoryView) -> Iterator[dict[str, Any]]:
    """By position and time, as they come from the database. May raise: HistoryError."""
    with telling(), view.look() as db:
        if db is None:
            return
        for row in db.execution_options(yield_per=1000).execute(EVERYTHING):
            verdict = verdict_of(row)
            yield {
                "position_id": row.position_id,
                "chain_id": row.chain_id,
                "market": row.market,
                "owner": row.owner,
                "name": row.name,
                "at_s": row.at_s,
                "block_number": row.number,
                "block_hash": None if row.hash is None else "0x" + bytes(row.hash).hex(),
                "level": LEVELS[row.level].value,
                "verdict": _WORDS[type(verdict)],
                "health_num": row.num,
                "health_den": None if row.num is None else row.den or str(WAD),
                "liquidatable": None if row.liquidatable is None else bool(row.liquidatable),
                "collateral_raw": row.collateral,
                "debt_raw": row.debt,
                "unit": row.unit,
                "unit_decimals": row.unit_decimals,
                "price_asset": row.key,
                "price_symbol": row.symbol,
                "price_decimals": row.decimals,
                "price_direction": row.direction,
                "liquidation_price_raw": row.price,
                "price_raw": row.current,
                "reason": row.reason,
            }
