"""What a block asks about closed actions is found without reading them all."""

from __future__ import annotations

from alembic import op

from monitor.journal.tables import ACTIONS, BUDGET

revision = "3"
down_revision = "2"


def upgrade() -> None:
    connection = op.get_bind()
    for index in (*ACTIONS.indexes, *BUDGET.indexes):
        index.create(connection, checkfirst=True)
