"""What alembic runs: the revisions, on the connection and in the transaction that it was handed."""

from __future__ import annotations

from alembic import context

from monitor.journal.tables import VERSION

if hasattr(context, "config"):  # it has none where this is only imported
    context.configure(connection=context.config.attributes["connection"], version_table=VERSION.name)
    context.run_migrations()
