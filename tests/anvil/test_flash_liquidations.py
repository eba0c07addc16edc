"""Liquidations with a flash loan on the real pool and the real exchange: at least the profit that was said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import pytest

from monitor.chain import abi
from monitor.chain.rpc_chain import RpcChain
from monitor.core.actions import SignRequest
from monitor.core.guardian import GuardianConfig, LiquidateConfig
from monitor.core.guarding import GuardSetup
from monitor.core.types import MarketRef
from monitor.execution.port import RawLog, Receipt
from monitor.pipeline.acting import Recheck, health_wad
from monitor.pipeline.flash import flash_chances
from monitor.pipeline.guardians import Guardian
from monitor.pipeline.liquidations import Chances, Wishes, liquidation_draft, outcome
from monitor.pipeline.memory import ShortMemory
from monitor.pipeline.plans import outlook
from monitor.report import Report, Subject
from monitor.signer import config as configuration
from monitor.signer.errors import Denied, Refusal
from monitor.signer.policy import judge
from monitor.signer.templates import builtin
from monitor.testing import guard, uniswap
from monitor.testing.aave_v3 import account_data, price_of, set_price
from monitor.testing.artifacts import own_contract
from monitor.testing.clock import FakeClock
from monitor.testing.devchain import CallReverted
from monitor.testing.rescues import calldata
from tests.localnet_fixtures import AnvilAave

pytestmark = [pytest.mark.anvil]
MUCH, GWEI = Fraction(10**9), 10**9
PAIR = ("wstETH", "USDC")


@dataclass
class Desk:
    """A keeper without any token, who owns a liquidator; and a borrower of USDC against wstETH."""

    aave: AnvilAave
    chain: RpcChain
    keeper: str
    trade: GuardSetup
    owner: str

    @property
    def guardian(self) -> Guardian:
        liquidate = LiquidateConfig(per_action=MUCH, per_position_day=MUCH, per_key_day=MUCH, min_profit=Fraction(7))
        return Guardian(GuardianConfig(address=self.keeper, liquidate=liquidate), Path(), {}, {self.ref: self.trade})

    @property
    def ref(self) -> MarketRef:
        return MarketRef(self.aave.market.chain_id, "aave-v3", self.aave.market.provider)

    async def look(self, guardian: Guardian | None = None, wishes: Wishes | None = None) -> tuple[Report, Chances]:
        subject = Subject(self.ref, "core", self.owner)
        seen = await outlook(self.chain, [subject], self.keeper, ShortMemory())
        report, asked = seen.snapshot.reports[0], wishes or Wishes(flash=True)
        how = {"fee_cap": GWEI, "clock": FakeClock(0)}
        return report, await flash_chances(self.chain, seen, report, guardian or self.guardian, asked, **how)  # type: ignore[arg-type]

    def holds(self, symbol: str) -> int:
        asset = self.aave.market.reserves[symbol].asset
        return int(self.aave.chain.call(asset, "balanceOf(address)", "(uint256)", self.keeper)[0])


@pytest.fixture
async def desk(anvil_aave: AnvilAave) -> AsyncIterator[Desk]:
    local, market = anvil_aave.chain, anvil_aave.market
    owner, feed = market.borrowers[7], market.reserves["wstETH"].feed
    now = account_data(local, market, owner)[5]
    set_price(local, market, feed, price_of(local, feed) * 97 * 10**16 // now)
    site = guard.deploy(local, market, [PAIR])
    keeper = local.account("penniless keeper")
    code = own_contract("liquidator").code
    contract = local.deploy(market.admin, code, "(address,address)", [market.pool, keeper])
    trade = GuardSetup(contract, site.exchange.router, site.exchange.quoter, (3000, uniswap.FEE))
    async with RpcChain(anvil_aave.process.url) as chain:
        yield Desk(anvil_aave, chain, keeper, trade, owner)


@pytest.mark.parametrize("anvil_aave", ["3.0", "3.6"], indirect=True)
async def test_who_has_nothing_earns_what_was_said(desk: Desk) -> None:
    report, found = await desk.look()
    [bid] = found.found.bids
    assert bid.intent.to == desk.trade.contract
    assert bid.intent.args["fee"] == uniswap.FEE, "the only tier with a pool"
    assert found.terms is not None
    draft = liquidation_draft(bid, found.terms, desk.guardian, health_wad(report.health), "")
    head = await desk.chain.block("latest")
    assert await Recheck(desk.chain, ShortMemory())(draft, head) is None
    desk.aave.chain.send_data(desk.keeper, bid.intent.to, calldata(bid.intent))
    earned = desk.holds("USDC")
    promised = bid.profit.net + (bid.profit.gas or 0)
    assert promised <= earned <= promised * 1001 // 1000
    assert earned >= int(bid.intent.args["min_profit"])
    event = abi.event("liquidator.Liquidated")
    words = [bytes.fromhex(one[2:]).rjust(32, b"\0") for one in (bid.last.collateral.asset, bid.last.debt.asset)]
    topics = (event.topic, bytes.fromhex(desk.owner[2:]).rjust(32, b"\0"))
    log = RawLog(bid.intent.to, topics, b"".join(words) + earned.to_bytes(32, "big"))
    told = outcome(draft, Receipt("0x", 1, "0x", True, 1, 1, logs=(log,)))
    assert told.startswith(f"profit {earned // 10**6}.")


async def test_below_its_least_profit_it_reverts_as_a_whole(desk: Desk) -> None:
    """The exchange moves after the decision: nothing is lost but gas."""
    _, found = await desk.look()
    [bid] = found.found.bids
    dearer = {**bid.intent.args, "min_profit": int(bid.intent.args["min_profit"]) * 10**3}
    with pytest.raises(CallReverted, match="PROFIT"):
        desk.aave.chain.send_data(desk.keeper, bid.intent.to, calldata(replace(bid.intent, args=dearer)))
    assert desk.holds("USDC") == 0


async def test_without_a_pool_a_contract_or_a_profit_there_is_no_bid(desk: Desk) -> None:
    _, found = await desk.look(replace(desk.guardian, liquidators={}))
    assert "no liquidator contract" in found.found.note
    _, found = await desk.look(replace(desk.guardian, liquidators={desk.ref: replace(desk.trade, fees=(10_000,))}))
    assert "no pool sells wstETH for USDC" in str(found.found.passed[0])
    _, found = await desk.look(wishes=Wishes(min_profit=10**9 * 10**18, flash=True))
    assert "is not above" in str(found.found.passed[0])


async def test_the_signer_minds_contract_router_and_limits(desk: Desk) -> None:
    _, found = await desk.look()
    intent = found.found.bids[0].intent
    usdc, wsteth = (desk.aave.market.reserves[symbol].asset for symbol in ("USDC", "wstETH"))
    text = f"""
socket = "signer.sock"
database = "sign.db"
kill_file = "kill"
[keys.guardian]
key_file = "guardian.key"
[chains.local]
chain_id = {desk.aave.market.chain_id}
owners = []
liquidate = true
routers = ["{desk.trade.router}"]
max_gas = 2_000_000
max_fee_per_gas_wei = 100_000_000_000
max_priority_fee_per_gas_wei = 10_000_000_000
max_cost_wei = 1_000_000_000_000_000_000
max_cost_per_day_wei = 1_000_000_000_000_000_000
[[chains.local.contracts]]
address = "{desk.trade.contract}"
kinds = ["aave-v3/liquidate-flash"]
[[chains.local.assets]]
address = "{usdc}"
per_action = 0
per_day = 0
liquidate_per_action = {intent.args["cover"]}
liquidate_per_day = {intent.args["cover"]}
[[chains.local.assets]]
address = "{wsteth}"
per_action = 0
per_day = 0
"""
    asked = SignRequest("a", 1, intent.chain_id, desk.keeper, 0, intent, 1_000_000, GWEI, GWEI)
    rules, templates = configuration.parse(text), builtin()
    assert judge(asked, rules, templates).asset == f"liquidate:{usdc}"
    more = replace(intent, args={**intent.args, "cover": int(intent.args["cover"]) + 1})
    elsewhere = replace(intent, args={**intent.args, "router": desk.trade.quoter})
    for changed, allowed, code in (
        (more, text, Refusal.LIMIT_ACTION),
        (elsewhere, text, Refusal.ROUTER),
        (replace(intent, to=desk.trade.router), text, Refusal.TARGET),
        (intent, text.replace("liquidate = true", ""), Refusal.KIND),
        (intent, text.replace("liquidate-flash", "liquidate"), Refusal.KIND),
    ):
        with pytest.raises(Denied) as no:
            judge(replace(asked, intent=changed), configuration.parse(allowed), templates)
        assert no.value.code is code
