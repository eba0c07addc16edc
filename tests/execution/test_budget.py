"""What counts against the limits at a moment: the window, whose it is, and exact sums above 64 bits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, insert

from monitor.core.types import Address
from monitor.journal.budget import WINDOW_S, totals
from monitor.journal.rows import Totals
from monitor.journal.tables import BUDGET, METADATA

NOW_S = 1_700_000_000
KEY, OTHER_KEY = Address("0x" + "aa" * 20), Address("0x" + "bb" * 20)
USDC, WETH = Address("0x" + "11" * 20), Address("0x" + "22" * 20)
HUGE = 2**250


def row(name: str, **other: object) -> dict[str, object]:
    """A charge of 10 USDC and 3 wei of gas, spent an hour ago."""
    charge = {
        "action_id": name,
        "position_id": "mine",
        "chain_id": 1,
        "signer": KEY,
        "asset": USDC,
        "amount": "10",
        "gas_wei": "3",
        "state": "settled",
        "at_s": NOW_S - 3600,
    }
    return charge | other


def counted(db: Connection, *rows: dict[str, object], but: str = "") -> Totals:
    db.execute(insert(BUDGET), list(rows))
    return totals(db, 1, KEY, USDC, "mine", NOW_S, but=but)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{tmp_path / 'journal.db'}")
    METADATA.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_the_window_is_the_last_24_hours(db: Connection) -> None:
    assert WINDOW_S == 24 * 60 * 60
    found = counted(
        db,
        row("just out", at_s=NOW_S - 86_400, amount="1"),
        row("just in", at_s=NOW_S - 86_399, amount="20"),
        row("now", at_s=NOW_S, amount="300"),
        row("a clock that went back", at_s=NOW_S + 100, amount="4000"),
    )
    assert found == Totals(4320, 4320, 9)


def test_what_is_reserved_counts_however_old(db: Connection) -> None:
    assert counted(db, row("old", state="reserved", at_s=NOW_S - 90 * 86_400)) == Totals(10, 10, 3)


def test_position_key_and_gas_are_counted_apart(db: Connection) -> None:
    found = counted(
        db,
        row("mine", amount="1", gas_wei="1"),
        row("another position", position_id="other", amount="20", gas_wei="10"),
        row("another asset", asset=WETH, amount="300", gas_wei="100"),
        row("another key", signer=OTHER_KEY, amount="4000", gas_wei="1000"),
        row("another chain", chain_id=10, amount="50000", gas_wei="10000"),
    )
    assert found == Totals(1, 21, 111)


def test_the_action_itself_is_left_out(db: Connection) -> None:
    assert counted(db, row("one"), row("two", amount="7", gas_wei="5"), but="two") == Totals(10, 10, 3)


def test_sums_above_every_database_integer_are_exact(db: Connection) -> None:
    rows = [row(f"{n}", amount=str(HUGE + n), gas_wei=str(HUGE - n)) for n in range(3)]
    assert counted(db, *rows) == Totals(3 * HUGE + 3, 3 * HUGE + 3, 3 * HUGE - 3)
