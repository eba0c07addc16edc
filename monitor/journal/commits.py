"""How the journal is opened, held and written: the lock, the lease, one commit at a time, and the chain of records.

What is written is the business of the classes above. Every commit checks the lease; after one that failed everything is
refused until the journal is opened anew.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError, InterfaceError, OperationalError

from monitor.journal import engine as opening
from monitor.journal.codec import GENESIS, canonical, record_from, record_hash
from monitor.journal.defences import ALL, Defences
from monitor.journal.lock import FileLock
from monitor.journal.migrations import VERSIONS
from monitor.journal.rows import (
    JournalBroken,
    JournalBusy,
    JournalError,
    JournalUnfit,
    LeaseHeld,
    LeaseLost,
    Record,
    Severity,
)
from monitor.journal.statements import ADD_ALERT, ADD_RECORD, ALERT_KNOWN, EPOCH, LAST_RECORD
from monitor.journal.tables import LEASES, META, RECORDS

LEASE = "executor"
PROOF = "proved_s"


def _nothing(_: str) -> None:
    pass


@dataclass(slots=True)
class _Tail:
    """What is known of the newest record: how a commit whose answer was lost is told from one that never was."""

    hash: str = ""
    """the newest that is known to be committed"""
    appended: str = ""
    """the newest of the transaction that runs, or whose outcome is not known yet"""
    epoch: int = 0
    lost: bool = False

    @property
    def possible(self) -> frozenset[str]:
        return frozenset({self.hash, self.appended} - {""})

    def settle(self) -> None:
        """The transaction is committed."""
        self.hash, self.appended = self.appended or self.hash, ""

    def found(self, newest: str) -> None:
        """It is there again, and this is its newest record."""
        self.hash, self.appended = newest, ""
        self.lost = False


class Commits:
    """Open for writing. `probe` is told when a commit is about to happen and when it has (for fault tests)."""

    def __init__(
        self,
        url: str,
        *,
        now_s: int,
        holder: str = "",
        probe: Callable[[str], None] = _nothing,
        versions: Sequence[Path] = VERSIONS,
        busy_ms: int = opening.BUSY_MS,
        storage: type[sqlite3.Connection] = sqlite3.Connection,
        defences: Defences = ALL,
    ) -> None:
        """Takes the lock and the next lease epoch. `storage`: see engine.connect. May raise: JournalError."""
        file = opening.file_of(url)
        self._lock = FileLock(file.with_name(file.name + ".lock")) if file and defences.lock else None
        self._probe = probe
        self._broken = ""
        self._defences = defences
        self._engine: Engine = opening.connect(url, busy_ms=busy_ms, storage=storage, defences=defences)
        self.epoch = 0
        self._tail = _Tail()
        try:
            self._connection = self._engine.connect()
            if defences.lock:
                opening.hold_alone(self._connection)
            with self._connection.begin():
                opening.migrate(self._connection, versions, defences)
            if defences.verify:
                with self._connection.begin():
                    opening.verify_durable(self._connection)
                    self._verify_tail(self._connection)
            self._take_lease(now_s, holder or f"pid {os.getpid()}")
        except DatabaseError as error:
            self.close()
            raise opening.unfit(error) from None
        except JournalError:
            self.close()
            raise

    def close(self) -> None:
        """Idempotent. The lease stays with this holder's epoch until the next one takes it."""
        if hasattr(self, "_connection"):
            with suppress(DatabaseError):
                self._connection.close()
        self._engine.dispose()
        if self._lock is not None:
            self._lock.release()

    # -- transactions --------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self, what: str = "") -> Iterator[Connection]:
        """One commit. May raise: JournalBusy, JournalBroken, LeaseLost."""
        if self._broken and self._defences.fail_closed:
            raise JournalBroken(f"the journal failed before: {self._broken}", hint="restart levmon once it is mended")
        committing = False
        try:
            self._find_again()
            self._tail.appended = ""
            with self._connection.begin():
                if self.epoch:
                    self._check_lease()
                yield self._connection
                if what:
                    self._probe(f"before {what} commit")
                committing = True
            self._tail.settle()
            if what:
                self._probe(f"after {what} commit")
        except (OperationalError, InterfaceError) as error:
            if opening.is_busy(error):
                raise JournalBusy("another transaction was in the way; nothing was written") from None
            if error.connection_invalidated:
                self._lose(committing=committing)
                return
            self._broken = str(error.orig)
            raise JournalBroken(
                f"the journal cannot be written: {error.orig}", hint="make room or mend the disk, then restart levmon"
            ) from None
        except IntegrityError:
            raise
        except DatabaseError as error:
            self._broken = str(error.orig)
            raise JournalBroken(f"the journal is damaged: {error.orig}", hint="restore a copy") from None

    def _lose(self, *, committing: bool) -> None:
        """The connection is gone. Returns where the commit, whose answer was lost, is found to have happened.

        May raise: JournalBusy, where nothing was written, or where that cannot be known yet; JournalBroken.
        """
        self._tail.lost = True
        if not committing:
            self._tail.appended = ""
            raise JournalBusy("the connection to the journal was lost; nothing was written")
        if not self._defences.read_back:
            self._tail.settle()
            return
        written = self._tail.appended
        if not written:  # nothing rests on what leaves no record
            raise JournalBusy("the connection to the journal was lost")
        self._find_again()
        if self._tail.hash != written:
            raise JournalBusy("the connection to the journal was lost; nothing was written")

    def _find_again(self) -> None:
        """After a lost connection: the same journal, with what was committed, and nobody else's since.

        May raise: JournalBusy, while the database cannot be had; JournalBroken.
        """
        if not self._tail.lost:
            return
        try:
            with suppress(DBAPIError):
                self._connection.close()
            self._connection = self._engine.connect()
            opening.hold_alone(self._connection)
            with self._connection.begin():
                epoch = self._connection.execute(EPOCH, {"name": LEASE}).scalar()
                last = self._connection.execute(LAST_RECORD).first()
        except (DBAPIError, LeaseHeld) as error:
            raise JournalBusy(f"the journal cannot be had again yet: {type(error).__name__}") from None
        newest = last.hash if last is not None else ""
        if self._defences.read_back and epoch == self._tail.epoch and newest not in self._tail.possible:
            self._broken = "its database has lost what was committed"
            raise JournalBroken(
                f"the journal failed: {self._broken}", hint="it went back to an old copy: reconcile the keys"
            )
        self._tail.found(newest)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """One consistent look. May raise: JournalBusy, JournalBroken."""
        epoch, self.epoch = self.epoch, 0  # looking needs no lease
        try:
            with self._transaction() as db:
                yield db
        finally:
            self.epoch = epoch

    def _take_lease(self, now_s: int, holder: str) -> None:
        with self._transaction() as db:
            epoch = db.execute(EPOCH, {"name": LEASE}).scalar()
            if epoch is None:
                db.execute(LEASES.insert().values(name=LEASE, epoch=1, holder=holder))
            else:
                db.execute(update(LEASES).where(LEASES.c.name == LEASE).values(epoch=epoch + 1, holder=holder))
            self._record(db, now_s, "lease", LEASE, {"epoch": (epoch or 0) + 1, "holder": holder})
        self.epoch = self._tail.epoch = (epoch or 0) + 1

    def _check_lease(self) -> None:
        epoch = self._connection.execute(EPOCH, {"name": LEASE}).scalar()
        if epoch != self.epoch:
            raise LeaseLost(f"the lease has epoch {epoch}, this process has {self.epoch}", hint="stop this process")

    def check_lease(self) -> None:
        """May raise: LeaseLost. Asked before signing and before sending."""
        with self._transaction():
            pass

    def _record(
        self, db: Connection, at_s: int, kind: str, subject: str, body: dict[str, Any], cause: int | None = None
    ) -> int:
        """Append; answers its seq."""
        last = db.execute(LAST_RECORD).first()
        seq, prev = (last.seq + 1, last.hash) if last else (1, GENESIS)
        record = Record(seq, at_s, kind, subject, cause, canonical(body), prev)
        values = {name: getattr(record, name) for name in Record.__dataclass_fields__}
        self._tail.appended = record_hash(record)
        db.execute(ADD_RECORD, {**values, "hash": self._tail.appended})
        return seq

    def _alert(
        self, db: Connection, seq: int, at_s: int, key: str, severity: Severity, subject: str, body: str, **more: Any
    ) -> None:
        if db.execute(ALERT_KNOWN, {"dedupe_key": key}).first() is None:
            row = {"record_seq": seq, "dedupe_key": key, "severity": severity, "subject": subject, "body": body}
            db.execute(ADD_ALERT, {**row, "at_s": at_s, **more})

    # -- for the outbox beside it --------------------------------------------------------------------------------

    @contextmanager
    def commit(self, what: str = "") -> Iterator[Connection]:
        """One commit of somebody else's rows. May raise: JournalBusy, JournalBroken, LeaseLost."""
        with self._transaction(what) as db:
            yield db

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """One consistent look at somebody else's rows, also after a failed write: it changes nothing.

        May raise: JournalBusy, JournalBroken.
        """
        broken, self._broken = self._broken, ""
        try:
            with self._reading() as db:
                yield db
        finally:
            self._broken = self._broken or broken

    def prove(self, now_s: int) -> None:
        """That a commit reaches the disk just now, by a row of no meaning; one that fails counts like any other.

        May raise: JournalBusy, JournalBroken, LeaseLost.
        """
        with self._transaction() as db:
            db.execute(META.delete().where(META.c.name == PROOF))
            db.execute(META.insert().values(name=PROOF, value=str(now_s)))

    def append(
        self, db: Connection, at_s: int, entries: Sequence[tuple[str, str, dict[str, Any]]]
    ) -> list[tuple[int, str]]:
        """Many records (kind, subject, body) at once; answers seq and hash of each."""
        last = db.execute(LAST_RECORD).first()
        first, prev = (last.seq + 1, last.hash) if last else (1, GENESIS)
        rows = []
        for seq, (kind, subject, body) in enumerate(entries, first):
            record = Record(seq, at_s, kind, subject, None, canonical(body), prev)
            prev = record_hash(record)
            rows.append({**{name: getattr(record, name) for name in Record.__dataclass_fields__}, "hash": prev})
        if rows:
            self._tail.appended = prev
            db.execute(ADD_RECORD, rows)
        return [(row["seq"], row["hash"]) for row in rows]

    @staticmethod
    def _verify_tail(db: Connection, rows: int = 500) -> None:
        """The newest records are chained and unchanged (`replay.verify` looks at all). May raise: JournalUnfit."""
        newest = db.execute(select(RECORDS).order_by(RECORDS.c.seq.desc()).limit(rows)).mappings().all()
        follows: Record | None = None
        for record in map(record_from, newest):
            broken = follows is not None and (follows.prev_hash != record.hash or follows.seq != record.seq + 1)
            if broken or record_hash(record) != record.hash:
                raise JournalUnfit(f"record {record.seq} of the journal was changed", hint="restore a copy")
            follows = record
