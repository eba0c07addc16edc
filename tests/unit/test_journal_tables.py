"""The journal's columns, where SQLite and PostgreSQL differ."""

from __future__ import annotations

import pytest
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from monitor.journal.tables import METADATA

WIDE = ("_s", "chain_id", "nonce", "number", "gas")


@pytest.mark.parametrize("table", METADATA.sorted_tables, ids=lambda table: table.name)
def test_times_and_numbers_of_chains_have_64_bits(table: object) -> None:
    """PostgreSQL's INTEGER ends in 2038, and some chain ids are above it."""
    made = str(CreateTable(table).compile(dialect=postgresql.dialect()))  # type: ignore[arg-type,no-untyped-call]
    columns = dict(line.split()[:2] for line in made.splitlines() if line.startswith("\t") and len(line.split()) > 1)
    wide = {name: kind.rstrip(",") for name, kind in columns.items() if name.endswith(WIDE)}
    assert set(wide.values()) <= {"BIGINT", "BIGSERIAL"}, wide
