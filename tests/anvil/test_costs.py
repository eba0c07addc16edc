"""What rollups charge for their L1, and how much of the loss avoided gas may cost, from the chain to the executor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from monitor.chain import chains
from monitor.chain.chains import DataFee, chain_info
from monitor.chain.rpc_chain import RpcChain
from monitor.core.actions import Plan, Signed, SignRequest
from monitor.core.guardian import GuardianConfig, LimitsConfig, LiquidateConfig
from monitor.core.types import MarketRef
from monitor.core.units import BPS, mul_div_up
from monitor.execution.fees import POLICY, ceiling
from monitor.execution.l1_fee import MARGIN, ORACLES, incompressible, size_of
from monitor.pipeline.acting import Acting, draft_of
from monitor.pipeline.guardians import ANY, Guardian
from monitor.pipeline.liquidations import Wishes, chances
from monitor.pipeline.memory import ShortMemory
from monitor.pipeline.plans import Outlook, best, options, outlook, plan_for
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.report import Subject
from monitor.testing.aave_v3 import account_data, price_of, set_price
from monitor.testing.clock import FakeClock
from monitor.testing.contracts import compile_contract
from tests.localnet_fixtures import AnvilAave

pytestmark = [pytest.mark.anvil]
LOCAL = 31337
GWEI = 10**9
TARGET = Fraction(3, 2)
SMALL, LARGE = 15, 1
"""The borrowers of a few dollars and of 240,000 of collateral."""
NOW = FakeClock(0)
"""The local chain's blocks are as old as they like."""
WORDS = max(len(template.args) for template in PROTOCOL.templates)
Charges = Callable[..., None]


def guardian_of(aave: AnvilAave, folder: Path) -> Guardian:
    much = Fraction(10**12)
    limits = LimitsConfig(per_action=much, per_position_day=much, per_key_day=much)
    liquidate = LiquidateConfig(per_action=much, per_position_day=much, per_key_day=much)
    config = GuardianConfig(
        address=aave.market.liquidator, limits=limits, liquidate=liquidate, gas_per_day=Fraction(1000)
    )
    return Guardian(config, folder)


async def look(aave: AnvilAave, chain: RpcChain, borrower: int) -> Outlook:
    ref = MarketRef(aave.market.chain_id, "aave-v3", aave.market.provider)
    subject = Subject(ref, "core", aave.market.borrowers[borrower])
    return await outlook(chain, [subject], aave.market.liquidator, ShortMemory())


async def planned(aave: AnvilAave, chain: RpcChain, guardian: Guardian, borrower: int) -> Plan:
    seen = await look(aave, chain, borrower)
    report = seen.snapshot.reports[0]
    assert report.position is not None
    _, _, _, _, _, wad = account_data(aave.chain, aave.market, report.owner)
    plan = best(plan_for(seen, report, guardian, ANY, Fraction(wad, 10**18) * Fraction(11, 10), clock=NOW))
    assert plan is not None
    return plan


@pytest.fixture
def charges(anvil_aave: AnvilAave, monkeypatch: pytest.MonkeyPatch) -> Charges:
    """Make the local chain a rollup of that kind, which charges so much per byte."""

    def make(how: DataFee, per_byte: int, *, fjord: bool = True) -> None:
        monkeypatch.setitem(chains._BY_ID, LOCAL, replace(chain_info(LOCAL), data_fee=how))
        if not per_byte:
            return
        code = bytes.fromhex(
            str(compile_contract(Path(__file__).with_name("L1FeeOracle.vy"))["bytecode"]).removeprefix("0x")
        )
        admin = anvil_aave.market.admin
        made = anvil_aave.chain.deploy(admin, code, "(uint256,bool)", [per_byte, fjord])
        runtime = anvil_aave.chain.rpc("eth_getCode", made, "latest")
        anvil_aave.chain.rpc("anvil_setCode", ORACLES[how], runtime)

    return make


@pytest.mark.parametrize("fjord", [True, False])
async def test_the_op_stack_charges_a_fee_on_top(
    anvil_aave: AnvilAave, charges: Charges, tmp_path: Path, fjord: bool
) -> None:
    guardian = guardian_of(anvil_aave, tmp_path)
    async with RpcChain(anvil_aave.process.url) as chain:
        plain = await planned(anvil_aave, chain, guardian, LARGE)
        charges(DataFee.OP_STACK, 10**9, fjord=fjord)
        dear = await planned(anvil_aave, chain, guardian, LARGE)
    fee = (size_of(WORDS) * 10**9 + (7 if fjord else 0)) * MARGIN
    assert dear.limits.l1_data_fee_wei == fee
    assert dear.limits.max_cost_wei == plain.limits.max_cost_wei + fee
    assert dear.limits.gas == plain.limits.gas
    assert draft_of(dear, guardian, TARGET, cause="test").l1_data_fee_wei == fee


async def test_arbitrum_charges_more_gas(anvil_aave: AnvilAave, charges: Charges, tmp_path: Path) -> None:
    guardian = guardian_of(anvil_aave, tmp_path)
    async with RpcChain(anvil_aave.process.url) as chain:
        plain = await planned(anvil_aave, chain, guardian, LARGE)
        charges(DataFee.ARBITRUM, 16)
        dear = await planned(anvil_aave, chain, guardian, LARGE)
    more = size_of(WORDS) * 16 * MARGIN
    assert dear.limits.gas == plain.limits.gas + more
    assert dear.limits.max_cost_wei == dear.limits.gas * guardian.max_fee_wei
    assert dear.limits.l1_data_fee_wei == 0


async def test_a_fee_that_cannot_be_read_is_told_and_stops_whoever_wants_a_profit(
    anvil_aave: AnvilAave, charges: Charges, tmp_path: Path
) -> None:
    guardian = guardian_of(anvil_aave, tmp_path)
    charges(DataFee.SCROLL, 0)
    async with RpcChain(anvil_aave.process.url) as chain:
        seen = await look(anvil_aave, chain, LARGE)
    report = seen.snapshot.reports[0]
    assert seen.l1_fee is None
    proposal = plan_for(seen, report, guardian, ANY, Fraction(9), clock=NOW)
    assert best(proposal) is not None, "a rescue does not wait for it"
    assert "could not be read" in proposal.note
    assert "could not be read" in chances(seen, report, guardian, Wishes(), fee_cap=GWEI, clock=NOW).found.note


async def test_a_liquidation_pays_it_out_of_its_profit(anvil_aave: AnvilAave, charges: Charges, tmp_path: Path) -> None:
    guardian = guardian_of(anvil_aave, tmp_path)
    market, local = anvil_aave.market, anvil_aave.chain
    owner, feed = market.borrowers[7], market.reserves["wstETH"].feed
    now = account_data(local, market, owner)[5]
    set_price(local, market, feed, price_of(local, feed) * 97 * 10**16 // now)
    per_byte = 10**12
    async with RpcChain(anvil_aave.process.url) as chain:
        plain = await look(anvil_aave, chain, 7)
        charges(DataFee.OP_STACK, per_byte)
        dear = await look(anvil_aave, chain, 7)
    before, after = (
        chances(seen, seen.snapshot.reports[0], guardian, Wishes(), fee_cap=GWEI, clock=NOW).found.bids[0]
        for seen in (plain, dear)
    )
    fee_wei = (size_of(WORDS) * per_byte + 7) * MARGIN
    weth, debt = (price_of(local, market.reserves[symbol].feed) for symbol in ("WETH", after.last.debt.symbol))
    assert after.profit.l1_data_fee == mul_div_up(fee_wei * weth, 10**after.last.debt.decimals, 10**18 * debt)
    assert before.profit.l1_data_fee == 0
    assert after.limits.max_cost_wei == before.limits.max_cost_wei + fee_wei


def test_the_bytes_that_are_asked_about_cannot_be_compressed() -> None:
    import zlib

    data = incompressible(size_of(WORDS))
    assert len(data) == size_of(WORDS)
    assert 0 not in data
    assert len(zlib.compress(data, 9)) >= len(data)


@pytest.fixture
def busy(anvil_aave: AnvilAave) -> Iterator[None]:
    """The next block has a base fee of 10 gwei; afterwards gas is free again, which no snapshot remembers."""
    local = anvil_aave.chain
    local.rpc("anvil_setNextBlockBaseFeePerGas", hex(10 * GWEI))
    yield
    local.rpc("anvil_setNextBlockBaseFeePerGas", "0x0")
    local.mine()


class Nobody:
    """A signer that must not be asked."""

    async def sign(self, request: SignRequest) -> Signed:
        raise AssertionError(f"asked to sign {request}")


@pytest.mark.usefixtures("busy")
async def test_gas_may_cost_a_share_of_the_loss_that_a_rescue_avoids(anvil_aave: AnvilAave, tmp_path: Path) -> None:
    """Row T8 from the chain on: a few dollars of debt are not rescued at a price for which 240,000 are."""
    guardian, local = guardian_of(anvil_aave, tmp_path), anvil_aave.chain
    async with RpcChain(anvil_aave.process.url) as chain:
        weth = price_of(local, anvil_aave.market.reserves["WETH"].feed)
        drafts = {}
        for borrower in (SMALL, LARGE):
            plan = await planned(anvil_aave, chain, guardian, borrower)
            position = (await look(anvil_aave, chain, borrower)).snapshot.reports[0].position
            assert position is not None
            loss = PROTOCOL.liquidation_loss(position)
            debt = PROTOCOL.evaluate(position).debt
            assert debt * 4 // 100 < loss < debt * 15 // 100
            assert plan.loss_avoided_wei == loss * 10**18 // weth
            drafts[borrower] = draft_of(plan, guardian, TARGET, cause="test")
        caps = {borrower: ceiling(draft, POLICY) for borrower, draft in drafts.items()}
        assert caps[SMALL].why == "the share of the loss avoided"
        share = drafts[SMALL].loss_avoided_wei * POLICY.loss_share_bps // BPS
        assert caps[SMALL].ceiling_wei == share // drafts[SMALL].gas < 10 * GWEI
        assert caps[LARGE].why == "the plan's cap"

        local.mine()
        signer: Any = Nobody()
        clock = FakeClock(local.timestamp())
        with Acting(guardian, chain, ShortMemory(), finality=1, signer=signer, clock=clock) as acting:
            seen = await look(anvil_aave, chain, SMALL)
            acting.allow(options(seen, seen.snapshot.reports[0], guardian, 1).limits)
            nonce = int(local.rpc("eth_getTransactionCount", guardian.address, "latest"), 16)
            acting.journal.adopt_signer(LOCAL, guardian.address, nonce, local.timestamp())
            acting.plan(drafts[SMALL])
            [(_, _, why)] = (await acting.step()).actions
            assert why == "fee cap reached: the share of the loss avoided"
