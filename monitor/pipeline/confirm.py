"""Which rules a market follows, shown by equality with the contract's own getter on its borrowers.

A version number read from a contract is a claim; forks use their own, and roundings changed without a trace in the ABI.
So each candidate's results are compared with the getter for a sample of borrowers of mixed shape, once per market; the
first that is exact for all is remembered. Pure: a read plan and comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.core.errors import LevmonError
from monitor.core.types import Address, Health, Known, NoDebt, Position, Side, Unknown, Unreadable
from monitor.protocols.base import Protocol, Truth

ENOUGH = 20
"""Borrowers with debt whose numbers must all be equal."""
SHAPES = 3
"""Different sets of collateral and debt assets that must be among them."""
SAMPLE_LIMIT = 60


@dataclass(frozen=True, slots=True)
class Confirmation:
    """That a rule version is exact: for how many borrowers, of how many shapes, at which block."""

    version: str
    borrowers: int
    shapes: int
    block: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How one candidate did: exact borrowers with debt by shape, and the first difference in words."""

    version: str
    borrowers: int
    shapes: int
    difference: str

    @property
    def confirmed(self) -> bool:
        """Exact for all, and all are enough."""
        return not self.difference and self.borrowers >= ENOUGH and self.shapes >= SHAPES


def tally(
    protocol: Protocol[Any, Any],
    found: Sequence[Position | Unreadable],
    truths: Sequence[Truth],
    owners: Sequence[Address],
) -> Tally:
    """Compare a candidate's positions with the getter's answers for the same owners, in the same order."""
    version, borrowers = "", 0
    shapes: set[tuple[frozenset[Address], frozenset[Address]]] = set()
    for owner, position, truth in zip(owners, found, truths, strict=True):
        if isinstance(position, Unreadable):
            continue
        version = position.rule.version
        health = evaluate(protocol, position)
        if isinstance(health, str):
            return Tally(version, borrowers, len(shapes), f"{owner}: {health}")
        wrong = difference(health, truth)
        if wrong:
            return Tally(version, borrowers, len(shapes), f"{owner}: {wrong}")
        if isinstance(health.verdict, Known):
            borrowers += 1
            shapes.add(shape(health))
    return Tally(version, borrowers, len(shapes), "")


def evaluate(protocol: Protocol[Any, Any], position: Position) -> Health | str:
    """Health from state alone, or why a candidate's rules cannot even be applied."""
    try:
        return protocol.evaluate(position)
    except LevmonError as failed:
        return failed.message


def difference(health: Health, truth: Truth) -> str:
    """The first field in which ours differs from the contract's, or nothing.

    Where the getter reverts, ours must be Unknown, or have no debt and nothing to tell.
    """
    if truth.error:
        nothing = isinstance(health.verdict, NoDebt) and not health.reported
        if nothing or isinstance(health.verdict, Unknown):
            return ""
        return f"the contract's getter fails ({truth.error}), ours does not"
    if isinstance(health.verdict, Unknown):
        return f"unknown here ({health.verdict.reason}), while the contract's getter answers"
    return fields_differ(health.reported, truth.reported)


def fields_differ(ours: Mapping[str, int], theirs: Mapping[str, int]) -> str:
    """The fields whose integers differ, or that only one side has; nothing when all are equal."""
    wrong = [
        f"{name}: contract {theirs.get(name, 'nothing')}, recomputed {ours.get(name, 'nothing')}"
        for name in [*theirs, *(name for name in ours if name not in theirs)]
        if ours.get(name) != theirs.get(name)
    ]
    return "; ".join(wrong)


def shape(health: Health) -> tuple[frozenset[Address], frozenset[Address]]:
    """Which assets are collateral and which are debt."""
    collateral = (leg.asset for leg in health.legs if leg.side is Side.COLLATERAL and leg.enabled and leg.amount)
    debt = (leg.asset for leg in health.legs if leg.side is Side.DEBT and leg.amount)
    return frozenset(collateral), frozenset(debt)


def choose(tallies: Sequence[Tally | LevmonError]) -> Tally | str:
    """The first confirmed candidate's, or in words why there is none and what to do."""
    for one in tallies:
        if isinstance(one, Tally) and one.confirmed:
            return one
    exact = [one for one in tallies if isinstance(one, Tally) and not one.difference]
    if exact:
        best = max(exact, key=lambda one: one.borrowers)
        return (
            f"rules not confirmed: {best.version or 'a candidate'} is exact for the {best.borrowers} borrowers found "
            f"({best.shapes} shapes), but {ENOUGH} of {SHAPES} shapes are needed; name more borrowers of this market, "
            "or use an endpoint that serves more logs"
        )
    told = "; ".join(
        f"{one.version}: {one.difference}" if isinstance(one, Tally) else str(one.message) for one in tallies[:2]
    )
    return (
        f"rules not confirmed: no known version reproduces the contract's own numbers ({told}); levmon may be too old"
    )
