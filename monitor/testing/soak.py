"""The long run: one life of the acting side beside 5,000 watched positions, at 50 blocks a second, with faults.

Memory, open files and the time of a step are read from outside, from the process that lives, while the chain that it
lives on stays in the parent. What leaks a little shows as a slope; what is done twice or lost shows in the same audit
that follows the kills. One hour is 180,000 blocks: 25 days of mainnet.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from monitor.core.types import BlockRef, Health, Known, Unit
from monitor.core.units import WAD
from monitor.policy.rules import Observation, Outcome, Rule, Watch, observe, settle
from monitor.testing.kill_child import GUARDIAN, Levmon, Life, Line, Task, main
from monitor.testing.kill_harness import KillRun
from monitor.testing.model_port import Faults

POSITIONS = 5_000
SHARE_MOVED = 100
"""One in so many positions is seen with another health in each block."""
RULE = Rule("soak", 1, "*", Fraction(12, 10), Fraction(14, 10), confirm=1, cooldown_s=0, retry_s=0)
TROUBLE = Faults(lost_before=0.02, lost_after=0.02, null_receipt=0.02, unread=0.02, no_simulation=0.02)
REORGS = 0.02
READ_EVERY_S = 1.0
WARM = 0.2
"""The part of the run after which memory should not grow any more."""


class Watcher(Levmon):
    """The acting side with rules over thousands of positions, whose health walks about at random."""

    def __init__(
        self, folder: Path, chain: Any, line: Line, clock: Any, reach: Callable[[str], None], now_s: int
    ) -> None:
        super().__init__(folder, chain, line, clock, reach, now_s)
        self._random = random.Random(folder.name)
        self._watches = {f"watched-{n}": Watch(f"watched-{n}", RULE) for n in range(POSITIONS)}
        self._names = list(self._watches)
        self.decisions = 0

    async def head(self, tasks: Sequence[Task], head: BlockRef) -> None:
        for name in self._random.sample(self._names, POSITIONS // SHARE_MOVED):
            health = Known(self._random.randrange(WAD * 105 // 100, 3 * WAD), WAD)
            seen = Observation(head, blank(name, head, health), {"0x" + "aa" * 20: 10**8})
            watch, _, decision = observe(self._watches[name], seen)
            if decision is not None:
                self.decisions += 1
                watch = settle(watch, Outcome.DONE, head.timestamp)
            self._watches[name] = watch
        await super().head(tasks, head)
        GUARDIAN.asked.clear()  # the test kit's memory, which would be taken for a leak of what is watched


def blank(name: str, block: BlockRef, verdict: Known) -> Health:
    """A health of which only the verdict is of interest."""
    return Health(name, block, verdict, Unit("USD", 8))


@dataclass(slots=True)
class Soak:
    """What came of it: readings of (second, bytes resident, open files, blocks so far)."""

    readings: list[tuple[float, int, int, int]] = field(default_factory=list)
    blocks: int = 0
    seconds: float = 0.0
    late: int = 0
    """blocks that came later than the pace wants, because the step before took longer"""
    problems: list[str] = field(default_factory=list)

    @property
    def settled(self) -> list[tuple[float, int, int, int]]:
        return [one for one in self.readings if one[0] >= WARM * self.seconds]

    @property
    def slope_per_hour(self) -> float:
        """Bytes an hour by which resident memory grows after the warm-up: least squares."""
        points = [(at_s, size) for at_s, size, _, _ in self.settled]
        if len(points) < 3:
            return 0.0
        mean_s = sum(at_s for at_s, _ in points) / len(points)
        mean = sum(size for _, size in points) / len(points)
        spread = sum((at_s - mean_s) ** 2 for at_s, _ in points)
        return 3600 * sum((at_s - mean_s) * (size - mean) for at_s, size in points) / spread

    @property
    def most_bytes(self) -> int:
        return max((size for _, size, _, _ in self.readings), default=0)


class SoakRun(KillRun):
    """One life without a death, paced and read from outside."""

    def __init__(self, folder: Path, seed: str, blocks: int, per_s: int) -> None:
        super().__init__(folder, seed, subject=Watcher)
        self.port.faults = replace(TROUBLE)
        self.soak = Soak()
        self._limit, self._pace_s = blocks, 1 / per_s
        self._child = 0
        self._start = self._next_read = 0.0
        self._say: Callable[[Soak], None] = lambda _: None

    def soak_it(self, say: Callable[[Soak], None] = lambda _: None) -> Soak:
        """The whole run, then the audit. `say` hears of every reading."""
        self._say = say
        self._start = time.monotonic()
        ours, theirs = Pipe()
        self._child = os.fork()
        if self._child == 0:
            ours.close()
            main(theirs, self.folder, Life("never", 1, self._limit), self._subject, self.port.endpoints)
        theirs.close()
        with ours:
            self._serve(ours)
        _, status = os.waitpid(self._child, 0)
        self.soak.seconds = time.monotonic() - self._start
        if status:
            self.tally.problems.append(f"the life ended with status {status}")
        self._settle()
        self.soak.problems = self.tally.problems
        return self.soak

    def _tick(self) -> None:
        if self._calm:
            super()._tick()
            return
        self.soak.blocks += 1
        if self._happens(0.01):
            self.chain.drop_all()
        ours = self._rng.random() < 0.4
        self.chain.mine(lambda _: ours)
        if self._happens(REORGS):
            self.chain.reorg(self._rng.choice((1, 2, 3, 7, 8, 31, 32, 33, 63, 64)))
        self._read_child()
        early = self._start + self.soak.blocks * self._pace_s - time.monotonic()
        if early > 0:
            time.sleep(early)  # noqa: TID251  # the pace is what the run is about
        else:
            self.soak.late += 1

    def _read_child(self) -> None:
        now = time.monotonic() - self._start
        if now < self._next_read:
            return
        self._next_read = now + READ_EVERY_S
        pages = int(Path(f"/proc/{self._child}/statm").read_text().split()[1])
        files = sum(1 for _ in Path(f"/proc/{self._child}/fd").iterdir())
        self.soak.readings.append((now, pages * os.sysconf("SC_PAGE_SIZE"), files, self.soak.blocks))
        self.soak.seconds = now
        self._say(self.soak)


def lines(soak: Soak, run: SoakRun) -> list[str]:
    """For people."""
    mib, files, half, tally = 2**20, [one[2] for one in soak.settled], len(soak.readings) // 2, run.tally
    first, second = rate(soak.readings[:half]), rate(soak.readings[half:])
    overall = soak.blocks / max(soak.seconds, 1e-9)
    text = f"""\
{soak.blocks} blocks in {soak.seconds:.0f} s, {overall:.1f} a second, {soak.late} of them late; {POSITIONS} positions
memory: {soak.readings[0][1] / mib:.1f} MiB at first, {soak.most_bytes / mib:.1f} MiB at most
growth after the warm-up: {soak.slope_per_hour / mib:+.2f} MiB an hour
open files: {min(files, default=0)} to {max(files, default=0)}
blocks a second in the first half {first:.1f}, in the second {second:.1f}
{tally.rescues} rescues in {tally.transactions} transactions, {tally.alerts} alerts; {len(soak.problems)} problems"""
    return [*text.splitlines(), *soak.problems[:20]]


def rate(readings: Sequence[tuple[float, int, int, int]]) -> float:
    """Blocks a second between the first reading and the last."""
    if len(readings) < 2:
        return 0.0
    return (readings[-1][3] - readings[0][3]) / (readings[-1][0] - readings[0][0])
