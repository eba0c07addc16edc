"""One figure of a bench: what was measured, its goal, and the peer and the floor that it was measured beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """`goal` is what is aimed at, if anything; beyond `limit` the bench fails.

    `peer` and `floor` are in the figure's own unit.
    """

    id: str
    what: str
    measured: float
    unit: str
    goal: float | None
    limit: float | None = None
    more_is_better: bool = False
    peer: float | None = None
    floor: float | None = None
    note: str = ""

    @property
    def reached(self) -> bool:
        if self.goal is None:
            return True
        return self.measured >= self.goal if self.more_is_better else self.measured <= self.goal

    @property
    def failed(self) -> bool:
        if self.limit is None:
            return False
        return self.measured < self.limit if self.more_is_better else self.measured > self.limit


def table(figures: Sequence[Figure]) -> list[str]:
    """For people: a line each."""
    names = (
        f"{'id':4}{'figure':57}{'measured':>10} {'unit':4}{'goal':>8}  {'':7}{'peer':>10}{'x':>7}{'floor':>10}{'x':>7}"
    )
    return [names, *(_line(one) for one in figures)]


def report(figures: Sequence[Figure]) -> dict[str, Any]:
    """For programs."""
    return {"figures": [asdict(one) | {"reached": one.reached} for one in figures]}


def _line(one: Figure) -> str:
    goal = "" if one.goal is None else f"{'>=' if one.more_is_better else '<='}{one.goal:.3g}"
    word = "" if one.goal is None else "ok" if one.reached else "missed"
    beside = _beside(one.measured, one.peer) + _beside(one.measured, one.floor)
    return f"{one.id:4}{one.what:57}{one.measured:10.3f} {one.unit:4}{goal:>8}  {word:7}{beside}  {one.note}".rstrip()


def _beside(measured: float, other: float | None) -> str:
    """The other, and how many times the one is in the other, or the other in the one."""
    if other is None:
        return f"{'':17}"
    least, most = sorted((measured, other))
    return f"{other:10.3f}" + (f"{most / least:7.1f}" if least > 0 else f"{'':7}")
