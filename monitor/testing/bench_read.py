"""`scripts/bench read`: the health of ten thousand accounts at one block, beside those who ask the contract for it.

One anvil, one seeded market, and rounds in which everybody takes a turn: levmon with and without state override,
multicall.py in the better of its configurations, a hand-tuned aggregate3, a web3.py loop over some of the accounts.
All must come to the same health factors or nothing is told. Wall time is the machine's and its neighbours'; CPU time of
client and node stands beside it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from monitor.chain.aggregate import MULTICALL3
from monitor.chain.bulk.lens import CreatedLens, OverrideLens
from monitor.chain.bulk.reader import BulkReader
from monitor.chain.bulk.wire import Wire
from monitor.chain.bulk.words import aggregate3_question
from monitor.chain.port import run
from monitor.chain.rpc_chain import RpcChain
from monitor.core.types import BlockRef, MarketRef
from monitor.core.units import UINT256_MAX
from monitor.health.book import Book
from monitor.protocols.aave_v3.bulk import AaveV3Bulk
from monitor.protocols.aave_v3.globals import Globals
from monitor.protocols.aave_v3.lens import AaveSurvey, read_survey
from monitor.protocols.aave_v3.static import read_static
from monitor.protocols.columns import U8, Columns
from monitor.protocols.survey import Getter
from monitor.testing import borrowers, peers
from monitor.testing.aave_v3_market import AaveMarket, Version
from monitor.testing.anvil import AnvilDevChain, AnvilProcess
from monitor.testing.figures import Figure
from monitor.testing.latency import must

GET_ACCOUNT_DATA = bytes.fromhex("bf92857c")
"""Pool.getUserAccountData(address)"""
STEPS = ((450, 50_000_000), (900, 50_000_000), (1_800, 100_000_000))
"""multicall.py: accounts a request and gas limit. By default it asks for 10,000 at once and fails."""
PARTS = 8
LOOP = 200
"""Accounts for web3.py, which needs seconds for each hundred."""
FEW = 100
MODES = tuple(range(1, 4))
HEADER_BYTES = 400
"""Of a request and its answer together, about."""
SLOT_GAS = 2_100
MICRO = 1e6


class Disagreement(Exception):
    """Two ways to the same health factors came to different ones."""


@dataclass(slots=True)
class Took:
    """Seconds of each round, and of its client's and the node's processors."""

    wall: list[float] = field(default_factory=list)
    client: list[float] = field(default_factory=list)
    node: list[float] = field(default_factory=list)
    count: int = 1

    def each_us(self, name: str = "wall") -> float:
        """The median, for one account."""
        seconds: list[float] = getattr(self, name)
        return statistics.median(seconds) / self.count * MICRO


@dataclass(slots=True)
class Run:
    """Everything that was measured of one market."""

    version: Version
    count: int
    took: dict[str, Took] = field(default_factory=dict)
    step: int = 0
    wire: float = 0.0
    """Bytes an account, headers included."""
    gas: int = 0
    requests: int = 0
    slots: float = 0.0
    entries: float = 0.0
    ways: int = 0
    """How many ways came to the same health factors in every round."""


def cpu_s(pid: int) -> float:
    """User and system time of a process with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def digest_of(health: list[int]) -> str:
    return hashlib.sha256(b"".join(value.to_bytes(32, "big") for value in health)).hexdigest()


class Peers:
    """The process with multicall.py and web3.py in it."""

    def __init__(self, url: str, pool: str, owners: Path, block: BlockRef) -> None:
        program = Path(peers.__file__).with_name("account_data.py")
        self._block = block.number
        self._process = subprocess.Popen(
            [peers.python(), program, url, pool, owners], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **job: Any) -> dict[str, Any]:
        """May raise: Disagreement, when it does not answer."""
        said, heard = must(self._process.stdin), must(self._process.stdout)
        said.write(json.dumps({"block": self._block, **job}) + "\n")
        said.flush()
        if not (line := heard.readline()):
            raise Disagreement("the peers' process has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(30)


class Scene:
    """Levmon's side of one market at one block."""

    def __init__(self, chain: RpcChain, survey: AaveSurvey, bulk: AaveV3Bulk, block: BlockRef, owners: U8) -> None:
        self.chain, self.survey, self.bulk, self.block, self.owners = chain, survey, bulk, block, owners
        self.best = BulkReader(chain, survey, ladder=[OverrideLens])
        self.plain = BulkReader(chain, survey, ladder=[CreatedLens])

    async def read(self, reader: BulkReader, count: int) -> tuple[Columns, Globals]:
        """May raise: Disagreement, when an account could not be read."""
        swept, globals_ = await asyncio.gather(
            reader.read(self.owners[:count], self.block),
            run(self.chain, self.bulk.read_globals(self.block), self.block),
        )
        if swept.unread:
            raise Disagreement(f"{len(swept.unread)} accounts were not read: {swept.unread[0]}")
        return swept.columns, globals_

    async def classify(self, reader: BulkReader, count: int) -> list[int]:
        """The rows with health below 1."""
        columns, globals_ = await self.read(reader, count)
        found: list[int] = Book(self.bulk, columns).below(globals_, self.block.timestamp).rows.tolist()
        return found

    async def exact(self, reader: BulkReader, count: int) -> list[int]:
        """Every health factor, as the pool answers it."""
        columns, globals_ = await self.read(reader, count)
        rows = np.arange(len(columns))
        found = self.bulk.exact(globals_, columns, rows, self.block.timestamp)
        return [-1 if one is None else one[0] if one[1] else UINT256_MAX for one in found]

    async def aggregate(self, count: int) -> list[int]:
        """The hand-tuned peer: getUserAccountData through aggregate3 in eight parts, in and out as matrices."""
        wire = Wire(self.chain.pool.endpoints[0], self.block)
        getter = [Getter(self.survey.flags.contract, GET_ACCOUNT_DATA)]

        async def part(owners: U8) -> list[int]:
            size = len(owners)
            answer = await wire.call(aggregate3_question(getter, np.zeros(size, np.int64), owners), MULTICALL3)
            words = np.frombuffer(answer, np.uint8, 288 * size, 64 + 32 * size).reshape(size, 288)
            if len(answer) != 64 + 320 * size or (words[:, 95] != 192).any():
                raise Disagreement("aggregate3 answered in another layout")
            return [int.from_bytes(word, "big") for word in words[:, 256:]]

        parts = await asyncio.gather(*(part(owners) for owners in np.array_split(self.owners[:count], PARTS)))
        return [health for part_ in parts for health in part_]


def measure(version: Version, count: int, rounds: int) -> Run:
    """One market on one anvil. May raise: Disagreement, CalledProcessError."""
    with ExitStack() as stack:
        process = stack.enter_context(AnvilProcess())
        node = process.chain()
        stack.callback(node.close)
        market = borrowers.seed(node, version, count)
        file = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="levmon-bench-"))) / "owners"
        file.write_text("\n".join(market.borrowers))
        return asyncio.run(_measure(process, node, market, file, Run(version, count), rounds))


async def _measure(
    process: AnvilProcess, node: AnvilDevChain, market: AaveMarket, file: Path, result: Run, rounds: int
) -> Run:
    owners = np.array([list(bytes.fromhex(one[2:])) for one in market.borrowers], np.uint8)
    async with RpcChain(process.url) as chain:
        block = await chain.block()
        facts = await run(chain, read_static(MarketRef(chain.chain_id, "aave-v3", market.provider)), block)
        survey = await run(chain, read_survey(facts), block)
        scene = Scene(chain, survey, AaveV3Bulk(facts, MODES), block, owners)
        peer = Peers(process.url, survey.flags.contract, file, block)
        try:
            place_multicall(node, peer)
            await _rounds(scene, peer, process.pid, result, rounds)
        finally:
            peer.close()
    return result


def place_multicall(node: AnvilDevChain, peer: Peers) -> None:
    """The real Multicall3, whose code multicall.py brings along, in the state and without a new block."""
    node.rpc("anvil_setCode", MULTICALL3, peer.ask(peer="code")["code"])


async def _rounds(scene: Scene, peer: Peers, pid: int, result: Run, rounds: int) -> None:
    count = result.count
    steps = {step: peer.ask(peer="multicall", count=count, step=step, gas=gas)["wall_s"] for step, gas in STEPS}
    step, gas = min(STEPS, key=lambda one: steps[one[0]])
    expected = {size: peer.ask(peer="multicall", count=size, step=step, gas=gas)["digest"] for size in (count, FEW)}
    await _figures(scene, result)
    health = await scene.exact(scene.best, count)
    below = [row for row, value in enumerate(health) if value < 10**18]

    async def own(name: str, size: int, work: Callable[[], Awaitable[list[int]]]) -> None:
        wall, client, its_node = time.perf_counter(), time.process_time(), cpu_s(pid)
        found = await work()
        _add(result, name, size, time.perf_counter() - wall, time.process_time() - client, cpu_s(pid) - its_node)
        agreed = [row for row in below if row < size] == found if "classes" in name else _agrees(found, expected, size)
        if not agreed:
            raise Disagreement(f"{name} of {size} accounts differs from multicall.py")

    def other(name: str, size: int, **job: Any) -> None:
        its_node = cpu_s(pid)
        answer = peer.ask(count=size, **job)
        _add(result, name, size, answer["wall_s"], answer["cpu_s"], cpu_s(pid) - its_node)
        if answer["digest"] != expected.setdefault(size, digest_of(health[:size])):
            raise Disagreement(f"{name} of {size} accounts differs")

    for _ in range(rounds):
        other("multicall", count, peer="multicall", step=step, gas=gas)
        await own("classes", count, lambda: scene.classify(scene.best, count))
        await own("exact", count, lambda: scene.exact(scene.best, count))
        await own("aggregate", count, lambda: scene.aggregate(count))
        await own("plain classes", count, lambda: scene.classify(scene.plain, count))
        other("web3", LOOP, peer="web3")
        other("few multicall", FEW, peer="multicall", step=step, gas=gas)
        await own("few exact", FEW, lambda: scene.exact(scene.best, FEW))
    result.step, result.ways = step, len(result.took)


def _agrees(found: list[int], expected: dict[int, str], size: int) -> bool:
    return digest_of(found) == expected[size]


def _add(result: Run, name: str, size: int, wall: float, client: float, its_node: float) -> None:
    took = result.took.setdefault(name, Took(count=size))
    took.wall.append(wall)
    took.client.append(client)
    took.node.append(its_node)


async def _figures(scene: Scene, result: Run) -> None:
    """What does not depend on the machine: bytes, gas, requests. The proof of the rung has been paid before."""
    await scene.read(scene.best, result.count)
    await scene.plain.read(scene.owners[:FEW], scene.block)
    traffic = scene.chain.pool.endpoints[0].transport.traffic
    requests, size = traffic.requests, traffic.bytes_in + traffic.bytes_out
    swept = await scene.best.read(scene.owners, scene.block)
    result.requests = traffic.requests - requests
    headers = HEADER_BYTES * result.requests
    result.wire = (traffic.bytes_in + traffic.bytes_out - size + headers) / result.count
    await run(scene.chain, scene.bulk.read_globals(scene.block), scene.block)
    result.requests = traffic.requests - requests
    result.gas = scene.best.gas_an_account or 0
    result.entries = len(swept.columns.kind) / result.count
    result.slots = 2 + result.entries  # nobody has ever had a stable debt here, and so none is asked for


def figures(run_: Run) -> list[Figure]:
    """The table of one market. Times are medians; the other rounds' spread is the machine's."""
    us = {name: took.each_us() for name, took in run_.took.items()}
    client = {name: took.each_us("client") for name, took in run_.took.items()}
    node = {name: took.each_us("node") for name, took in run_.took.items()}
    calls = -(-run_.count // 5_000) + 1
    of = run_.version

    def times(id_: str, what: str, own: str, peer: str, goal: float, limit: float | None = None) -> Figure:
        name = f"multicall.py, {run_.step} a call" if "multicall" in peer else peer
        note = f"{us[own]:.1f} us an account, {us[peer]:.1f} by {name}"
        return Figure(id_, f"{of}: {what}", us[peer] / us[own], "x", goal, limit, more_is_better=True, note=note)

    def cost(what: str, own: float, unit: str, goal: float | None, peer: float | None, floor: float | None) -> Figure:
        return Figure("A4", f"{of}: {what}", own, unit, goal, peer=peer, floor=floor)

    wire_floor = 2 * (20 + 8 + 1 + 16 * run_.entries)
    gas_goal = 16_000 if run_.version == "3.0" else 13_000
    return [
        times("A1", "who is below 1, times multicall.py", "classes", "multicall", 18, 12),
        times("A2", "every health factor, times multicall.py", "exact", "multicall", 15, 10),
        times("A2", "every health factor, times aggregate3 by hand", "exact", "aggregate", 4, 3),
        times("A3", "every health factor, times a web3.py loop", "exact", "web3", 500),
        times("A6", "without override, times multicall.py", "plain classes", "multicall", 2.5),
        times("A7", f"{FEW} accounts, times multicall.py", "few exact", "few multicall", 4),
        cost("processor time here, an account", client["classes"], "us", 3.0, client["multicall"], None),
        cost("processor time of the node, an account", node["classes"], "us", None, node["multicall"], None),
        cost("bytes an account, both ways", run_.wire, "B", 160, None, wire_floor),
        cost("gas an account", run_.gas, "gas", gas_goal, None, run_.slots * SLOT_GAS),
        cost("requests, one of them for prices and indexes", run_.requests, "", calls, None, None),
    ]
