"""Brings borrowers of a local Aave V3 market into danger by random prices and time; each version has its own chain.

For proofs that act on what they find: the planner's rescues and the keeper's liquidations.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import TypeVar

from monitor.chain.port import Chain
from monitor.core.types import Known, Position
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.testing.aave_v3 import price_of, set_price
from monitor.testing.aave_v3_market import AaveMarket, Version
from monitor.testing.devchain import DevChain

T = TypeVar("T")


def shake(local: DevChain, market: AaveMarket, rng: random.Random) -> None:
    """Let up to five weeks pass, and move two prices by up to a quarter."""
    local.warp(int(10 ** rng.uniform(0, 6.5)))
    for reserve in rng.sample(list(market.reserves.values()), 2):
        parts = rng.randrange(800_000, 1_250_000)
        set_price(local, market, reserve.feed, price_of(local, reserve.feed) * parts // 10**6)


def move_collateral(local: DevChain, market: AaveMarket, position: Position, wanted: Fraction) -> None:
    """Move the prices of what is collateral and no debt, so that health comes near what is wanted."""
    health = PROTOCOL.evaluate(position)
    if not isinstance(health.verdict, Known):
        return
    feeds = {reserve.asset: reserve.feed for reserve in market.reserves.values()}
    debts = {leg.asset for leg in health.legs if leg.side == "debt"}
    change = wanted * health.verdict.denominator / health.verdict.numerator
    for leg in health.legs:
        if leg.side == "collateral" and leg.enabled and leg.asset not in debts:
            answer = price_of(local, feeds[leg.asset]) * change.numerator // change.denominator
            set_price(local, market, feeds[leg.asset], max(1, answer))


async def on_own_market(version: Version, prove: Callable[[Chain, DevChain, AaveMarket], Awaitable[T]]) -> T:
    """What a proof answers on a chain and a market that nobody else uses."""
    from monitor.chain.rpc_chain import RpcChain
    from monitor.testing import aave_v3
    from monitor.testing.anvil import AnvilProcess

    with AnvilProcess() as process:
        local = process.chain()
        market = aave_v3.deploy(local, version)
        chain = RpcChain(process.url)
        try:
            return await prove(chain, local, market)
        finally:
            await chain.close()
            local.close()
