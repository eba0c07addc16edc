"""Aave V3's parts for whole markets, and what all accounts together have supplied and owe."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from monitor.core.errors import CallFailed
from monitor.core.plan import gather
from monitor.core.types import ReadPlan, Unit
from monitor.core.units import RAY
from monitor.protocols.aave_v3.account import stable_debt_balance
from monitor.protocols.aave_v3.bulk import AaveV3Bulk
from monitor.protocols.aave_v3.cells import STABLE_KIND, indexes
from monitor.protocols.aave_v3.globals import Globals
from monitor.protocols.aave_v3.lens import BORROWERS, PRINCIPAL, RATE, UPDATE, read_survey
from monitor.protocols.aave_v3.records import Facts, ReserveState
from monitor.protocols.aave_v3.replay import read_replay
from monitor.protocols.columns import Columns, Mask
from monitor.protocols.whole import Total, Whole


def read_whole(facts: Facts) -> ReadPlan[Whole]:
    """One round. May raise: CallFailed, ProtocolError, when the facts no longer hold."""
    plans: list[ReadPlan[Any]] = [read_survey(facts), read_replay(facts)]
    parts = yield from gather(plans)
    for failed in parts:
        if isinstance(failed, CallFailed):
            raise failed
    survey: Any
    replay: Any
    survey, replay = parts
    bulk = AaveV3Bulk(facts)
    return Whole(
        survey=survey,
        replay=replay,
        bulk=bulk,
        unit=Unit(facts.base_symbol, len(str(facts.base_unit)) - 1),
        totals=lambda globals_, columns, at_s: totals(facts, globals_, columns, at_s),
        borrowed=(facts.pool, *BORROWERS),
        symbols={category.source: f"e-mode {category.label or category.id}" for category in facts.categories}
        | {reserve.asset: reserve.symbol for reserve in facts.reserves},
    )


def totals(facts: Facts, globals_: Globals, columns: Columns, at_s: int) -> list[Total]:
    """What counts for health: enabled collateral and borrowings."""
    known = indexes(globals_, at_s)
    counts = _counted(columns)
    found = []
    for reserve in facts.reserves:
        state = globals_.reserves.get(reserve.id)
        if state is None or reserve.id not in known:
            continue
        income, debt = known[reserve.id]
        supplied = _sum(columns, counts & (columns.kind == 2 * reserve.id + 1)) * income // RAY
        owed = _sum(columns, counts & (columns.kind == 2 * reserve.id)) * debt // RAY
        owed += _stable(globals_, columns, state, at_s)
        price, unit = globals_.prices.get(reserve.asset), 10**reserve.decimals
        values = [None if price is None else amount * price // unit for amount in (supplied, owed)]
        found.append(Total(reserve.asset, reserve.symbol, reserve.decimals, supplied, owed, *values))
    return found


def _stable(globals_: Globals, columns: Columns, reserve: ReserveState, at_s: int) -> int:
    """What is owed at rates of its own, account by account (<= 3.1)."""
    owed = 0
    for entry in np.flatnonzero(columns.kind == PRINCIPAL + reserve.id).tolist():
        row = int(np.searchsorted(columns.start, entry, "right")) - 1
        held = columns.balances(row)
        principal, rate, update = (held.get(kind + reserve.id, 0) for kind in (PRINCIPAL, RATE, UPDATE))
        alone = replace(reserve, stable_principal=principal, stable_rate=rate, stable_update_s=update)
        owed += stable_debt_balance(globals_.rules, alone, at_s)
    return owed


def _counted(columns: Columns) -> Mask:
    """(m,): whose bit in the account's own flags is set."""
    rows = np.repeat(np.arange(len(columns)), np.diff(columns.start))
    kind = np.minimum(columns.kind.astype(np.int64), STABLE_KIND - 1)
    ours = kind >> 6 < columns.flags.shape[1]
    word = np.where(ours, kind >> 6, 0)
    found: Mask = ours & (columns.flags[rows, word] >> (kind & 63).astype(np.uint64) & np.uint64(1) == 1)
    return found


def _sum(columns: Columns, which: Mask) -> int:
    """Exact: 32 bits at a time, so that no sum of so many overflows."""
    low, high = columns.low[which], columns.high[which]
    parts = (low & np.uint64(2**32 - 1), low >> np.uint64(32), high & np.uint64(2**32 - 1), high >> np.uint64(32))
    return sum(int(part.sum(dtype=np.uint64)) << 32 * place for place, part in enumerate(parts))
