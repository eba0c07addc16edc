"""The SQL of what recurs with every block, built once: building a statement costs up to ten times what running it does.

Values are handed in by name when a statement runs; `the_...` names pick rows where a bare column's name would be taken
for a new value. Which statement follows which is the business of the classes that use them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Integer, Select, bindparam, delete, insert, select, union_all, update

from monitor.journal.rows import IN_FLIGHT, Stage
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

# -- records, alerts, the lease ----------------------------------------------------------------------------------------

EPOCH = select(LEASES.c.epoch).where(LEASES.c.name == bindparam("name"))
LAST_RECORD = select(RECORDS.c.seq, RECORDS.c.hash).order_by(RECORDS.c.seq.desc()).limit(1)
ADD_RECORD = insert(RECORDS)
ALERT_KNOWN = select(OUTBOX.c.id).where(OUTBOX.c.dedupe_key == bindparam("dedupe_key"))
ADD_ALERT = insert(OUTBOX)
PENDING_ALERTS = (
    select(OUTBOX).where(OUTBOX.c.delivered_s.is_(None)).order_by(OUTBOX.c.id).limit(bindparam("limit", type_=Integer))
)
DELIVERED = update(OUTBOX).where(OUTBOX.c.id == bindparam("the_id"))

# -- actions -----------------------------------------------------------------------------------------------------------

ACTION = select(ACTIONS).where(ACTIONS.c.id == bindparam("id"))
ATTEMPTS_OF = select(ATTEMPTS).where(ATTEMPTS.c.action_id == bindparam("action_id")).order_by(ATTEMPTS.c.id)
VERSION = select(ACTIONS.c.version).where(ACTIONS.c.id == bindparam("id"))
TAKEN = select(ACTIONS.c.id).where(
    (ACTIONS.c.id == bindparam("id")) | ((ACTIONS.c.position_id == bindparam("position_id")) & (ACTIONS.c.open == 1))
)
FLYING = select(ACTIONS.c.id).where(
    (ACTIONS.c.chain_id == bindparam("chain_id"))
    & (ACTIONS.c.signer == bindparam("signer"))
    & (ACTIONS.c.open == 1)
    & ACTIONS.c.state.in_(IN_FLIGHT)
)
LAST_CLOSED = (
    select(ACTIONS.c.state, ACTIONS.c.changed_s)
    .where((ACTIONS.c.position_id == bindparam("position_id")) & (ACTIONS.c.open == 0))
    .order_by(ACTIONS.c.decision_seq.desc())
    .limit(bindparam("limit", type_=Integer))
)
ADD_ACTION = insert(ACTIONS)
CHANGE_ACTION = update(ACTIONS).where(ACTIONS.c.id == bindparam("the_action"))


@cache
def actions(*, of_chain: bool, only_open: bool) -> tuple[Select[Any], Select[Any]]:
    """Actions and their attempts; with `of_chain` they take a `chain_id`.

    Those with a nonce first, by nonce; then in the order in which they were decided.
    """
    which, ids = select(ACTIONS), select(ACTIONS.c.id)
    if of_chain:
        here = ACTIONS.c.chain_id == bindparam("chain_id")
        which, ids = which.where(here), ids.where(here)
    if only_open:
        which, ids = which.where(ACTIONS.c.open == 1), ids.where(ACTIONS.c.open == 1)
    ordered = which.order_by(ACTIONS.c.nonce.is_(None), ACTIONS.c.nonce, ACTIONS.c.decision_seq)
    return ordered, select(ATTEMPTS).where(ATTEMPTS.c.action_id.in_(ids)).order_by(ATTEMPTS.c.id)


# -- attempts ----------------------------------------------------------------------------------------------------------

ABANDON = (
    update(ATTEMPTS)
    .where((ATTEMPTS.c.action_id == bindparam("the_action")) & (ATTEMPTS.c.stage == Stage.RESERVED))
    .values(stage=Stage.ABANDONED)
)
ADD_ATTEMPT = insert(ATTEMPTS)
SAVE_ATTEMPT = (
    update(ATTEMPTS)
    .where((ATTEMPTS.c.id == bindparam("the_attempt")) & (ATTEMPTS.c.stage == Stage.RESERVED))
    .values(raw=bindparam("the_raw"), hash=bindparam("the_hash"), stage=Stage.SAVED)
)
SENT_ATTEMPT = update(ATTEMPTS).where(ATTEMPTS.c.id == bindparam("the_attempt"))

# -- nonces, budget, keys, holds, finality -----------------------------------------------------------------------------

ADD_NONCE = insert(NONCES)
FREE_NONCE = delete(NONCES).where(NONCES.c.action_id == bindparam("the_action"))
CHARGED = select(BUDGET).where(BUDGET.c.action_id == bindparam("action_id"))
ADD_CHARGE = insert(BUDGET)
CHANGE_CHARGE = update(BUDGET).where(BUDGET.c.action_id == bindparam("the_action"))
DROP_CHARGE = delete(BUDGET).where(BUDGET.c.action_id == bindparam("the_action"))
_OF_KEY = select(BUDGET).where((BUDGET.c.signer == bindparam("signer")) & (BUDGET.c.chain_id == bindparam("chain_id")))
COUNTED = union_all(
    _OF_KEY.where(BUDGET.c.state == "reserved"),
    _OF_KEY.where((BUDGET.c.state == "settled") & (BUDGET.c.at_s > bindparam("since_s"))),
)
"""What counts against the limits of a key: reserved, however old, or spent after `since_s`. Two looks into one index:

of an OR over both states SQLite makes a scan of all that the key ever did.
"""

NEXT_NONCE = select(SIGNERS.c.next_nonce).where(
    (SIGNERS.c.chain_id == bindparam("chain_id")) & (SIGNERS.c.address == bindparam("address"))
)
ADD_SIGNER = insert(SIGNERS)
CHANGE_SIGNER = update(SIGNERS).where(
    (SIGNERS.c.chain_id == bindparam("the_chain")) & (SIGNERS.c.address == bindparam("the_address"))
)
ALL_HOLDS = select(HOLDS).order_by(HOLDS.c.scope)
HELD = select(HOLDS).where(
    (HOLDS.c.scope == bindparam("chain"))
    | (HOLDS.c.scope == bindparam("signer"))
    | (HOLDS.c.scope == bindparam("position"))
)
SETTLED_ON = select(FINALITY).where(FINALITY.c.chain_id == bindparam("chain_id"))
ADD_FINALITY = insert(FINALITY)
CHANGE_FINALITY = update(FINALITY).where(FINALITY.c.chain_id == bindparam("the_chain"))
