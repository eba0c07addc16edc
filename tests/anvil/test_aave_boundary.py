"""At the edge of liquidation on real contracts: at a price, and one unit beside it, levmon says what the pool does.

For every borrower and every price in use the nearest liquidation price is solved; then the pool itself is asked, for
every pair of assets, whether it would liquidate there and one unit nearer to the present. The price is put in place
for the length of one call only, by overriding the feed's code, so that no transaction or block is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from monitor.chain import abi
from monitor.chain.port import run
from monitor.chain.rpc_chain import RpcChain
from monitor.core.types import Known, MarketRef, Position
from monitor.health.solve import liquidation_prices
from monitor.protocols.aave_v3 import PROTOCOL, words
from monitor.protocols.aave_v3.liquidation import Seizure
from monitor.protocols.aave_v3.records import Context, State
from monitor.protocols.base import with_price
from monitor.testing import aave_v3
from monitor.testing.aave_v3_market import AaveMarket
from monitor.testing.anvil import AnvilDevChain
from monitor.testing.devchain import MAX_UINT256, CallReverted
from tests.localnet_fixtures import AnvilAave

pytestmark = [pytest.mark.anvil, pytest.mark.slow]

GAS = hex(30_000_000)
DAY_S = 86_400
# what the market goes through before each look: prices in parts of a million by symbol, and days
STATES: tuple[tuple[dict[str, str], int], ...] = (
    ({}, 0),
    ({"WETH": "-2.5%", "USDC": "+0.3%", "LINK": "+4%"}, 30),
    ({"WBTC": "+6%", "DAI": "-0.7%", "wstETH": "-1.1%", "AAVE": "+9%"}, 3),
)


@dataclass
class Tally:
    """Pairs of prices whose verdicts differ, and every answer of the pool that was not levmon's."""

    pairs: int = 0
    calls: int = 0
    taken: int = 0
    differences: list[str] = field(default_factory=list)


@pytest.mark.parametrize("anvil_aave", ["3.0", "3.6"], indirect=True)
async def test_the_pool_agrees_at_the_price_and_one_unit_beside_it(anvil_aave: AnvilAave) -> None:
    chain = RpcChain(anvil_aave.process.url)
    tally = Tally()
    try:
        for changes, days in STATES:
            aave_v3.shock(anvil_aave.chain, anvil_aave.market, changes)
            anvil_aave.chain.warp(days * DAY_S + 1)
            await _look(chain, anvil_aave, tally)
    finally:
        await chain.close()
    assert tally.differences == []
    assert tally.pairs >= 250
    assert tally.taken >= tally.pairs
    assert tally.calls >= 2 * tally.pairs


async def _look(chain: RpcChain, local: AnvilAave, tally: Tally) -> None:
    market = local.market
    block = await chain.block("latest")
    facts = await run(chain, PROTOCOL.static(MarketRef(market.chain_id, PROTOCOL.name, market.provider), block), block)
    assert facts.version == market.version
    found = await run(chain, PROTOCOL.state(facts, market.borrowers, block), block)
    context = await run(chain, PROTOCOL.context(facts, block), block)
    for position in found:
        assert isinstance(position, Position)
        health = PROTOCOL.evaluate(position, context)
        if not isinstance(health.verdict, Known) or health.verdict.unhealthy:
            continue
        for solved in liquidation_prices(PROTOCOL, position):
            beside = solved.price + (1 if solved.direction == "below" else -1)
            tally.pairs += 1
            for price, unhealthy in ((solved.price, True), (beside, False)):
                _compare(local, with_price(position, solved.asset, price), solved.asset, context, tally, unhealthy)


def _compare(local: AnvilAave, position: Position, key: str, context: Context, tally: Tally, unhealthy: bool) -> None:
    """levmon's verdict, health factor and each pair's outcome against the pool's own at that price."""
    market, chain = local.market, local.chain
    feed = _feed(market, key)
    override = {feed: {"code": _answering(position.prices[key])}}
    said = f"{position.owner} {key} at {position.prices[key]}"
    health = PROTOCOL.evaluate(position, context)
    factor = _health_factor(chain, market, position, override)
    if not (isinstance(health.verdict, Known) and health.verdict.unhealthy is unhealthy is (factor < 10**18)):
        tally.differences.append(f"{said}: {health.verdict} and not {factor}")
    answers = []
    for collateral, debt in _pairs(position):
        outcome = PROTOCOL.liquidation(position, collateral, debt, context)
        succeeds = _liquidates(chain, market, position, (collateral, debt), override)
        answers.append(succeeds)
        tally.calls += 1
        if isinstance(outcome, Seizure) is not succeeds:
            tally.differences.append(f"{said}, {collateral} for {debt}: {outcome}, the pool {succeeds}")
    tally.taken += any(answers)
    if health.liquidatable is not any(answers):
        tally.differences.append(f"{said}: liquidatable {health.liquidatable}, the pool {any(answers)}")


def _pairs(position: Position) -> list[tuple[str, str]]:
    state: State = position.state
    bits = state.user_configuration
    return [
        (collateral.asset, debt.asset)
        for collateral in state.reserves
        if words.is_using_as_collateral(bits, collateral.id)
        for debt in state.reserves
        if words.is_borrowing(bits, debt.id)
    ]


def _feed(market: AaveMarket, key: str) -> str:
    """The feed behind an asset's price, or behind an e-mode category's own."""
    by_asset = {reserve.asset: reserve.feed for reserve in market.reserves.values()}
    if key in by_asset:
        return by_asset[key]
    (feed,) = market.emode_feeds.values()
    return feed


def _answering(price: int) -> str:
    """Code that answers every call with one word: PUSH32 price, PUSH0, MSTORE, PUSH1 32, PUSH0, RETURN."""
    return f"0x7f{price:064x}5f5260205ff3"


def _call(chain: AnvilDevChain, sender: str, to: str, data: bytes, override: object) -> bytes:
    fields = {"from": sender, "to": to, "data": "0x" + data.hex(), "gas": GAS}
    return bytes.fromhex(str(chain.rpc("eth_call", fields, "latest", override))[2:])


def _health_factor(chain: AnvilDevChain, market: AaveMarket, position: Position, override: object) -> int:
    getter = abi.function("aave_v3_pool.getUserAccountData")
    answer = _call(chain, market.liquidator, market.pool, getter.encode((position.owner,)), override)
    return int(getter.decode(answer)[5])


def _liquidates(
    chain: AnvilDevChain, market: AaveMarket, position: Position, pair: Sequence[str], override: object
) -> bool:
    call = abi.function("aave_v3_pool.liquidationCall")
    try:
        _call(chain, market.liquidator, market.pool, call.encode((*pair, position.owner, MAX_UINT256, False)), override)
    except CallReverted:
        return False
    return True
