"""Alerts say what they rest on, and to whom they were delivered."""

from __future__ import annotations

from alembic import op
from sqlalchemy import inspect
from sqlalchemy.schema import CreateColumn

from monitor.journal.tables import METADATA, OUTBOX

revision = "2"
down_revision = "1"


def upgrade() -> None:
    connection = op.get_bind()
    known = {column["name"] for column in inspect(connection).get_columns(OUTBOX.name)}
    for column in OUTBOX.columns:
        if column.name not in known:
            made = CreateColumn(column).compile(dialect=connection.dialect)
            op.execute(f"ALTER TABLE {OUTBOX.name} ADD COLUMN {made}")
    for index in OUTBOX.indexes:
        index.create(connection, checkfirst=True)
    METADATA.create_all(connection)
