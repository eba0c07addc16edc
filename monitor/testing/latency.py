"""From a decision to a transaction that is out: how long levmon takes beyond what the node takes to answer.

Everything is real: Aave V3.6 on anvil, a signer in its own process, a journal that is synced to disk before each step.
Beside it, on the same chain in the same run, stand what nobody can do without (sign once, make as many commits durable)
and what a plain bot does with web3.py: ask, sign, send, write nothing down.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeVar

from eth_account import Account
from web3 import HTTPProvider, Web3  # noqa: TID251  # the peer that levmon is measured beside

from monitor.chain.rpc_chain import RpcChain
from monitor.chain.transport import HttpTransport
from monitor.core import config as configuration
from monitor.core.actions import ActionState
from monitor.core.types import Known, MarketRef
from monitor.pipeline import plans
from monitor.pipeline.acting import Acting, draft_of
from monitor.pipeline.guardians import ANY, Guardian
from monitor.pipeline.memory import ShortMemory
from monitor.report import Subject
from monitor.testing import localnet, rescue_demo
from monitor.testing.child import bound
from monitor.testing.devchain import account_address, account_key

STEP = Fraction(10_003, 10_000)
"""Each rescue raises health by so much, so that one position serves for all of them."""
WARM_UP = 5
MILLI = 1000.0


@dataclass(slots=True)
class Samples:
    """Seconds, one entry per transaction."""

    total: list[float] = field(default_factory=list)
    node: list[float] = field(default_factory=list)
    """in which at least one request was waiting for the node"""
    bot: list[float] = field(default_factory=list)
    bot_node: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    commits: int = 0

    @property
    def own(self) -> list[float]:
        return [total - node for total, node in zip(self.total, self.node, strict=True)]

    @property
    def bot_own(self) -> list[float]:
        return [total - node for total, node in zip(self.bot, self.bot_node, strict=True)]


T = TypeVar("T")


def must(value: T | None) -> T:
    """What has to be there for anything to be measured."""
    if value is None:
        raise AssertionError("the scene is not as it should be")
    return value


def percentile(values: list[float], part: float) -> float:
    """The smallest value that so large a part of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(part * 1000) * len(ordered) // 1000) - 1))]


@contextmanager
def waiting(method: Literal["send", "_post"] = "send") -> Iterator[Callable[[], float]]:
    """Answers the seconds so far in which any request of levmon's transport was under way.

    With `_post` only the wire counts, and not what is made of the answer.
    """
    plain = getattr(HttpTransport, method)
    spent, open_since, under_way = 0.0, 0.0, 0

    async def timed(self: HttpTransport, what: object) -> object:
        nonlocal spent, open_since, under_way
        if under_way == 0:
            open_since = time.perf_counter()
        under_way += 1
        try:
            return await plain(self, what)
        finally:
            under_way -= 1
            if under_way == 0:
                spent += time.perf_counter() - open_since

    setattr(HttpTransport, method, timed)
    try:
        yield lambda: spent
    finally:
        setattr(HttpTransport, method, plain)


def levmon(folder: Path, *args: str) -> None:
    """A command to its end. May raise: CalledProcessError."""
    subprocess.run([sys.executable, "-m", "monitor", *args], cwd=folder, check=True, capture_output=True, timeout=120)


@contextmanager
def scene() -> Iterator[tuple[localnet.Localnet, Path]]:
    """A local chain, a position, a purse that the pool may take from, and a signer that runs."""
    with tempfile.TemporaryDirectory(prefix="levmon-latency-") as name:
        folder = Path(name)
        process, net = localnet.start(["3.6"])
        signer = None
        try:
            rescue_demo.set_scene(net, folder)
            levmon(folder, "keys", "init", "--key-file", "guardian.key")
            signer = subprocess.Popen(
                bound([sys.executable, "-m", "monitor", "signer"]), cwd=folder, stderr=subprocess.PIPE, text=True
            )
            for line in must(signer.stderr):
                if "ready" in line:
                    break
            levmon(folder, "approve", "core36/alice", "USDC", "--amount", "20000", "--broadcast", "--until", "mined")
            yield net, folder
        finally:
            if signer is not None:
                signer.terminate()
                signer.wait(30)
                if signer.stderr is not None:
                    signer.stderr.close()
            process.stop()


async def rescues(net: localnet.Localnet, folder: Path, count: int, samples: Samples) -> None:
    """So many rescues of one position, each planned anew, sent, mined and settled."""
    config = configuration.load(folder / "levmon.toml")
    guardian, memory, node = Guardian(must(config.guardian), folder), ShortMemory(), net.chain()
    market = net.markets[rescue_demo.MARKET]
    ref = MarketRef(market.chain_id, "aave-v3", market.provider)
    subject = Subject(ref, rescue_demo.MARKET, account_address(rescue_demo.PROTECTED[0]))
    async with RpcChain(net.url) as chain:
        await chain.block("latest")
        with waiting() as node_s, Acting(guardian, chain, memory, finality=1) as acting:
            for number in range(WARM_UP + count):
                seen = await plans.outlook(chain, [subject], guardian.address, memory)
                report = seen.snapshot.reports[0]
                verdict = must(report.health).verdict
                verdict = must(verdict if isinstance(verdict, Known) else None)
                target = Fraction(verdict.numerator, verdict.denominator) * STEP
                acting.allow(plans.options(seen, report, guardian, 1).limits)
                plan = must(plans.best(plans.plan_for(seen, report, guardian, ANY, target)))
                records = acting.journal.count_records()
                start, waited = time.perf_counter(), node_s()
                action = must(acting.plan(draft_of(plan, guardian, target, cause="measured")))
                while acting.journal.action(action.id).state is not ActionState.BROADCAST:
                    await acting.step()
                if number >= WARM_UP:
                    samples.total.append(time.perf_counter() - start)
                    samples.node.append(node_s() - waited)
                    samples.commits = acting.journal.count_records() - records
                while acting.journal.action(action.id).open:
                    node.mine(1)
                    await acting.step()
    node.close()


def bot(net: localnet.Localnet, count: int, samples: Samples) -> None:
    """What a plain bot does for one transfer of the same kind: ask, estimate, sign, send."""
    key = Account.from_key(account_key("latency bot"))
    node = net.chain()
    node.rpc("anvil_setBalance", key.address, hex(10**18))
    node.close()
    web3 = Web3(HTTPProvider(net.url))
    spent = 0.0
    ask = web3.provider.make_request

    def timed(method: object, params: object) -> object:
        nonlocal spent
        start = time.perf_counter()
        try:
            return ask(method, params)  # type: ignore[arg-type]
        finally:
            spent += time.perf_counter() - start

    web3.provider.make_request = timed  # type: ignore[method-assign, assignment]
    for number in range(WARM_UP + count):
        start, before = time.perf_counter(), spent
        call = {"from": key.address, "to": key.address, "value": Web3.to_wei(1, "wei")}
        filled = {
            **call,
            "nonce": web3.eth.get_transaction_count(key.address),
            "chainId": web3.eth.chain_id,
            "gas": web3.eth.estimate_gas(call),  # type: ignore[arg-type]
            "maxFeePerGas": 2 * (web3.eth.get_block("latest")["baseFeePerGas"] or 1) + 10**9,
            "maxPriorityFeePerGas": 10**9,
            "type": 2,
        }
        sent = web3.eth.send_raw_transaction(key.sign_transaction(filled).raw_transaction)
        if number >= WARM_UP:
            samples.bot.append(time.perf_counter() - start)
            samples.bot_node.append(spent - before)
        web3.eth.wait_for_transaction_receipt(sent)


def floor(folder: Path, count: int, samples: Samples) -> None:
    """One signature and as many commits as levmon needed until the transaction was out, synced to the same disk."""
    account = Account.from_key(account_key("latency floor"))
    fields = {"chainId": 31337, "nonce": 0, "gas": 10**5, "maxFeePerGas": 10**9, "maxPriorityFeePerGas": 1, "type": 2}
    db = sqlite3.connect(folder / "floor.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE records (body BLOB)")
    for _ in range(count):
        start = time.perf_counter()
        account.sign_transaction({**fields, "to": account.address, "value": 0, "data": os.urandom(132)})
        for _ in range(samples.commits):
            db.execute("INSERT INTO records VALUES (?)", (os.urandom(600),))
        samples.floor.append(time.perf_counter() - start)
    db.close()


def measure(count: int) -> Samples:
    """One run of everything on one chain. May raise: CalledProcessError, LevmonError."""
    samples = Samples()
    with scene() as (net, folder):
        asyncio.run(rescues(net, folder, count, samples))
        bot(net, count, samples)
        floor(folder, count, samples)
    return samples


def lines(samples: Samples) -> list[str]:
    """For people, in milliseconds."""
    rows = {
        "levmon: decision to broadcast": samples.total,
        "  waiting for the node": samples.node,
        "  beyond that": samples.own,
        "peer: a web3.py bot, unrecorded": samples.bot,
        "  beyond the node": samples.bot_own,
        f"floor: sign, {samples.commits} durable commits": samples.floor,
    }
    found = [f"{'milliseconds':34}{'p50':>9}{'p99':>9}{'max':>9}"]
    for name, values in rows.items():
        cells = (percentile(values, 0.5), percentile(values, 0.99), max(values))
        found.append(f"{name:34}" + "".join(f"{cell * MILLI:9.1f}" for cell in cells))
    own, least = percentile(samples.own, 0.5), percentile(samples.floor, 0.5)
    bot_own = percentile(samples.bot_own, 0.5)
    found.append(f"beyond the node at p50: {own / least:.1f} times the floor, {own / bot_own:.1f} times the bot")
    return found


def as_json(samples: Samples) -> str:
    """For programs: seconds."""
    parts = {"total": samples.total, "beyond_node": samples.own, "bot": samples.bot, "floor": samples.floor}
    told = {name: {"p50": percentile(its, 0.5), "p99": percentile(its, 0.99)} for name, its in parts.items()}
    return json.dumps({"schema": "levmon.bench.latency/1", "samples": len(samples.total), **told})
