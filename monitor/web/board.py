"""The newest report of each position and what all of them come to, kept up by each tick at the cost of what it brings.

Belongs to the thread that shows pages. Must not judge: order and sums are for reading, levels are the reports' own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from monitor.core.types import BlockRef, Health, Known, Level, MarketRef, Unit
from monitor.pipeline.market import MarketState
from monitor.pipeline.watch import Tick
from monitor.report import Report

NEAR = 10**18
"""Health times this, down, is what order goes by."""
EVENTS = 50

Place = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain's newest tick. `came_s`: when it came, by this machine's clock; `block_s` of the block before."""

    name: str
    chain_id: int
    block: BlockRef | None
    came_s: int
    skipped: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Sum:
    """Of the known positions of one unit."""

    positions: int = 0
    collateral: int = 0
    debt: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a chain itself, in words."""

    at_s: int
    chain: str
    text: str


@dataclass(slots=True)
class Board:
    """Everything that pages show of positions. `version` counts what was taken in."""

    chains: dict[str, Chain] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)
    counts: dict[Level, int] = field(default_factory=lambda: dict.fromkeys(Level, 0))
    sums: dict[Unit, Sum] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    version: int = 0
    _states: dict[MarketRef, MarketState] = field(default_factory=dict)
    _keys: dict[str, int] = field(default_factory=dict)
    _places: dict[str, Place] = field(default_factory=dict)
    _order: list[str] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, chain: Chain, tick: Tick, events: Sequence[str] = ()) -> None:
        """Take a tick in; whoever waits for a change goes on."""
        before = self.chains.get(chain.name)
        if before is not None and chain.block is None:
            chain = Chain(chain.name, chain.chain_id, before.block, chain.came_s, chain.skipped, chain.trouble)
        self.chains[chain.name] = chain
        self._states |= tick.snapshot.markets
        for report in tick.snapshot.reports:
            self._put(report)
        self._order = sorted(self._order, key=self._places.__getitem__)
        self.events = [*self.events, *(Event(chain.came_s, chain.name, text) for text in events)][-EVENTS:]
        self.version += 1
        self._wake()

    def _put(self, report: Report) -> None:
        name = report.id  # made anew whenever it is asked for
        was = self.reports.get(name)
        if was is None:
            self._keys[name] = len(self._keys)
            self._order.append(name)
        else:
            self.counts[was.level] -= 1
            self._add(was, -1)
        self.reports[name] = report
        self.counts[report.level] += 1
        self._add(report, 1)
        self._places[name] = (*urgency(report), name)

    def _add(self, report: Report, sign: int) -> None:
        health = report.health
        if health is None or report.verdict == "unknown" or not health.legs:
            return
        now = self.sums.get(health.unit, Sum())
        collateral, debt = now.collateral + sign * health.collateral, now.debt + sign * health.debt
        self.sums[health.unit] = Sum(now.positions + sign, collateral, debt)

    def touch(self) -> None:
        """Something else that pages show has changed."""
        self.version += 1
        self._wake()

    def _wake(self) -> None:
        waiting, self._changed = self._changed, asyncio.Event()
        waiting.set()

    async def changed(self, seen: int) -> None:
        """Returns once `version` is another than what was seen."""
        while self.version == seen:
            await self._changed.wait()

    def order(self, level: Level | None = None, words: str = "") -> list[str]:
        """Ids, the most urgent first: unknown, then the lowest health, no debt last. Only those of a level, or which
        have the words in their id, market or name.
        """
        if level is None and not words:
            return self._order
        wanted = words.casefold()
        return [
            one
            for one in self._order
            if (level is None or self.reports[one].level is level)
            and (not wanted or wanted in _words(self.reports[one]))
        ]

    def key(self, position_id: str) -> int:
        """A short number that stands for the position as long as this process runs."""
        return self._keys[position_id]

    def state(self, report: Report) -> MarketState | None:
        """The state of the report's market, where it could be read."""
        return self._states.get(report.subject.ref)


def urgency(report: Report) -> tuple[int, int]:
    """Where it stands among all: whole numbers, so that thousands are sorted in no time."""
    verdict = report.health.verdict if report.health else None
    if report.level is Level.UNKNOWN:
        return (0, 0)
    if isinstance(verdict, Known):
        return (1, verdict.numerator * NEAR // verdict.denominator)
    return (2, 0)


def summed(unit: Unit, found: Sum, block: BlockRef) -> Health:
    """The sum as what the words for money take."""
    from monitor.core.types import NoDebt

    return Health("", block, NoDebt(), unit, collateral=found.collateral, debt=found.debt)


def _words(report: Report) -> str:
    return f"{report.id} {report.subject.market} {report.subject.name}".casefold()
