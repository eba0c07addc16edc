"""What counts against the limits at a moment, added up inside the transaction that is to reserve more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, RowMapping

from monitor.journal.rows import Action, Charge, Refused, Totals
from monitor.journal.statements import COUNTED

WINDOW_S = 24 * 3600

Judge = Callable[[Totals], Sequence[str]]
"""Reasons against a charge, given what is reserved and spent already; none means yes."""


def refuse(judge: Judge, so_far: Totals) -> None:
    """May raise: Refused, with every reason."""
    if reasons := judge(so_far):
        raise Refused("; ".join(reasons), hint="raise the limit in levmon.toml if that is what you want")


def totals(db: Connection, action: Action, at_s: int) -> Totals:
    """Text is added up here, since no SQL sum holds 256 bits. Reserved counts however old it is."""
    draft = action.draft
    asked = {"signer": draft.signer, "chain_id": draft.intent.chain_id, "since_s": at_s - WINDOW_S}
    rows = [row for row in db.execute(COUNTED, asked).mappings() if row["action_id"] != action.id]
    position = key = gas = 0
    for row in rows:
        gas += int(row["gas_wei"])
        if row["asset"] == draft.asset:
            key += int(row["amount"])
            position += int(row["amount"]) if row["position_id"] == action.position_id else 0
    return Totals(position, key, gas)


def charge_of(row: RowMapping) -> Charge:
    """What one action is charged with."""
    return Charge(int(row["amount"]), int(row["gas_wei"]))
