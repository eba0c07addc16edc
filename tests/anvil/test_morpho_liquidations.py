"""Liquidations on the real Morpho Blue: events, balances and totals equal to what was predicted, bad debt too."""

from __future__ import annotations

from dataclasses import replace

import pytest

from monitor.chain.rpc_chain import RpcChain
from monitor.policy.liquidator import bids, still_worth
from monitor.protocols.base import Impossible
from monitor.protocols.morpho_blue import PROTOCOL, keeper
from monitor.testing import morpho
from monitor.testing.anvil import AnvilProcess
from monitor.testing.morpho_lab import MorphoLab
from monitor.testing.morpho_liquidations import TERMS, liquidate_all

pytestmark = [pytest.mark.anvil]


async def test_random_borrowers_are_liquidated_for_what_was_predicted() -> None:
    with AnvilProcess() as process:
        async with RpcChain(process.url) as chain:
            lab = MorphoLab(chain, process.chain(), seed=8)
            await lab.open()
            tally = await liquidate_all(lab, 24)
            lab.local.close()
    assert tally.wrong == []
    assert tally.exact == tally.sent >= 12
    assert min(tally.bids, tally.partial, tally.bad_debt, tally.tried) >= 2


async def test_what_bounds_a_bid_and_what_lets_it_lapse(monkeypatch: pytest.MonkeyPatch) -> None:
    with AnvilProcess() as process:
        async with RpcChain(process.url) as chain:
            local = process.chain()
            lab = MorphoLab(chain, local, seed=9)
            await lab.open()
            owner, debt = lab.owners[0], lab.facts.loan.address
            position, purse = await lab.read(owner)
            (pair,) = PROTOCOL.liquidations(lab.facts, position, purse, None, position.block.timestamp + 1)
            assert pair.refused == "position is healthy"
            morpho.set_price(local, lab.market, 500 * 10**24)
            position, purse = await lab.read(owner)
            now_s = position.block.timestamp
            (pair,) = PROTOCOL.liquidations(lab.facts, position, purse, None, now_s + 60)
            assert 0 < pair.paid == pair.amount

            terms = replace(TERMS, most={debt: 10**12})
            (whole,) = bids(PROTOCOL, lab.facts, position, purse, None, terms).bids
            assert whole.last.amount == pair.amount
            # what is paid counts twice against limits, since shares bound it no better
            (half,) = bids(PROTOCOL, lab.facts, position, purse, None, replace(terms, most={debt: pair.amount})).bids
            assert half.last.amount == pair.amount // 2
            poor = replace(purse, loan=replace(purse.loan, balance=pair.amount // 3))
            (third,) = bids(PROTOCOL, lab.facts, position, poor, None, terms).bids
            assert third.last.amount == pair.amount // 3

            again = (PROTOCOL, lab.facts, position, purse, None, whole.intent, terms)
            assert still_worth(*again) == ""
            other = replace(whole.intent, args={**whole.intent.args, "oracle": owner})
            assert "no such collateral or debt" in still_worth(*again[:5], other, terms)
            morpho.set_price(local, lab.market, 5_000 * 10**24)
            risen, _ = await lab.read(owner)
            assert still_worth(PROTOCOL, lab.facts, risen, purse, None, whole.intent, terms) == "position is healthy"

            own = replace(purse, guardian=owner)
            (mine,) = PROTOCOL.liquidations(lab.facts, position, own, None, now_s)
            assert mine.refused == "a purse does not liquidate itself"
            stuck = replace(purse, loan=replace(purse.loan, stuck="paused"))
            (still,) = PROTOCOL.liquidations(lab.facts, position, stuck, None, now_s)
            assert still.refused == "USDC does not let the purse pay: paused"
            with pytest.raises(Impossible, match="nothing to pay"):
                PROTOCOL.liquidated(pair, 0, None, now_s)
            blind = replace(position, prices={}, state=replace(position.state, oracle_error="stale"))
            (dark,) = PROTOCOL.liquidations(lab.facts, blind, purse, None, now_s)
            assert dark.refused == "price() reverts: stale"
            monkeypatch.setattr(keeper, "SHARES_PER_UNIT", 10**6)
            (dear,) = PROTOCOL.liquidations(lab.facts, position, purse, None, now_s)
            assert dear.refused.startswith("the market's interest has made a share dearer")
            local.close()
