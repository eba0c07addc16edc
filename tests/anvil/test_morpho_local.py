"""Morpho Blue on a local chain: the static plan, and every healthy-or-not against the contract's own refusal."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from monitor.chain.port import run
from monitor.chain.rpc_chain import RpcChain
from monitor.core.types import Known, MarketRef, Position
from monitor.core.units import WAD
from monitor.health.solve import liquidation_prices
from monitor.pipeline.confirm import fields_differ
from monitor.protocols.morpho_blue import PROTOCOL
from monitor.testing import morpho
from monitor.testing.anvil import AnvilProcess

pytestmark = pytest.mark.anvil


async def test_verdicts_equal_the_contract_at_and_beside_every_turning_price() -> None:
    seeded = random.Random(5)
    seen: Counter[bool] = Counter()
    with AnvilProcess() as process:
        local = process.chain()
        market = morpho.deploy(local)
        owners = [local.account(f"morpho borrower {n}") for n in range(12)]
        for owner in owners:
            collateral = seeded.randrange(10**15, 10**20)
            usdc = collateral * 2_000 * seeded.randrange(40, 86) // 100 // 10**12
            morpho.borrow(local, market, owner, collateral, usdc)
        local.warp(40 * 86_400 + 3)
        chain = RpcChain(process.url)
        block = await chain.block("latest")
        ref = MarketRef(local.chain_id, PROTOCOL.name, market.morpho, market.id)
        facts = await run(chain, PROTOCOL.static(ref, block), block)
        assert (facts.loan.symbol, facts.loan.decimals) == ("USDC", 6)
        assert (facts.collateral.symbol, facts.lltv, facts.adaptive) == ("WETH", 86 * WAD // 100, False)
        assert await run(chain, PROTOCOL.recheck(facts, block), block) is True
        for found in await run(chain, PROTOCOL.state(facts, owners, block), block):
            assert isinstance(found, Position)
            (turn,) = liquidation_prices(PROTOCOL, found, PROTOCOL.symbols(facts))
            for price in (turn.price - 1, turn.price, turn.price + 1):
                # interest runs on between the search and the next block: look for the turn of that block again
                morpho.set_price(local, market, price)
                now = await chain.block("latest")
                (position,) = await run(chain, PROTOCOL.state(facts, [found.owner], now), now)
                (truth,) = await run(chain, PROTOCOL.truth(facts, [found.owner], now), now)
                assert isinstance(position, Position)
                health = PROTOCOL.evaluate(position)
                assert isinstance(health.verdict, Known)
                assert truth.error == ""
                assert fields_differ(health.reported, truth.reported) == ""
                seen[health.verdict.unhealthy] += 1
        await chain.close()
        local.close()
    assert min(seen.values()) >= 5, seen
