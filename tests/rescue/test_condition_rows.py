"""Rows O4, O15, O18, O20 and O21: prices that jump, reserves that close, allowances, dust, and interest alone."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from monitor.core.actions import ActionState
from monitor.core.guardian import LimitsConfig
from monitor.core.guarding import GuardSetup
from monitor.core.units import WAD
from monitor.execution.port import Passed
from monitor.health.amounts import Found, worst_after
from monitor.health.solve import seconds_to_liquidation
from monitor.pipeline.acting import builder
from monitor.pipeline.events import Concerned, Forbidden, Missing, Unready
from monitor.pipeline.plans import options
from monitor.pipeline.readiness import RECHECK_S
from monitor.pipeline.today import Rest
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.signer.templates import builtin
from monitor.testing import guard, uniswap
from monitor.testing.aave_v3 import account_data, set_frozen, set_paused
from monitor.testing.devchain import CallReverted
from tests.faults.market import FIELDS
from tests.faults.rows import row
from tests.rescue.lab import KEY, RULE, TARGET, RescueLab

pytestmark = [pytest.mark.anvil]
HALF = Fraction(1, 2)
DAY_S = 86_400


def at_first_sight(*_: Any) -> int:
    """A careless count of how often: once is enough."""
    return 99


@row(
    "O4",
    "a jump of 50 % in one block and back starts nothing; one that lasts, or passes the hard trigger, does",
    "monitor.policy.rules:_recount",
    careless=at_first_sight,
)
async def test_a_spike_starts_nothing(rescue: RescueLab) -> None:
    rescue.rule, rescue.dry = replace(RULE, confirm=2), True
    usual = rescue.price("WETH")
    await rescue.look()
    for change in (HALF, Fraction(3, 2)) * 2:
        rescue.set_price("WETH", int(usual * change))
        await rescue.look()
        rescue.set_price("WETH", usual)
        await rescue.look()
    assert rescue.decisions() == []
    rescue.set_price("WETH", usual * 9 // 10)
    assert rescue.decisions() == []
    await rescue.looks(2)
    assert [one.decision.cause for one in rescue.decisions()] == ["health was below 1.2 in 2 observations in a row"]
    rescue.forget()
    rescue.rule = replace(rescue.rule, hard_trigger=Fraction(11, 10))
    rescue.set_price("WETH", int(usual * HALF))
    await rescue.look()
    [decided] = rescue.decisions()
    assert decided.decision.cause == "health is below the hard trigger 1.1"
    assert decided.plan is not None
    assert decided.plan.intent.kind == "aave-v3/repay", "nothing is sold at a price that may be gone tomorrow"


def never_too_much(*_: object) -> bool:
    return False


@row(
    "O4",
    "a plan made in a dip that is over before the signature: not signed as it is, for it would overshoot",
    "monitor.pipeline.acting:too_much",
    careless=never_too_much,
)
async def test_a_dip_that_is_over(rescues: RescueLab) -> None:
    lab = rescues
    usual = lab.price("WETH")
    lab.set_price("WETH", usual * 70 // 100)
    with lab.undecided():
        await lab.look()
    lab.set_price("WETH", usual)
    await lab.looks(4)
    assert lab.states() == [ActionState.CLOSED_EXPIRED], lab.whys()
    assert any("would overshoot" in why for why in lab.whys())
    assert lab.nonce == 0


def never(*_: object) -> str:
    return ""


@row(
    "O15",
    "a reserve that is paused, frozen or full: the next best step, and where there is none the reason",
    "monitor.protocols.aave_v3.effects:closed",
    careless=never,
)
async def test_closed_reserves(rescues: RescueLab) -> None:
    lab = rescues
    lab.dry = True
    lab.fill_purse("DAI")
    lab.to_health(Fraction(11, 10))

    async def step() -> str:
        lab.forget()
        await lab.look()
        assert lab.report.health is not None
        truth = account_data(lab.chain, lab.market, lab.owner)
        assert lab.report.health.reported == dict(zip(FIELDS, truth, strict=True))
        return "; ".join(lab.passes())

    assert await step() == "repay USDC"
    usdc = lab.market.reserves["USDC"].asset
    if lab.market.version == "3.0":
        lab.configure("setReserveStableRateBorrowing(address,bool)", usdc, False)
    lab.configure("setReserveBorrowing(address,bool)", usdc, False)
    assert await step() == "repay USDC", "what may not be borrowed any more may be repaid"
    set_frozen(lab.chain, lab.market, "USDC", True)
    assert await step() == "repay USDC"
    set_paused(lab.chain, lab.market, "USDC", True)
    assert await step() == "supply WETH"
    set_frozen(lab.chain, lab.market, "WETH", True)
    assert await step() == "supply DAI"
    dai = lab.market.reserves["DAI"].asset
    lab.configure("setSupplyCap(address,uint256)", dai, 1)
    assert await step() == ""
    [decided] = lab.decisions()
    reasons = " ".join(str(refusal) for refusal in decided.proposal.refused)
    for word in ("repay USDC: ReservePaused", "supply WETH: ReserveFrozen", "supply DAI: SupplyCapExceeded"):
        assert word in reasons
    assert decided.said == "no step is possible", "who is told so can do something about it"
    lab.configure("setSupplyCap(address,uint256)", dai, 0)
    # what counts for nothing is no help, even if it could be supplied
    lab.configure("configureReserveAsCollateral(address,uint256,uint256,uint256)", dai, 0, 75_00, 105_00)
    assert await step() == ""
    assert "DAI would not become collateral by itself: an LTV of 0" in str(lab.decisions()[0].proposal.refused)
    lab.configure("setPoolPause(bool)", False)
    assert await step() == "repay USDC"


def from_the_reserve(_: Any, held: Any, __: Any) -> int:
    """Careless: e-mode or not, the reserve's own threshold."""
    from monitor.protocols.aave_v3 import words

    return words.liquidation_threshold(held.configuration)


@row(
    "O15",
    "an e-mode category that governance changes: health by the new terms, at once",
    "monitor.protocols.aave_v3.account:reserve_threshold",
    careless=from_the_reserve,
)
async def test_a_changed_category(rescues: RescueLab) -> None:
    lab = rescues
    lab.dry = True
    before = {report.owner: report.health for report in await lab.everyone()}
    terms = (1, 80_00, 83_00, 102_00)
    if lab.market.version == "3.0":
        signature = "setEModeCategory(uint8,uint16,uint16,uint16,address,string)"
        lab.configure(signature, *terms, "0x" + "00" * 20, "stable")
    else:
        lab.configure("setEModeCategory(uint8,uint16,uint16,uint16,string)", *terms, "stable")
    changed = 0
    for report in await lab.everyone():
        truth = dict(zip(FIELDS, account_data(lab.chain, lab.market, report.owner), strict=True))
        assert report.health is not None
        assert report.health.reported == truth
        old = before[report.owner]
        assert old is not None
        changed += old.reported["currentLiquidationThreshold"] != truth["currentLiquidationThreshold"]
    assert changed > 0


def nobody_looks(*_: object) -> list[Any]:
    return []


@row(
    "O18",
    "an allowance that is revoked: told at the next block, while the position is well",
    "monitor.pipeline.permissions:Permissions.look",
    careless=nobody_looks,
)
async def test_a_revoked_allowance(rescue: RescueLab) -> None:
    rescue.assets = ("USDC",)
    await rescue.look()
    assert not [event for event in rescue.events if isinstance(event, Missing)]
    rescue.allow("USDC", 0)
    found = [event for event in await rescue.look() if isinstance(event, Missing)]
    assert [event.symbols for event in found] == [("USDC",)]
    assert rescue.decisions() == []
    assert not [event for event in await rescue.looks(1) if isinstance(event, Missing)], "told once"
    rescue.to_health(Fraction(11, 10))
    await rescue.look()
    [decided] = rescue.decisions()
    assert decided.plan is None
    assert "the purse lets the pool take 0 of its 100000 USDC" in str(decided.proposal.refused)
    rescue.allow("USDC", 10**12)
    await rescue.looks(3)
    assert rescue.states() == [ActionState.FINAL_OK]


@row(
    "O18",
    "a purse, an allowance or limits that would not suffice at the trigger: told while the position is well, once",
    "monitor.pipeline.readiness:Readiness.look",
    careless=nobody_looks,
)
async def test_a_purse_that_could_not_do_its_job(rescues: RescueLab) -> None:
    lab = rescues
    lab.dry, lab.actions = True, ("repay", "deleverage")
    usdc, bin_ = lab.market.reserves["USDC"], lab.chain.account("bin")

    async def told() -> list[tuple[str, bool]]:
        return [(event.why, event.helpless) for event in await lab.looks(2) if isinstance(event, Unready)]

    async def told_once() -> tuple[str, bool]:
        found = await told()
        assert len(found) == 1, found
        return found[0]

    def leave(amount: int) -> None:
        """So much in the purse."""
        balance = lab.chain.call(usdc.asset, "balanceOf(address)", "(uint256)", KEY.address)[0]
        if balance:
            lab.send(usdc.asset, "transfer(address,uint256)", bin_, balance, sender=KEY.address)
        lab.mint("USDC", KEY.address, amount)

    assert await told() == [], "what it has is enough"
    leave(0)
    why, helpless = await told_once()
    assert helpless
    assert why.startswith("below 1.2 nothing could be done from the purse: ")
    assert "aave-v3/repay USDC: the purse holds 0 USDC" in why
    leave(100 * 10**6)
    why, helpless = await told_once()
    assert not helpless
    assert "from 1.2 health would only come to 1.21" in why
    assert "not to 1.4" in why
    leave(99 * 10**6)
    assert await told() == [], "still the same, whatever the numbers"
    leave(100_000 * 10**6)
    assert await told() == [("", False)]
    lab.allow("USDC", 50 * 10**6)
    why, helpless = await told_once()
    assert "the purse's allowance" in why
    assert not helpless
    # what was said is right: at the trigger the planner says the same
    lab.to_health(Fraction(1199, 1000))
    assert await told() == [], "now the decision itself says it"
    [decided] = lab.decisions()
    assert decided.plan is not None
    assert "which all of the purse's allowance does not reach" in decided.plan.why
    lab.to_health(Fraction(3))
    leave(1_500 * 10**6)
    lab.allow("USDC", 10**12)
    assert await told() == [("", False)]
    # debts, prices and limits move while the purse does not: looked at again after a while
    borrow = "borrow(address,uint256,uint256,uint16,address)"
    lab.send(lab.market.pool, borrow, usdc.asset, 5_000 * 10**6, 2, 0, lab.owner, sender=lab.owner)
    assert await told() == []
    lab.chain.warp(RECHECK_S)
    why, _ = await told_once()
    assert "repay USDC: all of the purse reaches only 1.3" in why


@row(
    "O18",
    "an owner who takes back what the guard may take, or narrows its settings: told while the position is well, once",
    "monitor.pipeline.permissions:Permissions.look",
    careless=nobody_looks,
)
async def test_an_owner_who_trusts_the_guard_no_longer(rescue: RescueLab) -> None:
    lab = rescue
    lab.dry, lab.actions = True, ("deleverage",)
    site = guard.deploy(lab.chain, lab.market, [("WETH", "USDC")])
    settings = guard.Consent(trigger_wad=13 * WAD // 10, low_wad=13 * WAD // 10, collateral=("WETH",))
    exchange = site.exchange
    lab.guards[lab.ref] = GuardSetup(site.guard, exchange.router, exchange.quoter, (uniswap.FEE,))

    async def told(**changed: Any) -> list[tuple[str, ...]]:
        guard.consent(lab.chain, lab.market, site, lab.owner, KEY.address, replace(settings, **changed))
        return [event.reasons for event in await lab.looks(2) if isinstance(event, Forbidden)]

    def take_back() -> None:
        a_weth = lab.market.reserves["WETH"].a_token
        lab.send(a_weth, "approve(address,uint256)", site.guard, 0, sender=lab.owner)

    lab.to_health(Fraction(14, 10))
    assert await told() == []
    for _ in range(2):
        take_back()
        found = [event for event in await lab.looks(2) if isinstance(event, Forbidden)]
        assert [event.reasons for event in found] == [("the owner has not let the guard take WETH",)]
        assert await told() == []
    [(why,)] = await told(trigger_wad=11 * WAD // 10)
    assert why.startswith("the guard acts below 1.1000 and leaves health between 1.3000 and ")
    assert why.endswith("; the rule wants it below 1.2000, to 1.4000")
    assert await told(trigger_wad=12 * WAD // 10, high_wad=14 * WAD // 10) == [()]
    for narrow in ({"trigger_wad": 12 * WAD // 10 - 1}, {"high_wad": 14 * WAD // 10 - 1}, {"low_wad": 15 * WAD // 10}):
        assert len(await told(**narrow)) == 1, narrow
        assert await told() == [()]


def a_whole_day(*_: object) -> Rest:
    return Rest({}, 10**30)


@row(
    "O18",
    "a day whose limits or gas are used up but for too little: told while the position is well and near",
    "monitor.pipeline.protect:rest_of",
    careless=a_whole_day,
)
async def test_a_day_that_is_nearly_used_up(rescue: RescueLab) -> None:
    lab = rescue
    much = Fraction(3_000)
    lab.actions, lab.limits = ("repay",), LimitsConfig(per_action=much, per_position_day=much, per_key_day=much * 9)

    async def told() -> list[tuple[str, bool]]:
        return [(event.why, event.helpless) for event in await lab.looks(2) if isinstance(event, Unready)]

    assert await told() == []
    lab.to_health(Fraction(11, 10))
    said = await told()
    assert lab.states() == [ActionState.FINAL_OK], lab.whys()
    said += await told()
    assert len(said) == 1, said
    [(why, helpless)] = said
    # about 2,140 of the 3,000 are spent, and from the trigger it would take 1,120
    assert re.match(r"within what is left of today's limits \(8\d\d\.\d+ USDC", why), why
    assert "from 1.2 health would only come to 1.3" in why
    assert not helpless
    lab.to_health(Fraction(2))
    lab.chain.warp(RECHECK_S)
    assert await told() == [("", False)], "it is not near"
    lab.to_health(Fraction(14, 10))
    lab.chain.warp(RECHECK_S)
    assert len(await told()) == 1
    lab.chain.warp(DAY_S)
    assert await told() == [("", False)], "another day"
    lab.forget()
    lab.gas_per_day = Fraction(1, 10**9)
    [(why, helpless)] = await told()
    assert re.fullmatch(r"1000000000 wei are left of today's gas, and it would need \d+", why), why
    assert helpless


def no_objections(*_: object) -> list[str]:
    return []


@row(
    "O18",
    "a dry run whose key could not pay for gas, or would not: told at the start, and beside the decision",
    "monitor.pipeline.today:reasons",
    limit="the key's own limits and caps; whether endpoints would take it only a send can tell",
    careless=no_objections,
)
async def test_a_dry_run_minds_gas(rescue: RescueLab) -> None:
    lab = rescue
    lab.dry, lab.actions = True, ("repay",)

    def pay(wei: int) -> None:
        lab.chain.rpc("anvil_setBalance", KEY.address, hex(wei))

    async def concerned() -> list[str]:
        return [event.text for event in await lab.looks(2) if isinstance(event, Concerned)]

    assert await concerned() == []
    pay(10**12)
    assert await concerned() == [], "looked at now and then"
    lab.chain.warp(RECHECK_S)
    [text] = await concerned()
    assert text.startswith(f"the key has {10**12} wei left; the next rescues may take ")
    lab.to_health(Fraction(11, 10))
    await lab.look()
    [decided] = lab.decisions()
    assert isinstance(decided.simulated, Passed)
    assert re.fullmatch(r"dry; armed, it would not be signed: the key lacks \d+ wei for gas and reserve", decided.said)
    pay(10**18)
    lab.chain.warp(RECHECK_S)
    assert await concerned() == [f"over: {text}"]

    async def said() -> str:
        lab.forget()
        await lab.look()
        return lab.decisions()[-1].said

    assert await said() == "dry"
    lab.gas_per_day = Fraction(1, 10**9)
    assert "limit gas per day in wei: " in await said()
    lab.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(60 * 10**9))
    lab.chain.mine()
    dear = await said()
    lab.chain.rpc("anvil_setNextBlockBaseFeePerGas", "0x0")
    lab.chain.mine()
    assert "fee cap reached: the key's cap allows 50000000000 wei per gas, " in dear


def nothing_to_say(*_: object, **__: object) -> str:
    return ""


@row(
    "O18",
    "an owner whose allowance for the guard is too small for a rescue at the trigger: told in numbers beforehand, once",
    "monitor.pipeline.permissions:too_little",
    careless=nothing_to_say,
)
async def test_an_allowance_that_is_too_small(rescue: RescueLab) -> None:
    lab = rescue
    lab.dry, lab.actions = True, ("deleverage",)
    pairs = [("WETH", "USDC")]
    site = guard.deploy(lab.chain, lab.market, pairs)
    settings = guard.Consent(trigger_wad=13 * WAD // 10, low_wad=13 * WAD // 10, collateral=("WETH",))
    lab.guards[lab.ref] = GuardSetup(site.guard, site.exchange.router, site.exchange.quoter, (uniswap.FEE,))
    guard.consent(lab.chain, lab.market, site, lab.owner, KEY.address, settings)
    a_weth = lab.market.reserves["WETH"].a_token
    (deposit,) = lab.chain.call(a_weth, "balanceOf(address)", "(uint256)", lab.owner)

    async def told(may: int) -> list[tuple[str, ...]]:
        """What is said at the next heads once the guard may take so much."""
        lab.send(a_weth, "approve(address,uint256)", site.guard, may, sender=lab.owner)
        return [event.reasons for event in await lab.looks(2) if isinstance(event, Forbidden)]

    lab.to_health(Fraction(13, 10))
    assert await told(deposit * 2) == []
    found = await told(deposit // 100)
    assert len(found) == 1, found
    [(why,)] = found
    said = re.fullmatch(r"the guard may take (.+) WETH, and a rescue may need (.+) at health 1.2, (.+) now", why)
    assert said is not None, why
    may, most, now = (int(Fraction(number) * WAD) for number in said.groups())
    assert may == deposit // 100
    assert 0 < now < most < deposit
    assert await told(deposit * 2) == [()]
    assert len(await told(most * 99 // 100)) == 1
    assert await told(most * 112 // 100) == [()]
    assert await told(most * 101 // 100) == [], "that is enough"
    # what was said is right: at the trigger a rescue takes not much less than that
    lab.to_health(Fraction(1199, 1000))
    uniswap.arbitrage(lab.chain, site.exchange, lab.market, pairs)
    await lab.look()
    assert lab.passes() == ["deleverage USDC"]
    plan = lab.decisions()[-1].plan
    assert plan is not None
    assert most * 95 // 100 < int(plan.intent.args["max_collateral"]) <= most


def one_unit(*_: object) -> int:
    return 1


@row(
    "O20",
    "the smallest step that is offered is the smallest that the contract carries out",
    "monitor.protocols.aave_v3.rescue:least_amount",
    careless=one_unit,
)
async def test_the_smallest_step(rescues: RescueLab) -> None:
    lab = rescues
    lab.dry = True
    spike(lab)
    lab.chain.warp(800 * 86_400)  # a unit of debt has become more than one of what is booked
    await lab.look()
    assert lab.seen is not None
    judged = 0
    for step in options(lab.seen, lab.report, lab.guardian, 1).steps:
        if step.refused or step.symbol not in ("USDC", "WETH"):
            continue
        for amount, carried_out in ((step.least, True), (step.least - 1, False)):
            call = builder(builtin())(step.with_amount(amount))
            try:
                lab.chain.call_data(call.to, call.data, sender=lab.guardian.address)
            except CallReverted:
                assert not carried_out, step
            else:
                assert carried_out, step
        judged += step.least > 1
    assert judged > 0


def all_of_it(protocol: Any, step: Any, _: Any, window_s: Any, context: Any, *__: Any) -> Found:
    """Careless: more can do no harm."""
    return Found(step.most, worst_after(protocol, step, step.most, window_s, context), reaches=True)


@row(
    "O20",
    "a part is enough: what is repaid reaches the target and hardly more",
    "monitor.policy.planner:smallest_amount",
    careless=all_of_it,
)
async def test_a_part_is_enough(rescues: RescueLab) -> None:
    lab = rescues
    lab.to_health(Fraction(11, 10))
    await lab.looks(3)
    assert lab.states() == [ActionState.FINAL_OK], lab.whys()
    assert TARGET <= lab.health <= TARGET * Fraction(1005, 1000)


def as_stored(_: Any, reserve: Any, __: int) -> int:
    """Careless: the index as it was at the reserve's last update."""
    return int(reserve.variable_borrow_index)


@row(
    "O21",
    "interest alone carries a position over its trigger: the moment is foretold, and acted upon without any event",
    "monitor.protocols.aave_v3.account:normalized_debt",
    careless=as_stored,
)
async def test_interest_alone(rescues: RescueLab) -> None:
    lab = rescues
    spike(lab)
    lab.to_health(Fraction(1003, 1000))
    lab.dry = True
    lab.rule = replace(RULE, trigger=Fraction(1001, 1000))
    await lab.look()
    assert lab.decisions() == []
    position = lab.report.position
    assert position is not None
    left_s = seconds_to_liquidation(PROTOCOL, position)
    assert left_s is not None
    assert left_s < 30 * 86_400, "the rate is high"
    snapshot = lab.chain.snapshot()
    for after_s, unhealthy in ((left_s - 1, False), (left_s, True)):
        lab.chain.set_next_timestamp(position.block.timestamp + after_s)
        lab.chain.mine()
        assert (lab.health < 1) == unhealthy
        lab.chain.revert(snapshot)
        snapshot = lab.chain.snapshot()
    lab.chain.set_next_timestamp(position.block.timestamp + left_s - 60)
    lab.chain.mine()
    await lab.look()
    [decided] = lab.decisions()
    assert decided.plan is not None
    assert lab.passes() == ["repay USDC"]


def spike(lab: RescueLab) -> None:
    """Others borrow nearly all of the USDC there is, and its rate leaves the usual."""
    usdc, weth = lab.market.reserves["USDC"], lab.market.reserves["WETH"]
    whale = lab.chain.account("whale")
    (rest,) = lab.chain.call(usdc.asset, "balanceOf(address)", "(uint256)", usdc.a_token)
    collateral = 10**18 * 2 * rest * 10**2 // lab.price("WETH")
    lab.mint("WETH", whale, collateral)
    lab.send(weth.asset, "approve(address,uint256)", lab.market.pool, collateral, sender=whale)
    supply = "supply(address,uint256,address,uint16)"
    lab.send(lab.market.pool, supply, weth.asset, collateral, whale, 0, sender=whale)
    borrow = "borrow(address,uint256,uint256,uint16,address)"
    lab.send(lab.market.pool, borrow, usdc.asset, rest * 99 // 100, 2, 0, whale, sender=whale)
