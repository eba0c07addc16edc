"""Rows C2, C4, C10, C11, C12 and R10, the acting half: what the chain itself can do while an action is on its way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from monitor.core.actions import ActionState
from monitor.core.types import BlockRef, Call, Ok
from monitor.execution.port import Receipt
from monitor.execution.rpc_chain import RpcExecutionChain
from monitor.testing.anvil import AnvilProcess
from tests.execution.ports import OddPort
from tests.execution.world import World
from tests.faults.lab import Lab, outcome
from tests.faults.proxy import FaultProxy, Item
from tests.faults.rows import row


@row(
    "C2", "a block on which something was settled is gone: nothing is signed on this chain any more", "finality_memory"
)
def test_reorg_beyond_finality(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan()
    world.finish()
    world.chain.finality = 10**6
    world.chain.reorg(72)
    world.chain.finality = 0
    world.plan("b", effect=2)
    world.step(3)
    assert any(hold.scope == "chain:31337" for hold in world.journal.holds())
    assert world.state("b") is ActionState.PLANNED
    world.close()


@row("R10", "the chain id is asked before each signature", "chain_id")
def test_wrong_chain_before_signing(folder: Path, off: str | None) -> None:
    world = World(folder, off=off, port=OddPort)
    world.plan()
    world.port.served_chain = 5
    world.look()
    assert world.guardian.asked == []
    world.port.served_chain = None
    world.finish()
    assert world.effects() == 1
    world.close()


@row("C2", "a final block is gone though nothing was settled on it: the same, and it is CRITICAL", "finality_memory")
def test_final_block_is_gone(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.step(70)
    world.chain.finality = 10**6
    world.chain.reorg(69)
    world.chain.finality = 64
    world.plan()
    world.step(3)
    assert (world.state(), world.guardian.asked) == (ActionState.PLANNED, [])
    assert any("was final and has changed" in text for text in world.alerts("critical"))
    world.restart()
    world.step(3)
    assert world.guardian.asked == [], "forgotten by the next process"
    world.journal.release("chain:31337", world.now_s)
    world.finish()
    assert world.effects() == 1
    world.close()


def lowered(_: BlockRef | None, found: BlockRef) -> BlockRef:
    """What a careless port does: the newest answer counts."""
    return found


def edited(answer: Any) -> Any:
    """Let an endpoint answer so to questions for the finalized block."""

    def edit(request: Item, given: Item) -> Item:
        asked = request["method"] == "eth_getBlockByNumber" and request["params"][0] == "finalized"
        return {**{key: given[key] for key in ("jsonrpc", "id")}, **answer} if asked else given

    return edit


@row(
    "C10",
    "the finalized tag is missing or null: by depth; where it goes back, what was final stays so",
    "monitor.execution.rpc_chain:never_lower",
    careless=lowered,
)
async def test_finalized_tag(lab: Lab) -> None:
    node, [proxy] = lab.node(), await lab.proxies()
    node.mine(100)
    port = RpcExecutionChain(lab.chain(proxy), depth=20)
    # anvil's tag is 64 blocks back
    assert (await port.finalized()).number == 36
    proxy.edits.append(edited({"result": None}))
    assert (await port.finalized()).number == 80
    proxy.edits[:] = [edited({"error": {"code": -39001, "message": "Unknown block"}})]
    assert (await port.finalized()).number == 80
    proxy.edits[:] = [edited({"error": {"code": -32602, "message": "finalized block not found"}})]
    node.mine(5)
    assert (await port.finalized()).number == 85
    proxy.edits.clear()
    assert (await port.finalized()).number == 85, "finality went back"


@row(
    "C11",
    "the chain stands still: no send and no signature, it is told; after it, new plans at once",
    "skew",
)
def test_halt(folder: Path, off: str | None) -> None:
    world = World(folder, off=off, port=OddPort)
    world.plan("a", valid_until_s=world.now_s + 600)
    world.look()
    assert world.state("a") is ActionState.BROADCAST
    world.chain.drop_all()
    world.clock.offset_s = 3 * 3600
    world.plan("b", effect=2, valid_until_s=world.now_s + 600)
    sent = len(world.port.public)
    for _ in range(3):
        report = world.look()
        assert report.held
    assert (len(world.guardian.asked), len(world.port.public)) == (1, sent), "it may land late, at another price"
    assert len([text for text in world.alerts("critical") if "nothing is signed" in text]) == 1
    # it goes on: what was decided before is too old, and nothing waits for a grace period
    world.chain.mine(timestamp=world.now_s + 3 * 3600)
    world.clock.offset_s = 0
    world.look()
    assert (world.state("a"), world.state("b")) == (ActionState.CANCELLING, ActionState.CLOSED_EXPIRED)
    world.plan("c", effect=2)
    world.finish(140)
    assert (world.state("a"), world.effects(1)) == (ActionState.FINAL_CANCELLED, 0)
    assert (world.state("c"), world.effects(2)) == (ActionState.FINAL_OK, 1)
    assert any("over: the newest block" in text for text in world.alerts("info"))
    world.close()


@row("C12", "a receipt in a block that is announced and not yet on the chain is a hint, nothing more", "canonical")
def test_announced_block(folder: Path, off: str | None) -> None:
    world = World(folder, off=off, port=OddPort)
    world.plan()
    world.look()

    def early(receipt: Receipt) -> Receipt:
        return replace(receipt, block_number=receipt.block_number + 1, block_hash="0x" + "fb" * 32)

    world.chain.mine()
    world.port.edit_receipt = early
    for _ in range(2):
        world.look()
        assert world.state() is ActionState.BROADCAST, "mined in a block that nobody has"
    world.port.edit_receipt = None
    world.look()
    assert world.state() is ActionState.MINED
    world.finish()
    assert (world.state(), world.effects()) == (ActionState.FINAL_OK, 1)
    world.close()


WHICH = "0x" + "b7" * 20
WHICH_CALL = Call("0x" + "B7" * 20, "PriceFeed.version")


def told(number: int) -> str:
    """Code that answers this number: 60xx60005260206000f3."""
    return f"0x60{number:02x}60005260206000f3"


@row("C4", "two endpoints follow two branches: every snapshot is of one of them, whole or not at all", "hash_pin")
async def test_two_branches(lab: Lab) -> None:
    other = lab.stack.enter_context(AnvilProcess())
    nodes = [lab.node(), other.chain()]
    lab.stack.callback(nodes[1].close)
    proxies = [*await lab.proxies(), await lab.stack.enter_async_context(FaultProxy(other.url, 1))]
    for number, node in enumerate(nodes, 1):
        node.rpc("anvil_setCode", WHICH, told(number))
        node.rpc("evm_increaseTime", hex(number * 5))
        node.mine(3)
    chain = lab.chain(*proxies)
    for n in range(6):
        branch = n % 2
        for node in nodes:
            node.mine(1)
        block = await lab.chain(proxies[branch]).block("latest")
        answers = await outcome(chain.ask([WHICH_CALL] * 3, block))
        assert answers == [Ok((branch + 1,))] * 3, "values of the other branch"


@row(
    "C4",
    "included on one branch, not on the other, back and forth: one nonce, one effect",
    "rollback",
)
def test_no_flapping(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan()
    world.look()
    for n in range(10):
        world.chain.mine()
        world.look()
        assert world.state() is ActionState.MINED
        world.chain.reorg(1, grow=0 if n % 2 else 1)
        world.look()
        assert world.state() is ActionState.BROADCAST
    world.finish()
    assert (world.state(), world.effects(), world.audit()) == (ActionState.FINAL_OK, 1, [])
    assert {asked.nonce for asked in world.guardian.asked} == {0}
    assert [one.id for one in world.journal.actions()] == ["a"]
    world.close()
