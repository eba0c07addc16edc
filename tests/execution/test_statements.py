"""What acting costs in SQL: a statement that recurs is built once, since building one takes longer than running it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import event

from monitor.core.actions import ActionState
from tests.execution.world import World


def test_a_rescue_like_others_before_it_builds_no_statement(tmp_path: Path) -> None:
    world = World(tmp_path)
    runs: list[list[Any]] = []

    def take(_: Any, statement: Any, *__: Any) -> None:
        runs[-1].append(statement)  # kept, so that no other statement gets its id

    event.listen(world.journal._engine, "before_execute", take)
    for effect, name in enumerate("abc", 1):
        runs.append([])
        world.plan(name, effect=effect)
        world.finish()
        assert world.state(name) is ActionState.FINAL_OK
    *earlier, last = ({id(one): one for one in run if not isinstance(one, str)} for run in runs)
    assert len(last) > 20
    assert [str(one) for key, one in last.items() if not any(key in run for run in earlier)] == []
    world.close()


EARLIER = 500
STEPS = 10
"""of SQLite's machine between two counts"""


def test_a_rescue_costs_the_same_after_many_others(tmp_path: Path) -> None:
    """A journal is kept for years: what a block asks of it may not take longer with every action that was closed."""
    world = World(tmp_path)
    steps = [0]

    def step() -> None:
        steps[-1] += STEPS

    connection: Any = world.journal._connection.connection.driver_connection
    connection.set_progress_handler(step, STEPS)
    for effect, name in enumerate("abc", 1):
        if name == "c":
            _long_ago(world.folder / "journal.db", "a", EARLIER)
        steps.append(0)
        world.plan(name, effect=effect)
        world.finish()
        assert world.state(name) is ActionState.FINAL_OK
    _, _, young, old = steps
    assert young > 1000
    assert old < young * 1.1, (young, old)
    world.close()


def _long_ago(path: Path, like: str, many: int) -> None:
    """The journal of a levmon that did this action so many times, each too long ago to count against a limit."""
    with sqlite3.connect(path) as db:
        db.execute("CREATE TEMP TABLE copies (n INTEGER)")
        db.executemany("INSERT INTO copies VALUES (?)", ((n,) for n in range(1, many + 1)))
        for table, changed in COPIES.items():
            names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            values = ", ".join(changed.get(name, name) for name in names)
            key = "id" if table == "actions" else "action_id"
            db.execute(f"INSERT INTO {table} SELECT {values} FROM {table}, copies WHERE {key} = ?", (like,))  # noqa: S608  # its own names
    db.close()


COPIES = {
    "actions": {"id": "id || n", "decision_seq": "-n", "nonce": "-n"},
    "attempts": {"id": "-n", "action_id": "action_id || n", "nonce": "-n", "hash": "hash || n"},
    "nonces": {"action_id": "action_id || n", "nonce": "-n"},
    "budget": {"action_id": "action_id || n", "at_s": "-n"},
}
"""What differs in each copy, by table and column."""
