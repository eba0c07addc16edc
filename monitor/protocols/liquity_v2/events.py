"""A branch's troves and batches rebuilt from the TroveManager's events alone, with the sums that redistributions go by.

An event carries a trove whole, so the last one counts; times are those of the blocks. One event misleads: whoever
applies a batched trove's pending debt makes it look as if the trove had left its batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from monitor.core.types import Address, Log
from monitor.core.units import WAD
from monitor.protocols.liquity_v2.math import Batch

APPLY_PENDING_DEBT = 4
"""ITroveEvents.Operation."""


@dataclass(frozen=True, slots=True)
class Record:
    """One trove as `Troves` and `rewardSnapshots` tell it. In a batch, debt, rate and `updated_s` are 0."""

    debt: int
    coll: int
    stake: int
    rate: int
    updated_s: int
    manager: Address | None
    shares: int
    snapshot_coll: int
    snapshot_debt: int


@dataclass(slots=True)
class BranchBook:
    """Open troves by id, batches by manager, and what one unit of stake has been given so far (WAD)."""

    troves: dict[int, Record] = field(default_factory=dict)
    batches: dict[Address, Batch] = field(default_factory=dict)
    l_coll: int = 0
    l_debt: int = 0
    _before: Record | None = None
    """The trove of the last TroveUpdated, as it was."""
    _grown: int | None = None
    """The trove whose shares grew by what the next BatchUpdated adds."""

    def add(self, log: Log, block_s: int) -> None:
        """Take one more log of the TroveManager, in chain order, of a block of timestamp `block_s`."""
        event, args = log.event.partition(".")[2], log.args
        if event == "TroveUpdated":
            self._trove(args, block_s)
        elif event == "BatchedTroveUpdated":
            manager, shares = args["_interestBatchManager"], args["_batchDebtShares"]
            self.troves[args["_troveId"]] = Record(
                0, args["_coll"], args["_stake"], 0, 0, manager, shares, *_sums(args)
            )
        elif event == "TroveOperation" and args["_operation"] == APPLY_PENDING_DEBT:
            self._applied(args["_troveId"])
        elif event == "BatchUpdated":
            self._batch(args, block_s)
        elif event == "Liquidation":
            self.l_coll, self.l_debt = args["_L_ETH"], args["_L_boldDebt"]

    def pending(self, trove_id: int) -> tuple[int, int]:
        """The redistributed debt and collateral that the trove has yet to take over."""
        trove = self.troves[trove_id]
        return (
            trove.stake * (self.l_debt - trove.snapshot_debt) // WAD,
            trove.stake * (self.l_coll - trove.snapshot_coll) // WAD,
        )

    def _trove(self, args: Mapping[str, Any], block_s: int) -> None:
        trove_id, debt, coll, stake = args["_troveId"], args["_debt"], args["_coll"], args["_stake"]
        self._before = self.troves.pop(trove_id, None)
        if debt or coll or stake:  # else it was closed
            rate = args["_annualInterestRate"]
            self.troves[trove_id] = Record(debt, coll, stake, rate, block_s, None, 0, *_sums(args))

    def _applied(self, trove_id: int) -> None:
        before, now = self._before, self.troves[trove_id]
        if before is not None and before.manager is not None and now.manager is None:
            self.troves[trove_id] = replace(
                now, debt=0, rate=0, updated_s=0, manager=before.manager, shares=before.shares
            )
            self._grown = trove_id

    def _batch(self, args: Mapping[str, Any], block_s: int) -> None:
        manager, shares = args["_interestBatchManager"], args["_totalDebtShares"]
        if self._grown is not None:
            trove = self.troves[self._grown]
            added = shares - self.batches[manager].shares
            self.troves[self._grown], self._grown = replace(trove, shares=trove.shares + added), None
        rates = args["_annualInterestRate"], args["_annualManagementFee"]
        self.batches[manager] = Batch(manager, args["_debt"], *rates, block_s, shares)


def _sums(args: Mapping[str, Any]) -> tuple[int, int]:
    return args["_snapshotOfTotalCollRedist"], args["_snapshotOfTotalDebtRedist"]
