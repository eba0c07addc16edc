"""Rows to values and back: drafts and records as canonical JSON, the hash that chains records, actions from rows.

Canonical means sorted keys and no blanks, so that equal content has equal bytes and so an equal hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import RowMapping

from monitor.core.actions import ActionState, Intent
from monitor.core.types import BlockRef
from monitor.journal.rows import (
    Action,
    Alert,
    Attempt,
    AttemptKind,
    Draft,
    Inclusion,
    Record,
    Severity,
    Stage,
)

GENESIS = "0" * 64
"""What the first record is chained to."""


def canonical(content: Mapping[str, Any]) -> str:
    """JSON text that is the same for the same content."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)


def record_hash(record: Record) -> str:
    """sha256 over every column but the hash itself."""
    content = [record.seq, record.at_s, record.kind, record.subject, record.cause_seq, record.body, record.prev_hash]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def record_from(row: RowMapping) -> Record:
    return Record(**{name: row[name] for name in Record.__dataclass_fields__})


def intent_to_json(intent: Intent) -> dict[str, Any]:
    return {**{name: getattr(intent, name) for name in Intent.__dataclass_fields__}, "args": dict(intent.args)}


def draft_to_json(draft: Draft) -> str:
    """All of it, the intent and the block included."""
    fields = {name: getattr(draft, name) for name in Draft.__dataclass_fields__}
    return canonical({**fields, "intent": intent_to_json(draft.intent), "block": asdict(draft.block)})


def draft_from_json(text: str) -> Draft:
    fields = json.loads(text)
    return Draft(**{**fields, "intent": Intent(**fields["intent"]), "block": BlockRef(**fields["block"])})


def attempt_from(row: RowMapping) -> Attempt:
    return Attempt(
        id=row["id"],
        action_id=row["action_id"],
        kind=AttemptKind(row["kind"]),
        stage=Stage(row["stage"]),
        nonce=row["nonce"],
        intent_hash=row["intent_hash"],
        gas=row["gas"],
        max_fee_wei=int(row["max_fee_wei"]),
        tip_wei=int(row["tip_wei"]),
        block_number=row["block_number"],
        raw=bytes.fromhex(row["raw"]) if row["raw"] else None,
        hash=row["hash"],
        said=row["said"],
    )


def action_from(row: RowMapping, attempts: Sequence[RowMapping]) -> Action:
    mined = None
    if row["mined_hash"] is not None:
        mined = Inclusion(row["mined_hash"], row["mined_number"], row["mined_block"], bool(row["mined_ok"]))
    return Action(
        draft=draft_from_json(row["draft"]),
        state=ActionState(row["state"]),
        version=row["version"],
        nonce=row["nonce"],
        mined=mined,
        created_s=row["created_s"],
        changed_s=row["changed_s"],
        note=row["note"],
        attempts=tuple(attempt_from(attempt) for attempt in attempts),
    )


def actions_from(rows: Sequence[RowMapping], attempts: Sequence[RowMapping]) -> list[Action]:
    """Actions with theirs of all these attempts."""
    theirs: dict[str, list[RowMapping]] = {row["id"]: [] for row in rows}
    for attempt in attempts:
        theirs[attempt["action_id"]].append(attempt)
    return [action_from(row, theirs[row["id"]]) for row in rows]


# -- alerts ----------------------------------------------------------------------------------------------------------


def alert_from(row: RowMapping) -> Alert:
    return Alert(**{**{name: row[name] for name in Alert.__dataclass_fields__}, "severity": Severity(row["severity"])})


def resting(chain_id: int, number: int, block_hash: str) -> dict[str, Any]:
    """The columns of an alert that is true only as long as this block is on the chain."""
    return {"chain_id": chain_id, "block_number": number, "block_hash": block_hash, "standing": "provisional"}


def about(draft: Draft, state: ActionState, tx_hash: str | None = None) -> str:
    """What an action's alert is about, as JSON: enough to tell it without looking anything up."""
    decision = json.loads(draft.decision)
    told = {name: decision.get(name) for name in ("cause", "why", "symbol", "decimals", "target")}
    healths = {"before": decision.get("health_before"), "expected": decision.get("health_expected")}
    return canonical(
        {
            **told,
            **healths,
            "position": draft.intent.position_id,
            "action": draft.intent.kind,
            "amount": str(draft.amount),
            "state": state.value,
            "tx": tx_hash,
        }
    )


def attempt_columns(action: Action, attempt: Attempt) -> dict[str, Any]:
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
