"""Rows R1 to R9 and R21: what a single HTTP answer can do to us."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from email.utils import formatdate
from typing import Any

import pytest

from monitor.chain.endpoint import EndpointState
from monitor.chain.pool import Patience
from monitor.chain.transport import AccessRefused, Limits
from monitor.core.errors import BadAnswer, ChainError, RateLimited, RpcUnavailable
from monitor.core.types import BlockRef, Ok
from monitor.testing.clock import FakeClock
from tests.faults.lab import FAST, Lab, echo_call, endpoint, outcome
from tests.faults.proxy import Item, edits, flood, says
from tests.faults.rows import row


@row("R1", "connection refused: the next endpoint within a second; the last is never given up", "failover")
async def test_refused(lab: Lab) -> None:
    dead, good = await lab.proxies(2)
    lab.echo()
    await dead.stop()
    chain = lab.chain(dead, good)
    started = time.monotonic()
    block = await outcome(chain.block(0))
    assert isinstance(block, BlockRef), block
    assert time.monotonic() - started < 1
    assert endpoint(chain, dead).state is EndpointState.UNREACHABLE
    assert await outcome(chain.ask([echo_call(7)], block)) == [Ok((7,))]
    # the last one left is asked every time, however often it fails, and is back as soon as it answers
    rule = good.on(says("", status=500))
    for _ in range(3):
        assert isinstance(await outcome(chain.block(0)), RpcUnavailable)
    good.rules.remove(rule)
    assert isinstance(await outcome(chain.block(0)), BlockRef)


@row("R1", "a name that does not resolve: typed, and named by its host only", "failover")
async def test_unknown_host(lab: Lab) -> None:
    (good,) = await lab.proxies()
    alone = lab.chain("http://nowhere.invalid/v2/SECRETKEY")
    error = await outcome(alone.block(0))
    assert isinstance(error, RpcUnavailable)
    assert "nowhere.invalid" in str(error)
    assert "SECRETKEY" not in str(error) + repr(error)
    both = lab.chain("http://nowhere.invalid/v2/SECRETKEY", good)
    assert isinstance(await outcome(both.block(0)), BlockRef)


@row("R2", "accepts and never answers: another endpoint is asked meanwhile, within a second", "hedge")
async def test_silent(lab: Lab) -> None:
    silent, good = await lab.proxies(2)
    silent.on(silent.hold)
    chain = lab.chain(silent, good, limits=Limits(deadline_s=5))
    started = time.monotonic()
    assert isinstance(await outcome(chain.block(0), within_s=2), BlockRef)
    assert time.monotonic() - started < 1


@row("R2", "accepts and never answers: neither heads nor later reads wait for it again", "hedge")
async def test_silent_and_heads(lab: Lab) -> None:
    silent, good = await lab.proxies(2)
    lab.echo()
    silent.on(silent.hold)
    chain = lab.chain(silent, good, limits=Limits(deadline_s=5))
    started = time.monotonic()
    block = await outcome(chain.newest(), within_s=2)
    assert isinstance(block, BlockRef)
    for n in range(5):
        assert await outcome(chain.ask([echo_call(n)], block), within_s=2) == [Ok((n,))]
    assert time.monotonic() - started < 1


@row("R2", "accepts and never answers: the deadline holds, and a cancelled request leaves nothing", "total_deadline")
async def test_silent_alone(lab: Lab) -> None:
    (silent,) = await lab.proxies()
    silent.on(silent.drip)
    chain = lab.chain(silent, patience=Patience(tries=1), limits=Limits(deadline_s=0.2))
    error = await outcome(chain.block(0), within_s=1)
    assert isinstance(error, RpcUnavailable)
    assert "0.2 s" in error.message
    await leaves_nothing(lab)


async def leaves_nothing(lab: Lab) -> None:
    """Forty reads cancelled at random moments; then the same chain still works, and no task or socket is left."""
    silent, good = await lab.proxies(2)
    held = silent.on(silent.hold)
    chain = lab.chain(silent, good, patience=Patience(hedge_s=0.01))
    before = asyncio.all_tasks()
    reads = [asyncio.create_task(chain.block(0)) for _ in range(40)]
    for n, read in enumerate(reads):
        if n % 4 == 0:
            await asyncio.sleep(0)
        read.cancel()
    await asyncio.gather(*reads, return_exceptions=True)
    silent.rules.remove(held)
    assert isinstance(await chain.block(0), BlockRef)
    own = {task for task in asyncio.all_tasks() - before if "aiohttp" not in repr(task) and "_handle" not in repr(task)}
    assert [task for task in own if "RequestHandler" not in repr(task)] == []
    await chain.close()
    gc.collect()  # an unclosed socket would be a ResourceWarning, and so an error


@row("R3", "single bytes for ever: one deadline for the whole answer", "total_deadline")
async def test_drip(lab: Lab) -> None:
    dripping, good = await lab.proxies(2)
    dripping.on(dripping.drip)
    short = Limits(deadline_s=0.3)
    chain = lab.chain(dripping, patience=Patience(tries=1), limits=short)
    assert isinstance(await outcome(chain.block(0), within_s=2), RpcUnavailable)
    assert isinstance(await outcome(lab.chain(dripping, good, limits=short).block(0), within_s=2), BlockRef)


@row("R3", "half an answer and a reset: read again elsewhere", "failover")
async def test_reset(lab: Lab) -> None:
    broken, good = await lab.proxies(2)
    broken.on(broken.reset)
    assert isinstance(await outcome(lab.chain(broken, patience=Patience(tries=1)).block(0)), RpcUnavailable)
    assert isinstance(await outcome(lab.chain(broken, good).block(0)), BlockRef)


@row("R4", "429: left alone as long as it asks, by seconds or date, at most 60 s; load goes elsewhere", "retry_after")
async def test_retry_after(lab: Lab) -> None:
    busy, good = await lab.proxies(2)
    clock = FakeClock()
    waits = ("7", "date", "99999999999999999999", "soon", "-5")
    for wait, expected_s in zip(waits, (7, 30, 60, 1, 1), strict=True):
        text = formatdate(clock.now + 30, usegmt=True) if wait == "date" else wait
        chain = lab.chain(busy, good, clock=clock)
        busy.rules.clear()
        busy.on(says("slow down", status=429, Retry_After=text))
        first = busy.seen.requests
        for _ in range(4):
            assert isinstance(await outcome(chain.block(0)), BlockRef)
        assert busy.seen.requests == first + 1
        assert endpoint(chain, busy).state is EndpointState.RATE_LIMITED
        assert endpoint(chain, busy).resting_s == pytest.approx(expected_s, abs=1)
        clock.now += expected_s + 1
        busy.rules.clear()
        await chain.newest()
        assert busy.seen.requests == first + 2
        assert endpoint(chain, busy).state is EndpointState.ALIVE


@row("R4", "429 from the only endpoint: waited for if short, else told with the seconds", "retry_after")
async def test_retry_after_alone(lab: Lab) -> None:
    (busy,) = await lab.proxies()
    clock = FakeClock()
    chain = lab.chain(busy, clock=clock)
    busy.on(says("", status=429, Retry_After="1"), times=1)
    assert isinstance(await outcome(chain.block(0)), BlockRef)
    assert clock.slept == [1]
    busy.on(says("", status=429, Retry_After="3600"))
    error = await outcome(chain.block(0))
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 60
    assert clock.slept == [1]


@row("R5", "items of a batch refused for their rate: only those are asked again", "item_retry")
async def test_items_refused(lab: Lab) -> None:
    (busy,) = await lab.proxies()
    node = lab.node()
    lab.echo(node)
    chain = lab.chain(busy)
    block = await chain.block()
    refused = 0
    unlucky = busy.random.sample(range(3), 2)
    seen = 0

    def refuse_some(request: Item, answer: Item) -> Item:
        nonlocal refused, seen
        seen += request["method"] == "eth_call"
        if request["method"] == "eth_call" and seen - 1 in unlucky:
            code, message = ((-32005, "limit exceeded"), (429, "Too Many Requests"))[refused]
            refused += 1
            return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": message}}
        return answer

    busy.edits.append(refuse_some)
    queries = [echo_call(n) for n in range(250)]  # three eth_calls in one batch
    calls = busy.seen.methods.count("eth_call")
    assert await outcome(chain.ask(queries, block)) == [Ok((n,)) for n in range(250)]
    assert refused == 2
    assert busy.seen.methods.count("eth_call") - calls == 3 + refused


@row("R6", "401 and 403: the endpoint is left alone and named by its alias, never by its URL", "refuse")
async def test_access_refused(lab: Lab) -> None:
    expired, good = await lab.proxies(2)
    for status in (401, 403):
        expired.rules.clear()
        expired.on(says("key expired: SECRETKEY", status=status))
        url = expired.url.replace("http://", "http://user:PASSWORD@") + "/v3/SECRETKEY?token=TOKEN"
        error = await outcome(lab.chain(url).block(0))
        assert isinstance(error, AccessRefused)
        assert expired.url.removeprefix("http://") in str(error)
        chain = lab.chain(url, good)
        first = expired.seen.requests
        for _ in range(5):
            assert isinstance(await outcome(chain.block(0)), BlockRef)
        assert expired.seen.requests == first + 1
        state = chain.pool.endpoints[0]
        assert state.state is EndpointState.REFUSED
        told = f"{error} {error!r} {chain!r} {state!r} {state.transport!r} {state.trouble}"
        for secret in ("SECRETKEY", "PASSWORD", "TOKEN", "user"):
            assert secret not in told


def _double(answers: list[Item]) -> Any:
    return [*answers, *answers]


def _both(answers: list[Item]) -> Any:
    return [{**answer, "error": {"code": 1, "message": "and yet"}} for answer in answers]


def _neither(answers: list[Item]) -> Any:
    return [{"jsonrpc": "2.0", "id": answer["id"]} for answer in answers]


def _other_ids(answers: list[Item]) -> Any:
    return [{**answer, "id": answer["id"] + 1000} for answer in answers]


def _text_ids(answers: list[Item]) -> Any:
    return [{**answer, "id": str(answer["id"])} for answer in answers]


def _truncated(answers: list[Item]) -> Any:
    return answers[:-1]


def _wrapped(answers: list[Item]) -> Any:
    return {"answers": answers}


def _error_of_text(answers: list[Item]) -> Any:
    return [{"jsonrpc": "2.0", "id": answer["id"], "error": "no"} for answer in answers]


CHANGES = (_double, _both, _neither, _other_ids, _text_ids, _truncated, _wrapped, _error_of_text)
BODIES = (
    b"<html><body>502 Bad Gateway</body></html>",
    b"",
    b"[",
    b'[{"jsonrpc":"2.0","id":1',
    b"null",
    b"7",
    b"\xff\xfe",
)


@row("R7", "answers that are no JSON-RPC: a typed error, counted, and another endpoint is asked", "strict_json")
async def test_no_jsonrpc(lab: Lab) -> None:
    bad, good = await lab.proxies(2)
    for act in (*map(edits, CHANGES), *map(says, BODIES)):
        bad.rules.clear()
        bad.on(act)
        alone = lab.chain(bad, patience=Patience(tries=1))
        error = await outcome(alone.block(0))
        assert isinstance(error, BadAnswer), act
        assert alone.pool.endpoints[0].transport.traffic.failed == 1
        assert isinstance(await outcome(lab.chain(bad, good).block(0)), BlockRef)


@row("R7", "answers in another order and with extra fields are fine", "strict_json")
async def test_order_and_extra_fields(lab: Lab) -> None:
    (odd,) = await lab.proxies()
    lab.echo()
    odd.on(edits(lambda answers: [{**answer, "took_ms": 1.5} for answer in reversed(answers)]))
    chain = lab.chain(odd)
    block = await outcome(chain.block())
    assert isinstance(block, BlockRef)
    assert await outcome(chain.ask([echo_call(1), echo_call(2)], block)) == [Ok((1,)), Ok((2,))]


@row("R7", "seeded rubbish is always a typed error and never a crash", "strict_json")
async def test_rubbish(lab: Lab) -> None:
    bad, good = await lab.proxies(2)
    content = json.dumps([{"jsonrpc": "2.0", "id": n, "result": "0x1"} for n in (1, 2, 3)]).encode()
    for n in range(150):
        body = bytearray(content if n % 2 else bad.random.randbytes(bad.random.randrange(200)))
        for _ in range(bad.random.randrange(1, 6)):
            if body:
                body[bad.random.randrange(len(body))] = bad.random.choice(b'"[]{}0xn,:\\-e\x00\xff')
        bad.rules.clear()
        bad.on(says(bytes(body)))
        error = await outcome(lab.chain(bad, patience=Patience(tries=1)).block(0))
        assert isinstance(error, ChainError), bytes(body)
    assert not isinstance(await outcome(lab.chain(good).block(10**6)), BlockRef)
    # with the checks off, an answer to another question is taken for ours
    bad.rules.clear()
    bad.on(edits(_other_ids))
    assert isinstance(await outcome(lab.chain(bad, patience=Patience(tries=1)).block(0)), BadAnswer)


DEEP = b"[" * 100_000 + b"]" * 100_000
LONG = b'[{"jsonrpc":"2.0","id":' + b"9" * 100_000 + b',"result":"0x1"}]'
NAN = b'[{"jsonrpc":"2.0","id":1,"result":"0x7a69","took":NaN},{"jsonrpc":"2.0","id":2,"result":null}]'


@row("R8", "floods, deep nesting, endless integers, NaN: refused before they are parsed, memory bounded", "caps")
async def test_floods(lab: Lab) -> None:
    bad, good = await lab.proxies(2)
    limits = Limits(deadline_s=5, answer_bytes=1024 * 1024)
    # first, because deep nesting may kill the process when nothing limits it and py-evm has raised the recursion limit
    bad.on(flood(b" " * 65536, 2000))  # 130 megabytes, if they are taken
    chain = lab.chain(bad, limits=limits, patience=Patience(tries=1))
    error = await outcome(chain.block(0), within_s=4)
    assert isinstance(error, BadAnswer)
    assert "larger than" in error.message
    assert chain.pool.endpoints[0].transport.traffic.bytes_in < 2 * limits.answer_bytes
    for body in (DEEP, LONG, NAN):
        bad.rules.clear()
        bad.on(says(body))
        assert isinstance(await outcome(lab.chain(bad, patience=Patience(tries=1)).block(0)), BadAnswer)
        assert isinstance(await outcome(lab.chain(bad, good, patience=FAST).block(0)), BlockRef)


QUANTITIES: tuple[Any, ...] = (
    "0x",
    "0x00",
    "0x01",
    "-0x1",
    "1",
    1,
    None,
    "0x" + "f" * 65,
    "0xg",
    " 0x1",
    "0x1 ",
    "0x_1",
    "",
    [],
    True,
)


@row("R9", "quantities that are not written as the specification says are refused", "strict_quantity")
async def test_quantities(lab: Lab) -> None:
    (bad,) = await lab.proxies()
    lab.node().mine(2)
    for wrong in QUANTITIES:
        for name in ("timestamp", "number"):

            def spoil(request: Item, answer: Item, name: str = name, wrong: Any = wrong) -> Item:
                if request["method"] == "eth_getBlockByNumber":
                    answer["result"][name] = wrong
                return answer

            bad.edits[:] = [spoil]
            chain = lab.chain(bad, patience=Patience(tries=1))
            error = await outcome(chain.block("latest"))
            assert isinstance(error, BadAnswer), wrong
            assert "quantity" in error.message or "does not fit" in error.message


@row("R21", "redirects are not followed, wherever they lead", "no_redirect")
async def test_redirect(lab: Lab) -> None:
    bad, elsewhere = await lab.proxies(2)
    for status in (301, 302, 307, 308):
        bad.rules.clear()
        bad.on(says("", status=status, Location=elsewhere.url + "/stolen"))
        error = await outcome(lab.chain(bad, patience=Patience(tries=1)).block(0))
        assert isinstance(error, BadAnswer)
        assert "redirect" in error.message
    assert elsewhere.seen.requests == 0


@row(
    "R21",
    "TLS that cannot be verified and proxies of the environment are not used",
    limit="verification cannot be switched off, so there is no run without it",
)
async def test_tls(lab: Lab) -> None:
    (plain,) = await lab.proxies()
    port = plain.url.rsplit(":", 1)[1]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        environment.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        assert isinstance(await outcome(lab.chain(plain).block(0)), BlockRef)
        error = await outcome(lab.chain(f"https://127.0.0.1:{port}/KEY", patience=Patience(tries=1)).block(0))
    assert isinstance(error, RpcUnavailable)
    assert "TLS" in error.message
    assert "KEY" not in str(error)
