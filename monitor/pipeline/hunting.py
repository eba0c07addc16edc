"""From accounts that the mirror calls unhealthy to liquidations that are journaled, simulated, signed and followed.

The mirror only names candidates: each is read and judged once more the ordinary way, with the purse and everything that
gates a liquidation, before anything is decided. One action at a time, the one that brings most; the executor and the
signer keep every limit, as for all that is sent. Without `acting` it is dry: bids are told and nothing is journaled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monitor.chain.rpc_chain import RpcChain
from monitor.core.actions import ActionState
from monitor.core.types import Address, BlockRef, MarketRef
from monitor.core.units import format_units
from monitor.execution.limits import AssetLimits
from monitor.journal.rows import Refused
from monitor.journal.store import Journal
from monitor.pipeline import liquidations, plans
from monitor.pipeline.acting import Acting, ExecutionView, health_wad
from monitor.pipeline.basis import fetch_decided_on, require_trusted
from monitor.pipeline.flash import limited_chances
from monitor.pipeline.guardians import Guardian
from monitor.pipeline.liquidations import BRIEF, Chances, Wishes, is_liquidation
from monitor.pipeline.memory import Memory
from monitor.policy.liquidator import Bid
from monitor.report import Report, Subject

AT_ONCE = 16
"""So many candidates are looked at at one head; the others wait for the next."""


@dataclass(frozen=True, slots=True)
class News:
    """Something that was decided or became of a decision, in one word and in words, for one position."""

    kind: str
    position: str
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)


class Hunter:
    """Liquidations in one market, from one purse."""

    def __init__(
        self,
        chain: RpcChain,
        ref: MarketRef,
        name: str,
        guardian: Guardian,
        memory: Memory,
        wishes: Wishes,
        acting: Acting | None = None,
    ) -> None:
        self.draining = False
        self._chain, self._ref, self._name, self._guardian, self._memory = chain, ref, name, guardian, memory
        self._wishes, self._acting = wishes, acting
        self._told: dict[str, str] = {}
        self._states: dict[str, ActionState] = {}

    @property
    def journal(self) -> Journal | None:
        """Where its actions are written down; None where it is dry."""
        return self._acting.journal if self._acting is not None else None

    @property
    def busy(self) -> bool:
        """Whether an action is under way."""
        return self._acting is not None and bool(self._acting.journal.actions(only_open=True))

    async def look(self, owners: Sequence[Address], block: BlockRef) -> list[News]:
        """Decide about these unhealthy accounts, the least healthy first, and carry on what is open.

        May raise: ChainError (then nothing was decided), JournalError.
        """
        news = await self.step()
        wanted = [self._ref.position_id(owner) for owner in owners]
        self._told = {position: text for position, text in self._told.items() if position in set(wanted)}
        if not owners or self.draining or (self._acting is not None and self.busy):
            return news
        subjects = [Subject(self._ref, self._name, owner) for owner in owners[:AT_ONCE]]
        seen = await plans.outlook(self._chain, subjects, self._guardian.address, self._memory, block, BRIEF)
        tip_wei = await ExecutionView(self._chain).tip_wei()
        found: list[tuple[Report, Chances, Bid]] = []
        for report in seen.snapshot.reports:
            chances = await self._chances(seen, report, tip_wei)
            best = next(iter(chances.found.bids), None)
            if best is None:
                news += self._passed(report, chances)
            else:
                found.append((report, chances, best))
        found.sort(key=lambda one: (-_worth(one[2]), one[0].id))
        for report, chances, bid in found[:1]:
            news += await self._decide(seen, report, chances, bid)
        return news

    async def step(self) -> list[News]:
        """Carry on what is open. May raise: JournalError."""
        if self._acting is None:
            return []
        self._acting.executor.draining = self.draining
        report = await self._acting.step()
        news = []
        for action_id, state, why in report.actions:
            if self._states.get(action_id) is not state:
                self._states[action_id] = state
                action = self._acting.journal.action(action_id)
                tx = action.signed[-1].hash if action.signed else None
                text = f"{state.value}: {why or action.note}"
                news.append(News("action", action.position_id, text, {"action": action_id, "hash": tx}))
        return news

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _chances(self, seen: plans.Outlook, report: Report, tip_wei: int) -> Chances:
        def left_of(limits: Mapping[str, AssetLimits]) -> dict[Address, int]:
            if self._acting is None or report.block is None:
                return {}
            return self._acting.left(report.id, limits, report.block.timestamp)

        return await limited_chances(
            self._chain, seen, report, self._guardian, self._wishes, tip_wei=tip_wei, left_of=left_of
        )

    def _passed(self, report: Report, chances: Chances) -> list[News]:
        passed = chances.found.passed
        return self._not_done(report, chances.found.note or (str(passed[0]) if passed else report.cause))

    def _not_done(self, report: Report, why: str) -> list[News]:
        if self._told.get(report.id) == why:
            return []
        self._told[report.id] = why
        return [News("passed", report.id, f"not liquidated: {why}")]

    async def _decide(self, seen: plans.Outlook, report: Report, chances: Chances, bid: Bid) -> list[News]:
        pair, profit = bid.last, bid.profit
        net = f"{format_units(profit.net, pair.debt.decimals)} {pair.debt.symbol}"
        text = f"pay {format_units(pair.paid, pair.debt.decimals)} {pair.debt.symbol} for "
        text += f"{format_units(pair.received, pair.collateral.decimals)} {pair.collateral.symbol}, profit {net}"
        fields = {"key": bid.key, "profit_raw": str(profit.net), "profit_asset": pair.debt.asset}
        if self._acting is None or chances.terms is None:
            if self._told.get(report.id) == bid.key:
                return []
            self._told[report.id] = bid.key
            return [News("would liquidate", report.id, text, fields)]
        self._acting.allow(chances.limits or {})
        basis = await fetch_decided_on(self._chain, seen.snapshot, report, bid.last.position.block)
        draft = liquidations.liquidation_draft(
            bid, chances.terms, self._guardian, health_wad(report.health), basis.code, cause="kept market"
        )
        try:
            require_trusted(self._acting.journal, draft)
        except Refused as refused:
            return self._not_done(report, refused.message)
        action = self._acting.plan(draft)
        if action is None or not is_liquidation(draft):
            return []
        self._states[action.id] = action.state
        return [News("liquidating", report.id, text, {**fields, "action": action.id})]


def _worth(bid: Bid) -> int:
    """A bid's profit in the market's unit, to compare bids in different assets."""
    debt = bid.last.debt
    worth: int = bid.profit.net * debt.price // 10**debt.decimals
    return worth
