"""The history's tables, in SQL that SQLite and PostgreSQL both speak. All begin with `history_`: they may lie beside a
journal's.

A row is small, since there are millions: positions, blocks and assets are numbers into their own tables, and what is
left out of a row follows from it. Integers of the EVM are decimal text. `den` empty is 10**18, what most contracts
divide by.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData()

POSITIONS = Table(
    "history_positions",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("position_id", String, nullable=False, unique=True),
    Column("chain_id", BigInteger, nullable=False),
    Column("market", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("name", String, nullable=False),
    Column("unit", String),
    Column("unit_decimals", Integer),
    Column("thinned_s", BigInteger, nullable=False, server_default="0"),
)
"""`thinned_s`: of what is older only the worst of each hour is left."""

BLOCKS = Table(
    "history_blocks",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("chain_id", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("at_s", BigInteger, nullable=False),
    UniqueConstraint("chain_id", "number", "hash", name="history_one_block"),
)

ASSETS = Table(
    "history_assets",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("asset", String, nullable=False),
    Column("symbol", String, nullable=False),
    Column("decimals", Integer, nullable=False),
    Column("direction", String, nullable=False),
    UniqueConstraint("asset", "symbol", "decimals", "direction", name="history_one_asset"),
)

ROWS = Table(
    "history_rows",
    METADATA,
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("at_s", BigInteger, primary_key=True, autoincrement=False),
    Column("block", Integer, primary_key=True, autoincrement=False),
    Column("level", SmallInteger, nullable=False),
    Column("num", Text),
    Column("den", Text),
    Column("liquidatable", SmallInteger),
    Column("collateral", Text),
    Column("debt", Text),
    Column("asset", Integer),
    Column("price", Text),
    Column("current", Text),
    Column("reason", Text),
    sqlite_with_rowid=False,
)
"""`block` 0: there was none. A `num`: health is known; a `reason`: it is unknown; neither: there is no debt.

`price` of `asset` is the nearest liquidation price, `current` what it was then.
"""
