"""Rehearsals of what sells collateral: exchange and second price sources follow the shock, or it is said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from monitor.core.types import NoDebt
from monitor.core.units import WAD
from monitor.pipeline import stage
from monitor.pipeline.guardians import PRICE_DECIMALS, Protection
from monitor.pipeline.rehearsal import Rehearsal, Rehearsing, aims
from monitor.policy.rules import Aim, PriceLine
from monitor.testing.artifacts import find_anvil
from tests.rescue.lab import KEY, RescueLab
from tests.rescue.test_second_price_rows import Market

pytestmark = [pytest.mark.anvil]


def line(lab: RescueLab, percent: int) -> PriceLine:
    """So much of the present price of ETH, which is told with 8 decimals."""
    price = lab.price("WETH") * percent // 100 * 10 ** (PRICE_DECIMALS - 8)
    return PriceLine("WETH", price, above=percent > 100, decimals=PRICE_DECIMALS)


async def rehearsed(lab: RescueLab) -> AsyncIterator[Rehearsal]:
    """Every aim of the lab's rule, each from the same state, which is put back."""
    async with stage.in_place(lab.reader) as on:
        protection = Protection(lab.rule, lab.actions, lab.assets)
        for aim in aims(protection):
            before = await on.snapshot()
            yield await Rehearsing(on, lab.subject, protection, lab.guardian, lab.memory, aim=aim).run()
            await on.revert(before)


async def test_closes_and_sales_are_rehearsed_at_shocked_prices(rescues: RescueLab) -> None:
    lab, market = rescues, Market(rescues)
    lab.actions = ("deleverage", "close")
    lab.rule = replace(lab.rule, stop_loss=line(lab, 90), take_profit=line(lab, 120))
    lab.chain.rpc("anvil_setBalance", KEY.address, hex(10 * WAD))
    health, price = lab.health, lab.price("WETH")
    found = [one async for one in rehearsed(lab)]
    assert [(one.aim, one.lands, one.why) for one in found] == [(aim, True, "") for aim in Aim]
    raised, stopped, taken = found
    assert [rung.plan.intent.kind for rung in raised.rungs] == ["aave-v3/deleverage"]
    for closed, percent in ((stopped, 90), (taken, 120)):
        assert [rung.plan.intent.kind for rung in closed.rungs] == ["aave-v3/close"]
        assert closed.after is not None
        assert isinstance(closed.after.verdict, NoDebt)
        assert [(fall.symbol, fall.after) for fall in closed.falls] == [("WETH", price * percent // 100)]
    for one in found:
        assert any("second price source of WETH is taken to follow" in note for note in one.notes)
    assert (lab.health, lab.price("WETH")) == (health, price), "and nothing of it is left"
    # a second source that says something else now is not moved, and its doubt is told
    market.confirm("WETH", 1_500)
    found = [one async for one in rehearsed(lab)]
    assert not any(one.lands for one in found)
    assert all("nothing is sold while a price is in doubt" in one.why for one in found)


async def test_a_close_is_rehearsed_on_a_fork(rescue: RescueLab) -> None:
    lab, market = rescue, Market(rescue)
    lab.actions, lab.rule = ("close",), replace(lab.rule, stop_loss=line(lab, 85))
    assert market.site.guard
    lab.chain.rpc("anvil_setBalance", KEY.address, hex(10 * WAD))
    protection, height = Protection(lab.rule, lab.actions, lab.assets), lab.chain.block_number()
    async with stage.fork(lab.reader, await lab.reader.block("latest"), find_anvil()) as on:
        aim = Aim.STOP_LOSS
        found = await Rehearsing(on, lab.subject, protection, lab.guardian, lab.memory, aim=aim).run()
    assert found.lands, found.why
    assert [rung.plan.intent.kind for rung in found.rungs] == ["aave-v3/close"]
    assert height == lab.chain.block_number()


async def test_an_exchange_that_cannot_be_made_to_follow_is_told(rescue: RescueLab) -> None:
    lab, market = rescue, Market(rescue)
    lab.actions = ("deleverage",)
    lab.guards[lab.ref] = replace(lab.guards[lab.ref], router=market.site.guard)
    [found] = [one async for one in rehearsed(lab)]
    assert not found.lands
    assert "the owner has not allowed the router" in found.why
    told = [note for note in found.notes if "could not be made to follow" in note]
    assert len(told) == 1
    assert "is that a router of Uniswap V3?" in told[0]
    # from the purse all the same, where that is allowed
    lab.actions = ("deleverage", "repay")
    [found] = [one async for one in rehearsed(lab)]
    assert found.lands, found.why
    assert [rung.plan.intent.kind for rung in found.rungs] == ["aave-v3/repay"]
