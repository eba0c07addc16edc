"""Brings random borrowers of a local market to random targets with planned transactions from a purse, and keeps count.

The planner says what to do, a guardian sends just that at a random second of the plan's time, and what the contract
then holds (all raw state that an action changes, and its own verdict) is compared with what was planned. For protocols
whose rescues are a purse's own calls, each with a lab that knows how to make borrowers and to bring them into danger.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from monitor.chain.port import Chain, run
from monitor.core.actions import Plan, Step
from monitor.core.types import Address, Known, Position
from monitor.policy.planner import Proposal, Terms, propose
from monitor.protocols.base import Protocol
from monitor.testing.anvil import AnvilDevChain
from monitor.testing.devchain import CallReverted
from monitor.testing.rescues import BAND, MARGIN_S, Tally, calldata, summary

TERMS = Terms(max_fee_per_gas_wei=10**9, margin_s=MARGIN_S)
LOWEST = Fraction(9, 10)
NOBODY = "0x000000000000000000000000000000000000dEaD"


class RescueLab(ABC):
    """One local market with borrowers, and a guardian beside it whose purse holds plenty of everything.

    `native_price` is that of a whole coin of the chain and `least_value` what is not worth a transaction, both in the
    health's unit.
    """

    version: str
    protocol: Protocol[Any, Any]
    native_price: int
    least_value: int
    facts: Any
    guardian: str

    def __init__(self, chain: Chain, local: AnvilDevChain, seed: int) -> None:
        self.chain, self.local, self.random = chain, local, random.Random(seed)

    async def read(self, owner: str) -> tuple[Position, Any]:
        """The owner's position and the guardian's purse at the newest block."""
        block = await self.chain.block("latest")
        (position,) = await run(self.chain, self.protocol.state(self.facts, (owner,), block), block)
        if not isinstance(position, Position):
            raise AssertionError(position.reason)  # noqa: TRY004  a market that cannot be read, not a wrong type
        asked = self.protocol.rescue_context(self.facts, self.guardian, (position,), block)
        return position, await run(self.chain, asked, block)

    async def truth(self, owner: str) -> Mapping[str, int]:
        """The contract's own answer at the newest block."""
        block = await self.chain.block("latest")
        (truth,) = await run(self.chain, self.protocol.truth(self.facts, (owner,), block), block)
        if truth.error:
            raise AssertionError(truth.error)
        return truth.reported

    @abstractmethod
    async def endangered(self, low: Fraction, high: Fraction) -> str:
        """A borrower whose health lies between the two."""

    @abstractmethod
    def taker(self, asset: Address) -> Address:
        """Whom the purse lets take of the asset."""

    @abstractmethod
    def decisive(self, position: Position) -> tuple[object, ...]:
        """All of the raw state that an action changes at once."""


async def rescue_all(lab: RescueLab, kinds: tuple[str, ...], cases: int) -> list[Tally]:
    """So many cases of each kind, each from the same snapshot."""
    tallies = []
    for kind in kinds:
        tally = Tally(lab.version, kind)
        for _ in range(cases):
            snapshot = lab.local.snapshot()
            tally.cases += 1
            await _case(lab, tally)
            lab.local.revert(snapshot)
        tallies.append(tally)
    return tallies


async def _case(lab: RescueLab, tally: Tally) -> None:
    target = Fraction(lab.random.randrange(10_500, 25_000), 10_000)
    owner = await lab.endangered(LOWEST, target)
    position, purse, proposal = await _propose(lab, tally.kind, owner, target)
    if proposal.plans and lab.random.random() < 0.02:
        _take_away(lab, proposal.plans[0])
        position, purse, proposal = await _propose(lab, tally.kind, owner, target)
    if not proposal.plans:
        own = [refusal.reason for refusal in proposal.refused if refusal.key.startswith(tally.kind)]
        tally.refused[summary(own or [proposal.note]).partition(" only ")[0]] += 1
        return
    plan = proposal.plans[0]
    step = next(s for s in _steps(lab, position, purse) if (s.intent.kind, s.asset) == (plan.intent.kind, plan.asset))
    at_s = position.block.timestamp + lab.random.randrange(1, MARGIN_S + 1)
    lab.local.set_next_timestamp(at_s)
    try:
        lab.local.send_data(lab.guardian, plan.intent.to, calldata(plan.intent))
    except CallReverted as reverted:
        tally.wrong.append(f"{plan.why}: the contract says {reverted.reason}")
        return
    tally.sent += 1
    now, _ = await lab.read(owner)
    predicted = lab.protocol.after(position, plan.intent, at_s)
    foretold, found = lab.decisive(predicted), lab.decisive(now)
    if foretold == found and await lab.truth(owner) == lab.protocol.evaluate(now).reported:
        tally.exact += 1
    else:
        tally.wrong.append(f"{plan.why}: {found} is not {foretold}")
    _judge(lab, tally, plan, step, target, health_of(lab.protocol, now))


async def _propose(lab: RescueLab, kind: str, owner: str, target: Fraction) -> tuple[Position, Any, Proposal]:
    position, purse = await lab.read(owner)
    terms = replace(TERMS, kinds=(kind,), native_price=lab.native_price, least_value=lab.least_value)
    return position, purse, propose(lab.protocol, lab.facts, position, purse, target, terms)


def _steps(lab: RescueLab, position: Position, purse: Any) -> list[Step]:
    return lab.protocol.rescue_steps(lab.facts, position, purse, position.block.timestamp + MARGIN_S)


def _take_away(lab: RescueLab, plan: Plan) -> None:
    """Leave too little of what the plan needs, in the purse or of its allowance."""
    least = lab.random.randrange(plan.amount)
    if lab.random.random() < 0.5:
        lab.local.send(lab.guardian, plan.asset, "approve(address,uint256)", lab.taker(plan.asset), least)
        return
    (held,) = lab.local.call(plan.asset, "balanceOf(address)", "(uint256)", lab.guardian)
    lab.local.send(lab.guardian, plan.asset, "transfer(address,uint256)", NOBODY, held - least)


def health_of(protocol: Protocol[Any, Any], position: Position, at_s: int | None = None) -> Fraction:
    """Health as a number. The position must have a debt and a price."""
    verdict = protocol.evaluate(position, None, at_s).verdict
    if not isinstance(verdict, Known):
        raise AssertionError(verdict)  # noqa: TRY004  no health, not a wrong type
    return Fraction(verdict.numerator, verdict.denominator)


def _judge(lab: RescueLab, tally: Tally, plan: Plan, step: Step, target: Fraction, health: Fraction) -> None:
    if health < target:
        tally.wrong.append(f"{plan.why}: only {float(health)}")
    elif not _is_smallest(lab, step, plan.amount, target):
        tally.wrong.append(f"{plan.why}: less would do")
    elif health <= target * BAND:
        tally.in_band += 1
    else:
        tally.by_least_step += 1


def _is_smallest(lab: RescueLab, step: Step, amount: int, target: Fraction) -> bool:
    """One unit less does not reach the target at one of the moments, or is less than the smallest step."""
    worth = (amount - 1) * step.price // 10**step.decimals
    if amount - 1 < step.least or worth < lab.least_value:
        return True
    now_s = step.position.block.timestamp
    probe = lab.protocol.reaches_between_times(step, target, amount - 1)
    return any(probe(at_s, at_s) is False for at_s in range(now_s + MARGIN_S, now_s, -1))
