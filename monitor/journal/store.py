"""The journal itself: one class, one process at a time, one commit per thing that happened.

Every write checks the lease, appends a record to the hash chain, and puts its alert into the outbox in the same
transaction. Nothing here decides: what may follow what is the machine's business, what it may cost is the limits';
both hand in what they decided. After a failed write the journal refuses everything until it is opened anew.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Engine, func, select, update
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from monitor.core.actions import ActionState
from monitor.core.types import Address, BlockRef
from monitor.journal import engine as opening
from monitor.journal.codec import (
    GENESIS,
    about,
    action_from,
    alert_from,
    attempt_from,
    canonical,
    draft_to_json,
    intent_to_json,
    record_from,
    record_hash,
    resting,
)
from monitor.journal.defences import ALL, Defences
from monitor.journal.lock import FileLock
from monitor.journal.rows import (
    IN_FLIGHT,
    OPEN_STATES,
    Action,
    Alert,
    Attempt,
    AttemptKind,
    Change,
    Charge,
    Draft,
    Hold,
    JournalBroken,
    JournalBusy,
    JournalError,
    JournalUnfit,
    LeaseLost,
    Record,
    Refused,
    Severity,
    Stage,
    StaleChange,
    Totals,
)
from monitor.journal.tables import (
    ACTIONS,
    ATTEMPTS,
    BUDGET,
    FINALITY,
    HOLDS,
    LEASES,
    NONCES,
    OUTBOX,
    RECORDS,
    SIGNERS,
)

LEASE = "executor"
WINDOW_S = 24 * 3600
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})

Judge = Callable[[Totals], Sequence[str]]
"""Reasons against a charge, given what is reserved and spent already; none means yes."""


def _nothing(_: str) -> None:
    pass


class Journal:
    """Open for writing. `probe` is told when a commit is about to happen and when it has (for fault tests)."""

    def __init__(
        self,
        url: str,
        *,
        now_s: int,
        holder: str = "",
        probe: Callable[[str], None] = _nothing,
        migrations: Sequence[opening.Migration] = opening.MIGRATIONS,
        busy_ms: int = opening.BUSY_MS,
        storage: type[sqlite3.Connection] = sqlite3.Connection,
        defences: Defences = ALL,
    ) -> None:
        """Takes the lock and the next lease epoch. `storage`: see engine.connect. May raise: JournalError."""
        file = opening.file_of(url)
        self._lock = FileLock(file.with_name(file.name + ".lock")) if file and defences.lock else None
        self._probe = probe
        self._broken = ""
        self._defences = defences
        self._engine: Engine = opening.connect(url, busy_ms=busy_ms, storage=storage, defences=defences)
        self.epoch = 0
        try:
            self._connection = self._engine.connect()
            with self._connection.begin():
                opening.migrate(self._connection, migrations, defences)
            if defences.verify:
                with self._connection.begin():
                    opening.verify_durable(self._connection)
                    self._verify_tail(self._connection)
            self._take_lease(now_s, holder or f"pid {os.getpid()}")
        except DatabaseError as error:
            self.close()
            raise opening.unfit(error) from None
        except JournalError:
            self.close()
            raise

    def close(self) -> None:
        """Idempotent. The lease stays with this holder's epoch until the next one takes it."""
        if hasattr(self, "_connection"):
            with suppress(DatabaseError):
                self._connection.close()
        self._engine.dispose()
        if self._lock is not None:
            self._lock.release()

    # -- transactions --------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self, what: str = "") -> Iterator[Connection]:
        """One commit. May raise: JournalBusy, JournalBroken, LeaseLost."""
        if self._broken and self._defences.fail_closed:
            raise JournalBroken(f"the journal failed before: {self._broken}", hint="restart levmon once it is mended")
        try:
            with self._connection.begin():
                if self.epoch:
                    self._check_lease()
                yield self._connection
                if what:
                    self._probe(f"before {what} commit")
            if what:
                self._probe(f"after {what} commit")
        except OperationalError as error:
            if getattr(error.orig, "sqlite_errorcode", None) in _BUSY:
                raise JournalBusy("the journal is locked by another process") from None
            self._broken = str(error.orig)
            raise JournalBroken(
                f"the journal cannot be written: {error.orig}", hint="make room or mend the disk, then restart levmon"
            ) from None
        except IntegrityError:
            raise
        except DatabaseError as error:
            self._broken = str(error.orig)
            raise JournalBroken(f"the journal is damaged: {error.orig}", hint="restore a copy") from None

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """One consistent look. May raise: JournalBusy, JournalBroken."""
        epoch, self.epoch = self.epoch, 0  # looking needs no lease
        try:
            with self._transaction() as db:
                yield db
        finally:
            self.epoch = epoch

    def _take_lease(self, now_s: int, holder: str) -> None:
        with self._transaction() as db:
            epoch = db.execute(select(LEASES.c.epoch).where(LEASES.c.name == LEASE)).scalar()
            if epoch is None:
                db.execute(LEASES.insert().values(name=LEASE, epoch=1, holder=holder))
            else:
                db.execute(update(LEASES).where(LEASES.c.name == LEASE).values(epoch=epoch + 1, holder=holder))
            self._record(db, now_s, "lease", LEASE, {"epoch": (epoch or 0) + 1, "holder": holder})
        self.epoch = (epoch or 0) + 1

    def _check_lease(self) -> None:
        epoch = self._connection.execute(select(LEASES.c.epoch).where(LEASES.c.name == LEASE)).scalar()
        if epoch != self.epoch:
            raise LeaseLost(f"the lease has epoch {epoch}, this process has {self.epoch}", hint="stop this process")

    def check_lease(self) -> None:
        """May raise: LeaseLost. Asked before signing and before sending."""
        with self._transaction():
            pass

    def _record(
        self, db: Connection, at_s: int, kind: str, subject: str, body: dict[str, Any], cause: int | None = None
    ) -> int:
        """Append; answers its seq."""
        last = db.execute(select(RECORDS.c.seq, RECORDS.c.hash).order_by(RECORDS.c.seq.desc()).limit(1)).first()
        seq, prev = (last.seq + 1, last.hash) if last else (1, GENESIS)
        record = Record(seq, at_s, kind, subject, cause, canonical(body), prev)
        values = {name: getattr(record, name) for name in Record.__dataclass_fields__}
        db.execute(RECORDS.insert().values(**{**values, "hash": record_hash(record)}))
        return seq

    def _alert(
        self, db: Connection, seq: int, key: str, severity: Severity, subject: str, body: str, **more: Any
    ) -> None:
        at_s = db.execute(select(RECORDS.c.at_s).where(RECORDS.c.seq == seq)).scalar_one()
        known = db.execute(select(OUTBOX.c.id).where(OUTBOX.c.dedupe_key == key)).first()
        if known is None:
            db.execute(
                OUTBOX.insert().values(
                    record_seq=seq, dedupe_key=key, severity=severity, subject=subject, body=body, at_s=at_s, **more
                )
            )

    # -- for the outbox beside it --------------------------------------------------------------------------------

    @contextmanager
    def commit(self, what: str = "") -> Iterator[Connection]:
        """One commit of somebody else's rows. May raise: JournalBusy, JournalBroken, LeaseLost."""
        with self._transaction(what) as db:
            yield db

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """One consistent look at somebody else's rows, also after a failed write: it changes nothing.

        May raise: JournalBusy, JournalBroken.
        """
        broken, self._broken = self._broken, ""
        try:
            with self._reading() as db:
                yield db
        finally:
            self._broken = self._broken or broken

    def append(
        self, db: Connection, at_s: int, entries: Sequence[tuple[str, str, dict[str, Any]]]
    ) -> list[tuple[int, str]]:
        """Many records (kind, subject, body) at once; answers seq and hash of each."""
        last = db.execute(select(RECORDS.c.seq, RECORDS.c.hash).order_by(RECORDS.c.seq.desc()).limit(1)).first()
        first, prev = (last.seq + 1, last.hash) if last else (1, GENESIS)
        rows = []
        for seq, (kind, subject, body) in enumerate(entries, first):
            record = Record(seq, at_s, kind, subject, None, canonical(body), prev)
            prev = record_hash(record)
            rows.append({**{name: getattr(record, name) for name in Record.__dataclass_fields__}, "hash": prev})
        if rows:
            db.execute(RECORDS.insert(), rows)
        return [(row["seq"], row["hash"]) for row in rows]

    # -- what happens to an action -------------------------------------------------------------------------------

    def plan(self, draft: Draft, at_s: int) -> Action | None:
        """Record the decision and open an action; None while the position has an open one, or this id is known."""
        with self._transaction("plan") as db:
            if not self._plan(db, draft, at_s):
                return None
        return self.action(draft.id)

    def _plan(self, db: Connection, draft: Draft, at_s: int) -> bool:
        taken = select(ACTIONS.c.id).where(
            (ACTIONS.c.id == draft.id) | ((ACTIONS.c.position_id == draft.intent.position_id) & (ACTIONS.c.open == 1))
        )
        if db.execute(taken).first() is not None:
            return False
        body = draft_to_json(draft)
        seq = self._record(
            db, at_s, "decision", draft.id, {"draft": body, "intent_hash": draft.intent.hash, "version": 1}
        )
        db.execute(
            ACTIONS.insert().values(
                id=draft.id,
                position_id=draft.intent.position_id,
                chain_id=draft.intent.chain_id,
                signer=draft.signer,
                state=ActionState.PLANNED,
                open=1,
                version=1,
                intent=canonical(intent_to_json(draft.intent)),
                intent_hash=draft.intent.hash,
                draft=body,
                decision_seq=seq,
                created_s=at_s,
                changed_s=at_s,
                retry_of=draft.retry_of,
                note="",
            )
        )
        rests = resting(draft.block.chain_id, draft.block.number, draft.block.hash)
        detail = about(draft, ActionState.PLANNED)
        why = f"planned: {draft.intent.kind}"
        self._alert(db, seq, f"{draft.id}/1", Severity.WARN, draft.id, why, detail=detail, **rests)
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
            flying = select(ACTIONS.c.id).where(
                (ACTIONS.c.chain_id == draft.intent.chain_id)
                & (ACTIONS.c.signer == draft.signer)
                & ACTIONS.c.state.in_(IN_FLIGHT)
            )
            if single and (other := db.execute(flying).scalar()):
                raise Refused(f"{other} has the signer's nonce in flight")
            wanted = self._next_nonce(db, draft.intent.chain_id, draft.signer)
            if nonce != wanted:
                raise Refused(f"the journal is at nonce {wanted}, the chain at {nonce}")
            self._refuse(judge, self._totals(db, action, at_s))
            db.execute(
                NONCES.insert().values(
                    chain_id=draft.intent.chain_id, signer=draft.signer, nonce=nonce, action_id=action.id
                )
            )
            self._advance(db, draft.intent.chain_id, draft.signer, nonce + 1)
            db.execute(BUDGET.delete().where(BUDGET.c.action_id == action.id))
            db.execute(
                BUDGET.insert().values(
                    action_id=action.id,
                    position_id=action.position_id,
                    chain_id=draft.intent.chain_id,
                    signer=draft.signer,
                    asset=draft.asset,
                    amount=str(charge.amount),
                    gas_wei=str(charge.gas_wei),
                    state="reserved",
                    at_s=at_s,
                )
            )
            body = {"nonce": nonce, "amount": str(charge.amount), "gas_wei": str(charge.gas_wei)}
            self._become(db, action, ActionState.ARMED, at_s, "arm", body, f"armed with nonce {nonce}", nonce=nonce)
        return self.action(action.id)

    def reserve_attempt(self, action: Action, attempt: Attempt, charge: Charge, judge: Judge, at_s: int) -> Attempt:
        """Say that the signer is about to be asked, and pay for the dearer attempt, in one commit.

        May raise: Refused, StaleChange.
        """
        wanted = None if attempt.kind is AttemptKind.CANCEL else action.draft.intent.hash
        cancel = attempt.kind is AttemptKind.CANCEL
        if attempt.intent_hash != wanted or attempt.nonce != action.nonce or (action.unsigned and not cancel):
            raise AssertionError(f"an attempt for another intent or nonce than those of {action.id}")
        with self._transaction("reserve") as db:
            self._expect(db, action.id, action.version)
            if hold := self._held(db, action):
                raise Refused(f"{hold.scope} is on hold: {hold.reason}", hint="levmon resume, once it is understood")
            self._refuse(judge, self._totals(db, action, at_s))
            db.execute(
                update(ATTEMPTS)
                .where((ATTEMPTS.c.action_id == action.id) & (ATTEMPTS.c.stage == Stage.RESERVED))
                .values(stage=Stage.ABANDONED)
            )
            made = db.execute(
                ATTEMPTS.insert().values(
                    **_attempt_columns(action, attempt), kind=attempt.kind, stage=Stage.RESERVED, said=""
                )
            ).inserted_primary_key
            if made is None:
                raise AssertionError("an insert without its key")
            db.execute(
                update(BUDGET)
                .where(BUDGET.c.action_id == action.id)
                .values(gas_wei=str(charge.gas_wei), amount=str(charge.amount))
            )
            body = {
                "attempt": made[0],
                "kind": attempt.kind,
                "max_fee_wei": str(attempt.max_fee_wei),
                "tip_wei": str(attempt.tip_wei),
                "amount": str(charge.amount),
                "gas_wei": str(charge.gas_wei),
            }
            self._become(db, action, None, at_s, "reserve", body, "")
        return next(found for found in self.action(action.id).attempts if found.id == made[0])

    def save_signature(self, action: Action, attempt: Attempt, raw: bytes, tx_hash: str, at_s: int) -> Action:
        """The signed bytes, durable before their first send. May raise: StaleChange."""
        to = None
        if attempt.kind is AttemptKind.CANCEL:
            to = ActionState.CANCELLING
        elif action.state is ActionState.ARMED:
            to = ActionState.SIGNED
        with self._transaction("save") as db:
            self._expect(db, action.id, action.version)
            db.execute(
                update(ATTEMPTS)
                .where((ATTEMPTS.c.id == attempt.id) & (ATTEMPTS.c.stage == Stage.RESERVED))
                .values(raw=raw.hex(), hash=tx_hash, stage=Stage.SAVED)
            )
            body = {"attempt": attempt.id, "hash": tx_hash}
            self._become(db, action, to, at_s, "save", body, f"signed {attempt.kind} {tx_hash}")
        return self.action(action.id)

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
                db.execute(
                    update(ATTEMPTS).where(ATTEMPTS.c.id == attempt_id).values(stage=Stage.SENT, said=said[:200])
                )
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
        return self.action(change.action_id)

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
        db.execute(
            update(ACTIONS)
            .where(ACTIONS.c.id == action.id)
            .values(
                state=state,
                open=int(state in OPEN_STATES),
                version=version,
                changed_s=at_s,
                note=why or action.note,
                **columns,
            )
        )
        if state is not action.state or severity is not Severity.INFO:
            rests: dict[str, Any] = {}
            if state is ActionState.MINED and columns.get("mined_block"):
                rests = resting(action.draft.intent.chain_id, columns["mined_number"], columns["mined_block"])
            detail = about(action.draft, state, columns.get("mined_hash"))
            kind = "outcome" if state is ActionState.MINED or state not in OPEN_STATES else "action"
            key, text = f"{action.id}/{version}", f"{state}: {why}"
            self._alert(db, seq, key, severity, action.id, text, detail=detail, kind=kind, **rests)
        return seq

    def _settle(self, db: Connection, action: Action, change: Change, at_s: int) -> None:
        row = BUDGET.c.action_id == action.id
        if change.settle is not None:
            db.execute(
                update(BUDGET)
                .where(row)
                .values(
                    state="settled",
                    at_s=at_s,
                    amount=str(change.settle.amount),
                    gas_wei=str(change.settle.gas_wei),
                )
            )
        elif change.free_nonce or (change.to is not None and change.to not in OPEN_STATES):
            db.execute(BUDGET.delete().where(row))

    def _free_nonce(self, db: Connection, action: Action) -> None:
        """May raise: AssertionError, when the signer may have signed for it."""
        if action.attempts or action.nonce is None:
            raise AssertionError(f"the nonce of {action.id} may have been signed for and cannot be given back")
        db.execute(NONCES.delete().where(NONCES.c.action_id == action.id))
        self._advance(db, action.draft.intent.chain_id, action.draft.signer, action.nonce)

    def _adopt_attempt(self, db: Connection, action: Action, attempt: Attempt) -> None:
        db.execute(
            ATTEMPTS.insert().values(
                **_attempt_columns(action, attempt),
                kind=AttemptKind.ADOPTED,
                stage=Stage.SENT,
                raw=attempt.raw.hex() if attempt.raw else None,
                hash=attempt.hash,
                said="found on chain",
            )
        )

    def _finalize(self, db: Connection, block: BlockRef) -> None:
        known = db.execute(select(FINALITY.c.number).where(FINALITY.c.chain_id == block.chain_id)).scalar()
        if known is None:
            db.execute(FINALITY.insert().values(chain_id=block.chain_id, number=block.number, hash=block.hash))
        elif known < block.number:
            db.execute(
                update(FINALITY)
                .where(FINALITY.c.chain_id == block.chain_id)
                .values(number=block.number, hash=block.hash)
            )

    # -- keys and holds ------------------------------------------------------------------------------------------

    def adopt_signer(self, chain_id: int, address: Address, next_nonce: int, at_s: int) -> None:
        """Say that everything below `next_nonce` is accounted for: a new key, or a reconciled one. Never goes back."""
        with self._transaction("adopt") as db:
            known = self._known_nonce(db, chain_id, address)
            if known is not None and next_nonce < known:
                raise Refused(f"{address} is known up to nonce {known}", hint="a lower one would be used twice")
            if known is None:
                db.execute(SIGNERS.insert().values(chain_id=chain_id, address=address, next_nonce=next_nonce))
            else:
                self._advance(db, chain_id, address, next_nonce)
            self._record(db, at_s, "signer", address, {"chain_id": chain_id, "next_nonce": next_nonce})

    def next_nonce(self, chain_id: int, address: Address) -> int | None:
        """The nonce that the next action would get, None for a key that was never adopted."""
        with self._reading() as db:
            return self._known_nonce(db, chain_id, address)

    @staticmethod
    def _known_nonce(db: Connection, chain_id: int, address: Address) -> int | None:
        where = (SIGNERS.c.chain_id == chain_id) & (SIGNERS.c.address == address)
        found: int | None = db.execute(select(SIGNERS.c.next_nonce).where(where)).scalar()
        return found

    def _next_nonce(self, db: Connection, chain_id: int, address: Address) -> int:
        found = self._known_nonce(db, chain_id, address)
        if found is None:
            raise Refused(f"{address} was never adopted on chain {chain_id}", hint="levmon keys adopt")
        return found

    @staticmethod
    def _advance(db: Connection, chain_id: int, address: Address, next_nonce: int) -> None:
        where = (SIGNERS.c.chain_id == chain_id) & (SIGNERS.c.address == address)
        db.execute(update(SIGNERS).where(where).values(next_nonce=next_nonce))

    def hold(self, hold: Hold, at_s: int) -> None:
        """Nothing is signed for this scope from now on."""
        with self._transaction("hold") as db:
            self._hold(db, hold, at_s, None)

    def _hold(self, db: Connection, hold: Hold, at_s: int, cause: int | None) -> None:
        if db.execute(select(HOLDS.c.scope).where(HOLDS.c.scope == hold.scope)).first() is None:
            db.execute(HOLDS.insert().values(scope=hold.scope, reason=hold.reason, at_s=at_s))
            seq = self._record(db, at_s, "hold", hold.scope, {"reason": hold.reason}, cause)
            why = f"on hold: {hold.reason}"
            self._alert(db, seq, f"hold/{seq}", Severity.CRITICAL, hold.scope, why, kind="hold")

    def release(self, scope: str, at_s: int) -> None:
        """A person has understood why."""
        with self._transaction("release") as db:
            db.execute(HOLDS.delete().where(HOLDS.c.scope == scope))
            seq = self._record(db, at_s, "release", scope, {})
            self._alert(db, seq, f"hold/{seq}", Severity.INFO, scope, "no longer on hold", kind="hold")

    def holds(self) -> tuple[Hold, ...]:
        with self._reading() as db:
            rows = db.execute(select(HOLDS).order_by(HOLDS.c.scope)).mappings()
            return tuple(Hold(row["scope"], row["reason"]) for row in rows)

    @staticmethod
    def _held(db: Connection, action: Action) -> Hold | None:
        chain_id = action.draft.intent.chain_id
        scopes = [f"chain:{chain_id}", f"signer:{chain_id}:{action.draft.signer}", f"position:{action.position_id}"]
        row = db.execute(select(HOLDS).where(HOLDS.c.scope.in_(scopes))).mappings().first()
        return Hold(row["scope"], row["reason"]) if row else None

    # -- limits --------------------------------------------------------------------------------------------------

    @staticmethod
    def _refuse(judge: Judge, totals: Totals) -> None:
        if reasons := judge(totals):
            raise Refused("; ".join(reasons), hint="raise the limit in levmon.toml if that is what you want")

    @staticmethod
    def _totals(db: Connection, action: Action, at_s: int) -> Totals:
        """Text is added up here, since no SQL sum holds 256 bits. Reserved counts however old it is."""
        draft = action.draft
        rows = db.execute(
            select(BUDGET).where(
                (BUDGET.c.action_id != action.id)
                & (BUDGET.c.signer == draft.signer)
                & (BUDGET.c.chain_id == draft.intent.chain_id)
                & ((BUDGET.c.state == "reserved") | (BUDGET.c.at_s > at_s - WINDOW_S))
            )
        ).mappings()
        position = key = gas = 0
        for row in rows:
            gas += int(row["gas_wei"])
            if row["asset"] == draft.asset:
                key += int(row["amount"])
                position += int(row["amount"]) if row["position_id"] == action.position_id else 0
        return Totals(position, key, gas)

    def charge(self, action_id: str) -> Charge:
        """What the action is charged with now; nothing where it is not armed."""
        with self._reading() as db:
            row = db.execute(select(BUDGET).where(BUDGET.c.action_id == action_id)).mappings().first()
            return Charge(int(row["amount"]), int(row["gas_wei"])) if row else Charge(0, 0)

    def charges(self) -> dict[str, tuple[str, Charge]]:
        """State (reserved or settled) and charge by action."""
        with self._reading() as db:
            rows = db.execute(select(BUDGET)).mappings()
            return {row["action_id"]: (row["state"], Charge(int(row["amount"]), int(row["gas_wei"]))) for row in rows}

    # -- reading -------------------------------------------------------------------------------------------------

    @staticmethod
    def _expect(db: Connection, action_id: str, version: int) -> None:
        found = db.execute(select(ACTIONS.c.version).where(ACTIONS.c.id == action_id)).scalar()
        if found != version:
            raise StaleChange(f"{action_id} is at version {found}, not {version}")

    @staticmethod
    def _action(db: Connection, action_id: str) -> Action:
        row = db.execute(select(ACTIONS).where(ACTIONS.c.id == action_id)).mappings().one()
        attempts = db.execute(select(ATTEMPTS).where(ATTEMPTS.c.action_id == action_id).order_by(ATTEMPTS.c.id))
        return action_from(row, attempts.mappings().all())

    def action(self, action_id: str) -> Action:
        """May raise: NoResultFound."""
        with self._reading() as db:
            return self._action(db, action_id)

    def actions(self, *, chain_id: int | None = None, only_open: bool = False) -> list[Action]:
        """Those with a nonce first, by nonce; then in the order in which they were decided."""
        query = select(ACTIONS.c.id).order_by(ACTIONS.c.nonce.is_(None), ACTIONS.c.nonce, ACTIONS.c.decision_seq)
        if chain_id is not None:
            query = query.where(ACTIONS.c.chain_id == chain_id)
        if only_open:
            query = query.where(ACTIONS.c.open == 1)
        with self._reading() as db:
            return [self._action(db, action_id) for action_id in db.execute(query).scalars().all()]

    def last_closed(self, position_id: str, limit: int = 32) -> list[tuple[ActionState, int]]:
        """States and times of the position's latest closed actions, newest first."""
        query = (
            select(ACTIONS.c.state, ACTIONS.c.changed_s)
            .where((ACTIONS.c.position_id == position_id) & (ACTIONS.c.open == 0))
            .order_by(ACTIONS.c.decision_seq.desc())
            .limit(limit)
        )
        with self._reading() as db:
            return [(ActionState(row.state), row.changed_s) for row in db.execute(query)]

    def attempt_hashes(self, chain_id: int, address: Address) -> dict[str, int]:
        """The nonce of every signed byte string of this key, by hash."""
        query = select(ATTEMPTS).where((ATTEMPTS.c.chain_id == chain_id) & (ATTEMPTS.c.signer == address))
        with self._reading() as db:
            found = [attempt_from(row) for row in db.execute(query).mappings()]
        return {attempt.hash: attempt.nonce for attempt in found if attempt.hash}

    def signers(self, chain_id: int) -> tuple[Address, ...]:
        with self._reading() as db:
            return tuple(db.execute(select(SIGNERS.c.address).where(SIGNERS.c.chain_id == chain_id)).scalars())

    def finality(self, chain_id: int) -> tuple[int, str] | None:
        """Number and hash of the highest block on which something was settled."""
        with self._reading() as db:
            row = db.execute(select(FINALITY).where(FINALITY.c.chain_id == chain_id)).mappings().first()
            return (row["number"], row["hash"]) if row else None

    def records(self) -> list[Record]:
        with self._reading() as db:
            return [record_from(row) for row in db.execute(select(RECORDS).order_by(RECORDS.c.seq)).mappings()]

    def count_records(self) -> int:
        with self._reading() as db:
            return int(db.execute(select(func.count()).select_from(RECORDS)).scalar_one())

    @staticmethod
    def _verify_tail(db: Connection, rows: int = 500) -> None:
        """The newest records are chained and unchanged (`replay.verify` looks at all). May raise: JournalUnfit."""
        newest = db.execute(select(RECORDS).order_by(RECORDS.c.seq.desc()).limit(rows)).mappings().all()
        follows: Record | None = None
        for record in map(record_from, newest):
            broken = follows is not None and (follows.prev_hash != record.hash or follows.seq != record.seq + 1)
            if broken or record_hash(record) != record.hash:
                raise JournalUnfit(f"record {record.seq} of the journal was changed", hint="restore a copy")
            follows = record

    # -- the outbox ----------------------------------------------------------------------------------------------

    def pending_alerts(self, limit: int = 100) -> list[Alert]:
        """Undelivered, oldest first."""
        query = select(OUTBOX).where(OUTBOX.c.delivered_s.is_(None)).order_by(OUTBOX.c.id).limit(limit)
        with self._reading() as db:
            return [alert_from(row) for row in db.execute(query).mappings()]

    def mark_delivered(self, alert_ids: Sequence[int], at_s: int) -> None:
        with self._transaction() as db:
            db.execute(update(OUTBOX).where(OUTBOX.c.id.in_(alert_ids)).values(delivered_s=at_s))


def _attempt_columns(action: Action, attempt: Attempt) -> dict[str, Any]:
    """What a row of attempts holds whatever became of it."""
    return {
        "action_id": action.id,
        "chain_id": action.draft.intent.chain_id,
        "signer": action.draft.signer,
        "nonce": attempt.nonce,
        "intent_hash": attempt.intent_hash,
        "gas": attempt.gas,
        "max_fee_wei": str(attempt.max_fee_wei),
        "tip_wei": str(attempt.tip_wei),
        "block_number": attempt.block_number,
    }
