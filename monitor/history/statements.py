"""The history's SQL, built once. Values are handed in by name when a statement runs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, bindparam, select

from monitor.history.tables import ASSETS, BLOCKS, POSITIONS, ROWS

POSITION_ID = select(POSITIONS.c.id).where(POSITIONS.c.position_id == bindparam("position_id"))
BLOCK_ID = select(BLOCKS.c.id).where(
    (BLOCKS.c.chain_id == bindparam("chain_id"))
    & (BLOCKS.c.number == bindparam("number"))
    & (BLOCKS.c.hash == bindparam("hash"))
)
ASSET_ID = select(ASSETS.c.id).where(
    (ASSETS.c.asset == bindparam("asset"))
    & (ASSETS.c.symbol == bindparam("symbol"))
    & (ASSETS.c.decimals == bindparam("decimals"))
    & (ASSETS.c.direction == bindparam("direction"))
)

WHOLE: Select[Any] = select(
    ROWS.c.at_s,
    ROWS.c.block,
    ROWS.c.level,
    ROWS.c.num,
    ROWS.c.den,
    ROWS.c.liquidatable,
    ROWS.c.collateral,
    ROWS.c.debt,
    ROWS.c.price,
    ROWS.c.current,
    ROWS.c.reason,
    BLOCKS.c.number,
    BLOCKS.c.hash,
    ASSETS.c.asset.label("key"),
    ASSETS.c.symbol,
    ASSETS.c.decimals,
    ASSETS.c.direction,
).select_from(ROWS.outerjoin(BLOCKS, BLOCKS.c.id == ROWS.c.block).outerjoin(ASSETS, ASSETS.c.id == ROWS.c.asset))
"""Rows with what their numbers stand for."""

_OLDEST_FIRST = (ROWS.c.at_s, ROWS.c.block)
_NEWEST_FIRST = (ROWS.c.at_s.desc(), ROWS.c.block.desc())
_MINE = ROWS.c.position == bindparam("the_position")

SERIES = WHOLE.where(_MINE & ROWS.c.at_s.between(bindparam("since_s"), bindparam("until_s"))).order_by(*_OLDEST_FIRST)
STANDING = WHOLE.where(_MINE & (ROWS.c.at_s < bindparam("since_s"))).order_by(*_NEWEST_FIRST).limit(1)
"""What held when the time began."""
LAST = (
    WHOLE.where(ROWS.c.position == select(POSITION_ID.subquery().c.id).scalar_subquery())
    .order_by(*_NEWEST_FIRST)
    .limit(1)
)
"""The newest row of a `position_id`."""
EVERYTHING = (
    WHOLE.join(POSITIONS, POSITIONS.c.id == ROWS.c.position)
    .add_columns(
        *(POSITIONS.c[name] for name in ("position_id", "chain_id", "market", "owner", "name", "unit", "unit_decimals"))
    )
    .order_by(POSITIONS.c.position_id, *_OLDEST_FIRST)
)
