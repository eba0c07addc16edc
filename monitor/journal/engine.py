"""Opens the database and refuses what is not durable, not whole, or not of this version.

SQLite gets WAL and synchronous=FULL, both read back, and every transaction starts with BEGIN IMMEDIATE so that what is
read in it cannot change before it commits. PostgreSQL gets the same promise from SERIALIZABLE. Migrations run in one
transaction: killed half way, nothing has happened.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, DBAPIError
from sqlalchemy.pool import StaticPool

from monitor.journal import migrations
from monitor.journal.defences import ALL, Defences
from monitor.journal.migrations import HEAD, VERSIONS
from monitor.journal.rows import JournalUnfit, LeaseHeld
from monitor.journal.tables import META, VERSION

BUSY_MS = 2000
CONNECT_S = 3
LOCK = 0x6C65766D6F6E
"""Of PostgreSQL's advisory locks the one that whoever writes a journal holds: "levmon"."""
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_CONFLICTS = frozenset({"40001", "40P01", "55P03"})
"""serialization failure, deadlock, lock not available"""


def connect(
    url: str,
    *,
    busy_ms: int = BUSY_MS,
    storage: type[sqlite3.Connection] = sqlite3.Connection,
    defences: Defences = ALL,
) -> Engine:
    """An engine with one connection. Touches nothing yet. `storage` makes SQLite's connections: a seam for faults."""
    if make_url(url).get_backend_name() != "sqlite":
        waits = f"-c lock_timeout={busy_ms} -c synchronous_commit=on"
        return server(url, waits, isolation_level="SERIALIZABLE", pool_size=1, max_overflow=0)
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


def server(url: str, options: str = "", **more: Any) -> Engine:
    """An engine for PostgreSQL. May raise: JournalUnfit, when its driver is not installed."""
    try:
        return create_engine(url, connect_args={"connect_timeout": CONNECT_S, "options": options}, **more)
    except ModuleNotFoundError as missing:
        raise JournalUnfit(f"{missing.name} is missing", hint='pip install "levmon[postgres]"') from None


def hold_alone(connection: Connection) -> None:
    """On a server the lock of the session stands for the file's. Waits as for any lock: a server needs a moment to

    notice that a process was killed. May raise: LeaseHeld, DBAPIError.
    """
    if connection.dialect.name == "sqlite":
        return
    try:
        with connection.begin():
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({LOCK})")
    except DBAPIError as error:
        if is_busy(error):
            hint = "stop it first, or use its output"
            raise LeaseHeld("another levmon works with this journal", hint=hint) from None
        raise


def is_busy(error: DBAPIError) -> bool:
    """Whether another transaction was in the way, and nothing of this one has happened."""
    if getattr(error.orig, "sqlite_errorcode", None) in _BUSY:
        return True
    return getattr(error.orig, "sqlstate", None) in _CONFLICTS


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
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            found = connection.exec_driver_sql(f"SHOW {setting}").scalar()
            if found == "off":
                raise JournalUnfit(
                    f"the journal's server has {setting} off", hint="switch it on: commits could be lost"
                )
        return
    for pragma, wanted in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
        found = connection.exec_driver_sql(f"PRAGMA {pragma}").scalar()
        if found != wanted:
            raise JournalUnfit(f"the journal's {pragma} is {found}, not {wanted}", hint="put it on a local disk")
    for check in ("integrity_check(1)", "foreign_key_check"):
        row = connection.exec_driver_sql(f"PRAGMA {check}").first()
        if row is not None and row[0] != "ok":
            raise JournalUnfit(f"the journal is damaged: {row[0]}", hint="restore a copy, then reconcile the keys")


def migrate(connection: Connection, versions: Sequence[Path] = VERSIONS, defences: Defences = ALL) -> None:
    """Bring the schema to the newest version, inside the caller's transaction. May raise: JournalUnfit."""
    found = schema_version(connection)
    told = bool(found) and inspect(connection).has_table(VERSION.name)
    if told and found == HEAD and versions == VERSIONS:
        return
    from alembic.util.exc import CommandError

    try:
        migrations.upgrade(connection, versions, stamp="" if told else found)
    except CommandError:  # the journal's revision is none of these
        if defences.verify:
            raise JournalUnfit(
                f"the journal has schema {found}; this levmon knows up to {HEAD}",
                hint="use the levmon that wrote it, or a newer one",
            ) from None
    connection.execute(META.delete().where(META.c.name == "schema_version"))  # an older levmon refuses it from now on


def schema_version(connection: Connection) -> str:
    """Its revision, "" for an empty database. May raise: JournalUnfit, when it is some other program's."""
    tables = {name for name in inspect(connection).get_table_names() if not name.startswith("history_")}
    if not tables:
        return ""
    if META.name not in tables:
        raise JournalUnfit("the database is not a journal of levmon", hint="give the journal a file of its own")
    if VERSION.name in tables:
        found = connection.execute(select(VERSION.c.version_num)).scalar()
    else:  # from before alembic
        found = connection.execute(select(META.c.value).where(META.c.name == "schema_version")).scalar()
    if found is None or not found.isdecimal():
        raise JournalUnfit("the journal's schema version is unreadable")
    return str(found)


def unfit(error: DatabaseError) -> JournalUnfit:
    """What SQLite says of a file that it cannot read at all."""
    return JournalUnfit(f"the journal does not open: {error.orig}", hint="restore a copy, then reconcile the keys")
