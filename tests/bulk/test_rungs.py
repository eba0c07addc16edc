"""Every rung of the ladder reads the same from a real market: what its own getters say, account by account."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.chain.bulk.lens import CreatedLens, OverrideLens
from monitor.chain.bulk.places import key, locate
from monitor.chain.bulk.reader import LADDER, BulkReader, Drop
from monitor.chain.bulk.rung import Rung
from monitor.chain.bulk.storage import StorageValues
from monitor.chain.bulk.wire import Wire
from monitor.chain.bulk.words import Batch, Multicall
from monitor.chain.port import run
from monitor.chain.rpc_chain import RpcChain
from monitor.core.types import Position
from monitor.protocols.aave_v3 import reading
from monitor.protocols.columns import Columns
from tests.bulk.markets import known, place_multicall, rows
from tests.localnet_fixtures import AnvilAave

pytestmark = pytest.mark.anvil
GET_SUPPLY_DATA = "0x79774338"
"""StableDebtToken.getSupplyData(): principal, total, rate, last update"""
both = pytest.mark.parametrize("anvil_aave", ["3.0", "3.6"], indirect=True)


def same(one: Columns, other: Columns) -> bool:
    names = ("owners", "mode", "flags", "start", "kind", "low", "high")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@both
async def test_all_rungs_tell_what_the_getters_tell(anvil_aave: AnvilAave) -> None:
    place_multicall(anvil_aave.chain)
    owners = (*anvil_aave.market.borrowers, anvil_aave.market.lender, "0x" + "11" * 20)
    async with RpcChain(anvil_aave.process.url) as chain:
        block, facts, survey = await known(chain, anvil_aave.market)
        swept = {}
        for rung in LADDER:
            reader = BulkReader(chain, survey, ladder=[rung])
            swept[rung] = await reader.read(rows(owners), block)
            assert (reader.drops, swept[rung].rungs, swept[rung].unread) == ([], (rung.name,), ())
        positions = await run(chain, reading.read_state(facts, owners, block), block)
    assert all(same(one.columns, swept[Batch].columns) for one in swept.values())
    columns, stable = swept[Batch].columns, 0
    for row, position in enumerate(positions):
        assert isinstance(position, Position)
        state = position.state
        assert (columns.owner(row), int(columns.flags[row, 0])) == (owners[row].lower(), state.user_configuration)
        assert int(columns.mode[row]) == (state.category.id if state.category else 0)
        expected = {}
        for reserve in state.reserves:
            if state.user_configuration >> 2 * reserve.id + 1 & 1:
                expected[2 * reserve.id + 1] = reserve.scaled_a_token
            expected[2 * reserve.id] = reserve.scaled_variable_debt
            expected[256 + reserve.id] = reserve.stable_principal
            expected[384 + reserve.id] = reserve.stable_rate
            expected[512 + reserve.id] = reserve.stable_update_s if reserve.stable_principal else 0
            stable += reserve.stable_principal > 0
        assert columns.balances(row) == {kind: value for kind, value in expected.items() if value}
    assert (stable > 2) == (anvil_aave.market.version == "3.0")
    assert len(set(columns.mode.tolist())) > 2


@both
async def test_the_best_rung_is_proven_and_then_costs_one_request(anvil_aave: AnvilAave) -> None:
    async with RpcChain(anvil_aave.process.url) as chain:
        block, _, survey = await known(chain, anvil_aave.market)
        reader = BulkReader(chain, survey)
        owners = rows(anvil_aave.market.borrowers)
        first = await reader.read(owners, block)
        asked = chain.http_requests
        again = await reader.read(owners, block)
        assert chain.http_requests == asked + 1
    assert same(first.columns, again.columns)
    assert first.rungs == again.rungs == ("lens by state override",)


async def test_a_rung_that_cannot_be_stood_on_is_left_with_a_word(anvil_aave: AnvilAave) -> None:
    ladder: list[type[Rung]] = [Multicall, Batch]  # no Multicall3 here
    told: list[Drop] = []
    async with RpcChain(anvil_aave.process.url) as chain:
        block, _, survey = await known(chain, anvil_aave.market)
        reader = BulkReader(chain, survey, ladder=ladder, dropped=told.append)
        swept = await reader.read(rows(anvil_aave.market.borrowers), block)
    assert [drop.rung for drop in told] == ["Multicall3"]
    assert "not by Multicall3: Multicall3 is not on this chain" in str(told[0])
    assert (swept.rungs, len(swept.columns)) == (("JSON-RPC batch",), 32)


@pytest.mark.parametrize("anvil_aave", ["3.6"], indirect=True)
async def test_what_else_a_word_of_storage_holds_is_no_part_of_a_balance(anvil_aave: AnvilAave) -> None:
    """From 3.5 on a balance has 120 bits, and the byte above it says to whom its votes are lent."""
    owner, token = anvil_aave.market.borrowers[0], anvil_aave.market.reserves["WETH"].a_token
    async with RpcChain(anvil_aave.process.url) as chain:
        block, _, survey = await known(chain, anvil_aave.market)
        places = await locate(Wire(chain.pool.endpoints[0], block), survey.getters())
        assert len(places) == len(survey.getters())
        place = next(place for getter, place in places.items() if getter.contract == token)
        assert (place.shift, place.bits) == (0, 120)
        where = "0x" + key(bytes.fromhex(owner[2:]), place.slot).hex()
        word = int(anvil_aave.chain.rpc("eth_getStorageAt", token, where, "latest"), 16)
        anvil_aave.chain.rpc("anvil_setStorageAt", token, where, f"0x{word | 3 << 120:064x}")
        anvil_aave.chain.mine()
        block = await chain.block()
        methods = chain.pool.endpoints[0].transport.traffic.methods
        for rung in (OverrideLens, StorageValues):
            reader = BulkReader(chain, survey, ladder=[rung])
            swept = await reader.read(rows(anvil_aave.market.borrowers), block)
            assert (reader.drops, swept.unread) == ([], ())
            assert swept.columns.balances(0)[1] == word & 2**120 - 1
        assert methods["eth_getStorageValues"] > 2


@pytest.mark.parametrize("anvil_aave", ["3.0"], indirect=True)
async def test_stable_debt_is_read_even_where_its_token_has_set_its_supply_to_nothing(anvil_aave: AnvilAave) -> None:
    """Which StableDebtToken.burn does where roundings have added up, while others still owe."""
    node = anvil_aave.chain
    async with RpcChain(anvil_aave.process.url) as chain:
        block, _, survey = await known(chain, anvil_aave.market)
        before = await BulkReader(chain, survey, ladder=[Batch]).read(rows(anvil_aave.market.borrowers), block)
        owed = {f"0x{survey.stables[kind - 256].hex()}" for kind in before.columns.kind.tolist() if 256 <= kind < 384}
        assert owed
        for token in owed:
            supply = int(node.rpc("eth_call", {"to": token, "data": GET_SUPPLY_DATA}, "latest")[2:66], 16)
            held = {slot: node.rpc("eth_getStorageAt", token, hex(slot), "latest") for slot in range(48, 64)}
            (slot,) = [slot for slot, word in held.items() if int(word, 16) == supply > 0]
            node.rpc("anvil_setStorageAt", token, hex(slot), f"0x{0:064x}")
            assert int(node.rpc("eth_call", {"to": token, "data": GET_SUPPLY_DATA}, "latest"), 16) >> 768 == 0
        node.mine()
        block = await chain.block()
        for rung in (OverrideLens, CreatedLens):
            swept = await BulkReader(chain, survey, ladder=[rung]).read(rows(anvil_aave.market.borrowers), block)
            assert same(swept.columns, before.columns)
