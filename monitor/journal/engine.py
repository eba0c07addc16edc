"""Opens the database and refuses what is not durable, not whole, or not of this version.

SQLite gets WAL and synchronous=FULL, both read back, and every transaction starts with BEGIN IMMEDIATE so that what is
read in it cannot change before it commits. PostgreSQL gets the same promise from SERIALIZABLE. Migrations run in one
transaction: killed half way, nothing has happened.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import StaticPool
from sqlalchemy.schema import CreateColumn

from monitor.journal.defences import ALL, Defences
from monitor.journal.rows import JournalUnfit
from monitor.journal.tables import META, METADATA, OUTBOX, SCHEMA_VERSION

Migration = Callable[[Connection], None]


def _alerts_by_channel(connection: Connection) -> None:
    """Schema 2: alerts say what they rest on, and to whom they were delivered. A new journal has it all already."""
    known = {column["name"] for column in inspect(connection).get_columns(OUTBOX.name)}
    for column in OUTBOX.columns:
        if column.name not in known:
            made = CreateColumn(column).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {OUTBOX.name} ADD COLUMN {made}")
    for index in OUTBOX.indexes:
        index.create(connection, checkfirst=True)
    METADATA.create_all(connection)


MIGRATIONS: tuple[Migration, ...] = (METADATA.create_all, _alerts_by_channel)
"""`MIGRATIONS[n]` leads from schema version n to n + 1."""

BUSY_MS = 2000


def connect(
    url: str,
    *,
    busy_ms: int = BUSY_MS,
    storage: type[sqlite3.Connection] = sqlite3.Connection,
    defences: Defences = ALL,
) -> Engine:
    """An engine with one connection. Touches nothing yet. `storage` makes SQLite's connections: a seam for faults."""
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, isolation_level="SERIALIZABLE", pool_size=1, max_overflow=0)
    engine = create_engine(url, poolclass=StaticPool, connect_args={"timeout": busy_ms / 1000, "factory": storage})

    def configure(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None  # the driver must not open transactions of its own kind
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {pragma}").close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", configure)
    if defences.one_commit:
        event.listen(engine, "begin", begin)
    return engine


def file_of(url: str) -> Path | None:
    """The database's file, None where the database is a server's."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    if not parsed.database or parsed.database == ":memory:":
        raise JournalUnfit("a journal in memory is none", hint="give it a file: sqlite:///levmon.db")
    return Path(parsed.database)


def verify_durable(connection: Connection) -> None:
    """May raise: JournalUnfit, when a commit could be lost or the file is damaged."""
    if connection.dialect.name != "sqlite":
        return
    for pragma, wanted in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
        found = connection.exec_driver_sql(f"PRAGMA {pragma}").scalar()
        if found != wanted:
            raise JournalUnfit(f"the journal's {pragma} is {found}, not {wanted}", hint="put it on a local disk")
    for check in ("integrity_check(1)", "foreign_key_check"):
        row = connection.exec_driver_sql(f"PRAGMA {check}").first()
        if row is not None and row[0] != "ok":
            raise JournalUnfit(f"the journal is damaged: {row[0]}", hint="restore a copy, then reconcile the keys")


def migrate(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS, defences: Defences = ALL) -> None:
    """Bring the schema to the newest version, inside the caller's transaction. May raise: JournalUnfit."""
    version = schema_version(connection)
    if version > len(migrations) and defences.verify:
        raise JournalUnfit(
            f"the journal has schema {version}; this levmon knows up to {len(migrations)}",
            hint="use the levmon that wrote it, or a newer one",
        )
    if version == len(migrations):
        return
    for step in migrations[version:]:
        step(connection)
    connection.execute(META.delete().where(META.c.name == "schema_version"))
    connection.execute(META.insert().values(name="schema_version", value=str(len(migrations))))


def schema_version(connection: Connection) -> int:
    """0 for an empty database. May raise: JournalUnfit, when it is some other program's."""
    look = inspect(connection)
    if not look.has_table("meta"):
        if not look.get_table_names():
            return 0
        raise JournalUnfit("the database is not a journal of levmon", hint="give the journal a file of its own")
    found = connection.execute(select(META.c.value).where(META.c.name == "schema_version")).scalar()
    if found is None or not found.isdecimal():
        raise JournalUnfit("the journal's schema version is unreadable")
    return int(found)


def unfit(error: DatabaseError) -> JournalUnfit:
    """What SQLite says of a file that it cannot read at all."""
    return JournalUnfit(f"the journal does not open: {error.orig}", hint="restore a copy, then reconcile the keys")


if len(MIGRATIONS) != SCHEMA_VERSION:
    raise AssertionError("a schema version without its migration")
