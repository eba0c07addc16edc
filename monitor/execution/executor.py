"""Acting: one `step` per head, over every open action, in the order in which a kill at any moment does no harm.

What to do is the machine's word, what it may cost the limits'. This module only keeps the order: decision, then budget
and nonce, then simulation at the newest block, then the reservation of an attempt, the signature, the signed bytes, and
only then the network. After a restart nothing is signed until journal and chain have been laid side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from monitor.chain.clock import Clock
from monitor.core.actions import ActionState, Intent, SignRequest
from monitor.core.errors import ChainError, SignerRefused, SignerUnavailable, WrongSignature
from monitor.core.types import Address, BlockRef
from monitor.execution import fees as pricing
from monitor.execution import limits as spending
from monitor.execution.classify import SendClass
from monitor.execution.concerns import Concern, Concerns, Once, of_account
from monitor.execution.killswitch import KillSwitch
from monitor.execution.machine import CANCEL_GAS, Act, Observation, Rules, Verdict, change, decide, tell, with_more_gas
from monitor.execution.nonce import NonceState, NonceView
from monitor.execution.port import (
    Account,
    ExecutionChain,
    NotSimulated,
    Passed,
    Receipt,
    Signer,
    TxCall,
    WouldRevert,
)
from monitor.execution.recovery import adopt_fresh, judge_finality, judge_nonce
from monitor.execution.sender import Outcome, PrivateRelay, broadcast, channel, sendable
from monitor.execution.simulate import simulate
from monitor.execution.transaction import cancel_call, verify
from monitor.journal.rows import (
    Action,
    Attempt,
    AttemptKind,
    Change,
    Charge,
    Draft,
    Hold,
    Inclusion,
    Refused,
    Severity,
    Stage,
)
from monitor.journal.store import Journal, Judge

MAX_MOVES = 16
"""What one action can do at one head: plan to broadcast takes eight; more means that it goes in circles."""


@dataclass(frozen=True, slots=True)
class NoLongerNeeded:
    """The position does not need this rescue any more: its owner or somebody else was faster."""

    reason: str


@dataclass(frozen=True, slots=True)
class Outdated:
    """The decision rests on what is not so any more: it is to be made anew."""

    reason: str


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Others acted on the position before our transaction did, which made it needless or came too late for it."""

    why: str
    critical: bool


class Aftermath(Protocol):
    """Says of a transaction that is in a block who was faster, if anybody. May raise: ChainError."""

    async def __call__(self, draft: Draft, mined: Inclusion, /) -> Overtaken | None: ...


class Recheck(Protocol):
    """Looks at the position once more, at the newest block, before a signature. May raise: ChainError."""

    async def __call__(self, draft: Draft, head: BlockRef, /) -> NoLongerNeeded | Outdated | None: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What a person sets. Seconds against the machine's clock."""

    limits: Mapping[Address, spending.SpendLimits]
    rules: Rules = field(default_factory=Rules)
    relay: PrivateRelay | None = None
    max_head_age_s: int = 120
    max_head_ahead_s: int = 60
    cancel_gas: int = CANCEL_GAS
    warn_gas: int = 3 * 600_000
    """it is told when the key cannot pay for so much gas any more: three rescues' worth"""


@dataclass(slots=True)
class StepReport:
    """What one step came to. `held` says why nothing is signed at all, by scope or cause."""

    head: BlockRef | None = None
    held: list[str] = field(default_factory=list)
    actions: list[tuple[str, ActionState, str]] = field(default_factory=list)


@dataclass(slots=True)
class _View:
    """The chain at one step."""

    head: BlockRef
    finalized: BlockRef
    accounts: dict[Address, Account]
    health: Mapping[str, int]
    held: list[str]


@dataclass(frozen=True, slots=True)
class _Done:
    """What an act came to; `more` when the row should be looked at once more at this head."""

    action: Action
    why: str
    more: bool = False


def _nothing(_: str) -> None:
    pass


class Executor:
    """One per chain and journal. `build` makes calldata from an intent, by the protocol's template.

    `outcome` tells in words what an included transaction did, for the record; empty where there is nothing to tell.
    """

    def __init__(  # noqa: PLR0913  # the parts that it ties together
        self,
        journal: Journal,
        chain: ExecutionChain,
        signer: Signer,
        build: Callable[[Intent], TxCall],
        kill: KillSwitch,
        clock: Clock,
        settings: Settings,
        *,
        recheck: Recheck | None = None,
        outcome: Callable[[Draft, Receipt], str] | None = None,
        aftermath: Aftermath | None = None,
        probe: Callable[[str], None] = _nothing,
    ) -> None:
        self._journal = journal
        self._chain = chain
        self._signer = signer
        self._build = build
        self._kill = kill
        self._clock = clock
        self._settings = settings
        self._rules = replace(settings.rules, endpoints=chain.endpoints)
        self._defences = settings.rules.defences
        self._recheck = recheck
        self._outcome = outcome
        self._aftermath = aftermath
        self._probe = probe
        self._concerns, self._once = Concerns(journal), Once()
        self._final: BlockRef | None = None
        self._reconciled = not self._defences.recovery
        self._forgotten = set() if self._defences.resume else {one.id for one in journal.actions(only_open=True)}
        self.draining = False
        """Set on shutdown: nothing new is armed, what is on its way is still looked after."""

    async def step(self, health: Mapping[str, int] | None = None) -> StepReport:
        """Do all that can be done at the newest head. `health` in wad by position id. May raise: JournalError."""
        report = StepReport()
        try:
            head = await self._chain.head()
            report.head = head
            view = _View(head, await self._chain.finalized(), {}, health or {}, report.held)
            await self._look(view)
        except ChainError as error:
            report.held.append(f"the chain cannot be read: {error.message}")
            return report
        opened = self._journal.actions(chain_id=head.chain_id, only_open=True)
        self._once.keep(opened)
        for action in opened:
            if action.id in self._forgotten:
                continue
            try:
                done, why = await self._work(action, view)
            except ChainError as error:
                done, why = self._journal.action(action.id), f"the chain cannot be read: {error.message}"
            report.actions.append((done.id, done.state, why))
        return report

    # -- looking -------------------------------------------------------------------------------------------------

    async def _look(self, view: _View) -> None:
        """Reconcile: keys, finality, the clock. Whatever is wrong ends in `held` or in a hold in the journal."""
        chain_id, at_s = view.head.chain_id, view.head.timestamp
        concerns: list[Concern] = []
        if self._defences.skew:
            age_s = self._clock.time() - at_s
            if age_s > self._settings.max_head_age_s or -age_s > self._settings.max_head_ahead_s:
                why = f"the newest block is {int(age_s)} s old by this machine's clock"
                view.held.append(why)
                concerns.append(Concern(f"chain:{chain_id}", "age", Severity.CRITICAL, f"{why}: nothing is signed"))
        if self._kill.thrown and self._defences.kill_switch:
            view.held.append(self._kill.thrown)
        held = {hold.scope for hold in self._journal.holds()}
        holds: list[Hold | None] = []
        if self._defences.finality_memory:
            holds.append(await judge_finality(self._journal, self._chain, self._final, chain_id))
            if self._final is None or view.finalized.number > self._final.number:
                self._final = view.finalized
        for address, limits in self._settings.limits.items():
            account = await self._chain.account(address, view.head, view.finalized)
            view.accounts[address] = account
            known = self._concerns.known(f"signer:{chain_id}:{address}", "gas")
            gas, policy = self._settings.warn_gas, self._rules.fees
            concerns += of_account(view.head, address, account, gas, limits.min_reserve_wei, policy, known=known)
            known_nonce = self._journal.next_nonce(chain_id, address)
            if not self._defences.recovery:
                if known_nonce is None:
                    self._journal.adopt_signer(chain_id, address, account.nonce, at_s)
            elif known_nonce is None:
                holds.append(adopt_fresh(self._journal, chain_id, address, account, at_s))
            else:
                holds.append(judge_nonce(NonceView(account.nonce, known_nonce), chain_id, address))
        for hold in holds:
            if hold is not None and hold.scope not in held:
                self._journal.hold(hold, at_s)
                held.add(hold.scope)
        if self._defences.concerns:
            self._concerns.tell(concerns, at_s)
        self._reconciled = True

    async def _observe(self, action: Action, view: _View) -> Observation:
        account = view.accounts.get(action.draft.signer)
        if account is None:
            account = await self._chain.account(action.draft.signer, view.head, view.finalized)
            view.accounts[action.draft.signer] = account
        hashes = [attempt.hash for attempt in action.signed if attempt.hash]
        receipts: Mapping[str, Receipt] = {}
        canonical: set[str] = set()
        known: frozenset[str] = frozenset()
        if hashes:
            receipts = await self._chain.receipts(hashes)
            for number in {receipt.block_number for receipt in receipts.values()}:
                canonical.add(await self._chain.block_hash(number) or "")
            if not receipts:
                known = await self._chain.known(hashes)
        history = self._journal.last_closed(action.position_id)
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

    # -- one action ----------------------------------------------------------------------------------------------

    async def _work(self, action: Action, view: _View) -> tuple[Action, str]:
        seen = await self._observe(action, view)
        hashes = {attempt.hash for attempt in action.signed}
        for _ in range(MAX_MOVES):
            if hashes != {attempt.hash for attempt in action.signed}:
                seen = await self._observe(action, view)
                hashes = {attempt.hash for attempt in action.signed}
            now_s = view.head.timestamp if self._defences.chain_time else int(self._clock.time())
            verdict = decide(action, seen, now_s, self._rules)
            if verdict.change is not None:
                what = self._with_outcome(action, verdict.change, seen)
                action = self._apply(action, await self._explained(action, what), view)
            if verdict.act is Act.WAIT:
                if verdict.change is None or not action.open:
                    return action, verdict.why or action.note
                continue
            if verdict.act is Act.ASK_OCCUPANT:
                found = await self._chain.occupant(action.draft.signer, action.nonce or 0)
                call = self._build(action.draft.intent)
                seen = replace(seen, occupant=found, occupant_asked=True, intent_call=call)
                continue
            done = await self._do(verdict, action, view)
            action = done.action
            if not done.more:
                return action, done.why
        return action, "it goes in circles"

    def _with_outcome(self, action: Action, what: Change, seen: Observation) -> Change:
        """The change, and what the transaction did by its own events, once it is in a block."""
        if self._outcome is None or what.mined is None or not what.mined.ok:
            return what
        if what.to not in (ActionState.MINED, ActionState.FINAL_OK) or what.mined.hash not in seen.receipts:
            return what
        told = self._outcome(action.draft, seen.receipts[what.mined.hash])
        return replace(what, why=f"{what.why}; {told}") if told else what

    async def _explained(self, action: Action, what: Change) -> Change:
        """With what others did before our transaction, where it has just been seen in a block."""
        if what.to is not ActionState.MINED or what.mined is None or self._aftermath is None:
            return what
        try:
            found = await self._aftermath(action.draft, what.mined)
        except ChainError:
            return what  # that it is in a block must be written down, with or without the story
        if found is None:
            return what
        severity = Severity.CRITICAL if found.critical else Severity.WARN
        return replace(what, why=f"{what.why}; {found.why}", severity=severity)

    def _apply(self, action: Action, what: Change, view: _View) -> Action:
        name = "mark"
        if what.to is ActionState.MINED or (what.to is None and what.mined is not None):
            name = "mined"
        elif action.state is ActionState.MINED and what.to is not None:
            name = "rollback" if what.settle is None else "settle"
        return self._journal.apply(what, view.head.timestamp, name=name)

    def _told(self, action: Action, why: str, view: _View, severity: Severity = Severity.WARN) -> _Done:
        """An alert, unless the same was told before."""
        action = self._journal.action(action.id)
        if self._once.new(action, why) or not self._defences.no_storm:
            action = self._journal.apply(tell(action, why, severity), view.head.timestamp)
        return _Done(action, why)

    async def _do(self, verdict: Verdict, action: Action, view: _View) -> _Done:
        done = await self._try(verdict.act, action, view)
        if verdict.resend and not done.more and not view.held:
            sent = await self._try(Act.SEND, done.action, view)
            return replace(sent, why=f"{done.why}; {sent.why}")
        return done

    async def _try(self, act: Act, action: Action, view: _View) -> _Done:  # noqa: PLR0911  # one per act
        if view.held or not self._reconciled:
            return _Done(action, "; ".join(view.held) or "journal and chain are not yet reconciled")
        try:
            match act:
                case Act.ARM:
                    return await self._arm(action, view)
                case Act.SIGN:
                    return await self._sign_first(action, view)
                case Act.RESIGN:
                    return await self._resign(action, view)
                case Act.BUMP:
                    return await self._replace(action, view, cancel=action.cancelling)
                case Act.CANCEL:
                    return await self._replace(action, view, cancel=True)
                case Act.SEND:
                    return await self._send(action, view)
                case _:
                    raise AssertionError(f"nothing to do for {act}")
        except Refused as refused:
            return self._told(action, refused.message, view)
        except SignerUnavailable as silent:
            return self._told(action, f"the signer does not answer: {silent.message}", view)
        except (SignerRefused, WrongSignature) as wrong:
            return self._told(action, f"not signed: {wrong.message}", view, Severity.CRITICAL)

    # -- arming --------------------------------------------------------------------------------------------------

    async def _arm(self, action: Action, view: _View) -> _Done:
        if self.draining and self._defences.drain:
            return _Done(action, "levmon is shutting down")
        draft, account = action.draft, view.accounts[action.draft.signer]
        nonces = NonceView(account.nonce, self._journal.next_nonce(draft.intent.chain_id, draft.signer))
        nonce = account.nonce
        if self._defences.nonce_check and nonces.state is not NonceState.FREE:
            return _Done(action, f"the chain is at nonce {nonces.chain}, the journal at {nonces.journal}")
        if not self._defences.nonce_check and nonces.journal is not None:
            nonce = nonces.journal
        offer = await self._first_offer(action, view)
        if isinstance(offer, pricing.Capped):
            return self._told(action, f"fee cap reached: {offer.why}", view, Severity.CRITICAL)
        charge = Charge(draft.amount, draft.gas * offer.max_fee_wei + draft.l1_data_fee_wei)
        judge = self._judge(action, charge, account)
        single = self._defences.one_in_flight
        armed = self._journal.arm(action, nonce, charge, judge, view.head.timestamp, single=single)
        return _Done(armed, "armed", more=True)

    def _judge(self, action: Action, charge: Charge, account: Account) -> Judge:
        limits = self._settings.limits.get(action.draft.signer, spending.SpendLimits())
        return spending.judge(limits, action.draft, charge, account.balance_wei, self._defences)

    async def _first_offer(self, action: Action, view: _View) -> pricing.Fees | pricing.Capped:
        policy, base = self._rules.fees, view.head.base_fee or 0
        how = pricing.urgency(view.health.get(action.position_id) or action.draft.health_wad)
        limit = pricing.ceiling(action.draft, policy, self._defences)
        return pricing.first(pricing.offer(base, await self._chain.tip_wei(), how, policy), base, limit)

    # -- signing -------------------------------------------------------------------------------------------------

    async def _gate(
        self, action: Action, view: _View
    ) -> Passed | WouldRevert | NotSimulated | NoLongerNeeded | Outdated:
        """The position and the very transaction, at the newest block."""
        draft = action.draft
        if self._recheck is not None and self._defences.recheck:
            try:
                objection = await self._recheck(draft, view.head)
            except ChainError as error:
                return NotSimulated(error.message)
            if objection is not None:
                return objection
        call = self._build(draft.intent)
        return await simulate(self._chain, draft.signer, call, draft.gas, view.head, defences=self._defences)

    async def _sign_first(self, action: Action, view: _View) -> _Done:
        """Nothing is signed for this nonce yet, so that every way out of the gate may give it back."""
        match await self._gate(action, view):
            case Passed():
                pass
            case NoLongerNeeded(reason):
                return self._give_back(action, ActionState.CLOSED_NOOP, f"no longer needed: {reason}", view)
            case Outdated(reason):
                return self._give_back(action, ActionState.CLOSED_EXPIRED, reason, view)
            case WouldRevert(reason, gas):
                again = with_more_gas(action.draft, view.head, gas, self._defences) if gas else None
                rejected = ActionState.CLOSED_REJECTED
                return self._give_back(action, rejected, f"it would revert: {reason}", view, again)
            case NotSimulated(reason):
                return self._give_back(action, ActionState.PLANNED, f"not simulated: {reason}", view)
        offer = await self._first_offer(action, view)
        if isinstance(offer, pricing.Capped):
            return self._give_back(action, ActionState.PLANNED, f"fee cap reached: {offer.why}", view)
        attempt = self._attempt(action, AttemptKind.INTENT, action.draft.gas, offer, view)
        return await self._reserve_and_sign(action, attempt, view)

    def _give_back(
        self, action: Action, to: ActionState, why: str, view: _View, successor: Draft | None = None
    ) -> _Done:
        severity = Severity.INFO if to is ActionState.CLOSED_NOOP else Severity.WARN
        what = change(action, to, why, free_nonce=True, severity=severity, successor=successor)
        return _Done(self._journal.apply(what, view.head.timestamp), why)

    @staticmethod
    def _attempt(action: Action, kind: AttemptKind, gas: int, offer: pricing.Fees, view: _View) -> Attempt:
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

    async def _resign(self, action: Action, view: _View) -> _Done:
        """The signer was asked and its answer was not saved: ask for the same bytes again, if they are still wanted."""
        attempt = action.unsigned
        if attempt is None:
            raise AssertionError("nothing is unsigned")
        if attempt.kind is not AttemptKind.CANCEL:
            match await self._gate(action, view):
                case NotSimulated(reason):
                    return self._told(action, f"not simulated: {reason}", view)
                case NoLongerNeeded() | Outdated() | WouldRevert():
                    return await self._replace(action, view, cancel=True)
                case Passed():
                    pass
        return await self._sign(action, attempt, view)

    async def _replace(self, action: Action, view: _View, *, cancel: bool) -> _Done:
        """A dearer attempt of the same, or a cancel, on the same nonce."""
        policy, draft = self._rules.fees, action.draft
        if not cancel:
            match await self._gate(action, view):
                case NotSimulated(reason):
                    return self._told(action, f"not simulated: {reason}", view)
                case NoLongerNeeded() | Outdated() | WouldRevert():
                    cancel = True
                case Passed():
                    pass
        gas = self._settings.cancel_gas if cancel else draft.gas
        how = pricing.urgency(view.health.get(action.position_id) or draft.health_wad)
        wanted = pricing.offer(view.head.base_fee or 0, await self._chain.tip_wei(), how, policy)
        pooled = await self._chain.pooled_fees(draft.signer, action.nonce or 0)
        before = [attempt for attempt in action.attempts if attempt.kind is not AttemptKind.ADOPTED]
        limit = pricing.ceiling(draft, policy, self._defences)
        if cancel:
            limit = pricing.cancel_ceiling(draft, before, policy, self._defences)
        offer = pricing.replacement(wanted, before, pooled, limit, policy, self._defences)
        if isinstance(offer, pricing.Capped):
            return self._told(action, f"fee cap reached: {offer.why}", view, Severity.CRITICAL)
        kind = AttemptKind.CANCEL if cancel else AttemptKind.INTENT
        return await self._reserve_and_sign(action, self._attempt(action, kind, gas, offer, view), view)

    async def _reserve_and_sign(self, action: Action, attempt: Attempt, view: _View) -> _Done:
        """Pay for the dearest attempt that could be included, then ask the signer."""
        worst = max([attempt.worst_cost_wei, *(earlier.worst_cost_wei for earlier in action.attempts)])
        charge = Charge(action.draft.amount, worst + action.draft.l1_data_fee_wei)
        judge = self._judge(action, charge, view.accounts[action.draft.signer])
        if action.attempts and charge.gas_wei <= self._journal.charge(action.id).gas_wei:
            judge = _no_objection  # it costs no more than what was allowed already
        if not self._defences.reserve_first:
            await self._signer.sign(self._request(action, attempt))
        made = self._journal.reserve_attempt(action, attempt, charge, judge, view.head.timestamp)
        return await self._sign(self._journal.action(action.id), made, view)

    async def _sign(self, action: Action, attempt: Attempt, view: _View) -> _Done:
        draft = action.draft
        if self._defences.kill_switch and self._kill.thrown:
            return _Done(action, self._kill.thrown)
        if self._defences.chain_id:
            found = await self._chain.chain_id()
            if found != draft.intent.chain_id:
                return self._told(action, f"the endpoint serves chain {found}", view, Severity.CRITICAL)
        if self._defences.lease:
            self._journal.check_lease()
        request = self._request(action, attempt)
        signed = await self._signer.sign(request)
        if self._defences.verify_signature:
            call = self._build(request.intent) if request.intent else cancel_call(draft.signer)
            verify(signed, request, call)
        if not self._defences.save_before_send:
            await self._chain.send_raw(signed.raw)
        saved = self._journal.save_signature(action, attempt, signed.raw, signed.hash, view.head.timestamp)
        return _Done(saved, "signed", more=True)

    def _request(self, action: Action, attempt: Attempt) -> SignRequest:
        draft = action.draft
        return SignRequest(
            action_id=action.id,
            epoch=self._journal.epoch,
            chain_id=draft.intent.chain_id,
            sender=draft.signer,
            nonce=attempt.nonce,
            intent=None if attempt.kind is AttemptKind.CANCEL else draft.intent,
            gas=attempt.gas,
            max_fee_per_gas_wei=attempt.max_fee_wei,
            max_priority_fee_per_gas_wei=attempt.tip_wei,
        )

    # -- sending -------------------------------------------------------------------------------------------------

    async def _send(self, action: Action, view: _View) -> _Done:
        if self._defences.kill_switch and self._kill.thrown:
            return _Done(action, self._kill.thrown)
        if self._defences.lease:
            self._journal.check_lease()
        attempts = sendable(action)
        private = channel(attempts[0], view.head.number, self._settings.relay, self._defences)
        if private is None:
            return self._told(action, "the private relay did not include it, and it may not go public", view)
        outcomes = await broadcast(self._chain, attempts, private=private, defences=self._defences)
        self._probe("after send")
        done = self._mark_sent(action, outcomes, view)
        too_cheap = any(outcomes[0].has(what) for what in (SendClass.UNDERPRICED, SendClass.REPLACEMENT_UNDERPRICED))
        if too_cheap and not outcomes[0].arrived and attempts[0].block_number < view.head.number:
            return await self._replace(done.action, view, cancel=done.action.cancelling)
        return done

    def _mark_sent(self, action: Action, outcomes: list[Outcome], view: _View) -> _Done:
        """Journal what the endpoints said, where that is new."""
        sent: list[tuple[int, str]] = []
        for outcome in outcomes:
            arrived = outcome.arrived
            if not self._defences.already_known:
                arrived = outcome.has(SendClass.ACCEPTED)
            fresh = outcome.attempt.stage is not Stage.SENT or outcome.attempt.said != outcome.said
            if arrived and fresh:
                sent.append((outcome.attempt.id, outcome.said))
        why = "; ".join(f"attempt {outcome.attempt.id}: {outcome.said}" for outcome in outcomes)
        hostile = sorted({endpoint for outcome in outcomes for endpoint in outcome.hostile})
        if hostile:
            why, severity = f"{', '.join(hostile)} answered with the hash of other bytes", Severity.CRITICAL
            if not sent:
                return self._told(action, why, view, severity)
        if sent:
            to = ActionState.BROADCAST if action.state is ActionState.SIGNED else None
            what = change(action, to, why, sent=tuple(sent), severity=Severity.CRITICAL if hostile else Severity.INFO)
            return _Done(self._journal.apply(what, view.head.timestamp, name="sent"), why)
        if any(outcome.has(SendClass.INSUFFICIENT_FUNDS) for outcome in outcomes):
            account = view.accounts[action.draft.signer]
            short = max(action.signed[-1].worst_cost_wei - account.balance_wei, 0)
            return self._told(action, f"the key lacks {short} wei to pay for its gas", view, Severity.CRITICAL)
        return _Done(action, why)


def _no_objection(_: object) -> list[str]:
    return []
