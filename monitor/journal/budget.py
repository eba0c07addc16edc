"""What counts against the limits at a moment, added up inside the transaction that is to reserve more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, RowMapping

from monitor.core.types import Address
from monitor.journal.rows import Action, Charge, Refused, Totals
from monitor.journal.statements import COUNTED

WINDOW_S = 24 * 3600

Judge = Callable[[Totals], Sequence[str]]
"""Reasons against a charge, given what is reserved and spent already; none means yes."""


def refuse(judge: Judge, so_far: Totals) -> None:
    """May raise: Refused, with every reason."""
    if reasons := judge(so_far):
        raise Refused("; ".join(reasons), hint="raise the limit in levmon.toml if that is what you want")


def totals(
    db: Connection, chain_id: int, signer: Address, asset: Address, position_id: str, at_s: int, *, but: str = ""
) -> Totals:
    """What is reserved, or was spent in the 24 hours before `at_s` of chain time, without the action `but`.

    Text is added up here, since no SQL sum holds 256 bits. Reserved counts however old it is.
    """
    position = key = gas = 0
    for row in db.execute(COUNTED, {"signer": signer, "chain_id": chain_id, "since_s": at_s - WINDOW_S}).mappings():
        if row["action_id"] == but:
            continue
        gas += int(row["gas_wei"])
        if row["asset"] == asset:
            key += int(row["amount"])
            position += int(row["amount"]) if row["position_id"] == position_id else 0
    return Totals(position, key, gas)


def totals_beside(db: Connection, action: Action, at_s: int) -> Totals:
    """What counts beside this action."""
    draft = action.draft
    return totals(db, draft.intent.chain_id, draft.signer, draft.asset, action.position_id, at_s, but=action.id)


def charge_of(row: RowMapping) -> Charge:
    """What one action is charged with."""
    return Charge(int(row["amount"]), int(row["gas_wei"]))
