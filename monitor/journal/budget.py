"""What counts against the limits at a moment, added up inside the transaction that is to reserve more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, RowMapping, select

from monitor.journal.rows import Action, Charge, Refused, Totals
from monitor.journal.tables import BUDGET

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


def charge_of(row: RowMapping) -> Charge:
    """What one action is charged with."""
    return Charge(int(row["amount"]), int(row["gas_wei"]))
