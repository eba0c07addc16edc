"""Rows O1, O4 and O11, as far as something would be sold: a second price source must confirm the protocol's.

A guard and a real exchange beside the market. The exchange follows the protocol's oracle at once, so that nothing but
the second source can tell that a price is wrong.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from monitor.core.actions import ActionState
from monitor.core.guarding import GuardSetup
from monitor.oracles.second import SecondSource
from monitor.pipeline.beside import Sources
from monitor.pipeline.events import Disputed
from monitor.pipeline.guardians import PRICE_DECIMALS
from monitor.policy.rules import PriceLine
from monitor.testing import aave_v3, guard, uniswap
from tests.faults.rows import row
from tests.rescue.lab import KEY, RULE, RescueLab

pytestmark = [pytest.mark.anvil]
PAIR = ("WETH", "USDC")
DAY_S = 86_400


class Market:
    """The lab's market with a guard that the owner trusts, and a second source for ETH and for the dollar."""

    def __init__(self, lab: RescueLab) -> None:
        self.lab = lab
        self.site = guard.deploy(lab.chain, lab.market, [PAIR])
        consent = guard.Consent(collateral=("WETH",), max_slippage_bps=200)
        guard.consent(lab.chain, lab.market, self.site, lab.owner, KEY.address, consent)
        exchange = self.site.exchange
        lab.guards[lab.ref] = GuardSetup(self.site.guard, exchange.router, exchange.quoter, (uniswap.FEE,))
        self.feeds = {
            name: aave_v3.deploy_feed(lab.chain, lab.market.admin, name, lab.price(name)) for name in ("WETH", "USDC")
        }
        lab.beside[lab.ref] = Sources({name: SecondSource(feed) for name, feed in self.feeds.items()})
        lab.actions = ("deleverage",)

    def say(self, symbol: str, percent: int) -> None:
        """The protocol's oracle, and with it the exchange, at so much of the present price."""
        self.lab.set_price(symbol, self.lab.price(symbol) * percent // 100)
        uniswap.arbitrage(self.lab.chain, self.site.exchange, self.lab.market, [PAIR])

    def confirm(self, symbol: str, per_mille: int = 1000) -> None:
        """The second source at so much of the protocol's price, now."""
        price = self.lab.price(symbol) * per_mille // 1000
        self.lab.send(self.feeds[symbol], "setAnswer(int256)", price)

    async def refused(self) -> str:
        """Why nothing was sold at the newest head; empty if it would be."""
        self.lab.forget()
        await self.lab.look()
        [decided] = self.lab.decisions()
        if decided.plan is not None:
            assert self.lab.passes() == [f"deleverage {decided.plan.symbol}"]
            return ""
        return " ".join(str(refusal) for refusal in decided.proposal.refused)


def no_doubt(*_: Any) -> str:
    return ""


@row(
    "O4",
    "a spike that only the protocol's oracle and a moved exchange know: nothing is sold, and repaying goes on",
    "monitor.pipeline.beside:doubt",
    careless=no_doubt,
)
async def test_nothing_is_sold_on_a_lone_spike(rescues: RescueLab) -> None:
    lab, market = rescues, Market(rescues)
    lab.dry = True
    market.say("WETH", 85)
    why = await market.refused()
    assert "nothing is sold while a price is in doubt: WETH: the protocol's price" in why
    assert "15.00 % below the second source's" in why
    [told] = [event for event in lab.events if isinstance(event, Disputed)]
    assert "WETH" in told.why
    assert any("below the second source's" in error for error in lab.report.errors)
    await lab.looks(1)
    assert len([event for event in lab.events if isinstance(event, Disputed)]) == 1, "told once"
    # from the purse nothing is sold
    lab.forget()
    lab.actions = ("deleverage", "repay")
    await lab.look()
    assert lab.passes() == ["repay USDC"]
    # confirmed, it is no spike
    market.confirm("WETH")
    lab.actions = ("deleverage",)
    assert await market.refused() == ""
    # up to the bound of 2 %, and no further
    for per_mille, sold in ((1020, True), (1021, False), (981, True), (980, False)):
        market.confirm("WETH", per_mille)
        assert (await market.refused() == "") == sold, per_mille


@row(
    "O11",
    "a debt in a dollar that is worth less elsewhere: it is not bought at the protocol's price, and that is told",
    "monitor.pipeline.beside:doubt",
    careless=no_doubt,
)
async def test_a_lost_peg_is_not_paid_for(rescue: RescueLab) -> None:
    lab, market = rescue, Market(rescue)
    lab.dry = True
    market.say("WETH", 85)
    market.confirm("WETH")
    market.confirm("USDC", 900)
    why = await market.refused()
    assert "in doubt: USDC: the protocol's price" in why
    assert "11.11 % above the second source's" in why
    market.confirm("USDC", 995)
    assert await market.refused() == ""


@row(
    "O1",
    "a stale feed: what it says is sold at only while a second source that is not stale itself confirms it",
    "monitor.pipeline.beside:doubt",
    careless=no_doubt,
)
async def test_a_stale_feed_needs_a_second_one(rescue: RescueLab) -> None:
    lab, market = rescue, Market(rescue)
    lab.dry = True
    market.say("WETH", 85)
    market.confirm("WETH")
    lab.chain.warp(2 * DAY_S)
    assert "the second price source is stale" in await market.refused()
    for name in market.feeds:
        market.confirm(name)
    assert lab.report.stale(), "the protocol's own is stale all the while"
    assert await market.refused() == ""
    for fault in (1, 2):
        lab.send(market.feeds["WETH"], "setFault(uint256)", fault)
        assert "WETH: the second price source cannot be read" in await market.refused()


@row(
    "O4",
    "a price that comes into doubt between decision and signature: the sale is not signed",
    "monitor.pipeline.acting:untrusted",
    careless=no_doubt,
)
async def test_a_doubt_before_the_signature(rescue: RescueLab) -> None:
    lab, market = rescue, Market(rescue)
    market.say("WETH", 85)
    market.confirm("WETH")
    with lab.undecided():
        await lab.look()
    assert lab.states() == [ActionState.PLANNED]
    market.confirm("WETH", 1100)
    await lab.looks(3)
    assert lab.states() == [ActionState.CLOSED_EXPIRED], lab.whys()
    assert any("nothing is sold while a price is in doubt" in why for why in lab.whys())
    assert lab.nonce == 0
    market.confirm("WETH")
    await lab.looks(3)
    assert lab.states() == [ActionState.CLOSED_EXPIRED, ActionState.FINAL_OK], lab.whys()


def as_if_done(watch: Any) -> Any:
    """A careless watch: the line has called once, and that was it."""
    return replace(watch, running=None, running_aim=None)


@row(
    "O4",
    "a stop loss whose sale came into doubt before its signature has not fired: once confirmed, it closes",
    "monitor.pipeline.settling:unfired",
    careless=as_if_done,
)
async def test_a_stop_loss_is_not_forgotten(rescue: RescueLab) -> None:
    lab, market = rescue, Market(rescue)
    lab.actions = ("close",)
    line = PriceLine("WETH", lab.price("WETH") * 90 // 100 * 10 ** (PRICE_DECIMALS - 8), above=False)
    lab.rule = replace(RULE, trigger=Fraction(101, 100), stop_loss=line)
    market.say("WETH", 88)
    market.confirm("WETH")
    with lab.undecided():
        await lab.look()
    assert lab.states() == [ActionState.PLANNED]
    market.confirm("WETH", 1100)
    await lab.looks(2)
    assert lab.states() == [ActionState.CLOSED_EXPIRED], lab.whys()
    market.confirm("WETH")
    await lab.looks(3)
    assert lab.states() == [ActionState.CLOSED_EXPIRED, ActionState.FINAL_OK], lab.whys()
    assert aave_v3.account_data(lab.chain, lab.market, lab.owner)[1] == 0, "no debt is left"
