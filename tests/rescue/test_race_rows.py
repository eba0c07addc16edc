"""Rows O16, O17 and O19: after a decision the market changes, the owner acts, or a liquidator is first."""

from __future__ import annotations

from fractions import Fraction

import pytest

from monitor.chain.code import fetch_code
from monitor.cli.act_command import decide
from monitor.cli.guarding import Prospect
from monitor.cli.session import Open
from monitor.cli.targets import ChainTarget
from monitor.core.actions import ActionState
from monitor.journal.rows import Severity
from monitor.pipeline.basis import lift
from monitor.pipeline.carry import Until, carry
from monitor.pipeline.events import Moved
from monitor.pipeline.guardians import ANY
from monitor.pipeline.plans import plan_for
from monitor.testing.aave_v3 import LIQUIDATION_CALL
from monitor.testing.devchain import MAX_UINT256
from tests.faults.rows import row
from tests.rescue.lab import TARGET, RescueLab

pytestmark = [pytest.mark.anvil]
DANGER = Fraction(11, 10)
REPAY = "repay(address,uint256,uint256,address)"


def no_difference(*_: object) -> str:
    return ""


@row(
    "O16",
    "a threshold that governance lowers in between: the old plan is not signed, a new one reaches the target",
    "monitor.pipeline.basis:Basis.differs",
    careless=no_difference,
)
async def test_changed_parameters(rescues: RescueLab) -> None:
    lab = rescues
    lab.to_health(DANGER)
    with lab.undecided():
        await lab.look()
    assert lab.states() == [ActionState.PLANNED]
    weth = lab.market.reserves["WETH"].asset
    lab.configure("configureReserveAsCollateral(address,uint256,uint256,uint256)", weth, 79_00, 80_00, 105_00)
    await lab.looks(4)
    assert lab.states() == [ActionState.CLOSED_EXPIRED, ActionState.FINAL_OK], lab.whys()
    assert any("the market's parameters changed since the decision" in why for why in lab.whys())
    assert TARGET <= lab.health <= TARGET * Fraction(1005, 1000)
    assert lab.nonce == 1


@row(
    "O16",
    "what a person asks for rests on the same: a threshold that is lowered before the signature ends it",
    "monitor.pipeline.basis:Basis.differs",
    careless=no_difference,
)
async def test_changed_parameters_by_hand(rescue: RescueLab) -> None:
    lab = rescue
    lab.to_health(DANGER)
    await lab.look_only()
    assert lab.seen is not None
    proposal = plan_for(lab.seen, lab.report, lab.guardian, ANY, TARGET, clock=lab.clock)
    target = ChainTarget("local", lab.market.chain_id, ())
    opened = Open(target, lab.reader, lab.market.chain_id, (lab.subject,))
    prospect = Prospect(opened, lab.seen, lab.report, lab.guardian, ANY, TARGET, proposal)
    draft = await decide(prospect, proposal.plans[0])
    lab.acting.allow(prospect.limits)
    weth = lab.market.reserves["WETH"].asset
    lab.configure("configureReserveAsCollateral(address,uint256,uint256,uint256)", weth, 79_00, 80_00, 105_00)
    carried = [one async for one in carry(lab.acting, draft, until=Until.MINED, within_s=9, clock=lab.clock)]
    assert carried[-1].action.state is ActionState.CLOSED_EXPIRED
    assert "the market's parameters changed since the decision" in carried[-1].why
    assert lab.nonce == 0


async def always_the_same(*_: object) -> str:
    return "known"


@row(
    "O16",
    "code that nobody has confirmed the rules of: nothing is signed, and nothing more until somebody looks into it",
    "monitor.pipeline.basis:fetch_code",
    careless=always_the_same,
)
async def test_unknown_code(rescue: RescueLab) -> None:
    lab = rescue
    await lab.look()
    lab.to_health(DANGER)
    with lab.undecided():
        await lab.look()
    # the same code with a byte behind it, at the same address: no number that is read of the market tells
    (implementation,) = lab.chain.call(lab.market.pool, "implementation()", "(address)", sender=lab.market.provider)
    code = lab.chain.rpc("eth_getCode", implementation, "latest")
    lab.chain.rpc("anvil_setCode", implementation, code + "00")
    await lab.looks(4)
    assert lab.states() == [ActionState.CLOSED_EXPIRED], lab.whys()
    assert any("the market's code changed since the decision" in why for why in lab.whys())
    assert "not that with which its rules were confirmed" in lab.decisions()[-1].said
    assert [hold.scope for hold in lab.acting.journal.holds()] == [f"position:{lab.position}"]
    assert lab.nonce == 0


def as_it_is(_: object, __: object, code: str, ___: object) -> str:
    return code


@row(
    "O16",
    "code that changed while levmon was down: held at the first look, and until somebody agrees to just that code",
    "monitor.pipeline.protect:trusted_code",
    careless=as_it_is,
)
async def test_code_that_changed_meanwhile(rescue: RescueLab) -> None:
    lab = rescue
    held = [f"position:{lab.position}"]

    def holds() -> list[str]:
        return [hold.scope for hold in lab.acting.journal.holds()]

    def change_code() -> None:
        (implementation,) = lab.chain.call(lab.market.pool, "implementation()", "(address)", sender=lab.market.provider)
        lab.chain.rpc("anvil_setCode", implementation, lab.chain.rpc("eth_getCode", implementation, "latest") + "00")

    async def start() -> list[str]:
        """As after a restart, and the first look of it."""
        lab.forget()
        await lab.looks(1)
        return holds()

    assert await start() == []
    assert await start() == [], "the same code as before"
    change_code()
    assert await start() == held, "told before anything is decided"
    lab.to_health(DANGER)
    await lab.looks(2)
    assert lab.states() == []
    assert "not that with which its rules were confirmed" in lab.decisions()[-1].said
    assert await start() == held, "another restart is no agreement"
    [hold] = lab.acting.journal.holds()
    lift(lab.acting.journal, hold, lab.chain.timestamp())
    lab.to_health(Fraction(13, 10))
    change_code()
    assert await start() == held, "that is not the code that was agreed to"
    [hold] = lab.acting.journal.holds()
    lift(lab.acting.journal, hold, lab.chain.timestamp())
    assert await start() == []
    lab.to_health(DANGER)
    await lab.looks(3)
    assert lab.states() == [ActionState.FINAL_OK], lab.whys()


async def no_second_look(*_: object) -> None:
    return None


@row(
    "O17",
    "the owner repays before the signature: nothing is signed, and it is told why",
    "monitor.pipeline.acting:Recheck.__call__",
    careless=no_second_look,
)
async def test_the_owner_was_faster(rescues: RescueLab) -> None:
    lab = rescues
    lab.to_health(DANGER)
    with lab.undecided():
        await lab.look()
    usdc = lab.market.reserves["USDC"].asset
    lab.mint("USDC", lab.owner, 20_000 * 10**6)
    lab.send(usdc, "approve(address,uint256)", lab.market.pool, MAX_UINT256, sender=lab.owner)
    lab.send(lab.market.pool, REPAY, usdc, 5_000 * 10**6, 2, lab.owner, sender=lab.owner)
    await lab.looks(3)
    assert lab.states() == [ActionState.CLOSED_NOOP], lab.whys()
    assert any("no longer needed" in why and "its owner repaid 5000 USDC in block" in why for why in lab.whys())
    assert lab.nonce == 0


def nobody(*_: object) -> None:
    return None


@row(
    "O17",
    "the owner repays all of it in the same block: our transaction reverts there, and that is no failure",
    "monitor.pipeline.aftermath:overtaken",
    careless=nobody,
)
async def test_the_owner_in_the_same_block(rescues: RescueLab) -> None:
    lab = rescues
    usdc = lab.market.reserves["USDC"].asset
    lab.mint("USDC", lab.owner, 20_000 * 10**6)
    lab.send(usdc, "approve(address,uint256)", lab.market.pool, MAX_UINT256, sender=lab.owner)
    lab.to_health(DANGER)
    with lab.one_block():
        await lab.look()
        lab.send_first(lab.market.pool, REPAY, usdc, MAX_UINT256, 2, lab.owner, sender=lab.owner)
    await lab.looks(4)
    assert lab.states() == [ActionState.FINAL_REVERTED], lab.whys()
    assert any("no longer needed: its owner repaid 10000" in why for why in lab.whys()), lab.whys()
    assert lab.guard.watches[lab.position].failed == 0
    assert lab.nonce == 1


@row(
    "O19",
    "a liquidator in the same block, before us: told with the blocks, critical, and not tried again",
    "monitor.pipeline.aftermath:overtaken",
    careless=nobody,
)
async def test_liquidated_first(rescues: RescueLab) -> None:
    lab = rescues
    weth, usdc = lab.market.reserves["WETH"].asset, lab.market.reserves["USDC"].asset
    liquidator = lab.chain.account("a stranger")
    lab.mint("USDC", liquidator, 20_000 * 10**6)
    lab.send(usdc, "approve(address,uint256)", lab.market.pool, MAX_UINT256, sender=liquidator)
    lab.to_health(Fraction(94, 100))
    with lab.one_block():
        await lab.look()
        call = (weth, usdc, lab.owner, MAX_UINT256, False)
        lab.send_first(lab.market.pool, LIQUIDATION_CALL, *call, sender=liquidator)
    await lab.looks(6)
    [state] = lab.states()
    assert state in (ActionState.FINAL_REVERTED, ActionState.FINAL_OK)
    told = [event.why for event in lab.events if isinstance(event, Moved) and "liquidated before" in event.why]
    assert told, lab.whys()
    assert f"{liquidator} liquidated it: " in told[0]
    assert "decided at block" in told[0]
    loud = [one.body for one in lab.acting.journal.pending_alerts(1000) if one.severity == Severity.CRITICAL]
    assert any("liquidated before it landed" in body for body in loud)
    assert lab.nonce == 1


async def test_code_is_seen_through_proxies(rescue: RescueLab) -> None:
    """The hash tells a changed implementation, a changed slot and a changed proxy, and nothing else."""
    lab, pool = rescue, rescue.market.pool

    async def now(*contracts: str) -> str:
        lab.chain.mine()
        return await fetch_code(lab.reader, contracts or (pool,), await lab.reader.block("latest"))

    before = await now()
    assert before == await now()
    assert before != await now(lab.market.oracle)
    assert await now(pool, lab.market.oracle) != await now(lab.market.oracle, pool)
    snapshot = lab.chain.snapshot()
    lab.chain.rpc("anvil_setCode", pool, "0x6001")
    assert before != await now()
    lab.chain.revert(snapshot)
    slot = "0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc"
    lab.chain.rpc("anvil_setStorageAt", pool, slot, "0x" + lab.market.oracle[2:].rjust(64, "0"))
    assert before != await now()
