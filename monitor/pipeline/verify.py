"""Recomputed numbers beside the contract's own getter, owner by owner, at one block. The only place after confirmation
that asks the getter.

Nothing is trusted here: on a market whose rules are not confirmed the most likely candidate is compared all the same,
so that the difference can be seen. What could not be read on either side is neither exact nor different.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.chain.port import Chain, run
from monitor.core.errors import CallFailed, LevmonError
from monitor.core.plan import gather, once
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import Address, BlockRef, MarketRef, Position, ReadPlan, Unreadable
from monitor.pipeline.confirm import Tally, choose, difference, evaluate, tally
from monitor.pipeline.market import held
from monitor.pipeline.memory import Memory
from monitor.protocols.base import SAMPLE_BLOCKS, Protocol, Truth


@dataclass(frozen=True, slots=True)
class Comparison:
    """One owner at one block. `difference` and `error` are empty when every integer is equal."""

    ref: MarketRef
    owner: Address
    block: BlockRef
    version: str
    recomputed: Mapping[str, int]
    contract: Mapping[str, int]
    difference: str = ""
    error: str = ""

    @property
    def exact(self) -> bool:
        """Both sides answered, and alike."""
        return not self.difference and not self.error


@dataclass(frozen=True, slots=True)
class Verification:
    """One market at one block. `trouble` is why nothing could be compared."""

    ref: MarketRef
    block: BlockRef
    comparisons: tuple[Comparison, ...] = ()
    trouble: str = ""


async def verify(
    chain: Chain,
    asked: Mapping[MarketRef, Sequence[Address]],
    memory: Memory,
    block: BlockRef,
    sample: int,
) -> list[Verification]:
    """Compare the owners asked for, and up to `sample` recent borrowers of each market. May raise: ChainError."""
    plans = [
        _guarded(ref, block, _plan(protocol_named(ref.protocol), ref, owners, block, memory, sample))
        for ref, owners in asked.items()
    ]
    found = await run(chain, gather(plans), block)
    done: list[Verification] = []
    for one in found:
        if isinstance(one, CallFailed):
            raise one
        done.append(one)
    return done


def _guarded(ref: MarketRef, block: BlockRef, plan: ReadPlan[Verification]) -> ReadPlan[Verification]:
    try:
        return (yield from once(plan))
    except LevmonError as failed:
        return Verification(ref, block, trouble=failed.message)


def _plan(
    protocol: Protocol[Any, Any],
    ref: MarketRef,
    owners: Sequence[Address],
    block: BlockRef,
    memory: Memory,
    sample: int,
) -> ReadPlan[Verification]:
    known = memory.recall(ref, protocol)
    if known is not None:
        [holds] = yield from gather([held(protocol.recheck(known.facts, block))])
        known = known if holds is True else None
    facts = known.facts if known else (yield from protocol.static(ref, block))
    candidates = (facts,) if known else (protocol.candidates(facts) or (facts,))
    everyone = list(dict.fromkeys(owners))
    if sample:
        [seen] = yield from gather([held(protocol.sample(facts, block, SAMPLE_BLOCKS))])
        if not isinstance(seen, LevmonError):
            everyone += [owner for owner in seen if owner not in set(everyone)][:sample]
    plans: list[ReadPlan[Any]] = [
        held(protocol.truth(facts, everyone, block)),
        *(held(protocol.state(candidate, everyone, block)) for candidate in candidates),
    ]
    truths, *states = yield from gather(plans)
    if isinstance(truths, LevmonError):
        return Verification(ref, block, trouble=truths.message)
    readable = [state for state in states if not isinstance(state, LevmonError)]
    if not readable:
        return Verification(ref, block, trouble="; ".join(state.message for state in states))
    chosen = _best(protocol, readable, truths, everyone)
    pairs = zip(everyone, chosen, truths, strict=True)
    return Verification(ref, block, tuple(compare(protocol, ref, block, *pair) for pair in pairs))


def _best(
    protocol: Protocol[Any, Any],
    states: Sequence[Sequence[Position | Unreadable]],
    truths: Sequence[Truth],
    owners: Sequence[Address],
) -> Sequence[Position | Unreadable]:
    """The confirmed candidate's positions, else those exact for the most, else the most likely candidate's."""
    tallies: list[Tally | LevmonError] = [tally(protocol, state, truths, owners) for state in states]
    won = choose(tallies)
    if isinstance(won, Tally):
        return states[tallies.index(won)]
    return next(
        (state for state, one in zip(states, tallies, strict=True) if isinstance(one, Tally) and not one.difference),
        states[0],
    )


def compare(
    protocol: Protocol[Any, Any],
    ref: MarketRef,
    block: BlockRef,
    owner: Address,
    position: Position | Unreadable,
    truth: Truth,
) -> Comparison:
    """One owner's recomputed numbers beside the getter's. Pure."""
    if isinstance(position, Unreadable):
        return Comparison(ref, owner, block, "", {}, truth.reported, error=position.reason)
    health = evaluate(protocol, position)
    version = position.rule.version
    if isinstance(health, str):
        return Comparison(ref, owner, block, version, {}, truth.reported, error=health)
    wrong = difference(health, truth)
    return Comparison(ref, owner, block, version, health.reported, truth.reported, difference=wrong)
