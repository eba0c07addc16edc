"""Rescues and liquidations on the real Aave V2: each to the wei, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from monitor.core.actions import Step
from monitor.protocols.aave_v2 import PROTOCOL, effects, keeper
from monitor.protocols.aave_v2.templates import LIQUIDATE, REPAY, SUPPLY
from monitor.protocols.aave_v3.math import rayDiv
from monitor.protocols.base import Impossible
from monitor.testing.aave_v2_lab import AaveV2Lab, in_own_lab
from monitor.testing.devchain import CallReverted
from monitor.testing.purse_liquidations import liquidate_all
from monitor.testing.purse_rescues import rescue_all
from monitor.testing.rescues import Tally, calldata

pytestmark = [pytest.mark.anvil]
KINDS = (REPAY.kind, SUPPLY.kind)


async def steps_of(lab: AaveV2Lab, owner: str) -> list[Step]:
    position, purse = await lab.read(owner)
    return PROTOCOL.rescue_steps(lab.facts, position, purse, position.block.timestamp + 60)


def refusal(lab: AaveV2Lab, step: Step, amount: int) -> str:
    """What the contract says to so much of the step at the newest block; empty if it does it."""
    try:
        lab.local.call_data(step.intent.to, calldata(step.with_amount(amount)), sender=lab.guardian)
    except CallReverted as reverted:
        return reverted.reason
    return ""


async def test_random_borrowers_come_to_their_target_and_are_liquidated_for_what_was_predicted() -> None:
    async def prove(lab: AaveV2Lab) -> None:
        for tally in await rescue_all(lab, KINDS, 5):
            assert tally.wrong == []
            assert tally.exact == tally.sent == tally.brought >= 4
        found = await liquidate_all(lab, 10)
        assert found.wrong == []
        assert found.exact == found.sent >= 5
        assert min(found.bids, found.partial) >= 2

    await in_own_lab(7, prove)


async def test_scaled_debt_rounded_the_other_way_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof can fail, and does."""
    monkeypatch.setattr(effects, "rayDiv", lambda *args: rayDiv(*args) + 1)

    async def prove(lab: AaveV2Lab) -> list[Tally]:
        return await rescue_all(lab, KINDS, 1)

    for tally in await in_own_lab(3, prove):
        assert tally.exact < tally.sent
        assert tally.wrong != []


async def test_every_amount_does_what_is_foretold_and_what_is_refused_is_said() -> None:
    async def prove(lab: AaveV2Lab) -> None:
        local, market = lab.local, lab.market
        for owner in lab.owners[:4]:
            local.warp(100_000)
            steps = await steps_of(lab, owner)
            for step in steps:
                if step.refused:
                    assert "stable" in step.refused
                    assert refusal(lab, step, 10**6).endswith("15")
                    continue
                for amount in dict.fromkeys((step.least, 10**5, min(step.most, step.purse))):
                    snapshot = local.snapshot()
                    at_s = step.position.block.timestamp + lab.random.randrange(1, 60)
                    local.set_next_timestamp(at_s)
                    local.send_data(lab.guardian, step.intent.to, calldata(step.with_amount(amount)))
                    now, _ = await lab.read(owner)
                    foretold = PROTOCOL.after(step.position, step.with_amount(amount), at_s)
                    assert lab.decisive(foretold) == lab.decisive(now)
                    assert await lab.truth(owner) == PROTOCOL.evaluate(now).reported
                    local.revert(snapshot)
        steps = await steps_of(lab, lab.owners[0])
        repay = next(step for step in steps if step.intent.kind == REPAY.kind and not step.refused)
        supply = next(step for step in steps if step.intent.kind == SUPPLY.kind)
        now_s = repay.position.block.timestamp
        with pytest.raises(Impossible, match=r"^1: "):
            PROTOCOL.after(repay.position, repay.with_amount(0), now_s)
        assert refusal(lab, repay, 0).endswith("1")
        (move,) = PROTOCOL.moves(lab.facts, supply.with_amount(1))
        (cash,) = local.call(supply.asset, "balanceOf(address)", "(uint256)", move.holder)
        assert cash > 0

        local.send(market.admin, market.configurator, "freezeReserve(address)", supply.asset)
        frozen = next(step for step in await steps_of(lab, lab.owners[0]) if step.key == supply.key)
        assert frozen.refused == f"3: {supply.symbol} is frozen"
        assert refusal(lab, supply, 10**9).endswith("3")
        local.send(market.admin, repay.asset, "mint(address,uint256)", market.admin, 1)
        local.send(lab.guardian, repay.asset, "approve(address,uint256)", market.pool, 0)
        tied = next(step for step in await steps_of(lab, lab.owners[0]) if step.key == repay.key)
        assert tied.refused.startswith("the purse lets the pool take 0 of its ")
        assert tied.remedy is not None
        local.send_data(lab.guardian, tied.remedy.to, calldata(tied.remedy))
        local.send(market.admin, market.configurator, "setPoolPause(bool)", True)
        assert {step.refused for step in await steps_of(lab, lab.owners[0])} == {"64: the pool is paused"}
        assert refusal(lab, repay, 1).endswith("64")

    await in_own_lab(5, prove)


async def test_what_a_liquidator_is_told() -> None:
    async def prove(lab: AaveV2Lab) -> None:
        owner = await lab.endangered(Fraction(8, 10), Fraction(9, 10))
        position, purse = await lab.read(owner)
        now_s = position.block.timestamp
        pairs = PROTOCOL.liquidations(lab.facts, position, purse, None, now_s)
        pair = next(pair for pair in pairs if not pair.refused)
        assert pair.intent.kind == LIQUIDATE.kind
        assert 0 < pair.paid == pair.amount
        part = PROTOCOL.liquidated(pair, pair.amount // 2, None, now_s)
        assert (part.paid, part.intent.args["debtToCover"]) == (pair.amount // 2, pair.amount // 2)
        assert PROTOCOL.repeated(lab.facts, pair, part.intent, None, now_s) == part
        other = replace(part.intent, args={**part.intent.args, "debtAsset": owner})
        assert PROTOCOL.repeated(lab.facts, pair, other, None, now_s) is None
        with pytest.raises(Impossible, match="nothing to pay"):
            PROTOCOL.liquidated(pair, 0, None, now_s)

        own = replace(purse, guardian=owner)
        assert {one.refused for one in PROTOCOL.liquidations(lab.facts, position, own, None, now_s)} == {
            "a purse does not liquidate itself"
        }
        dry = replace(purse, cash=tuple((asset, 0) for asset, _ in purse.cash))
        assert {one.refused[:2] for one in PROTOCOL.liquidations(lab.facts, position, dry, None, now_s)} == {"45"}
        dark = replace(purse, cash=tuple((asset, None) for asset, _ in purse.cash))
        assert {one.unread for one in PROTOCOL.liquidations(lab.facts, position, dark, None, now_s)} == {
            "the pool's cash"
        }
        worth = sum(leg.value for leg in PROTOCOL.evaluate(position).legs if leg.side == "collateral")
        assert 0 < keeper.loss(position) <= worth // 10

    await in_own_lab(6, prove)
