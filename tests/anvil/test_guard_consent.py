"""The transactions that `levmon guard` tells an owner to send are those that are missing, and enough."""

from __future__ import annotations

from fractions import Fraction

import pytest

from monitor.chain.port import run
from monitor.chain.rpc_chain import RpcChain
from monitor.core.guarding import GuardSetup
from monitor.core.types import MarketRef, Position
from monitor.pipeline.consent import owed, said
from monitor.pipeline.guardians import Protection
from monitor.policy.rules import Rule
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.guard import GuardState
from monitor.testing import guard, uniswap
from tests.localnet_fixtures import AnvilAave

pytestmark = pytest.mark.anvil
RULE = Protection(Rule("r", 1, "*", Fraction(12, 10), Fraction(15, 10)), ("deleverage", "close"), ())


@pytest.mark.parametrize("anvil_aave", ["3.6"], indirect=True)
async def test_what_is_told_is_what_is_missing(anvil_aave: AnvilAave) -> None:
    local, market = anvil_aave.chain, anvil_aave.market
    site = guard.deploy(local, market, [("WETH", "USDC")])
    keeper, owner = local.account("keeper"), market.borrowers[0]
    setup = GuardSetup(site.guard, site.exchange.router, site.exchange.quoter, (uniswap.FEE,))
    tokens = {market.reserves[symbol].asset: symbol for symbol in market.reserves}
    async with RpcChain(anvil_aave.process.url) as chain:

        async def look() -> tuple[GuardState, Position]:
            block = await chain.block("latest")
            ref = MarketRef(market.chain_id, PROTOCOL.name, market.provider)
            found = await run(chain, PROTOCOL.static(ref, block), block)
            facts = next(known for known in PROTOCOL.candidates(found) if known.version == "3.6")
            (position,) = await run(chain, PROTOCOL.state(facts, (owner,), block), block)
            assert isinstance(position, Position)
            purse = await run(chain, PROTOCOL.rescue_context(facts, keeper, (position,), block, setup), block)
            assert purse.guard is not None
            return purse.guard, position

        def missing(state: GuardState, position: Position) -> list[tuple[str, bytes, str]]:
            held = {
                f"a{tokens[asset]}": (market.reserves[tokens[asset]].a_token, allowed)
                for who, asset, allowed in state.allowances
            }
            return [(one.to, one.data, one.does) for one in owed(state, position, held, RULE, 10**6 * 10**8)]

        state, position = await look()
        first = missing(state, position)
        deposits = sum(reserve.scaled_a_token > 0 for reserve in position.state.reserves)
        assert len(first) == 3 + deposits
        assert f"{keeper} may not call it" in said(state, position, 8)
        for to, data, _ in first:
            local.send_data(owner, to, data)
        state, position = await look()
        assert missing(state, position) == []
        assert f"{keeper} may call it" in said(state, position, 8)
        local.send(owner, site.guard, "set_paused(bool)", True)
        local.send(owner, market.reserves["WETH"].a_token, "approve(address,uint256)", site.guard, 0)
        state, position = await look()
        assert said(state, position, 8)[0] == "paused by its owner"
        assert "lift the pause" in [does for _, _, does in missing(state, position)]
