"""The Python API: check, watch and verify positions from a script, async and sync.

A market is named as on the command line: a known deployment (`ethereum/aave-v3/core`) or PROTOCOL:ADDRESS[/ID]. `rpc`
is a URL, several, or any chain of the reader's port, such as monitor.testing.EthTesterChain. What cannot be known is a
Report of level unknown, not an exception; exceptions are for wrong arguments and for a chain that cannot even tell its
id.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any, TypeVar

from monitor.chain.heads import Heads, HeadSource
from monitor.chain.port import BlockAt, Chain
from monitor.chain.rpc_chain import RpcChain
from monitor.core.address import parse_address
from monitor.core.deployments import parse_market
from monitor.core.errors import ConfigError, WrongChain
from monitor.core.thresholds import DEFAULT, Thresholds
from monitor.core.types import BlockRef, MarketRef
from monitor.core.units import parse_decimal
from monitor.pipeline import verify as verification
from monitor.pipeline import watch as watching
from monitor.pipeline.memory import DiskMemory, Memory, ShortMemory
from monitor.pipeline.snapshot import snapshot
from monitor.report import Report, Subject

T = TypeVar("T")
Rpc = str | Sequence[str] | Chain
Comparison = verification.Comparison


def thresholds(watch: str | int = "2.0", warn: str | int = "1.5", critical: str | int = "1.1") -> Thresholds:
    """Thresholds from decimal text, so that they are exact. May raise: ConfigError when they are out of order."""
    made = Thresholds(*(Fraction(parse_decimal(value)) for value in (watch, warn, critical)))
    if made.wrong():
        raise ConfigError(made.wrong(), hint="1 <= critical <= warn <= watch")
    return made


async def acheck(
    market: str,
    owners: str | Iterable[str],
    *,
    rpc: Rpc,
    block: BlockAt = "latest",
    levels: Thresholds = DEFAULT,
    cache: bool = True,
) -> list[Report]:
    """One Report per owner, in order, all at one block. `cache` False: nothing is read from or written to the disk.

    May raise: ConfigError for arguments that make no sense, ChainError when the chain's id cannot be had.
    """
    async with _opened(rpc) as chain:
        ref, first = await _market(chain, market, block)
        taken = await snapshot(chain, _subjects(ref, market, owners, levels), _memory(cache=cache), block, first=first)
        return list(taken.reports)


def check(
    market: str,
    owners: str | Iterable[str],
    *,
    rpc: Rpc,
    block: BlockAt = "latest",
    levels: Thresholds = DEFAULT,
    cache: bool = True,
) -> list[Report]:
    """`acheck` for scripts without an event loop. May raise: as acheck; ConfigError inside a running event loop."""
    return _run(lambda: acheck(market, owners, rpc=rpc, block=block, levels=levels, cache=cache), "acheck")


async def averify(
    market: str,
    owners: str | Iterable[str] = (),
    *,
    rpc: Rpc,
    block: BlockAt = "latest",
    sample: int = 60,
    cache: bool = True,
) -> list[Comparison]:
    """Recomputed numbers beside the contract's own, for the owners and up to `sample` recent borrowers.

    `.exact` of each says whether every integer is equal. May raise: ConfigError, ChainError.
    """
    async with _opened(rpc) as chain:
        ref, first = await _market(chain, market, block)
        asked = {ref: _addresses(owners)}
        [done] = await verification.verify(chain, asked, _memory(cache=cache), first, sample)
        if done.trouble:
            raise ConfigError(done.trouble, hint="check the market's address, and that the chain is the right one")
        return list(done.comparisons)


def verify(
    market: str,
    owners: str | Iterable[str] = (),
    *,
    rpc: Rpc,
    block: BlockAt = "latest",
    sample: int = 60,
    cache: bool = True,
) -> list[Comparison]:
    """`averify` for scripts without an event loop. May raise: as averify; ConfigError inside a running event loop."""
    return _run(lambda: averify(market, owners, rpc=rpc, block=block, sample=sample, cache=cache), "averify")


async def watch(
    market: str,
    owners: str | Iterable[str],
    *,
    rpc: Rpc,
    levels: Thresholds = DEFAULT,
    cache: bool = True,
    poll_s: float | None = None,
) -> AsyncGenerator[list[Report], None]:
    """The reports at every new block, without end; close the iterator to stop. While no usable head can be had they
    are unknown. May raise: ConfigError, ChainError when the chain's id cannot be had.
    """
    async with _opened(rpc) as chain:
        ref, _ = await _market(chain, market, "latest")
        subjects = _subjects(ref, market, owners, levels)
        source: HeadSource = chain  # type: ignore[assignment]  # both adapters of the port tell headers too
        async for tick in watching.watch(chain, subjects, _memory(cache=cache), Heads(source, poll_s=poll_s)):
            yield list(tick.snapshot.reports)


@asynccontextmanager
async def _opened(rpc: Rpc) -> AsyncIterator[Chain]:
    """A chain of the caller's is left open; one made here is closed."""
    if not isinstance(rpc, str | Sequence):
        yield rpc
        return
    async with RpcChain(rpc) as chain:
        yield chain


async def _market(chain: Chain, market: str, at: BlockAt) -> tuple[MarketRef, BlockRef]:
    named = parse_market(market)
    first = await chain.block(at)
    if named.chain_id not in (None, chain.chain_id):
        raise WrongChain(
            f"{market} is on chain {named.chain_id}, and the endpoint serves chain {chain.chain_id}",
            hint="give an endpoint of the right chain",
        )
    return MarketRef(chain.chain_id, named.protocol, named.address, named.id), first


def _addresses(owners: str | Iterable[str]) -> list[str]:
    listed = [owners] if isinstance(owners, str) else list(owners)
    return list(dict.fromkeys(parse_address(owner) for owner in listed))


def _subjects(ref: MarketRef, market: str, owners: str | Iterable[str], levels: Thresholds) -> list[Subject]:
    return [Subject(ref, market, owner, thresholds=levels) for owner in _addresses(owners)]


def _memory(*, cache: bool) -> Memory:
    return ShortMemory(DiskMemory() if cache else None)


def _run(make: Callable[[], Coroutine[Any, Any, T]], instead: str) -> T:
    """Run a coroutine function to its end. May raise: ConfigError inside a running event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    raise ConfigError(
        "an event loop is already running here",
        hint=f"use `await monitor.{instead}(...)` instead, with the same arguments",
    )
