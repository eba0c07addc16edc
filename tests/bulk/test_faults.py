"""Bulk reading through endpoints with caps, gaps and lies: the same columns, fewer at a time, or a loud reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from monitor.chain.bulk.lens import CreatedLens, OverrideLens
from monitor.chain.bulk.reader import BulkReader, Swept
from monitor.chain.bulk.words import Batch, Multicall
from monitor.chain.pool import Patience
from monitor.chain.rpc_chain import RpcChain
from monitor.chain.transport import LIMITS, Limits
from monitor.core.errors import BadAnswer, RpcUnavailable, StateMissing
from monitor.protocols.columns import Columns
from monitor.testing.clock import FakeClock
from tests.bulk.markets import known, place_multicall, rows
from tests.bulk.test_rungs import same
from tests.faults.proxy import Edit, Exchange, FaultProxy, Item
from tests.localnet_fixtures import AnvilAave

pytestmark = pytest.mark.anvil
ONCE = Patience(tries=1)


async def plain(local: AnvilAave) -> Columns:
    """By getters, from the node itself."""
    async with RpcChain(local.process.url) as chain:
        block, _, survey = await known(chain, local.market)
        swept = await BulkReader(chain, survey, ladder=[Batch]).read(rows(local.market.borrowers), block)
        assert swept.unread == ()
        return swept.columns


async def through(
    local: AnvilAave, *urls: str, clock: FakeClock | None = None, limits: Limits = LIMITS, quorum: int = 1, **more: Any
) -> tuple[Swept, BulkReader]:
    """Read by way of these endpoints; what levmon knows of the market it has from the node itself."""
    async with RpcChain(local.process.url) as direct:
        block, _, survey = await known(direct, local.market)
    async with RpcChain(urls, patience=ONCE, chain_id=block.chain_id, limits=limits, quorum=quorum) as chain:
        reader = BulkReader(chain, survey, clock=clock or FakeClock(), **more)
        return await reader.read(rows(local.market.borrowers), block), reader


def is_lens(request: Item) -> bool:
    """By state override: a call of a contract, which the search for places is not."""
    return is_call(request) and len(request["params"]) > 2 and "to" in request["params"][0]


def is_call(request: Item) -> bool:
    return bool(request["method"] == "eth_call")


def instead(answer: Item, code: int, message: str) -> Item:
    return {"jsonrpc": "2.0", "id": answer["id"], "error": {"code": code, "message": message}}


def refusing_more_than(size: int, message: str) -> Edit:
    """Answers of more bytes than that are refused."""

    def edit(request: Item, answer: Item) -> Item:
        large = is_call(request) and len(answer.get("result", "")) > 2 + 2 * size
        return instead(answer, -32000, message) if large else answer

    return edit


@pytest.mark.parametrize("rung", [OverrideLens, CreatedLens], ids=["override", "created"])
async def test_little_gas_takes_more_calls_and_loses_nobody(anvil_aave: AnvilAave, rung: type[Any]) -> None:
    gas = 3_250_000 if rung is OverrideLens else 8_500_000
    calls = 0

    async def act(exchange: Exchange) -> web.StreamResponse:
        nonlocal calls
        for item in exchange.items:
            if item["method"] == "eth_call":
                calls += 1
                item["params"][0]["gas"] = hex(gas)
        return exchange.reply(await exchange.answers())

    async with FaultProxy(anvil_aave.process.url) as proxy:
        proxy.on(act)
        swept, reader = await through(anvil_aave, proxy.url, ladder=[rung])
    assert (same(swept.columns, await plain(anvil_aave)), swept.unread, reader.drops) == (True, (), [])
    assert calls > 80 + 3  # the sample's getters, and more than one call of the lens


@pytest.mark.parametrize(
    ("rung", "message"),
    [(OverrideLens, "response size exceeded"), (CreatedLens, "out of gas"), (Multicall, "execution timeout")],
    ids=["size", "gas", "time"],
)
async def test_refusals_halve_until_it_fits(anvil_aave: AnvilAave, rung: type[Any], message: str) -> None:
    place_multicall(anvil_aave.chain)
    async with FaultProxy(anvil_aave.process.url) as proxy:
        proxy.edits.append(refusing_more_than(6_000 if rung is Multicall else 2_000, message))
        swept, reader = await through(anvil_aave, proxy.url, ladder=[rung])
    assert (same(swept.columns, await plain(anvil_aave)), swept.unread, reader.drops) == (True, (), [])


async def test_bodies_that_are_refused_as_too_large_become_smaller(anvil_aave: AnvilAave) -> None:
    async def act(exchange: Exchange) -> web.StreamResponse:
        if is_lens(exchange.items[0]) and len(exchange.items[0]["params"][0]["data"]) > 1_700:
            return web.Response(status=413, text="Payload Too Large")
        return exchange.reply(await exchange.answers())

    async with FaultProxy(anvil_aave.process.url) as proxy:
        proxy.on(act)
        swept, reader = await through(anvil_aave, proxy.url, ladder=[OverrideLens])
    assert (same(swept.columns, await plain(anvil_aave)), swept.unread, reader.drops) == (True, (), [])


async def test_silence_is_a_request_for_less(anvil_aave: AnvilAave) -> None:
    async def act(exchange: Exchange) -> web.StreamResponse:
        if is_lens(exchange.items[0]) and len(exchange.items[0]["params"][0]["data"]) > 1_700:
            return await proxy.hold(exchange)
        return exchange.reply(await exchange.answers())

    async with FaultProxy(anvil_aave.process.url) as proxy:
        proxy.on(act)
        swept, reader = await through(
            anvil_aave, proxy.url, ladder=[OverrideLens], limits=Limits(deadline_s=0.7, answer_bytes=10**7)
        )
    assert (same(swept.columns, await plain(anvil_aave)), swept.unread, reader.drops) == (True, (), [])


async def test_a_rate_limit_is_waited_for(anvil_aave: AnvilAave) -> None:
    refused = 0

    def edit(request: Item, answer: Item) -> Item:
        nonlocal refused
        if is_lens(request) and refused < 2:
            refused += 1
            return instead(answer, -32005, "rate limit exceeded")
        return answer

    clock = FakeClock()
    async with FaultProxy(anvil_aave.process.url) as proxy:
        proxy.edits.append(after_the_proof(edit))
        swept, reader = await through(anvil_aave, proxy.url, ladder=[OverrideLens], clock=clock)
    assert same(swept.columns, await plain(anvil_aave))
    assert (refused, clock.slept, reader.drops) == (2, [1.0, 1.0], [])


def after_the_proof(edit: Edit) -> Edit:
    """The fault begins after the lens's first answer."""
    answered = False

    def later(request: Item, answer: Item) -> Item | None:
        nonlocal answered
        if is_lens(request) and not answered:
            answered = True
            return answer
        return edit(request, answer)

    return later


def without_override(exchange: Exchange) -> None:
    for item in exchange.items:
        if item["method"] == "eth_call":
            del item["params"][2:]


async def test_a_node_that_ignores_overrides_is_found_out(anvil_aave: AnvilAave) -> None:
    async def act(exchange: Exchange) -> web.StreamResponse:
        without_override(exchange)
        return exchange.reply(await exchange.answers())

    async with FaultProxy(anvil_aave.process.url) as proxy:
        proxy.on(act)
        swept, reader = await through(anvil_aave, proxy.url)
    assert [drop.rung for drop in reader.drops] == ["lens by state override"]
    assert "could not be found" in reader.drops[0].reason
    assert (same(swept.columns, await plain(anvil_aave)), swept.rungs) == (True, ("eth_getStorageValues",))


async def test_a_node_that_refuses_overrides_is_read_another_way(anvil_aave: AnvilAave) -> None:
    def edit(request: Item, answer: Item) -> Item:
        refused = is_call(request) and len(request["params"]) > 2
        return instead(answer, -32602, "too many arguments, want at most 2") if refused else answer

    async with FaultProxy(anvil_aave.process.url) as proxy:
        proxy.edits.append(edit)
        swept, reader = await through(anvil_aave, proxy.url)
    assert [str(drop).partition(": ")[2] for drop in reader.drops] == [
        "not by lens by state override: too many arguments, want at most 2"
    ]
    assert same(swept.columns, await plain(anvil_aave))


def last_byte_changed(text: str) -> str:
    return text[:-2] + f"{int(text[-2:], 16) ^ 1:02x}"


def one_too_few(text: str) -> str:
    return text[:-2]


@pytest.mark.parametrize("lie", [last_byte_changed, one_too_few])
async def test_a_rung_whose_answers_differ_from_the_getters_is_not_believed(
    anvil_aave: AnvilAave, lie: Callable[[str], str]
) -> None:
    def edit(request: Item, answer: Item) -> Item:
        return {**answer, "result": lie(answer["result"])} if is_lens(request) else answer

    async with FaultProxy(anvil_aave.process.url) as proxy:
        proxy.edits.append(edit)
        swept, reader = await through(anvil_aave, proxy.url)
    assert [drop.rung for drop in reader.drops] == ["lens by state override"]
    assert same(swept.columns, await plain(anvil_aave))


@pytest.mark.parametrize("rung", [OverrideLens, CreatedLens, Multicall], ids=["override", "created", "multicall"])
async def test_who_cannot_be_read_is_named_and_nobody_else_is_missing(anvil_aave: AnvilAave, rung: type[Any]) -> None:
    place_multicall(anvil_aave.chain)
    market = anvil_aave.market
    async with RpcChain(anvil_aave.process.url) as chain:
        block, _, survey = await known(chain, market)
        before = (await BulkReader(chain, survey, ladder=[Batch]).read(rows(market.borrowers), block)).columns
        anvil_aave.chain.rpc("anvil_setCode", market.reserves["WBTC"].a_token, "0x600080fd")
        anvil_aave.chain.mine()
        block = await chain.block()
        swept = await BulkReader(chain, survey, ladder=[rung]).read(rows(market.borrowers), block)
    bit = 2 * market.reserves["WBTC"].id + 1
    holders = before.flags[:, 0] >> np.uint64(bit) & np.uint64(1) == 1
    assert 0 < holders.sum() < len(holders)
    assert [owner for owner, _ in swept.unread] == [before.owner(row) for row in np.flatnonzero(holders).tolist()]
    assert all("could not be read" in reason for _, reason in swept.unread)
    assert [swept.columns.owner(row) for row in range(len(swept.columns))] == [
        before.owner(row) for row in np.flatnonzero(~holders).tolist()
    ]
    for place, row in enumerate(np.flatnonzero(~holders).tolist()):
        assert swept.columns.balances(place) == before.balances(row)


async def test_another_endpoint_goes_on_where_one_ends(anvil_aave: AnvilAave) -> None:
    def edit(request: Item, answer: Item) -> Item:
        return instead(answer, -32000, "header not found") if is_call(request) else answer

    async with FaultProxy(anvil_aave.process.url) as bad:
        bad.edits.append(edit)
        swept, _ = await through(anvil_aave, bad.url, anvil_aave.process.url)
        assert same(swept.columns, await plain(anvil_aave))
        with pytest.raises(StateMissing):
            await through(anvil_aave, bad.url)
        await bad.stop()
        with pytest.raises(RpcUnavailable):
            await through(anvil_aave, bad.url)


async def test_a_quorum_must_agree_on_everybody(anvil_aave: AnvilAave) -> None:
    def lie(request: Item, answer: Item) -> Item:
        return {**answer, "result": last_byte_changed(answer["result"])} if is_lens(request) else answer

    def refuse(request: Item, answer: Item) -> Item:
        return instead(answer, -32000, "header not found") if is_call(request) else answer

    url = anvil_aave.process.url
    async with FaultProxy(url) as one, FaultProxy(url) as other:
        swept, _ = await through(anvil_aave, one.url, other.url, url, quorum=3)
        assert same(swept.columns, await plain(anvil_aave))
        one.edits.append(after_the_proof(lie))
        with pytest.raises(BadAnswer, match="disagree about accounts"):
            await through(anvil_aave, one.url, other.url, url, quorum=2)
        one.edits[:] = [refuse]
        swept, _ = await through(anvil_aave, one.url, other.url, url, quorum=2)
        assert same(swept.columns, await plain(anvil_aave))
        with pytest.raises(StateMissing):
            await through(anvil_aave, one.url, other.url, url, quorum=3)
