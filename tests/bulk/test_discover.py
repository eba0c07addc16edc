"""Borrowers from logs: everyone whom the contracts name, whatever the provider's caps, and never fewer in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monitor.chain import abi
from monitor.chain.discover import Discovery, Naming, Progress, TooWide, _judge
from monitor.chain.jsonrpc import Failure
from monitor.chain.pool import Patience
from monitor.chain.rpc_chain import RpcChain
from monitor.core.errors import BadAnswer, RateLimited, Reorged
from monitor.protocols.aave_v3.lens import BORROWERS
from tests.faults.proxy import Edit, FaultProxy, Item
from tests.localnet_fixtures import AnvilAave

pytestmark = pytest.mark.anvil
ONCE = Patience(tries=1)


def naming(local: AnvilAave) -> Naming:
    event, place = BORROWERS
    return Naming(local.market.pool, abi.event(event).topic, place)


def everyone(local: AnvilAave) -> set[str]:
    return {owner.lower() for owner in local.market.borrowers}


async def test_finds_all_borrowers_and_goes_on_from_its_file(anvil_aave: AnvilAave, tmp_path: Path) -> None:
    told: list[Progress] = []
    async with RpcChain(anvil_aave.process.url) as chain:
        last = await chain.block()
        half = await chain.block(last.number // 2)
        file = tmp_path / "state" / "borrowers.json"
        early = await Discovery(chain, naming(anvil_aave), file).run(0, half)
        assert set(early) < everyone(anvil_aave)
        later = Discovery(chain, naming(anvil_aave), file, progress=told.append, checked=10**6)
        later._size = 40
        found = await later.run(0, last)
        assert set(found) == everyone(anvil_aave)
        assert found[: len(early)] == early
        assert len(found) == len(set(found))
        assert told[0].done > half.number
        assert (told[-1].done, told[-1].accounts, told[-1].left_s) == (last.number + 1, len(found), 0)
        requests = chain.http_requests
        assert await Discovery(chain, naming(anvil_aave), file).run(0, last) == found
        assert chain.http_requests == requests + 1  # is the file's last block still there?
    assert [path.name for path in file.parent.iterdir()] == ["borrowers.json"]


async def test_a_file_of_another_branch_is_not_believed(anvil_aave: AnvilAave, tmp_path: Path) -> None:
    file = tmp_path / "borrowers.json"
    async with RpcChain(anvil_aave.process.url) as chain:
        last = await chain.block()
        found = await Discovery(chain, naming(anvil_aave), file).run(0, last)
        file.write_text(file.read_text().replace(last.hash, "0x" + "12" * 32).replace(found[0], "0x" + "34" * 20))
        assert await Discovery(chain, naming(anvil_aave), file).run(0, last) == found
        for text in ("", "[]", "{", file.read_text().replace("levmon.discover/1", "levmon.discover/0")):
            file.write_text(text)
            assert await Discovery(chain, naming(anvil_aave), file).run(0, last) == found


@pytest.mark.parametrize(
    ("message", "cap"),
    [
        ("query returned more than 10000 results", 100),
        ("Log response size exceeded. You can make requests with up to a 50 block range", 50),
        ("block range is too wide", 3),
    ],
    ids=["results", "told", "narrow"],
)
async def test_a_provider_with_a_cap_is_asked_for_less(
    anvil_aave: AnvilAave, tmp_path: Path, message: str, cap: int
) -> None:
    def refuse(request: Item, answer: Item) -> Item:
        if request["method"] != "eth_getLogs" or "fromBlock" not in (span := request["params"][0]):
            return answer
        wide = int(span["toBlock"], 16) - int(span["fromBlock"], 16) + 1 > cap
        return {**request, "result": None, "error": {"code": -32005, "message": message}} if wide else answer

    async with FaultProxy(anvil_aave.process.url) as proxy, RpcChain(proxy.url, patience=ONCE) as chain:
        proxy.edits.append(lambda request, answer: _without_result(refuse(request, answer)))
        last = await chain.block()
        found = await Discovery(chain, naming(anvil_aave), tmp_path / "file", checked=2).run(0, last)
    assert set(found) == everyone(anvil_aave)


def _without_result(answer: Item) -> Item:
    return {name: value for name, value in answer.items() if name != "result" or answer.get("error") is None}


async def test_withheld_logs_are_noticed_by_the_bloom_filter(anvil_aave: AnvilAave, tmp_path: Path) -> None:
    def withhold(request: Item, answer: Item) -> Item:
        return {**answer, "result": []} if request["method"] == "eth_getLogs" and _ranged(request) else answer

    async with FaultProxy(anvil_aave.process.url) as proxy, RpcChain(proxy.url, patience=ONCE) as chain:
        proxy.edits.append(withhold)
        last = await chain.block()
        with pytest.raises(BadAnswer, match="left out of its range"):
            await Discovery(chain, naming(anvil_aave), tmp_path / "file", checked=10**6).run(0, last)
        proxy.edits[:] = [lambda request, answer: {**answer, "result": []} if _logs(request) else answer]
        with pytest.raises(BadAnswer, match="do not make up its bloom filter"):
            await Discovery(chain, naming(anvil_aave), tmp_path / "file", checked=10**6).run(0, last)


def _logs(request: Item) -> bool:
    return bool(request["method"] == "eth_getLogs")


def _ranged(request: Item) -> bool:
    return "fromBlock" in request["params"][0]


async def test_a_log_that_was_not_asked_for_is_refused(anvil_aave: AnvilAave, tmp_path: Path) -> None:
    def other(change: dict[str, Any]) -> Edit:
        def edit(request: Item, answer: Item) -> Item:
            return {**answer, "result": [log | change for log in answer["result"]]} if _logs(request) else answer

        return edit

    async with FaultProxy(anvil_aave.process.url) as proxy, RpcChain(proxy.url, patience=ONCE) as chain:
        last = await chain.block()
        changes: list[dict[str, Any]] = [{"address": "0x" + "22" * 20}, {"removed": True}, {"topics": []}]
        for change in (*changes, {"blockNumber": hex(10**6)}):
            proxy.edits[:] = [other(change)]
            with pytest.raises(BadAnswer):
                await Discovery(chain, naming(anvil_aave), tmp_path / "file").run(0, last)
        proxy.edits[:] = [other({"blockHash": "0x" + "22" * 32})]
        with pytest.raises(Reorged):
            await Discovery(chain, naming(anvil_aave), tmp_path / "file", checked=10**6).run(0, last)


@pytest.mark.parametrize(
    ("message", "most"),
    [
        ("query returned more than 10000 results. Try with this block range [0x10, 0x1f].", 16),
        ("eth_getLogs is limited to a 10,000 block range", 10_000),
        ("You can make eth_getLogs requests with up to a 2K block range", 2_000),
        ("exceed maximum block range: 5000", None),
    ],
)
def test_caps_are_read_where_they_are_told(message: str, most: int | None) -> None:
    refused = _judge(Failure(-32602, message), 16)
    assert isinstance(refused, TooWide)
    assert refused.most == most


def test_other_refusals_are_what_they_are() -> None:
    assert isinstance(_judge(Failure(429, "slow down"), 0), RateLimited)
