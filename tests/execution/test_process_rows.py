"""Rows P1-P20, P22 and P24: what can happen to the process, its journal and its clocks."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.core.actions import ActionState
from monitor.journal.defences import ALL as ALL_OF_JOURNAL
from monitor.journal.migrations import HEAD, VERSIONS
from monitor.journal.rows import (
    JournalBroken,
    JournalBusy,
    JournalError,
    JournalUnfit,
    LeaseHeld,
    LeaseLost,
)
from monitor.journal.store import Journal
from monitor.testing.kill_anvil import anvil_run
from monitor.testing.kill_child import POINTS
from monitor.testing.kill_harness import KillRun, naive_run
from monitor.testing.model_port import build
from tests.execution.ports import OddPort
from tests.execution.world import GUARDIAN, GWEI, World, run
from tests.faults.rows import row


def in_child(work: Callable[[], None]) -> int:
    """Run in a forked process; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


STARVED = 43


def starve() -> None:
    """Allow no more memory than there is, and ask for some."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize(), resource.RLIM_INFINITY))
    bytearray(2**28)


def raised(work: Callable[[], object]) -> type[BaseException] | None:
    try:
        work()
    except JournalError as error:
        return type(error)
    return None


@pytest.mark.slow
@row(
    "P1",
    "kill -9 at twelve points: one effect per action, none lost, budgets exact, alerts all told",
    "a journal before the send",
)
def test_killed_everywhere(folder: Path, off: str | None) -> None:
    """P1-P9, a few kills at each point; scripts/kill_harness does thousands. What has no journal is a naive sender."""
    if off:
        assert naive_run(folder, "rows").run(40).problems == []
    tally = KillRun(folder, "rows").run(2 * len(POINTS))
    assert tally.problems == []
    assert set(tally.kills) == set(POINTS)
    assert tally.in_mempool


@pytest.mark.slow
@pytest.mark.anvil
def test_killed_on_a_real_node(tmp_path: Path) -> None:
    """The same on anvil, once at each point; scripts/kill_harness --anvil does more."""
    tally = anvil_run(tmp_path, "rows", len(POINTS))
    assert tally.problems == []
    assert set(tally.kills) == set(POINTS)


def kill_while(folder: Path, point: str, off: str | None, end: Callable[[], None] = die) -> World:
    """A process dies at the point, on its way from a decision to a transaction in a pool that survives it."""
    probe_world = World(folder, off=off)
    probe_world.journal.close()
    sent = folder / "sent"

    def work() -> None:
        world = World(folder, off=off)

        def reach(name: str) -> None:
            if name == point:
                sent.write_bytes(b"\n".join(raw.hex().encode() for raw in raws(world)))
                end()

        world.journal._probe = reach
        world.executor._bench.probe = reach
        world.plan()
        world.look()
        world.chain.mine()
        world.look()
        world.chain.reorg(1, keep=lambda _: False)
        world.look()

    def raws(world: World) -> list[bytes]:
        included = [one for one, _ in world.chain.included(GUARDIAN)]
        return [one.raw for one in (*world.chain.pool.values(), *included)]

    def guarded() -> None:
        try:
            work()
        except MemoryError:
            os._exit(STARVED)

    assert in_child(guarded) == (STARVED if end is starve else -signal.SIGKILL)
    world = World(folder, off=off)
    for line in sent.read_bytes().split():
        world.chain.send(bytes.fromhex(line.decode()))
    return world


@row("P2", "killed after the decision was recorded: the next life acts on it, once", "resume")
def test_killed_after_plan(folder: Path, off: str | None) -> None:
    world = kill_while(folder, "after plan commit", off)
    assert (world.state(), world.chain.pool, world.plan()) == (ActionState.PLANNED, {}, None)
    world.finish()
    assert (world.effects(), world.audit(), len(world.guardian.asked)) == (1, [], 1)
    world.close()


STARVED_AT = ("after plan commit", "before arm commit", "after reserve commit", "after save commit", "after send")


@row(
    "P25",
    "no memory any more, at five points: nobody goes on without it, the process ends, and the next life acts once",
    "resume",
    limit="the kernel's own killer is P1's SIGKILL",
)
def test_out_of_memory(folder: Path, off: str | None) -> None:
    for point in STARVED_AT:
        room = folder / point.replace(" ", "-")
        room.mkdir()
        world = kill_while(room, point, off, starve)
        world.finish()
        assert (world.effects(), world.audit()) == (1, []), point
        world.close()


@row("P3", "killed before budget and nonce are committed: neither is taken", "one_commit")
def test_killed_before_arm(folder: Path, off: str | None) -> None:
    world = kill_while(folder, "before arm commit", off)
    assert (world.state(), world.journal.charges()) == (ActionState.PLANNED, {})
    world.finish()
    assert (world.effects(), world.audit(), world.journal.next_nonce(31337, GUARDIAN)) == (1, [], 1)
    world.close()


@row("P4", "killed after budget and nonce are committed: both are kept, and used once", "resume")
def test_killed_after_arm(folder: Path, off: str | None) -> None:
    world = kill_while(folder, "after arm commit", off)
    action = world.journal.action("a")
    assert (action.state, action.nonce, action.attempts) == (ActionState.ARMED, 0, ())
    assert world.journal.charges()["a"][0] == "reserved"
    world.finish()
    assert (world.effects(), world.audit(), world.journal.next_nonce(31337, GUARDIAN)) == (1, [], 1)
    world.close()


@row("P6", "killed between save and send: the saved bytes are sent, nothing is signed", "resume")
def test_killed_before_send(folder: Path, off: str | None) -> None:
    world = kill_while(folder, "after save commit", off)
    saved = world.journal.action("a").attempts[0]
    assert (world.state(), world.chain.pool) == (ActionState.SIGNED, {})
    world.look()
    assert [one.raw for one in world.chain.pool.values()] == [saved.raw]
    world.finish()
    assert (world.effects(), world.audit(), len(world.guardian.asked)) == (1, [], 0)
    world.close()


@row("P8", "killed between receipt and mark: the receipt is looked for again", "resume")
def test_killed_before_mined(folder: Path, off: str | None) -> None:
    world = kill_while(folder, "before mined commit", off)
    assert world.state() is ActionState.BROADCAST
    world.chain.mine()
    world.look()
    assert world.state() is ActionState.MINED
    world.finish()
    assert (world.effects(), world.audit(), len(world.guardian.asked)) == (1, [], 0)
    world.close()


@row("P9", "killed while a reorganisation is followed: it is followed in the next life", "rollback")
def test_killed_in_rollback(folder: Path, off: str | None) -> None:
    point = "before rollback commit" if off is None else "after mined commit"
    world = kill_while(folder, point, off)
    world.chain.drop_all()
    assert world.state() is ActionState.MINED
    world.look()
    assert world.state() is ActionState.BROADCAST
    world.finish()
    assert (world.effects(), world.audit(), len(world.guardian.asked)) == (1, [], 0)
    world.close()


@row(
    "P5",
    "killed between signature and save: nothing left the machine, and the same bytes are signed again",
    "save_before_send",
)
def test_killed_before_save(folder: Path, off: str | None) -> None:
    world = kill_while(folder, "before save commit", off)
    assert world.chain.pool == {}, "bytes had left the machine that the journal does not know"
    attempt = world.journal.action("a").attempts[0]
    world.look()
    (request,) = world.guardian.asked
    assert (request.nonce, request.max_fee_per_gas_wei) == (attempt.nonce, attempt.max_fee_wei)
    world.finish()
    assert (world.effects(), world.audit()) == (1, [])
    world.close()


@row("P7", "killed between send and mark: found by its receipt, not sent as something new", "maybe_sent")
def test_killed_after_send(folder: Path, off: str | None) -> None:
    world = kill_while(folder, "after send", off)
    world.chain.mine()
    world.look()
    assert world.state() is ActionState.MINED
    world.finish()
    assert (world.effects(), world.audit(), len(world.guardian.asked)) == (1, [], 0)
    world.close()


@row("P10", "killed again and again, never living for more than a step: progress all the same", "resume")
def test_killed_in_a_loop(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan()
    for _ in range(80):
        world.step()
        world.restart()
    assert (world.state(), world.effects(), len(world.guardian.asked)) == (ActionState.FINAL_OK, 1, 1)
    world.close()


@row("P11", "on shutdown nothing new is armed; what is on its way is looked after; the next start goes on", "drain")
def test_draining(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan()
    world.look()
    world.executor.draining = True
    world.plan("b", effect=2)
    world.step(3)
    assert (world.state("a"), world.state("b")) == (ActionState.MINED, ActionState.PLANNED)
    world.restart()
    world.finish()
    assert (world.effects(1), world.effects(2)) == (1, 1)
    world.close()


@row("P12", "a second process on the same journal is refused; P14 is about the epoch", "lock")
def test_two_instances(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)

    def work() -> None:
        os._exit(42 if raised(world.open) is LeaseHeld else 1)

    assert in_child(work) == 42
    world.plan()
    world.finish()
    assert world.effects() == 1
    world.close()


@row("P13", "a copy of the whole machine: the nonce that it used is noticed, signing stops, it is told", "recovery")
def test_copied_machine(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan()
    world.finish()
    world.foreign()  # the copy acts while we are idle
    world.chain.mine()
    world.plan("b", effect=2)
    world.step(5)
    assert any(hold.scope == f"signer:31337:{GUARDIAN}" for hold in world.journal.holds())
    assert world.state("b") is ActionState.PLANNED
    assert any("somebody else signs" in told for told in world.alerts("critical"))
    world.close()


@row("P14", "a process that slept while another took the lease may neither sign nor send", "lease")
def test_fencing(folder: Path, off: str | None) -> None:
    world, port = World(folder, off=off, port=OddPort), None
    port = world.port
    world.plan()
    world.look()
    world.chain.drop_all()
    sent = len(port.public)
    with sqlite3.connect(folder / "journal.db") as db:
        db.execute("UPDATE leases SET epoch = epoch + 1")
    db.close()
    error = raised(world.look)
    assert len(port.public) == sent, "sent without the lease"
    assert error is LeaseLost
    world.close()


@row("P15", "the journal is locked: no signature, an error that says so, and on with it afterwards", "reserve_first")
def test_locked(folder: Path, off: str | None) -> None:
    world = World(folder, off=off, port=OddPort)
    world.restart(busy_ms=10)
    other = sqlite3.connect(folder / "journal.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert raised(world.plan) is JournalBusy
    other.execute("ROLLBACK")
    world.plan()
    # the lock comes when everything is ready to be signed

    def lock(_: object) -> None:
        other.execute("BEGIN IMMEDIATE")

    world.port.edit_simulation = lock
    assert raised(world.look) is JournalBusy
    assert world.guardian.asked == []
    world.port.edit_simulation = None
    other.execute("ROLLBACK")
    other.close()
    world.finish()
    assert (world.effects(), len(world.guardian.asked)) == (1, 1)
    world.close()


class FailingDisk(sqlite3.Connection):
    """A disk on which the next fsync of a commit fails, and all that follow succeed."""

    failing = False

    def commit(self) -> None:
        if FailingDisk.failing:
            FailingDisk.failing = False
            self.rollback()
            raise sqlite3.OperationalError("disk I/O error")
        super().commit()


@row(
    "P16", "an fsync fails once: nothing is signed, and nothing is tried again before it was opened anew", "fail_closed"
)
def test_failed_fsync(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.restart(storage=FailingDisk)
    world.plan()
    FailingDisk.failing = True
    assert raised(world.look) is JournalBroken
    assert raised(world.look) is JournalBroken, "went on as if nothing had happened"
    assert (world.guardian.asked, world.chain.pool) == ([], {})
    world.restart()
    assert world.journal.charges() == {}
    world.finish()
    assert (world.effects(), world.audit()) == (1, [])
    world.close()


@row("P16", "disk full or read-only: refused, nothing is signed, and on with it when there is room", "fail_closed")
def test_disk_full(folder: Path, off: str | None) -> None:
    for name, pragma in (("full", "max_page_count = 1"), ("readonly", "query_only = ON")):
        below = folder / name
        below.mkdir()
        world = World(below, off=off)
        world.plan()
        pragma_of(world, pragma)
        big = world.draft("b", effect=2, decision="x" * 100_000)
        assert raised(lambda world=world, big=big: world.journal.plan(big, world.now_s)) is JournalBroken, pragma  # type: ignore[misc]
        pragma_of(world, "max_page_count = 1000000")
        pragma_of(world, "query_only = OFF")
        assert raised(world.look) is JournalBroken, "went on without having looked at the disk"
        assert world.guardian.asked == []
        world.restart()
        world.finish()
        assert (world.effects(), world.audit()) == (1, [])
        world.close()


def pragma_of(world: World, pragma: str) -> None:
    world.journal._connection.exec_driver_sql(f"PRAGMA {pragma}")
    world.journal._connection.rollback()


@row("P16", "the operating system refuses to write any further: nothing is signed", "reserve_first")
def test_no_room(folder: Path, off: str | None) -> None:
    def work() -> None:
        world = World(folder, off=off, port=OddPort)
        world.plan()

        def full(_: object) -> None:
            size = max(file.stat().st_size for file in folder.iterdir())
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        world.port.edit_simulation = full
        held = [raised(world.look), raised(world.look)] == [JournalBroken, JournalBroken]
        os._exit(42 if held and world.guardian.asked == [] else 1)

    assert in_child(work) == 42
    world = World(folder, off=off)
    world.finish()
    assert (world.effects(), world.audit()) == (1, [])
    world.close()


@row("P17", "a damaged file, an edited history, another schema: refused at the door, with what to do", "verify")
def test_damaged(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan()
    world.finish()
    world.close()
    path = folder / "journal.db"
    whole = path.read_bytes()

    def opens_with(change: Callable[[], object]) -> type[BaseException] | None:
        path.write_bytes(whole)
        for tail in ("-wal", "-shm"):
            (folder / f"journal.db{tail}").unlink(missing_ok=True)
        change()
        return raised(lambda: world.open().close())

    def sql(statement: str) -> Callable[[], object]:
        def change() -> None:
            db = sqlite3.connect(path)
            db.executescript(statement)
            db.close()

        return change

    edit = (
        "DROP TRIGGER records_no_update; UPDATE records SET body = '{}' WHERE seq = (SELECT MAX(seq) - 1 FROM records)"
    )
    assert opens_with(lambda: None) is None
    assert opens_with(lambda: path.write_bytes(b"no database at all" * 100)) is JournalUnfit
    assert opens_with(lambda: path.write_bytes(flip(whole))) is JournalUnfit
    assert opens_with(sql(edit)) is JournalUnfit
    assert opens_with(sql("DROP TRIGGER records_no_delete; DELETE FROM records WHERE seq = 3")) is JournalUnfit
    assert opens_with(sql("UPDATE journal_version SET version_num = '99'")) is JournalUnfit
    assert opens_with(sql("UPDATE journal_version SET version_num = 'x'")) is JournalUnfit
    assert opens_with(sql("DROP TABLE meta")) is JournalUnfit


def flip(whole: bytes) -> bytes:
    """Every page but the first is overwritten in its header."""
    damaged = bytearray(whole)
    for page in range(4096, len(whole), 4096):
        damaged[page : page + 64] = b"\xff" * 64
    return bytes(damaged)


@row("P18", "an old backup: the chain is ahead of it, so that nothing is signed until a person reconciles", "recovery")
def test_old_backup(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan()
    world.finish()
    world.journal.close()
    shutil.copy(folder / "journal.db", folder / "backup.db")
    world.start()
    world.plan("b", effect=2)
    world.finish()
    world.journal.close()
    world.start("backup.db")
    world.plan("c", effect=3)
    world.step(3)
    assert world.state("c") is ActionState.PLANNED
    assert len(world.journal.holds()) == 1
    hold = world.journal.holds()[0]
    assert "old copy" in hold.reason
    world.journal.adopt_signer(31337, GUARDIAN, 2, world.now_s)
    world.journal.release(hold.scope, world.now_s)
    world.finish()
    assert (world.state("c"), world.effects(2)) == (ActionState.FINAL_OK, 1)
    world.close()


@row(
    "P18", "a backup taken in flight: an attempt that it does not know, but that does the same, is adopted", "occupant"
)
def test_backup_in_flight(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan()
    world.look()
    world.journal.close()
    shutil.copy(folder / "journal.db", folder / "backup.db")
    world.start()
    for _ in range(3):
        world.chain.mine(lambda _: False)
    world.look()
    assert len(world.journal.action("a").attempts) == 2
    world.chain.mine()
    world.chain.mine()
    world.journal.close()
    world.start("backup.db")
    world.finish(90)
    assert world.effects() == 1, "the rescue was done twice"
    assert world.state() is ActionState.FINAL_OK
    assert world.journal.holds() != ()
    world.close()


@row("P19", "the journal is gone: a key with a history on chain is not used until a person adopts it", "recovery")
def test_deleted(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan()
    world.finish()
    world.journal.close()
    (folder / "journal.db").unlink()
    world.start()
    world.plan("b", effect=2)
    world.step(3)
    assert world.state("b") is ActionState.PLANNED
    assert any("reconcile it first" in hold.reason for hold in world.journal.holds())
    world.close()


@row("P20", "a migration killed half way has not happened; an older levmon refuses the newer schema", "one_commit")
def test_killed_migration(folder: Path, off: str | None) -> None:
    url = f"sqlite:///{folder / 'journal.db'}"
    defences = ALL_OF_JOURNAL.without(off) if off else ALL_OF_JOURNAL

    def revision(name: str, *, dies: bool) -> Path:
        """A folder with one more revision, which makes a table and may be killed then."""
        more = folder / name
        more.mkdir()
        killed = "    import os\n    os.kill(os.getpid(), 9)\n" if dies else ""
        (more / "newer.py").write_text(
            f'from alembic import op\nrevision, down_revision = "newer", "{HEAD}"\n'
            f'def upgrade():\n    op.execute("CREATE TABLE extra (x INTEGER)")\n{killed}'
        )
        return more

    def open_with(*more: Path) -> None:
        Journal(url, now_s=0, versions=(*VERSIONS, *more), defences=defences).close()

    def opened(*more: Path) -> type[BaseException] | None:
        return raised(lambda: open_with(*more))

    half, full = revision("half", dies=True), revision("full", dies=False)
    assert in_child(lambda: open_with(half)) == -signal.SIGKILL
    assert opened() is None
    assert in_child(lambda: open_with(half)) == -signal.SIGKILL
    assert opened() is None
    assert opened(full) is None
    assert opened() is JournalUnfit


@row("P22", "deadlines follow the chain's clock: a machine clock that jumps changes none", "chain_time")
def test_clock_jumps(folder: Path, off: str | None) -> None:
    world = World(folder, off=off, max_head_age_s=10**9)
    world.plan(valid_until_s=world.now_s + 3600)
    world.clock.offset_s = 7200
    world.look()
    assert world.state() is ActionState.BROADCAST
    world.clock.offset_s = -50
    world.finish()
    assert world.effects() == 1
    world.close()


@row("P22", "a head that is far from the machine's clock is no basis for a signature; it is said, not decided", "skew")
def test_skew(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan()
    for offset in (3600, -3600):
        world.clock.offset_s = offset
        report = world.look()
        assert any("by this machine's clock" in text for text in report.held)
        assert world.guardian.asked == []
    world.clock.offset_s = 0
    world.finish()
    assert world.effects() == 1
    world.close()


@row("P22", "times beyond 2038 and 2106 are numbers like others, for deadlines, windows and the journal", "chain_time")
def test_later_times(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    for start in (2**31 - 30, 2**32 - 30):
        world.chain.mine(timestamp=start)
        name = f"a{start}"
        world.plan(name, effect=start % 97, valid_until_s=world.now_s + 3600)
        world.look()
        if off is not None:
            world.clock.offset_s = 7200  # what goes by the machine's clock alone goes wrong
        world.finish()
        assert (world.state(name), world.effects(start % 97)) == (ActionState.FINAL_OK, 1)
        world.restart()
    world.close()


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@row(
    "P24",
    "days of trouble: what repeats is told once; files, objects and rows do not pile up",
    "no_storm",
)
def test_nothing_piles_up(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan(valid_until_s=world.now_s + 10**6)
    world.look()
    world.chain.balances[GUARDIAN] = 10**12  # far too little, and how much is missing changes with every block

    def trouble(blocks: int) -> tuple[int, int, int]:
        for n in range(blocks):
            world.chain.drop_all()
            world.chain.base_fee_wei = (2 + n % 7) * GWEI
            world.step()
        gc.collect()
        return open_files(), len(gc.get_objects()), world.journal.count_records()

    trouble(30)
    before = trouble(5)
    after = trouble(60)
    assert after[0] == before[0], "files stay open"
    assert after[1] - before[1] < 60 * 40, "more than the model's own blocks"
    assert after[2] - before[2] <= 12, "the same is told again and again"
    for _ in range(20):
        world.restart()
    assert open_files() == before[0]
    world.close()


def test_records_are_only_ever_appended(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.plan()
    world.close()
    db = sqlite3.connect(tmp_path / "journal.db")
    for statement in ("UPDATE records SET body = '{}'", "DELETE FROM records"):
        with pytest.raises(sqlite3.IntegrityError, match="only ever appended"):
            db.execute(statement)
    db.close()


def test_one_open_action_per_position_is_a_constraint(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.plan("a")
    assert world.plan("b") is None
    world.close()
    db = sqlite3.connect(tmp_path / "journal.db")
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        db.execute(
            "INSERT INTO actions SELECT 'x', position_id, chain_id, signer, state, open, version, intent, intent_hash, "
            "draft, decision_seq, nonce, mined_hash, mined_number, mined_block, mined_ok, created_s, changed_s, "
            "retry_of, note FROM actions"
        )
    db.close()


def test_the_models_port_never_waits() -> None:
    async def waits() -> bytes:
        return build.__name__.encode()

    assert run(waits()) == b"build"
