"""The history's database: looks are kept, blocks that left the chain are forgotten, series are read.

Any number of processes may write: a row that is there already is passed over. Durable enough: SQLite's WAL is not
forced to disk with each commit, so that a power cut may cost the last moments, which no decision ever rests on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, delete, inspect, select, update

from monitor.core.text import clean
from monitor.core.types import LiquidationPrice
from monitor.history.codec import columns, row_from, tracked_from
from monitor.history.engine import add, connect, file_of, number_of, telling
from monitor.history.rows import HistoryError, HistoryRow, Tracked, look, thinned, worth_keeping
from monitor.history.statements import ASSET_ID, BLOCK_ID, LAST, POSITION_ID, SERIES, STANDING
from monitor.history.tables import ASSETS, BLOCKS, METADATA, POSITIONS, ROWS
from monitor.history.thinning import Age, thin
from monitor.report import Report


class HistoryView:
    """Looking at a history that another process may be writing. One that does not exist yet is empty."""

    def __init__(self, url: str) -> None:
        """May raise: HistoryError."""
        file = file_of(url)
        self._engine = connect(url, write=False) if file is None or file.exists() else None
        if self._engine is not None:
            with telling():
                if not inspect(self._engine).has_table(ROWS.name):  # made, and not yet written
                    self.close()
                    self._engine = None

    def close(self) -> None:
        """Idempotent."""
        if self._engine is not None:
            self._engine.dispose()

    @contextmanager
    def look(self) -> Iterator[Connection | None]:
        """One look, None where there is nothing yet. May raise: HistoryError."""
        if self._engine is None:
            yield None
            return
        with telling(), self._engine.connect() as db:
            yield db

    def positions(self) -> list[Tracked]:
        """All that have a history, by id."""
        with self.look() as db:
            if db is None:
                return []
            query = select(POSITIONS).order_by(POSITIONS.c.position_id)
            return [tracked_from(row) for row in db.execute(query).mappings()]

    def rows(self, position_id: str, since_s: int, until_s: int, most: int = 500) -> list[HistoryRow]:
        """What was kept between two times (both included), oldest first, and before it the row that held at `since_s`.

        At most about `most` rows: of each stretch of time the worst and the last, so that no moment of danger and no
        unknown is lost in drawing. May raise: HistoryError.
        """
        with self.look() as db:
            found = None if db is None else db.execute(POSITION_ID, {"position_id": position_id}).scalar()
            if db is None or found is None:
                return []
            held = db.execute(STANDING, {"the_position": found, "since_s": since_s}).all()
            asked = {"the_position": found, "since_s": since_s, "until_s": until_s}
            rows = [row_from(row) for row in (*held, *db.execute(SERIES, asked))]
        return thinned(rows, since_s, until_s, most)

    def newest_blocks(self, chain_id: int, most: int = 200) -> list[tuple[int, str]]:
        """Numbers and hashes of the blocks that rows rest on, newest first. May raise: HistoryError."""
        query = select(BLOCKS.c.number, BLOCKS.c.hash).where(BLOCKS.c.chain_id == chain_id)
        with self.look() as db:
            if db is None:
                return []
            rows = db.execute(query.order_by(BLOCKS.c.number.desc()).limit(most))
            return [(number, "0x" + bytes(block_hash).hex()) for number, block_hash in rows]


class History(HistoryView):
    """Open for writing, from one thread."""

    def __init__(self, url: str) -> None:
        """Makes the tables where they are missing. May raise: HistoryError."""
        self._engine = connect(url, write=True)
        self._ids: dict[str, int] = {}
        self._assets: dict[tuple[str, str, int, str], int] = {}
        self._units: set[int] = set()
        self._last: dict[str, HistoryRow] = {}
        self._looked: dict[str, int] = {}
        with telling(), self._engine.begin() as db:
            METADATA.create_all(db)

    def keep(self, reports: Sequence[Report], now_s: int) -> int:
        """Keep what is worth it, in one commit; answers how many rows. May raise: HistoryError."""
        self._recall([report.id for report in reports if report.id not in self._last])
        fresh: list[tuple[Report, HistoryRow]] = []
        for report in reports:
            new = look(report, now_s, self._looked.get(report.id))
            if worth_keeping(self._last.get(report.id), new):
                fresh.append((report, new))
        if fresh:
            with self._writing() as db:
                add(db, ROWS, self._columns(db, fresh))
        for report, row in fresh:
            self._last[report.id] = row
        for report in reports:
            if report.block is not None:
                self._looked[report.id] = report.block.number
        return len(fresh)

    def forget(self, chain_id: int, gone: Sequence[str]) -> int:
        """Drop what was kept of blocks that left the chain; answers how many rows. May raise: HistoryError."""
        dropped = 0
        here = select(POSITIONS.c.id).where(POSITIONS.c.chain_id == chain_id)
        hashes = [bytes.fromhex(one.removeprefix("0x")) for one in gone]
        with self._writing() as db:
            query = select(BLOCKS).where((BLOCKS.c.chain_id == chain_id) & BLOCKS.c.hash.in_(hashes))
            for block in db.execute(query).all():
                rows = ROWS.c.position.in_(here) & (ROWS.c.at_s == block.at_s) & (ROWS.c.block == block.id)
                dropped += db.execute(delete(ROWS).where(rows)).rowcount
                db.execute(delete(BLOCKS).where(BLOCKS.c.id == block.id))
        self._last.clear()  # what was kept last may be gone
        self._looked.clear()
        return dropped

    def tidy(self, now_s: int, age: Age, most: int = 4) -> int:
        """Thin so many positions that are due; answers how many rows went. May raise: HistoryError."""
        with self._writing() as db:
            return thin(db, now_s, age, most)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One commit. Where it fails, what is remembered of the database is no longer relied upon."""
        if self._engine is None:
            raise AssertionError("a history that is written is open")
        try:
            with telling(), self._engine.begin() as db:
                yield db
        except HistoryError:
            for known in (self._ids, self._assets, self._units, self._last, self._looked):
                known.clear()
            raise

    def _recall(self, position_ids: Sequence[str]) -> None:
        """What was kept last by an earlier run, or by another process."""
        if not position_ids:
            return
        with self.look() as db:
            for position_id in position_ids if db is not None else ():
                found = db.execute(LAST, {"position_id": position_id}).first() if db is not None else None
                if found is not None:
                    self._last[position_id] = row_from(found)

    def _columns(self, db: Connection, fresh: Sequence[tuple[Report, HistoryRow]]) -> list[dict[str, Any]]:
        ids = self._numbers(db, [report for report, _ in fresh])
        blocks: dict[tuple[int, str], int] = {}
        rows = []
        for report, row in fresh:
            block = 0
            if row.block_hash is not None and row.block_number is not None:
                key = (report.subject.ref.chain_id, row.block_hash)
                if key not in blocks:
                    blocks[key] = number_of(db, BLOCKS, BLOCK_ID, _block(key[0], row))
                block = blocks[key]
            asset = self._asset(db, row.nearest) if row.nearest is not None else None
            rows.append(columns(row, ids[report.id], block, asset))
        return rows

    def _numbers(self, db: Connection, reports: Sequence[Report]) -> Mapping[str, int]:
        for report in reports:
            subject, unit = report.subject, report.health.unit if report.health is not None else None
            if report.id not in self._ids:
                about = {"market": clean(subject.market, 100), "name": clean(subject.name, 100)}
                row = {"position_id": report.id, "chain_id": subject.ref.chain_id, "owner": subject.owner, **about}
                self._ids[report.id] = number_of(db, POSITIONS, POSITION_ID, row)
                db.execute(update(POSITIONS).where(POSITIONS.c.position_id == report.id).values(**about))
            number = self._ids[report.id]
            if unit is not None and number not in self._units:
                counted = {"unit": clean(unit.symbol), "unit_decimals": unit.decimals}
                db.execute(update(POSITIONS).where(POSITIONS.c.id == number).values(**counted))
                self._units.add(number)
        return self._ids

    def _asset(self, db: Connection, near: LiquidationPrice) -> int:
        key = (near.asset, clean(near.symbol), near.decimals, near.direction)
        if key not in self._assets:
            names = ("asset", "symbol", "decimals", "direction")
            self._assets[key] = number_of(db, ASSETS, ASSET_ID, dict(zip(names, key, strict=True)))
        return self._assets[key]


def _block(chain_id: int, row: HistoryRow) -> dict[str, Any]:
    block_hash = bytes.fromhex((row.block_hash or "").removeprefix("0x"))
    return {"chain_id": chain_id, "number": row.block_number, "hash": block_hash, "at_s": row.at_s}
