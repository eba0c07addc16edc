"""What every chain behind the reader's port must do: the same tests on anvil, with Multicall3 and without, and on
eth-tester. Another adapter joins by one line in `local`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from monitor.chain.aggregate import MULTICALL3
from monitor.chain.port import Chain, run
from monitor.chain.rpc_chain import RpcChain
from monitor.core.errors import ChainError, ConfigError, StateMissing, WrongChain
from monitor.core.slots import vyper_entry
from monitor.core.types import Address, Answer, BlockRef, Call, LogQuery, Ok, Query, ReadPlan, Reverted, Unread, Word
from monitor.testing import EthTesterChain
from monitor.testing.anvil import AnvilProcess
from monitor.testing.contracts import compile_contract
from monitor.testing.devchain import DevChain
from monitor.testing.py_evm import EthTesterDevChain
from tests.chain.devices import Devices, deploy


class Local(NamedTuple):
    node: DevChain
    devices: Devices
    kind: str
    url: str

    def chain(self) -> Chain:
        if isinstance(self.node, EthTesterDevChain):
            return EthTesterChain(self.node.tester)
        return RpcChain(self.url)


@cache
def multicall_code() -> str:
    """Our own small Multicall3, since levmon ships none."""
    return str(compile_contract(Path(__file__).with_name("Aggregate3.vy"))["bytecode"])


@pytest.fixture(scope="module", params=["anvil", "anvil with multicall3", "eth-tester"])
def shared(request: pytest.FixtureRequest) -> Iterator[Local]:
    if request.param == "eth-tester":
        node = EthTesterDevChain()
        yield Local(node, deploy(node), request.param, "")
        return
    with ExitStack() as stack:
        process = stack.enter_context(AnvilProcess())
        anvil = process.chain()
        stack.callback(anvil.close)
        devices = deploy(anvil)
        if "multicall3" in request.param:
            made = anvil.create(devices.owner, bytes.fromhex(multicall_code()[2:]))
            anvil.rpc("anvil_setCode", MULTICALL3, anvil.rpc("eth_getCode", made, "latest"))
        yield Local(anvil, devices, request.param, process.url)


@pytest.fixture
def local(shared: Local) -> Iterator[Local]:
    snapshot = shared.node.snapshot()
    yield shared
    shared.node.revert(snapshot)


def number(address: Address, value: int) -> Call:
    return Call(address, "erc20.balanceOf", (f"0x{value:040x}",), allow_revert=True)


def plain(address: Address, **more: Address) -> Call:
    return Call(address, "PriceFeed.version", (), True, **more)


async def test_blocks(local: Local) -> None:
    local.node.mine(3)
    chain = local.chain()
    try:
        head = await chain.block()
        assert head.number == local.node.block_number()
        assert head.timestamp == local.node.timestamp()
        assert head.chain_id == chain.chain_id
        parent = await chain.block(head.number - 1)
        assert head.parent_hash == parent.hash
        assert await chain.block(-1) == parent
        assert await chain.block(head.hash) == head
        assert (await chain.block(0)).number == 0
        for missing in (head.number + 1, 10**9, "0x" + "11" * 32):
            with pytest.raises(StateMissing):
                await chain.block(missing)
        with pytest.raises(ConfigError):
            await chain.block(-1000)
    finally:
        await chain.close()


async def test_each_kind_of_answer(local: Local) -> None:
    at, feed = local.devices.at, local.devices.feed
    expected: list[tuple[Call, Answer]] = [
        (number(at["echo"], 7), Ok((7,))),
        (number(at["echo"], 0), Ok((0,))),
        (plain(at["revert"]), Reverted(b"", "reverted without a reason")),
        (plain(at["revert_word"]), Reverted((1).to_bytes(32, "big"), "0x" + "00" * 31 + "01")),
        (plain(at["hog"]), Unread("gas")),
        (plain(at["invalid"]), Unread("gas")),
        (plain(at["short"]), Unread("do not fit")),
        (plain(at["big"]), Ok((0,))),
        (plain("0x" + "99" * 20), Unread("no data")),
        (plain(at["caller"], sender=local.devices.owner), Ok((int(local.devices.owner, 16),))),
        (Call(feed, "PriceFeed.decimals"), Ok((8,))),
        (Call(feed, "PriceFeed.description"), Ok(("ETH / USD",))),
        (Call(feed, "PriceFeed.getRoundData", (99,), allow_revert=True), Reverted(b"", "No data present")),
        (number(at["echo"], 7), Ok((7,))),
    ]
    chain = local.chain()
    try:
        block = await chain.block()
        answers = await chain.ask([query for query, _ in expected], block)
        assert len(answers) == len(expected)
        for (query, wanted), got in zip(expected, answers, strict=True):
            assert type(got) is type(wanted), (query, got)
            if isinstance(got, Ok):
                assert got == wanted, query
            elif isinstance(got, Unread):
                assert isinstance(wanted, Unread)
                assert wanted.reason in got.reason
            elif isinstance(wanted, Reverted):
                assert wanted.reason == got.reason
                assert wanted.data in (b"", got.data)
    finally:
        await chain.close()


async def test_revert_data_is_the_contract_s_own(local: Local) -> None:
    chain = local.chain()
    try:
        block = await chain.block()
        call = Call(local.devices.feed, "PriceFeed.getRoundData", (99,), allow_revert=True)
        (answer,) = await chain.ask([call], block)
        assert isinstance(answer, Reverted)
        text = b"No data present"
        words = (32).to_bytes(32, "big") + len(text).to_bytes(32, "big") + text.ljust(32, b"\0")
        assert answer.data == bytes.fromhex("08c379a0") + words
    finally:
        await chain.close()


async def test_values_are_those_of_the_pinned_block(local: Local) -> None:
    chain = local.chain()
    try:
        then = await chain.block()
        local.node.mine(4)
        now = await chain.block()
        queries = [plain(local.devices.at["number"]), plain(local.devices.at["time"])]
        for block in (then, now, then):
            assert await chain.ask(queries, block) == [Ok((block.number,)), Ok((block.timestamp,))]
    finally:
        await chain.close()


async def test_logs(local: Local) -> None:
    feed, owner = local.devices.feed, local.devices.owner
    chain = local.chain()
    try:
        for answer in (5, 6, 7):
            local.node.send(owner, feed, "setAnswer(int256)", answer)
        block = await chain.block()
        local.node.send(owner, feed, "setAnswer(int256)", 8)  # later than the pinned block

        async def logged(blocks: int) -> list[int]:
            (found,) = await chain.ask([LogQuery(feed, "PriceFeed.AnswerUpdated", blocks)], block)
            assert isinstance(found, Ok)
            assert all(log.address == feed for log in found.values)
            assert all(block.number - blocks < log.block_number <= block.number for log in found.values)
            return [log.args["current"] for log in found.values]

        assert await logged(1) == [7]
        assert await logged(3) == [5, 6, 7]
        assert (await logged(10**6))[-3:] == [5, 6, 7]
        assert (await chain.ask([LogQuery(owner, "PriceFeed.AnswerUpdated", 100)], block)) == [Ok(())]
    finally:
        await chain.close()


async def test_storage_words(local: Local) -> None:
    feed, owner = local.devices.feed, local.devices.owner
    chain = local.chain()
    try:
        local.node.send(owner, feed, "setAnswer(int256)", 777_777)
        then = await chain.block()
        local.node.send(owner, feed, "setAnswer(int256)", 888_888)
        slots = [Word(feed, slot) for slot in range(8)]
        later = await chain.ask(slots, await chain.block())
        before = await chain.ask(slots, then)
        (counter,) = [slot for slot, answer in enumerate(before) if answer != later[slot]]
        now = before[counter]
        assert isinstance(now, Ok)
        (round_id,) = now.values
        entry = Word(feed, vyper_entry(counter + 1, round_id))  # the feed's rounds follow their counter
        nothing = [Word(feed, 2**256 - 1), Word(owner, 0)]
        assert await chain.ask([entry, *nothing], then) == [Ok((777_777,)), Ok((0,)), Ok((0,))]
    finally:
        await chain.close()


async def test_a_block_that_left_the_chain_is_an_error(local: Local) -> None:
    chain = local.chain()
    try:
        snapshot = local.node.snapshot()
        local.node.mine()
        block = await chain.block()
        local.node.revert(snapshot)
        local.node.warp(1000)
        queries: list[Query] = [
            plain(local.devices.at["time"]),
            LogQuery(local.devices.feed, "PriceFeed.AnswerUpdated", 5),
        ]
        with pytest.raises(ChainError):
            await chain.ask(queries, block)
    finally:
        await chain.close()


async def test_a_block_of_another_chain_is_refused(local: Local) -> None:
    chain = local.chain()
    try:
        block = await chain.block()
        foreign = BlockRef(1, block.number, block.hash, block.parent_hash, block.timestamp)
        with pytest.raises(WrongChain):
            await chain.ask([plain(local.devices.at["number"])], foreign)
    finally:
        await chain.close()


async def test_a_plan_runs_to_its_end(local: Local) -> None:
    def chase(start: int) -> ReadPlan[int]:
        value = start
        for _ in range(3):
            (answer,) = yield (number(local.devices.at["echo"], value + 1),)
            assert isinstance(answer, Ok)
            value = answer.values[0]
        return value

    chain = local.chain()
    try:
        assert await run(chain, chase(10), await chain.block()) == 13
        assert await chain.ask([], await chain.block()) == []
    finally:
        await chain.close()


@pytest.mark.parametrize("count", [1, 99, 100, 101, 450])
async def test_many(local: Local, count: int) -> None:
    chain = local.chain()
    try:
        block = await chain.block()
        before = chain.http_requests if isinstance(chain, RpcChain) else 0
        queries = [number(local.devices.at["echo"], n) for n in range(count)]
        assert await chain.ask(queries, block) == [Ok((n,)) for n in range(count)]
        if isinstance(chain, RpcChain):
            assert before == 1
            assert chain.http_requests == 2
    finally:
        await chain.close()


async def test_closing_twice_and_reading_after(local: Local) -> None:
    chain = local.chain()
    block = await chain.block()
    await chain.close()
    await chain.close()
    assert await chain.block(block.hash) == block
    await chain.close()


def test_what_is_shipped_of_yul_is_what_its_sources_compile_to() -> None:
    from monitor.testing.yul import ARTIFACTS, artifact_text, compile_yul

    assert len(ARTIFACTS) > 1
    for source, artifact in ARTIFACTS.items():
        assert artifact.read_text() == artifact_text(compile_yul(source))


def test_our_multicall_compiles() -> None:
    try:
        assert multicall_code().startswith("0x")
    except subprocess.CalledProcessError as failed:
        pytest.fail(failed.stderr)
