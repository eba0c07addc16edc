"""Many markets and owners of one chain at one block hash, in as few rounds as the slowest market needs.

A snapshot never mixes blocks: when the pinned block leaves the chain or its state, everything is read again at a new
one, once. A chain that fails makes every report unknown with the reason; no position asked for is ever missing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from monitor import report
from monitor.chain.heads import require_fresh
from monitor.chain.port import BlockAt, Chain, run
from monitor.core.errors import LevmonError, Reorged, StateMissing
from monitor.core.plan import gather
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import BlockRef, MarketRef, Position, Price, Unreadable
from monitor.health import engine
from monitor.health.solve import liquidation_prices, price_decimals
from monitor.pipeline import market
from monitor.pipeline.beside import NO_SOURCES, Outage, Sources, doubts, outage, strangers_told
from monitor.pipeline.finding import Search, find
from monitor.pipeline.market import MarketState
from monitor.pipeline.memory import Memory
from monitor.protocols.base import Protocol
from monitor.report import Report, Subject


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One report per subject, or position found, all at `block` (None when none could be had); the markets' states."""

    block: BlockRef | None
    reports: tuple[Report, ...]
    markets: dict[MarketRef, MarketState]
    errors: tuple[str, ...] = ()
    outage: Outage | None = None
    """What a rollup's sequencer is doing, where that was asked."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How much to work out beside health and level. `next_block_s` 0: nothing is said of the next block.

    `max_age_s`: how old the newest block may be; None is what is usual for its chain. `beside`: what to read besides.
    `find`: take every subject's owner for a person, and report all of the person's positions in the market.
    """

    liquidation_prices: bool = True
    next_block_s: int = 0
    max_age_s: float | None = None
    beside: Mapping[MarketRef, Sources] = field(default_factory=dict)
    find: bool = False


FULL = Depth()

Read = Callable[[Chain, Mapping[MarketRef, Sequence[str]], Memory, BlockRef], Awaitable[dict[MarketRef, MarketState]]]
"""Reads each market's state for its owners at a block. May raise: ChainError."""


async def snapshot(
    chain: Chain,
    subjects: Sequence[Subject],
    memory: Memory,
    at: BlockAt | BlockRef = "latest",
    depth: Depth = FULL,
    *,
    first: BlockRef | None = None,
    read: Read | None = None,
) -> Snapshot:
    """Read and judge all subjects at one block. Never raises a ChainError: it becomes the reports' reason.

    `first`: the block that `at` was found to be a moment ago, so that it need not be asked again. `read`: in place of
    `read_markets`, by who needs more of the same block.
    """
    block = at if isinstance(at, BlockRef) else first
    # a hash names one block for good: when that one is gone there is no other that was asked for
    fixed = isinstance(at, BlockRef) or (isinstance(at, str) and at.startswith("0x"))
    for last in (fixed, True):
        try:
            if block is None and not isinstance(at, BlockRef):
                block = await chain.block(at)
            if block is None:
                raise AssertionError("no block to read at")
            if at == "latest":
                require_fresh(block, limit_s=depth.max_age_s)
            search = await find(chain, subjects, memory, block) if depth.find else Search(tuple(subjects))
            owners = owners_by_market(search.subjects)
            if read is None:
                states = await read_markets(chain, owners, memory, block, depth.beside)
            else:
                states = await read(chain, owners, memory, block)
        except (Reorged, StateMissing) as moved:
            if last:
                return failed(subjects, moved, block)
            block = None
        except LevmonError as broken:
            return failed(subjects, broken, block)
        else:
            taken = judge(search.subjects, states, block, depth)
            lost = (report.of_unreadable(subject, found) for subject, found in search.lost)
            return replace(taken, reports=(*taken.reports, *lost))
    raise AssertionError("unreachable: the second attempt is the last")


def owners_by_market(subjects: Sequence[Subject]) -> dict[MarketRef, list[str]]:
    """Whose positions are asked for in each market, each owner once."""
    owners: dict[MarketRef, dict[str, None]] = {}
    for subject in subjects:
        owners.setdefault(subject.ref, {})[subject.owner] = None
    return {ref: list(asked) for ref, asked in owners.items()}


async def read_markets(
    chain: Chain,
    owners: Mapping[MarketRef, Sequence[str]],
    memory: Memory,
    block: BlockRef,
    beside: Mapping[MarketRef, Sources] = NO_SOURCES,
) -> dict[MarketRef, MarketState]:
    """Each market's state for these owners (or for none), all in the same rounds. May raise: ChainError."""
    protocols = {ref: protocol_named(ref.protocol) for ref in owners}
    plans = []
    for ref, asked in owners.items():
        known = memory.recall(ref, protocols[ref])
        asking = market.read(protocols[ref], ref, tuple(asked), block, known)
        plans.append(market.with_beside(protocols[ref], known, asking, beside.get(ref, Sources())))
    results = await run(chain, gather(plans), block)
    states: dict[MarketRef, MarketState] = {}
    for ref, state in zip(owners, results, strict=True):
        if isinstance(state, LevmonError):
            raise state
        states[ref] = state
        if state.known is not None:
            memory.remember(ref, protocols[ref], state.known)
    return states


def failed(subjects: Sequence[Subject], why: LevmonError, block: BlockRef | None) -> Snapshot:
    """What a chain that could not be read makes of its positions."""
    reason = str(why)
    return Snapshot(block, tuple(report.unknown(subject, reason, block) for subject in subjects), {}, (reason,))


def judge(
    subjects: Sequence[Subject], states: dict[MarketRef, MarketState], block: BlockRef, depth: Depth = FULL
) -> Snapshot:
    """Reports from what was read. Pure."""
    found: dict[tuple[MarketRef, str], Position | Unreadable] = {}
    prices: dict[MarketRef, list[Price]] = {}
    for ref, state in states.items():
        found |= {(ref, position.owner): position for position in state.found}
        prices[ref] = prices_of(ref, state, block)
    reports = []
    for subject in subjects:
        state = states[subject.ref]
        position = found.get((subject.ref, subject.owner))
        if state.trouble or position is None:
            reports.append(report.unknown(subject, state.trouble or "the protocol gave no answer for it", block))
        elif isinstance(position, Unreadable):
            reports.append(report.of_unreadable(subject, position))
        else:
            reports.append(assess(subject, position, state, prices[subject.ref], depth))
    notes = tuple(note for state in states.values() for note in state.notes)
    names = {subject.ref: subject.market for subject in subjects}
    found_beside = [(names.get(ref, str(ref)), state.beside) for ref, state in states.items()]
    return Snapshot(block, tuple(reports), states, notes, outage(found_beside, block.timestamp))


def assess(subject: Subject, position: Position, state: MarketState, prices: Sequence[Price], depth: Depth) -> Report:
    """One position's report. A protocol that refuses its own state makes it unknown."""
    protocol: Protocol[Any, Any] = protocol_named(subject.ref.protocol)
    try:
        health = engine.assess(protocol, position, state.context, depth.next_block_s)
        symbols = protocol.symbols(state.known.facts) if state.known else {}
        solved = liquidation_prices(protocol, position, symbols) if depth.liquidation_prices else ()
    except LevmonError as refused:
        return report.unknown(subject, refused.message, position.block)
    made = report.of_health(
        subject,
        position,
        health,
        prices=tuple(price for price in prices if price.asset in position.prices),
        symbols=symbols,
        liquidation_prices=solved,
    )
    told = strangers_told(state.beside, symbols)
    now_s = position.block.timestamp
    warned = doubts(state.beside, position.prices, symbols, partial(price_decimals, health), now_s)
    stopped = outage([(subject.market, state.beside)], now_s)
    stopped_told = (stopped.text,) if stopped is not None and stopped.text else ()
    return replace(made, errors=(*made.errors, *state.notes, *told, *warned.values(), *stopped_told))


def prices_of(ref: MarketRef, state: MarketState, block: BlockRef) -> list[Price]:
    """The prices that the market's positions rest on."""
    protocol: Protocol[Any, Any] = protocol_named(ref.protocol)
    positions = [position for position in state.found if isinstance(position, Position)]
    if state.known is None or not positions:
        return []
    return protocol.prices(state.known.facts, positions, state.context, block)
