from __future__ import annotations

from collections.abc import Callable

import pytest

from monitor.testing.aave_v3_market import AaveMarket
from monitor.testing.devchain import CallReverted, DevChain
from monitor.testing.py_evm import EthTesterDevChain
from tests.localnet_checks import CHECKS
from tests.localnet_fixtures import EthTesterAave


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("ethtester_aave", ["3.0", "3.6"], indirect=True)
def test_market_in_process(ethtester_aave: EthTesterAave, check: Callable[[DevChain, AaveMarket], None]) -> None:
    check(ethtester_aave.chain, ethtester_aave.market)


@pytest.mark.slow
def test_a_call_sees_the_newest_blocks_own_timestamp(ethtester_aave: EthTesterAave) -> None:
    chain, market = ethtester_aave.chain, ethtester_aave.market
    feed = market.reserves["WETH"].feed
    chain.set_next_timestamp(chain.timestamp() + 1_000)
    chain.send(market.admin, feed, "setAnswer(int256)", 7)
    assert chain.call(feed, "latestTimestamp()", "(uint256)") == (chain.timestamp(),)


def test_chains_repeat_to_the_hash() -> None:
    def head() -> str:
        chain = EthTesterDevChain()
        chain.account("someone")
        chain.warp(1_000)
        return str(chain.tester.get_block_by_number("latest")["hash"])

    assert head() == head()


def test_a_failed_transaction_is_mined_and_says_why() -> None:
    chain = EthTesterDevChain()
    admin = chain.account("admin")
    number = chain.block_number()
    with pytest.raises(CallReverted):
        chain.create(admin, bytes.fromhex("60006000fd"))
    assert chain.block_number() == number + 1
