"""Liquidations on the real contracts: predicted amounts equal the events, impossible ones fail with the named error."""

from __future__ import annotations

import pytest

from monitor.chain.rpc_chain import RpcChain
from monitor.protocols.aave_v3 import keeper, liquidation
from monitor.testing.liquidations import HEADER, liquidate_all
from tests.localnet_fixtures import AnvilAave

pytestmark = [pytest.mark.anvil, pytest.mark.slow]
BOTH = pytest.mark.parametrize("anvil_aave", ["3.0", "3.6"], indirect=True)


@BOTH
async def test_predicted_amounts_are_those_of_the_contract(anvil_aave: AnvilAave) -> None:
    """A small run of `scripts/prove_liquidations`, which does the same for hundreds."""
    async with RpcChain(anvil_aave.process.url) as chain:
        tally = await liquidate_all(chain, anvil_aave.chain, anvil_aave.market, cases=30, seed=2)
    print(f"\n{HEADER}\n{tally.line()}")  # noqa: T201  `pytest -s` shows it
    assert tally.wrong == []
    assert tally.exact == tally.sent >= 15
    assert min(tally.bids, tally.partial, tally.with_fee, tally.tried) > 0


async def test_a_fee_off_by_one_is_noticed(anvil_aave: AnvilAave, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof can fail."""
    real = liquidation.fee_moved
    monkeypatch.setattr(keeper, "fee_moved", lambda *args: real(*args) + 1)
    async with RpcChain(anvil_aave.process.url) as chain:
        tally = await liquidate_all(chain, anvil_aave.chain, anvil_aave.market, cases=5, seed=2)
    assert tally.exact == 0 < tally.sent == len(tally.wrong)
