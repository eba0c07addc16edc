"""What an executor looks at before it acts: keys, finality and the clock, then each action's receipts.

Start-up is recovery: until journal and chain have been laid side by side once, nothing is signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from monitor.core.types import BlockRef
from monitor.execution.concerns import Concern, Concerns, of_account
from monitor.execution.machine import Observation
from monitor.execution.nonce import NonceView
from monitor.execution.port import Receipt
from monitor.execution.recovery import adopt_fresh, judge_finality, judge_nonce
from monitor.execution.workbench import View, Workbench
from monitor.journal.rows import Action, AttemptKind, Hold, Severity


class Lookout:
    """One per executor: it remembers what was final, and what it was concerned about."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._concerns = Concerns(bench.journal)
        self._final: BlockRef | None = None
        self.reconciled = not bench.defences.recovery

    async def look(self, view: View) -> None:
        """Reconcile: keys, finality, the clock. Whatever is wrong ends in `held` or in a hold in the journal."""
        chain_id, at_s = view.head.chain_id, view.head.timestamp
        concerns: list[Concern] = []
        if self._bench.defences.skew:
            age_s = self._bench.clock.time() - at_s
            if age_s > self._bench.settings.max_head_age_s or -age_s > self._bench.settings.max_head_ahead_s:
                why = f"the newest block is {int(age_s)} s old by this machine's clock"
                view.held.append(why)
                concerns.append(Concern(f"chain:{chain_id}", "age", Severity.CRITICAL, f"{why}: nothing is signed"))
        if self._bench.kill.thrown and self._bench.defences.kill_switch:
            view.held.append(self._bench.kill.thrown)
        held = {hold.scope for hold in self._bench.journal.holds()}
        holds: list[Hold | None] = []
        if self._bench.defences.finality_memory:
            holds.append(await judge_finality(self._bench.journal, self._bench.chain, self._final, chain_id))
            if self._final is None or view.finalized.number > self._final.number:
                self._final = view.finalized
        for address, limits in self._bench.settings.limits.items():
            account = await self._bench.chain.account(address, view.head, view.finalized)
            view.accounts[address] = account
            known = self._concerns.known(f"signer:{chain_id}:{address}", "gas")
            gas, policy = self._bench.settings.warn_gas, self._bench.rules.fees
            concerns += of_account(view.head, address, account, gas, limits.min_reserve_wei, policy, known=known)
            known_nonce = self._bench.journal.next_nonce(chain_id, address)
            if not self._bench.defences.recovery:
                if known_nonce is None:
                    self._bench.journal.adopt_signer(chain_id, address, account.nonce, at_s)
            elif known_nonce is None:
                holds.append(adopt_fresh(self._bench.journal, chain_id, address, account, at_s))
            else:
                holds.append(judge_nonce(NonceView(account.nonce, known_nonce), chain_id, address))
        for hold in holds:
            if hold is not None and hold.scope not in held:
                self._bench.journal.hold(hold, at_s)
                held.add(hold.scope)
        if self._bench.defences.concerns:
            view.concerns += self._concerns.tell(concerns, at_s)
        self.reconciled = True

    async def observe(self, action: Action, view: View) -> Observation:
        account = view.accounts.get(action.draft.signer)
        if account is None:
            account = await self._bench.chain.account(action.draft.signer, view.head, view.finalized)
            view.accounts[action.draft.signer] = account
        hashes = [attempt.hash for attempt in action.signed if attempt.hash]
        receipts: Mapping[str, Receipt] = {}
        canonical: set[str] = set()
        known: frozenset[str] = frozenset()
        if hashes:
            receipts = self._judged(action, await self._bench.chain.receipts(hashes))
            for number in {receipt.block_number for receipt in receipts.values()}:
                canonical.add(await self._bench.chain.block_hash(number) or "")
            if not receipts:
                known = await self._bench.chain.known(hashes)
        history = self._bench.journal.last_closed(action.position_id)
        return Observation(
            view.head,
            view.finalized,
            account,
            receipts,
            frozenset(canonical),
            known,
            history=history,
            health_wad=view.health.get(action.position_id),
        )

    def _judged(self, action: Action, receipts: Mapping[str, Receipt]) -> Mapping[str, Receipt]:
        """With what failed without a revert as failed. A cancel does nothing, and is meant to."""
        if self._bench.failure is None:
            return receipts
        cancels = {attempt.hash for attempt in action.signed if attempt.kind is AttemptKind.CANCEL}
        judged = dict(receipts)
        for hash_, receipt in receipts.items():
            if receipt.ok and hash_ not in cancels and (why := self._bench.failure(action.draft, receipt)):
                judged[hash_] = replace(receipt, ok=False, error=why)
        return judged
