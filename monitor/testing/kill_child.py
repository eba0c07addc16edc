"""The process that gets killed: levmon's acting side, living in blocks, until it reaches the point where it must die.

It is forked from a parent that holds the chain, so that importing costs nothing and the chain survives. At the named
point it sends itself SIGKILL: no handler, no flush, no farewell. Everything that it knows afterwards is the journal's.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from monitor.core.actions import Intent
from monitor.core.errors import ChainError, RpcUnavailable
from monitor.core.types import Address, BlockRef
from monitor.execution.executor import Executor, Settings
from monitor.execution.killswitch import KillSwitch
from monitor.execution.limits import AssetLimits, SpendLimits
from monitor.execution.machine import Rules
from monitor.execution.port import Account, ExecutionChain, Occupant, Receipt, Rung, SendReply, Simulated, TxCall
from monitor.journal.rows import Draft
from monitor.journal.store import Journal
from monitor.testing.model_port import CONTRACT, LocalSigner, build, run_now

POINTS = (
    "before plan commit",
    "after plan commit",
    "before arm commit",
    "after arm commit",
    "after reserve commit",
    "before save commit",
    "after save commit",
    "after send",
    "before mined commit",
    "after mined commit",
    "before rollback commit",
    "before settle commit",
)
"""P1, P2, P3, P4; then the signer is about to be asked; P5, P6, P7, P8; before the alert; P9; before the end."""

ASSET = "0x" + "aa" * 20
OWNER = "0x" + "11" * 20
AMOUNT = 5
PER_KEY_DAY = 2_000
GAS_WEI_PER_DAY = 2 * 10**20
GUARDIAN = LocalSigner()


@dataclass(frozen=True, slots=True)
class Life:
    """Die when `point` is reached for the `nth` time; after `ticks` blocks end without a kill."""

    point: str
    nth: int
    ticks: int


@dataclass(frozen=True, slots=True)
class Task:
    """A position that the chain shows to be in need, and until when its rescue may land."""

    position: int
    valid_for_s: int


class Subject(Protocol):
    """What is tested: told of positions in need at each head."""

    async def head(self, tasks: Sequence[Task], head: BlockRef) -> None: ...


class Line:
    """Questions to the parent. `ask` blocks until it answers."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def ask(self, what: str, *args: Any) -> Any:
        self._pipe.send((what, args))
        fine, answer = self._pipe.recv()
        if not fine:
            raise RpcUnavailable(str(answer))
        return answer


class RemotePort:
    """ExecutionChain over the line to the parent, who has the chain."""

    def __init__(self, line: Line, endpoints: int) -> None:
        self._line = line
        self.endpoints = endpoints
        self.now_s = 0

    async def chain_id(self) -> int:
        return int(self._line.ask("chain_id"))

    async def head(self) -> BlockRef:
        head: BlockRef = self._line.ask("head")
        self.now_s = head.timestamp
        return head

    async def finalized(self) -> BlockRef:
        found: BlockRef = self._line.ask("finalized")
        return found

    async def block_hash(self, number: int) -> str | None:
        found: str | None = self._line.ask("block_hash", number)
        return found

    async def account(self, address: Address, head: BlockRef, finalized: BlockRef) -> Account:
        found: Account = self._line.ask("account", address, head, finalized)
        return found

    async def receipts(self, hashes: Sequence[str]) -> Mapping[str, Receipt]:
        found: Mapping[str, Receipt] = self._line.ask("receipts", hashes)
        return found

    async def known(self, hashes: Sequence[str]) -> frozenset[str]:
        found: frozenset[str] = self._line.ask("known", hashes)
        return found

    async def occupant(self, sender: Address, nonce: int) -> Occupant | None:
        found: Occupant | None = self._line.ask("occupant", sender, nonce)
        return found

    async def pooled_fees(self, sender: Address, nonce: int) -> tuple[int, int] | None:
        found: tuple[int, int] | None = self._line.ask("pooled_fees", sender, nonce)
        return found

    async def tip_wei(self) -> int:
        return int(self._line.ask("tip_wei"))

    async def send_raw(self, raw: bytes, *, private: bool = False) -> Sequence[SendReply]:
        replies: Sequence[SendReply] = self._line.ask("send_raw", raw)
        return replies

    async def simulate(self, sender: Address, call: TxCall, gas: int, block: BlockRef, rung: Rung) -> Simulated:
        outcome: Simulated = self._line.ask("simulate", sender, call, gas, block, rung)
        return outcome

    # the clock that the executor judges the head's age by
    def time(self) -> float:
        return self.now_s

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("acting never sleeps")


def intent_for(position: int) -> Intent:
    return Intent("effect", 31337, f"position-{position}", OWNER, CONTRACT, {"effect": position, "amount": AMOUNT})


URL_FILE = "journal.url"
"""In a run's folder: where its journal is, if not in a file there."""


def journal_url(folder: Path) -> str:
    """The journal of a run."""
    told = folder / URL_FILE
    return told.read_text() if told.exists() else f"sqlite:///{folder / 'journal.db'}"


class Levmon:
    """The journal and the executor, with alerts delivered to the parent."""

    def __init__(
        self, folder: Path, chain: ExecutionChain, line: Line, clock: Any, reach: Callable[[str], None], now_s: int
    ) -> None:
        self._line = line
        self._journal = Journal(journal_url(folder), now_s=now_s, probe=reach)
        limits = SpendLimits({ASSET: AssetLimits(AMOUNT, 10 * AMOUNT, PER_KEY_DAY)}, gas_wei_per_day=GAS_WEI_PER_DAY)
        settings = Settings({GUARDIAN.address: limits}, Rules(foreign_to_hold=100))
        self._executor = Executor(
            self._journal, chain, GUARDIAN, build, KillSwitch(folder / "KILL"), clock, settings, probe=reach
        )

    async def head(self, tasks: Sequence[Task], head: BlockRef) -> None:
        for task in tasks:
            draft = Draft(
                id=f"{task.position}@{head.hash[2:14]}",
                intent=intent_for(task.position),
                signer=GUARDIAN.address,
                block=head,
                asset=ASSET,
                amount=AMOUNT,
                gas=100_000,
                max_fee_per_gas_wei=300 * 10**9,
                max_cost_wei=10**17,
                valid_until_s=head.timestamp + task.valid_for_s,
                health_wad=102 * 10**16,
            )
            self._journal.plan(draft, head.timestamp)
        await self._executor.step()
        alerts = self._journal.pending_alerts()
        if alerts and self._line.ask("deliver", [alert.dedupe_key for alert in alerts]):
            self._journal.mark_delivered([alert.id for alert in alerts], head.timestamp)


async def live(subject: Subject, chain: ExecutionChain, line: Line, ticks: int) -> None:
    """Head after head, until killed or out of ticks."""
    for _ in range(ticks):
        with suppress(ChainError):  # a node that does not answer; the next head comes anyway
            await subject.head(line.ask("todo"), await chain.head())
        line.ask("tick")


def main(pipe: Connection, folder: Path, life: Life, make: Callable[..., Subject], endpoints: int) -> None:
    """Never returns: the end is SIGKILL, or exit code 0 out of ticks, or 1 with the reason told to the parent."""
    reached = 0

    def reach(point: str) -> None:
        nonlocal reached
        if point == life.point:
            reached += 1
            if reached == life.nth:
                os.kill(os.getpid(), signal.SIGKILL)

    line = Line(pipe)
    code = 1
    try:
        port = RemotePort(line, endpoints)
        subject = make(folder, port, line, port, reach, 0)
        run_now(live(subject, port, line, life.ticks))
        code = 0
    except BaseException:  # noqa: BLE001  # the end of a process: whatever it was, the parent is told
        line.ask("crash", traceback.format_exc())
    finally:
        os._exit(code)
