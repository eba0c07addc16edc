"""What the journal promises, on SQLite and on a real PostgreSQL server."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError, IntegrityError

from monitor.core.actions import ActionState
from monitor.core.types import Level
from monitor.journal.codes import Codes, Met
from monitor.journal.outbox import Note, Outbox, Told
from monitor.journal.replay import broken_links, differences
from monitor.journal.rows import Hold, JournalError, JournalUnfit, LeaseHeld, Refused, Severity, StaleChange
from monitor.journal.store import Journal
from monitor.journal.tables import ACTIONS, RECORDS
from monitor.journal.view import JournalView
from tests.execution.world import GUARDIAN, World

FAR_S = 2**33
HOSTILE = "nul \x00, half a surrogate \ud800, an emoji \U0001f600, 'quotes' and --"


@pytest.fixture
def world(tmp_path: Path, url: str) -> World:
    return World(tmp_path, database=url)


def test_a_rescue_from_decision_to_finality(world: World) -> None:
    world.plan()
    world.finish()
    assert (world.state(), world.effects()) == (ActionState.FINAL_OK, 1)
    journal = world.journal
    assert differences(journal.records(), journal.actions(), journal.charges()) == []
    view = JournalView(world.database)
    assert [action.state for action in view.actions()] == [ActionState.FINAL_OK]
    assert view.records("a") == [record for record in journal.records() if record.subject == "a"]
    assert view.next_nonce(31337, GUARDIAN) == 1
    world.close()


def test_every_restart_goes_on_where_the_last_process_stopped(world: World) -> None:
    world.plan()
    for _ in range(70):
        world.step()
        world.restart()
    assert (world.state(), world.effects()) == (ActionState.FINAL_OK, 1)
    assert broken_links(world.journal.records()) == []
    world.close()


def test_one_open_action_for_a_position_whatever_is_above(world: World) -> None:
    assert world.plan("a", position="here") is not None
    assert world.plan("b", position="here") is None
    [row] = world.journal.actions()
    with world.journal.look() as db:
        twin = {**db.execute(ACTIONS.select()).mappings().one(), "id": "twin"}
    with pytest.raises(IntegrityError), world.journal.commit() as db:
        db.execute(ACTIONS.insert().values(twin))
    assert world.journal.actions() == [row]
    world.close()


def test_a_change_of_what_has_changed_since_is_refused(world: World) -> None:
    action = world.plan()
    assert action is not None
    world.look()
    with pytest.raises(StaleChange):
        world.journal.arm(action, 0, world.journal.charge("a"), no, 0)
    world.close()


def no(_: object) -> list[str]:
    return ["never"]


def test_the_budget_is_kept_to_the_last_unit(tmp_path: Path, url: str) -> None:
    world = World(tmp_path, database=url)
    world.plan("a", amount=2**200 + 1)
    world.plan("b", effect=2, amount=2**200)
    world.look()
    charges = [charge.amount for _, charge in world.journal.charges().values()]
    assert set(charges) <= {2**200 + 1, 2**200}
    action = world.journal.action("a")
    assert (action.draft.amount, action.draft.intent.args["amount"]) == (2**200 + 1, 2**200 + 1)
    world.close()


def test_records_are_only_ever_appended(world: World) -> None:
    world.plan()
    for statement in (RECORDS.update().values(body="{}"), RECORDS.delete()):
        with pytest.raises((JournalError, DatabaseError), match="only ever appended"), world.journal.commit() as db:
            db.execute(statement)
        world.restart()
    world.close()


def test_one_process_at_a_time(world: World) -> None:
    with pytest.raises(LeaseHeld):
        Journal(world.database, now_s=0, busy_ms=50)
    world.close()
    Journal(world.database, now_s=0).close()


def test_text_that_no_database_takes_is_kept_and_told(world: World) -> None:
    world.journal.hold(Hold("chain:1", HOSTILE), FAR_S)
    outbox = Outbox(world.journal)
    told = Told("p", Level.WARN, HOSTILE, FAR_S)
    outbox.note([Note("level", "p", Severity.WARN, HOSTILE, "once", {"cause": HOSTILE})], FAR_S, [told])
    Codes(world.journal).keep("market", Met("one", HOSTILE), FAR_S)
    shown = HOSTILE.replace("\x00", "\\u{0}").replace("\ud800", "\\ud800")
    world.restart()
    assert [hold.reason for hold in world.journal.holds()] == [shown]
    outbox = Outbox(world.journal)
    assert [told.health for told in outbox.levels().values()] == [shown]
    assert shown in [alert.body for alert in world.journal.pending_alerts()]
    assert Codes(world.journal).met("market") == Met("one", HOSTILE)
    assert broken_links(world.journal.records()) == []
    assert FAR_S in {record.at_s for record in world.journal.records()}
    world.close()


def test_a_limit_that_is_reached_writes_nothing(world: World) -> None:
    action = world.plan()
    assert action is not None
    before = len(world.journal.records())
    with pytest.raises(Refused):
        world.journal.arm(action, 0, world.journal.charge("a"), no, 0)
    assert len(world.journal.records()) == before
    world.close()


def test_a_view_of_what_is_not_there_yet_is_empty(url: str) -> None:
    assert JournalView(url).actions() == []


def test_another_programs_database_is_left_alone(url: str) -> None:
    from monitor.journal.engine import connect

    engine = connect(url)
    with engine.begin() as db:
        db.exec_driver_sql("CREATE TABLE theirs (x INTEGER)")
    engine.dispose()
    with pytest.raises(JournalUnfit, match="not a journal"):
        Journal(url, now_s=0)
