"""Brings random positions of a local Aave V3 market to random targets with planned transactions, and keeps count.

For each case prices, time, the purse and what governance allows are drawn from a seed; the planner says what to do, a
guardian sends just that, and the contract's own getUserAccountData is compared with what was planned. Refusals are put
to the test as well: what the contract is said to refuse is tried. Every case starts from the same snapshot.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache

from monitor.chain import abi
from monitor.chain.port import Chain, run
from monitor.core.actions import Intent, Plan, Step
from monitor.core.types import MarketRef, Position, Unreadable
from monitor.core.units import WAD
from monitor.policy.planner import Proposal, Terms, propose
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.purse import Purse
from monitor.protocols.aave_v3.records import Facts
from monitor.protocols.aave_v3.templates import REPAY, SUPPLY
from monitor.signer.templates import builtin
from monitor.testing.aave_v3 import account_data, set_frozen, set_paused
from monitor.testing.aave_v3_market import AaveMarket, Version
from monitor.testing.danger import move_collateral, on_own_market, shake
from monitor.testing.devchain import MAX_UINT256, CallReverted, DevChain

MARGIN_S = 60
BAND = Fraction(1005, 1000)
"""Health may be above its target by so much, unless the smallest unit that the step has is larger."""
TERMS = Terms(max_fee_per_gas_wei=10**9, native_price=2_000 * 10**8, margin_s=MARGIN_S, least_value=10**6)
TRIES = 40
PAYERS = ("purse", "guard")
BESIDE = ("morpho", "aave-v2")
"""Other protocols, whose rescues a purse pays."""


@dataclass(slots=True)
class Tally:
    """How the cases of one kind of rescue ended. `wrong` must stay empty."""

    version: str
    kind: str
    cases: int = 0
    in_band: int = 0
    by_least_step: int = 0
    """Above the band because the smallest allowed or possible step leads there."""
    sent: int = 0
    exact: int = 0
    """Transactions after which the six values equal the prediction."""
    ladders: int = 0
    """Took more than one transaction, as said before the first."""
    next_best: int = 0
    """Brought to target although a better step was taken away."""
    refused: Counter[str] = field(default_factory=Counter)
    tried: int = 0
    """Refusals that name the contract's error, and were tried on it."""
    wrong: list[str] = field(default_factory=list)

    @property
    def brought(self) -> int:
        return self.in_band + self.by_least_step

    def line(self) -> str:
        """One row for people."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.refused.most_common())
        numbers = (
            *(self.cases, self.in_band, self.by_least_step, self.sent, self.exact, self.ladders, self.next_best),
            *(sum(self.refused.values()), len(self.wrong)),
        )
        cells = (str(number).rjust(len(name)) for number, name in zip(numbers, COLUMNS, strict=True))
        protocol, _, action = self.kind.partition("/")
        return f"{f'{protocol} {self.version}':18}  {action:10}  {'  '.join(cells)}  {reasons}"


COLUMNS = ("cases", "in band", "least step", "sent", "exact", "ladders", "next best", "refused", "wrong")
HEADER = f"{'market':18}  {'kind':10}  {'  '.join(COLUMNS)}  refused because"


_templates = cache(builtin)


def calldata(intent: Intent) -> bytes:
    """What the intent's template says that the call is: the bytes that the signer would sign."""
    return _templates()[intent.kind].calldata(intent)


class Rescues:
    """One local market with a guardian beside it, whose purse holds plenty of everything."""

    def __init__(self, chain: Chain, local: DevChain, market: AaveMarket, seed: int) -> None:
        self._chain = chain
        self._local = local
        self._market = market
        self._random = random.Random(seed)
        self._guardian = local.account(f"{market.version} guardian")
        self._symbols = {reserve.asset: symbol for symbol, reserve in market.reserves.items()}
        self._facts: Facts | None = None

    async def run(self, kind: str, cases: int) -> Tally:
        """So many cases of `aave-v3/repay` or `aave-v3/supply`. May raise: ChainError, CallFailed."""
        if self._facts is None:
            self._facts = await self._prepare()
        tally = Tally(self._market.version, kind)
        for _ in range(cases):
            snapshot = self._local.snapshot()
            tally.cases += 1
            await self._case(tally)
            self._local.revert(snapshot)
        return tally

    async def _prepare(self) -> Facts:
        market, local = self._market, self._local
        for reserve in market.reserves.values():
            plenty = 10**12 * 10**reserve.decimals
            local.send(market.admin, reserve.asset, "mint(address,uint256)", self._guardian, plenty)
            local.send(self._guardian, reserve.asset, "approve(address,uint256)", market.pool, MAX_UINT256)
        ref = MarketRef(market.chain_id, PROTOCOL.name, market.provider)
        block = await self._chain.block("latest")
        facts = await run(self._chain, PROTOCOL.static(ref, block), block)
        return next(known for known in PROTOCOL.candidates(facts) if known.version == market.version)

    # -- one case ------------------------------------------------------------------------------------------------------

    async def _case(self, tally: Tally) -> None:
        target = Fraction(self._random.randrange(10_500, 25_000), 10_000)
        position = await self._endangered(target)
        terms = replace(TERMS, kinds=(tally.kind,))
        proposal, purse = await self._propose(position, target, terms)
        harmed = False
        # mostly where there is another way, and now and then where there is none
        chance = 0.1 if len(proposal.plans) > 1 else 0.02
        if proposal.plans and self._random.random() < chance:
            self._take_away(proposal.plans[0])
            harmed = True
            position = await self._read(position.owner)
            proposal, purse = await self._propose(position, target, terms)
        await self._try_refusals(tally, position, proposal, purse)
        rungs = 0
        while proposal.ladder and self._send(tally, position, proposal.ladder[0], purse):
            rungs += 1
            position = await self._read(position.owner)
            proposal, purse = await self._propose(position, target, terms)
        if proposal.plans:
            tally.next_best += harmed
            tally.ladders += rungs > 0
            self._send_and_judge(tally, position, proposal.plans[0], purse, target)
        elif rungs:
            tally.wrong.append(f"{position.id}: after {rungs} steps of a ladder nothing reaches the target any more")
        else:
            own = [r.reason for r in proposal.refused if r.key.startswith(tally.kind)]
            tally.refused[summary(own or [proposal.note])] += 1

    async def _endangered(self, target: Fraction) -> Position:
        """A borrower whose health random prices and time have brought between 0.9 and the target."""
        for _ in range(TRIES):
            snapshot = self._local.snapshot()
            owner = self._random.choice(self._market.borrowers)
            shake(self._local, self._market, self._random)
            wanted = self._random.randrange(9_000, int(target * 10_000))
            position = await self._read(owner)
            move_collateral(self._local, self._market, position, Fraction(wanted, 10_000))
            health_wad = account_data(self._local, self._market, owner)[5]
            if health_wad >= 9 * WAD // 10 and Fraction(health_wad, WAD) < target:
                return await self._read(owner)
            self._local.revert(snapshot)
        raise AssertionError("no borrower could be brought into danger")

    def _take_away(self, plan: Plan) -> None:
        """Make the best plan impossible, or too small."""
        market, local, asset = self._market, self._local, plan.asset
        symbol = self._symbols[asset]
        # a repayment minds neither a freeze nor a cap
        match self._random.randrange(3 if plan.intent.kind.endswith("repay") else 5):
            case 0:
                set_paused(local, market, symbol, True)
            case 1:
                allowed = self._random.randrange(plan.amount)
                local.send(self._guardian, asset, "approve(address,uint256)", market.pool, allowed)
            case 2:
                (held,) = local.call(asset, "balanceOf(address)", "(uint256)", self._guardian)
                left = self._random.randrange(plan.amount)
                local.send(self._guardian, asset, "transfer(address,uint256)", market.admin, held - left)
            case 3:
                set_frozen(local, market, symbol, True)
            case _:
                a_token = market.reserves[symbol].a_token
                (supplied,) = local.call(a_token, "totalSupply()", "(uint256)")
                cap = max(1, supplied // 10**plan.decimals)
                local.send(market.admin, market.configurator, "setSupplyCap(address,uint256)", asset, cap)

    async def _read(self, owner: str) -> Position:
        block = await self._chain.block("latest")
        (position,) = await run(self._chain, PROTOCOL.state(self._known_facts, (owner,), block), block)
        if isinstance(position, Unreadable):
            raise AssertionError(position.reason)  # noqa: TRY004  a market that cannot be read, not a wrong type
        return position

    async def _propose(self, position: Position, target: Fraction, terms: Terms) -> tuple[Proposal, Purse]:
        facts, block = self._known_facts, position.block
        purse = await run(self._chain, PROTOCOL.rescue_context(facts, self._guardian, (position,), block), block)
        return propose(PROTOCOL, facts, position, purse, target, terms), purse

    @property
    def _known_facts(self) -> Facts:
        if self._facts is None:
            raise AssertionError("the market has not been read yet")
        return self._facts

    # -- what the contract says to it ----------------------------------------------------------------------------------

    async def _try_refusals(self, tally: Tally, position: Position, proposal: Proposal, purse: Purse) -> None:
        """Whatever is refused in the contract's name is refused by it, by that name."""
        steps = {step.key: step for step in self._steps(position, purse)}
        for refusal in proposal.refused:
            name, _, _ = refusal.reason.partition(":")
            if not name.isidentifier() or not name[0].isupper() or not refusal.key.startswith(tally.kind):
                continue
            step = steps[refusal.key]
            amount = 10 ** (step.decimals + 6) if name == "SupplyCapExceeded" else 10**step.decimals
            tally.tried += 1
            said = "nothing, for it works"
            try:
                self._local.call_data(step.intent.to, calldata(step.with_amount(amount)), sender=self._guardian)
            except CallReverted as reverted:
                said = PROTOCOL.error_name(abi.revert_reason(reverted.data, "aave_v3_pool.supply"))
            if said != name:
                tally.wrong.append(f"{refusal} was refused, and the contract says {said}")

    def _steps(self, position: Position, purse: Purse) -> list[Step]:
        return PROTOCOL.rescue_steps(self._known_facts, position, purse, position.block.timestamp + MARGIN_S)

    def _send_and_judge(self, tally: Tally, position: Position, plan: Plan, purse: Purse, target: Fraction) -> None:
        if self._send(tally, position, plan, purse):
            step = self._step_of(position, plan, purse)
            self._judge(tally, plan, step, target, account_data(self._local, self._market, position.owner)[5])

    def _send(self, tally: Tally, position: Position, plan: Plan, purse: Purse) -> bool:
        """Send it at a random second of its window, and compare what it did with what it was to do."""
        at_s = position.block.timestamp + self._random.randrange(1, MARGIN_S + 1)
        self._local.set_next_timestamp(at_s)
        try:
            self._local.send_data(self._guardian, plan.intent.to, calldata(plan.intent))
        except CallReverted as reverted:
            tally.wrong.append(f"{plan.why}: the contract says {reverted.reason}")
            return False
        tally.sent += 1
        six = account_data(self._local, self._market, position.owner)
        step = self._step_of(position, plan, purse)
        predicted = PROTOCOL.evaluate(PROTOCOL.after(step.position, plan.intent, at_s), at_s=at_s)
        if tuple(predicted.reported.values()) == six:
            tally.exact += 1
        else:
            tally.wrong.append(f"{plan.why}: {six} is not {predicted.reported}")
        return True

    def _step_of(self, position: Position, plan: Plan, purse: Purse) -> Step:
        steps = self._steps(position, purse)
        return next(s for s in steps if (s.intent.kind, s.asset) == (plan.intent.kind, plan.asset))

    def _judge(self, tally: Tally, plan: Plan, step: Step, target: Fraction, health_wad: int) -> None:
        health = Fraction(health_wad, WAD)
        if health < target:
            tally.wrong.append(f"{plan.why}: only {health_wad}")
        elif not self._is_smallest(step, plan.amount, target):
            tally.wrong.append(f"{plan.why}: less would do")
        elif health <= target * BAND:
            tally.in_band += 1
        else:
            tally.by_least_step += 1

    def _is_smallest(self, step: Step, amount: int, target: Fraction) -> bool:
        """One unit less does not reach the target at one of the moments, or is less than the smallest step."""
        worth = (amount - 1) * step.price // 10**step.decimals
        if amount - 1 < step.least or worth < TERMS.least_value:
            return True
        now_s = step.position.block.timestamp
        probe = PROTOCOL.reaches_between_times(step, target, amount - 1)
        return any(probe(at_s, at_s) is False for at_s in range(now_s + MARGIN_S, now_s, -1))


def summary(reasons: list[str]) -> str:
    """The most telling reason: the one that names most."""
    return Counter(reason.partition(":")[0] for reason in reasons).most_common(1)[0][0]


async def rescue_all(chain: Chain, local: DevChain, market: AaveMarket, *, cases: int, seed: int) -> list[Tally]:
    """Both kinds on one market."""
    rescues = Rescues(chain, local, market, seed)
    return [await rescues.run(template.kind, cases) for template in (REPAY, SUPPLY)]


def main() -> int:
    """`scripts/prove_rescues`: 0 if nothing was wrong and 95 in 100 were brought to their target, else 1."""
    import argparse
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from monitor.testing.aave_v3_market import VERSIONS

    parser = argparse.ArgumentParser(
        prog="scripts/prove_rescues", description="Bring random positions on real contracts to random targets."
    )
    parser.add_argument("--version", choices=[*VERSIONS, *BESIDE], action="append", help="default: all")
    parser.add_argument("--cases", type=int, default=200, help="positions for each kind of rescue (default 200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from", dest="payer", choices=PAYERS, action="append", help="who pays (default: both)")
    asked = parser.parse_args()

    print(HEADER)
    good, others = True, [name for name in BESIDE if name in (asked.version or BESIDE)]
    jobs = [(version, payer, asked.cases, asked.seed) for payer in asked.payer or PAYERS for version in VERSIONS]
    jobs = [job for job in jobs if job[0] in (asked.version or VERSIONS)]
    # each on its own chain, so they need not wait for one another
    with ProcessPoolExecutor(len(VERSIONS), get_context("spawn")) as pool:
        proved = [pool.submit(_prove, *job) for job in jobs]
        proved += [pool.submit(_prove_beside, name, asked.cases, asked.seed) for name in others]
        for tallies in (one.result() for one in proved):
            for tally in tallies:
                print(tally.line(), flush=True)
                for wrong in tally.wrong[:20]:
                    print(f"  {wrong}")
                good = good and not tally.wrong and tally.brought * 100 >= tally.cases * 95
    return 0 if good else 1


def _prove(version: Version, payer: str, cases: int, seed: int) -> list[Tally]:
    import asyncio

    from monitor.testing import guard
    from monitor.testing.guard_rescues import rescue_by_guard

    async def prove(chain: Chain, local: DevChain, market: AaveMarket) -> list[Tally]:
        if payer == "guard":
            site = guard.deploy(local, market)
            return await rescue_by_guard(chain, local, market, site, cases=cases, seed=seed)
        return await rescue_all(chain, local, market, cases=cases, seed=seed)

    return asyncio.run(on_own_market(version, prove))


def _prove_beside(name: str, cases: int, seed: int) -> list[Tally]:
    import asyncio

    from monitor.testing import aave_v2_lab, morpho_lab
    from monitor.testing.purse_rescues import rescue_all as rescue_from_purse

    if name == "morpho":
        kinds = "morpho-blue/repay", "morpho-blue/supply"
        return asyncio.run(morpho_lab.in_own_lab(seed, lambda lab: rescue_from_purse(lab, kinds, cases)))
    kinds = "aave-v2/repay", "aave-v2/supply"
    return asyncio.run(aave_v2_lab.in_own_lab(seed, lambda lab: rescue_from_purse(lab, kinds, cases)))


if __name__ == "__main__":
    raise SystemExit(main())
