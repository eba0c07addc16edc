"""The lens of globals tells what the market's getters tell, or is not believed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
from aiohttp import web

from monitor.chain import abi
from monitor.chain.port import run
from monitor.chain.rpc_chain import RpcChain
from monitor.protocols.aave_v3.bulk import MODES
from monitor.protocols.aave_v3.globals import Questions, read_globals
from monitor.protocols.aave_v3.packed import Packed
from monitor.testing.aave_v3 import price_of, set_price
from tests.bulk.markets import known
from tests.bulk.test_faults import is_call, last_byte_changed
from tests.faults.proxy import Exchange, FaultProxy, Item
from tests.localnet_fixtures import AnvilAave

pytestmark = pytest.mark.anvil
both = pytest.mark.parametrize("anvil_aave", ["3.0", "3.6"], indirect=True)
REVERTS = "0x600080fd"


def is_lens(request: Item) -> bool:
    return is_call(request) and str(request["params"][0]["data"]).startswith(abi.load("aave_v3_globals").bytecode)


@both
async def test_the_lens_tells_what_the_getters_tell_in_one_request(anvil_aave: AnvilAave) -> None:
    market, node = anvil_aave.market, anvil_aave.chain
    async with RpcChain(anvil_aave.process.url) as chain:
        block, facts, _ = await known(chain, market)
        asked, lens = Questions(facts, MODES), Packed(facts, MODES)
        before = chain.http_requests
        first = await run(chain, lens.read(), block)
        assert chain.http_requests == before + 1
        assert first == await run(chain, read_globals(asked), block)
        feed = market.reserves["WETH"].feed
        set_price(node, market, feed, price_of(node, feed) * 9 // 10)
        block = await chain.block()
        sent = chain.pool.endpoints[0].transport.traffic.bytes_out
        told = await run(chain, lens.read(), block)
        sent = chain.pool.endpoints[0].transport.traffic.bytes_out - sent
        assert sent < 2 * len(abi.load("aave_v3_globals").bytecode) + 6_000  # the lens and no getters beside it
        assert told == await run(chain, read_globals(asked), block)
    assert len(told.prices) >= len(told.reserves) == len(market.reserves)
    assert told.categories
    assert told.prices != first.prices


@pytest.mark.parametrize("anvil_aave", ["3.6"], indirect=True)
@pytest.mark.parametrize("version", ["3.2", "3.5", "3.7"])
async def test_categories_are_asked_as_each_version_describes_them(anvil_aave: AnvilAave, version: str) -> None:
    """3.6 answers what 3.2 to 3.5 are asked; what it does not know of 3.7 is not known."""
    async with RpcChain(anvil_aave.process.url) as chain:
        block, facts, _ = await known(chain, anvil_aave.market)
        as_if = replace(facts, version=version)
        lens = Packed(as_if, MODES)
        plain = await run(chain, read_globals(Questions(as_if, MODES)), block)
        assert [await run(chain, lens.read(), block) for _ in range(2)] == [plain] * 2
    assert bool(plain.categories) == (version != "3.7")


@both
async def test_a_broken_price_or_reserve_is_that_ones_alone(anvil_aave: AnvilAave) -> None:
    market, node = anvil_aave.market, anvil_aave.chain
    async with RpcChain(anvil_aave.process.url) as chain:
        block, facts, _ = await known(chain, market)
        asked, lens = Questions(facts, (1, 2)), Packed(facts, (1, 2))
        whole = await run(chain, lens.read(), block)
        node.rpc("anvil_setCode", market.reserves["WETH"].feed, REVERTS)
        node.mine()
        block = await chain.block()
        told = await run(chain, lens.read(), block)
        assert told == await run(chain, read_globals(asked), block)
        assert set(whole.prices) - set(told.prices) == {market.reserves["WETH"].asset}
        node.rpc("anvil_setCode", market.pool, REVERTS)
        node.mine()
        block = await chain.block()
        with pytest.raises(Exception, match="list of reserves"):
            await run(chain, lens.read(), block)


@pytest.mark.parametrize(
    ("lie", "reason"),
    [(last_byte_changed, "it says other than the market's own getters"), (lambda text: text[:-2], "bytes belong")],
    ids=["value", "length"],
)
async def test_a_lens_that_tells_otherwise_is_not_believed(
    anvil_aave: AnvilAave, caplog: pytest.LogCaptureFixture, lie: Callable[[str], str], reason: str
) -> None:
    def edit(request: Item, answer: Item) -> Item:
        return {**answer, "result": lie(answer["result"])} if is_lens(request) else answer

    async with FaultProxy(anvil_aave.process.url) as proxy, RpcChain(proxy.url) as chain:
        proxy.edits.append(edit)
        block, facts, _ = await known(chain, anvil_aave.market)
        plain, lens = await run(chain, read_globals(Questions(facts, ())), block), Packed(facts, ())
        with caplog.at_level(logging.WARNING):
            assert [await run(chain, lens.read(), block) for _ in range(2)] == [plain] * 2
    (told,) = [record.getMessage() for record in caplog.records if record.name == "levmon.globals"]
    assert told.startswith(f"{facts.market}: prices and indexes not by the lens: ")
    assert told.endswith(reason)


async def test_with_little_gas_nothing_is_taken_for_broken(anvil_aave: AnvilAave) -> None:
    allowed = {"gas": ""}

    async def act(exchange: Exchange) -> web.StreamResponse:
        for item in filter(is_lens, exchange.items):
            item["params"][0] |= allowed
        return exchange.reply(await exchange.answers())

    async with FaultProxy(anvil_aave.process.url) as proxy, RpcChain(proxy.url) as chain:
        proxy.on(act)
        block, facts, _ = await known(chain, anvil_aave.market)
        plain = await run(chain, read_globals(Questions(facts, MODES)), block)
        for gas in range(400_000, 4_000_000, 300_000):
            allowed["gas"] = hex(gas)
            lens = Packed(facts, MODES)
            assert [await run(chain, lens.read(), block) for _ in range(2)] == [plain] * 2
