"""The state machine: (journal row, observation, time) -> (change to commit, thing to do). Pure.

    PLANNED ─► ARMED ─► SIGNED ─► BROADCAST ─► MINED ─► FINAL_OK | FINAL_REVERTED | FINAL_CANCELLED
       │         │         └────────┬┴─ CANCELLING ─┘ └─► BROADCAST, CANCELLING   (its block left the chain)
       ▼         ▼                  └─► FOREIGN_NONCE ─► a successor       (the nonce was used, finally, by others)
    CLOSED_*  CLOSED_*  (only while the signer was never asked)

Receipts come first: whatever else is observed, an attempt that is on chain is on chain. Nothing is concluded from
absence but one thing: a nonce that is finally used, by a transaction that was found and is none of ours, is foreign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from monitor.core.actions import ActionState
from monitor.core.types import BlockRef
from monitor.execution.defences import ALL, Defences
from monitor.execution.fees import POLICY, FeePolicy, urgency
from monitor.execution.port import Account, Occupant, Receipt, TxCall
from monitor.execution.simulate import MORE_GAS
from monitor.journal.rows import (
    Action,
    Attempt,
    AttemptKind,
    Change,
    Charge,
    Draft,
    Hold,
    Inclusion,
    Severity,
    Stage,
)

CANCEL_GAS = 21_000
PATIENCE = 4
"""So many bump intervals may pass with nothing but the same bytes, where pools keep losing them."""


class Act(StrEnum):
    """What the executor is to do after the change, if any, is committed."""

    WAIT = "wait"
    ARM = "arm"
    SIGN = "sign"
    """the first attempt: simulate, reserve, sign, save"""
    RESIGN = "re-sign"
    """the reserved attempt again, with the same fields"""
    SEND = "send"
    BUMP = "bump"
    CANCEL = "cancel"
    ASK_OCCUPANT = "ask who used the nonce"


@dataclass(frozen=True, slots=True)
class Rules:
    """Numbers of the machine. Times in seconds of chain time."""

    fees: FeePolicy = POLICY
    endpoints: int = 1
    reverts_to_hold: int = 3
    revert_backoff_s: int = 120
    foreign_to_hold: int = 2
    defences: Defences = ALL


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one action's world at one head. `occupant` is asked for only when the machine wants it."""

    head: BlockRef
    finalized: BlockRef
    account: Account
    receipts: Mapping[str, Receipt] = field(default_factory=dict)
    canonical: frozenset[str] = frozenset()
    """block hashes, of those in `receipts`, that are canonical at their height"""
    known: frozenset[str] = frozenset()
    occupant: Occupant | None = None
    occupant_asked: bool = False
    intent_call: TxCall | None = None
    history: Sequence[tuple[ActionState, int]] = ()
    """the position's closed actions, newest first: state and when"""
    health_wad: int | None = None
    """the position's newest health, where somebody told it"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """First commit `change` (if any), then do `act`."""

    act: Act = Act.WAIT
    change: Change | None = None
    why: str = ""
    resend: bool = False
    """where the act comes to nothing, send what there is once more"""


def decide(action: Action, seen: Observation, now_s: int, rules: Rules) -> Verdict:
    """The next thing for this action. May be asked again at once, until it says WAIT."""
    match action.state:
        case ActionState.PLANNED:
            return _planned(action, seen, now_s, rules)
        case ActionState.ARMED | ActionState.SIGNED | ActionState.BROADCAST | ActionState.CANCELLING:
            return _in_flight(action, seen, now_s, rules)
        case ActionState.MINED:
            return _mined(action, seen, rules)
        case _:
            return Verdict(why=f"{action.state} waits for a person" if action.open else "closed")


def change(action: Action, to: ActionState | None, why: str, **more: object) -> Change:
    """A change of this version of the action."""
    return replace(Change(action.id, action.version, to, why), **more)  # type: ignore[arg-type]  # named by the callers


def tell(action: Action, why: str, severity: Severity = Severity.WARN) -> Change:
    """An alert without a transition."""
    return change(action, None, why, severity=severity, mined=action.mined)


def expired(action: Action, now_s: int) -> bool:
    """Whether it may no longer land."""
    return now_s > action.draft.valid_until_s


# -- before anything was signed ----------------------------------------------------------------------------------------


def _planned(action: Action, seen: Observation, now_s: int, rules: Rules) -> Verdict:
    if expired(action, now_s):
        return Verdict(change=change(action, ActionState.CLOSED_EXPIRED, "its time passed before it was armed"))
    reverts = reverted_at(seen.history)
    if reverts and rules.defences.revert_hold and not action.draft.retry_of:
        wait_until = reverts[0] + rules.revert_backoff_s * 2 ** (len(reverts) - 1)
        if now_s < wait_until:
            return Verdict(why=f"backs off after {len(reverts)} reverts until {wait_until}")
    return Verdict(Act.ARM)


def reverted_at(history: Sequence[tuple[ActionState, int]]) -> list[int]:
    """When the position's rescues reverted since one last succeeded, newest first."""
    times = []
    for state, at_s in history:
        if state is ActionState.FINAL_OK:
            break
        if state is ActionState.FINAL_REVERTED:
            times.append(at_s)
    return times


# -- on the way --------------------------------------------------------------------------------------------------------


def _in_flight(  # noqa: PLR0911  # one guard after the other
    action: Action, seen: Observation, now_s: int, rules: Rules
) -> Verdict:
    if found := inclusion(action, seen, rules):
        return Verdict(change=change(action, ActionState.MINED, f"in block {found.block_number}", mined=found))
    nonce = _nonce(action)
    if seen.account.nonce_final > nonce:
        return _used_finally(action, seen, now_s, rules)
    if seen.account.nonce > nonce:
        if not rules.defences.wait_final:
            return _foreign(action, seen, now_s, rules, "")
        return Verdict(why="the nonce is used; which transaction did it is not final yet")
    if expired(action, now_s) and rules.defences.cancel and not action.cancelling:
        if not action.attempts:
            why = "its time passed before it was signed"
            return Verdict(change=change(action, ActionState.CLOSED_EXPIRED, why, free_nonce=True))
        return Verdict(Act.CANCEL, why="its deadline has passed")
    if action.unsigned is not None:
        return Verdict(Act.RESIGN)
    if not action.attempts:
        return Verdict(Act.SIGN)
    return _keep_going(action, seen, rules)


def _keep_going(action: Action, seen: Observation, rules: Rules) -> Verdict:
    """Nothing is on chain and the nonce is free: make the newest attempt land."""
    newest = action.signed[-1] if action.signed else None
    if newest is None:
        # only abandoned attempts are left, which happens when a cancel was given up for lack of a signer
        return Verdict(Act.CANCEL, why="the signer may have signed for this nonce")
    if newest.stage is Stage.SAVED and newest.block_number == seen.head.number:
        return Verdict(Act.SEND)
    unseen = newest.stage is Stage.SAVED or (newest.hash not in seen.known and rules.defences.resend)
    age = seen.head.number - newest.block_number
    due = rules.fees.bump_after_blocks[urgency(seen.health_wad or action.draft.health_wad)]
    first_in_line = seen.account.nonce == _nonce(action)
    pays = newest.max_fee_wei >= (seen.head.base_fee or 0)
    if unseen and newest.stage is Stage.SENT and pays and age < PATIENCE * due:
        return Verdict(Act.SEND)  # it was lost after it had arrived: the same bytes first, more money later
    if first_in_line and age >= due and len(action.attempts) < rules.fees.max_attempts:
        return Verdict(Act.BUMP, why=f"not included for {age} blocks", resend=unseen)
    if unseen:
        return Verdict(Act.SEND)
    if not first_in_line:
        return Verdict(why="a lower nonce is missing")
    return Verdict(why="waits for inclusion")


def _nonce(action: Action) -> int:
    if action.nonce is None:
        raise AssertionError(f"{action.id} is {action.state} without a nonce")
    return action.nonce


def inclusion(action: Action, seen: Observation, rules: Rules) -> Inclusion | None:
    """The attempt that is on the canonical chain, whichever it is."""
    signed = action.signed if rules.defences.all_receipts else action.signed[-1:]
    if not rules.defences.maybe_sent:
        signed = tuple(attempt for attempt in signed if attempt.stage is Stage.SENT)
    for attempt in signed:
        receipt = seen.receipts.get(attempt.hash or "")
        if receipt is not None and (receipt.block_hash in seen.canonical or not rules.defences.canonical):
            return Inclusion(receipt.hash, receipt.block_number, receipt.block_hash, receipt.ok)
    return None


def _used_finally(action: Action, seen: Observation, now_s: int, rules: Rules) -> Verdict:
    """No attempt has a receipt, and yet the nonce is finally used."""
    if not rules.defences.occupant:
        return _foreign(action, seen, now_s, rules, "")
    if not seen.occupant_asked:
        return Verdict(Act.ASK_OCCUPANT)
    occupant = seen.occupant
    if occupant is None:
        why = "its nonce is finally used and nobody can say by which transaction"
        hold = Hold(_signer_scope(action), why)
        return Verdict(change=change(action, ActionState.QUARANTINED, why, severity=Severity.CRITICAL, holds=(hold,)))
    if occupant.hash in {attempt.hash for attempt in action.signed}:
        return Verdict(why="an attempt of ours used the nonce; its receipt is not served yet")
    if occupant.call == seen.intent_call:
        return Verdict(
            change=change(
                action,
                None,
                f"{occupant.hash} does the same and was not signed from this journal",
                severity=Severity.CRITICAL,
                adopt=(_adopted(action, occupant),),
                holds=(Hold(_signer_scope(action), "this key also signs elsewhere, for the same decisions"),),
            )
        )
    return _foreign(action, seen, now_s, rules, occupant.hash)


def _adopted(action: Action, occupant: Occupant) -> Attempt:
    nonce, intent_hash = _nonce(action), action.draft.intent.hash
    return Attempt(0, action.id, AttemptKind.ADOPTED, Stage.SENT, nonce, intent_hash, 0, 0, 0, 0, hash=occupant.hash)


def _foreign(action: Action, seen: Observation, now_s: int, rules: Rules, tx_hash: str) -> Verdict:
    """The nonce is gone for good. The intent goes on under a new nonce, as a new action that is judged afresh."""
    earlier = sum(1 for state, _ in seen.history if state is ActionState.FOREIGN_NONCE)
    holds: tuple[Hold, ...] = ()
    if earlier + 1 >= rules.foreign_to_hold:
        holds = (Hold(_signer_scope(action), "somebody else keeps using this key"),)
    successor = None if expired(action, now_s) or action.cancelling else successor_of(action.draft, seen.head)
    return Verdict(
        change=change(
            action,
            ActionState.FOREIGN_NONCE,
            f"nonce {action.nonce} was used by {tx_hash or 'another transaction'}",
            severity=Severity.CRITICAL,
            successor=successor,
            holds=holds,
            final=seen.finalized,
        )
    )


def successor_of(draft: Draft, block: BlockRef) -> Draft:
    """The same decision once more, for a nonce that others have used up."""
    base, _, count = draft.id.partition("~")
    return replace(draft, id=f"{base}~{int(count or 0) + 1}", retry_of=draft.id, block=block)


def with_more_gas(draft: Draft, block: BlockRef, gas: int, defences: Defences) -> Draft | None:
    """The same decision once more, for one that ran out of gas; never a second time, nor with more than twice as much.

    What it may cost in all stays what it was, so that more gas is paid for with a lower cap per gas.
    """
    if draft.retry_of or not draft.gas < gas <= MORE_GAS * draft.gas or not defences.more_gas:
        return None
    return replace(successor_of(draft, block), gas=gas)


def _signer_scope(action: Action) -> str:
    return f"signer:{action.draft.intent.chain_id}:{action.draft.signer}"


# -- on chain ----------------------------------------------------------------------------------------------------------


def _mined(action: Action, seen: Observation, rules: Rules) -> Verdict:
    found = inclusion(action, seen, rules)
    if found is None:
        if seen.account.nonce > _nonce(action) or not rules.defences.rollback:
            # used by something: our receipt is late, or others are in front of it, which only finality decides
            if seen.account.nonce_final > _nonce(action):
                back = ActionState.CANCELLING if action.cancelling else ActionState.BROADCAST
                return _rollback(action, back) if rules.defences.rollback else Verdict(why="its receipt is gone")
            return Verdict(why="the nonce is used; its receipt is not served")
        return _rollback(action, ActionState.CANCELLING if action.cancelling else ActionState.BROADCAST)
    if found != action.mined:
        why = f"now in block {found.block_number}"
        return Verdict(change=change(action, None, why, mined=found, severity=Severity.WARN))
    receipt = seen.receipts[found.hash]
    if rules.defences.wait_final and found.block_number > seen.finalized.number:
        return Verdict(why=f"waits for block {found.block_number} to be final")
    if rules.defences.witnesses and (receipt.disputed or receipt.witnesses < min(2, rules.endpoints)):
        return Verdict(why="endpoints do not yet agree on its receipt")
    return Verdict(change=_final(action, found, receipt, seen, rules))


def _rollback(action: Action, back: ActionState) -> Verdict:
    return Verdict(change=change(action, back, "its block left the chain", severity=Severity.WARN))


def _final(action: Action, found: Inclusion, receipt: Receipt, seen: Observation, rules: Rules) -> Change:
    attempt = next(attempt for attempt in action.signed if attempt.hash == found.hash)
    cancel = attempt.kind is AttemptKind.CANCEL
    successor: Draft | None = None
    if cancel:
        to, why, severity = ActionState.FINAL_CANCELLED, "cancelled", Severity.WARN
    elif found.ok:
        to, why, severity = ActionState.FINAL_OK, f"done in block {found.block_number}", Severity.INFO
    else:
        # a call keeps a 64th of the gas from those that it calls, so that some is left though it ran out
        out_of_gas = attempt.gas and receipt.gas_used * 64 >= attempt.gas * 63
        to, why = ActionState.FINAL_REVERTED, receipt.error or "reverted" + (": out of gas" if out_of_gas else "")
        severity = Severity.CRITICAL
        if out_of_gas:
            successor = with_more_gas(action.draft, seen.head, MORE_GAS * action.draft.gas, rules.defences)
    holds: tuple[Hold, ...] = ()
    reverts = len(reverted_at(seen.history)) + 1
    if to is ActionState.FINAL_REVERTED and rules.defences.revert_hold and reverts >= rules.reverts_to_hold:
        holds = (Hold(f"position:{action.position_id}", f"{reverts} rescues in a row reverted"),)
    spent = Charge(action.draft.amount if to is ActionState.FINAL_OK else 0, receipt.fee_wei)
    ended = change(action, to, why, severity=severity, mined=found, settle=spent, holds=holds, final=seen.finalized)
    return replace(ended, successor=None if holds else successor)
