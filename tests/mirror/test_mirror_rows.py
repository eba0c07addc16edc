"""Fault rows of a mirrored market: logs that are withheld, doubled or removed, and a process that was down."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from monitor.chain.defences import ALL, Defences
from monitor.chain.mirror_file import Identity, Saved, load, save
from monitor.chain.rpc_chain import RpcChain
from monitor.core.errors import BadAnswer, Reorged
from monitor.testing.aave_v3_people import BORROW, SUPPLY
from monitor.testing.devchain import MAX_UINT256
from monitor.testing.market_activity import mine, repayments
from tests.faults.lab import FAST, SHORT, outcome
from tests.faults.proxy import FaultProxy, Item
from tests.faults.rows import row
from tests.localnet_fixtures import AnvilAave
from tests.mirror.world import World, open_world, people

pytestmark = pytest.mark.anvil


@asynccontextmanager
async def following(
    local: AnvilAave, off: str | None, proxies: Sequence[FaultProxy] = (), **more: Any
) -> AsyncIterator[tuple[World, RpcChain]]:
    """A started mirror of the market, behind these proxies."""
    defences: Defences = ALL.without(off) if off else ALL
    urls = [proxy.url for proxy in proxies] or [local.process.url]
    async with RpcChain(urls, limits=SHORT, patience=FAST, defences=defences) as chain:
        world = await open_world(chain, local.market, defences=defences, **more)
        await world.mirror.start(people(local.market), await chain.block())
        yield world, chain


def says_logs(change: Any) -> Any:
    """An edit of every answer to eth_getLogs."""

    def edit(item: Item, answer: Item) -> Item:
        return {**answer, "result": change(answer["result"])} if item["method"] == "eth_getLogs" else answer

    return edit


def busy_block(local: AnvilAave) -> None:
    """A block in which balances of followed accounts move."""
    node, market = local.chain, local.market
    for reserve in market.reserves.values():
        node.send(market.lender, reserve.asset, "approve(address,uint256)", market.pool, MAX_UINT256)
        node.send(market.lender, reserve.asset, "mint(address,uint256)", market.lender, 10**24)
    node.rpc("evm_setAutomine", False)
    assert any(mine(node, repayments(node, market, market.borrowers[2:8])))
    node.rpc("evm_setAutomine", True)


@row("C5", "withheld logs are noticed by the bloom filter and had elsewhere; else nothing moves on", "log_bloom")
async def test_logs_that_are_withheld(anvil_aave: AnvilAave, off: str | None) -> None:
    async with FaultProxy(anvil_aave.process.url, 1) as liar, FaultProxy(anvil_aave.process.url, 2) as honest:
        async with following(anvil_aave, off, [liar, honest]) as (world, chain):
            busy_block(anvil_aave)
            liar.edits.append(says_logs(lambda _: []))
            await world.mirror.follow(await chain.block())
            await world.agree()
        liar.edits.clear()
        async with following(anvil_aave, off, [liar]) as (world, chain):
            busy_block(anvil_aave)
            liar.edits.append(says_logs(lambda _: []))
            was = world.mirror.tip
            assert isinstance(await outcome(world.mirror.follow(await chain.block())), BadAnswer)
            assert world.mirror.tip == was
            liar.edits.clear()
            await world.mirror.follow(await chain.block())
            await world.agree()


@row("C6", "doubled and disordered logs count once and in order; removed ones stop the step", "log_identity")
async def test_logs_that_are_doubled_disordered_or_removed(anvil_aave: AnvilAave, off: str | None) -> None:
    async with (
        FaultProxy(anvil_aave.process.url) as proxy,
        following(anvil_aave, off, [proxy]) as (world, chain),
    ):
        busy_block(anvil_aave)
        proxy.edits.append(says_logs(lambda logs: [*reversed(logs), *logs]))
        await world.mirror.follow(await chain.block())
        await world.agree()
        busy_block(anvil_aave)
        proxy.edits[:] = [says_logs(lambda logs: [{**log, "removed": True} for log in logs])]
        assert isinstance(await outcome(world.mirror.follow(await chain.block())), Reorged)
        proxy.edits[:] = [says_logs(lambda logs: [{**log, "blockHash": "0x" + "ab" * 32} for log in logs])]
        assert isinstance(await outcome(world.mirror.follow(await chain.block())), BadAnswer)
        proxy.edits.clear()
        await world.mirror.follow(await chain.block())
        await world.agree()


@row(
    "C7",
    "after an outage known accounts are right at once, then new borrowers of the gap come in, even after a crash",
    "back_fill",
    "40 blocks against a window of 8 stand for 50,000 against 128",
)
async def test_down_for_longer_than_the_window(anvil_aave: AnvilAave, off: str | None, folder: Path) -> None:
    node, market = anvil_aave.chain, anvil_aave.market
    who, file = Identity(market.chain_id, market.provider, "facts"), folder / "mirror"
    async with following(anvil_aave, off, folder=folder, window=8) as (world, _):
        save(file, who, Saved.of(world.mirror))
    newcomer = node.account("came while nobody looked")
    weth, usdc = market.reserves["WETH"], market.reserves["USDC"]
    node.send(market.lender, market.pool, SUPPLY, weth.asset, 10**18, newcomer, 0)
    node.send(newcomer, market.pool, BORROW, usdc.asset, 10**6, 2, 0, newcomer)
    busy_block(anvil_aave)
    node.mine(10)
    async with following(anvil_aave, off, folder=folder, window=8) as (world, chain):
        for _ in range(2):  # the first of these processes dies before it has looked for newcomers
            saved = load(file, who)
            world.mirror.resume(saved.columns, saved.block, saved.unknown, saved.unseen)
            node.mine(15)
            step = await world.mirror.follow(await chain.block())
            assert step is not None
            assert step.whole == "gap"
            await world.agree()
            save(file, who, Saved.of(world.mirror))
        await world.mirror.settle()
        assert world.mirror.ledger.find(bytes.fromhex(newcomer[2:])) is not None
        assert world.mirror.unseen is None
        await world.agree()
