"""Rows O12 and O13: tokens that take a fee, change balances, answer nothing or false, or refuse somebody."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from monitor.core.actions import ActionState
from monitor.core.guardian import LiquidateConfig
from monitor.execution.executor import Unfit
from monitor.execution.limits import AssetLimits
from monitor.journal.rows import Draft
from monitor.pipeline.acting import Recheck, approval_of
from monitor.pipeline.basis import fetch_decided_on
from monitor.pipeline.guardians import Guardian
from monitor.pipeline.liquidations import Wishes, chances, liquidation_draft
from monitor.testing.yul import compile_yul
from tests.faults.rows import row
from tests.rescue.lab import RescueLab

pytestmark = [pytest.mark.anvil]
CODE_BEHIND, WRINKLE = 0xF00D, 0xF00E
FEE, SENDER_PAYS, NO_ANSWER, FALSE, BLACK_LIST, NO_APPROVAL, REBASING = 1, 2, 3, 4, 5, 6, 8


@cache
def odd_code() -> str:
    return compile_yul(Path(__file__).with_name("OddToken.yul"))


def make_odd(lab: RescueLab, symbol: str, wrinkle: int) -> None:
    """Let the asset have a wrinkle; its own code stands behind."""
    asset, behind = lab.market.reserves[symbol].asset, "0x" + "0dd0" * 10
    lab.chain.rpc("anvil_setCode", behind, lab.chain.rpc("eth_getCode", asset, "latest"))
    lab.chain.rpc("anvil_setCode", asset, odd_code())
    for slot, value in ((CODE_BEHIND, int(behind, 16)), (WRINKLE, wrinkle)):
        lab.chain.rpc("anvil_setStorageAt", asset, f"0x{slot:064x}", f"0x{value:064x}")
    lab.chain.mine()


def plain(*_: object) -> str:
    return ""


@row(
    "O12",
    "a token that takes a fee, makes the sender pay more, or changes balances: measured, refused, the next step taken",
    "monitor.pipeline.acting:odd_transfer",
    limit="where no endpoint has eth_simulateV1 nothing is measured",
    careless=plain,
)
async def test_tokens_that_move_otherwise(rescue: RescueLab) -> None:
    lab = rescue
    before = lab.chain.snapshot()
    for wrinkle in (FEE, SENDER_PAYS, REBASING):
        lab.to_health(Fraction(11, 10))
        make_odd(lab, "USDC", wrinkle)
        await lab.looks(5)
        assert lab.states() == [ActionState.CLOSED_REJECTED, ActionState.FINAL_OK], lab.whys()
        assert any("USDC moves otherwise than asked" in why for why in lab.whys())
        assert lab.nonce == 1
        rejected, done = lab.recorded()
        assert rejected.draft.intent.kind == "aave-v3/repay"
        assert done.draft.asset == lab.market.reserves["WETH"].asset
        lab.start_anew(before)
        before = lab.chain.snapshot()


@row(
    "O12",
    "one that its user knows is used all the same",
    "monitor.pipeline.guardians:Guardian.odd_tokens",
    careless=property(lambda _: frozenset()),
)
async def test_a_known_odd_token(rescue: RescueLab) -> None:
    lab = rescue
    lab.odd_tokens = ("usdc",)
    lab.to_health(Fraction(11, 10))
    make_odd(lab, "USDC", FEE)
    await lab.looks(4)
    assert lab.states() == [ActionState.FINAL_OK], lab.whys()
    assert lab.nonce == 1


async def not_looked_at(*_: object) -> None:
    return None


@row(
    "O12",
    "liquidations too: a debt or a collateral that moves otherwise is left alone, unless its user knows it",
    "monitor.pipeline.acting:Recheck._transfer",
    limit="where no endpoint has eth_simulateV1 nothing is measured; a flash loan's profit is held to on chain",
    careless=not_looked_at,
)
async def test_liquidations_of_odd_tokens(rescues: RescueLab) -> None:
    lab = rescues
    much = Fraction(10**6)
    liquidate = LiquidateConfig(per_action=much, per_position_day=much, per_key_day=much)
    guardian = Guardian(lab.guardian.config.model_copy(update={"liquidate": liquidate}), lab.folder)
    lab.to_health(Fraction(98, 100))
    seen = await lab.look_only()
    found = chances(seen, lab.report, guardian, Wishes(), fee_cap=10**9, clock=lab.clock)
    assert found.terms is not None
    bid = found.found.bids[0]
    basis = await fetch_decided_on(lab.reader, seen.snapshot, lab.report, bid.last.position.block)
    draft = liquidation_draft(bid, found.terms, guardian, 0, basis.code)

    async def objection(*known: str) -> str:
        head = await lab.reader.block("latest")
        said = await Recheck(lab.reader, lab.memory, odd_tokens=frozenset(known))(draft, head)
        assert said is None or isinstance(said, Unfit), said
        return said.reason if said else ""

    assert await objection() == ""
    for symbol, wrinkle, told in (
        ("USDC", FEE, "USDC moves otherwise than asked: of"),
        ("USDC", SENDER_PAYS, "USDC moves otherwise than asked: of"),
        ("WETH", FEE, "arrive in the purse"),
        ("WETH", REBASING, "arrive in the purse"),
    ):
        before = lab.chain.snapshot()
        make_odd(lab, symbol, wrinkle)
        assert told in await objection()
        assert await objection(symbol.lower()) == ""
        lab.chain.revert(before)


def only_itself(*_: object) -> bool:
    """A careless guard: what was rejected is simply waited for."""
    return False


@row(
    "O15",
    "a step that would revert is rejected before its signature, and the next best is tried at the same block",
    "monitor.pipeline.protect:rejected",
    careless=only_itself,
)
async def test_the_next_best_at_once(rescue: RescueLab) -> None:
    lab = rescue
    lab.rule = replace(lab.rule, retry_s=3600)
    lab.to_health(Fraction(11, 10))
    make_odd(lab, "USDC", BLACK_LIST)  # which no number that is read tells
    await lab.look()
    assert [decided.plan and decided.plan.symbol for decided in lab.decisions()] == ["USDC", "WETH"]
    assert lab.nonce == 1, "sent at the block of the first decision"
    await lab.looks(2)
    assert lab.states() == [ActionState.CLOSED_REJECTED, ActionState.FINAL_OK], lab.whys()


@row(
    "O15",
    "where every step is rejected, each is tried once, it is told, and then the rule's rest is kept",
    "monitor.pipeline.protect:rested",
    careless=lambda watch, _: replace(watch, running=None, running_aim=None),
)
async def test_no_step_at_all_rests(rescue: RescueLab) -> None:
    lab = rescue
    lab.rule = replace(lab.rule, retry_s=600)
    lab.to_health(Fraction(11, 10))
    for symbol in ("USDC", "WETH"):
        make_odd(lab, symbol, BLACK_LIST)
    await lab.look()
    assert lab.states() == [ActionState.CLOSED_REJECTED] * 2, lab.whys()
    last = lab.decisions()[-1]
    assert last.plan is None
    assert "it was rejected right before its signature" in str([str(refusal) for refusal in last.proposal.refused])
    await lab.looks(3)
    assert len(lab.states()) == 2, "it rests"
    lab.chain.warp(600)
    await lab.look()
    assert len(lab.states()) == 4, "and tries again"
    assert lab.nonce == 0


async def not_simulated(*_: object, **__: object) -> Any:
    from monitor.execution.port import Passed

    return Passed(None)


@row(
    "O13",
    "no answer is as good as true; false or a black list fails in the simulation, with the reason, and costs nothing",
    "monitor.execution.signing:simulate",
    careless=not_simulated,
)
async def test_tokens_that_answer_otherwise(rescue: RescueLab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = rescue
    lab.actions = ("repay",)
    monkeypatch.setattr(Recheck, "_transfer", not_looked_at)  # which would notice too: it simulates as well
    before = lab.chain.snapshot()
    for wrinkle, reason in ((NO_ANSWER, ""), (FALSE, "GPv2"), (BLACK_LIST, "blacklisted")):
        lab.to_health(Fraction(11, 10))
        make_odd(lab, "USDC", wrinkle)
        await lab.looks(3)
        if not reason:
            assert lab.states() == [ActionState.FINAL_OK], lab.whys()
        else:
            assert set(lab.states()) <= {ActionState.CLOSED_REJECTED, ActionState.PLANNED}, lab.whys()
            assert ActionState.CLOSED_REJECTED in lab.states()
            assert any("it would revert" in why for why in lab.whys()), lab.whys()
            assert lab.nonce == 0
        lab.start_anew(before)
        before = lab.chain.snapshot()


@row(
    "O13",
    "an approval that answers true and grants nothing is not believed",
    "monitor.pipeline.acting:Recheck._approval",
    careless=not_looked_at,
)
async def test_an_approval_that_grants_nothing(rescue: RescueLab) -> None:
    lab = rescue
    await lab.look()
    usdc = lab.market.reserves["USDC"].asset
    lab.allow("USDC", 0)
    make_odd(lab, "USDC", NO_APPROVAL)
    await lab.look()
    assert lab.seen is not None
    steps = lab.steps("aave-v3/repay USDC")
    [remedy] = [step.remedy for step in steps]
    assert remedy is not None
    block = lab.report.block
    assert block is not None
    draft: Draft = approval_of(remedy, lab.guardian, block, {"symbol": "USDC"}, block.timestamp + 300)
    assert lab.acting.plan(draft) is not None
    lab.acting.allow({usdc: AssetLimits(10**12, 10**12, 10**12)})
    await lab.looks(2)
    assert lab.states() == [ActionState.CLOSED_REJECTED], lab.whys()
    assert any("and the allowance is 0" in why for why in lab.whys())
    assert lab.nonce == 0
