"""Where `levmon watch` shows what it sees: a live table, lines of changes, or JSON."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Self

import click

from monitor.cli import screen, table
from monitor.core.text import REASON_LIMIT, clean
from monitor.core.types import BlockRef, Level
from monitor.oracles.sequencer import Sequencer
from monitor.pipeline.watch import Tick
from monitor.report import Report

FEW = 3
"""So many positions that became unknown together are still told one by one."""


class Sink(ABC):
    """Takes ticks, and remembers the newest report of each position."""

    idle_s: float | None = None
    """after how many seconds without a tick `idle` is worth calling"""

    def __init__(self) -> None:
        self._newest: dict[str, Report] = {}
        self._sequencers: dict[str, Sequencer] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""
        return

    def idle(self) -> None:
        """Nothing has come for a while."""
        return

    def levels(self) -> set[Level]:
        """The levels seen last."""
        return {report.level for report in self._newest.values()}

    def show(self, chain: str, tick: Tick) -> None:
        """Take a tick of the chain of that name."""
        before = dict(self._newest)
        self._newest |= {report.id: report for report in tick.snapshot.reports}
        told = tick.snapshot.outage
        if told is not None:
            was, self._sequencers[chain] = self._sequencers.get(chain, Sequencer.UP), told.state
            if was is told.state:
                tick = replace(tick, snapshot=replace(tick.snapshot, outage=None))  # told already
        self._render(chain, tick, before)

    @abstractmethod
    def _render(self, chain: str, tick: Tick, before: dict[str, Report]) -> None: ...


class JsonLines(Sink):
    """One object per position and block."""

    def _render(self, chain: str, tick: Tick, before: dict[str, Report]) -> None:
        for report in tick.snapshot.reports:
            screen.log(report.to_json())


class Lines(Sink):
    """A line for every change of a level, for what happened to the chain, and now and then that all is as it was."""

    def __init__(self, heartbeat_s: float) -> None:
        super().__init__()
        self._heartbeat_s = heartbeat_s
        self.idle_s = max(heartbeat_s, 1.0)
        self._told_at = float("-inf")
        self._skipped = 0
        self._came_at = time.monotonic()

    def idle(self) -> None:
        quiet_s = int(time.monotonic() - self._came_at)
        screen.log(f"no new block for {quiet_s} s; {table.summary(list(self._newest.values()))}")

    def _render(self, chain: str, tick: Tick, before: dict[str, Report]) -> None:
        block = tick.snapshot.block
        at = f"{chain} {block.number if block else '-'}"
        lines = [f"{at}  {text}" for text in (*events(tick), *_changes(tick, before))]
        self._skipped += tick.skipped
        self._came_at = now = time.monotonic()
        if lines or now - self._told_at >= self._heartbeat_s:
            blocks = "1 block" if self._skipped == 1 else f"{self._skipped} blocks"
            skipped = f"; {blocks} skipped since the line before" if self._skipped else ""
            lines.append(f"{at}  {table.summary(tick.snapshot.reports)}{skipped}")
            self._told_at, self._skipped = now, 0
            screen.log("\n".join(lines))


def _changes(tick: Tick, before: dict[str, Report], who: Callable[[Report], str] = table.full_owner) -> Iterator[str]:
    """One line per position whose level is another than before; one for all that became unknown for one reason."""
    unknown: dict[str, list[Report]] = {}
    rest = []
    for report in sorted(tick.snapshot.reports, key=table.urgency):
        was = before.get(report.id)
        if report.level is (Level.OK if was is None else was.level):
            continue
        if report.level is Level.UNKNOWN:
            unknown.setdefault(report.cause, []).append(report)
        else:
            rest.append(_change(was, report, who))
    for cause, reports in unknown.items():
        if len(reports) > FEW:
            level = click.style(Level.UNKNOWN.value, **table.STYLES[Level.UNKNOWN])
            yield f"{level}  {len(reports)} positions: {cause}"
        else:
            yield from (_change(before.get(report.id), report, who) for report in reports)
    yield from rest


def _change(was: Report | None, report: Report, who: Callable[[Report], str]) -> str:
    level = click.style(report.level.value, **table.STYLES[report.level])
    before = f"{was.level.value} -> " if was else ""
    market = clean(report.subject.market, 60)
    return f"{before}{level}  health {table.health_text(report)}  {who(report)} in {market}: {report.cause}"


def events(tick: Tick) -> list[str]:
    """What happened to the chain itself, in words."""
    told = []
    if tick.trouble is not None:
        told.append(click.style(f"no usable head: {clean(tick.trouble.message, REASON_LIMIT)}", fg="magenta"))
    if tick.snapshot.outage is not None and tick.snapshot.outage.text:
        told.append(click.style(clean(tick.snapshot.outage.text, REASON_LIMIT), fg="magenta", bold=True))
    if tick.reorg is not None:
        since = tick.reorg.ancestor.number if tick.reorg.ancestor else "an older block"
        told.append(
            click.style(f"reorganised: {len(tick.reorg.removed)} blocks after {since} left the chain", bold=True)
        )
    return told


class LiveTable(Sink):
    """A table that renews itself in place; as many of the most urgent positions as fit on the screen."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        super().__init__()
        self._console = Console(no_color=not screen.colour(), highlight=False, markup=False)
        self._live: Any = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
        self.idle_s = 1.0
        self._chains: dict[str, BlockRef | None] = {}
        self._events: list[str] = []
        self._skipped = 0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def close(self) -> None:
        self._live.stop()

    def idle(self) -> None:
        """Ages go on."""
        self._draw()

    def _render(self, chain: str, tick: Tick, before: dict[str, Report]) -> None:
        block = self._chains[chain] = tick.snapshot.block
        self._skipped += tick.skipped
        at = f"{chain} {block.number if block else '-'}"
        changes = _changes(tick, before, table.short_owner) if before else ()
        self._events = [*self._events, *(f"{at}  {text}" for text in (*events(tick), *changes))][-6:]
        self._draw()

    def _draw(self) -> None:
        from rich.text import Text

        self._live.update(Text.from_ansi("\n".join(self._lines()), no_wrap=True, overflow="crop"), refresh=True)

    def _lines(self) -> list[str]:
        reports = sorted(self._newest.values(), key=table.urgency)
        below = ["", *self._events] if self._events else []
        skipped = f", skipped {self._skipped}" if self._skipped else ""
        chains = [table.block_line(*one) for one in self._chains.items()]
        below += ["", *chains[:-1], f"{chains[-1]}{skipped}; Ctrl-C ends it" if chains else "", table.summary(reports)]
        room = max(self._console.size.height - len(below) - 2, 3)
        shown = table.render(reports[:room] if len(reports) > room else reports, self._console.size.width)
        if len(reports) > room:
            shown.append(f"and {len(reports) - room} more, less urgent")
        return [*shown, *below]
