"""What becomes of rows as they age: all of them for some days, then the worst of each hour, then none.

Done in small bites by whoever writes, a few positions at a time, so that nobody ever waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from monitor.core.types import Unknown
from monitor.history.codec import verdict_of
from monitor.history.rows import lower
from monitor.history.tables import BLOCKS, POSITIONS, ROWS

HOUR_S = 3600
DAY_S = 86_400
TOGETHER_S = 6 * HOUR_S
"""A position is thinned once so much of it is due."""
BLOCKS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Age:
    """For how long every row is kept, and for how long the worst of each hour."""

    full_s: int = 7 * DAY_S
    keep_s: int = 90 * DAY_S


def thin(db: Connection, now_s: int, age: Age, most: int) -> int:
    """Thin at most so many positions inside the caller's transaction; answers how many rows went."""
    until_s = (now_s - min(age.full_s, age.keep_s)) // HOUR_S * HOUR_S
    due = select(POSITIONS.c.id, POSITIONS.c.thinned_s).where(POSITIONS.c.thinned_s <= until_s - TOGETHER_S)
    gone = 0
    for position, since_s in db.execute(due.order_by(POSITIONS.c.thinned_s, POSITIONS.c.id).limit(most)).all():
        mine = ROWS.c.position == position
        query = select(ROWS.c.at_s, ROWS.c.block, ROWS.c.num, ROWS.c.den, ROWS.c.reason)
        rows = db.execute(
            query.where(mine & (ROWS.c.at_s >= since_s) & (ROWS.c.at_s < until_s)).order_by(ROWS.c.at_s, ROWS.c.block)
        ).all()
        extra = [{"the_at": row.at_s, "the_block": row.block} for row in _not_the_worst(rows)]
        if extra:
            one = mine & (ROWS.c.at_s == bindparam("the_at")) & (ROWS.c.block == bindparam("the_block"))
            db.execute(delete(ROWS).where(one), extra)
        gone += len(extra) + db.execute(delete(ROWS).where(mine & (ROWS.c.at_s < now_s - age.keep_s))).rowcount
        db.execute(update(POSITIONS).where(POSITIONS.c.id == position).values(thinned_s=until_s))
    _drop_blocks(db, now_s - age.keep_s - DAY_S)
    return gone


def _not_the_worst(rows: Sequence[Any]) -> Iterator[Any]:
    """Of each hour all but the lowest health, and all but the first unknown: that it was unknown hides no danger."""
    for _, hour in groupby(rows, lambda row: row.at_s // HOUR_S):
        worst = unknown = None
        for row in hour:
            verdict = verdict_of(row)
            if isinstance(verdict, Unknown):
                if unknown is not None:
                    yield row
                else:
                    unknown = row
            elif worst is None:
                worst = (verdict, row)
            elif lower(verdict, worst[0]):
                yield worst[1]
                worst = (verdict, row)
            else:
                yield row


def _drop_blocks(db: Connection, before_s: int) -> None:
    """Those that no row can refer to any more. They are numbered as time goes."""
    oldest = db.execute(select(BLOCKS.c.id, BLOCKS.c.at_s).order_by(BLOCKS.c.id).limit(BLOCKS_AT_ONCE)).all()
    if old := [number for number, at_s in oldest if at_s < before_s]:
        db.execute(delete(BLOCKS).where(BLOCKS.c.id.in_(old)))
