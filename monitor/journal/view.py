"""Looking at a journal that another process may be writing: no lock, no lease, nothing is ever changed.

SQLite is opened read-only; its WAL lets a reader see the last commit while the writer goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, inspect, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from monitor.core.types import Address
from monitor.journal import engine as opening
from monitor.journal.budget import totals
from monitor.journal.codec import action_from, alert_from, record_from
from monitor.journal.migrations import HEAD
from monitor.journal.outbox import ChannelState, Wants, channel_from, unmarked
from monitor.journal.rows import Action, Alert, Hold, JournalUnfit, Record, Totals
from monitor.journal.tables import ACTIONS, ATTEMPTS, CHANNELS, HOLDS, OUTBOX, RECORDS, SIGNERS


def _names(table: Table, but: str = "") -> tuple[str, ...]:
    return tuple(column.name for column in table.columns if column.name not in but.split())


TABLES: Mapping[str, tuple[Table, tuple[str, ...]]] = {
    "actions": (ACTIONS, _names(ACTIONS, "open intent")),
    "attempts": (ATTEMPTS, _names(ATTEMPTS, "raw")),
    "decisions": (RECORDS, _names(RECORDS, "kind prev_hash")),
    "alerts": (OUTBOX, _names(OUTBOX)),
}
"""What is handed to other programs, with its columns. Signed bytes are not: whoever has them can send them."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What was told and what was not. `waiting`: by alert, who is still to be told; `pending` counts the same."""

    channels: tuple[ChannelState, ...] = ()
    alerts: tuple[Alert, ...] = ()
    waiting: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    pending: Mapping[str, int] = field(default_factory=dict)
    open: frozenset[int] = frozenset()
    """Alerts that nobody has closed yet: a channel that is added now is told of them."""


class JournalView:
    """Every method is one consistent look. A journal that does not exist yet is an empty one."""

    def __init__(self, url: str) -> None:
        """May raise: JournalUnfit, when it is no journal of this version."""
        file = opening.file_of(url)
        self._engine: Engine | None = None
        if file is not None and not file.exists():
            return
        if file is not None:
            self._engine = create_engine(f"sqlite:///file:{file.absolute()}?mode=ro&uri=true", poolclass=NullPool)
        else:
            self._engine = opening.server(url, poolclass=NullPool, isolation_level="REPEATABLE READ")
        try:
            with self._engine.connect() as db:
                if not inspect(db).has_table("meta"):  # made, and not yet written
                    self._engine = None
                    return
                if opening.schema_version(db) != HEAD:
                    raise JournalUnfit("the journal is of another version", hint="use the levmon that writes it")
        except DatabaseError as error:
            raise opening.unfit(error) from None

    @contextmanager
    def _look(self) -> Iterator[Connection | None]:
        if self._engine is None:
            yield None
            return
        try:
            with self._engine.connect() as db:
                yield db
        except DatabaseError as error:
            raise opening.unfit(error) from None

    def actions(self, *, position_id: str = "", only_open: bool = False) -> list[Action]:
        """In the order in which they were decided."""
        query = select(ACTIONS).order_by(ACTIONS.c.decision_seq)
        if position_id:
            query = query.where(ACTIONS.c.position_id == position_id)
        if only_open:
            query = query.where(ACTIONS.c.open == 1)
        with self._look() as db:
            if db is None:
                return []
            found = []
            for row in db.execute(query).mappings().all():
                attempts = select(ATTEMPTS).where(ATTEMPTS.c.action_id == row["id"]).order_by(ATTEMPTS.c.id)
                found.append(action_from(row, db.execute(attempts).mappings().all()))
            return found

    def records(self, subject: str = "") -> list[Record]:
        """All that happened, or what happened to one action or scope, oldest first."""
        query = select(RECORDS).order_by(RECORDS.c.seq)
        if subject:
            query = query.where(RECORDS.c.subject == subject)
        with self._look() as db:
            return [] if db is None else [record_from(row) for row in db.execute(query).mappings()]

    def everything(self, table: str) -> Iterator[dict[str, Any]]:
        """Every row of a table of TABLES, as it is in the database, oldest first."""
        whole, columns = TABLES[table]
        query = select(*(whole.c[name] for name in columns)).order_by(*whole.primary_key.columns)
        if table == "decisions":
            query = query.where(RECORDS.c.kind == "decision")
        if table == "actions":
            query = query.order_by(None).order_by(ACTIONS.c.decision_seq)
        with self._look() as db:
            if db is not None:
                for row in db.execution_options(yield_per=1000).execute(query).mappings():
                    yield dict(row)

    def holds(self) -> tuple[Hold, ...]:
        with self._look() as db:
            if db is None:
                return ()
            return tuple(Hold(row["scope"], row["reason"]) for row in db.execute(select(HOLDS)).mappings())

    def alerts(self, everybody: Sequence[Wants], last: int) -> Standing:
        """How channels fare, and the newest alerts, oldest first."""
        newest = select(OUTBOX).order_by(OUTBOX.c.id.desc()).limit(last)
        with self._look() as db:
            if db is None:
                return Standing()
            rows = db.execute(newest).mappings().all()[::-1]
            known = {row["name"]: channel_from(row) for row in db.execute(select(CHANNELS)).mappings()}
            waiting: dict[int, tuple[str, ...]] = {}
            pending: dict[str, int] = {}
            for who in everybody:
                ids = set(db.execute(unmarked(who)).scalars())
                pending[who.name] = len(ids)
                waiting |= {one: (*waiting.get(one, ()), who.name) for one in ids}
            channels = tuple(known.get(who.name, ChannelState(who.name)) for who in everybody)
            still = frozenset(row["id"] for row in rows if row["delivered_s"] is None)
            return Standing(channels, tuple(alert_from(row) for row in rows), waiting, pending, still)

    def next_nonce(self, chain_id: int, address: Address) -> int | None:
        """None for a key that was never adopted."""
        where = (SIGNERS.c.chain_id == chain_id) & (SIGNERS.c.address == address)
        with self._look() as db:
            return None if db is None else db.execute(select(SIGNERS.c.next_nonce).where(where)).scalar()

    def totals(self, chain_id: int, signer: Address, asset: Address, position_id: str, at_s: int) -> Totals:
        """What counts against the limits now: reserved, or spent in the 24 hours before `at_s` of chain time."""
        with self._look() as db:
            return Totals() if db is None else totals(db, chain_id, signer, asset, position_id, at_s)
