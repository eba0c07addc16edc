"""Opens the history's database, and adds rows that may be there already: what SQLite and PostgreSQL do differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Select, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from monitor.history.rows import HistoryError

BUSY_S = 5


def file_of(url: str) -> Path | None:
    """The database's file, None where the database is a server's."""
    parsed = make_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def connect(url: str, *, write: bool) -> Engine:
    """An engine; nothing is opened yet. May raise: HistoryError, when a driver is missing."""
    file = file_of(url)
    if file is None:
        try:
            return create_engine(url, pool_size=2)
        except ModuleNotFoundError as missing:
            raise HistoryError(f"{missing.name} is missing", hint='pip install "levmon[postgres]"') from None
    if not write:
        return create_engine(f"sqlite:///file:{file.absolute()}?mode=ro&uri=true", connect_args={"timeout": BUSY_S})
    engine = create_engine(url, connect_args={"timeout": BUSY_S})

    def configure(connection: Any, _: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {pragma}").close()

    event.listen(engine, "connect", configure)
    return engine


@contextmanager
def telling() -> Iterator[None]:
    """What the database says as a HistoryError. May raise: HistoryError."""
    try:
        yield
    except DBAPIError as error:
        said = " ".join(str(error.orig).split())[:300]
        raise HistoryError(f"the history cannot be used: {said}", hint="see [history] url, and the disk") from None


def add(db: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert what is not there yet."""
    if db.dialect.name == "sqlite":
        db.execute(sqlite.insert(table).on_conflict_do_nothing(), rows)
    else:
        db.execute(postgresql.insert(table).on_conflict_do_nothing(), rows)


def number_of(db: Connection, table: Table, query: Select[int], row: Mapping[str, Any]) -> int:
    """The id of the row that `query` finds by the row's own values; inserted where it is missing."""
    found = db.execute(query, row).scalar()
    if found is None:
        add(db, table, [row])
        found = db.execute(query, row).scalar_one()
    return found
