"""Driving read plans: merging many into one, and running one to its end. Sans I/O.

A plan yields batches of queries and is sent as many answers. `gather` runs plans in lockstep, so that all queries of a
round travel together and identical ones are asked once. A failed answer to a query that does not allow it is raised in
the plan that asked (and only there) as CallFailed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from monitor.core.errors import CallFailed
from monitor.core.types import Answer, Ok, Query, ReadPlan

T = TypeVar("T")


def advance(plan: ReadPlan[T], batch: Sequence[Query], answers: Sequence[Answer]) -> Sequence[Query]:
    """Hand a plan its answers and return its next batch. May raise: CallFailed, StopIteration (value = result)."""
    if len(answers) != len(batch):
        raise AssertionError(f"{len(batch)} queries got {len(answers)} answers")
    for query, answer in zip(batch, answers, strict=True):
        if not isinstance(answer, Ok) and not query.allow_revert:
            return plan.throw(CallFailed(query, answer))
    return plan.send(answers)


def values(answer: Answer) -> tuple[Any, ...]:
    """The outputs of an answer to a query without `allow_revert`, which the driver lets through only as Ok."""
    if not isinstance(answer, Ok):
        raise TypeError(f"a failed answer reached the plan: {answer}")
    return answer.values


def run(plan: ReadPlan[T], answer: Callable[[Sequence[Query]], Sequence[Answer]]) -> T:
    """Run a plan to its end with a synchronous answerer (a cassette, a fake). May raise: CallFailed."""
    try:
        batch = next(plan)
        while True:
            batch = advance(plan, batch, answer(batch))
    except StopIteration as done:
        result: T = done.value
        return result


def gather(plans: Iterable[ReadPlan[T]]) -> ReadPlan[list[T | CallFailed]]:
    """Run plans in lockstep, each round as one batch with every distinct query once.

    Returns one result per plan in order; a plan that died of a failed call yields that CallFailed as its result.
    """
    todo = list(plans)
    results: list[T | CallFailed | None] = [None] * len(todo)
    waiting: dict[int, Sequence[Query]] = {}

    def step(index: int, move: Callable[[], Sequence[Query]]) -> None:
        try:
            waiting[index] = move()
        except StopIteration as done:
            results[index] = done.value
        except CallFailed as failed:
            results[index] = failed

    for index, plan in enumerate(todo):
        step(index, plan.__next__)
    while waiting:
        places: dict[Query, int] = {}
        for batch in waiting.values():
            for query in batch:
                places.setdefault(_tolerant(query), len(places))
        # whoever drives this plan must not raise one plan's failure here, where it would end them all
        answers = yield tuple(places)
        asked, waiting = waiting, {}
        for index, batch in asked.items():
            mine = [answers[places[_tolerant(query)]] for query in batch]
            step(index, lambda plan=todo[index], batch=batch, mine=mine: advance(plan, batch, mine))  # type: ignore[misc]
    return results  # type: ignore[return-value]  # every slot is filled once its plan has ended


def _tolerant(query: Query) -> Query:
    return query if query.allow_revert else replace(query, allow_revert=True)


def done(value: T) -> ReadPlan[T]:
    """A plan that asks nothing."""
    yield from ()
    return value


def once(plan: ReadPlan[T]) -> ReadPlan[T]:
    """The same plan, asking nothing twice: what was answered in an earlier round is answered from memory.

    Right for plans pinned to one block hash, where an answer cannot change. A round of nothing new is no round.
    """
    known: dict[Query, Answer] = {}
    try:
        batch = next(plan)
        while True:
            fresh = tuple(dict.fromkeys(tolerant for query in batch if (tolerant := _tolerant(query)) not in known))
            if fresh:
                known.update(zip(fresh, (yield fresh), strict=True))
            batch = advance(plan, batch, [known[_tolerant(query)] for query in batch])
    except StopIteration as ended:
        result: T = ended.value
        return result
