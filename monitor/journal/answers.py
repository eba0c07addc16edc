"""What the journal answers: actions, keys, holds, charges, records. Nothing is changed here."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from monitor.core.actions import ActionState
from monitor.core.types import Address
from monitor.journal.budget import charge_of, totals
from monitor.journal.codec import action_from, actions_from, alert_from, attempt_from, record_from
from monitor.journal.commits import Commits
from monitor.journal.rows import Action, Alert, Charge, Hold, Record, Totals
from monitor.journal.statements import (
    ACTION,
    ALL_HOLDS,
    ATTEMPTS_OF,
    CHARGED,
    LAST_CLOSED,
    NEXT_NONCE,
    PENDING_ALERTS,
    SETTLED_ON,
    actions,
)
from monitor.journal.tables import ACTIONS, ATTEMPTS, BUDGET, RECORDS, SIGNERS


class Answers(Commits):
    """Every method is one consistent look. May raise: JournalBusy, JournalBroken."""

    # -- actions -------------------------------------------------------------------------------------------------

    @staticmethod
    def _action(db: Connection, action_id: str) -> Action:
        row = db.execute(ACTION, {"id": action_id}).mappings().one()
        return action_from(row, db.execute(ATTEMPTS_OF, {"action_id": action_id}).mappings().all())

    def action(self, action_id: str) -> Action:
        """May raise: NoResultFound."""
        with self._reading() as db:
            return self._action(db, action_id)

    def actions(self, *, chain_id: int | None = None, only_open: bool = False) -> list[Action]:
        """Those with a nonce first, by nonce; then in the order in which they were decided."""
        which, attempts = actions(of_chain=chain_id is not None, only_open=only_open)
        here = {} if chain_id is None else {"chain_id": chain_id}
        with self._reading() as db:
            rows = db.execute(which, here).mappings().all()
            return actions_from(rows, db.execute(attempts, here).mappings().all() if rows else ())

    def count_actions(self) -> dict[ActionState, int]:
        """How many are in which state; nothing for a state that none is in."""
        query = select(ACTIONS.c.state, func.count()).group_by(ACTIONS.c.state)
        with self._reading() as db:
            return {ActionState(state): count for state, count in db.execute(query)}

    def last_closed(self, position_id: str, limit: int = 32) -> list[tuple[ActionState, int]]:
        """States and times of the position's latest closed actions, newest first."""
        with self._reading() as db:
            rows = db.execute(LAST_CLOSED, {"position_id": position_id, "limit": limit})
            return [(ActionState(state), changed_s) for state, changed_s in rows]

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
            row = db.execute(SETTLED_ON, {"chain_id": chain_id}).mappings().first()
            return (row["number"], row["hash"]) if row else None

    def records(self) -> list[Record]:
        with self._reading() as db:
            return [record_from(row) for row in db.execute(select(RECORDS).order_by(RECORDS.c.seq)).mappings()]

    def count_records(self) -> int:
        with self._reading() as db:
            return int(db.execute(select(func.count()).select_from(RECORDS)).scalar_one())

    # -- keys, holds, charges, alerts -----------------------------------------------------------------------------

    def next_nonce(self, chain_id: int, address: Address) -> int | None:
        """The nonce that the next action would get, None for a key that was never adopted."""
        with self._reading() as db:
            return self._known_nonce(db, chain_id, address)

    @staticmethod
    def _known_nonce(db: Connection, chain_id: int, address: Address) -> int | None:
        found: int | None = db.execute(NEXT_NONCE, {"chain_id": chain_id, "address": address}).scalar()
        return found

    def holds(self) -> tuple[Hold, ...]:
        with self._reading() as db:
            rows = db.execute(ALL_HOLDS).mappings()
            return tuple(Hold(row["scope"], row["reason"]) for row in rows)

    def charge(self, action_id: str) -> Charge:
        """What the action is charged with now; nothing where it is not armed."""
        with self._reading() as db:
            row = db.execute(CHARGED, {"action_id": action_id}).mappings().first()
            return charge_of(row) if row else Charge(0, 0)

    def charges(self) -> dict[str, tuple[str, Charge]]:
        """State (reserved or settled) and charge by action."""
        with self._reading() as db:
            rows = db.execute(select(BUDGET)).mappings()
            return {row["action_id"]: (row["state"], charge_of(row)) for row in rows}

    def totals(self, chain_id: int, signer: Address, asset: Address, position_id: str, at_s: int) -> Totals:
        """What counts against the limits now: reserved, or spent in the 24 hours before `at_s` of chain time."""
        with self._reading() as db:
            return totals(db, chain_id, signer, asset, position_id, at_s)

    def pending_alerts(self, limit: int = 100) -> list[Alert]:
        """Undelivered, oldest first."""
        with self._reading() as db:
            return [alert_from(row) for row in db.execute(PENDING_ALERTS, {"limit": limit}).mappings()]
