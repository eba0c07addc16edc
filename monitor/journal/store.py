"""The journal itself: one commit per thing that happens to an action, a key or a hold.

Every write appends a record to the hash chain, and puts its alert into the outbox in the same transaction (commits.py;
what the journal answers is in answers.py). Nothing here decides: what may follow what is the machine's business, what
it may cost is the limits'; both hand in what they decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from monitor.core.actions import ActionState
from monitor.core.types import Address, BlockRef
from monitor.journal.answers import Answers
from monitor.journal.budget import Judge, refuse, totals_beside
from monitor.journal.codec import about, attempt_columns, canonical, draft_to_json, intent_to_json, resting
from monitor.journal.rows import (
    OPEN_STATES,
    Action,
    Attempt,
    AttemptKind,
    Change,
    Charge,
    Draft,
    Hold,
    Refused,
    Severity,
    Stage,
    StaleChange,
)
from monitor.journal.statements import (
    ABANDON,
    ADD_ACTION,
    ADD_ATTEMPT,
    ADD_CHARGE,
    ADD_FINALITY,
    ADD_NONCE,
    ADD_SIGNER,
    CHANGE_ACTION,
    CHANGE_CHARGE,
    CHANGE_FINALITY,
    CHANGE_SIGNER,
    DELIVERED,
    DROP_CHARGE,
    FLYING,
    FREE_NONCE,
    HELD,
    SAVE_ATTEMPT,
    SENT_ATTEMPT,
    SETTLED_ON,
    TAKEN,
    VERSION,
)
from monitor.journal.tables import HOLDS


class Journal(Answers):
    """Open for writing: see Commits. What happens is told to it, and committed whole or not at all."""

    # -- what happens to an action -------------------------------------------------------------------------------

    def plan(self, draft: Draft, at_s: int) -> Action | None:
        """Record the decision and open an action; None while the position has an open one, or this id is known."""
        with self._transaction("plan") as db:
            if not self._plan(db, draft, at_s):
                return None
            return self._action(db, draft.id)

    def _plan(self, db: Connection, draft: Draft, at_s: int) -> bool:
        if db.execute(TAKEN, {"id": draft.id, "position_id": draft.intent.position_id}).first() is not None:
            return False
        body = draft_to_json(draft)
        seq = self._record(
            db, at_s, "decision", draft.id, {"draft": body, "intent_hash": draft.intent.hash, "version": 1}
        )
        row = {
            "id": draft.id,
            "position_id": draft.intent.position_id,
            "chain_id": draft.intent.chain_id,
            "signer": draft.signer,
            "state": ActionState.PLANNED,
            "open": 1,
            "version": 1,
            "intent": canonical(intent_to_json(draft.intent)),
            "intent_hash": draft.intent.hash,
            "draft": body,
            "decision_seq": seq,
            "created_s": at_s,
            "changed_s": at_s,
            "retry_of": draft.retry_of,
            "note": "",
        }
        db.execute(ADD_ACTION, row)
        rests = resting(draft.block.chain_id, draft.block.number, draft.block.hash)
        detail = about(draft, ActionState.PLANNED)
        why = f"planned: {draft.intent.kind}"
        self._alert(db, seq, at_s, f"{draft.id}/1", Severity.WARN, draft.id, why, detail=detail, **rests)
        return True

    def arm(
        self, action: Action, nonce: int, charge: Charge, judge: Judge, at_s: int, *, single: bool = True
    ) -> Action:
        """Budget and nonce in one commit. May raise: Refused, StaleChange; then nothing was written.

        `single`: only while the signer has nothing else on its way.
        """
        draft = action.draft
        with self._transaction("arm") as db:
            self._expect(db, action.id, action.version)
            if hold := self._held(db, action):
                raise Refused(f"{hold.scope} is on hold: {hold.reason}", hint="levmon resume, once it is understood")
            key = {"chain_id": draft.intent.chain_id, "signer": draft.signer}
            if single and (other := db.execute(FLYING, key).scalar()):
                raise Refused(f"{other} has the signer's nonce in flight")
            wanted = self._next_nonce(db, draft.intent.chain_id, draft.signer)
            if nonce != wanted:
                raise Refused(f"the journal is at nonce {wanted}, the chain at {nonce}")
            refuse(judge, totals_beside(db, action, at_s))
            db.execute(ADD_NONCE, {**key, "nonce": nonce, "action_id": action.id})
            self._advance(db, draft.intent.chain_id, draft.signer, nonce + 1)
            db.execute(DROP_CHARGE, {"the_action": action.id})
            spent = {"amount": str(charge.amount), "gas_wei": str(charge.gas_wei)}
            of = {"action_id": action.id, "position_id": action.position_id, "asset": draft.asset}
            db.execute(ADD_CHARGE, {**of, **key, **spent, "state": "reserved", "at_s": at_s})
            body, why = {"nonce": nonce, **spent}, f"armed with nonce {nonce}"
            self._become(db, action, ActionState.ARMED, at_s, "arm", body, why, nonce=nonce)
            return self._action(db, action.id)

    def reserve_attempt(self, action: Action, attempt: Attempt, charge: Charge, judge: Judge, at_s: int) -> Action:
        """Say that the signer is about to be asked, and pay for the dearer attempt, in one commit.

        The attempt is then the action's `unsigned`. May raise: Refused, StaleChange.
        """
        wanted = None if attempt.kind is AttemptKind.CANCEL else action.draft.intent.hash
        cancel = attempt.kind is AttemptKind.CANCEL
        if attempt.intent_hash != wanted or attempt.nonce != action.nonce or (action.unsigned and not cancel):
            raise AssertionError(f"an attempt for another intent or nonce than those of {action.id}")
        with self._transaction("reserve") as db:
            self._expect(db, action.id, action.version)
            if hold := self._held(db, action):
                raise Refused(f"{hold.scope} is on hold: {hold.reason}", hint="levmon resume, once it is understood")
            refuse(judge, totals_beside(db, action, at_s))
            db.execute(ABANDON, {"the_action": action.id})
            row = {**attempt_columns(action, attempt), "kind": attempt.kind, "stage": Stage.RESERVED, "said": ""}
            made = db.execute(ADD_ATTEMPT, row).inserted_primary_key
            if made is None:
                raise AssertionError("an insert without its key")
            spent = {"amount": str(charge.amount), "gas_wei": str(charge.gas_wei)}
            db.execute(CHANGE_CHARGE, {"the_action": action.id, **spent})
            body = {
                "attempt": made[0],
                "kind": attempt.kind,
                "max_fee_wei": str(attempt.max_fee_wei),
                "tip_wei": str(attempt.tip_wei),
                **spent,
            }
            self._become(db, action, None, at_s, "reserve", body, "")
            return self._action(db, action.id)

    def save_signature(self, action: Action, attempt: Attempt, raw: bytes, tx_hash: str, at_s: int) -> Action:
        """The signed bytes, durable before their first send. May raise: StaleChange."""
        to = None
        if attempt.kind is AttemptKind.CANCEL:
            to = ActionState.CANCELLING
        elif action.state is ActionState.ARMED:
            to = ActionState.SIGNED
        with self._transaction("save") as db:
            self._expect(db, action.id, action.version)
            db.execute(SAVE_ATTEMPT, {"the_attempt": attempt.id, "the_raw": raw.hex(), "the_hash": tx_hash})
            body = {"attempt": attempt.id, "hash": tx_hash}
            self._become(db, action, to, at_s, "save", body, f"signed {attempt.kind} {tx_hash}")
            return self._action(db, action.id)

    def apply(self, change: Change, at_s: int, *, name: str = "mark") -> Action:
        """Commit a transition with all that follows from it. May raise: StaleChange."""
        with self._transaction(name) as db:
            self._expect(db, change.action_id, change.version)
            action = self._action(db, change.action_id)
            if not action.open:
                raise AssertionError(f"{action.id} is {action.state} and never changes again")
            if change.free_nonce:
                self._free_nonce(db, action)
            self._settle(db, action, change, at_s)
            for attempt in change.adopt:
                self._adopt_attempt(db, action, attempt)
            for attempt_id, said in change.sent:
                db.execute(SENT_ATTEMPT, {"the_attempt": attempt_id, "stage": Stage.SENT, "said": said[:200]})
            if change.final is not None:
                self._finalize(db, change.final)
            mined: dict[str, Any] = {"mined_hash": None, "mined_number": None, "mined_block": None, "mined_ok": None}
            if change.mined is not None:
                mined = {
                    "mined_hash": change.mined.hash,
                    "mined_number": change.mined.block_number,
                    "mined_block": change.mined.block_hash,
                    "mined_ok": int(change.mined.ok),
                }
            body = {
                **mined,
                "free_nonce": change.free_nonce,
                "settle": [str(change.settle.amount), str(change.settle.gas_wei)] if change.settle else None,
                "adopt": [attempt.hash for attempt in change.adopt],
                "sent": [attempt_id for attempt_id, _ in change.sent],
                "successor": change.successor.id if change.successor else None,
            }
            more = {**mined, "nonce": None if change.free_nonce else action.nonce}
            seq = self._become(
                db, action, change.to, at_s, "change", body, change.why, severity=change.severity, **more
            )
            for hold in change.holds:
                self._hold(db, hold, at_s, seq)
            if change.successor is not None:
                self._plan(db, change.successor, at_s)
            return self._action(db, action.id)

    def _become(
        self,
        db: Connection,
        action: Action,
        to: ActionState | None,
        at_s: int,
        kind: str,
        body: dict[str, Any],
        why: str,
        *,
        severity: Severity = Severity.INFO,
        **columns: Any,
    ) -> int:
        """The part that all changes of an action share: row, record and, where the state or the reason moved, alert."""
        state = to or action.state
        version = action.version + 1
        full = {**body, "from": action.state, "to": state, "version": version, "why": why}
        seq = self._record(db, at_s, kind, action.id, full)
        row = {"state": state, "open": int(state in OPEN_STATES), "version": version, "changed_s": at_s}
        db.execute(CHANGE_ACTION, {"the_action": action.id, **row, "note": why or action.note, **columns})
        if state is not action.state or severity is not Severity.INFO:
            rests: dict[str, Any] = {}
            if state is ActionState.MINED and columns.get("mined_block"):
                rests = resting(action.draft.intent.chain_id, columns["mined_number"], columns["mined_block"])
            detail = about(action.draft, state, columns.get("mined_hash"))
            kind = "outcome" if state is ActionState.MINED or state not in OPEN_STATES else "action"
            key, text = f"{action.id}/{version}", f"{state}: {why}"
            self._alert(db, seq, at_s, key, severity, action.id, text, detail=detail, kind=kind, **rests)
        return seq

    def _settle(self, db: Connection, action: Action, change: Change, at_s: int) -> None:
        row: dict[str, Any] = {"the_action": action.id}
        if change.settle is not None:
            spent = {"amount": str(change.settle.amount), "gas_wei": str(change.settle.gas_wei)}
            db.execute(CHANGE_CHARGE, {**row, "state": "settled", "at_s": at_s, **spent})
        elif change.free_nonce or (change.to is not None and change.to not in OPEN_STATES):
            db.execute(DROP_CHARGE, row)

    def _free_nonce(self, db: Connection, action: Action) -> None:
        """May raise: AssertionError, when the signer may have signed for it."""
        if action.attempts or action.nonce is None:
            raise AssertionError(f"the nonce of {action.id} may have been signed for and cannot be given back")
        db.execute(FREE_NONCE, {"the_action": action.id})
        self._advance(db, action.draft.intent.chain_id, action.draft.signer, action.nonce)

    def _adopt_attempt(self, db: Connection, action: Action, attempt: Attempt) -> None:
        row = {**attempt_columns(action, attempt), "kind": AttemptKind.ADOPTED, "stage": Stage.SENT}
        raw = attempt.raw.hex() if attempt.raw else None
        db.execute(ADD_ATTEMPT, {**row, "raw": raw, "hash": attempt.hash, "said": "found on chain"})

    def _finalize(self, db: Connection, block: BlockRef) -> None:
        known = db.execute(SETTLED_ON, {"chain_id": block.chain_id}).mappings().first()
        row = {"number": block.number, "hash": block.hash}
        if known is None:
            db.execute(ADD_FINALITY, {"chain_id": block.chain_id, **row})
        elif known["number"] < block.number:
            db.execute(CHANGE_FINALITY, {"the_chain": block.chain_id, **row})

    @staticmethod
    def _expect(db: Connection, action_id: str, version: int) -> None:
        found = db.execute(VERSION, {"id": action_id}).scalar()
        if found != version:
            raise StaleChange(f"{action_id} is at version {found}, not {version}")

    # -- keys and holds ------------------------------------------------------------------------------------------

    def adopt_signer(self, chain_id: int, address: Address, next_nonce: int, at_s: int) -> None:
        """Say that everything below `next_nonce` is accounted for: a new key, or a reconciled one. Never goes back."""
        with self._transaction("adopt") as db:
            known = self._known_nonce(db, chain_id, address)
            if known is not None and next_nonce < known:
                raise Refused(f"{address} is known up to nonce {known}", hint="a lower one would be used twice")
            if known is None:
                db.execute(ADD_SIGNER, {"chain_id": chain_id, "address": address, "next_nonce": next_nonce})
            else:
                self._advance(db, chain_id, address, next_nonce)
            self._record(db, at_s, "signer", address, {"chain_id": chain_id, "next_nonce": next_nonce})

    def _next_nonce(self, db: Connection, chain_id: int, address: Address) -> int:
        found = self._known_nonce(db, chain_id, address)
        if found is None:
            raise Refused(f"{address} was never adopted on chain {chain_id}", hint="levmon keys adopt")
        return found

    @staticmethod
    def _advance(db: Connection, chain_id: int, address: Address, next_nonce: int) -> None:
        row = {"the_chain": chain_id, "the_address": address, "next_nonce": next_nonce}
        db.execute(CHANGE_SIGNER, row)

    def hold(self, hold: Hold, at_s: int) -> None:
        """Nothing is signed for this scope from now on."""
        with self._transaction("hold") as db:
            self._hold(db, hold, at_s, None)

    def _hold(self, db: Connection, hold: Hold, at_s: int, cause: int | None) -> None:
        if db.execute(select(HOLDS.c.scope).where(HOLDS.c.scope == hold.scope)).first() is None:
            db.execute(HOLDS.insert().values(scope=hold.scope, reason=hold.reason, at_s=at_s))
            seq = self._record(db, at_s, "hold", hold.scope, {"reason": hold.reason}, cause)
            why = f"on hold: {hold.reason}"
            self._alert(db, seq, at_s, f"hold/{seq}", Severity.CRITICAL, hold.scope, why, kind="hold")

    def release(self, scope: str, at_s: int) -> None:
        """A person has understood why."""
        with self._transaction("release") as db:
            db.execute(HOLDS.delete().where(HOLDS.c.scope == scope))
            seq = self._record(db, at_s, "release", scope, {})
            self._alert(db, seq, at_s, f"hold/{seq}", Severity.INFO, scope, "no longer on hold", kind="hold")

    @staticmethod
    def _held(db: Connection, action: Action) -> Hold | None:
        chain_id = action.draft.intent.chain_id
        scopes = {
            "chain": f"chain:{chain_id}",
            "signer": f"signer:{chain_id}:{action.draft.signer}",
            "position": f"position:{action.position_id}",
        }
        row = db.execute(HELD, scopes).mappings().first()
        return Hold(row["scope"], row["reason"]) if row else None

    def mark_delivered(self, alert_ids: Sequence[int], at_s: int) -> None:
        with self._transaction() as db:
            if alert_ids:
                db.execute(DELIVERED, [{"the_id": one, "delivered_s": at_s} for one in alert_ids])
