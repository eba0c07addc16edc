"""What the journal holds, as frozen values: actions with their attempts, drafts to plan, changes to commit.

The executor's pure parts work on these alone. No SQL here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from monitor.core.actions import ActionState, Intent
from monitor.core.errors import LevmonError
from monitor.core.types import Address, BlockRef


class JournalError(LevmonError):
    """The journal cannot be trusted or written; nothing may be signed."""

    exit_code = 4


class JournalBusy(JournalError):
    """Another process holds the journal's write lock for now."""

    retryable = True


class JournalBroken(JournalError):
    """Writing failed (disk full, read-only, I/O error): it must be closed, opened and verified again."""


class JournalUnfit(JournalError):
    """It does not open: damaged, of another schema version, without the durability that levmon needs."""


class LeaseHeld(JournalError):
    """Another process works with this journal."""


class LeaseLost(JournalError):
    """Another process has taken the lease over; this one may not sign or write any more."""


class StaleChange(JournalError):
    """The action has changed since it was looked at; nothing was written."""

    retryable = True


class Refused(LevmonError):
    """A limit, a hold or the kill switch is in the way of arming; nothing was written."""

    exit_code = 4


OPEN_STATES = frozenset(
    {
        ActionState.PLANNED,
        ActionState.ARMED,
        ActionState.SIGNED,
        ActionState.BROADCAST,
        ActionState.MINED,
        ActionState.CANCELLING,
        ActionState.QUARANTINED,
    }
)
"""Others never change again."""

IN_FLIGHT = frozenset({ActionState.ARMED, ActionState.SIGNED, ActionState.BROADCAST, ActionState.CANCELLING})
"""States that keep the signer's next nonce from being given out."""


class AttemptKind(StrEnum):
    """What a signed byte string does with the action's nonce."""

    INTENT = "intent"
    CANCEL = "cancel"
    ADOPTED = "adopted"
    """found on chain, does exactly what the intent says, not signed from this journal (a restored backup, a twin)"""


class Stage(StrEnum):
    """How far an attempt has come."""

    RESERVED = "reserved"
    """the signer may have been asked; its answer is not saved, so no bytes can have left"""
    SAVED = "saved"
    SENT = "sent"
    ABANDONED = "abandoned"
    """reserved, then given up for a cancel"""


class Severity(StrEnum):
    """How loud an alert is."""

    INFO = "info"
    WARN = "warn"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One byte string for the action's nonce; `raw` and `hash` are there from stage SAVED on."""

    id: int
    action_id: str
    kind: AttemptKind
    stage: Stage
    nonce: int
    intent_hash: str | None
    gas: int
    max_fee_wei: int
    tip_wei: int
    block_number: int
    raw: bytes | None = None
    hash: str | None = None
    said: str = ""
    """The classes of the endpoints' last answers."""

    @property
    def worst_cost_wei(self) -> int:
        return self.gas * self.max_fee_wei


@dataclass(frozen=True, slots=True)
class Inclusion:
    """In which block which attempt is, and whether it succeeded there."""

    hash: str
    block_number: int
    block_hash: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """A decision that is to become an action: the intent, its limits, and the whole record of why.

    `amount` of `asset` counts against the limits; what liquidations pay has `liquidate:` before the asset's address.
    `health_wad` is health at the decision, by which fees are urgent.
    `loss_avoided_wei` is what doing nothing would cost, in wei; 0 where nobody knows. `l1_data_fee_wei` is the part
    of the cost that is no gas. `decision` is JSON text: inputs,
    prices, alternatives, sentence.
    """

    id: str
    intent: Intent
    signer: Address
    block: BlockRef
    asset: Address
    amount: int
    gas: int
    max_fee_per_gas_wei: int
    max_cost_wei: int
    valid_until_s: int
    health_wad: int = 0
    loss_avoided_wei: int = 0
    l1_data_fee_wei: int = 0
    decision: str = "{}"
    retry_of: str | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """One decision to change one position, as the journal has it."""

    draft: Draft
    state: ActionState
    version: int
    nonce: int | None
    mined: Inclusion | None
    created_s: int
    changed_s: int
    note: str
    attempts: tuple[Attempt, ...] = ()

    @property
    def id(self) -> str:
        return self.draft.id

    @property
    def position_id(self) -> str:
        return self.draft.intent.position_id

    @property
    def open(self) -> bool:
        return self.state in OPEN_STATES

    @property
    def cancelling(self) -> bool:
        return any(attempt.kind is AttemptKind.CANCEL for attempt in self.attempts)

    @property
    def signed(self) -> tuple[Attempt, ...]:
        """The attempts that may be on their way: their bytes are durable, or their hash was found on chain."""
        return tuple(attempt for attempt in self.attempts if attempt.hash is not None)

    @property
    def unsigned(self) -> Attempt | None:
        """The attempt for which the signer may have been asked without the answer being saved."""
        return next((attempt for attempt in self.attempts if attempt.stage is Stage.RESERVED), None)


@dataclass(frozen=True, slots=True)
class Charge:
    """What an action counts as against the limits: units of its asset, and wei of gas."""

    amount: int
    gas_wei: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What is reserved, or was spent in the last 24 hours, without the action itself."""

    position_amount: int = 0
    key_amount: int = 0
    key_gas_wei: int = 0


@dataclass(frozen=True, slots=True)
class Hold:
    """Why nothing may be signed for `scope` until a person releases it."""

    scope: str
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """A transition of one action, committed with its record, its alert and all that follows from it, or not at all.

    `to` None keeps the state. `settle` is the true cost once final. `free_nonce` gives the nonce back, only where the
    signer was never asked. `adopt` adds a transaction found on chain to the attempts. `successor` is planned in the
    same commit. `final` is the finalized block on which a final state rests.
    """

    action_id: str
    version: int
    to: ActionState | None
    why: str
    severity: Severity = Severity.INFO
    mined: Inclusion | None = None
    settle: Charge | None = None
    free_nonce: bool = False
    adopt: tuple[Attempt, ...] = ()
    successor: Draft | None = None
    holds: tuple[Hold, ...] = ()
    final: BlockRef | None = None
    sent: tuple[tuple[int, str], ...] = ()
    """(attempt id, what the endpoints said), for attempts that may have arrived"""


@dataclass(frozen=True, slots=True)
class Alert:
    """A row of the outbox: delivered at least once, and by its key recognisable when it comes twice.

    `detail` is JSON of what it is about; `standing` is provisional, final or withdrawn (see tables.OUTBOX).
    """

    id: int
    record_seq: int
    dedupe_key: str
    severity: Severity
    subject: str
    body: str
    at_s: int
    kind: str = "action"
    detail: str = "{}"
    chain_id: int | None = None
    block_number: int | None = None
    block_hash: str | None = None
    standing: str = "final"
    corrects: int | None = None
    seen_s: int | None = None
    escalated: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """A row of the append-only history. `body` is canonical JSON."""

    seq: int
    at_s: int
    kind: str
    subject: str
    cause_seq: int | None
    body: str
    prev_hash: str
    hash: str = field(default="")
