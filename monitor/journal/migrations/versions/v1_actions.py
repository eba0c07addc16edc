"""A new journal, whole."""

from __future__ import annotations

from alembic import op

from monitor.journal.tables import METADATA

revision = "1"
down_revision = None


def upgrade() -> None:
    METADATA.create_all(op.get_bind())
