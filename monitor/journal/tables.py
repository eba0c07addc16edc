"""The journal's tables, in SQLAlchemy Core and in SQL that SQLite and PostgreSQL both speak.

Integers of the EVM are decimal text, since no SQL integer holds 256 bits. Times, chain ids, blocks, nonces and gas are
BIGINT: PostgreSQL's INTEGER ends in 2038, and SQLite does not care. The rules that must survive any bug above
them are constraints here: one open action per position, one action per nonce, records that are only ever appended.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.types import TypeEngine


class Plain(TypeDecorator[str]):
    """Text that every database takes: PostgreSQL has no NUL, and no UTF-8 has half a surrogate."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = Text
    cache_ok: bool | None = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return value.replace("\x00", "\\u{0}").encode("utf-8", "backslashreplace").decode()


METADATA = MetaData()

VERSION = Table("journal_version", MetaData(), Column("version_num", Text, primary_key=True))
"""Alembic's own: which revision the journal has."""

META = Table(
    "meta",
    METADATA,
    Column("name", Plain, primary_key=True),
    Column("value", Plain, nullable=False),
)

RECORDS = Table(
    "records",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at_s", BigInteger, nullable=False),
    Column("kind", Plain, nullable=False),
    Column("subject", Plain, nullable=False),
    Column("cause_seq", Integer),
    Column("body", Plain, nullable=False),
    Column("prev_hash", Plain, nullable=False),
    Column("hash", Plain, nullable=False, unique=True),
)
"""Everything that happened, in order; `hash` covers the row and `prev_hash`, so that an edit shows."""

ACTIONS = Table(
    "actions",
    METADATA,
    Column("id", Plain, primary_key=True),
    Column("position_id", Plain, nullable=False),
    Column("chain_id", BigInteger, nullable=False),
    Column("signer", Plain, nullable=False),
    Column("state", Plain, nullable=False),
    Column("open", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("intent", Plain, nullable=False),
    Column("intent_hash", Plain, nullable=False),
    Column("draft", Plain, nullable=False),
    Column("decision_seq", Integer, nullable=False),
    Column("nonce", BigInteger),
    Column("mined_hash", Plain),
    Column("mined_number", BigInteger),
    Column("mined_block", Plain),
    Column("mined_ok", Integer),
    Column("created_s", BigInteger, nullable=False),
    Column("changed_s", BigInteger, nullable=False),
    Column("retry_of", Plain),
    Column("note", Plain, nullable=False),
)
Index(
    "one_open_action_per_position",
    ACTIONS.c.position_id,
    unique=True,
    sqlite_where=ACTIONS.c.open == 1,
    postgresql_where=ACTIONS.c.open == 1,
)
Index("actions_open", ACTIONS.c.chain_id, ACTIONS.c.open)
Index("actions_of_position", ACTIONS.c.position_id, ACTIONS.c.open, ACTIONS.c.decision_seq)

ATTEMPTS = Table(
    "attempts",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("action_id", Plain, ForeignKey("actions.id"), nullable=False, index=True),
    Column("kind", Plain, nullable=False),
    Column("stage", Plain, nullable=False),
    Column("chain_id", BigInteger, nullable=False),
    Column("signer", Plain, nullable=False),
    Column("nonce", BigInteger, nullable=False),
    Column("intent_hash", Plain),
    Column("gas", BigInteger, nullable=False),
    Column("max_fee_wei", Plain, nullable=False),
    Column("tip_wei", Plain, nullable=False),
    Column("block_number", BigInteger, nullable=False),
    Column("raw", Plain),
    Column("hash", Plain, unique=True),
    Column("said", Plain, nullable=False),
)
"""The signed byte strings. `stage`: reserved (the signer may have been asked), saved (bytes durable), sent."""

NONCES = Table(
    "nonces",
    METADATA,
    Column("chain_id", BigInteger, nullable=False),
    Column("signer", Plain, nullable=False),
    Column("nonce", BigInteger, nullable=False),
    Column("action_id", Plain, ForeignKey("actions.id"), nullable=False, unique=True),
    UniqueConstraint("chain_id", "signer", "nonce", name="one_action_per_nonce"),
)

BUDGET = Table(
    "budget",
    METADATA,
    Column("action_id", Plain, ForeignKey("actions.id"), primary_key=True),
    Column("position_id", Plain, nullable=False),
    Column("chain_id", BigInteger, nullable=False),
    Column("signer", Plain, nullable=False),
    Column("asset", Plain, nullable=False),
    Column("amount", Plain, nullable=False),
    Column("gas_wei", Plain, nullable=False),
    Column("state", Plain, nullable=False),
    Column("at_s", BigInteger, nullable=False),
)
"""What an action may cost (`reserved`) or did cost (`settled`, `at_s` = when that became final)."""
Index("budget_counted", BUDGET.c.signer, BUDGET.c.chain_id, BUDGET.c.state, BUDGET.c.at_s)

SIGNERS = Table(
    "signers",
    METADATA,
    Column("chain_id", BigInteger, primary_key=True),
    Column("address", Plain, primary_key=True),
    Column("next_nonce", BigInteger, nullable=False),
)
"""Adopted keys: every nonce below `next_nonce` is accounted for, by an action here or by adoption."""

HOLDS = Table(
    "holds",
    METADATA,
    Column("scope", Plain, primary_key=True),
    Column("reason", Plain, nullable=False),
    Column("at_s", BigInteger, nullable=False),
)
"""What may not be signed until a person says so: `chain:1`, `signer:1:0x..`, `position:eip155:1/...`."""

LEASES = Table(
    "leases",
    METADATA,
    Column("name", Plain, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("holder", Plain, nullable=False),
)

FINALITY = Table(
    "finality",
    METADATA,
    Column("chain_id", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("hash", Plain, nullable=False),
)
"""The highest block on which something was settled: it may never change again."""

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("record_seq", Integer, ForeignKey("records.seq"), nullable=False),
    Column("dedupe_key", Plain, nullable=False, unique=True),
    Column("severity", Plain, nullable=False),
    Column("subject", Plain, nullable=False),
    Column("body", Plain, nullable=False),
    Column("at_s", BigInteger, nullable=False),
    Column("delivered_s", BigInteger),
    Column("kind", Plain, nullable=False, server_default="action"),
    Column("detail", Plain, nullable=False, server_default="{}"),
    Column("chain_id", BigInteger),
    Column("block_number", BigInteger),
    Column("block_hash", Plain),
    Column("standing", Plain, nullable=False, server_default="final"),
    Column("corrects", Integer),
    Column("seen_s", BigInteger),
    Column("escalated", Integer, nullable=False, server_default="0"),
)
"""What is to be told. `delivered_s`: since when nobody is left to tell. Where an alert rests on a block, `standing` is

provisional until that block is final, and withdrawn if it left the chain. `seen_s` and all times of delivery are the
machine's, `at_s` is the chain's. Columns from `kind` on came with schema 2.
"""
Index(
    "outbox_pending",
    OUTBOX.c.id,
    sqlite_where=text("delivered_s IS NULL"),
    postgresql_where=text("delivered_s IS NULL"),
)
Index(
    "outbox_provisional",
    OUTBOX.c.chain_id,
    sqlite_where=text("standing = 'provisional'"),
    postgresql_where=text("standing = 'provisional'"),
)

CHANNELS = Table(
    "channels",
    METADATA,
    Column("name", Plain, primary_key=True),
    Column("since_id", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("failing_since_s", BigInteger),
    Column("retry_s", BigInteger, nullable=False),
    Column("error", Plain, nullable=False),
    Column("told", Integer, nullable=False),
    Column("delivered_s", BigInteger),
)
"""How each channel fares. It is told alerts above `since_id`; after failures not before `retry_s`. `told`: others know

that it fails. Its URL is not here.
"""

MESSAGES = Table(
    "messages",
    METADATA,
    Column("key", Plain, primary_key=True),
    Column("channel", Plain, nullable=False),
    Column("made_s", BigInteger, nullable=False),
    Column("done_s", BigInteger),
)
"""What is sent to a channel in one piece, written before its first try: whoever gets it twice sees the same key."""
Index(
    "messages_pending",
    MESSAGES.c.channel,
    sqlite_where=text("done_s IS NULL"),
    postgresql_where=text("done_s IS NULL"),
)

DELIVERIES = Table(
    "deliveries",
    METADATA,
    Column("outbox_id", Integer, ForeignKey("outbox.id"), primary_key=True),
    Column("channel", Plain, primary_key=True),
    Column("message_key", Plain, ForeignKey("messages.key"), nullable=False, index=True),
)
"""Which alert is in which message: at most one for each channel."""

LEVELS = Table(
    "levels",
    METADATA,
    Column("position_id", Plain, primary_key=True),
    Column("level", Plain, nullable=False),
    Column("health", Plain, nullable=False),
    Column("since_s", BigInteger, nullable=False),
    Column("reminded", Integer, nullable=False),
)
"""The level that was told last of each position; none is ok. `since_s` by the machine's clock."""


def _ddl(statement: str) -> ExecutableDDLElement:
    made: ExecutableDDLElement = DDL(statement)  # type: ignore[no-untyped-call]  # SQLAlchemy 2.1 left it untyped
    return made


for _verb in ("UPDATE", "DELETE"):
    event.listen(
        RECORDS,
        "after_create",
        _ddl(
            f"CREATE TRIGGER records_no_{_verb.lower()} BEFORE {_verb} ON records "
            "BEGIN SELECT RAISE(ABORT, 'records are only ever appended'); END"
        ).execute_if(dialect="sqlite"),
    )
    event.listen(
        RECORDS,
        "after_create",
        _ddl(
            "CREATE OR REPLACE FUNCTION records_are_appended() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'records are only ever appended'; END $$; "
            f"CREATE TRIGGER records_no_{_verb.lower()} BEFORE {_verb} ON records "
            "FOR EACH ROW EXECUTE FUNCTION records_are_appended()"
        ).execute_if(dialect="postgresql"),
    )
