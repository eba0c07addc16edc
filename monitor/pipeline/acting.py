"""Everything that acting needs, tied together: journal, signer, kill switch and executor of one chain.

From plan to draft, from a draft to an open action, and the look at the position once more before a signature. The order
of what happens to an action is the executor's; when to act is somebody else's decision.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, partial
from typing import Any, Self

from monitor.chain import abi
from monitor.chain.chains import chain_info
from monitor.chain.clock import SYSTEM, Clock
from monitor.chain.majority import Majority
from monitor.chain.rpc_chain import RpcChain
from monitor.core.actions import Intent, Plan, Signed, SignRequest
from monitor.core.errors import ChainError, DecodeError, LevmonError, SignerUnavailable
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import Address, BlockRef, Health, Known, MarketRef, NoDebt, Position, Side, Unknown
from monitor.core.units import WAD
from monitor.execution.executor import (
    Executor,
    NoLongerNeeded,
    Objection,
    Outdated,
    Settings,
    StepReport,
    Unfit,
    Unmeasured,
)
from monitor.execution.fees import FeePolicy
from monitor.execution.killswitch import KillSwitch
from monitor.execution.limits import AssetLimits, SpendLimits
from monitor.execution.machine import Rules
from monitor.execution.port import Receipt, Signer, TxCall
from monitor.execution.rpc_chain import RpcExecutionChain, never_lower
from monitor.health.solve import price_decimals
from monitor.journal.rows import Action, Draft
from monitor.journal.store import Journal
from monitor.journal.view import JournalView
from monitor.pipeline.aftermath import Aftermath, fetch_happenings, told
from monitor.pipeline.basis import Basis, fetch_basis, fetch_market_code
from monitor.pipeline.beside import Sources, doubts
from monitor.pipeline.guardians import Guardian, line_prices
from monitor.pipeline.liquidations import is_liquidation, no_longer_worth, outcome
from monitor.pipeline.measure import fetch_moved, odd_receipt, odd_transfer
from monitor.pipeline.memory import Memory
from monitor.pipeline.positions import draft_id, market_of
from monitor.pipeline.snapshot import read_markets
from monitor.policy.levels import below
from monitor.policy.planner import shown, untrusted
from monitor.policy.rules import Aim, PriceLine
from monitor.protocols.base import Protocol, reaches
from monitor.signer.client import SignerClient
from monitor.signer.errors import Denied, Refusal
from monitor.signer.templates import Templates, builtin

EVER_S = 10**9
APPROVE = "erc20/approve"
ANEW = "it is to be made anew"
"""How the note of an outdated decision ends."""
Finality = str | int
"""The tag of the block after which nothing changes, or a number of blocks."""


class ExecutionView(RpcExecutionChain):
    """The chain as acting sees it, with finality as the file says it."""

    def __init__(self, chain: RpcChain, finality: Finality = "finalized") -> None:
        super().__init__(chain)
        self._reader, self._finality = chain, finality

    async def finalized(self) -> BlockRef:
        """Never lower than it was."""
        if self._finality == "finalized":
            return await super().finalized()
        if isinstance(self._finality, int):
            head = await self._reader.block("latest")
            found = await self._reader.block(max(head.number - self._finality, 0))
        else:
            found = await self._reader.block(self._finality)
        self._final = never_lower(self._final, found)
        return self._final


class RegisteredSigner:
    """A signer that is told of the lease and the chain's nonce before the first request, and after it restarted."""

    def __init__(self, client: SignerClient, chain: ExecutionView) -> None:
        self._client, self._chain = client, chain
        self._told: set[tuple[int, Address, int]] = set()

    async def sign(self, request: SignRequest) -> Signed:
        """May raise: SignerRefused, SignerUnavailable, WrongSignature."""
        who = request.chain_id, request.sender, request.epoch
        if who not in self._told:
            await self.register(*who)
        try:
            return await self._client.sign(request)
        except Denied as denied:
            if denied.code is not Refusal.UNREGISTERED:
                raise
            await self.register(*who)
            return await self._client.sign(request)

    async def register(self, chain_id: int, sender: Address, epoch: int) -> None:
        """May raise: SignerRefused, SignerUnavailable."""
        try:
            head = await self._chain.head()
            account = await self._chain.account(sender, head, head)
        except ChainError as error:
            raise SignerUnavailable(f"the key's nonce cannot be read: {error.message}") from None
        await self._client.register(chain_id, sender, epoch, account.nonce)
        self._told.add((chain_id, sender, epoch))


def builder(templates: Templates) -> Callable[[Intent], TxCall]:
    """From an intent to the call, by the same templates as the signer's."""

    def build(intent: Intent) -> TxCall:
        bound = templates.get(intent.kind)
        if bound is None:
            raise Denied(Refusal.KIND, f"no template {intent.kind}")
        return TxCall(intent.to, bound.calldata(intent), intent.value_wei, code=bound.template.code)

    return build


def failure(templates: Templates) -> Callable[[Draft, Receipt], str]:
    """Whether an included transaction that may have failed without a revert did so: by the event that it lacks."""

    def failed(draft: Draft, receipt: Receipt) -> str:
        bound = templates.get(draft.intent.kind)
        if bound is None or not bound.template.code:
            return ""
        event = abi.event(bound.template.event)
        whom, by_whom, *_ = bound.template.told
        for log in receipt.logs:
            if log.address != draft.intent.to or log.topics[:1] != (event.topic,):
                continue
            try:
                args = event.decode(list(log.topics), log.data)
            except DecodeError:
                continue
            if (args[whom], args[by_whom]) == (draft.intent.owner, draft.signer):
                return ""
        return f"did nothing: the contract answered an error without a revert, and there is no {event.name}"

    return failed


@cache
def own_calls() -> Callable[[Intent], TxCall]:
    """By levmon's own templates, which are collected once."""
    return builder(builtin())


@dataclass(frozen=True, slots=True)
class Recheck:
    """The position once more at the newest block: is the rescue still needed, and does it still help?"""

    chain: RpcChain
    memory: Memory
    build: Callable[[Intent], TxCall] = field(default_factory=own_calls)
    odd_tokens: frozenset[str] = frozenset()
    """symbols and addresses, in lower case, of tokens that may move otherwise than asked"""
    beside: Mapping[MarketRef, Sources] = field(default_factory=dict)

    async def __call__(self, draft: Draft, head: BlockRef) -> Objection | None:
        """May raise: ChainError, also where nothing can be said: then nothing is signed."""
        if draft.intent.kind == APPROVE:
            return await self._approval(draft, head)
        if is_liquidation(draft):
            return await self._liquidation(draft, head)
        decision = json.loads(draft.decision)
        ref, owner = market_of(draft.intent.position_id)
        # two nodes that differ about this very block: one of them is wrong, and nothing is signed on the word of either
        states = await read_markets(Majority(self.chain), {ref: (owner,)}, self.memory, head, self.beside)
        found = states[ref].found[0] if states[ref].found else None
        if not isinstance(found, Position):
            raise ChainError(f"the position cannot be read: {states[ref].trouble or found}")
        protocol: Protocol[Any, Any] = protocol_named(ref.protocol)
        health = protocol.evaluate(found, states[ref].context)
        if isinstance(health.verdict, Unknown):
            raise ChainError(f"health is unknown: {health.verdict.reason}")
        known = states[ref].known
        if known is not None and (basis := decision.get("basis")):
            now = await fetch_basis(self.chain, ref, known.facts, found, head)
            if changed := Basis(**basis).differs(now):
                return Outdated(f"the market's {changed} changed since the decision: {ANEW}")
        symbols = protocol.symbols(known.facts) if known else {}
        found_doubts = doubts(
            states[ref].beside, found.prices, symbols, partial(price_decimals, health), head.timestamp
        )
        if why := untrusted(protocol, draft.intent, found_doubts):
            return Outdated(f"{why}: {ANEW}")
        if decision["target"] is None:
            return _still_to_close(draft, decision.get("line"), found, health, symbols)
        if reaches(health, Fraction(decision["target"])):
            since = await fetch_happenings(self.chain, self.memory, draft, head)
            return NoLongerNeeded("; ".join(filter(None, [f"health is {shown(health)}", told(since)])))
        if too_much(protocol, found, draft, decision.get("health_expected"), head.timestamp):
            return Outdated(f"the position has recovered so far that the plan would overshoot: {ANEW}")
        return None if known is None else await self._transfer(draft, protocol, known.facts, head)

    async def _liquidation(self, draft: Draft, head: BlockRef) -> Objection | None:
        ref, _ = market_of(draft.intent.position_id)
        if why := await no_longer_worth(Majority(self.chain), self.memory, draft, ref, head):
            return NoLongerNeeded(why)
        protocol: Protocol[Any, Any] = protocol_named(ref.protocol)
        known = self.memory.recall(ref, protocol)
        if known is None:
            return None
        if await fetch_market_code(self.chain, ref, known.facts, head) != json.loads(draft.decision)["basis"]["code"]:
            return Outdated(f"the market's code changed since the decision: {ANEW}")
        return await self._transfer(draft, protocol, known.facts, head)

    async def _transfer(
        self, draft: Draft, protocol: Protocol[Any, Any], facts: Any, head: BlockRef
    ) -> Objection | None:
        """Whether assets move to and from the purse as they should, where that can be measured."""
        symbols = protocol.symbols(facts)
        moves = [
            move
            for move in protocol.moves(facts, draft.intent)
            if not {move.asset.lower(), symbols.get(move.asset, "").lower()} & self.odd_tokens
        ]
        if not moves:
            return None
        call = self.build(draft.intent)
        views = [(move.asset, "erc20.balanceOf", (who,)) for move in moves for who in (draft.signer, move.holder)]
        moved = await fetch_moved(self.chain, draft.signer, call, draft.gas, head, views)
        if isinstance(moved, str):
            return Unmeasured(moved)
        for move, purse, holder in zip(moves, (moved or [])[::2], (moved or [])[1::2], strict=moved is not None):
            why = odd_transfer(draft.amount, purse, holder) if move.pays else odd_receipt(purse, holder)
            if why:
                return Unfit(f"{symbols.get(move.asset, move.asset)} {why}")
        return None

    async def _approval(self, draft: Draft, head: BlockRef) -> Objection | None:
        """Whether the allowance is granted, by more than the token's word for it."""
        spender, amount = draft.intent.args["spender"], int(draft.intent.args["amount"])
        view = (draft.intent.to, "erc20.allowance", (draft.signer, spender))
        moved = await fetch_moved(self.chain, draft.signer, self.build(draft.intent), draft.gas, head, [view])
        if isinstance(moved, str):
            return Unmeasured(moved)
        if moved is None or moved[0][1] == amount:
            return None
        return Unfit(f"the token says that it approved {amount}, and the allowance is {moved[0][1]}")


OVERSHOOT = Fraction(21, 20)


def too_much(
    protocol: Protocol[Any, Any], position: Position, draft: Draft, expected: list[str] | None, at_s: int
) -> bool:
    """Whether health would now come out far above what was expected when the plan was made. Pure."""
    try:
        health = protocol.evaluate(protocol.after(position, draft.intent, at_s), None, at_s)
    except LevmonError:
        return False  # an effect that is not known here is left to the simulation
    if not isinstance(health.verdict, Known) or expected is None:
        return isinstance(health.verdict, NoDebt) and expected is not None
    numerator, denominator = map(int, expected)
    return not below(health.verdict, OVERSHOOT * Fraction(numerator, denominator))


def _still_to_close(
    draft: Draft, line: Mapping[str, Any] | None, position: Position, health: Health, symbols: Mapping[str, str]
) -> NoLongerNeeded | None:
    """Whether the debt is still there, and the price still beyond the line that called for the end.

    May raise: ChainError where the price is not known.
    """
    if not any(leg.side is Side.DEBT and leg.asset == draft.asset for leg in health.legs):
        return NoLongerNeeded("that debt is gone")
    if line is None:
        return None
    price = line_prices(position.prices, symbols, health).get(line["key"])
    if price is None:
        raise ChainError(f"the price of {line['key']} is not known")
    crossed = PriceLine(line["key"], int(line["price"]), line["above"]).crossed(price)
    return None if crossed else NoLongerNeeded(f"the price of {line['key']} is back on the good side")


class Acting:
    """One chain's executor with its journal. Use as a context; opening takes the journal's lock and lease."""

    def __init__(
        self,
        guardian: Guardian,
        chain: RpcChain,
        memory: Memory,
        *,
        finality: Finality = "finalized",
        max_head_age_s: float | None = None,
        journal: Journal | None = None,
        clock: Clock = SYSTEM,
        signer: Signer | None = None,
    ) -> None:
        """`journal`: one that is open already, for a second chain. `signer`: another than the one at the socket.

        May raise: JournalError.
        """
        self.guardian, self.chain, self._clock = guardian, chain, clock
        self._owns_journal = journal is None
        self.journal = journal or Journal(guardian.journal_url, now_s=int(clock.time()))
        self.kill = KillSwitch(guardian.kill_file)
        self.view = ExecutionView(chain, finality)
        self.templates = builtin()
        self.build = builder(self.templates)
        self.signer = signer or RegisteredSigner(SignerClient(guardian.socket, self.templates), self.view)
        self._assets: dict[Address, AssetLimits] = {}
        on_demand = chain_info(chain.chain_id).block_time_s is None and max_head_age_s is None
        settings = Settings(
            limits={guardian.address: SpendLimits(self._assets, guardian.gas_per_day_wei, guardian.min_reserve_wei)},
            rules=Rules(fees=fee_policy(guardian)),
            max_head_age_s=EVER_S if on_demand else int(max_head_age_s or 120),
            max_head_ahead_s=EVER_S if on_demand else 60,
        )
        self.aftermath = Aftermath(chain, memory)
        self.executor = Executor(
            self.journal,
            self.view,
            self.signer,
            self.build,
            self.kill,
            clock,
            settings,
            recheck=Recheck(chain, memory, self.build, guardian.odd_tokens, guardian.beside),
            outcome=outcome,
            failure=failure(self.templates),
            aftermath=self.aftermath,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._owns_journal:
            self.journal.close()

    def allow(self, limits: Mapping[Address, AssetLimits]) -> None:
        """The limits of these assets from now on."""
        self._assets.update(limits)

    def left(self, position_id: str, assets: Mapping[Address, AssetLimits], at_s: int) -> dict[Address, int]:
        """How much of each asset the last 24 hours leave for this position."""
        return left(self.journal, self.guardian.address, position_id, assets, at_s)

    def plan(self, draft: Draft) -> Action | None:
        """Record the decision and open its action; None while the position has one. May raise: JournalError."""
        return self.journal.plan(draft, draft.block.timestamp)

    async def step(self, health: Mapping[str, int] | None = None) -> StepReport:
        """See Executor.step."""
        return await self.executor.step(health)


def fee_policy(guardian: Guardian) -> FeePolicy:
    """What the file lets transactions offer."""
    over = guardian.config.cancel_over_cap
    return FeePolicy(max_fee_per_gas_wei=guardian.max_fee_wei, cancel_over_cap=over)


def left(
    journal: Journal | JournalView, signer: Address, position_id: str, assets: Mapping[Address, AssetLimits], at_s: int
) -> dict[Address, int]:
    """How much of each asset the last 24 hours of the journal leave for this position."""
    chain_id = market_of(position_id)[0].chain_id
    found = {}
    for asset, limits in assets.items():
        used = journal.totals(chain_id, signer, asset, position_id, at_s)
        rest = min(limits.per_position_day - used.position_amount, limits.per_key_day - used.key_amount)
        found[asset] = max(rest, 0)
    return found


@dataclass(frozen=True, slots=True)
class Ending:
    """What a decision rests on that closes or is one of several: its aim, the line crossed, and if more follow."""

    aim: Aim
    line: PriceLine | None = None
    more: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As the journal keeps it."""
        line = self.line and {"key": self.line.key, "price": str(self.line.price), "above": self.line.above}
        return {"aim": self.aim.value, "line": line, "more": self.more}


def draft_of(
    plan: Plan,
    guardian: Guardian,
    target: Fraction | None,
    *,
    cause: str,
    rule: str = "",
    version: int = 0,
    basis: Basis | None = None,
    ending: Ending | None = None,
) -> Draft:
    """The decision to do this plan, with all that it rests on. Without a target it closes; see Ending."""
    block = plan.block
    decision = {
        "target": None if target is None else str(target),
        **(ending.to_dict() if ending else {}),
        "cause": cause,
        "why": plan.why,
        "rule": rule,
        "rule_version": version,
        "health_before": ratio(plan.before),
        "health_expected": ratio(plan.expected),
        "symbol": plan.symbol,
        "decimals": plan.decimals,
        "block": {"number": block.number, "hash": block.hash, "timestamp": block.timestamp},
        "prices": {leg.asset: str(leg.price) for leg in plan.before.legs},
        "refused": list(plan.refused),
        **({"basis": basis.to_dict()} if basis is not None else {}),
    }
    return Draft(
        id=draft_id(plan.intent, block),
        intent=plan.intent,
        signer=guardian.address,
        block=block,
        asset=plan.asset,
        amount=plan.amount,
        gas=plan.limits.gas,
        max_fee_per_gas_wei=plan.limits.max_fee_per_gas_wei,
        max_cost_wei=plan.limits.max_cost_wei,
        valid_until_s=plan.limits.valid_until_s,
        health_wad=health_wad(plan.before),
        loss_avoided_wei=plan.loss_avoided_wei,
        l1_data_fee_wei=plan.limits.l1_data_fee_wei,
        decision=json.dumps(decision, sort_keys=True),
    )


def approval_of(
    intent: Intent, guardian: Guardian, block: BlockRef, asset: Mapping[str, Any], valid_until_s: int
) -> Draft:
    """The decision to grant an allowance. Nothing moves, so nothing counts against the limits but gas."""
    decision = {"cause": "asked for by hand", "why": f"{intent.kind} {asset['symbol']}", **asset}
    return Draft(
        id=draft_id(intent, block),
        intent=intent,
        signer=guardian.address,
        block=block,
        asset=intent.to,
        amount=0,
        gas=APPROVE_GAS,
        max_fee_per_gas_wei=guardian.max_fee_wei,
        max_cost_wei=APPROVE_GAS * guardian.max_fee_wei,
        valid_until_s=valid_until_s,
        decision=json.dumps(decision, sort_keys=True),
    )


def is_rescue(draft: Draft) -> bool:
    """Neither an approval nor a liquidation: what a rule's watch waits for."""
    return draft.intent.kind != APPROVE and not is_liquidation(draft)


APPROVE_GAS = 120_000
"""More than tokens take for it, those behind a proxy too."""


def ratio(health: Health) -> list[str] | None:
    """Health as two integers in text; None without debt or where it is unknown."""
    verdict = health.verdict
    return [str(verdict.numerator), str(verdict.denominator)] if isinstance(verdict, Known) else None


def health_wad(health: Health | None) -> int:
    """Health as the executor's urgency reads it; 0 where nobody knows."""
    if health is None or not isinstance(health.verdict, Known):
        return 0
    return health.verdict.numerator * WAD // health.verdict.denominator
