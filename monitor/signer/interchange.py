"""The record as one JSON file, to move a key to another machine. Export, stop the old signer for good, import, start.

Importing only ever forbids more: watermarks and epochs become the higher of both, and what was signed is added, so that
the day's limits and the intents in flight move along. Two records that disagree about a nonce are not merged. No key is
in the file.
"""

from __future__ import annotations

import json
from typing import Any

from monitor.core.errors import ConfigError
from monitor.signer import strict_json
from monitor.signer.signdb import SignDb

FORMAT = "levmon-sign/1"
_COLUMNS: dict[str, dict[str, type]] = {
    "keys": {"chain_id": int, "address": str, "watermark": int},
    "epochs": {"address": str, "epoch": int},
    "intents": {
        "id": int,
        "chain_id": int,
        "address": str,
        "nonce": int,
        "intent_hash": str,
        "action_id": str,
        "kind": str,
        "asset": str,
        "amount": str,
        "at_s": int,
    },
    "attempts": {"intent": int, "signing_hash": str, "cost_wei": str, "at_s": int, "raw": str},
}


def export(db: SignDb) -> bytes:
    """The whole record."""
    content: dict[str, Any] = {"format": FORMAT}
    for table, columns in _COLUMNS.items():
        content[table] = [{name: _plain(row[name]) for name in columns} for row in db.rows(table)]
    return json.dumps(content, indent=1).encode() + b"\n"


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else "" if value is None else value


def merge(db: SignDb, content: bytes, now_s: int) -> None:
    """Add another record to this one. May raise: ConfigError; then nothing was added."""
    bad = ConfigError(f"not an export of format {FORMAT}", hint="write one with `export`")
    try:
        data = strict_json.loads(content)
        tables = {
            table: [{name: kind(row[name]) for name, kind in columns.items()} for row in data[table]]
            for table, columns in _COLUMNS.items()
        }
        if data["format"] != FORMAT:
            raise bad
        for row in tables["attempts"]:
            row["signing_hash"], raw = bytes.fromhex(row["signing_hash"]), row["raw"]
            row["raw"] = bytes.fromhex(raw) if raw else None
    except (ValueError, KeyError, TypeError):
        raise bad from None
    db.merge(tables, now_s)
