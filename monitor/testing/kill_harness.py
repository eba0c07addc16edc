"""The kill harness: a chain that lives, a sender that is killed again and again, and an audit that asks the chain.

The parent holds the model chain and serves the child that it forks for each life. With every block it may lose what is
sent, hide receipts, wipe the pool, let fees rise fiftyfold, keep ours out of blocks and take up to 64 blocks back. In
the end faults stop, one last life settles everything, and what is on the chain is compared with what was wanted: each
rescue exactly once, budgets to the wei, every alert delivered. Same seed, same run.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from monitor.core.actions import ActionState
from monitor.core.errors import ChainError
from monitor.journal.budget import WINDOW_S
from monitor.journal.replay import differences
from monitor.journal.rows import OPEN_STATES
from monitor.journal.store import Journal
from monitor.testing.kill_child import (
    AMOUNT,
    GAS_WEI_PER_DAY,
    GUARDIAN,
    PER_KEY_DAY,
    POINTS,
    URL_FILE,
    Levmon,
    Life,
    Subject,
    Task,
    journal_url,
    main,
)
from monitor.testing.model_chain import ModelChain
from monitor.testing.model_port import Faults, ModelPort, run_now
from monitor.testing.naive_sender import NAIVE_POINTS, NaiveSender

AT_ONCE = 6
"""positions in need at the same time"""
LIFE_TICKS = 60
SPIKE_BLOCKS = 12
FAULTS = Faults(lost_before=0.08, lost_after=0.08, null_receipt=0.03, unread=0.003, no_simulation=0.01)


@dataclass(slots=True)
class Tally:
    """What a run was made of. `deaths`: kills by point and the state of the journal's newest action and attempt."""

    kills: Counter[str] = field(default_factory=Counter)
    deaths: Counter[tuple[str, str]] = field(default_factory=Counter)
    in_mempool: int = 0
    lives: int = 0
    reorgs: Counter[int] = field(default_factory=Counter)
    wipes: int = 0
    spikes: int = 0
    sends: int = 0
    rescues: int = 0
    transactions: int = 0
    alerts: int = 0
    blocks: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count another run's in."""
        for name in ("kills", "deaths", "reorgs"):
            getattr(self, name).update(getattr(other, name))
        for name in ("in_mempool", "lives", "wipes", "spikes", "sends", "rescues", "transactions", "alerts", "blocks"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.problems += other.problems


class KillRun:
    """One chain, one journal, many lives. `points` are those at which the subject can be killed."""

    def __init__(
        self,
        folder: Path,
        seed: str,
        *,
        subject: Callable[..., Subject] = Levmon,
        points: Sequence[str] = POINTS,
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.tally = Tally()
        self._subject = subject
        self._points = points
        self._rng = random.Random(seed)
        self.chain = ModelChain()
        self.port = ModelPort(self.chain, endpoints=2, faults=Faults(**_fields(FAULTS)), rng=self._rng)
        self._open = set(range(1, AT_ONCE + 1))
        self._next = AT_ONCE + 1
        self._delivered: set[str] = set()
        self._spike = 0
        self._calm = False
        self._stirred = False
        """whether reorganisations come thick, for the points that only they lead to"""

    def run(self, kills: int) -> Tally:
        """So many kills, spread evenly over the points; then peace, and the audit."""
        while sum(self.tally.kills.values()) < kills:
            fewest = min(self.tally.kills[point] for point in self._points)
            point = self._rng.choice([point for point in self._points if self.tally.kills[point] == fewest])
            self._stirred = "rollback" in point
            self._live(Life(point, self._rng.choice((1, 1, 2, 3, 5)), LIFE_TICKS))
            if self.tally.lives > 20 * kills + 100:
                self.tally.problems.append(f"seed {self.seed}: the points are not reached: {self.tally.kills}")
                return self.tally
        self._settle()
        return self.tally

    # -- one life ------------------------------------------------------------------------------------------------

    def _live(self, life: Life) -> None:
        ours, theirs = Pipe()
        child = os.fork()
        if child == 0:
            ours.close()
            main(theirs, self.folder, life, self._subject, self.port.endpoints)
        theirs.close()
        self.tally.lives += 1
        with ours:
            self._serve(ours)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            self.tally.kills[life.point] += 1
            self.tally.deaths[life.point, self._state()] += 1
            if any(sender == GUARDIAN.address for sender, _ in self.chain.pool):
                self.tally.in_mempool += 1
        elif status != 0:
            self.tally.problems.append(f"seed {self.seed}: a life ended with status {status}")

    def _serve(self, pipe: Connection) -> None:
        while True:
            try:
                what, args = pipe.recv()
            except (EOFError, ConnectionResetError):
                return
            try:
                answer = (True, self._answer(what, args))
            except ChainError as error:
                answer = (False, error.message)
            try:
                pipe.send(answer)
            except (BrokenPipeError, ConnectionResetError):
                return

    def _answer(self, what: str, args: tuple[Any, ...]) -> Any:
        match what:
            case "todo":
                return self._todo()
            case "tick":
                return self._tick()
            case "deliver":
                if self._happens(0.3):
                    return False  # the sink is down
                self._delivered.update(args[0])
                return not self._happens(0.05)  # delivered, but the sink's answer is lost
            case "crash":
                self.tally.problems.append(f"seed {self.seed}: {args[0]}")
                return None
            case _:
                return self._call(what, args)

    def _call(self, what: str, args: tuple[Any, ...]) -> Any:
        """What the chain answers. May raise: ChainError."""
        return run_now(getattr(self.port, what)(*args))

    def _happens(self, probability: float) -> bool:
        return not self._calm and self._rng.random() < probability

    def _todo(self) -> list[Task]:
        """What a monitor would report: the positions in need at the newest head."""
        for position in sorted(self._open):
            if self._final(position) and not self._calm:
                self._open.remove(position)
                self._open.add(self._next)
                self._next += 1
        seconds = self.chain.block_s
        needy = [position for position in sorted(self._open) if not self._count(position)]
        return [Task(position, seconds * self._rng.choice((4, 8, 200, 200, 200))) for position in needy]

    def _count(self, position: int) -> int:
        return sum(self.chain.effects.get(key, 0) for key in _keys(position))

    def _final(self, position: int) -> bool:
        """Rescued long enough ago that nothing can take it back, and the subject had time to settle it."""
        settled = self.chain.finalized.number
        return any(
            receipt.ok and receipt.block_number <= settled
            for nonce in range(
                self.chain.nonce(GUARDIAN.address) - 1, max(self.chain.nonce(GUARDIAN.address) - 60, -1), -1
            )
            if (one := self.chain.occupant(GUARDIAN.address, nonce)) is not None
            and (one.tx.fields.call.to, one.tx.fields.call.data) in _keys(position)
            and (receipt := self.chain.receipt(one.hash)) is not None
        )

    def _tick(self) -> None:
        """Time passes: some blocks, and what goes wrong with them."""
        if self._happens(0.05):
            self.chain.drop_all()
            self.tally.wipes += 1
        if self._spike == 0 and self._happens(0.03):
            self._spike = SPIKE_BLOCKS
            self.chain.base_fee_wei = self._rng.choice((5, 20, 50, 400)) * 10**9
            self.tally.spikes += 1
        elif self._spike:
            self._spike -= 1
            self.chain.base_fee_wei = max(self.chain.base_fee_wei * 3 // 4, 10**9)
        ours = self._calm or self._rng.random() < 0.4
        for _ in range(self._rng.choice((1, 1, 1, 2, 20)) if not self._calm else 8):
            self.chain.mine(lambda _: ours)
        if self._happens(0.5 if self._stirred else 0.06):
            depth = self._rng.choice((1, 2, 3, 7, 8, 31, 32, 33, 63, 64))
            back = self._rng.random() < 0.5
            self.chain.reorg(depth, keep=lambda _: back)
            self.tally.reorgs[depth] += 1

    def _state(self) -> str:
        """The state of the action that was worked on last, and how far its newest attempt had come."""
        path = self.folder / "journal.db"
        if not path.exists():
            return "nothing"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            row = db.execute(
                "SELECT a.state, (SELECT kind || ' ' || stage FROM attempts t WHERE t.action_id = a.id "
                "ORDER BY t.id DESC LIMIT 1) FROM actions a JOIN records r ON r.subject = a.id "
                "ORDER BY r.seq DESC LIMIT 1"
            ).fetchone()
        db.close()
        return "nothing" if row is None else f"{row[0]} ({row[1] or 'no attempt'})"

    # -- the end -------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Faults stop; whoever still needs a rescue gets it; then the audit."""
        self._calm = True
        self._peace()
        for _ in range(20):
            self._live(Life("never", 1, 40))
            if self.tally.problems or all(map(self._count, self._open)):
                break
        self._live(Life("never", 1, 60))
        self.tally.problems += [f"seed {self.seed}: {line}" for line in self._audit()]

    def _peace(self) -> None:
        self.tally.sends = len(self.port.sent)
        self.port.faults = Faults()
        self.chain.base_fee_wei = 10**9

    def _audit(self) -> list[str]:
        """From the chain: what was wanted, once each. From the journal: only whether it agrees."""
        wanted = range(1, self._next)
        found = [f"position {one} was rescued {self._count(one)} times" for one in wanted if self._count(one) != 1]
        included = self.chain.included(GUARDIAN.address)
        nonces = [one.tx.fields.nonce for one, _ in included]
        if nonces != list(range(len(nonces))):
            found.append(f"nonces are not contiguous: {nonces}")
        self.tally.rescues += sum(1 for one in wanted if self._count(one))
        self.tally.transactions += len(included)
        self.tally.blocks += self.chain.head.number
        if any((self.folder / name).exists() for name in ("journal.db", URL_FILE)):
            found += self._audit_journal()
        return found

    def _audit_journal(self) -> list[str]:
        included = self.chain.included(GUARDIAN.address)
        journal = Journal(journal_url(self.folder), now_s=self.chain.head.timestamp)
        try:
            records, actions, charges = journal.records(), journal.actions(), journal.charges()
            alerts = {alert.dedupe_key for alert in journal.pending_alerts(10**6)}
            known = journal.attempt_hashes(31337, GUARDIAN.address)
        finally:
            journal.close()
        found = differences(records, actions, charges)
        found += [f"{one.hash} is on chain without an attempt" for one, _ in included if one.hash not in known]
        found += [f"{action.id} is still {action.state}" for action in actions if action.state in OPEN_STATES]
        if alerts:
            found.append(f"{len(alerts)} alerts were never delivered: {sorted(alerts)[:5]}")
        found += [f"no alert for {key}" for key in _expected_alerts(records) - self._delivered]
        self.tally.alerts += len(self._delivered)
        spent = sum(receipt.gas_used * receipt.price_wei for _, receipt in included)
        settled = sum(charge.gas_wei for _, charge in charges.values())
        if spent != settled:
            found.append(f"{spent} wei of gas were spent and {settled} settled")
        amounts = sum(charge.amount for _, charge in charges.values())
        rescued = sum(AMOUNT for one, receipt in included if receipt.ok and one.tx.fields.call.data)
        done = sum(AMOUNT for action in actions if action.state is ActionState.FINAL_OK)
        if not amounts == rescued == done:
            found.append(f"{rescued} were spent on chain, {amounts} settled, {done} done")
        return found + self._windows()

    def _windows(self) -> list[str]:
        """Over every 24 hours that end with a transaction, by the chain's own clock."""
        times = {block.ref.number: block.ref.timestamp for block in self.chain.blocks}
        rows = [
            (
                times[receipt.block_number],
                AMOUNT if one.tx.fields.call.data else 0,
                receipt.gas_used * receipt.price_wei,
            )
            for one, receipt in self.chain.included(GUARDIAN.address)
        ]
        found = []
        for end, _, _ in rows:
            inside = [row for row in rows if end - WINDOW_S < row[0] <= end]
            if sum(row[1] for row in inside) > PER_KEY_DAY or sum(row[2] for row in inside) > GAS_WEI_PER_DAY:
                found.append(f"a limit was passed in the day before {end}")
        return found


@lru_cache(maxsize=4096)  # asked at every block for every position in need
def _keys(position: int) -> tuple[tuple[str, bytes], ...]:
    from monitor.testing.kill_child import intent_for
    from monitor.testing.model_port import build

    call = build(intent_for(position))
    return ((call.to, call.data),)


def _fields(faults: Faults) -> dict[str, float]:
    return {name: getattr(faults, name) for name in Faults.__dataclass_fields__}


def _expected_alerts(records: Sequence[Any]) -> set[str]:
    import json

    found = set()
    for record in records:
        body = json.loads(record.body)
        if record.kind == "decision" or ("from" in body and body["from"] != body["to"]):
            found.add(f"{record.subject}/{body['version']}")
    return found


def one_run(job: tuple[str, int, str, bool]) -> Tally:
    """One run in a folder of its own: what a worker process does. `job`: folder, kills, seed, naive."""
    base, kills, seed, naive = job
    with tempfile.TemporaryDirectory(prefix="kills-", dir=base) as folder:
        run = naive_run(Path(folder), seed) if naive else KillRun(Path(folder), seed)
        return run.run(kills)


def many_runs(
    kills: int,
    seed: str,
    *,
    workers: int,
    naive: bool = False,
    per_run: int = 60,
    say: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """So many kills over several runs, each with its own seed `SEED/n`, in worker processes; `say` hears all so far."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()  # noqa: S108  # SIGKILL asks no disk
    jobs = [(base, min(per_run, kills - n), f"{seed}/{n // per_run}", naive) for n in range(0, kills, per_run)]
    total = Tally()
    with get_context("fork").Pool(workers, maxtasksperchild=4) as pool:
        for tally in pool.imap_unordered(one_run, jobs):
            total.add(tally)
            say(total)
    return total


def table(tally: Tally) -> str:
    """For people: kills by point, and by the state in which death found the newest action."""
    lines = [f"{'killed at':24} {'kills':>6}  state of the newest action and attempt at death"]
    for point in dict.fromkeys(point for point, _ in sorted(tally.deaths, key=lambda death: _order(death[0]))):
        states = sorted(((n, s) for (p, s), n in tally.deaths.items() if p == point), reverse=True)
        shown = ", ".join(f"{state} {count}" for count, state in states)
        lines.append(f"{point:24} {tally.kills[point]:>6}  {shown}")
    depths = ", ".join(f"{depth}×{count}" for depth, count in sorted(tally.reorgs.items()))
    lines += [
        f"{'all':24} {sum(tally.kills.values()):>6}  {tally.in_mempool} of them with a transaction in the mempool",
        f"{tally.rescues} rescues in {tally.transactions} transactions and {tally.blocks} blocks, {tally.lives} lives",
        f"{tally.wipes} pools wiped, {tally.spikes} fee spikes, {sum(tally.reorgs.values())} reorganisations: {depths}",
        f"{tally.alerts} alerts delivered; {len(tally.problems)} problems",
        *tally.problems[:20],
    ]
    return "\n".join(lines)


def _order(point: str) -> int:
    return (*POINTS, *NAIVE_POINTS).index(point)


def naive_run(folder: Path, seed: str) -> KillRun:
    """The same harness around a sender that is not careful."""
    return KillRun(folder, seed, subject=NaiveSender, points=NAIVE_POINTS)
