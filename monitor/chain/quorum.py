"""Agreement between endpoints on hash-pinned answers. Pure: compares decoded answers, never bytes on the wire.

Only answers to the same question at the same block hash are compared, so honest endpoints cannot differ. An answer that
was not read is no vote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from monitor.core.types import Answer, Ok, Query, Reverted, Unread

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Dispute:
    """One question on which endpoints differ: who (by host) said what."""

    query: Query
    said: tuple[tuple[str, Answer], ...]

    def __str__(self) -> str:
        return f"{self.query}: " + "; ".join(f"{host} says {_told(answer)}" for host, answer in self.said)


def agree(
    queries: Sequence[Query], votes: Sequence[tuple[str, Sequence[Answer]]], needed: int
) -> tuple[list[Answer], list[Dispute]]:
    """For each query the answer that at least `needed` endpoints gave, else Unread; and every difference seen."""
    answers: list[Answer] = []
    disputes: list[Dispute] = []
    for place, query in enumerate(queries):
        said = tuple((host, given[place]) for host, given in votes)
        ballots: dict[object, list[Answer]] = {}
        for _, answer in said:
            if not isinstance(answer, Unread):
                ballots.setdefault(_ballot(answer), []).append(answer)
        winner = max(ballots.values(), key=len, default=[])
        if len(ballots) > 1:
            disputes.append(Dispute(query, said))
        if len(winner) >= needed and sum(len(ballot) == len(winner) for ballot in ballots.values()) == 1:
            answers.append(winner[0])
        elif ballots:
            answers.append(Unread(f"endpoints do not agree: {Dispute(query, said)}"))
        else:
            answers.append(next(answer for _, answer in said))
    return answers, disputes


def most(votes: Sequence[T], ballot: Callable[[T], object], needed: int) -> list[T]:
    """The votes of the largest camp, if it is the only one of its size and has at least `needed`; else none."""
    camps: dict[object, list[T]] = {}
    for vote in votes:
        camps.setdefault(ballot(vote), []).append(vote)
    sizes = sorted(map(len, camps.values()), reverse=True)
    if not sizes or sizes[0] < needed or sizes[:2] == [sizes[0]] * 2:
        return []
    return max(camps.values(), key=len)


def _ballot(answer: Answer) -> object:
    """What has to be equal: the values, or the revert's bytes."""
    return (True, repr(answer.values)) if isinstance(answer, Ok) else (False, getattr(answer, "data", b""))


def _told(answer: Answer) -> str:
    if isinstance(answer, Ok):
        text = ", ".join(map(str, answer.values))
    elif isinstance(answer, Reverted):
        text = f"reverted ({answer.reason})"
    else:
        text = f"nothing ({answer.reason})"
    return text if len(text) <= 200 else f"{text[:200]}..."
