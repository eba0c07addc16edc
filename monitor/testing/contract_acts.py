"""What every protocol that acts, or whose market is followed from logs, promises. A part of the contract suite.

A purse full of everything is made up beside each recorded position; what else a rescue depends on is what was recorded,
and what was not recorded refuses its step. Logs are made up from what the replay watches. The promises: what a step
says is possible is, a plan that is made reaches its target, a liquidation pays no more than its intent allows, and
logs that a reorganisation takes back leave nothing behind. Must not know: any protocol.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from monitor.core.actions import Step
from monitor.core.errors import LevmonError
from monitor.core.plan import run
from monitor.core.types import Address, Answer, BlockRef, Call, Known, Ok, Query
from monitor.policy.planner import Terms, propose
from monitor.protocols.base import reaches
from monitor.protocols.events import Contradiction, RawLog, Replay, Stage
from monitor.testing import rotten
from monitor.testing.contract_samples import Sample

PLENTY = 10**27
MARGIN_S = 60
TIMES = Fraction(11, 10)
"""the health of now: what plans are to reach"""
TERMS = Terms(max_fee_per_gas_wei=0, margin_s=MARGIN_S)
GUARDIAN: Address = rotten.PEOPLE[2]
DRAWS = 40


class Acts:
    """Inherited by the contract suite."""

    @classmethod
    def _varied(cls, name: str) -> Sequence[Sample]:
        """Positions of each kind, with the answers that they were read from."""
        raise NotImplementedError

    def test_a_rescue_that_is_said_to_be_possible_is(self, name: str) -> None:
        """From the least amount to the most, at once and at the end of its time; and more than the least does no harm.

        The least may: a protocol that floors an average can take a little health for a unit of something new.
        """
        for sample, step in _open_steps(self._varied(name)):
            protocol, position, now_s = sample.protocol, step.position, sample.position.block.timestamp
            assert 0 < step.least <= step.most, step.key
            for at_s in (now_s, now_s + MARGIN_S):
                protocol.after(position, step.with_amount(step.least), at_s)
                verdict = protocol.evaluate(position, None, at_s).verdict
                for amount in ((step.least + step.most) // 2, step.most):
                    after = protocol.after(position, step.with_amount(amount), at_s)
                    if amount > step.least and isinstance(verdict, Known):
                        now = Fraction(verdict.numerator, verdict.denominator)
                        assert reaches(protocol.evaluate(after, None, at_s), now), f"{step.key} {amount}"

    def test_a_plan_reaches_its_target(self, name: str) -> None:
        """And where a step is possible for somebody who owes something, there is a plan for somebody."""
        planned, able = 0, False
        seen: set[tuple[str, str]] = set()
        for sample, step in _open_steps(self._varied(name)):
            protocol, position, kind = sample.protocol, sample.position, step.intent.kind
            verdict = protocol.evaluate(position).verdict
            if not isinstance(verdict, Known) or not verdict.numerator or (position.block.hash, kind) in seen:
                continue
            able = True
            seen.add((position.block.hash, kind))
            target = TIMES * Fraction(verdict.numerator, verdict.denominator)
            found = propose(
                protocol, sample.facts, position, _purse(sample), target, replace(TERMS, kinds=(step.intent.kind,))
            )
            for plan in (one for one in found.plans if one.asset == step.asset):
                planned += 1
                for late_s in (1, MARGIN_S):
                    at_s = position.block.timestamp + late_s
                    after = protocol.after(step.position, plan.intent, at_s)
                    assert reaches(protocol.evaluate(after, None, at_s), target), plan.why
        assert planned or not able, "steps are possible, and no plan was made of any"

    def test_a_liquidation_pays_no_more_than_its_intent_allows(self, name: str) -> None:
        """Nothing is told to be moved by a call that is refused, and none is open on a healthy position."""
        for sample in self._varied(name):
            protocol, position, now_s = sample.protocol, sample.position, sample.position.block.timestamp
            if not any(template.opt_in for template in protocol.templates):
                continue
            health = protocol.evaluate(position, sample.context)
            for pair in protocol.liquidations(sample.facts, position, _purse(sample), sample.context, now_s):
                assert not pair.refused or pair.paid == pair.received == 0
                if pair.refused or pair.unread:
                    continue
                assert isinstance(health.verdict, Known)
                assert health.verdict.unhealthy
                assert 0 < pair.paid <= pair.amount
                half = protocol.liquidated(pair, max(pair.amount // 2, 1), sample.context, now_s)
                assert half.refused or half.paid <= half.amount <= pair.amount
                again = protocol.repeated(sample.facts, pair, half.intent, sample.context, now_s)
                assert again is not None
                assert (again.paid, again.received) == (half.paid, half.received)

    def test_what_a_reorganisation_takes_back_leaves_nothing_behind(self, name: str) -> None:
        """Logs of one branch are applied beside the ledger; those of another then find it as it was."""
        from monitor.protocols.ledger import Account, Ledger

        for sample in self._varied(name)[:1]:
            parts = _whole(sample)
            if parts is None:
                continue
            owners = [bytes.fromhex(one[2:]) for one in rotten.PEOPLE[1:]]
            kinds = sorted(parts.survey.balances)
            ledger = Ledger(_none(parts.survey.width))
            for number, owner in enumerate(owners):
                ledger.add(owner, Account(balances=dict.fromkeys(kinds, 10**6 * (number + 1))))
            before = [ledger.account(row) for row in range(len(ledger))]
            moved = 0
            for seed in range(DRAWS):
                first, second = (_logs(random.Random(f"{name} {seed} {side}"), parts, owners) for side in "ab")
                alone = _applied(parts.replay, ledger, second, sample.position.block)
                moved += _applied(parts.replay, ledger, first, sample.position.block) != ([], set(), "")
                assert [ledger.account(row) for row in range(len(ledger))] == before
                assert _applied(parts.replay, ledger, second, sample.position.block) == alone
            assert moved, "no log that was made up changed anything"


def _answer(sample: Sample, query: Query) -> Answer:
    """What was recorded, beside a purse that has plenty and lets all of it be taken."""
    if isinstance(query, Call) and query.function in ("erc20.balanceOf", "erc20.allowance"):
        return Ok((PLENTY,))
    if isinstance(query, Call) and query.function == "erc20.transferFrom":
        return Ok(())
    return sample.answer(query)


def _purse(sample: Sample) -> Any:
    block, position = sample.position.block, sample.position
    asked = sample.protocol.rescue_context(sample.facts, GUARDIAN, [position], block)
    return run(asked, lambda queries: [_answer(sample, query) for query in queries])


def _open_steps(samples: Sequence[Sample]) -> Iterator[tuple[Sample, Step]]:
    """Every step that is possible, with the sample that it is for."""
    for sample in samples:
        if not sample.protocol.templates:
            continue
        until_s = sample.position.block.timestamp + MARGIN_S
        for step in sample.protocol.rescue_steps(sample.facts, sample.position, _purse(sample), until_s):
            if not step.refused:
                yield sample, step


def _whole(sample: Sample) -> Any:
    """The parts of a followed market; None where the protocol has none, or they need what was not recorded."""
    try:
        asked = sample.protocol.whole(sample.facts, sample.position.block)
        return run(asked, lambda queries: [sample.answer(query) for query in queries])
    except LevmonError:
        return None


def _none(width: int) -> Any:
    """The columns of nobody."""
    import numpy as np

    from monitor.protocols.columns import Columns

    return Columns(
        owners=np.zeros((0, 20), np.uint8),
        mode=np.zeros(0, np.uint8),
        flags=np.zeros((0, width), np.uint64),
        start=np.zeros(1, np.int64),
        kind=np.zeros(0, np.uint16),
        low=np.zeros(0, np.uint64),
        high=np.zeros(0, np.uint64),
    )


def _logs(rng: random.Random, parts: Any, owners: Sequence[bytes]) -> list[RawLog]:
    """A few of the watched kinds, about people who are known, with small numbers."""
    watch = parts.replay.watch
    people = [bytes(12) + owner for owner in owners]

    def log(index: int) -> RawLog:
        inside = [parts.inside] if parts.inside else []
        topics = (rng.choice(watch.topics), *inside, *(rng.choice(people) for _ in range(3 - len(inside))))
        data = b"".join(rng.randrange(1000).to_bytes(32, "big") for _ in range(8))
        return RawLog(index, bytes.fromhex(rng.choice(watch.addresses)[2:]), topics, data)

    return [log(index) for index in range(4)]


def _applied(replay: Replay, ledger: Any, logs: Sequence[RawLog], block: BlockRef) -> Any:
    """What the logs make of the ledger, told apart from it."""
    stage = Stage(ledger)
    try:
        replay.apply(stage, logs, block)
    except Contradiction:
        return "contradiction"
    return sorted((owner, repr(account)) for owner, account in stage.accounts.items()), stage.dirty, stage.recheck
