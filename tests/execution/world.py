"""A journal, an executor and a model chain in one, driven without an event loop: where tests of acting start."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from monitor.core.actions import ActionState, Intent
from monitor.core.types import BlockRef
from monitor.execution import defences
from monitor.execution.executor import Executor, Recheck, Settings, StepReport
from monitor.execution.fees import FeePolicy
from monitor.execution.killswitch import KillSwitch
from monitor.execution.limits import AssetLimits, SpendLimits
from monitor.execution.machine import Rules
from monitor.execution.port import ExecutionChain, Receipt, Signer
from monitor.execution.sender import PrivateRelay
from monitor.execution.transaction import DynamicFee
from monitor.journal import defences as journal_defences
from monitor.journal.replay import differences
from monitor.journal.rows import Action, Draft
from monitor.journal.store import Journal
from monitor.testing.model_chain import ModelChain
from monitor.testing.model_port import CONTRACT, Faults, LocalSigner, ModelPort, build, run_now

T = TypeVar("T")

ASSET = "0x" + "aa" * 20
OWNER = "0x" + "11" * 20
GUARDIAN = LocalSigner().address
GWEI = 10**9


class ChainClock:
    """The machine's clock agrees with the chain's, plus what a test adds."""

    def __init__(self, chain: ModelChain) -> None:
        self._chain = chain
        self.offset_s = 0.0

    def time(self) -> float:
        return self._chain.head.timestamp + self.offset_s

    def monotonic(self) -> float:
        return self.time()

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("acting never sleeps")


def rich_limits(**changes: Any) -> SpendLimits:
    asset = AssetLimits(per_action=10**6, per_position_day=10**7, per_key_day=10**9)
    return replace(SpendLimits({ASSET: asset}, gas_wei_per_day=10**24), **changes)


def draft(head: BlockRef, name: str = "a", effect: int = 1, amount: int = 5, position: str = "", **more: Any) -> Draft:
    """A decision at that head, to land within an hour."""
    where = position or f"position-{effect}"
    made = Draft(
        id=name,
        intent=Intent("effect", 31337, where, OWNER, CONTRACT, {"effect": effect, "amount": amount}),
        signer=GUARDIAN,
        block=head,
        asset=ASSET,
        amount=amount,
        gas=100_000,
        max_fee_per_gas_wei=300 * GWEI,
        max_cost_wei=10**17,
        valid_until_s=head.timestamp + 3600,
        health_wad=105 * 10**16,
    )
    return replace(made, **more)


class World:
    """Everything on, unless told otherwise. `life` counts processes that used the journal."""

    def __init__(
        self,
        folder: Path,
        *,
        off: str | None = None,
        limits: SpendLimits | None = None,
        fees: FeePolicy | None = None,
        faults: Faults | None = None,
        endpoints: int = 1,
        relay: PrivateRelay | None = None,
        signer: Signer | None = None,
        recheck: Recheck | None = None,
        failure: Callable[[Draft, Receipt], str] | None = None,
        port: Callable[[ModelChain], ExecutionChain] | None = None,
        seed: int = 0,
        max_head_age_s: int = 120,
        database: str = "journal.db",
    ) -> None:
        """`database`: a file in the folder, or a URL."""
        self.database = database
        self.folder = folder
        in_journal = off in journal_defences.Defences.__dataclass_fields__
        self.defences = defences.ALL.without(off) if off and not in_journal else defences.ALL
        self.journal_defences = journal_defences.ALL.without(off) if off and in_journal else journal_defences.ALL
        self.chain = ModelChain()
        self.guardian = LocalSigner()
        self.signer = signer or self.guardian
        self.port: Any = (
            port(self.chain)
            if port
            else ModelPort(self.chain, endpoints=endpoints, faults=faults, rng=random.Random(seed))
        )
        self.clock = ChainClock(self.chain)
        self.kill = KillSwitch(folder / "KILL")
        self.settings = Settings(
            {GUARDIAN: limits or rich_limits()},
            rules=Rules(fees=fees or FeePolicy(), defences=self.defences),
            relay=relay,
            max_head_age_s=max_head_age_s,
        )
        self.recheck, self.failure = recheck, failure
        self.probes: list[str] = []
        self.start()

    def open(self, name: str = "", **more: Any) -> Journal:
        """The journal, as a process opens it."""
        name = name or self.database
        url = name if "://" in name else f"sqlite:///{self.folder / name}"
        return Journal(url, now_s=self.now_s, probe=self.probes.append, defences=self.journal_defences, **more)

    def start(self, name: str = "", **more: Any) -> None:
        """A process starts."""
        self.journal = self.open(name, **more)
        self.executor = Executor(
            self.journal,
            self.port,
            self.signer,
            build,
            self.kill,
            self.clock,
            self.settings,
            recheck=self.recheck,
            failure=self.failure,
            probe=self.probes.append,
        )

    def restart(self, name: str = "", **more: Any) -> None:
        """The process ends and another starts."""
        self.journal.close()
        self.start(name, **more)

    def close(self) -> None:
        self.journal.close()

    @property
    def now_s(self) -> int:
        return self.chain.head.timestamp

    def draft(self, name: str = "a", **more: Any) -> Draft:
        return draft(self.chain.head, name, **more)

    def plan(self, name: str = "a", **more: Any) -> Action | None:
        return self.journal.plan(self.draft(name, **more), self.now_s)

    def step(self, blocks: int = 1, *, mine: bool = True) -> StepReport:
        """Step, then a block; so many times. Answers the last report."""
        report = StepReport()
        for _ in range(blocks):
            report = run_now(self.executor.step())
            if mine:
                self.chain.mine()
        return report

    def look(self) -> StepReport:
        return self.step(mine=False)

    def finish(self, blocks: int = 70) -> None:
        self.step(blocks)
        self.look()

    def until(self, state: ActionState, name: str = "a", blocks: int = 200) -> None:
        """Steps and blocks until that action is in that state."""
        for _ in range(blocks):
            self.look()
            if self.state(name) is state:
                return
            self.chain.mine()
        raise AssertionError(f"{name} is {self.state(name)}, never {state}")

    def state(self, name: str = "a") -> ActionState:
        return self.journal.action(name).state

    def effects(self, effect: int = 1) -> int:
        """How often that effect is on the canonical chain."""
        return sum(
            count for (_, data), count in self.chain.effects.items() if int.from_bytes(data[4:36], "big") == effect
        )

    def foreign(self, *, nonce: int | None = None, max_fee: int = 500 * GWEI, tip: int = 50 * GWEI, **more: Any) -> str:
        """Somebody else who has the key sends something of their own (by default a transfer to themselves)."""
        from monitor.execution.transaction import cancel_call

        used = self.chain.nonce(GUARDIAN) if nonce is None else nonce
        call = more.get("call", cancel_call(GUARDIAN))
        return self.chain.send(
            self.guardian.bytes_for(DynamicFee(31337, used, tip, max_fee, 100_000 if call.data else 21_000, call))
        )

    def alerts(self, severity: str | None = None) -> list[str]:
        return [
            alert.body
            for alert in self.journal.pending_alerts(10_000)
            if severity is None or alert.severity == severity
        ]

    def audit(self) -> list[str]:
        """What the chain and the journal's own history say against this run; nothing where all is well."""
        found = differences(self.journal.records(), self.journal.actions(), self.journal.charges())
        ours = self.journal.attempt_hashes(31337, GUARDIAN)
        for position in range(100):
            if self.effects(position) > 1:
                found.append(f"effect {position} happened {self.effects(position)} times")
        for one, _ in self.chain.included(GUARDIAN):
            if one.hash not in ours:
                found.append(f"{one.hash} is on chain without an attempt")
        return found


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return run_now(coroutine)
