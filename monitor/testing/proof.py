"""Counts how often levmon's recomputed account equals the contract's own answer, over states that nobody chose by hand.

For each block of a sweep every borrower is read as `check` reads them, recomputed, and compared with all six values of
getUserAccountData at the same block hash; and the state of one block, carried forward by interest alone, is compared
with the contract's answer in the next. Nothing is skipped: an account that cannot be read counts as different.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from monitor.chain.port import Chain, run
from monitor.core.errors import CallFailed
from monitor.core.plan import gather
from monitor.core.types import BlockRef, MarketRef, Position, Unreadable
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.records import Facts
from monitor.protocols.base import Truth
from monitor.testing.aave_v3_market import AaveMarket, Version
from monitor.testing.devchain import DevChain
from monitor.testing.sweep import Sweep

DEBT_BITS = int("01" * 128, 2)


@dataclass(slots=True)
class Proof:
    """`exact` of `snapshots` accounts; `projected_exact` of `projected` carried to the next block by interest alone."""

    version: str
    snapshots: int = 0
    exact: int = 0
    projected: int = 0
    projected_exact: int = 0
    shapes: set[tuple[object, ...]] = field(default_factory=set)
    """(flags, e-mode, prices, interval) of the accounts with debt."""
    levels: dict[str, int] = field(default_factory=lambda: {"healthy": 0, "unhealthy": 0, "no debt": 0})
    differences: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return self.exact == self.snapshots and self.projected_exact == self.projected

    def lines(self) -> list[str]:
        """For people."""
        shapes = f"{len(self.shapes):,} distinct (flags, e-mode, prices, interval)"
        return [
            f"aave-v3 {self.version}: {self.exact:,} of {self.snapshots:,} exact, {shapes}",
            f"  carried to the next block by interest alone: {self.projected_exact:,} of {self.projected:,} exact",
            "  " + ", ".join(f"{count:,} {name}" for name, count in self.levels.items()),
            *(f"  {difference}" for difference in self.differences[:20]),
        ]


async def prove(
    chain: Chain,
    local: DevChain,
    market: AaveMarket,
    *,
    steps: int,
    seed: int,
    progress: Callable[[Proof], None] | None = None,
) -> Proof:
    """Sweep the market and compare at every step. May raise: ChainError, CallFailed, ProtocolError."""
    proof = Proof(market.version)
    ref = MarketRef(market.chain_id, PROTOCOL.name, market.provider)
    block = await chain.block("latest")
    facts = await run(chain, PROTOCOL.static(ref, block), block)
    (facts,) = (candidate for candidate in PROTOCOL.candidates(facts) if candidate.version == market.version)
    for step in Sweep(local, market, seed).run(steps):
        found, truths = await _read(chain, facts, market, await chain.block(step.block))
        _compare(proof, found, truths)
        # an empty block: whatever changed in it, interest changed
        local.warp(1 + step.waited_s % 100_000)
        later = await chain.block("latest")
        _, then = await _read(chain, facts, market, later, with_state=False)
        _compare_later(proof, found, then, later)
        if progress is not None:
            progress(proof)
    return proof


async def _read(
    chain: Chain, facts: Facts, market: AaveMarket, block: BlockRef, *, with_state: bool = True
) -> tuple[list[Position | Unreadable], list[Truth]]:
    owners = market.borrowers
    truth = await run(chain, PROTOCOL.truth(facts, owners, block), block)
    if not with_state:
        return [], truth
    (state,) = await run(chain, gather([PROTOCOL.state(facts, owners, block)]), block)
    if isinstance(state, CallFailed):
        raise state
    return state, truth


def _compare(proof: Proof, found: list[Position | Unreadable], truths: list[Truth]) -> None:
    for position, truth in zip(found, truths, strict=True):
        proof.snapshots += 1
        if isinstance(position, Unreadable):
            proof.differences.append(f"{position.id}: {position.reason}")
            continue
        reported = PROTOCOL.evaluate(position).reported
        if reported == truth.reported:
            proof.exact += 1
        else:
            proof.differences.append(f"{position.id} at {position.block.number}: {reported} is not {truth.reported}")
        state = position.state
        if state.user_configuration & DEBT_BITS:
            intervals = tuple(position.block.timestamp - reserve.last_update_s for reserve in state.reserves)
            category = state.category.id if state.category else 0
            prices = tuple(sorted(position.prices.items()))
            proof.shapes.add((state.user_configuration, category, prices, intervals))
            proof.levels["unhealthy" if truth.reported["healthFactor"] < 10**18 else "healthy"] += 1
        else:
            proof.levels["no debt"] += 1


def _compare_later(proof: Proof, found: list[Position | Unreadable], truths: list[Truth], later: BlockRef) -> None:
    for position, truth in zip(found, truths, strict=True):
        proof.projected += 1
        if isinstance(position, Unreadable):
            continue
        reported = PROTOCOL.evaluate(position, at_s=later.timestamp).reported
        if reported == truth.reported:
            proof.projected_exact += 1
        else:
            proof.differences.append(f"{position.id} carried to {later.number}: {reported} is not {truth.reported}")


def main() -> int:
    """`scripts/prove`: 0 if every account of every version was exact, else 1."""
    import argparse
    import asyncio
    import sys

    from monitor.chain.rpc_chain import RpcChain
    from monitor.testing import aave_v3
    from monitor.testing.aave_v3_market import VERSIONS
    from monitor.testing.anvil import AnvilProcess

    parser = argparse.ArgumentParser(prog="scripts/prove", description="Compare levmon's numbers with real contracts.")
    parser.add_argument("--version", choices=VERSIONS, action="append", help="default: all")
    parser.add_argument("--steps", type=int, default=170, help="blocks looked at for each version (default 170)")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()

    def progress(proof: Proof) -> None:
        if sys.stderr.isatty():
            print(f"\r{proof.version}: {proof.exact:,} of {proof.snapshots:,} exact", end="", file=sys.stderr)

    async def one(version: Version) -> Proof:
        with AnvilProcess() as process:
            local = process.chain()
            market = aave_v3.deploy(local, version)
            chain = RpcChain(process.url)
            try:
                return await prove(chain, local, market, steps=asked.steps, seed=asked.seed, progress=progress)
            finally:
                await chain.close()
                local.close()

    proofs = []
    for version in asked.version or VERSIONS:
        proofs.append(asyncio.run(one(version)))
        print("\n".join(proofs[-1].lines()), flush=True)
    return 0 if all(proof.holds for proof in proofs) else 1


if __name__ == "__main__":
    raise SystemExit(main())
