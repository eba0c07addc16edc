"""What a daemon saw last, as values: heads, positions, whole markets. A scrape reads it, a block replaces it.

What is too old counts as not known: a number that was true once is the one thing that must never be shown. Must not
know how it is shown, nor ask anything of anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from monitor.chain.clock import SYSTEM, Clock
from monitor.chain.pool import Pool
from monitor.core.types import BlockRef, Level
from monitor.policy.levels import URGENCY
from monitor.report import Report, Subject

NOT_YET = "no block was looked at yet"


class Seen(Protocol):
    """What a tick tells of its chain; pipeline.watch has it."""

    @property
    def block(self) -> BlockRef | None: ...

    @property
    def reports(self) -> tuple[Report, ...]: ...


@dataclass(slots=True)
class ChainRow:
    """One chain. `limit_s`: how old its newest block may be, None where blocks come on demand.

    `trouble` is why nothing is known of it now; it says so until a block was looked at.
    """

    name: str
    pool: Pool
    limit_s: float | None
    subjects: Sequence[Subject] = ()
    block: BlockRef | None = None
    trouble: str = NOT_YET
    skipped: int = 0
    reorgs: int = 0
    reports: dict[str, Report] = field(default_factory=dict)

    def saw(self, seen: Seen, *, skipped: int = 0, reorganised: bool = False, trouble: str = "") -> None:
        """Take in a snapshot, or why there is none."""
        self.reports = {report.id: report for report in seen.reports}
        self.looked(seen.block, skipped=skipped, reorganised=reorganised, trouble=trouble)

    def looked(self, block: BlockRef | None, *, skipped: int = 0, reorganised: bool = False, trouble: str = "") -> None:
        """Take in a block that was judged, or why it could not be."""
        if block is not None and not trouble:
            self.block = block
        self.trouble = trouble or ("" if block is not None else "the newest block could not be read")
        self.skipped += skipped
        self.reorgs += reorganised

    def age_s(self, now_s: float) -> float | None:
        """How old the block is that was judged last; None before the first."""
        return None if self.block is None else max(now_s - self.block.timestamp, 0.0)

    def why_unknown(self, now_s: float) -> str:
        """Why nothing that was read of this chain holds now; "" where it does."""
        age_s = self.age_s(now_s)
        if self.trouble or self.block is None or age_s is None:
            return self.trouble or NOT_YET
        if self.limit_s is not None and age_s > self.limit_s:
            return f"block {self.block.number} is {age_s:.0f} s old; {self.limit_s:.0f} s is the limit"
        return ""

    def newest(self, now_s: float) -> list[tuple[Subject, Report | None]]:
        """Every position, most urgent first; with None for a report where nothing holds now."""
        known = {} if self.why_unknown(now_s) else self.reports
        subjects = {subject.id: subject for subject in self.subjects}
        subjects |= {report.id: report.subject for report in self.reports.values()}
        found = [(subject, known.get(name)) for name, subject in subjects.items()]
        return sorted(found, key=lambda one: (URGENCY.index(level_of(one[1])), one[0].id))


def level_of(report: Report | None) -> Level:
    """Unknown where there is no report."""
    return Level.UNKNOWN if report is None else report.level


@dataclass(slots=True)
class MarketRow:
    """A whole market as `keep` follows it; its head is its chain's."""

    name: str
    chain: ChainRow
    accounts: int = 0
    unhealthy: int = 0
    near: int = 0
    unknown: int = 0
    took_s: float = 0.0


@dataclass(slots=True)
class Board:
    """One process. `command` is what it was started as."""

    command: str
    armed: bool = False
    chains: list[ChainRow] = field(default_factory=list)
    markets: list[MarketRow] = field(default_factory=list)
    draining: bool = False
    clock: Clock = SYSTEM

    def chain(self, name: str) -> ChainRow | None:
        """The chain of that name."""
        return next((one for one in self.chains if one.name == name), None)
