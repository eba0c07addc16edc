"""The executor against a real node: the same code as on the model chain, over JSON-RPC to anvil."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from monitor.chain.rpc_chain import RpcChain
from monitor.core.actions import ActionState
from monitor.core.errors import WrongChain
from monitor.execution.executor import Executor, Settings
from monitor.execution.killswitch import KillSwitch
from monitor.execution.port import Occupant, Passed, Rung, TxCall, WouldRevert
from monitor.execution.rpc_chain import RpcExecutionChain
from monitor.execution.transaction import DynamicFee, cancel_call, tx_hash
from monitor.journal.store import Journal
from monitor.testing.anvil import AnvilDevChain, AnvilProcess
from monitor.testing.clock import FakeClock
from monitor.testing.model_port import CONTRACT, LocalSigner, build
from tests.execution.world import GUARDIAN, GWEI, draft, rich_limits
from tests.faults.proxy import FaultProxy, Item

REVERTER = "0x" + "fA" * 20
"""60006000fd: reverts without a reason."""
FAILING, WORKING = "0x" + "fB" * 20, "0x" + "fC" * 20
"""Answer the number 3 and the number 0."""
KEY = LocalSigner()


class Lab:
    """An anvil that mines when told to, and the port to it."""

    def __init__(self, node: AnvilDevChain, reader: RpcChain, folder: Path) -> None:
        self.node = node
        self.reader = reader
        self.port = RpcExecutionChain(reader)
        self.folder = folder
        self.clock = FakeClock(0)

    def mine(self, blocks: int = 1, base_fee: int = GWEI) -> None:
        for _ in range(blocks):
            self.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(base_fee))
            self.node.rpc("evm_mine")


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    with AnvilProcess(flags=("--no-mining", "--order", "fees")) as anvil:
        node = anvil.chain()
        async with RpcChain(anvil.url) as reader:
            made = Lab(node, reader, tmp_path)
            node.rpc("anvil_setBalance", GUARDIAN, hex(10**24))
            node.rpc("anvil_setCode", REVERTER, "0x60006000fd")
            made.mine(2)
            yield made
        node.close()


@pytest.mark.anvil
class TestPort:
    async def test_simulation_by_every_rung(self, lab: Lab) -> None:
        head = await lab.port.head()
        good, bad = TxCall(CONTRACT, b"\x01"), TxCall(REVERTER, b"\x01")
        for rung in Rung:
            assert isinstance(await lab.port.simulate(GUARDIAN, good, 100_000, head, rung), Passed), rung
            assert isinstance(await lab.port.simulate(GUARDIAN, bad, 100_000, head, rung), WouldRevert), rung
        told = await lab.port.simulate(GUARDIAN, good, 100_000, head, Rung.SIMULATE_V1)
        assert isinstance(told, Passed)
        assert told.gas is not None
        assert 21_000 < told.gas < 30_000

    async def test_a_call_that_answers_an_error_code_fails_by_every_rung(self, lab: Lab) -> None:
        """`0` is success only where the call says so of itself."""
        head = await lab.port.head()
        lab.node.rpc("anvil_setCode", FAILING, "0x600360005260206000f3")
        lab.node.rpc("anvil_setCode", WORKING, "0x600060005260206000f3")
        for rung in Rung:

            async def said(to: str, *, code: bool = True, rung: Rung = rung) -> str:
                found = await lab.port.simulate(GUARDIAN, TxCall(to, b"\x01", code=code), 100_000, head, rung)
                return found.reason if isinstance(found, WouldRevert) else type(found).__name__

            assert await said(FAILING) == "it answers error 3 without a revert", rung
            assert await said(WORKING) == await said(FAILING, code=False) == "Passed", rung
            assert (await said(CONTRACT)).startswith("it answers no error code"), rung
            assert await said(REVERTER) not in {"", "Passed"}, rung
        both = [TxCall(FAILING, b"\x01", code=True), TxCall(WORKING, b"\x01")]
        assert isinstance(await lab.port.simulate_in_order(GUARDIAN, both, 100_000, head), WouldRevert)

    async def test_a_simulation_is_what_most_nodes_say(self, lab: Lab) -> None:
        url, block = str(lab.node.url), await lab.port.head()
        good, bad = TxCall(CONTRACT, b"\x01"), TxCall(REVERTER, b"\x01")

        def refuses(request: Item, answer: Item) -> Item:
            if request["method"] != "eth_simulateV1":
                return answer
            del answer["result"]
            return {**answer, "error": {"code": -32601, "message": "the method does not exist"}}

        def flatters(request: Item, answer: Item) -> Item:
            """Whatever is simulated succeeds."""
            if request["method"] == "eth_call" and "error" in answer:
                return {**{name: x for name, x in answer.items() if name != "error"}, "result": "0x"}
            if request["method"] != "eth_simulateV1":
                return answer
            (found,) = answer["result"]
            return {**answer, "result": [{**found, "calls": [{**found["calls"][0], "status": "0x1"}]}]}

        async def said(edits: list[Any], call: TxCall, rung: Rung = Rung.SIMULATE_V1) -> str:
            async with AsyncExitStack() as stack:
                urls = []
                for edit in edits:
                    proxy = await stack.enter_async_context(FaultProxy(url))
                    proxy.edits += [edit] if edit else []
                    urls.append(proxy.url)
                reader = await stack.enter_async_context(RpcChain(urls))
                await reader.block()
                found = await RpcExecutionChain(reader).simulate(GUARDIAN, call, 100_000, block, rung)
                return type(found).__name__

        for rung in Rung:
            assert await said([flatters, None], bad, rung) == "NotSimulated", rung
            assert await said([None, flatters], bad, rung) == "NotSimulated", rung
            assert await said([flatters, None, None], bad, rung) == "WouldRevert", rung
            assert await said([None, None], good, rung) == "Passed", rung
        # a node that has not this way of simulating is asked in the way that it has
        assert await said([flatters, refuses], bad) == "NotSimulated"
        assert await said([refuses, refuses], bad) == "WouldRevert"
        assert await said([refuses, None], good) == "Passed"

    async def test_what_used_a_nonce_is_found(self, lab: Lab) -> None:
        hashes = []
        for nonce in range(3):
            call = TxCall(CONTRACT, bytes([nonce + 1]))
            raw = KEY.bytes_for(DynamicFee(31337, nonce, 1, 10 * GWEI, 60_000, call))
            (reply,) = await lab.port.send_raw(raw)
            assert reply.hash == tx_hash(raw)
            assert await lab.port.known([tx_hash(raw)]) == {tx_hash(raw)}
            assert await lab.port.receipts([tx_hash(raw)]) == {}
            lab.mine(3)
            hashes.append((tx_hash(raw), call))
        for nonce, (one, call) in enumerate(hashes):
            assert await lab.port.occupant(GUARDIAN, nonce) == Occupant(one, call)
            (receipt,) = (await lab.port.receipts([one])).values()
            assert receipt.block_hash == await lab.port.block_hash(receipt.block_number)
            assert (receipt.ok, receipt.witnesses, receipt.disputed) == (True, 1, False)
        assert await lab.port.occupant(GUARDIAN, 3) is None
        head, final = await lab.port.head(), await lab.port.finalized()
        account = await lab.port.account(GUARDIAN, head, final)
        assert (account.nonce, account.nonce_final, account.code) == (3, 0, False)

    async def test_another_chain_is_noticed_before_anything_is_sent(self, lab: Lab) -> None:
        await lab.port.head()
        raw = KEY.bytes_for(DynamicFee(31337, 0, 1, 10 * GWEI, 21_000, cancel_call(GUARDIAN)))
        lab.node.rpc("anvil_setChainId", 5)
        (reply,) = await lab.port.send_raw(raw)
        assert reply.message == "wrong chain"
        with pytest.raises(WrongChain):
            await lab.port.chain_id()
        assert lab.node.rpc("txpool_status")["pending"] == "0x0"


@pytest.mark.anvil
class TestExecutor:
    async def test_from_plan_to_final_with_a_bump_a_wipe_and_a_reorganisation(self, lab: Lab) -> None:
        journal = Journal(f"sqlite:///{lab.folder / 'journal.db'}", now_s=0)
        head = await lab.port.head()
        clock = FakeClock(head.timestamp)
        settings = Settings({GUARDIAN: rich_limits()}, max_head_age_s=10**9, max_head_ahead_s=10**9)
        executor = Executor(journal, lab.port, KEY, build, KillSwitch(lab.folder / "KILL"), clock, settings)
        journal.plan(draft(head), head.timestamp)

        async def state() -> ActionState:
            await executor.step()
            return journal.action("a").state

        assert await state() is ActionState.BROADCAST
        lab.mine(3, base_fee=50 * GWEI)  # more than was offered, so that it has to be replaced
        assert await state() is ActionState.BROADCAST
        assert len(journal.action("a").attempts) == 2
        lab.mine()
        assert await state() is ActionState.MINED
        lab.node.rpc("anvil_reorg", 2, [])
        assert await state() is ActionState.BROADCAST  # anvil drops what falls out, so that it was sent again
        lab.node.rpc("anvil_dropAllTransactions")
        assert await state() is ActionState.BROADCAST
        lab.mine()
        assert await state() is ActionState.MINED
        lab.mine(66)
        assert await state() is ActionState.FINAL_OK
        journal.close()
