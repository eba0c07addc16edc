"""Rows R16, R20, C1, C3 and C9: what heads can do."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from monitor.chain.heads import Head, Heads, Trouble
from monitor.chain.pool import Patience
from monitor.chain.websocket import WebSocketHints
from monitor.core.errors import BadAnswer, ChainError
from monitor.core.secret import RpcUrl
from monitor.core.types import BlockRef, Call, Ok
from monitor.testing.anvil import AnvilDevChain
from monitor.testing.clock import FakeClock
from tests.faults.lab import Lab, outcome
from tests.faults.proxy import Edit, Item
from tests.faults.rows import row

ONCE = Patience(tries=1)
TIME = "0x" + "C1" * 20
"""Answers the timestamp of its block: 4260005260206000f3."""
TIME_CALL = Call(TIME, "PriceFeed.version")


def in_blocks(change: dict[int, dict[str, str]]) -> Edit:
    """Changes fields of blocks by number."""

    def edit(request: Item, answer: Item) -> Item:
        block = answer.get("result")
        if request["method"].startswith("eth_getBlockBy") and isinstance(block, dict):
            block.update(change.get(int(block["number"], 16), {}))
        return answer

    return edit


def as_chain(chain_id: int) -> Edit:
    def edit(request: Item, answer: Item) -> Item:
        return {**answer, "result": hex(chain_id)} if request["method"] == "eth_chainId" else answer

    return edit


@row("R16", "a header that does not hash to its block's hash is refused, whatever was changed", "header_hash")
async def test_changed_header(lab: Lab) -> None:
    (bad,) = await lab.proxies()
    lab.node().mine(3)
    changes = (
        {"timestamp": "0x6553f1ff"},
        {"baseFeePerGas": "0x1"},
        {"parentHash": "0x" + "11" * 32},
        {"number": "0x2", "stateRoot": "0x" + "22" * 32},
    )
    for change in changes:
        bad.edits[:] = [in_blocks({3: change})]
        for at in ("latest", 3):
            assert isinstance(await outcome(lab.chain(bad, patience=ONCE).block(at)), BadAnswer), change
    bad.edits.clear()
    assert isinstance(await outcome(lab.chain(bad).block(3)), BlockRef)


@row(
    "R16", "a block that does not follow the one before it is refused; the chain is followed again after", "parent_link"
)
async def test_broken_link(lab: Lab) -> None:
    (bad,) = await lab.proxies()
    node = lab.node()
    node.mine(3)
    # a chain whose headers cannot be recomputed, so that only the link can tell
    bad.edits[:] = [as_chain(43114)]
    heads = lab.heads(lab.chain(bad, patience=ONCE), clock=FakeClock(node.timestamp()))
    assert [head.block.number for head in await heads.poll()] == [3]
    node.mine()
    bad.edits.append(in_blocks({4: {"parentHash": "0x" + "11" * 32}}))
    assert isinstance(await outcome(heads.poll()), BadAnswer)
    bad.edits.pop()
    head = await one(heads)
    assert (head.block.number, head.reorg) == (4, None)


async def one(heads: Heads) -> Head:
    """The only new head."""
    found = await heads.poll()
    assert len(found) == 1, found
    return found[0]


async def mine_and_see(events: asyncio.Queue[Head | Trouble], node: AnvilDevChain) -> None:
    """One more block, which must be told within two seconds."""
    node.mine()
    wanted = node.block_number()
    async with asyncio.timeout(2):
        while True:
            event = await events.get()
            if isinstance(event, Head) and event.block.number == wanted:
                return


@row("R20", "WebSocket that drops, falls silent, doubles or lies: heads arrive all the same", "poll")
async def test_websocket(lab: Lab) -> None:
    (proxy,) = await lab.proxies()
    node = lab.node()
    hints = WebSocketHints(RpcUrl(proxy.ws_url), mute_s=60, clock=FakeClock(), defences=lab.defences)
    heads = lab.heads(lab.chain(proxy), hints=hints, poll_s=0.05)
    events: asyncio.Queue[Head | Trouble] = asyncio.Queue()

    async def follow() -> None:
        async with aclosing(heads.events()) as stream:
            async for event in stream:
                events.put_nowait(event)

    follower = asyncio.create_task(follow())
    try:
        seen = await outcome(mine_and_see(events, node), within_s=3)
        assert seen is None, seen  # nothing was pushed at all
        for head in ({"number": "0x1"}, {"number": "0x1"}, {"number": "0xffff"}, "rubbish", {"number": "0x0"}):
            await proxy.push(head)
        assert await outcome(mine_and_see(events, node), within_s=3) is None
        connections = proxy.ws_connections
        for socket in list(proxy.sockets):
            await socket.close()
        assert await outcome(mine_and_see(events, node), within_s=3) is None
        async with asyncio.timeout(2):
            await proxy.subscribed(connections + 1)
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
        await hints.close()


@row("R20", "a WebSocket that is open and says nothing: connected anew, which is a hint of its own", "watchdog")
async def test_silent_websocket(lab: Lab) -> None:
    (proxy,) = await lab.proxies()
    hints = WebSocketHints(RpcUrl(proxy.ws_url), mute_s=0.05, clock=FakeClock(), defences=lab.defences)
    try:
        assert await outcome(hints.wait(), within_s=1) is None
        assert await outcome(proxy.subscribed(3), within_s=1) is None
        assert hints.reconnects >= 2
    finally:
        await hints.close()


@row("R20", "blocks between two heads: delivered if wanted, else counted", "back_fill")
async def test_gap(lab: Lab) -> None:
    (proxy,) = await lab.proxies()
    node = lab.node()
    counting = lab.heads(lab.chain(proxy), back_fill=0)
    filling = lab.heads(lab.chain(proxy), back_fill=3)
    for heads in (counting, filling):
        await heads.poll()
    node.mine(6)
    assert [(head.block.number, head.skipped) for head in await counting.poll()] == [(6, 5)]
    assert [(head.block.number, head.skipped) for head in await filling.poll()] == [(3, 2), (4, 0), (5, 0), (6, 0)]
    node.mine(300)  # more than the window
    assert [(head.block.number, head.skipped) for head in await counting.poll()] == [(306, 299)]


def mine_one(node: AnvilDevChain, late_s: int) -> str:
    node.set_next_timestamp(node.timestamp() + 1 + late_s)
    node.mine()
    return str(node.rpc("eth_getBlockByNumber", "latest", False)["hash"])


DEPTHS = (1, 2, 3, 7, 8, 31, 32, 33, 63, 64)


@row("C1", "reorganisations of 1 to 64 blocks: told with the common ancestor and what left", "reorg_check")
async def test_reorgs(lab: Lab) -> None:
    (proxy,) = await lab.proxies()
    node = lab.node()
    node.mine(70)
    for n, depth in enumerate(DEPTHS):
        heads = lab.heads(lab.chain(proxy))
        await heads.poll()
        ancestor = node.block_number()
        snapshot = node.snapshot()
        old = [mine_one(node, 0) for _ in range(depth)]
        await heads.poll()
        node.revert(snapshot)
        # as long as the old branch, longer, or shorter by one
        grow = (0, 1, 5, -1)[n % 4] if depth > 1 else 0
        new = [mine_one(node, 3 if m == 0 else 0) for m in range(depth + grow)]
        head = await one(heads)
        assert head.block.hash == new[-1]
        assert head.reorg is not None
        assert head.reorg.ancestor is not None
        assert head.reorg.ancestor.number == ancestor
        assert list(head.reorg.removed) == old[::-1]
        assert await heads.poll() == []


@row("C1", "anvil's own reorg of the same height is followed as well", "reorg_check")
async def test_anvil_reorg(lab: Lab) -> None:
    (proxy,) = await lab.proxies()
    node = lab.node()
    owner, other = node.account("owner"), node.account("other")
    node.mine()
    heads = lab.heads(lab.chain(proxy))
    for _ in range(2):
        await heads.poll()
        node.mine(5)
    await heads.poll()
    node.rpc("anvil_reorg", 4, [[{"from": owner, "to": other, "value": "0x0"}, 1]])
    head = await one(heads)
    assert head.block.number == 11
    assert head.reorg is not None
    assert head.reorg.ancestor is not None
    # the first replaced block may be the same block again, as nothing in it changed
    assert head.reorg.ancestor.number in {7, 8}
    assert len(head.reorg.removed) == 11 - head.reorg.ancestor.number


@row("C1", "a snapshot whose block leaves the chain gets an error and never another branch's values", "hash_pin")
async def test_pinned_block_reorged(lab: Lab) -> None:
    (proxy,) = await lab.proxies()
    node = lab.node()
    node.rpc("anvil_setCode", TIME, "0x4260005260206000f3")
    node.mine(3)
    snapshot = node.snapshot()
    mine_one(node, 0)
    chain = lab.chain(proxy)
    block = await chain.block()
    assert await outcome(chain.ask([TIME_CALL], block)) == [Ok((block.timestamp,))]
    node.revert(snapshot)
    mine_one(node, 7)
    answers = await outcome(chain.ask([TIME_CALL], block))
    assert isinstance(answers, ChainError) or answers == [Ok((block.timestamp,))], answers


@row("C3", "a head that goes back along the same branch is an endpoint that lags: ignored", "lagging_head")
async def test_head_goes_back(lab: Lab) -> None:
    (proxy,) = await lab.proxies()
    node = lab.node()
    node.mine(20)
    heads = lab.heads(lab.chain(proxy))
    assert [head.block.number for head in await heads.poll()] == [20]
    for behind in (1, 5, 19, 0):
        proxy.visible = lambda behind=behind: 20 - behind
        assert await heads.poll() == []
    # a snapshot that was gone back to, and a new branch from there
    proxy.visible = None
    snapshot = node.snapshot()
    node.mine(2)
    assert [head.block.number for head in await heads.poll()] == [22]
    node.revert(snapshot)
    assert await heads.poll() == []
    mine_one(node, 5)
    head = await one(heads)
    assert head.block.number == 21
    assert head.reorg is not None
    assert head.reorg.ancestor is not None
    assert head.reorg.ancestor.number == 20


@row("C9", "equal, future and far apart timestamps: every block is told, no wait exceeds a block time", "bounded_wait")
async def test_odd_times(lab: Lab) -> None:
    (proxy,) = await lab.proxies()
    node = lab.node()
    node.mine(1)
    start = node.timestamp()
    # a chain without a header check;
    # 0.25 s blocks: four have the same second; then one from next year, one back from there, one after a long pause
    times = [start, start, start, start, start + 1, start + 31_536_000, start + 2, start + 90_000]
    node_s = {1: {"timestamp": hex(start - 1)}}
    proxy.edits.append(as_chain(42161))
    proxy.edits.append(in_blocks(node_s | {n + 2: {"timestamp": hex(time)} for n, time in enumerate(times)}))
    clock = FakeClock(start)
    heads = lab.heads(lab.chain(proxy), clock=clock, limit_s=10**9)
    await heads.poll()
    for n in range(len(times)):
        node.mine()
        head = await one(heads)
        assert (head.block.number, head.block.timestamp) == (n + 2, times[n])
        assert head.age_s >= 0
        assert 0.05 <= heads.delay_s() <= 0.25
