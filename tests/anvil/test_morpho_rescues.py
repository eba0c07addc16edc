"""Rescues on the real Morpho Blue: what a step does to the wei, random borrowers brought to target, and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.chain.rpc_chain import RpcChain
from monitor.core.actions import Step
from monitor.protocols.base import APPROVE, Impossible
from monitor.protocols.morpho_blue import PROTOCOL, effects
from monitor.protocols.morpho_blue.math import to_shares_down
from monitor.protocols.morpho_blue.templates import REPAY, SUPPLY
from monitor.testing.anvil import AnvilProcess
from monitor.testing.devchain import CallReverted
from monitor.testing.morpho_lab import MorphoLab
from monitor.testing.purse_rescues import rescue_all
from monitor.testing.rescues import calldata
from monitor.testing.yul import compile_yul

pytestmark = [pytest.mark.anvil]
BLACK_LIST = 5
KINDS = (REPAY.kind, SUPPLY.kind)


@pytest.fixture
def process() -> Iterator[AnvilProcess]:
    with AnvilProcess() as process:
        yield process


async def steps_of(lab: MorphoLab, owner: str) -> dict[str, Step]:
    position, purse = await lab.read(owner)
    found = PROTOCOL.rescue_steps(lab.facts, position, purse, position.block.timestamp + 60)
    return {step.intent.kind: step for step in found}


def refusal(lab: MorphoLab, step: Step, amount: int) -> str:
    """What the contract says to so much of the step at the newest block; empty if it does it."""
    try:
        lab.local.call_data(step.intent.to, calldata(step.with_amount(amount)), sender=lab.guardian)
    except CallReverted as reverted:
        return reverted.reason
    return ""


async def test_random_borrowers_come_to_their_target(process: AnvilProcess) -> None:
    async with RpcChain(process.url) as chain:
        lab = MorphoLab(chain, process.chain(), seed=3)
        await lab.open()
        tallies = await rescue_all(lab, KINDS, 8)
        lab.local.close()
    for tally in tallies:
        assert tally.wrong == []
        assert tally.brought + sum(tally.refused.values()) == tally.cases == 8
        assert tally.exact == tally.sent == tally.brought >= 7


async def test_shares_rounded_the_other_way_are_noticed(process: AnvilProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof can fail, and does."""
    monkeypatch.setattr(effects, "to_shares_down", lambda *args: to_shares_down(*args) + 1)
    async with RpcChain(process.url) as chain:
        lab = MorphoLab(chain, process.chain(), seed=3)
        await lab.open()
        repaid, _ = await rescue_all(lab, KINDS, 2)
        lab.local.close()
    assert repaid.exact < repaid.sent
    assert repaid.wrong != []


async def test_every_amount_does_what_is_foretold_and_one_more_than_the_debt_is_refused(process: AnvilProcess) -> None:
    async with RpcChain(process.url) as chain:
        lab = MorphoLab(chain, process.chain(), seed=4)
        await lab.open()
        for owner in lab.owners:
            lab.local.warp(int(10 ** lab.random.uniform(0, 6.5)))
            steps = await steps_of(lab, owner)
            assert list(steps) == [REPAY.kind, SUPPLY.kind]
            repay = steps[REPAY.kind]
            assert repay.limited_by == "the debt"
            assert refusal(lab, repay, repay.most) == ""
            assert refusal(lab, repay, repay.most + 1) == "panic 0x11"
            with pytest.raises(Impossible, match="panic 0x11"):
                PROTOCOL.after(repay.position, repay.with_amount(repay.most + 1), repay.position.block.timestamp)
            for step, amount in (
                *((repay, amount) for amount in (1, lab.random.randrange(1, repay.most), repay.most)),
                *((steps[SUPPLY.kind], amount) for amount in (1, lab.random.randrange(1, 10**20))),
            ):
                snapshot = lab.local.snapshot()
                at_s = step.position.block.timestamp + lab.random.randrange(1, 100_000)
                intent = step.with_amount(amount)
                lab.local.set_next_timestamp(at_s)
                lab.local.send_data(lab.guardian, intent.to, calldata(intent))
                now, _ = await lab.read(owner)
                assert lab.decisive(PROTOCOL.after(step.position, intent, at_s)) == lab.decisive(now)
                lab.local.revert(snapshot)
        lab.local.close()


async def test_what_cannot_be_done_is_said_beforehand(process: AnvilProcess) -> None:
    async with RpcChain(process.url) as chain:
        local = process.chain()
        lab = MorphoLab(chain, local, seed=5)
        await lab.open()
        loan, weth = lab.facts.loan.address, lab.facts.collateral.address
        local.send(lab.guardian, loan, "approve(address,uint256)", lab.market.morpho, 0)
        repay = (await steps_of(lab, lab.owners[0]))[REPAY.kind]
        assert repay.refused.startswith("the purse lets Morpho take 0 of its ")
        assert repay.remedy is not None
        assert (repay.remedy.kind, repay.remedy.args["spender"]) == (APPROVE.kind, lab.market.morpho)
        local.send_data(lab.guardian, repay.remedy.to, calldata(repay.remedy))
        repay = (await steps_of(lab, lab.owners[0]))[REPAY.kind]
        assert (repay.refused, refusal(lab, repay, repay.most)) == ("", "")

        (held,) = local.call(weth, "balanceOf(address)", "(uint256)", lab.guardian)
        local.send(lab.guardian, weth, "transfer(address,uint256)", lab.market.admin, held)
        assert (await steps_of(lab, lab.owners[0]))[SUPPLY.kind].refused == "the purse holds 0 WETH"

        behind = "0x" + "0dd0" * 10
        local.rpc("anvil_setCode", behind, local.rpc("eth_getCode", loan, "latest"))
        odd = compile_yul(Path(__file__).parent.parent / "rescue" / "OddToken.yul")
        local.rpc("anvil_setCode", loan, odd)
        for slot, value in ((0xF00D, int(behind, 16)), (0xF00E, BLACK_LIST)):
            local.rpc("anvil_setStorageAt", loan, f"0x{slot:064x}", f"0x{value:064x}")
        local.mine()
        repay = (await steps_of(lab, lab.owners[0]))[REPAY.kind]
        assert repay.refused == "USDC does not let the purse pay: blacklisted"
        assert refusal(lab, repay, 1) != ""
        local.close()


async def test_without_debt_nothing_is_repaid_and_collateral_that_counts_for_nothing_is_not_added(
    process: AnvilProcess,
) -> None:
    async with RpcChain(process.url) as chain:
        lab = MorphoLab(chain, process.chain(), seed=6)
        await lab.open()
        assert (await steps_of(lab, lab.guardian))[REPAY.kind].refused == "the owner has no debt"
        position, purse = await lab.read(lab.owners[0])
        shut = replace(lab.facts, lltv=0)
        last = PROTOCOL.rescue_steps(shut, position, purse, position.block.timestamp)[-1]
        assert last.refused.startswith("the market lends nothing")
        lab.local.close()
