"""What every protocol promises, tested on each: of the registry, or of another distribution.

A test file names it and says where the samples are:

    class TestContract(ContractSuite):
        names = ("mine",)                                   # without: every protocol of the registry

        def samples_of(self, name):
            return samples(recording.load(Path(__file__).with_name("mine.json.gz")))

and `levmon verify --record mine.json.gz` has written that file. From there on answers are lost, cut off, resized, and
prices and times moved, always the same way. What no recording holds is asked of made-up markets. The promises: nothing
but a LevmonError leaves a read plan, nothing at all leaves `evaluate`, what was lost is never health, and what is said
does not contradict itself. Must not know: any protocol.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar

from pydantic import TypeAdapter

from monitor import report
from monitor.core import registry
from monitor.core.errors import LevmonError
from monitor.core.plan import advance, run
from monitor.core.types import (
    Answer,
    BlockRef,
    Call,
    Health,
    Known,
    MarketRef,
    NoDebt,
    Ok,
    Position,
    Price,
    PriceStatus,
    Query,
    ReadPlan,
    Side,
    Unknown,
    Unread,
    Unreadable,
    Word,
)
from monitor.health.engine import assess
from monitor.pipeline.confirm import difference
from monitor.protocols.base import Protocol, with_price
from monitor.testing import rotten
from monitor.testing.contract_acts import Acts
from monitor.testing.contract_samples import Sample, spread, varied

MOST_ROUNDS = 64
MOST_QUERIES = 20_000
QUERIES_BENT = 10
BLOCK = BlockRef(1, 20_000_000, "0x" + "01" * 32, "0x" + "00" * 32, 1_700_000_000, 10**9)
DAY_S = 86_400


CHOSEN: dict[tuple[type[ContractSuite], str], list[Sample]] = {}
"""The samples that are bent, chosen once."""


class ContractSuite(Acts):
    """Inherit it as a test class."""

    names: ClassVar[Sequence[str]] = ()

    def samples_of(self, name: str) -> Sequence[Sample]:
        """Recorded positions of the protocol."""
        raise NotImplementedError(f"say where the recorded positions of {name} are")

    @classmethod
    def pytest_generate_tests(cls, metafunc: Any) -> None:
        """One test of each kind for each protocol."""
        metafunc.parametrize("name", cls.names or sorted(registry.protocols()))

    @classmethod
    def _varied(cls, name: str) -> list[Sample]:
        place = cls, name
        if place not in CHOSEN:
            CHOSEN[place] = varied(cls().samples_of(name))
        assert CHOSEN[place], f"{name} has no recorded position: levmon verify --record writes one"
        return CHOSEN[place]

    # -- reading -------------------------------------------------------------------------------------------------------

    def test_any_answers_end_in_facts_or_an_error_of_the_house(self, name: str) -> None:
        """Random values of the right types, with more and more failures among them."""
        protocol = registry.protocol(name)
        for seed in range(48):
            rng = random.Random(f"{name} {seed}")
            ref = MarketRef(1, name, rotten.PEOPLE[1], rng.choice((None, "0x" + "07" * 32, "7", "ETH-A", "")))
            failing = (0, 0, 1 / 50, 1 / 4)[seed % 4]

            def answer(query: Query, rng: random.Random = rng, failing: float = failing) -> Answer:
                return rotten.anything(query, rng, failing)

            facts = _ended(protocol.static(ref, BLOCK), answer)
            if isinstance(facts, LevmonError):
                continue
            _ended(protocol.recheck(facts, BLOCK), answer)
            context = _ended(protocol.context(facts, BLOCK), answer)
            owners = [*rotten.PEOPLE[1:]]
            truths = _ended(protocol.truth(facts, owners, BLOCK), answer)
            assert isinstance(truths, LevmonError) or [truth.owner for truth in truths] == owners
            found = _ended(protocol.state(facts, owners, BLOCK), answer)
            if isinstance(found, LevmonError):
                continue
            assert [one.owner for one in found] == owners
            for one in found:
                _judge(protocol, one)
                if not isinstance(context, LevmonError):
                    _judge(protocol, one, context)

    def test_a_lost_answer_is_never_health(self, name: str) -> None:
        """Whatever of the state is not answered: unknown, or exactly as if it had been, since it did not matter."""
        for sample in self._varied(name):
            before = sample.protocol.evaluate(sample.position)
            for query, good in _bent(sample):
                for lost in (*rotten.failed(), *_unread_of(query, good, random.Random(name))):
                    found = _reread(sample, query, lost)
                    health = _judge(sample.protocol, found)
                    same = health.verdict == before.verdict
                    assert same or isinstance(health.verdict, Unknown), f"{query}: {lost}: {health.verdict}"
                    if isinstance(lost, Unread) and before.liquidatable:
                        assert health.liquidatable is not False, f"{query}: {lost}"

    def test_answers_of_any_size_are_judged(self, name: str) -> None:
        """Zero debt, dust, 1e30 and the most that a type holds, in one integer and in all of an answer."""
        rng = random.Random(name)
        for sample in self._varied(name):
            for query, good in _bent(sample):
                for wrong in rotten.resized(query, good, rng):
                    _judge(sample.protocol, _reread(sample, query, wrong))

    def test_answers_that_are_noise_are_judged(self, name: str) -> None:
        rng = random.Random(name)
        for sample in self._varied(name):
            for query, good in _bent(sample):
                for wrong in rotten.spoilt(query, good, rng):
                    _judge(sample.protocol, _reread(sample, query, wrong))

    def test_owners_are_read_alike_alone_and_together(self, name: str) -> None:
        """In order, each as by itself: nobody's answers are taken for another's."""
        sample = self._varied(name)[0]
        stranger = rotten.PEOPLE[3]
        owner, block = sample.position.owner, sample.position.block
        plan = sample.protocol.state(sample.facts, [stranger, owner, stranger], block)
        first, second, third = run(plan, lambda queries: [sample.answer(query) for query in queries])
        assert second == sample.position
        assert first == third
        assert first.owner == stranger

    # -- judging -------------------------------------------------------------------------------------------------------

    def test_the_same_position_gets_the_same_health(self, name: str) -> None:
        for sample in self._varied(name):
            position, again = sample.position, copy.deepcopy(sample.position)
            turned = replace(again, prices=dict(reversed(list(again.prices.items()))))
            for context in (None, sample.context):
                health = sample.protocol.evaluate(position, context)
                assert sample.protocol.evaluate(turned, copy.deepcopy(context)) == health
                assert sample.protocol.evaluate(position, context) == health
            assert position == again

    def test_context_opens_gates_and_changes_no_verdict(self, name: str) -> None:
        """A context of anything: the verdict is the state's, or there is doubt."""
        for sample in self._varied(name):
            before = sample.protocol.evaluate(sample.position)
            for seed in range(8):
                rng = random.Random(f"{name} {seed}")

                def answer(query: Query, rng: random.Random = rng, failing: float = seed / 10) -> Answer:
                    return rotten.anything(query, rng, failing)

                context = _ended(sample.protocol.context(sample.facts, sample.position.block), answer)
                if isinstance(context, LevmonError):
                    continue
                health = _judge(sample.protocol, sample.position, context)
                assert health.verdict == before.verdict or isinstance(health.verdict, Unknown)
                _told(sample, context)

    def test_an_oracle_that_answers_zero_makes_nobody_healthier(self, name: str) -> None:
        """Such a price is refused by the contract, or is no price: unknown, or no better than before."""
        for sample in self._varied(name):
            before = sample.protocol.evaluate(sample.position)
            for query, good in _bent(sample):
                found = _reread(sample, query, rotten.zeroed(query, good))
                if not isinstance(found, Position) or found.state != sample.position.state:
                    continue  # no oracle's answer; what else could be zero is judged elsewhere
                if found.prices != sample.position.prices:
                    verdict = sample.protocol.evaluate(found).verdict
                    assert not _better(verdict, before.verdict), f"{query}: {before.verdict} to {verdict}"

    def test_any_price_and_none_is_judged(self, name: str) -> None:
        for sample in self._varied(name):
            position = sample.position
            for key in position.prices:
                _judge(
                    sample.protocol,
                    replace(position, prices={k: v for k, v in position.prices.items() if k != key}),
                )
                for price in (0, 1, 10**30, 2**255, 2**256 - 1):
                    _judge(sample.protocol, with_price(position, key, price))

    def test_health_moves_with_a_price_as_searches_rely_on(self, name: str) -> None:
        """One way only, or the protocol's own probe knows better; and the probe says what `evaluate` does."""
        for sample in self._varied(name):
            protocol, position = sample.protocol, sample.position
            for key, now in position.prices.items():
                grid = sorted({max(now * part // 16, 1) for part in (1, 8, 12, 15, 16, 17, 24, 64)})
                _one_way(
                    grid,
                    _by_price(sample, key),
                    protocol.unhealthy_between_prices(position, key),
                    kept=type(protocol).unhealthy_between_prices is Protocol.unhealthy_between_prices,
                )

    def test_health_moves_with_time_as_searches_rely_on(self, name: str) -> None:
        for sample in self._varied(name):
            protocol, position = sample.protocol, sample.position
            start = position.block.timestamp
            grid = [start + after for after in (0, 1, 12, 3600, DAY_S, 30 * DAY_S, 365 * DAY_S, 3650 * DAY_S)]
            for at_s in (*grid, start + 10**12, 2**63, 2**255):
                _judge(protocol, position, None, at_s)
            _one_way(
                grid,
                _by_time(sample),
                protocol.unhealthy_between_times(position),
                kept=type(protocol).unhealthy_between_times is Protocol.unhealthy_between_times,
            )

    # -- telling -------------------------------------------------------------------------------------------------------

    def test_facts_survive_being_kept(self, name: str) -> None:
        """The cache keeps them as JSON between runs."""
        kind = TypeAdapter(registry.protocol(name).facts_type)
        for sample in self._varied(name):
            assert kind.validate_json(kind.dump_json(sample.facts), strict=True) == sample.facts

    def test_explanations_end(self, name: str) -> None:
        for sample in self._varied(name):
            verdict = sample.protocol.evaluate(sample.position).verdict
            lines = sample.protocol.explain(sample.position)
            assert lines or not isinstance(verdict, Known)
            assert all(isinstance(text, str) for line in lines for text in (line.name, line.value, line.formula))
            symbols, keys = sample.protocol.symbols(sample.facts), sample.protocol.price_keys(sample.position)
            assert set(keys) <= set(sample.position.prices)
            assert all(isinstance(symbol, str) for symbol in (*symbols.values(), *keys.values()))

    def test_the_contracts_own_answers_are_equal(self, name: str) -> None:
        """Wherever its getter was recorded and somebody is judged by it; where it reverts, ours has no numbers."""
        for sample in self.samples_of(name):
            truth = sample.truth()
            health = sample.protocol.evaluate(sample.position)
            if truth is not None and not isinstance(health.verdict, Unknown):
                assert not difference(health, truth)


def _ended(plan: ReadPlan[Any], answer: Callable[[Query], Answer]) -> Any:
    """What the plan returns, or the LevmonError that it raised. It asks neither for ever nor for everything."""
    try:
        batch = next(plan)
        for _ in range(MOST_ROUNDS):
            assert len(batch) <= MOST_QUERIES, f"{len(batch)} queries in one round"
            batch = advance(plan, batch, [answer(query) for query in batch])
    except StopIteration as done:
        return done.value
    except LevmonError as failed:
        return failed
    raise AssertionError(f"the plan does not end: round {MOST_ROUNDS} still asks {batch[:3]}")


def _bent(sample: Sample) -> Iterator[tuple[Call | Word, Ok]]:
    """The calls of the state plan that were answered with values, the same ones every time."""
    asked: dict[Call | Word, Ok] = {}

    def answer(query: Query) -> Answer:
        told = sample.answer(query)
        if isinstance(query, Call | Word) and isinstance(told, Ok):
            asked.setdefault(query, told)
        return told

    sample.read(answer)
    yield from spread(list(asked.items()), QUERIES_BENT)


def _unread_of(query: Call | Word, good: Ok, rng: random.Random) -> Iterator[Answer]:
    return (one for one in rotten.spoilt(query, good, rng) if isinstance(one, Unread))


def _reread(sample: Sample, bent: Query, wrong: Answer) -> Position | Unreadable:
    """The sample with one answer exchanged. A plan that gives up is an owner who could not be read."""
    position = sample.position
    try:
        return sample.read(lambda query: wrong if query == bent else sample.answer(query))
    except LevmonError as failed:
        return Unreadable(position.id, position.owner, position.block, failed.message)


def _judge(
    protocol: Protocol[Any, Any], found: Position | Unreadable, context: Any = None, at_s: int | None = None
) -> Health:
    """Its health, which must not contradict itself and must survive being told as JSON."""
    if isinstance(found, Unreadable) or at_s is None:
        health = assess(protocol, found, context)
    else:
        health = protocol.evaluate(found, context, at_s)
    verdict = health.verdict
    if isinstance(verdict, Known):
        assert verdict.denominator > 0
        assert any(leg.side is Side.DEBT for leg in health.legs), "a ratio, and nothing is owed"
    elif isinstance(verdict, Unknown):
        assert verdict.reason.strip(), "unknown without a reason"
    if health.liquidatable:
        assert not isinstance(verdict, NoDebt), "liquidatable, and nothing is owed"
        # a context may say that anybody can be liquidated whatever the health
        assert context is not None or not isinstance(verdict, Known) or verdict.unhealthy, "liquidatable and healthy"
    assert health.position_id == found.id
    assert health.block == found.block
    subject = report.Subject(MarketRef.parse(found.id.rpartition("/")[0]), "market", found.owner)
    told = (
        report.of_unreadable(subject, found)
        if isinstance(found, Unreadable)
        else report.of_health(subject, found, health)
    )
    again = json.loads(told.to_json())
    assert again == told.to_dict()
    assert again["verdict"] == {Known: "known", NoDebt: "no_debt", Unknown: "unknown"}[type(verdict)]
    if isinstance(verdict, Known):
        assert (int(again["health"]["num"]), int(again["health"]["den"])) == (verdict.numerator, verdict.denominator)
    else:
        assert again["health"]["num"] is None
    assert isinstance(verdict, Unknown) == (again["level"] == "unknown")
    assert {name: int(value) for name, value in again["reported"].items()} == dict(
        {} if isinstance(found, Unreadable) else health.reported
    )
    return health


def _told(sample: Sample, context: Any) -> None:
    """The prices that people are shown with a context of anything, at once and long after."""
    for price in sample.protocol.prices(sample.facts, [sample.position], context, sample.position.block):
        assert isinstance(price, Price)
        if price.updated_at is not None and price.valid_for is not None and price.answer > 0:
            late = price.updated_at + price.valid_for + 1
            assert price.status(late) is PriceStatus.STALE


def _by_price(sample: Sample, key: str) -> Callable[[int], Health]:
    return lambda price: sample.protocol.evaluate(with_price(sample.position, key, price))


def _by_time(sample: Sample) -> Callable[[int], Health]:
    return lambda at_s: sample.protocol.evaluate(sample.position, None, at_s)


def _better(verdict: Any, before: Any) -> bool:
    """Whether a known position has become healthier, or one that could not be judged has become healthy."""
    if isinstance(before, Unknown):
        return isinstance(verdict, Known) and not verdict.unhealthy
    if isinstance(before, NoDebt):
        return False
    if isinstance(verdict, NoDebt):
        return True
    return (
        isinstance(verdict, Known) and verdict.numerator * before.denominator > before.numerator * verdict.denominator
    )


def _one_way(
    grid: Sequence[int],
    judge: Callable[[int], Health],
    probe: Callable[[int, int], bool | None],
    *,
    kept: bool,
) -> None:
    """`kept`: the protocol keeps the default probe, which is right only where unhealthy turns once at most."""
    points = sorted({*grid, *((low + high) // 2 for low, high in pairwise(grid))})
    verdicts = {at: judge(at).verdict for at in points}
    known = {at: verdict.unhealthy for at, verdict in verdicts.items() if isinstance(verdict, Known)}
    turns = sum(known[low] != known[high] for low, high in pairwise(known))
    assert not kept or turns <= 1, f"unhealthy turns {turns} times: {known}"
    for at, unhealthy in known.items():
        assert probe(at, at) is unhealthy, f"the probe at {at}"
    for low, high in pairwise(grid):
        answer = probe(low, high)
        for at in (low, (low + high) // 2, high):
            assert answer is None or known.get(at, False) is answer, f"the probe of {low}..{high} at {at}"
