"""A liquidation from the snapshot to its draft, the last look before the signature, and what is told afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from monitor.chain import abi
from monitor.chain.rpc_chain import RpcChain
from monitor.core.errors import ChainError
from monitor.core.guardian import GuardianConfig, LiquidateConfig
from monitor.core.liquidations import BUDGET
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import MarketRef
from monitor.execution.port import RawLog, Receipt
from monitor.journal.rows import Draft
from monitor.pipeline import plans
from monitor.pipeline.acting import Recheck, health_wad, is_rescue
from monitor.pipeline.basis import fetch_market_code
from monitor.pipeline.guardians import Guardian
from monitor.pipeline.liquidations import (
    Chances,
    Wishes,
    chances,
    fee_cap_wei,
    liquidation_draft,
    outcome,
)
from monitor.pipeline.memory import ShortMemory
from monitor.report import Report, Subject
from monitor.testing.aave_v3 import account_data, price_of, set_price
from tests.faults.proxy import FaultProxy, Item
from tests.faults.rows import row
from tests.localnet_fixtures import AnvilAave

pytestmark = [pytest.mark.anvil]
MUCH = Fraction(10**9)
NO_WISHES = Wishes()


@dataclass
class Desk:
    """A market with a liquidator as the guardian, and one borrower who has a single collateral."""

    aave: AnvilAave
    chain: RpcChain
    owner: str

    @property
    def ref(self) -> MarketRef:
        return MarketRef(self.aave.market.chain_id, "aave-v3", self.aave.market.provider)

    @property
    def guardian(self) -> Guardian:
        liquidate = LiquidateConfig(per_action=MUCH, per_position_day=MUCH, per_key_day=MUCH, haircut_bps=10)
        config = GuardianConfig(address=self.aave.market.liquidator, liquidate=liquidate, max_fee_gwei=Fraction(5))
        return Guardian(config, Path())

    def to_health(self, percent: int) -> None:
        """Move the price of the collateral."""
        feed = self.aave.market.reserves["wstETH"].feed
        now = account_data(self.aave.chain, self.aave.market, self.owner)[5]
        price = price_of(self.aave.chain, feed) * percent * 10**16 // now
        set_price(self.aave.chain, self.aave.market, feed, price)

    async def look(self, wishes: Wishes = NO_WISHES, left: dict[str, int] | None = None) -> tuple[Report, Chances]:
        subject = Subject(self.ref, "core", self.owner)
        seen = await plans.outlook(self.chain, [subject], self.guardian.address, ShortMemory())
        report = seen.snapshot.reports[0]
        return report, chances(seen, report, self.guardian, wishes, fee_cap=10**9, left=left)

    async def draft(self) -> Draft:
        report, found = await self.look()
        assert found.terms is not None
        bid = found.found.bids[0]
        return liquidation_draft(bid, found.terms, self.guardian, health_wad(report.health), await self.code())

    async def code(self) -> str:
        memory, block = ShortMemory(), await self.chain.block("latest")
        await plans.outlook(self.chain, [Subject(self.ref, "core", self.owner)], self.guardian.address, memory, block)
        known = memory.recall(self.ref, protocol_named("aave-v3"))
        assert known is not None
        return await fetch_market_code(self.chain, self.ref, known.facts, block)

    async def why_not(self, draft: Draft) -> str:
        head = await self.chain.block("latest")
        found = await Recheck(self.chain, ShortMemory())(draft, head)
        return found.reason if found else ""


@pytest.fixture
async def desk(anvil_aave: AnvilAave) -> AsyncIterator[Desk]:
    async with RpcChain(anvil_aave.process.url) as chain:
        yield Desk(anvil_aave, chain, anvil_aave.market.borrowers[7])


async def test_the_last_look_minds_health_and_profit(desk: Desk) -> None:
    desk.to_health(97)
    draft = await desk.draft()
    assert draft.asset.startswith(BUDGET)
    assert not is_rescue(draft)
    assert 0 < draft.health_wad < 10**18
    assert await desk.why_not(draft) == ""
    desk.to_health(110)
    assert (await desk.why_not(draft)).startswith("HealthFactorNotBelowThreshold")
    desk.to_health(97)
    dear = replace(draft, decision=draft.decision.replace('"min_profit": "0"', f'"min_profit": "{10**18}"'))
    assert dear != draft
    assert "is not above" in await desk.why_not(dear)


async def test_other_code_than_at_the_decision_is_not_signed_for(desk: Desk) -> None:
    desk.to_health(97)
    draft = await desk.draft()
    market, chain = desk.aave.market, desk.aave.chain
    (implementation,) = chain.call(market.pool, "implementation()", "(address)", sender=market.provider)
    chain.rpc("anvil_setCode", implementation, chain.rpc("eth_getCode", implementation, "latest") + "00")
    assert "the market's code changed since the decision" in await desk.why_not(draft)
    assert await desk.why_not(await desk.draft()) == ""


async def whoever_answers(chain: RpcChain, queries: Any, block: Any) -> Any:
    """Careless: one node's word is enough."""
    return await chain.ask(queries, block)


@row(
    "R14",
    "two nodes differ about a position at the block of its liquidation's signature: nothing is signed",
    "monitor.chain.rpc_chain:RpcChain.ask_most",
    careless=whoever_answers,
)
async def test_no_liquidation_is_signed_on_one_nodes_word(desk: Desk) -> None:
    desk.to_health(97)
    draft = await desk.draft()
    desk.to_health(110)
    price = price_of(desk.aave.chain, desk.aave.market.reserves["wstETH"].feed)

    def as_before(_: Item, answer: Item) -> Item:
        told = answer.get("result")
        if not isinstance(told, str):
            return answer
        return {**answer, "result": told.replace(f"{price:064x}", f"{price * 97 // 110:064x}")}

    url = desk.aave.process.url
    async with FaultProxy(url) as liar, RpcChain([liar.url, url]) as chain:
        liar.edits.append(as_before)
        head = await chain.block("latest")
        with pytest.raises(ChainError, match="do not agree"):
            await Recheck(chain, ShortMemory())(draft, head)
        liar.edits.clear()
        found = await Recheck(chain, ShortMemory())(draft, head)
        assert found is not None
        assert found.reason.startswith("HealthFactorNotBelowThreshold")


async def test_nothing_is_signed_on_what_cannot_be_read(desk: Desk) -> None:
    desk.to_health(97)
    draft = await desk.draft()
    set_price(desk.aave.chain, desk.aave.market, desk.aave.market.reserves["wstETH"].feed, 0)
    with pytest.raises(ChainError, match="cannot be read"):
        await desk.why_not(draft)


async def test_wishes_and_the_day_bound_it(desk: Desk) -> None:
    desk.to_health(97)
    _, found = await desk.look()
    [bid] = found.found.bids
    assert (found.native, found.terms and found.terms.native_price) == (
        "WETH",
        price_of(desk.aave.chain, desk.aave.market.reserves["WETH"].feed),
    )
    counted = BUDGET + bid.last.debt.asset
    _, less = await desk.look(left={counted: bid.last.amount // 2})
    assert less.found.bids[0].last.amount == bid.last.amount // 2
    _, none = await desk.look(left={counted: 0})
    assert none.found.bids == ()
    _, other = await desk.look(Wishes(collaterals=("LINK",)))
    assert "wstETH is not wanted" in str(other.found.passed[0])
    _, costly = await desk.look(Wishes(min_profit=10**9 * 10**18))
    assert "is not above" in str(costly.found.passed[0])


def receipt(*logs: RawLog) -> Receipt:
    return Receipt("0x" + "11" * 32, 1, "0x" + "22" * 32, True, 1, 1, logs=logs)


async def test_what_it_did_is_told_beside_what_was_predicted(desk: Desk) -> None:
    desk.to_health(97)
    draft = await desk.draft()
    event = abi.event("aave_v3_pool.LiquidationCall")
    args = draft.intent.args
    addresses = [str(args["collateralAsset"]), str(args["debtAsset"]), draft.intent.owner]
    topics = (event.topic, *(bytes.fromhex(address[2:]).rjust(32, b"\0") for address in addresses))

    def log(liquidator: str, to: str = draft.intent.to, data: bytes = b"") -> RawLog:
        words = (10_500_000).to_bytes(32, "big"), (2 * 10**18).to_bytes(32, "big")
        body = b"".join(words) + bytes.fromhex(liquidator[2:]).rjust(32, b"\0") + bytes(32)
        return RawLog(to, topics, data or body)

    told = outcome(draft, receipt(log(desk.owner), log(draft.signer)))
    assert told.startswith("paid 10.5 USDC (predicted ")
    assert ", received 2 wstETH (predicted " in told
    assert outcome(draft, receipt()) == ""
    assert outcome(draft, receipt(log(desk.owner), log(draft.signer, to=desk.owner))) == ""
    assert outcome(draft, receipt(log(draft.signer, data=b"short"))) == "LiquidationCall cannot be read"
    assert outcome(replace(draft, asset=str(args["debtAsset"])), receipt(log(draft.signer))) == ""


async def test_the_cap_on_gas_follows_the_base_fee(desk: Desk) -> None:
    block = replace(await desk.chain.block("latest"), base_fee=10**9)
    assert fee_cap_wei(desk.guardian, block, 7) == 2 * 10**9 + 7
    assert fee_cap_wei(desk.guardian, replace(block, base_fee=10**10), 7) == 5 * 10**9
    assert fee_cap_wei(desk.guardian, replace(block, base_fee=None), 7) == 5 * 10**9


def test_a_coin_that_the_market_does_not_list_has_no_price() -> None:
    assert plans.native_price((), 1) == ("WETH", None)
    assert plans.native_price((), 137) == ("WPOL", None)
    assert plans.native_price((), 1, "STETH") == ("STETH", None)
