"""Merging read plans: everyone gets his own answers, and his own failures."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from monitor.core import plan
from monitor.core.errors import CallFailed
from monitor.core.types import Answer, Call, Ok, Query, ReadPlan, Reverted

A, B = "0x" + "aa" * 20, "0x" + "bb" * 20


def ask(*batches: Sequence[Query]) -> ReadPlan[list[Answer]]:
    got: list[Answer] = []
    for batch in batches:
        got += yield batch
    return got


def answer(queries: Sequence[Query]) -> list[Answer]:
    assert len(set(queries)) == len(queries), "asked twice"
    return [Reverted(b"", "no") if q.to == B else Ok((q.function,)) for q in queries if isinstance(q, Call)]


def test_a_failed_answer_ends_only_the_plan_that_asked() -> None:
    good = ask([Call(A, "x.a")], [Call(A, "x.b")])
    bad = ask([Call(B, "x.a")], [Call(A, "x.never")])
    tolerant = ask([Call(B, "x.a", allow_revert=True)])
    first, second, third = plan.run(plan.gather([good, bad, tolerant]), answer)
    assert first == [Ok(("x.a",)), Ok(("x.b",))]
    assert isinstance(second, CallFailed)
    assert second.query == Call(B, "x.a")
    assert third == [Reverted(b"", "no")]


def test_nested_gathers_keep_failures_apart() -> None:
    inner = plan.gather([ask([Call(B, "x.a")]), ask([Call(A, "x.a")])])
    [results, other] = plan.run(plan.gather([inner, ask([Call(A, "x.a")])]), answer)
    assert isinstance(results, list)
    assert isinstance(results[0], CallFailed)
    assert results[1] == [Ok(("x.a",))]
    assert other == [Ok(("x.a",))]


def test_plans_of_different_length_and_of_no_question() -> None:
    seen: list[int] = []

    def count(queries: Sequence[Query]) -> list[Answer]:
        seen.append(len(queries))
        return answer(queries)

    same = [Call(A, "x.a"), Call(A, "x.b")]
    assert plan.run(plan.gather([ask(same, same), ask(same), plan.done("nothing")]), count) == [
        [Ok(("x.a",)), Ok(("x.b",))] * 2,
        [Ok(("x.a",)), Ok(("x.b",))],
        "nothing",
    ]
    assert seen == [2, 2]


def test_once_asks_nothing_twice_and_still_raises_where_it_must() -> None:
    seen: list[int] = []

    def count(queries: Sequence[Query]) -> list[Answer]:
        seen.append(len(queries))
        return answer(queries)

    plan_ = ask([Call(A, "x.a"), Call(A, "x.a")], [Call(A, "x.a", allow_revert=True)], [Call(A, "x.b"), Call(A, "x.a")])
    assert plan.run(plan.once(plan_), count) == [Ok((f"x.{name}",)) for name in "aaaba"]
    assert seen == [1, 1]

    failing = ask([Call(B, "x.a", allow_revert=True)], [Call(B, "x.a")])
    with pytest.raises(CallFailed):
        plan.run(plan.once(failing), answer)
