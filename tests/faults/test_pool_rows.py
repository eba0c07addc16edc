"""Rows R10 to R15, R17, R18 and R22: endpoints that lag, lie, forget, serve another chain, or take their time; calls
that fail in a batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from monitor.chain.endpoint import EndpointState
from monitor.chain.jsonrpc import Failure, Request
from monitor.chain.pool import Patience
from monitor.chain.replies import Kind, kind
from monitor.chain.transport import Limits
from monitor.core.errors import StaleHead, StateMissing, WrongChain
from monitor.core.types import BlockRef, Call, LogQuery, Ok, Reverted, Unread
from monitor.testing.anvil import AnvilDevChain
from monitor.testing.artifacts import own_contract
from monitor.testing.clock import FakeClock
from tests.faults.lab import FAST, Lab, echo_call, endpoint, outcome
from tests.faults.proxy import Exchange, FaultProxy, Item
from tests.faults.rows import row

NUMBER = "0x" + "b1" * 20
"""Answers the number of its block: 4360005260206000f3."""
NUMBER_CALL = Call("0x" + "B1" * 20, "PriceFeed.version")


def put(node: AnvilDevChain, address: str, code: str) -> None:
    node.rpc("anvil_setCode", address, code)


def other_chain(request: Item, answer: Item) -> Item:
    """As if the provider had been pointed to another chain."""
    return {**answer, "result": "0x1"} if request["method"] == "eth_chainId" else answer


@row("R10", "wrong chain at the start: refused, and an endpoint of the right chain is used", "chain_id")
async def test_wrong_chain_at_start(lab: Lab) -> None:
    wrong, good = await lab.proxies(2)
    wrong.edits.append(other_chain)
    error = await outcome(lab.chain(wrong, chain_id=31337).block(0))
    assert isinstance(error, WrongChain)
    assert "serves chain 1, not 31337" in error.message
    chain = lab.chain(wrong, good, chain_id=31337)
    assert isinstance(await outcome(chain.block(0)), BlockRef)
    assert endpoint(chain, wrong).state is EndpointState.WRONG_CHAIN


@row("R10", "two endpoints of different chains, and none is configured: they are never mixed", "chain_id")
async def test_different_chains(lab: Lab) -> None:
    wrong, good = await lab.proxies(2)
    wrong.edits.append(other_chain)
    wrong.visible = lambda: 0
    lab.node().mine(5)
    chain = lab.chain(good, wrong, chain_id=None)
    found = [await outcome(chain.newest()) for _ in range(3)]
    assert len({block.chain_id for block in found}) == 1
    states = [endpoint.state for endpoint in chain.pool.endpoints]
    assert states.count(EndpointState.WRONG_CHAIN) == 1
    assert states.count(EndpointState.ALIVE) == 1


@row("R10", "re-pointed while in use: the very next answer is refused; back after a minute if mended", "chain_id")
async def test_wrong_chain_later(lab: Lab) -> None:
    turncoat, good = await lab.proxies(2)
    lab.echo()
    clock = FakeClock()
    alone, both = lab.chain(turncoat, clock=clock), lab.chain(turncoat, good, clock=clock)
    block = await outcome(alone.block())
    assert isinstance(block, BlockRef)
    await both.block()
    turncoat.edits.append(other_chain)
    assert isinstance(await outcome(alone.ask([echo_call(7)], block)), WrongChain)
    assert await outcome(both.ask([echo_call(7)], block)) == [Ok((7,))]
    calls = turncoat.seen.requests
    assert await outcome(both.ask([echo_call(8)], block)) == [Ok((8,))]
    assert turncoat.seen.requests == calls
    turncoat.edits.clear()
    clock.now += 61
    await both.newest()
    assert endpoint(both, turncoat).state is EndpointState.ALIVE


@row("R11", "the node has stopped: StaleHead instead of old news, and no head until it is fresh again", "stale_head")
async def test_frozen(lab: Lab) -> None:
    (frozen,) = await lab.proxies()
    node = lab.node()
    clock = FakeClock(node.timestamp())
    heads = lab.heads(lab.chain(frozen), clock=clock, limit_s=60)
    assert [head.block.number for head in await heads.poll()] == [0]
    frozen.visible = lambda: 0
    node.mine(70)  # one second each
    clock.now += 70
    error = await outcome(heads.poll())
    assert isinstance(error, StaleHead)
    assert "70 s old" in error.message
    frozen.visible = None
    (head,) = await heads.poll()
    assert (head.block.number, head.skipped) == (70, 69)


@row("R11", "one of two has stopped: it counts as out of sync and the other one's heads are used", "failover")
async def test_one_frozen(lab: Lab) -> None:
    frozen, fresh = await lab.proxies(2)
    node = lab.node()
    clock = FakeClock(node.timestamp())
    chain = lab.chain(frozen, fresh)
    frozen.visible = lambda: 0
    node.mine(70)
    clock.now += 70
    heads = lab.heads(chain, clock=clock, limit_s=60)
    (head,) = await heads.poll()
    assert head.block.number == 70
    assert endpoint(chain, frozen).state is EndpointState.OUT_OF_SYNC
    # what only the fresh one can know is not asked of the frozen one, wherever it stands in the list
    calls = frozen.seen.requests
    assert isinstance(await outcome(chain.block(70)), BlockRef)
    assert frozen.seen.requests == calls


@row("R12", "one of three lags by 1 to 50 blocks: it is not asked for what it lacks", "laggards")
async def test_laggard(lab: Lab) -> None:
    lagging, *good = await lab.proxies(3)
    node = lab.node()
    put(node, NUMBER, "0x4360005260206000f3")
    node.mine(60)
    for behind in (1, 2, 10, 50):
        lagging.visible = lambda behind=behind: 60 - behind
        chain = lab.chain(lagging, *good)
        block = await outcome(chain.block())
        assert isinstance(block, BlockRef)
        assert block.number == 60
        for _ in range(3):
            assert await outcome(chain.ask([NUMBER_CALL], block)) == [Ok((60,))]
        assert "eth_call" not in lagging.seen.methods
        assert (endpoint(chain, lagging).state is EndpointState.OUT_OF_SYNC) == (behind > 3)


def alternate(proxy: FaultProxy, head: int, behind: int) -> None:
    """As behind a load balancer: every other request reaches a replica that lags."""
    proxy.visible = lambda: head - behind * (proxy.seen.requests % 2)


@row("R13", "a balancer between fresh and lagging replicas: asked again, never empty", "state_missing")
async def test_balancer(lab: Lab) -> None:
    (balancer,) = await lab.proxies()
    node = lab.node()
    put(node, NUMBER, "0x4360005260206000f3")
    node.mine(20)
    chain = lab.chain(balancer)
    block = await chain.block(20)
    alternate(balancer, 20, 5)
    for _ in range(6):
        assert await outcome(chain.ask([NUMBER_CALL], block)) == [Ok((20,))]


@row("R13", "logs from a replica that lacks the block: the empty list is noticed", "canonical_logs")
async def test_balancer_logs(lab: Lab) -> None:
    (balancer,) = await lab.proxies()
    node = lab.node()
    owner = node.account("owner")
    feed = node.deploy(owner, own_contract("PriceFeed").code, "(uint8,string,int256)", (8, "X", 5))
    node.mine(3)
    head = node.block_number()
    chain = lab.chain(balancer)
    block = await chain.block(head)
    alternate(balancer, head, 2)
    for _ in range(6):
        (answer,) = await outcome(chain.ask([LogQuery(feed, "PriceFeed.AnswerUpdated", 100)], block))
        assert isinstance(answer, Ok)
        assert [log.args["current"] for log in answer.values] == [5]


def liar(told: int) -> object:
    """Edits every answer of 7 into another number."""

    def lie(request: Item, answer: Item) -> Item:
        if request["method"] == "eth_call" and "result" in answer:
            answer["result"] = answer["result"].replace(f"{7:064x}", f"{told:064x}")
        return answer

    return lie


@row("R14", "one of three lies: two that agree are believed, and the dispute is kept with its host", "quorum")
async def test_one_lies(lab: Lab) -> None:
    lying, *good = await lab.proxies(3)
    lab.echo()
    lying.edits.append(liar(8))  # type: ignore[arg-type]
    chain = lab.chain(lying, *good, quorum=2)
    block = await chain.block()
    assert await outcome(chain.ask([echo_call(7), echo_call(9)], block)) == [Ok((7,)), Ok((9,))]
    (dispute,) = chain.disputes
    assert f"{lying.url.removeprefix('http://')} says 8" in str(dispute)


@row("R14", "no two agree: unknown, with who said what", "quorum")
async def test_all_differ(lab: Lab) -> None:
    proxies = await lab.proxies(3)
    lab.echo()
    proxies[0].edits.append(liar(8))  # type: ignore[arg-type]
    proxies[1].edits.append(liar(9))  # type: ignore[arg-type]
    chain = lab.chain(*proxies, quorum=2)
    block = await chain.block()
    disputed, clear = await outcome(chain.ask([echo_call(7), echo_call(5)], block))
    assert isinstance(disputed, Unread)
    for proxy, said in zip(proxies, (8, 9, 7), strict=True):
        assert f"{proxy.url.removeprefix('http://')} says {said}" in disputed.reason
    assert clear == Ok((5,))


@row(
    "R15",
    "all endpoints agree on a lie",
    limit="cannot be noticed: a quorum of one, or of liars that agree, is believed; verify against another provider",
)
async def test_all_lie(lab: Lab) -> None:
    proxies = await lab.proxies(3)
    lab.echo()
    for proxy in proxies:
        proxy.edits.append(liar(8))  # type: ignore[arg-type]
    for chain in (lab.chain(proxies[0]), lab.chain(*proxies, quorum=3)):
        block = await chain.block()
        assert await outcome(chain.ask([echo_call(7)], block)) == [Ok((8,))]
        assert chain.disputes == []


FORGETFUL = (
    "missing trie node 7a1b (path ) state 0x7a1b is not available",
    "header not found",
    "Resource not found",
    "historical state 1f3c is not available",
    "old data not available due to pruning",
    "state already pruned",
)


def forgets(text: str) -> object:
    def edit(request: Item, answer: Item) -> Item:
        error = {"code": -32000, "message": text}
        return {"jsonrpc": "2.0", "id": request["id"], "error": error} if request["method"] == "eth_call" else answer

    return edit


@row(
    "R17",
    "a node has pruned the state: another is asked; if all have, StateMissing and never another block",
    "state_missing",
)
async def test_pruned(lab: Lab) -> None:
    pruned, archive = await lab.proxies(2)
    lab.echo()
    for text in FORGETFUL:
        pruned.edits[:] = [forgets(text)]  # type: ignore[list-item]
        archive.edits.clear()
        chain = lab.chain(pruned, archive)
        block = await chain.block(0)
        await chain.newest()
        block = await chain.block()
        assert await outcome(chain.ask([echo_call(7)], block)) == [Ok((7,))], text
        archive.edits[:] = [forgets(text)]  # type: ignore[list-item]
        assert isinstance(await outcome(chain.ask([echo_call(7)], block)), StateMissing), text


HOG, REVERTER, BROKEN, LOUD, BIG = (f"0x{n:02x}" * 1 + "Aa" * 19 for n in range(1, 6))
CODES = {
    HOG: "0x5b600056",  # for ever
    REVERTER: "0x60006000fd",
    BROKEN: "0xfe",
    LOUD: "0x6001600052602060 00fd".replace(" ", ""),
    BIG: "0x61ffff6000f3",  # 65,535 zero bytes, more than a created contract may have
}


def ask_of(address: str) -> Call:
    from monitor.chain.abi import checksum

    return Call(checksum(address), "PriceFeed.version", allow_revert=True)


@row("R18", "items that revert or burn all gas spoil neither their neighbours nor become zero", "split")
async def test_bad_items(lab: Lab) -> None:
    (proxy,) = await lab.proxies()
    node = lab.node()
    lab.echo(node)
    for address, code in CODES.items():
        put(node, address, code)
    chain = lab.chain(proxy, limits=Limits(deadline_s=20))
    block = await chain.block()
    bad = {10: HOG, 11: REVERTER, 30: BROKEN, 60: LOUD, 61: BIG, 62: HOG, 119: HOG}
    queries = [ask_of(bad[n]) if n in bad else echo_call(n) for n in range(120)]
    answers = await outcome(chain.ask(queries, block), within_s=60)
    assert isinstance(answers, list), answers
    for n, answer in enumerate(answers):
        if n not in bad:
            assert answer == Ok((n,)), n
        elif bad[n] in {HOG, BROKEN}:
            assert isinstance(answer, Unread), n
            assert "gas" in answer.reason
        elif bad[n] == BIG:
            assert answer == Ok((0,))
        else:
            assert answer == Reverted(b"" if bad[n] == REVERTER else (1).to_bytes(32, "big"), answer.reason), n


@row("R18", "a node that refuses large eth_calls: halved until they pass", "split")
async def test_node_limits(lab: Lab) -> None:
    (proxy,) = await lab.proxies()
    lab.echo()

    def cap(request: Item, answer: Item) -> Item:
        if request["method"] == "eth_call" and len(request["params"][0]["data"]) > 3000:
            error = {"code": -32000, "message": "out of gas: gas required exceeds allowance (50000000)"}
            return {"jsonrpc": "2.0", "id": request["id"], "error": error}
        return answer

    proxy.edits.append(cap)
    chain = lab.chain(proxy, patience=Patience(tries=1))
    block = await chain.block()
    answers = await outcome(chain.ask([echo_call(n) for n in range(150)], block))
    assert answers == [Ok((n,)) for n in range(150)]
    assert kind(Failure(-32000, "out of gas: gas required exceeds allowance (50000000)")) is Kind.OUT_OF_GAS


@contextmanager
def slow(proxy: FaultProxy) -> Iterator[asyncio.Event]:
    """Right answers, but only once the event is set."""
    release = asyncio.Event()

    async def act(exchange: Exchange) -> Any:
        await release.wait()
        return exchange.reply(await exchange.answers())

    proxy.on(act)
    try:
        yield release
    finally:
        release.set()


@row("R22", "slow but correct: what is critical is asked of a second endpoint beside it", "hedge")
async def test_slow(lab: Lab) -> None:
    late, quick = await lab.proxies(2)
    with slow(late):
        found = await outcome(lab.chain(late, quick).block(0), within_s=2)
    assert isinstance(found, BlockRef)


@row("R22", "slow but correct: bulk reads wait for it, and are not paid for twice", "hedge_cap")
async def test_slow_bulk(lab: Lab) -> None:
    late, quick = await lab.proxies(2)
    chain = lab.chain(late, quick)
    with slow(late):
        reading = asyncio.create_task(chain.pool.send([Request("eth_blockNumber")], critical=False))
        await asyncio.wait([reading], timeout=4 * FAST.hedge_s)
    assert len(await outcome(reading)) == 1
    assert quick.seen.requests == 0


@row("R22", "slow throughout: hedged for a few reads in a row, and not for all of them", "hedge_cap")
async def test_slow_throughout(lab: Lab) -> None:
    late, quick = await lab.proxies(2)
    chain = lab.chain(late, quick)
    with slow(late):
        reads = [asyncio.create_task(chain.pool.send([Request("eth_blockNumber")])) for _ in range(40)]
        done, _ = await asyncio.wait(reads, timeout=8 * FAST.hedge_s)
    assert [len(await outcome(read)) for read in reads] == [1] * 40
    assert len(done) == quick.seen.requests == int(FAST.hedges)
