"""What must hold of a freshly deployed market, on whatever chain it is: asked of the contracts only."""

from __future__ import annotations

import json

import pytest

from monitor.testing import aave_v3
from monitor.testing.aave_v3_loans import cast
from monitor.testing.aave_v3_market import AaveMarket
from monitor.testing.codec import selector
from monitor.testing.devchain import CallReverted, DevChain

WAD = 10**18
YEAR_S = 31_536_000
# 3.0 reverts with the numbers of its Errors library, 3.6 with custom errors
NOT_BELOW_ONE = {"3.0": "45", "3.6": "0x" + selector("HealthFactorNotBelowThreshold()").hex()}
PAUSED = {"3.0": "29", "3.6": "0x" + selector("ReservePaused()").hex()}
SENTINEL_SAYS_NO = {"3.0": "59", "3.6": "0x" + selector("PriceOracleSentinelCheckFailed()").hex()}
REVISION = {"3.0": 1, "3.6": 10}


def flags(chain: DevChain, market: AaveMarket, symbol: str) -> int:
    (word,) = chain.call(market.pool, "getConfiguration(address)", "(uint256)", market.reserves[symbol].asset)
    return int(word)


def edge(chain: DevChain, market: AaveMarket) -> tuple[str, str, str]:
    """The borrower nearest to liquidation, one collateral and one debt of theirs."""
    user = min(market.borrowers, key=lambda owner: aave_v3.health_wad(chain, market, owner))
    loan = cast(market.version)[market.borrowers.index(user)]
    return user, loan.collateral[0][0], loan.debt[0].symbol


def check_people(chain: DevChain, market: AaveMarket) -> None:
    assert chain.call(market.pool, "POOL_REVISION()", "(uint256)") == (REVISION[market.version],)
    assert AaveMarket.from_json(json.loads(json.dumps(market.to_json()))) == market
    health = sorted(aave_v3.health_wad(chain, market, owner) for owner in market.borrowers)
    assert len(health) == len(set(market.borrowers)) >= 24
    assert WAD < health[0] < 1_006 * WAD // 1000
    assert health[-1] > 3 * WAD
    assert sum(value < 11 * WAD // 10 for value in health) >= 6
    assert aave_v3.health_wad(chain, market, market.lender) == 2**256 - 1


def check_listing(chain: DevChain, market: AaveMarket) -> None:
    assert len(market.reserves) >= 8
    decimals = {reserve.decimals for reserve in market.reserves.values()}
    assert decimals == ({2, 6, 8, 18} if market.version == "3.0" else {6, 8, 18})
    listed = chain.call(market.pool, "getReservesList()", "(address[])")[0]
    for reserve in market.reserves.values():
        assert listed[reserve.id] == reserve.asset.lower()
        assert chain.call(reserve.asset, "decimals()", "(uint8)") == (reserve.decimals,)
        assert chain.call(market.oracle, "getSourceOfAsset(address)", "(address)", reserve.asset) == (reserve.feed,)
        price = chain.call(market.oracle, "getAssetPrice(address)", "(uint256)", reserve.asset)[0]
        round_id, answer, _, updated_at, _ = chain.call(
            reserve.feed, "latestRoundData()", "(uint80,int256,uint256,uint256,uint80)"
        )
        assert (price, round_id) == (answer, 2)
        assert chain.timestamp() - 3_600 < updated_at <= chain.timestamp()
    assert flags(chain, market, "CRV") >> 57 & 1, "frozen"
    assert flags(chain, market, "AAVE") >> 212 & (2**40 - 1), "isolated"
    assert flags(chain, market, "WETH") >> 152 & 0xFFFF == 10_00, "liquidation protocol fee"


def check_shapes(chain: DevChain, market: AaveMarket) -> None:
    emodes = [chain.call(market.pool, "getUserEMode(address)", "(uint256)", owner)[0] for owner in market.borrowers]
    assert emodes.count(1) == emodes.count(2) == 2
    assert emodes.count(3) == (2 if market.version == "3.6" else 0)
    if market.version == "3.0":
        stable = [
            (owner, reserve.symbol)
            for reserve in market.reserves.values()
            for owner in market.borrowers
            if chain.call(str(reserve.s_token), "principalBalanceOf(address)", "(uint256)", owner)[0]
        ]
        assert len({owner for owner, _ in stable}) == 3
        words = "((uint16,uint16,uint16,address,string))"
        sources = [chain.call(market.pool, "getEModeCategoryData(uint8)", words, n)[0][3] for n in (1, 2)]
        assert [bool(int(source, 16)) for source in sources] == [True, False]
        assert set(market.emode_feeds) == {1}
    else:
        assert {reserve.s_token for reserve in market.reserves.values()} == {None}
        bitmap = chain.call(market.pool, "getEModeCategoryLtvzeroBitmap(uint8)", "(uint128)", 3)[0]
        assert bitmap == 1 << market.reserves["wstETH"].id


def check_shock(chain: DevChain, market: AaveMarket) -> None:
    user, collateral, _ = edge(chain, market)
    before = aave_v3.account_data(chain, market, user)
    feed = market.reserves[collateral].feed
    price = aave_v3.price_of(chain, feed)
    assert aave_v3.shock(chain, market, {collateral: "-12.3456%"}) == {collateral: (price, price * 876_544 // 10**6)}
    after = aave_v3.account_data(chain, market, user)
    assert aave_v3.price_of(chain, feed) == price * 876_544 // 10**6
    assert after[0] < before[0]
    assert after[5] < WAD < before[5]


def check_liquidation(chain: DevChain, market: AaveMarket) -> None:
    user, collateral, debt = edge(chain, market)
    assert aave_v3.would_liquidate(chain, market, collateral, debt, user) == NOT_BELOW_ONE[market.version]
    with pytest.raises(CallReverted) as refused:
        aave_v3.liquidate(chain, market, collateral, debt, user)
    assert refused.value.reason == NOT_BELOW_ONE[market.version]
    aave_v3.shock(chain, market, {collateral: "-2%"})
    assert aave_v3.health_wad(chain, market, user) < WAD
    assert aave_v3.would_liquidate(chain, market, collateral, debt, user) is None
    owed = aave_v3.account_data(chain, market, user)[1]
    aave_v3.liquidate(chain, market, collateral, debt, user)
    assert aave_v3.account_data(chain, market, user)[1] < owed


def check_time(chain: DevChain, market: AaveMarket) -> None:
    user, _, _ = edge(chain, market)
    start = chain.timestamp()
    owed, health = aave_v3.account_data(chain, market, user)[1], aave_v3.health_wad(chain, market, user)
    chain.warp(YEAR_S)
    assert chain.timestamp() == start + YEAR_S
    assert aave_v3.account_data(chain, market, user)[1] > owed * 101 // 100
    assert aave_v3.health_wad(chain, market, user) < WAD < health


def check_gates(chain: DevChain, market: AaveMarket) -> None:
    """A pause and a sentinel each hold off a liquidation that was possible, and let it go again."""
    user, collateral, debt = edge(chain, market)
    aave_v3.shock(chain, market, {collateral: "-2%"})

    def probe() -> str | None:
        return aave_v3.would_liquidate(chain, market, collateral, debt, user)

    assert probe() is None
    aave_v3.set_paused(chain, market, collateral, paused=True)
    assert probe() == PAUSED[market.version]
    aave_v3.set_paused(chain, market, collateral, paused=False)
    sentinel = aave_v3.deploy_sentinel(chain, market, grace_s=600)
    assert probe() is None
    aave_v3.set_sequencer(chain, market, sentinel, down=True, since=chain.timestamp())
    assert probe() == SENTINEL_SAYS_NO[market.version]
    aave_v3.set_sequencer(chain, market, sentinel, down=False, since=chain.timestamp())
    assert probe() == SENTINEL_SAYS_NO[market.version], "the grace period has begun"
    chain.warp(601)
    assert probe() is None


def check_feed_faults(chain: DevChain, market: AaveMarket) -> None:
    user, collateral, _ = edge(chain, market)
    feed = market.reserves[collateral].feed
    healthy = aave_v3.account_data(chain, market, user)
    for fault in (1, 2):
        chain.send(market.admin, feed, "setFault(uint256)", fault)
        with pytest.raises(CallReverted):
            aave_v3.account_data(chain, market, user)
    chain.send(market.admin, feed, "setFault(uint256)", 0)
    assert aave_v3.account_data(chain, market, user)[0] == pytest.approx(healthy[0], rel=1e-6)
    chain.send(market.admin, feed, "setRound(uint80,int256,uint256,uint256)", 77, 123, 5, 6)
    answer = chain.call(feed, "latestRoundData()", "(uint80,int256,uint256,uint256,uint80)")
    assert answer == (77, 123, 5, 6, 77)
    assert chain.call(feed, "latestAnswer()", "(int256)") == (123,)


CHECKS = (
    check_people,
    check_listing,
    check_shapes,
    check_shock,
    check_liquidation,
    check_time,
    check_gates,
    check_feed_faults,
)
