"""What is to be told, to whom it was told, and what of it has become untrue: the outbox's rows beside the journal's.

An alert is committed together with the record of what it is about. A message is committed before it is sent, with the
alerts in it, so that after a crash the same message goes out again under the same key. Which channels want what is
handed in; nothing here sends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    RowMapping,
    and_,
    exists,
    false,
    func,
    or_,
    select,
    true,
    update,
)

from monitor.core.actions import ActionState
from monitor.core.types import BlockRef, Level
from monitor.journal.codec import alert_from, canonical, resting
from monitor.journal.rows import Alert, Severity
from monitor.journal.store import Journal
from monitor.journal.tables import CHANNELS, DELIVERIES, LEVELS, MESSAGES, OUTBOX

T = TypeVar("T")

PROVISIONAL, FINAL, WITHDRAWN = "provisional", "final", "withdrawn"
OUTCOME = "outcome"
FRESH_S = 24 * 3600
"""A channel that is new is told what nobody was told and is no older than this."""
MANY = 20_000
"""More alerts than this are not taken into one message."""
_CHUNK = 500
"""So many ids in one statement: SQLite has a limit."""

RANK = {Severity.INFO: 0, Severity.WARN: 1, Severity.CRITICAL: 2}


@dataclass(frozen=True, slots=True)
class Note:
    """Something to tell. `block`: what it rests on, None where no reorganisation can change it.

    `key`: what is told once only; "" for what may happen again.
    """

    kind: str
    subject: str
    severity: Severity
    body: str
    key: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    block: BlockRef | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """The level of a position that was told last, its health in words, and since when by the machine's clock."""

    position_id: str
    level: Level
    health: str = ""
    since_s: int = 0
    reminded: bool = False


@dataclass(frozen=True, slots=True)
class Wants:
    """Which alerts a channel is told. `last_resort`: also those that are escalated."""

    name: str
    least: Severity = Severity.INFO
    kinds: AbstractSet[str] = frozenset()
    only_final: bool = False
    last_resort: bool = False


@dataclass(frozen=True, slots=True)
class ChannelState:
    """How a channel fares; all times are the machine's."""

    name: str
    since_id: int = 0
    failures: int = 0
    failing_since_s: int | None = None
    retry_s: int = 0
    error: str = ""
    told: bool = False
    delivered_s: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """Alerts that are sent to one channel in one piece, oldest first."""

    key: str
    channel: str
    alerts: tuple[Alert, ...]


class Outbox:
    """One journal's alerts. Every method may raise: JournalError."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    # -- what happened -------------------------------------------------------------------------------------------

    def note(self, notes: Sequence[Note], at_s: int, levels: Sequence[Told] = ()) -> None:
        """Records, alerts and the levels that they tell, in one commit. A key that is known already is passed over."""
        if not notes and not levels:
            return
        with self.journal.commit("note") as db:
            known = _known(db, [note.key for note in notes if note.key])
            fresh = [note for note in notes if not note.key or note.key not in known]
            entries = [(note.kind, note.subject, {**note.detail, "told": note.body}) for note in fresh]
            records = self.journal.append(db, at_s, entries)
            if fresh:
                rows = zip(fresh, records, strict=True)
                db.execute(OUTBOX.insert(), [_row(note, record, at_s) for note, record in rows])
            _put_levels(db, levels)

    def levels(self) -> dict[str, Told]:
        """What was told last, by position; a position that is not here is ok."""
        with self.journal.look() as db:
            rows = db.execute(select(LEVELS)).mappings().all()
        return {
            row["position_id"]: Told(
                row["position_id"], Level(row["level"]), row["health"], row["since_s"], bool(row["reminded"])
            )
            for row in rows
        }

    # -- what has become untrue, or final ------------------------------------------------------------------------

    def provisional(self, chain_id: int) -> list[tuple[int, str]]:
        """Numbers and hashes of the blocks on which alerts rest that may still change."""
        query = (
            select(OUTBOX.c.block_number, OUTBOX.c.block_hash)
            .where(_provisional(chain_id))
            .distinct()
            .order_by(OUTBOX.c.block_number)
        )
        with self.journal.look() as db:
            return [(row.block_number, row.block_hash) for row in db.execute(query)]

    def reconcile(
        self, chain_id: int, gone: Sequence[str], final: Sequence[str], at_s: int, now_s: int = 0
    ) -> dict[str, Told]:
        """Withdraw what rests on blocks that are `gone` and correct it, and let stand what rests on `final` ones.

        In one commit. Answers the levels that count as told from now on, of the positions concerned.
        """
        if not gone and not final:
            return {}
        restored: dict[str, Told] = {}
        with self.journal.commit("reconcile") as db:
            for block_hash in final:
                here = _provisional(chain_id) & (OUTBOX.c.block_hash == block_hash)
                db.execute(update(OUTBOX).where(here).values(standing=FINAL))
            query = select(OUTBOX).where(_provisional(chain_id) & OUTBOX.c.block_hash.in_(gone)).order_by(OUTBOX.c.id)
            untrue = [alert_from(row) for row in db.execute(query).mappings()]
            for chunk in _chunks([alert.id for alert in untrue]):
                db.execute(update(OUTBOX).where(OUTBOX.c.id.in_(chunk)).values(standing=WITHDRAWN))
            wrong = [alert for alert in untrue if _is_corrected(alert)]
            entries = [("correction", alert.subject, {"corrects": alert.dedupe_key}) for alert in wrong]
            records = zip(wrong, self.journal.append(db, at_s, entries), strict=True)
            rows = [{**_row(_correction(alert), record, at_s), "corrects": alert.id} for alert, record in records]
            if rows:
                db.execute(OUTBOX.insert(), rows)
            for alert in wrong:
                detail = json.loads(alert.detail)
                if "was" in detail and alert.subject not in restored:
                    was = Told(alert.subject, Level(detail["was"]), detail.get("before") or "", now_s)
                    restored[alert.subject] = was
            _put_levels(db, list(restored.values()))
        return restored

    # -- who is told ---------------------------------------------------------------------------------------------

    def enroll(self, names: Iterable[str], now_s: int) -> None:
        """Take in channels that are new: they are told what nobody was told in the last day, and what comes."""
        with self.journal.commit("enroll") as db:
            known = set(db.execute(select(CHANNELS.c.name)).scalars())
            old = OUTBOX.c.delivered_s.is_not(None) | (OUTBOX.c.at_s < now_s - FRESH_S)
            since = db.execute(select(func.max(OUTBOX.c.id)).where(old)).scalar() or 0
            for name in names:
                if name not in known:
                    db.execute(
                        CHANNELS.insert().values(name=name, since_id=since, failures=0, retry_s=0, error="", told=0)
                    )

    def channels(self) -> dict[str, ChannelState]:
        with self.journal.look() as db:
            return {row["name"]: channel_from(row) for row in db.execute(select(CHANNELS)).mappings()}

    def see(self, now_s: int) -> None:
        """From now on the wait of alerts that are new counts."""
        unseen = OUTBOX.c.delivered_s.is_(None) & OUTBOX.c.seen_s.is_(None)
        with self.journal.look() as db:
            if db.execute(select(OUTBOX.c.id).where(unseen).limit(1)).first() is None:
                return
        with self.journal.commit() as db:
            db.execute(update(OUTBOX).where(unseen).values(seen_s=now_s))

    def wanted(self, who: Wants, limit: int = MANY) -> list[Alert]:
        """What the channel is to be told and is in no message for it, oldest first."""
        with self.journal.look() as db:
            query = select(OUTBOX).where(_wanted(who)).order_by(OUTBOX.c.id).limit(limit)
            return [alert_from(row) for row in db.execute(query).mappings()]

    def compose(self, key: str, channel: str, alert_ids: Sequence[int], now_s: int) -> None:
        """Put these alerts into one message, before it is sent."""
        with self.journal.commit("compose") as db:
            db.execute(MESSAGES.insert().values(key=key, channel=channel, made_s=now_s))
            rows = [{"outbox_id": one, "channel": channel, "message_key": key} for one in alert_ids]
            db.execute(DELIVERIES.insert(), rows)

    def unsent(self, channel: str) -> Message | None:
        """The channel's oldest message that is not known to have arrived."""
        query = (
            select(MESSAGES.c.key)
            .where((MESSAGES.c.channel == channel) & MESSAGES.c.done_s.is_(None))
            .order_by(MESSAGES.c.made_s)
            .limit(1)
        )
        with self.journal.look() as db:
            key = db.execute(query).scalar()
            if key is None:
                return None
            inside = select(OUTBOX).join(DELIVERIES, DELIVERIES.c.outbox_id == OUTBOX.c.id)
            inside = inside.where(DELIVERIES.c.message_key == key).order_by(OUTBOX.c.id)
            return Message(key, channel, tuple(alert_from(row) for row in db.execute(inside).mappings()))

    def arrived(self, message: Message, now_s: int) -> None:
        """The channel has taken it."""
        with self.journal.commit("arrived") as db:
            db.execute(update(MESSAGES).where(MESSAGES.c.key == message.key).values(done_s=now_s))
            well = {"failures": 0, "failing_since_s": None, "retry_s": 0, "error": "", "told": 0}
            db.execute(update(CHANNELS).where(CHANNELS.c.name == message.channel).values(**well, delivered_s=now_s))

    def failed(self, state: ChannelState) -> None:
        """Write down that a try failed, and when the next is due."""
        values = {
            "failures": state.failures,
            "failing_since_s": state.failing_since_s,
            "retry_s": state.retry_s,
            "error": state.error,
            "told": int(state.told),
        }
        with self.journal.commit("failed") as db:
            db.execute(update(CHANNELS).where(CHANNELS.c.name == state.name).values(**values))

    def escalate(self, before_s: int) -> int:
        """Mark critical alerts that nobody has got since before that time; answers how many are new."""
        got = exists(
            select(MESSAGES.c.key)
            .join(DELIVERIES, DELIVERIES.c.message_key == MESSAGES.c.key)
            .where((DELIVERIES.c.outbox_id == OUTBOX.c.id) & MESSAGES.c.done_s.is_not(None))
        )
        late = and_(
            OUTBOX.c.delivered_s.is_(None),
            OUTBOX.c.severity == Severity.CRITICAL,
            OUTBOX.c.standing != WITHDRAWN,
            OUTBOX.c.seen_s <= before_s,
            OUTBOX.c.escalated == 0,
            ~got,
        )
        with self.journal.look() as db:
            ids = list(db.execute(select(OUTBOX.c.id).where(late)).scalars())
        if ids:
            with self.journal.commit("escalate") as db:
                for chunk in _chunks(ids):
                    db.execute(update(OUTBOX).where(OUTBOX.c.id.in_(chunk)).values(escalated=1))
        return len(ids)

    def settle(self, everybody: Sequence[Wants], now_s: int) -> int:
        """Close alerts about which nobody is left to be told; answers how many are still open."""
        with self.journal.look() as db:
            still = set(db.execute(select(OUTBOX.c.id).where(OUTBOX.c.delivered_s.is_(None))).scalars())
            if not still:
                return 0
            wanted: set[int] = set()
            for who in everybody:
                wanted |= set(db.execute(unmarked(who)).scalars())
        closed = sorted(still - wanted)
        if closed:
            with self.journal.commit("settle") as db:
                for chunk in _chunks(closed):
                    db.execute(update(OUTBOX).where(OUTBOX.c.id.in_(chunk)).values(delivered_s=now_s))
        return len(still) - len(closed)

    def oldest_s(self) -> int | None:
        """Since when the oldest open alert waits; None where nothing does."""
        with self.journal.look() as db:
            found: int | None = db.execute(
                select(func.min(OUTBOX.c.seen_s)).where(OUTBOX.c.delivered_s.is_(None))
            ).scalar()
            return found


def _is_corrected(alert: Alert) -> bool:
    """Whether a correction is told. Of a transaction that left the chain the action's next state tells more."""
    return alert.kind not in ("action", OUTCOME) or json.loads(alert.detail).get("state") == ActionState.PLANNED


def _wanted(who: Wants, *, later: bool = False) -> ColumnElement[bool]:
    """Open alerts for the channel that are in no message for it; `later`: also those that must become final first."""
    in_message = exists(
        select(DELIVERIES.c.outbox_id).where(
            (DELIVERIES.c.outbox_id == OUTBOX.c.id) & (DELIVERIES.c.channel == who.name)
        )
    )
    told = DELIVERIES.alias("told")
    knows_wrong = exists(
        select(told.c.outbox_id).where((told.c.outbox_id == OUTBOX.c.corrects) & (told.c.channel == who.name))
    )
    loud = [severity for severity, rank in RANK.items() if rank >= RANK[who.least]]
    # who was warned of a rescue is told how it ended, however well
    ended = OUTBOX.c.kind == OUTCOME if RANK[who.least] <= RANK[Severity.WARN] else false()
    asked = and_(
        OUTBOX.c.kind != "correction",
        OUTBOX.c.kind.in_(who.kinds),
        OUTBOX.c.severity.in_(loud) | ended,
        OUTBOX.c.standing == FINAL if who.only_final and not later else true(),
    )
    return and_(
        OUTBOX.c.delivered_s.is_(None),
        OUTBOX.c.standing != WITHDRAWN,
        or_(asked, OUTBOX.c.escalated == 1 if who.last_resort else false(), knows_wrong),
        OUTBOX.c.id
        > select(func.coalesce(func.max(CHANNELS.c.since_id), 0)).where(CHANNELS.c.name == who.name).scalar_subquery(),
        OUTBOX.c.subject != f"channel:{who.name}",
        ~in_message,
    )


def unmarked(who: Wants) -> CompoundSelect[Any]:
    """The query for the ids of all alerts that the channel is not known to have: in no message, or in one under way."""
    under_way = select(DELIVERIES.c.outbox_id).join(MESSAGES, MESSAGES.c.key == DELIVERIES.c.message_key)
    under_way = under_way.where((MESSAGES.c.channel == who.name) & MESSAGES.c.done_s.is_(None))
    return select(OUTBOX.c.id).where(_wanted(who, later=True)).union(under_way)


def _provisional(chain_id: int) -> ColumnElement[bool]:
    return (OUTBOX.c.chain_id == chain_id) & (OUTBOX.c.standing == PROVISIONAL)


def _known(db: Connection, keys: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for chunk in _chunks(keys):
        found |= set(db.execute(select(OUTBOX.c.dedupe_key).where(OUTBOX.c.dedupe_key.in_(chunk))).scalars())
    return found


def _row(note: Note, record: tuple[int, str], at_s: int) -> dict[str, Any]:
    block, (seq, record_hash) = note.block, record
    rests = {"chain_id": None, "block_number": None, "block_hash": None, "standing": FINAL}
    if block is not None:
        rests = resting(block.chain_id, block.number, block.hash)
    return {
        "record_seq": seq,
        "dedupe_key": note.key or f"{note.kind}/{record_hash[:24]}",
        "severity": note.severity,
        "subject": note.subject,
        "body": note.body,
        "at_s": at_s,
        "kind": note.kind,
        "detail": canonical(note.detail),
        **rests,
    }


def _correction(alert: Alert) -> Note:
    body = f"block {alert.block_number} has left the chain, so this no longer holds: {alert.body}"
    detail = json.loads(alert.detail)
    return Note("correction", alert.subject, alert.severity, body, f"{alert.dedupe_key}/gone", detail)


def _put_levels(db: Connection, levels: Sequence[Told]) -> None:
    newest = {one.position_id: one for one in levels}
    for chunk in _chunks(list(newest)):
        db.execute(LEVELS.delete().where(LEVELS.c.position_id.in_(chunk)))
    rows = [
        {
            "position_id": one.position_id,
            "level": one.level,
            "health": one.health,
            "since_s": one.since_s,
            "reminded": int(one.reminded),
        }
        for one in newest.values()
        if one.level is not Level.OK
    ]
    if rows:
        db.execute(LEVELS.insert(), rows)


def channel_from(row: RowMapping) -> ChannelState:
    return ChannelState(
        **{**{name: row[name] for name in ChannelState.__dataclass_fields__}, "told": bool(row["told"])}
    )


def _chunks(items: Sequence[T]) -> Iterable[Sequence[T]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
