"""The mirror on real Aave V3: equal to a full reading after every block, whatever happened in it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from monitor.chain.mirror import MarketChanged, Mirror, Reading
from monitor.chain.mirror_file import Identity, Saved, load, save
from monitor.chain.rpc_chain import RpcChain
from monitor.core.types import BlockRef
from monitor.protocols.ledger import Account
from monitor.testing.aave_v3_people import BORROW, SUPPLY
from monitor.testing.market_activity import Activity
from tests.localnet_fixtures import AnvilAave
from tests.mirror.world import GetterAccounts, open_world, people

pytestmark = [pytest.mark.anvil, pytest.mark.slow]
BOTH = pytest.mark.parametrize("anvil_aave", ["3.0", "3.6"], indirect=True)


class Blind:
    """Reads all accounts but one."""

    def __init__(self, accounts: GetterAccounts, hidden: bytes) -> None:
        self.accounts, self.hidden = accounts, hidden

    async def read(self, owners: Sequence[bytes], block: BlockRef) -> Reading:
        found = await self.accounts.read([owner for owner in owners if owner != self.hidden], block)
        return Reading(found.columns, {owner: "hidden" for owner in owners if owner == self.hidden})

    async def newcomers(self, first: int, block: BlockRef) -> list[bytes]:
        return []


KINDS = {
    *("supply", "withdraw", "borrow", "repay", "repay with aTokens", "transfer", "liquidate", "collateral", "e-mode"),
    *("treasury", "price", "parameter"),
}


@BOTH
async def test_it_equals_the_chain_after_every_step(anvil_aave: AnvilAave) -> None:
    """Blocks one by one, gaps of a few, reorganisations up to twenty deep; the audit finds nothing in between."""
    dice = Random(7)
    node = anvil_aave.chain
    async with RpcChain(anvil_aave.process.url) as chain:
        world = await open_world(chain, anvil_aave.market)
        mirror = world.mirror
        await mirror.start(people(anvil_aave.market), await chain.block())
        depths = [20, 1, 2, 5]
        with Activity(node, anvil_aave.market) as activity:
            await mirror.follow(await chain.block())
            for n in range(28):
                depth = depths.pop() if n % 7 == 3 else 0
                if depth:
                    before = node.snapshot()
                    for _ in range(depth):
                        activity.block(most=1)
                        await mirror.follow(await chain.block())
                    node.revert(before)
                for _ in range(dice.choice((1, 1, 1, 3)) if not depth else depth + 1):
                    activity.block()
                step = await mirror.follow(await chain.block())
                assert step is not None
                assert (step.block, step.whole, step.undone) == (await chain.block(), "", depth)
                await world.agree()
                assert await mirror.settle() is None
        assert set(activity.kinds) >= KINDS | ({"swap rate"} if anvil_aave.market.version == "3.0" else set())
    assert mirror.counts.undone == 28
    assert mirror.counts.differences == 0
    assert mirror.counts.rereads == {"start": 1}
    assert mirror.counts.audited > 500


async def test_a_difference_is_found_by_the_audit_and_mended_aloud(
    anvil_aave: AnvilAave, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    async with RpcChain(anvil_aave.process.url) as chain:
        world = await open_world(chain, anvil_aave.market, tmp_path, audited=1_000)
        mirror = world.mirror
        await mirror.start(people(anvil_aave.market), await chain.block())
        wrong = mirror.ledger.account(5)
        kind = min(wrong.balances)
        mirror.ledger.put(5, Account(wrong.mode, wrong.flags, wrong.balances | {kind: wrong.balances[kind] + 1}))
        with caplog.at_level(logging.ERROR, "levmon.mirror"):
            step = await mirror.settle()
        assert step is not None
        assert step.whole == "difference"
        assert mirror.counts.differences == 1
        assert mirror.ledger.owner(5).hex() in caplog.text
        await mirror.settle()  # new borrowers of the blocks that are in doubt
        assert await mirror.settle() is None
        await world.agree()


async def test_a_reorganisation_beyond_the_journal_reads_everything_anew(anvil_aave: AnvilAave) -> None:
    node = anvil_aave.chain
    async with RpcChain(anvil_aave.process.url) as chain:
        world = await open_world(chain, anvil_aave.market, window=4)
        with Activity(node, anvil_aave.market) as activity:
            before = node.snapshot()
            for _ in range(3):
                activity.block()
            await world.mirror.start(people(anvil_aave.market), await chain.block())
            node.revert(before)
            for _ in range(6):
                activity.block()
            step = await world.mirror.follow(await chain.block())
        assert step is not None
        assert step.whole == "deep reorganisation"
        await world.agree()


async def test_a_reorganisation_and_a_gap_together_may_be_longer_than_the_journal(anvil_aave: AnvilAave) -> None:
    """Five blocks go and thirteen come, where nine are kept; then the journal has no way back beyond them."""
    node = anvil_aave.chain
    async with RpcChain(anvil_aave.process.url) as chain:
        world = await open_world(chain, anvil_aave.market, window=8)
        await world.mirror.start(people(anvil_aave.market), await chain.block())
        node.mine(3)
        await world.mirror.follow(await chain.block())
        with Activity(node, anvil_aave.market) as activity:
            await world.mirror.follow(await chain.block())
            before = node.snapshot()
            for _ in range(5):
                activity.block()
                await world.mirror.follow(await chain.block())
            node.revert(before)
            for _ in range(13):
                activity.block(most=2)
            step = await world.mirror.follow(await chain.block())
            assert step is not None
            assert (step.whole, step.undone) == ("", 5)
            await world.agree()
            activity.block()
            assert await world.mirror.follow(await chain.block()) is not None
            await world.agree()


async def test_who_came_with_a_block_that_left_the_chain_stays_and_is_read_anew(anvil_aave: AnvilAave) -> None:
    node, market = anvil_aave.chain, anvil_aave.market
    newcomer = node.account("came and went")
    row = len(people(market))
    async with RpcChain(anvil_aave.process.url) as chain:
        world = await open_world(chain, market)
        mirror = world.mirror
        await mirror.start(people(market), await chain.block())
        weth, usdc = market.reserves["WETH"], market.reserves["USDC"]
        node.send(market.lender, market.pool, SUPPLY, weth.asset, 10**18, newcomer, 0)
        before = node.snapshot()
        node.send(newcomer, market.pool, BORROW, usdc.asset, 10**6, 2, 0, newcomer)
        step = await mirror.follow(await chain.block())
        assert step is not None
        assert step.rows == (row,)
        node.revert(before)
        node.warp(77)
        node.mine()
        step = await mirror.follow(await chain.block())
        assert step is not None
        assert (step.rows, step.unknown, step.undone) == ((row,), {}, 1)
        assert list(mirror.ledger.account(row).balances) == [2 * weth.id + 1]
        await world.agree()


async def test_who_cannot_be_read_is_unknown_until_it_can(anvil_aave: AnvilAave) -> None:
    """Never a row that looks like an empty account, nor like what it was before."""
    node, market = anvil_aave.chain, anvil_aave.market
    hidden = people(market)[4]
    async with RpcChain(anvil_aave.process.url) as chain:
        world = await open_world(chain, market)
        accounts = Blind(world.accounts, hidden)
        mirror = Mirror(chain, world.market, accounts)
        step = await mirror.start(people(market), await chain.block())
        row = mirror.ledger.find(hidden)
        assert row is not None
        assert step.unknown == {row: "hidden"}
        node.mine()
        again = await mirror.follow(await chain.block())
        assert again is not None
        assert again.unknown == {row: "hidden"}
        assert await mirror.settle() is None
        accounts.hidden = b""
        node.mine()
        again = await mirror.follow(await chain.block())
        assert again is not None
        assert (again.rows, again.unknown) == ((row,), {})
        world.mirror = mirror
        await world.agree()


async def test_other_contracts_end_it_and_the_same_ones_do_not(anvil_aave: AnvilAave) -> None:
    node, market = anvil_aave.chain, anvil_aave.market
    async with RpcChain(anvil_aave.process.url) as chain:
        world = await open_world(chain, market)
        await world.mirror.start(people(market), await chain.block())
        node.send(market.admin, market.provider, "setPriceOracle(address)", market.oracle)
        step = await world.mirror.follow(await chain.block())
        assert step is not None
        assert step.whole == "upheaval"
        node.send(market.admin, market.provider, "setPriceOracle(address)", market.data_provider)
        with pytest.raises(MarketChanged, match="PriceOracleUpdated"):
            await world.mirror.follow(await chain.block())


async def test_it_goes_on_from_a_file(anvil_aave: AnvilAave, tmp_path: Path) -> None:
    """After a few blocks by their logs; its first step has globals even where no block came since."""
    who = Identity(anvil_aave.market.chain_id, anvil_aave.market.provider, "facts")
    async with RpcChain(anvil_aave.process.url) as chain:
        world = await open_world(chain, anvil_aave.market)
        await world.mirror.start(people(anvil_aave.market), await chain.block())
        save(tmp_path / "mirror", who, Saved.of(world.mirror))
        again = await open_world(chain, anvil_aave.market)
        saved = load(tmp_path / "mirror", who)
        again.mirror.resume(saved.columns, saved.block, saved.unknown, saved.unseen)
        step = await again.mirror.follow(await chain.block())
        assert step is not None
        assert (step.rows, step.whole, len(step.globals_)) == ((), "", len(anvil_aave.market.reserves))
        assert await again.mirror.follow(await chain.block()) is None
        with Activity(anvil_aave.chain, anvil_aave.market) as activity:
            for _ in range(4):
                activity.block()
        step = await again.mirror.follow(await chain.block())
        assert step is not None
        assert step.whole == ""
        await again.agree()
