"""A spoke's accounts rebuilt from its events alone: shares, premium, bits and the keys of dynamic configurations.

Every change of a position is told by some event; only prices and the hubs' indexes are not the spoke's to tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from monitor.core.types import Address, Log

EVENTS = (
    "Supply",
    "Withdraw",
    "Borrow",
    "Repay",
    "LiquidationCall",
    "ReportDeficit",
    "RefreshPremiumDebt",
    "SetUsingAsCollateral",
    "RefreshAllUserDynamicConfig",
    "RefreshSingleUserDynamicConfig",
    "AddReserve",
    "AddDynamicReserveConfig",
)


@dataclass(frozen=True, slots=True)
class Record:
    """What getUserPosition and getUserReserveStatus tell of one account in one reserve."""

    drawn_shares: int = 0
    premium_shares: int = 0
    premium_offset_ray: int = 0
    supplied_shares: int = 0
    key: int = 0
    collateral: bool = False

    @property
    def borrowing(self) -> bool:
        """The bit is set by the first borrow, and cleared with the last drawn share."""
        return self.drawn_shares > 0

    def refreshed(self, delta: tuple[int, int, int]) -> Record:
        """After a PremiumDelta: what it adds to premium shares and to their offset; what it restored is in there."""
        shares, offset, _ = delta
        return replace(
            self, premium_shares=self.premium_shares + shares, premium_offset_ray=self.premium_offset_ray + offset
        )


@dataclass(slots=True)
class SpokeBook:
    """Records by account and reserve id, and the newest configuration key of each reserve."""

    records: dict[tuple[Address, int], Record] = field(default_factory=dict)
    newest: dict[int, int] = field(default_factory=dict)

    def of(self, user: Address, reserve: int) -> Record:
        """The account's record there; of who never was there an empty one."""
        return self.records.get((user, reserve), Record())

    def add(self, log: Log) -> None:
        """Take one more log of the spoke, in chain order."""
        event, args = log.event.partition(".")[2], log.args
        if event == "LiquidationCall":
            self._liquidated(args)
        elif event == "AddReserve":
            self.newest.setdefault(args["reserveId"], 0)
        elif event == "AddDynamicReserveConfig":
            self.newest[args["reserveId"]] = args["dynamicConfigKey"]
        elif event == "RefreshAllUserDynamicConfig":
            for user, reserve in [place for place in self.records if place[0] == args["user"]]:
                if self.of(user, reserve).collateral:
                    self._put(user, reserve, key=self.newest.get(reserve, 0))
        elif event in EVENTS:
            self._moved(event, args["user"], args["reserveId"], args)

    def _moved(self, event: str, user: Address, reserve: int, args: Mapping[str, Any]) -> None:
        before = self.of(user, reserve)
        if event == "Supply":
            self._put(user, reserve, supplied_shares=before.supplied_shares + args["suppliedShares"])
        elif event == "Withdraw":
            self._put(user, reserve, supplied_shares=before.supplied_shares - args["withdrawnShares"])
        elif event == "Borrow":
            self._put(user, reserve, drawn_shares=before.drawn_shares + args["drawnShares"])
        elif event in ("Repay", "ReportDeficit"):
            self._put(user, reserve, drawn_shares=before.drawn_shares - args["drawnShares"])
            self.records[user, reserve] = self.of(user, reserve).refreshed(args["premiumDelta"])
        elif event == "RefreshPremiumDebt":
            self.records[user, reserve] = before.refreshed(args["premiumDelta"])
        elif event == "SetUsingAsCollateral":
            self._put(user, reserve, collateral=args["usingAsCollateral"])
        elif event == "RefreshSingleUserDynamicConfig":
            self._put(user, reserve, key=self.newest.get(reserve, 0))

    def _liquidated(self, args: Mapping[str, Any]) -> None:
        user, seized, repaid = args["user"], args["collateralReserveId"], args["debtReserveId"]
        held = self.of(user, seized)
        self._put(user, seized, supplied_shares=held.supplied_shares - args["collateralSharesLiquidated"])
        due = self.of(user, repaid)
        self._put(user, repaid, drawn_shares=due.drawn_shares - args["drawnSharesLiquidated"])
        self.records[user, repaid] = self.of(user, repaid).refreshed(args["premiumDelta"])
        if args["receiveShares"]:
            taker = args["liquidator"]
            shares = self.of(taker, seized).supplied_shares + args["collateralSharesToLiquidator"]
            self._put(taker, seized, supplied_shares=shares)

    def _put(self, user: Address, reserve: int, **changes: Any) -> None:
        self.records[user, reserve] = replace(self.of(user, reserve), **changes)
