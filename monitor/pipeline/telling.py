"""From what is seen to what is told: level changes, decisions without an action, whatever stands in the way of acting.

Levels are those of the thresholds with hysteresis, unknown at the first block at which it is so. What was told last is
in the journal, so that a restart neither repeats nor forgets. What cannot be journaled goes to the sender at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Protocol

from monitor.alerts.defences import ALL, Defences
from monitor.alerts.outbox import Pulse, Sender
from monitor.chain.clock import SYSTEM, Clock
from monitor.core.errors import ChainError
from monitor.core.text import clean
from monitor.core.types import BlockRef, Known, Level
from monitor.core.units import format_ratio, format_units
from monitor.journal.outbox import Note, Outbox, Told
from monitor.journal.rows import JournalError, Severity
from monitor.journal.store import Journal
from monitor.oracles.sequencer import Sequencer
from monitor.pipeline.beside import Outage
from monitor.pipeline.events import Decided, Disputed, Event, Forbidden, Held, Missing, Suspect, Unready
from monitor.policy.levels import URGENCY
from monitor.policy.rules import steady
from monitor.report import Report, Subject, change_pct, nearest

BAND = Fraction(1, 100)
SEVERITY = {
    Level.OK: Severity.INFO,
    Level.WATCH: Severity.INFO,
    Level.WARN: Severity.WARN,
    Level.CRITICAL: Severity.CRITICAL,
    Level.UNKNOWN: Severity.WARN,
}
BAD = frozenset({Level.CRITICAL, Level.UNKNOWN})
ADVICE = {
    Level.WARN: "repay debt or add collateral before it falls further",
    Level.CRITICAL: "repay debt or add collateral now",
    Level.UNKNOWN: "look at the position elsewhere, and run levmon doctor",
}


class Blocks(Protocol):
    """What corrections need of a chain."""

    async def block(self, at: int, /) -> BlockRef: ...

    async def finalized(self) -> BlockRef:
        """The newest block that nothing can reorganise."""
        ...


class Teller:
    """One process's alerts. `outbox` None: there is no journal. `does` says what levmon does about a position."""

    def __init__(
        self,
        outbox: Outbox | None,
        sender: Sender,
        *,
        escalation_s: int = 600,
        does: Callable[[str], str] = lambda _: "",
        clock: Clock = SYSTEM,
        defences: Defences = ALL,
    ) -> None:
        """May raise: JournalError."""
        self._outbox, self._sender = outbox, sender
        self._escalation_s, self._does, self._clock, self._defences = escalation_s, does, clock, defences
        self._told: dict[str, Told] = outbox.levels() if outbox is not None else {}
        self._seen: dict[str, Report] = {}
        self._doubtful: set[int] = set()
        """Chains whose provisional alerts must all be looked at: at the start, and after a reorganisation."""
        self._known_chains: set[int] = set()
        self._sequencers: dict[int, Sequencer] = {}
        self._pulse: Pulse | None = None
        self._blind: set[str] = set()

    @property
    def _now_s(self) -> int:
        return int(self._clock.time())

    @property
    def journal(self) -> Journal | None:
        """Where alerts are kept; None where they are sent from memory."""
        return self._outbox.journal if self._outbox is not None else None

    @property
    def sender(self) -> Sender:
        """Who carries them, and knows how the channels fare."""
        return self._sender

    def _tell(self, notes: Sequence[Note], at_s: int, levels: Sequence[Told] = ()) -> None:
        """Into the journal, or where that fails straight to the channels."""
        if not notes and not levels:
            return
        try:
            if self._outbox is None:
                raise JournalError("there is none")
            self._outbox.note(notes, at_s, levels)
        except JournalError:
            self._sender.direct(notes)
        self._told |= {told.position_id: told for told in levels}

    # -- levels --------------------------------------------------------------------------------------------------

    def look(self, reports: Sequence[Report], block: BlockRef | None, outage: Outage | None = None) -> None:
        """Take in a snapshot: every change of a level, and of a rollup's sequencer, is told in one commit."""
        notes = self._sequencer(block, outage)
        levels: list[Told] = []
        for report in reports:
            told = self._told.get(report.id, Told(report.id, Level.OK))
            level, cause = Level.UNKNOWN, report.cause
            if report.health is not None:
                level, cause = steady(told.level, report.health, report.subject.thresholds, BAND)
            if level is not told.level:
                notes.append(self._changed(report, told, level, cause))
                since_s = told.since_s if {level, told.level} <= BAD else self._now_s
                levels.append(Told(report.id, level, _health(report), since_s))
            self._seen[report.id] = report
        at_s = block.timestamp if block is not None else self._now_s
        self._tell(notes, at_s, levels)
        worst = min((one.level for one in self._seen.values()), key=URGENCY.index, default=Level.OK)
        self.pulse(f"{len(self._seen)} positions watched, the worst is {worst.value}")

    def pulse(self, text: str) -> None:
        """That a block was judged just now, in words for the heartbeat."""
        self._pulse = Pulse(clean(text, 300), self._clock.monotonic())

    def blind(self, market: str, why: str, block: BlockRef | None) -> None:
        """Why a whole market cannot be judged, or "" where it can; told when that changes."""
        if (market in self._blind) is bool(why):
            return
        self._blind ^= {market}
        words = f"{market} cannot be judged: {clean(why, 300)}" if why else f"{market} is judged again"
        severity = Severity.CRITICAL if why else Severity.INFO
        at_s = block.timestamp if block is not None else self._now_s
        self._tell([Note("hold", f"market:{market}", severity, words)], at_s)

    def _sequencer(self, block: BlockRef | None, outage: Outage | None) -> list[Note]:
        """That it stopped or came back, or that nobody can say; once each."""
        if block is None or outage is None:
            return []
        before = self._sequencers.get(block.chain_id, Sequencer.UP)
        self._sequencers[block.chain_id] = outage.state
        if outage.state is before or {outage.state, before} == {Sequencer.UP, Sequencer.BACK}:
            return []
        severity = Severity.CRITICAL if outage.state is Sequencer.DOWN else Severity.WARN
        words = outage.text or "the rollup's sequencer is up"
        return [Note("hold", f"chain:{block.chain_id}", severity, clean(words, 400))]

    def _changed(self, report: Report, told: Told, level: Level, cause: str) -> Note:
        severity = max(SEVERITY[level], SEVERITY[told.level], key=list(Severity).index)
        if level is Level.UNKNOWN and told.level in (Level.WARN, Level.CRITICAL):
            severity = Severity.CRITICAL
        health = _health(report)
        detail = {
            **_about(report.subject),
            "was": told.level.value,
            "level": level.value,
            "cause": cause,
            "before": told.health or (_health(self._seen[report.id]) if report.id in self._seen else ""),
            "health": health,
            "nearest": _nearest(report),
            "does": self._does(report.id),
            "advice": ADVICE.get(level, ""),
        }
        words = f"{told.level.value} -> {level.value}: {clean(cause, 300)}"
        return Note(
            "level", report.id, severity, words, "", detail, report.block if level is not Level.UNKNOWN else None
        )

    def beat(self) -> Pulse | None:
        """What is due by time alone, and that levmon watches; None before the first look."""
        self.remind()
        return self._pulse

    def remind(self) -> None:
        """What is critical or unknown for too long is told once more, and to the channel of last resort."""
        late = [
            told
            for told in self._told.values()
            if told.level in BAD
            and not told.reminded
            and told.position_id in self._seen
            and self._now_s - told.since_s >= self._escalation_s
        ]
        notes = []
        for told in late:
            report = self._seen[told.position_id]
            minutes = (self._now_s - told.since_s) // 60
            detail = {
                **_about(report.subject),
                "level": told.level.value,
                "health": _health(report),
                "does": self._does(told.position_id),
                "advice": ADVICE[told.level],
            }
            words = f"{told.level.value} for {minutes} minutes: {clean(report.cause, 300)}"
            notes.append(Note("reminder", told.position_id, Severity.CRITICAL, words, "", detail))
        self._tell(notes, self._now_s, [replace(told, reminded=True) for told in late])

    # -- reorganisations and finality ----------------------------------------------------------------------------

    async def settle(self, chain_id: int, chain: Blocks, *, reorganised: bool = False) -> None:
        """Correct what rests on blocks that left the chain, and let stand what rests on final ones. Raises nothing."""
        if self._outbox is None or not self._defences.correct:
            return
        if reorganised or chain_id not in self._known_chains:
            self._doubtful.add(chain_id)
            self._known_chains.add(chain_id)
        try:
            resting = self._outbox.provisional(chain_id)
            if not resting:
                self._doubtful.discard(chain_id)
                return
            last = await chain.finalized()
            gone, final = [], []
            for number, block_hash in resting:
                if number > last.number and chain_id not in self._doubtful:
                    continue
                found = await chain.block(number)
                if found.hash != block_hash:
                    gone.append(block_hash)
                elif number <= last.number:
                    final.append(block_hash)
            self._told |= self._outbox.reconcile(chain_id, gone, final, last.timestamp, self._now_s)
            self._doubtful.discard(chain_id)
        except (ChainError, JournalError):
            return  # looked at again with the next block

    # -- what else happens ---------------------------------------------------------------------------------------

    def tell(self, events: Sequence[Event], block: BlockRef | None) -> None:
        """Decisions that became no action, missing allowances, prices in doubt, acting that is held; actions tell

        themselves.
        """
        at_s = block.timestamp if block is not None else self._now_s
        self._tell([note for event in events if (note := _note(event)) is not None], at_s)

    def run(self, text: str, *, detail: Mapping[str, str] | None = None) -> None:
        """That levmon starts or stops."""
        self._tell([Note("run", "levmon", Severity.INFO, clean(text, 300), "", detail or {})], self._now_s)


def _note(event: Event) -> Note | None:
    match event:
        case Decided() if event.action is None:
            position = event.decision.position_id
            impossible = event.plan is None
            words = f"no rescue is possible: {event.said}"
            if event.plan is not None:
                _, _, refused = event.said.partition("; ")
                words = f"dry, not done: {'; '.join(filter(None, (refused, event.plan.why)))}"
            detail = {"position": position, "cause": clean(event.decision.cause, 300)}
            severity = Severity.CRITICAL if impossible else Severity.WARN
            return Note("action", position, severity, clean(words, 400), "", detail, event.decision.block)
        case Held(why):
            if not why:
                return Note("hold", "acting", Severity.WARN, "acting goes on")
            return Note("hold", "acting", Severity.CRITICAL, f"acting is held: {clean(why, 400)}")
        case Missing() | Forbidden() | Unready():
            words, severity = _wanted(event)
            return Note("allowance", event.subject.id, severity, words, "", _about(event.subject))
        case Suspect(subject, why):
            severity = Severity.CRITICAL if why else Severity.WARN
            words = clean(why, 400) or "its prices are believed again"
            return Note("hold", subject.id, severity, words, "", _about(subject))
        case Disputed(subject, why):
            words = f"nothing is sold for now: {clean(why, 400)}" if why else "its prices are confirmed again"
            return Note("hold", subject.id, Severity.WARN, words, "", _about(subject))
        case _:
            return None


def _wanted(event: Missing | Forbidden | Unready) -> tuple[str, Severity]:
    """What somebody should mend before it is needed, or that it is."""
    match event:
        case Missing(_, symbols):
            names = ", ".join(clean(symbol, 20) for symbol in symbols)
            return f"no allowance for {names}: a rescue would be refused; see levmon approve", Severity.CRITICAL
        case Forbidden(_, reasons):
            if not reasons:
                return "its owner lets the guard act", Severity.INFO
            return f"its owner must act: {clean('; '.join(reasons), 400)}; see levmon guard", Severity.CRITICAL
        case Unready(_, why, helpless):
            if not why:
                return "a rescue would reach its target again", Severity.INFO
            return f"a rescue would fall short: {clean(why, 400)}", Severity.CRITICAL if helpless else Severity.WARN


def _about(subject: Subject) -> dict[str, str]:
    """Which position, as the detail of a note has it."""
    return {"position": subject.id, "market": clean(subject.market, 60), "name": clean(subject.name, 60)}


def _health(report: Report) -> str:
    """Health in words, never rounded up; "" where there is none."""
    verdict = report.health.verdict if report.health is not None else None
    return format_ratio(verdict.numerator, verdict.denominator, 4) if isinstance(verdict, Known) else ""


def _nearest(report: Report) -> str:
    price = nearest(report.liquidation_prices)
    if price is None:
        return ""
    at = format_units(price.price, price.decimals)
    way = "falls to" if price.direction == "below" else "rises to"
    return f"liquidated when {clean(price.symbol)} alone {way} {at} ({change_pct(price, 2)} %)"
