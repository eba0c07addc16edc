"""Brings random positions of a local Aave V3 market to random targets through the guard, or closes them, and counts.

As in `rescues`, but the owner's own collateral pays: each owner consents on chain, pools follow the oracle after each
shock as strangers would make them, and every effect is compared with what was predicted from the guard's own event of
what the exchange took. Refusals in the guard's or the pool's name are tried on them.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from typing import Any

from monitor.chain import abi
from monitor.chain.port import Chain, run
from monitor.core.actions import Plan
from monitor.core.guarding import GuardSetup
from monitor.core.types import LogQuery, Ok, Position, ReadPlan
from monitor.core.units import WAD
from monitor.policy.planner import Proposal, propose, propose_close
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.guarded import after, route_of, sold_for
from monitor.protocols.aave_v3.purse import Purse
from monitor.protocols.aave_v3.records import State
from monitor.protocols.aave_v3.templates import CLOSE, DELEVERAGE
from monitor.protocols.aave_v3.versions import TABLE
from monitor.testing import guard, uniswap
from monitor.testing.aave_v3 import account_data, set_paused
from monitor.testing.aave_v3_market import AaveMarket
from monitor.testing.devchain import MAX_UINT256, CallReverted, DevChain
from monitor.testing.guard import Consent, GuardSite
from monitor.testing.rescues import BAND, MARGIN_S, TERMS, Rescues, Tally, calldata, summary

KINDS = (DELEVERAGE.kind, CLOSE.kind)
CAP_E8 = 10**12 * 10**8
TAKEN_AWAY = 0.03
REACH = range(10_100, 13_500)
"""In ten thousandths of health: what two trades of one deposit for one debt each mostly reach; further is refused."""
BEFOREHAND = frozenset({"PAUSED", "CALLER", "ROUTER", "ROUTER_CODE", "TRIGGER", "CLOSE_BELOW", "CAP"})
"""Refusals in a contract's name whatever the amount; others depend on amounts, and are judged by what is sent."""


class GuardRescues(Rescues):
    """One local market with a guard and an exchange beside it."""

    def __init__(self, chain: Chain, local: DevChain, market: AaveMarket, site: GuardSite, seed: int) -> None:
        super().__init__(chain, local, market, seed)
        self._site = site
        self._setup = GuardSetup(site.guard, site.exchange.router, site.exchange.quoter, (uniswap.FEE, 3000))
        self.most_gas = 0

    async def _case(self, tally: Tally) -> None:
        target = Fraction(self._random.randrange(10_500, 25_000), 10_000)
        position = await self._endangered(target)
        closes = tally.kind == CLOSE.kind
        now = account_data(self._local, self._market, position.owner)[5]
        if not closes:  # one trade reaches that far; what it does not reach is refused, and counted as such
            reach = Fraction(self._random.choice(REACH), 10_000)
            target = max(min(target, Fraction(now, WAD) * reach), Fraction(101, 100))
        self._consent(position.owner, now, target)
        if self._random.random() > TAKEN_AWAY / 3:
            symbols = [reserve.symbol for reserve in position.state.reserves]
            uniswap.arbitrage(self._local, self._site.exchange, self._market, combinations(symbols, 2))
        if self._random.random() < TAKEN_AWAY:
            self._refuse(position.owner)
        wanted = None if closes else target
        position = await self._read(position.owner)
        proposal, purse = await self._propose_by_guard(position, wanted, tally.kind)
        self._try_guard(tally, position, proposal, purse)
        sent = 0
        while (plan := next(iter(proposal.plans or proposal.ladder), None)) and len(tally.wrong) < 20:
            if not await self._send_by_guard(tally, position, plan, purse):
                return
            sent += 1
            owes = account_data(self._local, self._market, position.owner)[1] > 0
            if not (owes if closes else proposal.ladder):
                break
            position = await self._read(position.owner)
            proposal, purse = await self._propose_by_guard(position, wanted, tally.kind)
        if sent:
            tally.ladders += sent > 1
            if closes:
                self._judge_close(tally, position, plan)
            else:
                self._judge_target(tally, position, plan, target)
        else:
            own = [r.reason for r in proposal.refused if r.key.startswith(tally.kind)]
            tally.refused[summary(own or [proposal.note])] += 1

    async def around_arbitrage(self, target: Fraction) -> tuple[list[str], list[str]]:
        """Why nothing can be sold right after a shock, and once strangers have moved the exchange to the new prices."""
        if self._facts is None:
            self._facts = await self._prepare()
        position = await self._endangered(target)
        self._consent(position.owner, account_data(self._local, self._market, position.owner)[5], target)
        told = []
        for _ in range(2):
            position = await self._read(position.owner)
            proposal, _ = await self._propose_by_guard(position, target, DELEVERAGE.kind)
            told.append([refusal.reason for refusal in proposal.refused])
            uniswap.arbitrage(self._local, self._site.exchange, self._market)
        return told[0], told[1]

    # -- the owner's side ----------------------------------------------------------------------------------------------

    def _consent(self, owner: str, health_wad: int, target: Fraction) -> None:
        """As tight a band as an owner may write who wants that target."""
        trigger = max(health_wad + 1, int(target * WAD * self._random.randrange(990, 1001) // 1000))
        target_wad = int(target * WAD)
        consent = Consent(
            trigger_wad=min(trigger, target_wad),
            close_below_wad=MAX_UINT256,
            low_wad=min(trigger, target_wad),
            high_wad=target_wad * self._random.randrange(1_006, 1_040) // 1000,
            max_slippage_bps=self._random.choice((200, 300, 500)),
            daily_cap_e8=CAP_E8,
        )
        guard.consent(self._local, self._market, self._site, owner, self._guardian, consent)

    def _refuse(self, owner: str) -> None:
        """Something that stands in the way: of the owner's, the exchange's or the pool's making."""
        local, site = self._local, self._site
        match self._random.randrange(5):
            case 0:
                local.send(owner, site.guard, "set_paused(bool)", True)
            case 1:
                local.send(owner, site.guard, "set_caller(address,bool)", self._guardian, False)
            case 2:
                local.send(owner, site.guard, "set_router(address,bytes32)", site.exchange.router, b"\x07" * 32)
            case 3:
                for reserve in self._market.reserves.values():
                    local.send(owner, reserve.a_token, "approve(address,uint256)", site.guard, 0)
            case _:
                symbol = self._random.choice(list(self._market.reserves))
                set_paused(local, self._market, symbol, True)

    # -- planning and sending ------------------------------------------------------------------------------------------

    async def _propose_by_guard(self, position: Position, target: Fraction | None, kind: str) -> tuple[Proposal, Purse]:
        # a debt may be made an end of before another is paid in part, which takes both of what owners here allow
        kinds = (kind,) if target is None else KINDS
        facts, block, terms = self._known_facts, position.block, replace(TERMS, kinds=kinds)
        plan = PROTOCOL.rescue_context(facts, self._guardian, (position,), block, self._setup)
        purse = await run(self._chain, plan, block)
        if target is None:
            return propose_close(PROTOCOL, facts, position, purse, terms), purse
        return propose(PROTOCOL, facts, position, purse, target, terms), purse

    async def _send_by_guard(self, tally: Tally, position: Position, plan: Plan, purse: Purse) -> bool:
        """At a random second of its window; then what it did beside what it was to do, to the wei."""
        at_s = position.block.timestamp + self._random.randrange(1, MARGIN_S + 1)
        self._local.set_next_timestamp(at_s)
        try:
            self._local.send_data(self._guardian, plan.intent.to, calldata(plan.intent))
        except CallReverted as reverted:
            tally.wrong.append(f"{plan.why}: the contract says {reverted.reason}")
            return False
        tally.sent += 1
        acted = await self._acted()
        step = next(s for s in self._steps(position, purse) if s.intent == plan.intent or s.key == self._key(s, plan))
        state: State = step.position.state
        estimate = sold_for(TABLE[position.rule.version], route_of(state, plan.intent), acted["repaid"])
        if acted["sold"] > estimate:
            tally.wrong.append(f"{plan.why}: sold {acted['sold']}, more than the {estimate} that were foreseen")
        predicted = PROTOCOL.evaluate(after(step.position, plan.intent, at_s, acted["sold"]), at_s=at_s)
        six = account_data(self._local, self._market, position.owner)
        if tuple(predicted.reported.values()) == six:
            tally.exact += 1
        else:
            tally.wrong.append(f"{plan.why}: {six} is not {predicted.reported}")
        return True

    @staticmethod
    def _key(step: Any, plan: Plan) -> str:
        same = all(step.intent.args.get(n) == plan.intent.args[n] for n in ("collateral", "debt", "fee"))
        return str(step.key) if same and step.intent.kind == plan.intent.kind else ""

    async def _acted(self) -> dict[str, Any]:
        """What the guard said of the last block's action."""

        def ask() -> ReadPlan[Any]:
            (answer,) = yield (LogQuery(self._site.guard, "guard.Acted", 1),)
            return answer

        answer = await run(self._chain, ask(), await self._chain.block("latest"))
        if not isinstance(answer, Ok):
            raise AssertionError(answer.reason)  # noqa: TRY004  a chain that tells no logs, not a wrong type
        (log,) = answer.values
        return dict(log.args)

    # -- judging -------------------------------------------------------------------------------------------------------

    def _judge_target(self, tally: Tally, position: Position, plan: Plan | None, target: Fraction) -> None:
        health = Fraction(account_data(self._local, self._market, position.owner)[5], WAD)
        if plan is None:
            tally.wrong.append(f"{position.id}: after the first rung nothing reaches {target} any more")
        elif health < target:
            tally.wrong.append(f"{plan.why}: only {health}")
        elif health <= target * BAND:
            tally.in_band += 1
        else:
            tally.wrong.append(f"{plan.why}: as much as {health}")

    def _judge_close(self, tally: Tally, position: Position, plan: Plan | None) -> None:
        debt = account_data(self._local, self._market, position.owner)[1]
        if debt:
            tally.wrong.append(f"{plan and plan.why}: {debt} of debt are left")
        else:
            tally.in_band += 1

    def _try_guard(self, tally: Tally, position: Position, proposal: Proposal, purse: Purse) -> None:
        """Whatever is refused in the guard's or the pool's name is refused by it, by that name."""
        steps = {step.key: step for step in self._steps(position, purse)}
        for refusal in proposal.refused:
            name, _, _ = refusal.reason.partition(":")
            if (name not in BEFOREHAND and not name.startswith("Reserve")) or not refusal.key.startswith(tally.kind):
                continue
            if refusal.key not in steps:
                continue  # foretold of a state that is not there yet
            step = steps[refusal.key]
            deposit = next(r for r in position.state.reserves if r.scaled_a_token).asset
            missing = {"collateral": deposit, "fee": uniswap.FEE, "action_id": "0x" + "11" * 32}
            intent = replace(step.intent, args=missing | dict(step.intent.args) | {"max_collateral": MAX_UINT256})
            intent = replace(intent, args={**intent.args, "amount": 10**step.decimals if not step.closes else 2**112})
            tally.tried += 1
            said = "nothing, for it works"
            try:
                self._local.call_data(intent.to, calldata(intent), sender=self._guardian)
            except CallReverted as reverted:
                said = PROTOCOL.error_name(abi.revert_reason(reverted.data, "aave_v3_pool.supply"))
            if said != name:
                tally.wrong.append(f"{refusal} was refused, and the contract says {said}")


async def rescue_by_guard(
    chain: Chain, local: DevChain, market: AaveMarket, site: GuardSite, *, cases: int, seed: int
) -> list[Tally]:
    """Both kinds on one market."""
    rescues = GuardRescues(chain, local, market, site, seed)
    return [await rescues.run(kind, cases) for kind in KINDS]
