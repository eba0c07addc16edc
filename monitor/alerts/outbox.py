"""The sender: from the journal's outbox to the channels, each at least once, in order, at its own pace.

A message is journaled with its alerts before its first try and marked after the channel has taken it, so a crash in
between repeats it under the same key. Each channel waits for itself alone. What cannot be journaled (a full disk) is
sent from memory. Nothing here is waited for by whoever watches or acts.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from monitor.alerts import render
from monitor.alerts.channel import Channel, Letter, Undelivered
from monitor.alerts.defences import ALL, Defences
from monitor.chain.clock import SYSTEM, Clock
from monitor.journal.outbox import RANK, ChannelState, Message, Note, Outbox, Wants
from monitor.journal.rows import Alert, JournalError, Severity

POLL_S = 0.5
HOUSEKEEPING_S = 5
BURST = 3
"""So many messages in a row; then a channel's alerts are collected until its window ends."""
FIRST_RETRY_S, LONGEST_RETRY_S = 2, 300
LONGEST_WAIT_S = 3600
"""Where a channel asks for more than our own backoff."""
TOLD_AFTER = 3
"""After so many failures in a row the others are told."""
LOOSE = 1000
"""So many alerts are kept in memory while the journal cannot be written, the newest."""
LEAST_PULSE_S = 120


@dataclass(frozen=True, slots=True)
class Pace:
    """How often: at most three messages in `group_s`, a heartbeat, and when what is critical goes elsewhere."""

    group_s: int = 30
    heartbeat_s: int = 0
    escalation_s: int = 600


@dataclass(frozen=True, slots=True)
class Pulse:
    """That levmon watches, in words, and when it last looked, by the monotonic clock."""

    text: str
    at: float


@dataclass(slots=True)
class _Line:
    """What a channel's pace is measured by."""

    channel: Channel
    state: ChannelState
    sent: deque[float] = field(default_factory=lambda: deque(maxlen=BURST))
    loose: list[Alert] = field(default_factory=list)
    """not journaled, and in no message yet"""
    holding: Message | None = None
    """the message from memory that has not arrived"""
    carried: set[int] = field(default_factory=set)
    """delivered from memory: alerts that the journal still holds for open"""
    unmarked: set[str] = field(default_factory=set)
    """delivered, and the journal could not be told"""
    ready: bool = False


def _silent(_: str) -> None:
    pass


class Sender:
    """All channels of one process. `outbox` None: there is no journal, everything goes from memory.

    `pulse` is asked every few seconds; `say` is told what the operator should see; `probe` names the points at which a
    fault test may end the process.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        outbox: Outbox | None,
        pace: Pace | None = None,
        *,
        clock: Clock = SYSTEM,
        pulse: Callable[[], Pulse | None] = lambda: None,
        say: Callable[[str], None] = _silent,
        probe: Callable[[str], None] = _silent,
        defences: Defences = ALL,
    ) -> None:
        """May raise: JournalError."""
        self._outbox, self._pace, self._clock = outbox, pace or Pace(), clock
        self._pulse, self._say, self._probe, self._defences = pulse, say, probe, defences
        self._count = 0
        known: dict[str, ChannelState] = {}
        if outbox is not None:
            outbox.enroll([channel.name for channel in channels], self._now_s)
            known = outbox.channels()
        self._lines = [_Line(one, known.get(one.name, ChannelState(one.name))) for one in channels]
        self._beat_at = clock.monotonic()

    @property
    def _now_s(self) -> int:
        return int(self._clock.time())

    # -- running -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled. A supervision point: nothing that goes wrong here may end watching or acting."""
        async with asyncio.TaskGroup() as tasks:
            for line in self._lines:
                tasks.create_task(self._forever(partial(self._step, line), POLL_S))
            tasks.create_task(self._forever(self.housekeep, HOUSEKEEPING_S))

    async def _forever(self, step: Callable[[], Awaitable[None]], every_s: float) -> None:
        while True:
            try:
                await step()
            except Exception as error:  # noqa: BLE001  # alert sender: one of the four supervision points
                self._say(f"alerts: unexpected {type(error).__name__}")
            await self._clock.sleep(every_s)

    async def round(self) -> None:
        """One try on every channel, side by side, and what is due besides."""
        await asyncio.gather(*(self._step(line) for line in self._lines))
        await self.housekeep()

    async def drain(self, within_s: float) -> None:
        """A last try for what is new. What does not go out now stays in the journal for the next start."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await asyncio.gather(*(self._step(line, last=True) for line in self._lines))
        for line in self._lines:
            await line.channel.port.close()

    # -- from memory ---------------------------------------------------------------------------------------------

    def direct(self, notes: Sequence[Note]) -> None:
        """Send without the journal, which cannot be written now."""
        if not self._defences.no_journal:
            return
        for note in notes:
            self._count += 1
            unique = note.key or f"{note.kind}/{note.subject}/{note.body}/{self._now_s}"
            key = f"loose/{hashlib.sha256(unique.encode()).hexdigest()[:24]}"
            block = note.block
            alert = Alert(
                id=-self._count,
                record_seq=0,
                dedupe_key=key,
                severity=note.severity,
                subject=note.subject,
                body=note.body,
                at_s=self._now_s,
                kind=note.kind,
                detail=json.dumps(dict(note.detail)),
                chain_id=block.chain_id if block else None,
                block_number=block.number if block else None,
                block_hash=block.hash if block else None,
                standing="provisional" if block else "final",
            )
            for line in self._lines:
                if _wants(line.channel.wants, alert):
                    line.loose = [*line.loose, alert][-LOOSE:]

    # -- one channel ---------------------------------------------------------------------------------------------

    async def _step(self, line: _Line, *, last: bool = False) -> None:
        """Send the next message, if one is due."""
        now_s, state = self._now_s, line.state
        # further ahead than any wait is means that the machine's clock went back
        waits = state.failures > 0 and now_s < state.retry_s <= now_s + LONGEST_WAIT_S
        if (waits and self._defences.backoff) or (self._crowded(line) and not last):
            return
        if not line.ready:
            try:
                await line.channel.port.prepare()
            except Undelivered as failed:
                self._failed(line, failed, None)
                return
            line.ready = True
        message = self._next(line)
        if message is None:
            return
        plain = state.failures % TOLD_AFTER == TOLD_AFTER - 1
        if not self._defences.mark_after:
            self._mark(line, message)
        try:
            await self._carry(line, message, plain=plain)
        except Undelivered as failed:
            self._failed(line, failed, message)
            return
        self._probe("after delivery")
        line.sent.append(self._clock.monotonic())
        self._arrived(line, message)

    def _crowded(self, line: _Line) -> bool:
        """Whether the channel had so many messages lately that alerts are collected."""
        if not self._defences.group:
            return False
        return len(line.sent) == BURST and self._clock.monotonic() - line.sent[0] < self._pace.group_s

    def _next(self, line: _Line) -> Message | None:
        """What was composed and has not arrived, else a new message of all that waits."""
        message = line.holding
        with suppress(JournalError):
            message = message or self._journaled(line)
        if message is None and line.loose:
            message = line.holding = Message(secrets.token_hex(12), line.channel.name, tuple(line.loose))
            line.loose = []
        return message

    def _journaled(self, line: _Line) -> Message | None:
        """From the journal. One that can be read and not written is sent from memory. May raise: JournalError."""
        name = line.channel.name
        if self._outbox is None:
            return None
        message = self._outbox.unsent(name)
        if message is not None and message.key not in line.unmarked:
            return message
        if message is not None:
            with suppress(JournalError):
                self._outbox.arrived(message, self._now_s)
                line.unmarked.discard(message.key)
        waiting = [alert for alert in self._outbox.wanted(line.channel.wants) if alert.id not in line.carried]
        if not self._defences.group:
            waiting = waiting[:1]
        if not waiting:
            return None
        made = Message(secrets.token_hex(12), name, tuple(waiting))
        try:
            self._outbox.compose(made.key, name, [alert.id for alert in waiting], self._now_s)
        except JournalError:
            if not self._defences.no_journal:
                raise
            line.holding = made
        return made

    async def _carry(self, line: _Line, message: Message, *, plain: bool) -> None:
        key = message.key if self._defences.same_key else secrets.token_hex(12)
        worst_first = self._defences.worst_first
        if len(message.alerts) > render.LISTED:  # takes a while: not on the loop on which watching goes on
            made = await asyncio.to_thread(render.letter, key, message.alerts, plain=plain, worst_first=worst_first)
        else:
            made = render.letter(key, message.alerts, plain=plain, worst_first=worst_first)
        try:
            await line.channel.port.send(made)
        except Undelivered as failed:
            if not failed.refused or plain:
                raise
            await line.channel.port.send(render.letter(key, message.alerts, plain=True))

    def _mark(self, line: _Line, message: Message) -> None:
        if message is line.holding:
            line.holding = None
            line.carried |= {alert.id for alert in message.alerts}
            return
        try:
            if self._outbox is not None:
                self._outbox.arrived(message, self._now_s)
        except JournalError:
            line.unmarked.add(message.key)

    def _arrived(self, line: _Line, message: Message) -> None:
        state = line.state
        self._mark(line, message)
        line.state = replace(
            state, failures=0, failing_since_s=None, retry_s=0, error="", told=False, delivered_s=self._now_s
        )
        if state.told:
            since_s = self._now_s - (state.failing_since_s or self._now_s)
            self._report(line, Severity.WARN, f"delivers again, after {since_s} s")
        elif state.failures:
            self._say(f"alerts: channel {line.channel.name} delivers again")

    def _failed(self, line: _Line, failed: Undelivered, message: Message | None) -> None:
        state, now_s = line.state, self._now_s
        if message is not None and not self._defences.retry:
            self._mark(line, message)
        failures = state.failures + 1
        backoff_s = min(FIRST_RETRY_S << min(failures - 1, 20), LONGEST_RETRY_S)
        wait_s = max(backoff_s, min(failed.retry_after_s, LONGEST_WAIT_S))
        first = state.failures == 0
        told = state.told or (failures >= TOLD_AFTER and self._defences.tell_others)
        line.state = replace(
            state,
            failures=failures,
            failing_since_s=now_s if state.failing_since_s is None else state.failing_since_s,
            retry_s=now_s + wait_s,
            error=failed.message,
            told=told,
        )
        with suppress(JournalError):
            if self._outbox is not None:
                self._outbox.failed(line.state)
        if told and not state.told:
            self._report(line, Severity.CRITICAL, f"fails: {failed.message}; alerts for it wait")
        elif first:
            self._say(f"alerts: channel {line.channel.name} fails: {failed.message}")

    def _report(self, line: _Line, severity: Severity, what: str) -> None:
        """Tell everybody but the channel itself."""
        text = f"channel {line.channel.name} {what}"
        self._say(f"alerts: {text}")
        note = Note("channel", f"channel:{line.channel.name}", severity, text)
        try:
            if self._outbox is None:
                self.direct([note])
            else:
                self._outbox.note([note], self._now_s)
        except JournalError:
            self.direct([note])

    # -- besides -------------------------------------------------------------------------------------------------

    async def housekeep(self) -> None:
        """Ask how levmon fares, escalate, close what is done with, send the heartbeat."""
        pulse = self._pulse()
        self._housekeep_journal()
        await self._beat(pulse)

    def _housekeep_journal(self) -> None:
        if self._outbox is None:
            return
        with suppress(JournalError):
            self._outbox.see(self._now_s)
            if self._defences.escalate and any(line.channel.wants.last_resort for line in self._lines):
                late = self._outbox.escalate(self._now_s - self._pace.escalation_s)
                if late:
                    self._say(f"alerts: {late} critical alerts reached nobody and are escalated")
            self._outbox.settle([line.channel.wants for line in self._lines], self._now_s)

    async def _beat(self, pulse: Pulse | None) -> None:
        """That levmon lives, to whoever wants to notice when it stops. Not repeated and not journaled: the next comes.

        Withheld when nothing was looked at lately: a heart that beats in a body that does not see is a lie.
        """
        now = self._clock.monotonic()
        if not self._pace.heartbeat_s or now - self._beat_at < self._pace.heartbeat_s:
            return
        if pulse is None or now - pulse.at > max(self._pace.heartbeat_s, LEAST_PULSE_S):
            return
        self._beat_at = now
        late_s = self.oldest_age_s()
        text = f"{pulse.text}; {f'an alert has waited {late_s} s' if late_s else 'no alert waits'}"
        key = f"heartbeat/{self._now_s}"
        content = {"schema": "levmon.heartbeat/1", "key": key, "severity": "info", "text": text}
        beat = Letter(key, "levmon is alive", render.chat(text), "info", content)
        wanting = [line.channel for line in self._lines if line.channel.heartbeat and not line.state.failures]
        await asyncio.gather(*(_try(channel, beat) for channel in wanting))

    def oldest_age_s(self) -> int:
        """How long the oldest alert waits that somebody still has to be told; 0 where none does."""
        oldest_s = None
        with suppress(JournalError):
            oldest_s = self._outbox.oldest_s() if self._outbox is not None else None
        loose = [
            alert.at_s
            for line in self._lines
            for alert in (*line.loose, *(line.holding.alerts if line.holding is not None else ()))
        ]
        waits = [self._now_s - at_s for at_s in (*loose, *([oldest_s] if oldest_s is not None else []))]
        return max([0, *waits])

    def channels(self) -> list[str]:
        """By name, in the order of the file."""
        return [line.channel.name for line in self._lines]

    def failing(self) -> dict[str, str]:
        """What keeps channels from delivering, by name."""
        return {line.channel.name: line.state.error for line in self._lines if line.state.failures}


async def _try(channel: Channel, beat: Letter) -> None:
    with suppress(Undelivered):
        await channel.port.send(beat)


def _wants(wants: Wants, alert: Alert) -> bool:
    """As the journal's own question, for alerts that are not in it."""
    if alert.subject == f"channel:{wants.name}" or (wants.only_final and alert.standing != "final"):
        return False
    return alert.kind in wants.kinds and RANK[alert.severity] >= RANK[wants.least]
