"""At least 5,000 accounts a version on real contracts, through prices, jumps in time and deeds: every number exact."""

from __future__ import annotations

import pytest

from monitor.chain.rpc_chain import RpcChain
from monitor.protocols.aave_v3 import PROTOCOL, account
from monitor.testing.proof import prove
from tests.localnet_fixtures import AnvilAave

pytestmark = [pytest.mark.anvil, pytest.mark.slow]


@pytest.mark.parametrize("anvil_aave", ["3.0", "3.6"], indirect=True)
async def test_every_account_of_a_sweep_is_exact(anvil_aave: AnvilAave) -> None:
    chain = RpcChain(anvil_aave.process.url)
    try:
        proof = await prove(chain, anvil_aave.chain, anvil_aave.market, steps=160, seed=20)
    finally:
        await chain.close()
    assert proof.differences == []
    assert proof.exact == proof.snapshots >= 5_000
    assert proof.projected_exact == proof.projected >= 5_000
    assert len(proof.shapes) >= 2_000
    assert min(proof.levels["healthy"], proof.levels["unhealthy"]) >= 500


async def test_one_wrong_rounding_is_noticed(anvil_aave: AnvilAave, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof can fail: with 3.5's directed rounding of balances on a 3.0 market it does."""
    monkeypatch.setattr(account, "supplied_balance", lambda _, scaled, index: scaled * index // 10**27)
    chain = RpcChain(anvil_aave.process.url)
    try:
        proof = await prove(chain, anvil_aave.chain, anvil_aave.market, steps=3, seed=20)
    finally:
        await chain.close()
    assert proof.exact < proof.snapshots == 3 * len(anvil_aave.market.borrowers)
    assert not proof.holds
    assert PROTOCOL.name in proof.differences[0]
