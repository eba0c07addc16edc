"""The journal's history told again: folding all records must give the tables as they are.

Pure over records. A difference means that somebody edited a table, or that a write forgot its record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from monitor.journal.codec import GENESIS, record_hash
from monitor.journal.rows import Action, Charge, Record


@dataclass(slots=True)
class Told:
    """What the history says of one action."""

    state: str
    version: int
    nonce: int | None = None
    mined: str | None = None
    hashes: set[str] = field(default_factory=set)
    charge: tuple[str, Charge] | None = None


def broken_links(records: Iterable[Record]) -> list[int]:
    """The seqs of records that were changed, or whose predecessor is missing."""
    wrong = []
    expected_seq, prev = 1, GENESIS
    for record in records:
        if record.seq != expected_seq or record.prev_hash != prev or record_hash(record) != record.hash:
            wrong.append(record.seq)
        expected_seq, prev = record.seq + 1, record.hash
    return wrong


def fold(records: Iterable[Record]) -> dict[str, Told]:
    """Actions by id."""
    told: dict[str, Told] = {}
    for record in records:
        body = json.loads(record.body)
        if record.kind == "decision":
            told[record.subject] = Told("planned", 1)
            continue
        if record.kind not in {"arm", "reserve", "save", "change"}:
            continue
        one = told[record.subject]
        if one.state != body["from"] or body["version"] != one.version + 1:
            raise ValueError(f"record {record.seq} does not follow from those before it")
        one.state, one.version = body["to"], body["version"]
        if record.kind == "arm":
            one.nonce = body["nonce"]
        if record.kind in {"arm", "reserve"}:
            one.charge = ("reserved", Charge(int(body["amount"]), int(body["gas_wei"])))
        if record.kind == "save":
            one.hashes.add(body["hash"])
        if record.kind == "change":
            _change(one, body)
    return told


def _change(one: Told, body: dict[str, object]) -> None:
    mined = body["mined_hash"]
    one.mined = mined if isinstance(mined, str) else None
    adopted = body["adopt"]
    if isinstance(adopted, list):
        one.hashes.update(adopted)
    settle = body["settle"]
    if isinstance(settle, list):
        one.charge = ("settled", Charge(int(settle[0]), int(settle[1])))
    elif body["free_nonce"] or str(body["to"]).startswith(("final", "closed", "foreign")):
        one.charge = None
    if body["free_nonce"]:
        one.nonce = None


def differences(records: list[Record], actions: Iterable[Action], charges: dict[str, tuple[str, Charge]]) -> list[str]:
    """What the tables say otherwise than the history; nothing where all is well."""
    found = [f"record {seq} is broken" for seq in broken_links(records)]
    told = fold(records)
    seen = set()
    for action in actions:
        seen.add(action.id)
        one = told.get(action.id)
        if one is None:
            found.append(f"{action.id} has no decision")
            continue
        mined = action.mined.hash if action.mined else None
        tables = (str(action.state), action.version, action.nonce, mined, {a.hash for a in action.signed})
        if tables != (one.state, one.version, one.nonce, one.mined, one.hashes):
            found.append(f"{action.id}: tables {tables}, history {one}")
        if charges.get(action.id) != one.charge:
            found.append(f"{action.id}: charged {charges.get(action.id)}, history {one.charge}")
    return found + [f"{missing} is missing" for missing in told.keys() - seen]
