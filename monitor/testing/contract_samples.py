"""Positions with the answers that they were read from: what the contract suite bends, and judges a protocol by.

A protocol's author gives recordings and nothing else: `levmon verify --record FILE` writes one, `samples` reads it back
through the protocol's own plans. Must not know: what any protocol's numbers mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from monitor.chain.recording import NotRecorded, Recording, block_of
from monitor.core.plan import run
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import Answer, Known, MarketRef, Position, Query, Reverted, Unreadable
from monitor.pipeline.confirm import difference
from monitor.protocols.base import Protocol, Truth

PER_KIND = 2
MOST = 6


@dataclass(frozen=True)
class Sample:
    """One position as it was read from a recording. `context` where the recording says what gates liquidations."""

    protocol: Protocol[Any, Any]
    facts: Any
    position: Position
    recording: Recording
    context: Any = None
    _known: dict[Query, Answer] = field(default_factory=dict, repr=False, compare=False)

    def answer(self, query: Query) -> Answer:
        """What was recorded; what was not, such as texts for people, reverts."""
        if query not in self._known:
            try:
                self._known[query] = self.recording.answer(self.position.block, query)
            except NotRecorded:
                self._known[query] = Reverted(b"", "")
        return self._known[query]

    def read(self, answer: Callable[[Query], Answer] | None = None) -> Position | Unreadable:
        """Read it again, from other answers if told so. May raise: LevmonError."""
        plan = self.protocol.state(self.facts, [self.position.owner], self.position.block)
        one = answer or self.answer
        (found,) = run(plan, lambda queries: [one(query) for query in queries])
        return found

    def truth(self) -> Truth | None:
        """The contract's own answer, or None where it was not recorded. A getter that reverted is an answer."""
        block = self.position.block
        try:
            (truth,) = self.recording.replay(self.protocol.truth(self.facts, [self.position.owner], block), block)
        except NotRecorded:
            return None
        return truth


def samples(recording: Recording) -> list[Sample]:
    """What `levmon verify --record` wrote, read back as `verify` reads it. May raise: LevmonError."""
    found = []
    for sample in recording.samples:
        market, _, owner = sample["position"].rpartition("/")
        block, ref = block_of(sample), MarketRef.parse(market)
        protocol = protocol_named(ref.protocol)
        static = recording.replay(protocol.static(ref, block), block)
        for facts in protocol.candidates(static) or (static,):
            (position,) = recording.replay(protocol.state(facts, [owner], block), block)
            if isinstance(position, Unreadable):
                continue
            one = Sample(protocol, facts, position, recording)
            truth = one.truth()
            if truth is not None and not difference(protocol.evaluate(position), truth):
                found.append(one)
                break
    return found


def varied(many: Iterable[Sample]) -> list[Sample]:
    """A few of every kind of verdict, the same ones every time."""
    kinds: Counter[tuple[object, ...]] = Counter()
    chosen: list[Sample] = []
    for sample in many:
        health = sample.protocol.evaluate(sample.position)
        verdict = health.verdict
        bad = isinstance(verdict, Known) and verdict.unhealthy
        kind = type(verdict).__name__, bad, health.liquidatable, len(health.legs) > 2
        kinds[kind] += 1
        if kinds[kind] <= PER_KIND:
            chosen.append(sample)
    return spread(chosen, MOST)


def spread(many: Sequence[Any], most: int) -> list[Any]:
    """At most that many of them, evenly from first to last."""
    if len(many) <= most:
        return list(many)
    return [many[at * len(many) // most] for at in range(most)]
