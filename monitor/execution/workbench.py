"""What every stage of acting works with: the parts that were tied together, the chain at one head, and how to tell.

Nothing here decides, signs or sends. The types that others hand in (settings, a recheck, an aftermath) are here too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from monitor.chain.clock import Clock
from monitor.core.actions import ActionState, Intent, SignRequest
from monitor.core.types import Address, BlockRef
from monitor.execution import fees as pricing
from monitor.execution import limits as spending
from monitor.execution.concerns import Once
from monitor.execution.defences import Defences
from monitor.execution.killswitch import KillSwitch
from monitor.execution.machine import CANCEL_GAS, Rules, tell
from monitor.execution.port import Account, ExecutionChain, Receipt, Signer, TxCall
from monitor.execution.sender import PrivateRelay
from monitor.journal.budget import Judge
from monitor.journal.rows import Action, Attempt, AttemptKind, Charge, Draft, Inclusion, Severity
from monitor.journal.store import Journal


@dataclass(frozen=True, slots=True)
class NoLongerNeeded:
    """The position does not need this rescue any more: its owner or somebody else was faster."""

    reason: str


@dataclass(frozen=True, slots=True)
class Outdated:
    """The decision rests on what is not so any more: it is to be made anew."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """What it moves could not be measured, because it fails where that is tried: no objection if it fails everywhere.

    A simulation that passes all the same contradicts it, and then nothing is signed.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Others acted on the position before our transaction did, which made it needless or came too late for it."""

    why: str
    critical: bool


class Aftermath(Protocol):
    """Says of a transaction that is in a block who was faster, if anybody. May raise: ChainError."""

    async def __call__(self, draft: Draft, mined: Inclusion, /) -> Overtaken | None: ...


@dataclass(frozen=True, slots=True)
class Unfit:
    """The transaction would succeed and do something else than planned."""

    reason: str


Objection = NoLongerNeeded | Outdated | Unfit | Unmeasured


class Recheck(Protocol):
    """Looks at the position once more, at the newest block, before a signature. May raise: ChainError."""

    async def __call__(self, draft: Draft, head: BlockRef, /) -> Objection | None: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What a person sets. Seconds against the machine's clock."""

    limits: Mapping[Address, spending.SpendLimits]
    rules: Rules = field(default_factory=Rules)
    relay: PrivateRelay | None = None
    max_head_age_s: int = 120
    max_head_ahead_s: int = 60
    cancel_gas: int = CANCEL_GAS
    warn_gas: int = 3 * 600_000
    """it is told when the key cannot pay for so much gas any more: three rescues' worth"""


@dataclass(slots=True)
class StepReport:
    """What one step came to. `held` says why nothing is signed at all, by scope or cause."""

    head: BlockRef | None = None
    held: list[str] = field(default_factory=list)
    concerns: list[str] = field(default_factory=list)
    """what began to stand in the way of the next action, or no longer does"""
    actions: list[tuple[str, ActionState, str]] = field(default_factory=list)


@dataclass(slots=True)
class View:
    """The chain at one step."""

    head: BlockRef
    finalized: BlockRef
    accounts: dict[Address, Account]
    health: Mapping[str, int]
    held: list[str]
    concerns: list[str]


@dataclass(frozen=True, slots=True)
class Done:
    """What an act came to; `more` when the row should be looked at once more at this head."""

    action: Action
    why: str
    more: bool = False


@dataclass(slots=True)
class Workbench:
    """The parts of one executor. `once` remembers what was told; `probe` is told of moments (for fault tests)."""

    journal: Journal
    chain: ExecutionChain
    signer: Signer
    build: Callable[[Intent], TxCall]
    kill: KillSwitch
    clock: Clock
    settings: Settings
    rules: Rules
    recheck: Recheck | None
    outcome: Callable[[Draft, Receipt], str] | None
    failure: Callable[[Draft, Receipt], str] | None
    aftermath: Aftermath | None
    probe: Callable[[str], None]
    once: Once = field(default_factory=Once)

    @property
    def defences(self) -> Defences:
        return self.rules.defences

    def told(self, action: Action, why: str, view: View, severity: Severity = Severity.WARN) -> Done:
        """An alert, unless the same was told before."""
        action = self.journal.action(action.id)
        if self.once.new(action, why) or not self.defences.no_storm:
            action = self.journal.apply(tell(action, why, severity), view.head.timestamp)
        return Done(action, why)

    def judge(self, action: Action, charge: Charge, account: Account) -> Judge:
        """The key's limits, for the journal to ask about this charge."""
        limits = self.settings.limits.get(action.draft.signer, spending.SpendLimits())
        return spending.judge(limits, action.draft, charge, account.balance_wei, self.defences)

    async def first_offer(self, action: Action, view: View) -> pricing.Fees | pricing.Capped:
        """What a first attempt would bid now. May raise: ChainError."""
        policy, base = self.rules.fees, view.head.base_fee or 0
        how = pricing.urgency(view.health.get(action.position_id) or action.draft.health_wad)
        limit = pricing.ceiling(action.draft, policy, self.defences)
        return pricing.first(pricing.offer(base, await self.chain.tip_wei(), how, policy), base, limit)

    def request(self, action: Action, attempt: Attempt) -> SignRequest:
        """The same fields for the same attempt, always."""
        draft = action.draft
        return SignRequest(
            action_id=action.id,
            epoch=self.journal.epoch,
            chain_id=draft.intent.chain_id,
            sender=draft.signer,
            nonce=attempt.nonce,
            intent=None if attempt.kind is AttemptKind.CANCEL else draft.intent,
            gas=attempt.gas,
            max_fee_per_gas_wei=attempt.max_fee_wei,
            max_priority_fee_per_gas_wei=attempt.tip_wei,
        )
