"""What is told of what is seen: on a toy market, with a real journal."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

from monitor.alerts.outbox import Sender
from monitor.core.types import BlockRef, Health, Known, Level, MarketRef, Unit
from monitor.journal.outbox import Outbox
from monitor.journal.rows import Alert, Severity
from monitor.oracles.sequencer import Sequencer
from monitor.pipeline.beside import Outage
from monitor.pipeline.events import Decided, Event, Held, Missing
from monitor.pipeline.telling import Teller
from monitor.policy.planner import Proposal
from monitor.policy.rules import Aim, Decision
from monitor.report import Report, Subject, unknown
from monitor.testing.clock import FakeClock
from tests.alerts.ledger import NOW_S, block, opened

SUBJECT = Subject(MarketRef(31337, "toy", "0x" + "01" * 20), "core", "0x" + "02" * 20, "treasury")


class Room:
    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, FakeClock(NOW_S)
        self.start()

    def start(self) -> None:
        self.outbox: Outbox = opened(self.folder)
        self.teller = Teller(
            self.outbox,
            Sender([], self.outbox, clock=self.clock),
            clock=self.clock,
            does=lambda _: "rescues below 1.15, to 1.4",
            escalation_s=60,
        )

    def restart(self) -> None:
        self.outbox.journal.close()
        self.start()

    def see(self, number: int, health: str | None, why: str = "no answer") -> None:
        at = block(number)
        self.teller.look([unknown(SUBJECT, why, at) if health is None else known(health, at)], at)

    @property
    def told(self) -> list[Alert]:
        return self.outbox.journal.pending_alerts(100)

    def levels(self) -> list[str]:
        details = [json.loads(alert.detail) for alert in self.told if alert.kind == "level"]
        return [f"{one['was']} {one['level']}" for one in details]


def known(health: str, at: BlockRef) -> Report:
    ratio = Fraction(health)
    verdict = Known(ratio.numerator, ratio.denominator)
    return Report(SUBJECT, Level.OK, "", at, Health(SUBJECT.id, at, verdict, Unit("USD", 0), {}))


def test_each_change_is_told_once_with_health_before_and_after(tmp_path: Path) -> None:
    room = Room(tmp_path)
    for number, health in enumerate(("2.5", "1.4", "1.4", "1.05", "1.09")):
        room.see(number, health)
    assert room.levels() == ["ok warn", "warn critical"]
    [warn, critical] = room.told
    detail = json.loads(critical.detail)
    assert (detail["before"], detail["health"]) == ("1.4000", "1.0500")
    assert detail["does"] == "rescues below 1.15, to 1.4"
    assert (warn.severity, critical.severity) == (Severity.WARN, Severity.CRITICAL)
    assert (critical.block_number, critical.standing) == (3, "provisional")
    room.outbox.journal.close()


def test_recovery_is_told_to_those_who_were_told_of_the_fall(tmp_path: Path) -> None:
    room = Room(tmp_path)
    for number, health in enumerate(("1.05", "1.105", "1.2", "2.5")):
        room.see(number, health)
    assert room.levels() == ["ok critical", "critical warn", "warn ok"]
    assert [alert.severity for alert in room.told] == [Severity.CRITICAL, Severity.CRITICAL, Severity.WARN]
    room.outbox.journal.close()


def test_a_sequencer_that_stops_and_comes_back_is_told_once_each(tmp_path: Path) -> None:
    room = Room(tmp_path)
    states = (Sequencer.UP, Sequencer.DOWN, Sequencer.DOWN, Sequencer.BACK, Sequencer.BACK, Sequencer.UP)
    for number, state in enumerate((*states, Sequencer.UNKNOWN, Sequencer.UP)):
        text = "" if state is Sequencer.UP else f"it is {state.value}"
        room.teller.look([known("2.5", block(number))], block(number), Outage(state, text))
    assert [(alert.subject, alert.body, alert.severity) for alert in room.told] == [
        ("chain:31337", "it is down", Severity.CRITICAL),
        ("chain:31337", "it is back", Severity.WARN),
        ("chain:31337", "it is unknown", Severity.WARN),
        ("chain:31337", "the rollup's sequencer is up", Severity.WARN),
    ]
    room.outbox.journal.close()


def test_unknown_is_told_at_the_first_block_and_never_healthy(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.see(1, "2.5")
    room.see(2, None, "the price feed reverted")
    room.see(3, None, "the price feed reverted")
    room.see(4, "1.05")
    room.see(5, None)
    assert room.levels() == ["ok unknown", "unknown critical", "critical unknown"]
    first, _, last = room.told
    assert "the price feed reverted" in first.body
    assert (first.severity, last.severity) == (Severity.WARN, Severity.CRITICAL)
    assert first.standing == "final"
    room.outbox.journal.close()


def test_a_restart_neither_repeats_nor_forgets(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.see(1, "1.05")
    room.restart()
    room.see(2, "1.05")
    assert room.levels() == ["ok critical"]
    room.restart()
    room.see(9, "2.5")
    assert room.levels() == ["ok critical", "critical ok"]
    room.outbox.journal.close()


def test_what_stays_critical_is_told_once_more(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.see(1, "1.05")
    room.clock.now += 30
    room.see(2, None)  # from bad to bad: the wait goes on
    room.clock.now += 29
    room.teller.remind()
    assert len(room.told) == 2
    room.clock.now += 1
    room.teller.remind()
    room.teller.remind()
    [*_, reminder] = room.told
    assert (len(room.told), reminder.kind, reminder.severity) == (3, "reminder", Severity.CRITICAL)
    assert "unknown for 1 minutes" in reminder.body
    room.restart()
    room.see(3, None)
    room.clock.now += 100
    room.teller.remind()
    assert len(room.told) == 3
    room.outbox.journal.close()


def test_what_stands_in_the_way_of_acting_is_told(tmp_path: Path) -> None:
    room = Room(tmp_path)
    decision = Decision(SUBJECT.id, block(3), "first", 1, Aim.RAISE, "health was below 1.2", Fraction(3, 2))
    events: list[Event] = [
        Decided(SUBJECT, decision, Proposal(), None, said="the purse is empty"),
        Held("the kill switch is thrown"),
        Held(""),
        Missing(SUBJECT, ("USDC", "\x1bEVIL")),
    ]
    room.teller.tell(events, block(3))
    assert [(one.kind, one.severity.value) for one in room.told] == [
        ("action", "critical"),
        ("hold", "critical"),
        ("hold", "warn"),
        ("allowance", "critical"),
    ]
    assert "no rescue is possible: the purse is empty" in room.told[0].body
    assert "\x1b" not in room.told[3].body
    room.outbox.journal.close()


def test_a_market_that_cannot_be_judged_is_told_once_and_so_is_that_it_can_again(tmp_path: Path) -> None:
    room = Room(tmp_path)
    for why in ("", "endpoint 1 is silent", "endpoint 2 is silent", "", "", "both are silent"):
        room.teller.blind("core", why, block(1) if not why else None)
    assert [(alert.severity, alert.body) for alert in room.told] == [
        (Severity.CRITICAL, "core cannot be judged: endpoint 1 is silent"),
        (Severity.INFO, "core is judged again"),
        (Severity.CRITICAL, "core cannot be judged: both are silent"),
    ]
    room.outbox.journal.close()


def test_a_heartbeat_says_what_was_judged(tmp_path: Path) -> None:
    room = Room(tmp_path)
    assert room.teller.beat() is None
    room.teller.pulse("core: 5 accounts, 1 below 1")
    beat = room.teller.beat()
    assert beat is not None
    assert beat.text == "core: 5 accounts, 1 below 1"
    room.outbox.journal.close()
