"""From a nonce to signed bytes: the gate, the price, the reservation, the signature, and the bytes made durable.

Nothing is signed but what passed the gate at the newest block and was reserved in the journal; what comes back is
decoded and compared before it is saved.
"""

from __future__ import annotations

from monitor.core.actions import ActionState
from monitor.core.errors import ChainError
from monitor.execution import fees as pricing
from monitor.execution.machine import change, with_more_gas
from monitor.execution.port import NotSimulated, Passed, WouldRevert
from monitor.execution.simulate import simulate
from monitor.execution.transaction import cancel_call, verify
from monitor.execution.workbench import Done, NoLongerNeeded, Outdated, Unfit, Unmeasured, View, Workbench
from monitor.journal.rows import Action, Attempt, AttemptKind, Charge, Draft, Severity, Stage


class Signing:
    """The signatures of one executor. Every method may raise: Refused, SigningError, ChainError, JournalError."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    async def _gate(
        self, action: Action, view: View
    ) -> Passed | WouldRevert | NotSimulated | NoLongerNeeded | Outdated | Unfit:
        """The position and the very transaction, at the newest block."""
        draft, objection = action.draft, None
        if self._bench.recheck is not None and self._bench.defences.recheck:
            try:
                objection = await self._bench.recheck(draft, view.head)
            except ChainError as error:
                return NotSimulated(error.message)
            if objection is not None and not isinstance(objection, Unmeasured):
                return objection
        call, defences = self._bench.build(draft.intent), self._bench.defences
        simulated = await simulate(self._bench.chain, draft.signer, call, draft.gas, view.head, defences=defences)
        if isinstance(objection, Unmeasured) and isinstance(simulated, Passed):
            return NotSimulated(f"nodes differ about block {view.head.number}: {objection.reason}")
        return simulated

    async def first(self, action: Action, view: View) -> Done:
        """Nothing is signed for this nonce yet, so that every way out of the gate may give it back."""
        match await self._gate(action, view):
            case Passed():
                pass
            case NoLongerNeeded(reason):
                return self._give_back(action, ActionState.CLOSED_NOOP, f"no longer needed: {reason}", view)
            case Unfit(reason):
                return self._give_back(action, ActionState.CLOSED_REJECTED, reason, view)
            case Outdated(reason):
                return self._give_back(action, ActionState.CLOSED_EXPIRED, reason, view)
            case WouldRevert(reason, gas):
                again = with_more_gas(action.draft, view.head, gas, self._bench.defences) if gas else None
                rejected = ActionState.CLOSED_REJECTED
                return self._give_back(action, rejected, f"it would revert: {reason}", view, again)
            case NotSimulated(reason):
                return self._give_back(action, ActionState.PLANNED, f"not simulated: {reason}", view)
        offer = await self._bench.first_offer(action, view)
        if isinstance(offer, pricing.Capped):
            return self._give_back(action, ActionState.PLANNED, f"fee cap reached: {offer.why}", view)
        attempt = self._attempt(action, AttemptKind.INTENT, action.draft.gas, offer, view)
        return await self._reserve_and_sign(action, attempt, view)

    def _give_back(self, action: Action, to: ActionState, why: str, view: View, successor: Draft | None = None) -> Done:
        severity = Severity.INFO if to is ActionState.CLOSED_NOOP else Severity.WARN
        what = change(action, to, why, free_nonce=True, severity=severity, successor=successor)
        return Done(self._bench.journal.apply(what, view.head.timestamp), why)

    @staticmethod
    def _attempt(action: Action, kind: AttemptKind, gas: int, offer: pricing.Fees, view: View) -> Attempt:
        return Attempt(
            id=0,
            action_id=action.id,
            kind=kind,
            stage=Stage.RESERVED,
            nonce=action.nonce if action.nonce is not None else -1,
            intent_hash=None if kind is AttemptKind.CANCEL else action.draft.intent.hash,
            gas=gas,
            max_fee_wei=offer.max_fee_wei,
            tip_wei=offer.tip_wei,
            block_number=view.head.number,
        )

    async def again(self, action: Action, view: View) -> Done:
        """The signer was asked and its answer was not saved: ask for the same bytes again, if they are still wanted."""
        attempt = action.unsigned
        if attempt is None:
            raise AssertionError("nothing is unsigned")
        if attempt.kind is not AttemptKind.CANCEL:
            match await self._gate(action, view):
                case NotSimulated(reason):
                    return self._bench.told(action, f"not simulated: {reason}", view)
                case NoLongerNeeded() | Outdated() | Unfit() | WouldRevert():
                    return await self.replace(action, view, cancel=True)
                case Passed():
                    pass
        return await self._sign(action, attempt, view)

    async def replace(self, action: Action, view: View, *, cancel: bool) -> Done:
        """A dearer attempt of the same, or a cancel, on the same nonce."""
        policy, draft = self._bench.rules.fees, action.draft
        if not cancel:
            match await self._gate(action, view):
                case NotSimulated(reason):
                    return self._bench.told(action, f"not simulated: {reason}", view)
                case NoLongerNeeded() | Outdated() | Unfit() | WouldRevert():
                    cancel = True
                case Passed():
                    pass
        gas = self._bench.settings.cancel_gas if cancel else draft.gas
        how = pricing.urgency(view.health.get(action.position_id) or draft.health_wad)
        wanted = pricing.offer(view.head.base_fee or 0, await self._bench.chain.tip_wei(), how, policy)
        pooled = await self._bench.chain.pooled_fees(draft.signer, action.nonce or 0)
        before = [attempt for attempt in action.attempts if attempt.kind is not AttemptKind.ADOPTED]
        limit = pricing.ceiling(draft, policy, self._bench.defences)
        if cancel:
            limit = pricing.cancel_ceiling(draft, before, policy, self._bench.defences)
        offer = pricing.replacement(wanted, before, pooled, limit, policy, self._bench.defences)
        if isinstance(offer, pricing.Capped):
            return self._bench.told(action, f"fee cap reached: {offer.why}", view, Severity.CRITICAL)
        kind = AttemptKind.CANCEL if cancel else AttemptKind.INTENT
        return await self._reserve_and_sign(action, self._attempt(action, kind, gas, offer, view), view)

    async def _reserve_and_sign(self, action: Action, attempt: Attempt, view: View) -> Done:
        """Pay for the dearest attempt that could be included, then ask the signer."""
        worst = max([attempt.worst_cost_wei, *(earlier.worst_cost_wei for earlier in action.attempts)])
        charge = Charge(action.draft.amount, worst + action.draft.l1_data_fee_wei)
        judge = self._bench.judge(action, charge, view.accounts[action.draft.signer])
        if action.attempts and charge.gas_wei <= self._bench.journal.charge(action.id).gas_wei:
            judge = _no_objection  # it costs no more than what was allowed already
        if not self._bench.defences.reserve_first:
            await self._bench.signer.sign(self._bench.request(action, attempt))
        reserved = self._bench.journal.reserve_attempt(action, attempt, charge, judge, view.head.timestamp)
        if reserved.unsigned is None:
            raise AssertionError("an attempt was reserved and is not there")
        return await self._sign(reserved, reserved.unsigned, view)

    async def _sign(self, action: Action, attempt: Attempt, view: View) -> Done:
        draft = action.draft
        if self._bench.defences.kill_switch and self._bench.kill.thrown:
            return Done(action, self._bench.kill.thrown)
        if self._bench.defences.chain_id:
            found = await self._bench.chain.chain_id()
            if found != draft.intent.chain_id:
                return self._bench.told(action, f"the endpoint serves chain {found}", view, Severity.CRITICAL)
        if self._bench.defences.lease:
            self._bench.journal.check_lease()
        request = self._bench.request(action, attempt)
        signed = await self._bench.signer.sign(request)
        if self._bench.defences.verify_signature:
            call = self._bench.build(request.intent) if request.intent else cancel_call(draft.signer)
            verify(signed, request, call)
        if not self._bench.defences.save_before_send:
            await self._bench.chain.send_raw(signed.raw)
        saved = self._bench.journal.save_signature(action, attempt, signed.raw, signed.hash, view.head.timestamp)
        return Done(saved, "signed", more=True)


def _no_objection(_: object) -> list[str]:
    return []
