"""Opens what a command needs: chains, what is remembered of their markets, names resolved, subjects to ask about.

A chain's id is taken from the node only where nothing else tells it; then the block that told it is kept, so that it
need not be asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from monitor.chain.chains import chain_info
from monitor.chain.heads import STALE_AT_LEAST_S, STALE_BLOCKS, Heads
from monitor.chain.port import BlockAt
from monitor.chain.rpc_chain import RpcChain
from monitor.chain.websocket import WebSocketHints
from monitor.cli.targets import ChainTarget, Targets, Wanted, resolve
from monitor.core.types import BlockRef, MarketRef
from monitor.pipeline.beside import Sources, sources_of
from monitor.pipeline.memory import DiskMemory, Memory, ShortMemory
from monitor.pipeline.names import fetch_ens_names
from monitor.pipeline.snapshot import Depth, Snapshot, snapshot
from monitor.report import Report, Subject


@dataclass(frozen=True, slots=True)
class Open:
    """One chain ready to be asked. `first` is the block that `at` was, if it had to be read already."""

    target: ChainTarget
    chain: RpcChain
    chain_id: int
    subjects: tuple[Subject, ...]
    first: BlockRef | None = None
    beside: Mapping[MarketRef, Sources] = field(default_factory=dict)
    """What the file wants read besides."""

    def markets(self) -> dict[MarketRef, str]:
        """All its markets, with or without positions, and what they are called."""
        return {market.ref(self.chain_id): market.name for market in self.target.markets}

    @property
    def name(self) -> str:
        """What to call the chain."""
        known = chain_info(self.chain_id).name
        return self.target.name if self.target.name and not self.target.name.isdecimal() else known

    @property
    def depth(self) -> Depth:
        """Everything, and the next block where its time is known."""
        own, known = self.target.block_time_s, chain_info(self.chain_id).block_time_s
        time_s = known if own is None else float(own)
        return Depth(
            next_block_s=0 if time_s is None else max(1, int(time_s)),
            max_age_s=None if own is None else max(STALE_BLOCKS * float(own), STALE_AT_LEAST_S),
            beside=self.beside,
        )

    def heads(self, poll_s: float | None = None) -> Heads:
        """Its new blocks, hinted at over WebSocket where one is configured. May raise: ConfigError."""
        hints = WebSocketHints(self.target.ws[0]) if self.target.ws else None
        return Heads(self.chain, hints=hints, poll_s=poll_s, limit_s=self.depth.max_age_s)


@dataclass(frozen=True, slots=True)
class Session:
    """All chains of a command line, and the memory that they share."""

    targets: Targets
    chains: tuple[Open, ...]
    memory: Memory

    @property
    def subjects(self) -> list[Subject]:
        """Everything that is asked about."""
        return [subject for chain in self.chains for subject in chain.subjects]

    async def snapshots(self, at: BlockAt = "latest", *, find: bool = False) -> list[tuple[Open, Snapshot]]:
        """One snapshot per chain, side by side; with `find` of all positions that the owners have in each market."""
        taken = await asyncio.gather(
            *(
                snapshot(one.chain, one.subjects, self.memory, at, replace(one.depth, find=find), first=one.first)
                for one in self.chains
            )
        )
        return list(zip(self.chains, taken, strict=True))


@asynccontextmanager
async def opened(wanted: Wanted, at: BlockAt = "latest") -> AsyncIterator[Session]:
    """May raise: ConfigError; ChainError where a chain's id or an ENS name cannot be had."""
    targets = resolve(wanted)
    async with AsyncExitStack() as stack:
        names = await _names(targets, stack)
        found = [await _open(target, names, at, stack) for target in targets.chains]
        chains = [replace(chain, beside=sources_of(chain.markets(), targets.config)) for chain in found]
        yield Session(targets, tuple(chains), ShortMemory(DiskMemory()))


def connect(target: ChainTarget) -> RpcChain:
    """The chain's endpoints as a chain. May raise: ConfigError."""
    urls = [url.reveal() for url in target.urls]
    return RpcChain(urls, chain_id=target.chain_id, quorum=max(target.quorum, 1))


async def _names(targets: Targets, stack: AsyncExitStack) -> dict[str, str]:
    wanted = [
        owner.who for chain in targets.chains for market in chain.markets for owner in market.owners if owner.unresolved
    ]
    if not wanted or targets.ens is None:
        return {}
    chain = await stack.enter_async_context(connect(targets.ens))
    return await fetch_ens_names(chain, list(dict.fromkeys(wanted)))


async def _open(target: ChainTarget, names: Mapping[str, str], at: BlockAt, stack: AsyncExitStack) -> Open:
    chain = await stack.enter_async_context(connect(target))
    first = None
    if target.chain_id is None:
        first = await chain.block(at)
    chain_id = chain.chain_id
    return Open(target, chain, chain_id, tuple(subjects_of(target, chain_id, names)), first)


def subjects_of(target: ChainTarget, chain_id: int, names: Mapping[str, str]) -> Sequence[Subject]:
    """The positions asked about on that chain; `names` has the addresses of ENS names."""
    found: dict[str, Subject] = {}
    for market in target.markets:
        for owner in market.owners:
            name = owner.who if owner.unresolved else owner.name
            subject = Subject(
                market.ref(chain_id), market.name, names.get(owner.who, owner.who), name, owner.thresholds
            )
            known = found.get(subject.id)
            # the same owner by address and by name is one line, under the name
            found[subject.id] = subject if known is None else replace(known, name=known.name or subject.name)
    return list(found.values())


def all_reports(snapshots: Sequence[tuple[Open, Snapshot]]) -> list[Report]:
    """The reports of all chains."""
    return [report for _, taken in snapshots for report in taken.reports]
