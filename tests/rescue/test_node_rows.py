"""Row R14 at a signature, where no quorum is configured: nodes that say different things of one and the same block."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import pytest

from monitor.chain.rpc_chain import RpcChain
from monitor.core.actions import ActionState
from tests.faults.proxy import FaultProxy, Item
from tests.faults.rows import row
from tests.rescue.lab import RescueLab

pytestmark = [pytest.mark.anvil]


@asynccontextmanager
async def read_by(lab: RescueLab, *, alone: bool) -> AsyncIterator[FaultProxy]:
    """levmon reads through this proxy, before an honest node or alone."""
    url = lab.local.process.url
    async with FaultProxy(url) as proxy, RpcChain([proxy.url] if alone else [proxy.url, url]) as reader:
        await reader.block()
        lab.reader = reader
        yield proxy


async def whoever_answers(chain: RpcChain, queries: Any, block: Any) -> Any:
    """Careless: one node's word is enough."""
    return await chain.ask(queries, block)


@row(
    "R14",
    "two nodes differ about the position at the very block of a signature: nothing is signed, and it is told",
    "monitor.chain.rpc_chain:RpcChain.ask_most",
    careless=whoever_answers,
)
async def test_nothing_is_signed_on_one_nodes_word(rescue: RescueLab) -> None:
    lab = rescue
    token = lab.market.reserves["USDC"].v_token
    (debt,) = lab.chain.call(token, "scaledBalanceOf(address)", "(uint256)", lab.owner)

    def more_debt(_: Item, answer: Item) -> Item:
        told = answer.get("result")
        if not isinstance(told, str):
            return answer
        return {**answer, "result": told.replace(f"{debt:064x}", f"{debt * 5 // 4:064x}")}

    async with read_by(lab, alone=False) as liar:
        liar.edits.append(more_debt)
        for _ in range(6):
            await lab.looks(1)
        assert lab.decisions(), "the liar was asked"
        assert lab.states() == [ActionState.PLANNED], lab.whys()
        assert any("endpoints do not agree" in why for why in lab.whys())
        assert lab.nonce == 0
        liar.edits.clear()
        await lab.looks(2)
        assert lab.states() == [ActionState.CLOSED_EXPIRED], lab.whys()
        assert lab.nonce == 0
        lab.to_health(Fraction(11, 10))
        await lab.looks(3)
        assert lab.states()[-1] is ActionState.FINAL_OK, lab.whys()
        lab.close()


def nothing_to_object(_: str) -> None:
    return None


@row(
    "R14",
    "what fails where it is measured and passes where it is simulated: not signed unmeasured",
    "monitor.pipeline.acting:Unmeasured",
    careless=nothing_to_object,
)
async def test_nothing_is_signed_unmeasured(rescue: RescueLab) -> None:
    lab = rescue

    def fails_when_measured(request: Item, answer: Item) -> Item:
        if request["method"] != "eth_simulateV1" or len(request["params"][0]["blockStateCalls"][0]["calls"]) == 1:
            return answer
        (block,) = answer["result"]
        calls = [{**call, "status": "0x0"} if n == 2 else call for n, call in enumerate(block["calls"])]
        return {**answer, "result": [{**block, "calls": calls}]}

    async with read_by(lab, alone=True) as odd:
        odd.edits.append(fails_when_measured)
        lab.to_health(Fraction(11, 10))
        await lab.looks(3)
        assert lab.states() == [ActionState.PLANNED], lab.whys()
        assert any("nodes differ about block" in why and "where it is measured" in why for why in lab.whys())
        assert lab.nonce == 0
        odd.edits.clear()
        await lab.looks(3)
        assert lab.states() == [ActionState.FINAL_OK], lab.whys()
        lab.close()


async def last_one(port: Any, simulated: Any, block: Any) -> Any:
    """Careless: of several endpoints one is believed."""
    found, _ = await port._chain.ask_each(block, simulated, 9)
    return found[-1][1]


@row(
    "R14",
    "one of two nodes says that the transaction would fail: not signed on the word of the other, and it is told",
    "monitor.execution.rpc_chain:RpcExecutionChain._most",
    careless=last_one,
)
async def test_nothing_is_signed_on_one_nodes_simulation(rescue: RescueLab) -> None:
    lab = rescue

    def fails_when_simulated(request: Item, answer: Item) -> Item:
        if request["method"] != "eth_simulateV1" or len(request["params"][0]["blockStateCalls"][0]["calls"]) != 1:
            return answer
        (block,) = answer["result"]
        return {**answer, "result": [{**block, "calls": [{**block["calls"][0], "status": "0x0"}]}]}

    async with read_by(lab, alone=False) as odd:
        odd.edits.append(fails_when_simulated)
        lab.to_health(Fraction(11, 10))
        await lab.looks(3)
        assert lab.states() == [ActionState.PLANNED], lab.whys()
        assert any("nodes do not agree about block" in why and "it succeeds" in why for why in lab.whys()), lab.whys()
        assert lab.nonce == 0
        odd.edits.clear()
        await lab.looks(3)
        assert lab.states() == [ActionState.FINAL_OK], lab.whys()
        lab.close()


@row(
    "R14",
    "two nodes measure other amounts moved by the transaction: not signed, and it is told",
    "monitor.pipeline.measure:most",
    careless=lambda votes, *_: votes[-1:],
)
async def test_nothing_is_signed_on_one_nodes_measure(rescue: RescueLab) -> None:
    lab = rescue

    def moves_more(request: Item, answer: Item) -> Item:
        if request["method"] != "eth_simulateV1" or len(request["params"][0]["blockStateCalls"][0]["calls"]) == 1:
            return answer
        (block,) = answer["result"]
        last = block["calls"][-1]
        more = f"0x{int(last['returnData'], 16) + 1:064x}"
        return {**answer, "result": [{**block, "calls": [*block["calls"][:-1], {**last, "returnData": more}]}]}

    async with read_by(lab, alone=False) as odd:
        odd.edits.append(moves_more)
        lab.to_health(Fraction(11, 10))
        await lab.looks(3)
        assert lab.states() == [ActionState.PLANNED], lab.whys()
        assert any("nodes do not agree about what moves at block" in why for why in lab.whys()), lab.whys()
        assert lab.nonce == 0
        odd.edits.clear()
        await lab.looks(3)
        assert lab.states() == [ActionState.FINAL_OK], lab.whys()
        lab.close()
