"""One market at one block, as a read plan: the queries of all markets of a chain travel in the same rounds.

Warm: cached facts are re-checked in the same round as the state that relies on them, and thrown away if they no longer
hold. Cold: facts are read and the rules confirmed (confirm.py) before any position may be known. Sans I/O; whatever
fails in one market stays in that market.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from monitor.core.errors import CallFailed, LevmonError
from monitor.core.plan import done, gather, once
from monitor.core.types import Address, BlockRef, MarketRef, Position, ReadPlan, Unreadable
from monitor.pipeline.beside import NOTHING, Beside, Sources, read_beside
from monitor.pipeline.confirm import SAMPLE_LIMIT, Confirmation, Tally, choose, tally
from monitor.protocols.base import SAMPLE_BLOCKS, Protocol


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is remembered of a market: its facts, and how its rules were confirmed (None: nothing to confirm)."""

    facts: Any
    confirmation: Confirmation | None


@dataclass(frozen=True, slots=True)
class MarketState:
    """A market at a block. `known` is what to remember; `trouble` says why no position of it can be known."""

    known: Remembered | None
    found: tuple[Position | Unreadable, ...] = ()
    context: Any = None
    trouble: str = ""
    notes: tuple[str, ...] = ()
    beside: Beside = NOTHING
    """What was read besides, where the file names something."""


def with_beside(
    protocol: Protocol[Any, Any], known: Remembered | None, state: ReadPlan[MarketState], sources: Sources
) -> ReadPlan[MarketState]:
    """The market's state and what is read beside it, in the same rounds. May raise: ChainError."""
    grace_s = done(None) if known is None else protocol.grace_after_outage(known.facts)
    plans: list[ReadPlan[Any]] = [held(state), read_beside(sources, grace_s)]
    found: list[Any] = yield from gather(plans)
    if isinstance(found[0], LevmonError):
        raise found[0]
    return replace(found[0], beside=found[1])  # type: ignore[no-any-return]  # the first plan's


def read(
    protocol: Protocol[Any, Any], ref: MarketRef, owners: Sequence[Address], block: BlockRef, known: Remembered | None
) -> ReadPlan[MarketState]:
    """The market's state for these owners. Failures of the market end as `trouble`. May raise: ChainError."""
    try:
        if known is not None:
            warm = yield from _warm(protocol, known, owners, block)
            if warm is not None:
                return warm
        return (yield from once(_cold(protocol, ref, owners, block)))
    except CallFailed as failed:
        return MarketState(None, trouble=f"{ref.protocol} at {ref.address}: {failed.message}")
    except LevmonError as failed:
        return MarketState(None, trouble=str(failed))


def _warm(
    protocol: Protocol[Any, Any], known: Remembered, owners: Sequence[Address], block: BlockRef
) -> ReadPlan[MarketState | None]:
    """None when the facts no longer hold. A re-check that fails is as good as one that says no."""
    plans: list[ReadPlan[Any]] = [
        held(protocol.recheck(known.facts, block)),
        held(protocol.state(known.facts, owners, block)),
        held(protocol.context(known.facts, block)),
    ]
    holds, found, context = yield from gather(plans)
    if holds is not True:
        return None
    return _state(known, found, context)


def _cold(
    protocol: Protocol[Any, Any], ref: MarketRef, owners: Sequence[Address], block: BlockRef
) -> ReadPlan[MarketState]:
    facts = yield from protocol.static(ref, block)
    candidates = protocol.candidates(facts)
    if not candidates:
        found, context = yield from gather(
            [held(protocol.state(facts, owners, block)), held(protocol.context(facts, block))]
        )
        return _state(Remembered(facts, None), found, context)
    return (yield from _confirm(protocol, facts, candidates, owners, block))


def _confirm(
    protocol: Protocol[Any, Any], facts: Any, candidates: Sequence[Any], owners: Sequence[Address], block: BlockRef
) -> ReadPlan[MarketState]:
    [sample] = yield from gather([held(protocol.sample(facts, block, SAMPLE_BLOCKS))])
    notes: tuple[str, ...] = ()
    if isinstance(sample, LevmonError):
        notes, sample = (f"borrowers could not be sampled: {sample.message}",), []
    everyone = [*owners, *dict.fromkeys(owner for owner in sample[:SAMPLE_LIMIT] if owner not in set(owners))]
    plans: list[ReadPlan[Any]] = [
        held(protocol.truth(facts, everyone, block)),
        *(held(protocol.state(candidate, everyone, block)) for candidate in candidates),
        *(held(protocol.context(candidate, block)) for candidate in candidates),
    ]
    truths, *rest = yield from gather(plans)
    states, contexts = rest[: len(candidates)], rest[len(candidates) :]
    if isinstance(truths, LevmonError):
        return MarketState(None, trouble=f"rules not confirmed: {truths.message}", notes=notes)
    tallies: list[Tally | LevmonError] = [
        found if isinstance(found, LevmonError) else tally(protocol, found, truths, everyone) for found in states
    ]
    won = choose(tallies)
    if isinstance(won, str):
        return MarketState(None, trouble="; ".join([won, *notes]), notes=notes)
    index = tallies.index(won)
    known = Remembered(candidates[index], Confirmation(won.version, won.borrowers, won.shapes, block.number))
    found: Any = states[index]
    return replace(_state(known, found[: len(owners)], contexts[index]), notes=notes)


def held(plan: ReadPlan[Any]) -> ReadPlan[Any]:
    """A plan whose failure is its result, so that its siblings go on."""
    try:
        return (yield from plan)
    except LevmonError as failed:
        return failed


def _state(known: Remembered, found: Any, context: Any) -> MarketState:
    if isinstance(found, LevmonError):
        return MarketState(known, trouble=found.message)
    if isinstance(context, LevmonError):
        # gates stay unknown without it; health does not need it
        return MarketState(known, tuple(found), None, notes=(f"context could not be read: {context.message}",))
    return MarketState(known, tuple(found), context)
