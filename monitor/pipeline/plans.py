"""What could be done for positions: they and the guardian's purse read at one block, in the same rounds, and planned.

The purse's questions are asked ahead, beside the state's, where the market is known; what depends on the positions is
asked once they are there. Nothing is asked twice. Nothing here decides when to act, or acts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import Any

from monitor.chain.chains import chain_info
from monitor.chain.clock import SYSTEM, Clock
from monitor.chain.port import BlockAt, Chain, run
from monitor.core.actions import Plan, Step
from monitor.core.errors import LevmonError
from monitor.core.guarding import GuardSetup
from monitor.core.plan import gather, once
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import Address, BlockRef, MarketRef, Position, ReadPlan
from monitor.execution.l1_fee import L1Fee, read_l1_fee, size_of
from monitor.execution.limits import AssetLimits
from monitor.health.solve import price_decimals
from monitor.pipeline import market
from monitor.pipeline.beside import Sources, doubts
from monitor.pipeline.guardians import Guardian, Protection, line_prices
from monitor.pipeline.market import MarketState, held
from monitor.pipeline.memory import Memory
from monitor.pipeline.snapshot import FULL, Depth, Snapshot, snapshot
from monitor.policy.planner import Proposal, Sort, Terms, propose, propose_close
from monitor.protocols.base import Protocol
from monitor.report import Report, Subject

LONGEST_S = 7 * 24 * 3600
"""A plan pays interest until its end: of years it would be a multiple of the debt. Where the next block comes later,

health may fall short by the interest of the rest, and the next decision raises it.
"""
NO_GUARDS: Mapping[MarketRef, GuardSetup] = {}


@dataclass(frozen=True, slots=True)
class Outlook:
    """A snapshot, and by market what rescues need to know besides, or why that could not be read."""

    snapshot: Snapshot
    purses: Mapping[MarketRef, Any | LevmonError] = field(default_factory=dict)
    l1_fee: L1Fee | None = None
    """What a rollup charges beside gas; None where that could not be read."""


async def outlook(
    chain: Chain,
    subjects: Sequence[Subject],
    guardian: Address,
    memory: Memory,
    at: BlockAt | BlockRef = "latest",
    depth: Depth = FULL,
    *,
    first: BlockRef | None = None,
    guards: Mapping[MarketRef, GuardSetup] = NO_GUARDS,
) -> Outlook:
    """Read and judge as `snapshot` does, and the purse with it. Never raises a ChainError."""
    purses: dict[MarketRef, Any | LevmonError] = {}
    fees: dict[str, L1Fee | None] = {}

    async def read(
        chain: Chain, owners: Mapping[MarketRef, Sequence[str]], memory: Memory, block: BlockRef
    ) -> dict[MarketRef, MarketState]:
        protocols = {ref: protocol_named(ref.protocol) for ref in owners}
        plans = [
            _read(
                protocols[ref],
                ref,
                tuple(asked),
                block,
                memory.recall(ref, protocols[ref]),
                guardian,
                guards.get(ref),
                depth.beside.get(ref, Sources()),
            )
            for ref, asked in owners.items()
        ]
        states: dict[MarketRef, MarketState] = {}
        *answers, fee = await run(chain, gather([*plans, _l1_fee(block, protocols.values())]), block)
        fees[block.hash] = fee if isinstance(fee, L1Fee) else None
        for ref, found in zip(owners, answers, strict=True):
            if isinstance(found, LevmonError):
                raise found
            states[ref], purses[ref] = found
            if states[ref].known is not None:
                memory.remember(ref, protocols[ref], states[ref].known)  # type: ignore[arg-type]  # it is not None
        return states

    taken = await snapshot(chain, subjects, memory, at, depth, first=first, read=read)
    return Outlook(taken, purses, fees.get(taken.block.hash) if taken.block else None)


def _l1_fee(block: BlockRef, protocols: Iterable[Protocol[Any, Any]]) -> ReadPlan[Any]:
    """For the longest call that any of these protocols can make."""
    words = max((len(template.args) for protocol in protocols for template in protocol.templates), default=0)
    return read_l1_fee(chain_info(block.chain_id).data_fee, size_of(words))


def _read(
    protocol: Protocol[Any, Any],
    ref: MarketRef,
    owners: Sequence[Address],
    block: BlockRef,
    known: market.Remembered | None,
    guardian: Address,
    guard: GuardSetup | None,
    sources: Sources,
) -> ReadPlan[tuple[MarketState, Any]]:
    plans: list[ReadPlan[Any]] = [_state_and_purse(protocol, ref, owners, block, known, guardian, guard, sources)]
    if known is not None:
        plans.append(held(protocol.rescue_context(known.facts, guardian, (), block, guard)))
    found, *_ = yield from once(gather(plans))
    if isinstance(found, LevmonError):
        raise found
    return found  # type: ignore[no-any-return]  # the first plan's


def _state_and_purse(
    protocol: Protocol[Any, Any],
    ref: MarketRef,
    owners: Sequence[Address],
    block: BlockRef,
    known: market.Remembered | None,
    guardian: Address,
    guard: GuardSetup | None,
    sources: Sources,
) -> ReadPlan[tuple[MarketState, Any]]:
    read = market.read(protocol, ref, owners, block, known)
    state = yield from market.with_beside(protocol, known, read, sources)
    if state.known is None or state.trouble:
        return state, None
    positions = [position for position in state.found if isinstance(position, Position)]
    asked = protocol.rescue_context(state.known.facts, guardian, positions, block, guard)
    return state, (yield from held(asked))


# -- planning ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Options:
    """All that could be done for one position, before a target: its steps, the limits of their assets."""

    report: Report
    steps: tuple[Step, ...]
    limits: Mapping[Address, AssetLimits]
    why_none: str = ""


def window_s(block: BlockRef, deadline_s: int, clock: Clock = SYSTEM) -> int:
    """For how many seconds after the block a plan is to hold: where blocks come on demand, the next may be far off.

    A chain that has stood still for longer than LONGEST_S is planned for as if for that long.
    """
    return min(max(int(clock.time()) - block.timestamp, 0), LONGEST_S) + deadline_s


def options(seen: Outlook, report: Report, guardian: Guardian, margin_s: int) -> Options:
    """The steps that the position has, with their limits."""
    ref = report.subject.ref
    state, purse = seen.snapshot.markets.get(ref), seen.purses.get(ref)
    if report.position is None or report.health is None or state is None or state.known is None:
        return Options(report, (), {}, f"its health is unknown: {report.cause}")
    if isinstance(purse, LevmonError):
        return Options(report, (), {}, f"the purse could not be read: {purse.message}")
    protocol: Protocol[Any, Any] = protocol_named(ref.protocol)
    until_s = report.position.block.timestamp + margin_s
    found = tuple(protocol.rescue_steps(state.known.facts, report.position, purse, until_s))
    why = "" if found else _without_steps(protocol)
    return Options(report, found, guardian.limits(found, report.health.unit), why)


def _without_steps(protocol: Protocol[Any, Any]) -> str:
    """Why there is nothing to try, and what people can do themselves."""
    if any(not template.opt_in for template in protocol.templates):
        return f"there is no debt and no collateral that a rescue on {protocol.title} could start from"
    return f"levmon sends no rescue on {protocol.title}. By its contracts {protocol.helpers}"


def plan_for(
    seen: Outlook,
    report: Report,
    guardian: Guardian,
    protection: Protection,
    target: Fraction | None,
    *,
    left: Mapping[Address, int] | None = None,
    rejected: frozenset[Sort] = frozenset(),
    clock: Clock = SYSTEM,
) -> Proposal:
    """What brings the position to the target within the limits, or with None closes it.

    `left`: what the day's limits still allow, by asset. `rejected`: what is not to be tried again for now.
    """
    block = report.block
    margin_s = window_s(block, guardian.config.deadline_s, clock) if block else 0
    choice = options(seen, report, guardian, margin_s)
    state = seen.snapshot.markets.get(report.subject.ref)
    if choice.why_none or report.position is None or state is None or state.known is None:
        return Proposal(note=choice.why_none)
    if not choice.limits and report.health and (why := guardian.without_limits(report.health.unit)):
        return Proposal(note=why)
    wanted = {name.lower() for name in protection.assets}
    assets = tuple(step.asset for step in choice.steps if {step.asset.lower(), step.symbol.lower()} & wanted)
    if wanted and not assets:
        return Proposal(note=f"none of {', '.join(protection.assets)} is an asset of this market")
    most = {step.asset: 0 for step in choice.steps}
    most |= {asset: limits.per_action for asset, limits in choice.limits.items()}
    for asset, rest in (left or {}).items():
        most[asset] = min(most.get(asset, 0), rest)
    fee = seen.l1_fee or L1Fee()
    terms = Terms(
        max_fee_per_gas_wei=guardian.max_fee_wei,
        l1_data_fee_wei=fee.wei,
        l1_gas=fee.gas,
        native_price=native_price(choice.steps, report.position.block.chain_id, guardian.config.native)[1],
        margin_s=margin_s,
        kinds=protection.kinds(report.subject.ref.protocol),
        most=most,
        assets=assets,
        doubts=doubts_about(seen.snapshot, report),
        rejected=rejected,
    )
    protocol: Protocol[Any, Any] = protocol_named(report.subject.ref.protocol)
    purse = seen.purses.get(report.subject.ref)
    facts, position = state.known.facts, report.position
    if target is None:
        found = propose_close(protocol, facts, position, purse, terms, state.context)
    else:
        found = propose(protocol, facts, position, purse, target, terms, state.context)
    if seen.l1_fee is None and not found.note:
        return replace(found, note="what this rollup charges for its L1 could not be read: costs are without it")
    return found


def marks(seen: Snapshot, report: Report) -> dict[str, int]:
    """What price lines are compared with: the position's prices by asset and by symbol."""
    state = seen.markets.get(report.subject.ref)
    if report.position is None or report.health is None or state is None or state.known is None:
        return {}
    symbols = protocol_named(report.subject.ref.protocol).symbols(state.known.facts)
    return line_prices(report.position.prices, symbols, report.health)


def doubts_about(seen: Snapshot, report: Report) -> dict[Address, str]:
    """Assets of the position at whose price nothing is to be traded, each with the reason."""
    state = seen.markets.get(report.subject.ref)
    if report.position is None or report.health is None or state is None:
        return {}
    prices, at_s = report.position.prices, report.position.block.timestamp
    return doubts(state.beside, prices, report.symbols, partial(price_decimals, report.health), at_s)


def native_price(steps: Sequence[Step], chain_id: int, wanted: str = "") -> tuple[str, int | None]:
    """The wrapped coin's symbol and its price in the market's unit; None where the market does not list it."""
    symbol = wanted or f"W{chain_info(chain_id).symbol}"
    for step in steps:
        if symbol.lower() in (step.symbol.lower(), step.asset.lower()) and step.price > 0:
            return step.symbol, step.price
    return symbol, None


def best(proposal: Proposal) -> Plan | None:
    """What to do first: the cheapest plan that suffices, else the first rung, else what helps most."""
    for plans in (proposal.plans, proposal.ladder, proposal.partial):
        if plans:
            return plans[0]
    return None


def without_partial(proposal: Proposal) -> Proposal:
    """The same without what does not reach the target."""
    return replace(proposal, partial=())


def why_not(proposal: Proposal, kinds: Sequence[str]) -> str:
    """Why nothing is possible, with the reason of each step of these kinds."""
    reasons = "; ".join(str(refusal) for refusal in proposal.refused if refusal.key.split(" ")[0] in kinds)
    return "; ".join(part for part in (proposal.note, reasons) if part) or "nothing is possible"
