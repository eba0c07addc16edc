"""A market that is followed: from a new block to what can be liquidated, beside reading everything anew.

Real Aave V3 on anvil with many seeded borrowers. In each round a few of them, and in the next many, are repaid a
little and three prices move; the mirror follows, all accounts are read anew, and both must agree bit by bit and in who
can be liquidated. Then hundreds of blocks of everything that people do, compared after each. Then a million accounts
from disk.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median

import numpy as np

from monitor.chain import abi
from monitor.chain.bulk.accounts import BulkAccounts
from monitor.chain.bulk.reader import BulkReader
from monitor.chain.discover import Naming
from monitor.chain.mirror import Market, Mirror, Step
from monitor.chain.mirror_file import Identity, Saved, load, save
from monitor.chain.port import run
from monitor.chain.rpc_chain import RpcChain
from monitor.core.types import BlockRef, MarketRef
from monitor.health.book import Book
from monitor.protocols.aave_v3 import static
from monitor.protocols.aave_v3.bulk import AaveV3Bulk
from monitor.protocols.aave_v3.globals import Globals
from monitor.protocols.aave_v3.lens import BORROWERS, read_survey
from monitor.protocols.aave_v3.replay import read_replay
from monitor.protocols.columns import Columns
from monitor.protocols.ledger import Ledger
from monitor.testing import aave_v3, borrowers
from monitor.testing.aave_v3_market import AaveMarket, Version
from monitor.testing.anvil import AnvilDevChain, AnvilProcess
from monitor.testing.bench_read import Peers, digest_of, place_multicall
from monitor.testing.devchain import MAX_UINT256, Transaction
from monitor.testing.figures import Figure
from monitor.testing.latency import must as there
from monitor.testing.latency import waiting
from monitor.testing.market_activity import Activity, mine, repayments

MILLI = 1000.0
FEW, MANY = 20, 200
REPAY_GAS = 450_000
STEP, STEP_GAS = 900, 50_000_000
"""multicall.py: accounts a request and gas limit, in which it is quickest."""
MILLION = 1_000_000
WARM_UP = 2


@dataclass(slots=True)
class Rounds:
    """Milliseconds, one per round; by how many accounts had changed."""

    follow: dict[int, list[float]] = field(default_factory=lambda: {FEW: [], MANY: []})
    """from a new block to its accounts"""
    decide: dict[int, list[float]] = field(default_factory=lambda: {FEW: [], MANY: []})
    """and on to who can be liquidated"""
    wire: dict[int, list[float]] = field(default_factory=lambda: {FEW: [], MANY: []})
    """of that, waiting for the node: the floor"""
    cpu: dict[int, list[float]] = field(default_factory=lambda: {FEW: [], MANY: []})
    """and what levmon itself reckoned, whoever else was at the machine"""
    requests: dict[int, set[int]] = field(default_factory=lambda: {FEW: set(), MANY: set()})
    anew: list[float] = field(default_factory=list)
    """all accounts and globals read anew, and decided"""
    multicall: list[float] = field(default_factory=list)
    """all health factors read anew by multicall.py"""

    def block(self, changed: int) -> float:
        """The median from a new block to a decision."""
        return median(a + b for a, b in zip(self.follow[changed], self.decide[changed], strict=True))


@dataclass(slots=True)
class Everything:
    """What hundreds of blocks came to, all compared."""

    version: Version
    blocks: int
    undone: int
    logs: int
    dirty: int
    kinds: dict[str, int]

    def line(self) -> str:
        kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(self.kinds.items()))
        return (
            f"C2  {self.version}: equal to a full re-read after each of {self.blocks} steps; {self.undone} blocks "
            f"undone, {self.logs} logs, {self.dirty} accounts read anew\n    {kinds}"
        )


@dataclass(slots=True)
class Disk:
    """A million accounts, saved and gone on from."""

    accounts: int
    save_s: float
    resume_s: float
    read_s: float
    """reading the file's bytes alone: the floor"""
    memory_bytes: int


class Followed:
    """A local market with its mirror, and what decides."""

    def __init__(self, chain: RpcChain, market: AaveMarket, folder: Path) -> None:
        self.chain, self.market, self.folder = chain, market, folder

    async def open(self, owners: Sequence[bytes]) -> None:
        chain, block = self.chain, await self.chain.block()
        ref = MarketRef(chain.chain_id, "aave-v3", self.market.provider)
        facts = await run(chain, static.read_static(ref), block)
        self.bulk = AaveV3Bulk(facts, range(1, 4))
        event, place = BORROWERS
        naming = Naming(facts.pool, abi.event(event).topic, place)
        reader = BulkReader(chain, await run(chain, read_survey(facts), block))
        self.accounts = BulkAccounts(chain, reader, naming, self.folder)
        replay = await run(chain, read_replay(facts), block)
        described = Market(replay, self.bulk.read_globals, lambda _: static.read_recheck(facts))
        self.mirror: Mirror[Globals] = Mirror(chain, described, self.accounts)
        await self.mirror.start(owners, block)
        self.book = Book(self.bulk, self.mirror.ledger)

    def liquidatable(self, step: Step[Globals]) -> list[bytes]:
        """Who can be, by the book that follows."""
        if step.whole:
            self.book = Book(self.bulk, self.mirror.ledger)
        self.book.update(step.rows)
        below = self.book.follow(step.globals_, step.block.timestamp)
        if len(below.unknown) or step.unknown:
            raise AssertionError("some account is unknown")
        return [self.mirror.ledger.owner(row) for row in below.rows.tolist()]

    def digest(self, step: Step[Globals]) -> str:
        """Of all health factors, as the peer tells them."""
        rows = np.arange(len(self.mirror.ledger))
        found = [must_know(health) for health in self.book.exact(step.globals_, step.block.timestamp, rows)]
        return digest_of([health if unit else MAX_UINT256 for health, unit in found])

    async def read_anew(self, block: BlockRef) -> tuple[Columns, list[bytes]]:
        """All accounts, and who can be liquidated, without the mirror."""
        globals_ = await run(self.chain, self.bulk.read_globals(block), block)
        owners = [self.mirror.ledger.owner(row) for row in range(len(self.mirror.ledger))]
        columns = (await self.accounts.read(owners, block)).columns
        below = Book(self.bulk, columns).below(globals_, block.timestamp)
        return columns, [columns.owners[row].tobytes() for row in below.rows.tolist()]


def same(one: Columns, other: Columns) -> bool:
    """Bit by bit."""
    names = ("owners", "mode", "flags", "start", "kind", "low", "high")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def must_know(health: tuple[int, int] | None) -> tuple[int, int]:
    if health is None:
        raise AssertionError("the health of some account is unknown")
    return health


def must(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)


# -- from a block to a decision ----------------------------------------------------------------------------------------


def rounds(version: Version, accounts: int, count: int) -> Rounds:
    """So many rounds each of few and of many changed accounts, in turns."""
    with AnvilProcess() as process, tempfile.TemporaryDirectory(prefix="levmon-mirror-") as name:
        node, folder = process.chain(), Path(name)
        market = borrowers.seed(node, version, accounts)
        (folder / "owners").write_text("\n".join(market.borrowers))
        peer = Peers(process.url, market.pool, folder / "owners", BlockRef(market.chain_id, 0, "", "", 0))
        try:
            place_multicall(node, peer)
            node.rpc("evm_setAutomine", False)
            return asyncio.run(_rounds(process.url, node, market, count, peer, folder))
        finally:
            peer.close()
            node.close()


async def _rounds(url: str, node: AnvilDevChain, market: AaveMarket, count: int, peer: Peers, folder: Path) -> Rounds:
    samples, dice = Rounds(), Random(market.version)
    feeds = list(market.reserves.values())
    async with RpcChain(url) as chain:
        followed = Followed(chain, market, folder)
        await followed.open([bytes.fromhex(owner[2:]) for owner in market.borrowers])
        mirror = followed.mirror
        with waiting("_post") as wire_s:
            for n in range(2 * (count + WARM_UP)):
                changed = (FEW, MANY)[n % 2]
                steps = list(repayments(node, market, dice.sample(market.borrowers, changed)))
                for reserve in dice.sample(feeds, 3):
                    answer = aave_v3.price_of(node, reserve.feed) * dice.randint(998, 1002) // 1000
                    steps.append(Transaction(market.admin, reserve.feed, "setAnswer(int256)", (answer,)))
                must(all(mine(node, steps, REPAY_GAS)), "a repayment failed")
                head = await chain.block()
                gc.collect()
                asked, waited, start = chain.http_requests, wire_s(), time.perf_counter()
                worked = time.process_time()
                step = there(await mirror.follow(head))
                followed_at = time.perf_counter()
                low = followed.liquidatable(step)
                decided_at = time.perf_counter()
                worked = time.process_time() - worked
                waited, asked = wire_s() - waited, chain.http_requests - asked
                must(len(step.rows) == changed and not step.whole, f"{len(step.rows)} rows changed, not {changed}")
                columns, truth = await followed.read_anew(head)
                anew_s = time.perf_counter() - decided_at
                must(same(mirror.ledger.columns(), columns), f"block {head.number}: the mirror differs")
                must(low == truth, f"block {head.number}: others can be liquidated")
                if n >= 2 * WARM_UP and changed == FEW:
                    job = {"count": len(market.borrowers), "step": STEP, "gas": STEP_GAS, "block": head.number}
                    theirs = peer.ask(peer="multicall", **job)
                    samples.multicall.append(theirs["wall_s"] * MILLI)
                    must(theirs["digest"] == followed.digest(step), f"block {head.number}: multicall.py differs")
                if n >= 2 * WARM_UP:
                    samples.follow[changed].append((followed_at - start) * MILLI)
                    samples.decide[changed].append((decided_at - followed_at) * MILLI)
                    samples.wire[changed].append(waited * MILLI)
                    samples.cpu[changed].append(worked * MILLI)
                    samples.requests[changed].add(asked)
                    samples.anew.append(anew_s * MILLI)
    return samples


# -- everything that happens -------------------------------------------------------------------------------------------


def everything(version: Version, blocks: int, seed: int) -> Everything:
    """So many blocks of all that people do, with reorganisations, each compared with all accounts read anew."""
    with AnvilProcess() as process, tempfile.TemporaryDirectory(prefix="levmon-mirror-") as name:
        node = process.chain()
        market = aave_v3.deploy(node, version)
        found = asyncio.run(_everything(process.url, node, market, blocks, seed, Path(name)))
        node.close()
        return found


async def _everything(
    url: str, node: AnvilDevChain, market: AaveMarket, blocks: int, seed: int, folder: Path
) -> Everything:
    dice = Random(seed)
    async with RpcChain(url) as chain:
        followed = Followed(chain, market, folder)
        people = (*market.borrowers, market.lender, market.liquidator, node.account("treasury"))
        await followed.open([bytes.fromhex(owner[2:]) for owner in people])
        mirror, compared = followed.mirror, 0
        with Activity(node, market, seed) as activity:
            await mirror.follow(await chain.block())
            while compared < blocks:
                if dice.random() < 0.08:
                    before, depth = node.snapshot(), dice.randint(1, 20)
                    for _ in range(depth):
                        activity.block(most=2)
                        await mirror.follow(await chain.block())
                    node.revert(before)
                    for _ in range(depth):
                        activity.block(most=2)
                activity.block()
                step = there(await mirror.follow(await chain.block()))
                low = followed.liquidatable(step)
                columns, truth = await followed.read_anew(step.block)
                must(not step.whole, f"block {step.block.number}: {step.whole}")
                must(same(mirror.ledger.columns(), columns), f"block {step.block.number}: the mirror differs")
                must(low == truth, f"block {step.block.number}: others can be liquidated")
                compared += 1
        counts = mirror.counts
        return Everything(market.version, compared, counts.undone, counts.logs, counts.dirty, dict(activity.kinds))


# -- disk --------------------------------------------------------------------------------------------------------------


def disk(accounts: int = MILLION) -> Disk:
    """Accounts with 2.9 balances on average, saved and gone on from."""
    dice = np.random.default_rng(1)
    entries = dice.integers(2, 5, accounts) - (dice.random(accounts) < 0.1)
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(entries)])
    total = int(start[-1])
    columns = Columns(
        owners=dice.integers(0, 256, (accounts, 20), np.uint8),
        mode=dice.integers(0, 3, accounts, np.uint8),
        flags=dice.integers(0, 2**60, (accounts, 1), np.uint64),
        start=start,
        kind=dice.integers(0, 60, total).astype(np.uint16),
        low=dice.integers(0, 2**63, total, np.uint64),
        high=dice.integers(0, 2**10, total, np.uint64),
    )
    who, block = Identity(1, "market", "facts"), BlockRef(1, 1, "0x" + "11" * 32, "0x" + "22" * 32, 1)
    with tempfile.TemporaryDirectory(prefix="levmon-mirror-") as name:
        path = Path(name) / "mirror"
        began = time.perf_counter()
        save(path, who, Saved(columns, block))
        saved_s = time.perf_counter() - began
        resumed: list[float] = []
        read: list[float] = []
        ledger = Ledger(columns)
        for _ in range(5):
            began = time.perf_counter()
            must(len(path.read_bytes()) > total * 18, "the file is too short")
            read.append(time.perf_counter() - began)
            began = time.perf_counter()
            ledger = Ledger(load(path, who).columns)
            resumed.append(time.perf_counter() - began)
        must(same(ledger.columns(), columns), "the file came back otherwise")
    return Disk(accounts, saved_s, median(resumed), median(read), ledger.nbytes)


# -- telling -----------------------------------------------------------------------------------------------------------


def block_figures(version: Version, samples: Rounds) -> list[Figure]:
    """C1, and what many changes cost over few."""
    few, many, anew = samples.block(FEW), samples.block(MANY), median(samples.anew)
    wire, follow, decide = (median(part[FEW]) for part in (samples.wire, samples.follow, samples.decide))
    cpu = {changed: median(samples.cpu[changed]) for changed in (FEW, MANY)}
    asked = "/".join(map(str, sorted(samples.requests[FEW])))
    note = f"{follow:.1f} following, {decide:.1f} deciding; {cpu[FEW]:.1f} of CPU; {asked} request(s); floor: the wire"
    in_cpu = f"{many:.1f} ms; {cpu[MANY] / cpu[FEW]:.2f} in CPU"
    return [
        Figure(
            "C1", f"{version}: a new block to a decision, {FEW} changed", few, "ms", 6.0, None, False, anew, wire, note
        ),
        Figure("C1", f"{version}: reading everything anew over that", anew / few, "x", 25.0, more_is_better=True),
        Figure(
            "C1", f"{version}: multicall.py over that", median(samples.multicall) / few, "x", 200.0, more_is_better=True
        ),
        Figure("C2", f"{version}: {MANY} changed over {FEW} changed", many / few, "x", 1.5, note=in_cpu),
    ]


def disk_figures(found: Disk) -> list[Figure]:
    """D1."""
    what, note = f"{found.accounts:,} accounts from disk", f"saving took {found.save_s:.2f}; floor: reading the bytes"
    per_million = found.memory_bytes / found.accounts
    return [
        Figure("D1", what, found.resume_s, "s", 3.0, floor=found.read_s, note=note),
        Figure("D1", "memory of the accounts alone, a million", per_million, "MB", 150.0),
    ]
