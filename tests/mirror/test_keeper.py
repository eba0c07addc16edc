"""A kept market through what changes the market itself, beside the contract's own health factors."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from monitor.chain.rpc_chain import RpcChain
from monitor.core.errors import ProtocolError
from monitor.core.types import BlockRef, MarketRef
from monitor.pipeline.keeping import Keeper, Look, Terms
from monitor.pipeline.memory import ShortMemory
from monitor.protocols.whole import Whole
from monitor.testing import aave_v3, aave_v3_origin
from monitor.testing.aave_v3_listing import listings
from monitor.testing.aave_v3_market import AaveMarket, Contracts
from monitor.testing.anvil import AnvilDevChain
from tests.localnet_fixtures import AnvilAave

pytestmark = [pytest.mark.anvil, pytest.mark.parametrize("anvil_aave", ["3.6"], indirect=True)]
NEAR = 50


def keeper(chain: RpcChain, market: AaveMarket, folder: Path, said: list[str]) -> Keeper:
    async def borrowers(_: Whole, __: BlockRef) -> list[bytes]:
        return [bytes.fromhex(owner[2:]) for owner in market.borrowers]

    ref = MarketRef(market.chain_id, "aave-v3", market.provider)
    return Keeper(chain, ref, "core", ShortMemory(), borrowers, Terms(Fraction(NEAR)), say=said.append, home=folder)


def agrees(look: Look | None, chain: AnvilDevChain, market: AaveMarket) -> None:
    assert look is not None
    told = {one.owner.lower(): one.numerator for one in look.near}
    healths = {owner.lower(): aave_v3.health_wad(chain, market, owner) for owner in market.borrowers}
    assert told == {owner: health for owner, health in healths.items() if health < NEAR * 10**18}
    assert told
    assert look.unknown == 0


async def test_a_new_reserve_is_taken_in(anvil_aave: AnvilAave, tmp_path: Path) -> None:
    node, market = anvil_aave.chain, anvil_aave.market
    said: list[str] = []
    async with RpcChain(anvil_aave.process.url) as chain:
        kept = keeper(chain, market, tmp_path, said)
        await kept.start(await chain.block())
        agrees(await kept.look(await chain.block(), 0), node, market)

        listing = replace(listings("3.6")[0], symbol="NEW")
        asset = aave_v3.deploy_token(node, market.admin, "NEW", listing.decimals)
        feed = aave_v3.deploy_feed(node, market.admin, "NEW / USD", 10**8)
        node.send(market.admin, market.oracle, "setAssetSources(address[],address[])", [asset], [feed])
        contracts = Contracts(market.provider, market.pool, market.configurator, market.oracle, market.data_provider)
        aave_v3_origin.list_reserves(node, market.admin, contracts, [listing], {"NEW": asset})
        agrees(await kept.look(await chain.block(), 0), node, market)
        assert any("list of reserves" in text or "changed" in text for text in said)
        node.mine(1)
        agrees(await kept.look(await chain.block(), 0), node, market)


async def test_a_market_that_cannot_be_read_is_told_and_taken_up_again(anvil_aave: AnvilAave, tmp_path: Path) -> None:
    node, market = anvil_aave.chain, anvil_aave.market
    async with RpcChain(anvil_aave.process.url) as chain:
        kept = keeper(chain, market, tmp_path, [])
        await kept.start(await chain.block())
        agrees(await kept.look(await chain.block(), 0), node, market)
        node.send(market.admin, market.provider, "setPriceOracle(address)", market.data_provider)
        for _ in range(2):
            with pytest.raises(ProtocolError):
                await kept.look(await chain.block(), 0)
            node.mine(1)
        node.send(market.admin, market.provider, "setPriceOracle(address)", market.oracle)
        aave_v3.shock(node, market, {"WETH": "-5%"})
        agrees(await kept.look(await chain.block(), 0), node, market)
        kept.save()
        again = keeper(chain, market, tmp_path, [])
        assert "from disk" in await again.start(await chain.block())
        node.mine(1)
        agrees(await again.look(await chain.block(), 0), node, market)
