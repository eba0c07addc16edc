"""Rows S11, S12, S13, C8 and the alerts' half of P16: channels that fail, floods, and blocks that leave the chain."""

from __future__ import annotations

import ast
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import monitor
from monitor.alerts.channel import Channel, Letter, Undelivered
from monitor.alerts.defences import ALL, Defences
from monitor.alerts.outbox import Pace, Pulse, Sender
from monitor.alerts.webhook import Webhook
from monitor.core.secret import Secret
from monitor.core.types import BlockRef, Level
from monitor.journal.outbox import Note, Outbox, Wants
from monitor.journal.rows import Severity
from monitor.testing.clock import FakeClock
from tests.alerts.ledger import NOW_S, block, everything, fell, opened, put
from tests.alerts.sink import SECRET, Sink, sink
from tests.faults.rows import row


def defences(off: str | None) -> Defences:
    return ALL.without(off) if off else ALL


def hook(to: Sink, wants: Wants, deadline_s: float = 5) -> Channel:
    port = Webhook(to.url, Secret(SECRET), deadline_s=deadline_s)
    to.closing.append(port.close)
    return Channel(wants, port)


class Room:
    """A journal, channels and a sender, on a clock that stands still."""

    def __init__(self, folder: Path, channels: list[Channel], off: str | None = None, **more: Any) -> None:
        self.clock = FakeClock(NOW_S)
        self.outbox, self.said = opened(folder), list[str]()
        self.channels = channels
        self.sender = Sender(
            channels, self.outbox, clock=self.clock, say=self.said.append, defences=defences(off), **more
        )

    async def rounds(self, count: int = 1, every_s: float = 1) -> None:
        for _ in range(count):
            await self.sender.round()
            self.clock.now += every_s

    def open(self) -> int:
        return len(self.outbox.journal.pending_alerts(100_000))

    def close(self) -> None:
        self.outbox.journal.close()


def told(to: Sink) -> list[str]:
    """The keys of all alerts that the sink took."""
    return [alert["key"] for one in to.taken for alert in one["json"]["alerts"]]


# -- S11: a channel fails ----------------------------------------------------------------------------------------------


@row("S11", "a channel that is down, slow, lets nobody in or answers errors gets everything once it works", "retry")
async def test_what_did_not_arrive_is_sent_again(folder: Path, off: str | None) -> None:
    async with sink() as to:
        to.script = ["down", "500", "401", "slow", "moved", "429"]
        room = Room(folder, [hook(to, everything(), 0.2)], off)
        put(room.outbox, fell())
        await room.rounds(40, 10)
        assert len(told(to)) == 1
        assert room.open() == 0
        assert room.sender.oldest_age_s() == 0
        room.close()


@row("S11", "an alert whose delivery is not known is repeated under its old key and with its old content", "same_key")
async def test_an_answer_that_is_lost_makes_a_duplicate_that_shows(folder: Path, off: str | None) -> None:
    async with sink() as to:
        to.script = ["lost", "lost"]
        room = Room(folder, [hook(to, everything())], off)
        put(room.outbox, fell(who=1))
        await room.rounds()
        put(room.outbox, fell(who=2))  # must not slip into the message that is on its way
        await room.rounds(20)
        assert len(to.taken) == 4
        assert len(set(to.keys)) == 2
        assert [one["body"] for one in to.taken[:3]] == [to.taken[0]["body"]] * 3
        room.close()


@row("S11", "a channel that asks to wait is left alone as long, others fail less and less often", "backoff")
async def test_a_failing_channel_is_not_hammered(folder: Path, off: str | None) -> None:
    async with sink("500") as to:
        room = Room(folder, [hook(to, everything())], off)
        put(room.outbox, fell())
        await room.rounds(120, 5)
        assert 5 < len(to.requests) <= 12
        to.mode, to.headers, before = "429", {"Retry-After": "1000"}, len(to.requests)
        room.clock.now += 300
        await room.rounds(90, 10)
        assert len(to.requests) == before + 1
        room.close()


@row("S11", "that a channel fails is told on the others, and when it is over", "tell_others")
async def test_others_are_told_of_a_channel_that_fails(folder: Path, off: str | None) -> None:
    async with sink("500") as broken, sink() as well:
        room = Room(folder, [hook(broken, everything("phone")), hook(well, everything("mail"))], off)
        put(room.outbox, fell())
        await room.rounds(6, 5)
        texts = [alert["text"] for one in well.taken for alert in one["json"]["alerts"]]
        assert any("channel phone fails: answered 500" in text for text in texts)
        assert any("channel phone fails" in text for text in room.said)
        broken.mode = "ok"
        await room.rounds(30, 10)
        texts = [alert["text"] for one in well.taken for alert in one["json"]["alerts"]]
        assert any("channel phone delivers again" in text for text in texts)
        assert len(told(broken)) == 1, "its own failure is no news to it"
        assert room.open() == 0
        room.close()


@row("S11", "what is critical and reached nobody goes to the channel of last resort", "escalate")
async def test_what_nobody_was_told_is_escalated(folder: Path, off: str | None) -> None:
    async with sink("500") as broken, sink() as pager:
        last = Wants("pager", Severity.CRITICAL, frozenset({"reminder"}), last_resort=True)
        pace = Pace(escalation_s=60)
        room = Room(folder, [hook(broken, everything("phone")), hook(pager, last)], off, pace=pace)
        put(room.outbox, fell(who=1), fell(who=2, level=Level.WARN))
        await room.rounds(5, 10)
        assert told(pager) == []
        await room.rounds(3, 10)
        assert len(told(pager)) == 1
        assert 0 < room.sender.oldest_age_s() <= 90
        room.close()


POINTS = (
    "before compose commit",
    "after compose commit",
    "after delivery",
    "before arrived commit",
    "after arrived commit",
)


class Killed(BaseException):
    """The process ends here."""


class Memory:
    """A port in the process, that remembers what it took, and fails now and then. Outlives the sender."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.letters = rng, list[Letter]()

    async def prepare(self) -> None:
        pass

    async def send(self, letter: Letter) -> None:
        if self.rng.random() < 0.3:
            if self.rng.random() < 0.5:
                self.letters.append(letter)
            raise Undelivered("lost, or not")
        self.letters.append(letter)

    async def close(self) -> None:
        pass


@pytest.mark.slow
@row("S11", "killed at any point with a channel down 30 % of the time: 0 of 2,000 alerts are lost", "mark_after")
async def test_killed_between_delivery_and_mark_nothing_is_lost(folder: Path, off: str | None) -> None:
    rng = random.Random(11)
    port, clock, made, killed = Memory(rng), FakeClock(NOW_S), 0, Counter[str]()
    channel = Channel(everything(), port)

    def maybe(point: str) -> None:
        if point in POINTS and rng.random() < 0.04:
            killed[point] += 1
            raise Killed

    while True:
        outbox = opened(folder, probe=maybe)
        try:
            sender = Sender([channel], outbox, clock=clock, probe=maybe, defences=defences(off))
            while made < 2000 or outbox.journal.pending_alerts(1):
                batch = min(rng.randrange(60), 2000 - made)
                put(outbox, *(fell(made + n, who=made + n) for n in range(batch)))
                made += batch
                await sender.round()
                clock.now += 30
            break
        except Killed:
            clock.now += 1
        finally:
            outbox.journal.close()
    reached = {letter.key: letter.content["count"] for letter in port.letters}
    assert sum(reached.values()) == 2000
    assert len(port.letters) > len(reached), "some came twice, under one key"
    by_key: dict[str, set[str]] = {}
    for letter in port.letters:
        by_key.setdefault(letter.key, set()).add(letter.body)
    assert all(len(bodies) <= 2 for bodies in by_key.values()), "in full, or plain after three failures"
    assert set(killed) == set(POINTS)


# -- S12: a flood ------------------------------------------------------------------------------------------------------


def crash(outbox: Outbox, count: int) -> None:
    """All positions fall at one block; every tenth is only a warning."""
    pairs = []
    for who in range(count):
        note, level = fell(9, who=who, level=Level.WARN if who % 10 == 0 else Level.CRITICAL)
        health = f"1.{(who * 7919) % 10_000:04d}"
        detail = {**note.detail, "health": health, "market": "core", "cause": f"health is below {level.level.value}"}
        pairs.append((Note("level", note.subject, note.severity, note.body, "", detail, note.block), level))
    put(outbox, *pairs)


@row("S12", "10,000 changes of level are a few messages by cause, and all of them are in the log", "group")
async def test_a_flood_is_grouped(folder: Path, off: str | None) -> None:
    async with sink() as to:
        room = Room(folder, [hook(to, everything())], off)
        crash(room.outbox, 10_000 if off is None else 200)
        await room.rounds(10)
        assert len(to.taken) == 1
        [message] = to.taken
        assert message["json"]["count"] == 10_000
        assert message["json"]["more"] == 9_900
        assert "9000 x now critical: health is below critical" in message["json"]["text"]
        assert "1000 x now warn: health is below warn" in message["json"]["text"]
        assert len(message["json"]["text"]) < 2000
        records = room.outbox.journal.records()
        assert sum(record.kind == "level" for record in records) == 10_000
        assert room.open() == 0
        room.close()


@row("S12", "in a flood the worst stands first", "worst_first")
async def test_the_worst_stands_first(folder: Path, off: str | None) -> None:
    async with sink() as to:
        room = Room(folder, [hook(to, everything())], off)
        crash(room.outbox, 50)
        await room.rounds()
        listed = to.taken[0]["json"]["alerts"]
        loud = [one["severity"] for one in listed]
        assert loud == ["critical"] * 45 + ["warn"] * 5
        healths = [one["detail"]["health"] for one in listed[:45]]
        assert healths == sorted(healths)
        room.close()


async def test_a_stream_of_changes_is_collected(tmp_path: Path) -> None:
    async with sink() as to:
        room = Room(tmp_path, [hook(to, everything())], pace=Pace(group_s=60))
        for number in range(60):
            put(room.outbox, fell(number, who=number))
            await room.rounds()
        assert len(to.taken) == 3, "three at once, the rest together"
        await room.rounds(3)
        assert len(to.taken) == 4
        assert len(set(told(to))) == 60
        room.close()


# -- C8: a block leaves the chain --------------------------------------------------------------------------------------


class Branch:
    """A chain as corrections see it."""

    def __init__(self) -> None:
        self.name, self.final = "a", 0

    async def block(self, at: int) -> BlockRef:
        return block(at, self.name)

    async def finalized(self) -> BlockRef:
        return block(self.final, self.name)


@row("C8", "an alert that rests on a reorganised block is corrected, to those who were told", "correct")
async def test_a_reorganised_alert_is_corrected(folder: Path, off: str | None) -> None:
    from monitor.pipeline.telling import Teller

    async with sink() as to, sink() as deaf:
        nothing_before = Wants("careful", kinds=everything().kinds, only_final=True)
        room = Room(folder, [hook(to, everything()), hook(deaf, nothing_before)])
        teller, branch = Teller(room.outbox, room.sender, clock=room.clock, defences=defences(off)), Branch()
        put(room.outbox, fell(5), fell(5, who=2))
        await room.rounds()
        assert to.taken[0]["json"]["alerts"][0]["standing"] == "provisional"
        await teller.settle(31337, branch)
        branch.name = "b"
        await teller.settle(31337, branch, reorganised=True)
        await room.rounds()
        corrections = [one for got in to.taken[1:] for one in got["json"]["alerts"]]
        assert [one["kind"] for one in corrections] == ["correction"] * 2
        assert all("block 5 has left the chain" in one["text"] for one in corrections)
        branch.final = 9
        await teller.settle(31337, branch)
        await room.rounds()
        assert deaf.requests == []
        assert room.outbox.levels() == {}
        assert room.open() == 0
        room.close()


@row("C8", "whoever wants to be told only what is final waits for finality, and misses nothing", "wait_final")
async def test_the_final_class_waits(folder: Path, off: str | None) -> None:
    from monitor.pipeline.telling import Teller

    async with sink() as to:
        careful = Wants("careful", kinds=everything().kinds, only_final=off is None)
        room = Room(folder, [hook(to, careful)])
        teller, branch = Teller(room.outbox, room.sender, clock=room.clock), Branch()
        put(room.outbox, fell(5))
        await room.rounds(3)
        await teller.settle(31337, branch)
        await room.rounds(3)
        assert to.taken == []
        branch.final = 5
        await teller.settle(31337, branch)
        await room.rounds(3)
        [got] = to.taken
        assert got["json"]["alerts"][0]["standing"] == "final"
        assert room.open() == 0
        room.close()


async def test_a_reorganisation_while_levmon_was_down_is_noticed(tmp_path: Path) -> None:
    from monitor.pipeline.telling import Teller

    async with sink() as to:
        room = Room(tmp_path, [hook(to, everything())])
        put(room.outbox, fell(5))
        await room.rounds()
        branch = Branch()
        branch.name = "c"
        await Teller(room.outbox, room.sender, clock=room.clock).settle(31337, branch)
        await room.rounds()
        assert [one["kind"] for one in to.taken[1]["json"]["alerts"]] == ["correction"]
        room.close()


# -- without a disk, and besides ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [None, "no_journal"])
async def test_a_full_disk_does_not_keep_alerts_back(tmp_path: Path, off: str | None) -> None:
    from monitor.pipeline.events import Held
    from monitor.pipeline.telling import Teller

    async with sink() as to:
        to.script = ["500", "ok", "500"]
        room = Room(tmp_path, [hook(to, everything())], off)
        teller = Teller(room.outbox, room.sender, clock=room.clock)
        put(room.outbox, fell())
        await room.rounds()
        put(room.outbox, fell(who=2))
        with room.outbox.journal.look() as db:
            pages = db.exec_driver_sql("PRAGMA page_count").scalar()
            db.exec_driver_sql(f"PRAGMA max_page_count = {pages}").close()
        for number in range(40):
            teller.tell([Held(f"the journal cannot be written {number} {'x' * 300}")], None)
        await room.rounds(20)
        texts = [one["text"] for got in to.taken for one in got["json"]["alerts"]]
        last = any("acting is held: the journal cannot be written 39" in text for text in texts)
        assert last is (off is None)
        if off is None:
            assert len(set(to.keys)) == len(to.keys) - 2, "repeated under its key, from memory too"
            assert sum("health fell" in text for text in texts) == 2, "what was journaled before, and only once"
        room.close()


async def test_a_heart_beats_only_while_levmon_sees(tmp_path: Path) -> None:
    async with sink() as to:
        seen: list[Pulse] = []
        channel = replace(hook(to, Wants("dead man")), heartbeat=True)
        room = Room(tmp_path, [channel], pace=Pace(heartbeat_s=60), pulse=lambda: seen[-1] if seen else None)
        await room.rounds(10, 10)
        assert to.taken == []
        seen.append(Pulse("3 positions watched", room.clock.monotonic()))
        await room.rounds(5, 10)
        [beat] = to.taken
        assert beat["json"]["schema"] == "levmon.heartbeat/1"
        assert "3 positions watched" in beat["json"]["text"]
        await room.rounds(60, 10)
        assert len(to.taken) <= 3, "nothing was looked at any more"
        room.close()


@row(
    "S13",
    "nothing that a channel answers or that comes from outside is a command: alerts only go out",
    limit="there is no code that takes a command, so none to switch off",
)
def test_nothing_listens_to_a_command() -> None:
    """Of all modules that `watch`, `protect` and `alerts` can come to load. The one that listens serves health and
    metrics, whose answers look at nothing of the question. The command line's own tests look at the sockets of a
    running `protect`.
    """
    listens = {"listen", "start_server", "create_server", "start_unix_server", "TCPSite", "run_app", "AppRunner"}
    listens |= {"get_updates", "getUpdates", "poll_updates"}
    takes = {"Request", "post", "put", "patch", "delete", "route", "view"}
    loaded = reachable("monitor.cli.watch_command", "monitor.cli.protect_command", "monitor.cli.alerts_command")
    assert {"monitor.alerts.notify", "monitor.alerts.webhook", "monitor.pipeline.telling"} <= loaded.keys()
    found = set()
    for module, tree in loaded.items():
        for node in ast.walk(tree):
            name = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            ours = name.startswith(("care.", "event."))  # the option, and SQLAlchemy's within the process
            if name.rpartition(".")[2] in listens and not ours:
                found.add(f"{module}: {name}")
    assert found == {"monitor.status.server: web.AppRunner", "monitor.status.server: web.TCPSite"}

    tree = loaded["monitor.status.routes"]
    [routes] = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "routes"]
    handlers = [node for node in routes.body if isinstance(node, ast.AsyncFunctionDef)]
    assert [[argument.arg for argument in handler.args.args] for handler in handlers] == [["_"]] * 3
    assert not any(isinstance(node, ast.Name) and node.id == "_" for node in ast.walk(routes))
    called = [ast.unparse(node.func) for node in ast.walk(routes) if isinstance(node, ast.Call)]
    assert called.count("web.get") == 3
    assert not [name for name in called if name.startswith("web.") and name.rpartition(".")[2] in takes]


def reachable(*starts: str) -> dict[str, ast.Module]:
    """Our modules that these import, at once or later, directly or not."""
    top = Path(monitor.__file__).parents[1]
    found: dict[str, ast.Module] = {}
    todo = list(starts)
    while todo:
        module = todo.pop()
        path = top.joinpath(*module.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if module in found or not module.startswith("monitor.") or not path.exists():
            continue
        found[module] = ast.parse(path.read_text())
        for node in ast.walk(found[module]):
            if isinstance(node, ast.Import):
                todo += [name.name for name in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                todo += [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
    return found
