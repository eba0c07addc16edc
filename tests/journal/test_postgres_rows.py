"""Row P21: what can happen to a connection, by really ending it on a real server."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monitor.core.errors import LevmonError
from monitor.journal.defences import ALL
from monitor.journal.engine import connect
from monitor.journal.rows import Hold, JournalBroken, JournalBusy
from monitor.journal.store import Journal
from monitor.journal.tables import HOLDS
from monitor.testing.kill_child import POINTS, URL_FILE
from monitor.testing.kill_harness import KillRun
from tests.faults.rows import row
from tests.postgres import Interrupter, PostgresServer, name_of


@pytest.fixture
def interrupter(postgres: PostgresServer) -> Iterator[Interrupter]:
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:  # a socket's path has to be short
        made = Interrupter(postgres, Path(folder))
        yield made
        made.close()


def raised(work: Callable[[], object]) -> type[BaseException] | None:
    try:
        work()
    except LevmonError as error:
        return type(error)
    return None


def scopes(journal: Journal) -> list[str]:
    return [hold.scope for hold in journal.holds()]


@row("P21", "connection lost at COMMIT: what was written is found to be written, and what was not is not", "read_back")
def test_lost_at_commit(off: str | None, postgres: PostgresServer, interrupter: Interrupter) -> None:
    url = postgres.database()
    ending = [""]

    def probe(point: str) -> None:
        if point == ending[0]:
            ending[0] = ""
            assert postgres.terminate(url) == 1

    journal = Journal(interrupter.url(url), now_s=0, probe=probe, defences=ALL.without(off) if off else ALL)
    try:
        interrupter.lose_answer = True
        journal.hold(Hold("chain:1", "done, and its answer lost"), 1)
        assert not interrupter.lose_answer
        assert scopes(journal) == ["chain:1"]
        ending[0] = "before hold commit"
        assert raised(lambda: journal.hold(Hold("chain:2", "ended before its commit"), 2)) is JournalBusy
        assert scopes(journal) == ["chain:1"]
        assert postgres.terminate(url) == 1
        assert raised(lambda: journal.hold(Hold("chain:2", "ended before it began"), 3)) is JournalBusy
        journal.hold(Hold("chain:2", "and again"), 4)
        assert [record.subject for record in journal.records() if record.kind == "hold"] == ["chain:1", "chain:2"]
    finally:
        journal.close()


@row("P21", "failover to a copy that has lost the last commit: nothing is written any more", "read_back")
def test_failover_to_an_old_copy(off: str | None, postgres: PostgresServer) -> None:
    url = postgres.database()
    journal = Journal(url, now_s=0, defences=ALL.without(off) if off else ALL)
    try:
        journal.hold(Hold("chain:1", "kept"), 1)
        journal.hold(Hold("chain:2", "lost"), 2)
        postgres.sql(
            "ALTER TABLE records DISABLE TRIGGER ALL; ALTER TABLE outbox DISABLE TRIGGER ALL;"
            "DELETE FROM records WHERE subject = 'chain:2'; DELETE FROM holds WHERE scope = 'chain:2'",
            name_of(url),
        )
        postgres.terminate(url)
        assert raised(journal.check_lease) is JournalBusy
        for _ in range(2):
            assert raised(lambda: journal.hold(Hold("chain:3", "no"), 3)) is JournalBroken
    finally:
        journal.close()


@row("P21", "a serialization failure has written nothing, and the same again succeeds", None, "the server refuses it")
def test_serialization_failure(postgres: PostgresServer) -> None:
    url = postgres.database()
    journal = Journal(url, now_s=0)
    journal.hold(Hold("chain:1", "one"), 1)

    def collide() -> None:
        with journal.commit("collision") as db:
            db.execute(HOLDS.select()).all()
            postgres.sql("UPDATE holds SET reason = 'theirs'", name_of(url))
            db.execute(HOLDS.update().values(reason="ours"))

    with pytest.raises(JournalBusy, match="nothing was written"):
        collide()
    assert [hold.reason for hold in journal.holds()] == ["theirs"]
    with journal.commit("again") as db:
        db.execute(HOLDS.update().values(reason="ours"))
    assert [hold.reason for hold in journal.holds()] == ["ours"]
    journal.close()


def test_while_the_server_is_away_nothing_is_written_and_then_it_goes_on(
    postgres: PostgresServer, interrupter: Interrupter
) -> None:
    journal = Journal(interrupter.url(postgres.database()), now_s=0)
    journal.hold(Hold("chain:1", "before"), 1)
    hidden = (interrupter.folder / ".s.PGSQL.5432").rename(interrupter.folder / "away")
    interrupter.lose_answer = True
    with pytest.raises(JournalBusy, match="cannot be had again yet"):
        journal.hold(Hold("chain:2", "nobody knows yet"), 2)
    with pytest.raises(JournalBusy, match="cannot be had again yet"):
        journal.hold(Hold("chain:3", "no"), 3)
    hidden.rename(interrupter.folder / ".s.PGSQL.5432")
    journal.hold(Hold("chain:3", "after"), 4)
    assert scopes(journal) == ["chain:1", "chain:2", "chain:3"]
    journal.close()


def test_a_server_that_may_lose_commits_is_refused(postgres: PostgresServer) -> None:
    from monitor.journal.engine import verify_durable
    from monitor.journal.rows import JournalUnfit

    url = postgres.database()
    postgres.sql(f"ALTER DATABASE {name_of(url)} SET synchronous_commit = off")
    Journal(url, now_s=0).close()  # it asks for the commits that it needs
    engine = connect(url)
    with engine.begin() as db:
        db.exec_driver_sql("SET synchronous_commit = off")
        with pytest.raises(JournalUnfit, match="synchronous_commit off"):
            verify_durable(db)
    engine.dispose()


@pytest.mark.slow
def test_killed_again_and_again(postgres: PostgresServer, tmp_path: Path) -> None:
    """The kill harness in small: two kills at each point."""
    (tmp_path / URL_FILE).write_text(postgres.database())
    tally = KillRun(tmp_path, "postgres").run(2 * len(POINTS))
    assert tally.problems == []
    assert min(tally.kills[point] for point in POINTS) >= 1
    assert tally.rescues
