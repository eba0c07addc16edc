"""What is left of a day, and of the key's money: for rescues that may be needed soon, and for those that are dry.

The executor judges every action by the same words when it is armed; here nothing is reserved, signed or sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from monitor.core.errors import ChainError
from monitor.core.types import Address, BlockRef
from monitor.execution import fees as pricing
from monitor.execution.concerns import Concern, of_account
from monitor.execution.executor import Settings
from monitor.execution.limits import AssetLimits, reasons
from monitor.journal.rows import Charge, Draft
from monitor.journal.store import Journal
from monitor.journal.view import JournalView
from monitor.pipeline.acting import ExecutionView, fee_policy, left
from monitor.pipeline.guardians import Guardian
from monitor.pipeline.positions import market_of

RECHECK_S = 600
"""Of chain time: what the key has is looked at again that much later."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What the last 24 hours leave for one position: by asset in its smallest unit, and for gas."""

    amounts: Mapping[Address, int]
    gas_wei: int


def rest_of(
    journal: Journal | JournalView,
    guardian: Guardian,
    position_id: str,
    limits: Mapping[Address, AssetLimits],
    at_s: int,
) -> Rest:
    """May raise: JournalError."""
    amounts = left(journal, guardian.address, position_id, limits, at_s)
    chain_id = market_of(position_id)[0].chain_id
    used = journal.totals(chain_id, guardian.address, "", position_id, at_s).key_gas_wei
    return Rest(amounts, max(guardian.gas_per_day_wei - used, 0))


async def fetch_objections(
    view: ExecutionView, guardian: Guardian, draft: Draft, limits: Mapping[Address, AssetLimits]
) -> list[str]:
    """Why an armed levmon would not sign this now, for fees, gas or limits; nothing where it would.

    What a journal that exists has reserved counts. May raise: ChainError, JournalError.
    """
    block, policy = draft.block, fee_policy(guardian)
    account = await view.account(draft.signer, block, block)
    base, how = block.base_fee or 0, pricing.urgency(draft.health_wad)
    wanted = pricing.offer(base, await view.tip_wei(), how, policy)
    offer = pricing.first(wanted, base, pricing.ceiling(draft, policy))
    if isinstance(offer, pricing.Capped):
        return [f"fee cap reached: {offer.why} allows {offer.ceiling_wei} wei per gas, {offer.wanted_wei} are wanted"]
    charge = Charge(draft.amount, draft.gas * offer.max_fee_wei + draft.l1_data_fee_wei)
    journal, intent = JournalView(guardian.journal_url), draft.intent
    totals = journal.totals(intent.chain_id, draft.signer, draft.asset, intent.position_id, block.timestamp)
    return reasons(guardian.spend_limits(limits), draft, charge, account.balance_wei, totals)


@dataclass(slots=True)
class Means:
    """The key's own account on one chain, looked at now and then while nothing is armed that would look."""

    guardian: Guardian
    _known: dict[str, Concern] = field(default_factory=dict)
    _at_s: int | None = None

    async def look(self, view: ExecutionView, head: BlockRef) -> list[str]:
        """What began to stand in the way of rescues, or is over. Never raises LevmonError: then it is asked again."""
        if self._at_s is not None and head.timestamp - self._at_s < RECHECK_S:
            return []
        try:
            account = await view.account(self.guardian.address, head, head)
        except ChainError:
            return []
        self._at_s, policy = head.timestamp, fee_policy(self.guardian)
        gas, reserve_wei, known = Settings({}).warn_gas, self.guardian.min_reserve_wei, "gas" in self._known
        found = of_account(head, self.guardian.address, account, gas, reserve_wei, policy, known=known)
        now = {one.name: one for one in found}
        began = [one.text for name, one in now.items() if name not in self._known]
        over = [f"over: {one.text}" for name, one in self._known.items() if name not in now]
        self._known = now
        return [*began, *over]
