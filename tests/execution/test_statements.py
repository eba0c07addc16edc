"""What acting costs in SQL: a statement that recurs is built once, since building one takes longer than running it."""

from __future__ import annotations

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
