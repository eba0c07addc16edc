"""The reader against a model of a node: whatever the node refuses, each query gets its own answer, once, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from monitor.chain.abi import checksum
from monitor.chain.aggregate import CREATION_CODE_BYTES, MULTICALL3, Item, deployless_code, read_deployless
from monitor.chain.jsonrpc import Failure, Reply, Request, Result
from monitor.chain.reader import aggregator_code, read
from monitor.core.types import Answer, BlockRef, Call, Ok, Query, Reverted, Unread

BLOCK = BlockRef(1, 100, "0x" + "ab" * 32, "0x" + "cd" * 32, 1_700_000_000)
KINDS = ("echo", "revert", "bare", "hog", "big", "nothing")
ADDRESSES: dict[str, str] = {checksum(f"0x{n:02x}" + "5a" * 19): kind for n, kind in enumerate(KINDS)}
BY_KIND = {kind: address for address, kind in ADDRESSES.items()}
GAS = 64_000


@dataclass
class ModelNode:
    """Executes what the reader sends, with limits: items in one eth_call, JSON-RPC items seen so far."""

    most_items: int
    seen: list[int] = field(default_factory=list)
    refuses_creation: bool = False

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        self.seen.append(len(requests))
        return [self.one(request) for request in requests]

    def one(self, request: Request) -> Reply:
        call, pin = request.params
        assert pin == {"blockHash": BLOCK.hash, "requireCanonical": True}
        data = bytes.fromhex(call["data"][2:])
        if "to" not in call:
            return self.deployless(data)
        if call["to"] == MULTICALL3:
            return self.multicall(data)
        succeeded, output, burnt = execute(call["to"], data)
        if burnt:
            return Failure(-32000, "out of gas")
        return Result("0x" + output.hex()) if succeeded else Failure(3, "execution reverted", "0x" + output.hex())

    def deployless(self, data: bytes) -> Reply:
        if self.refuses_creation:
            return Failure(-32000, "contract creation is not supported")
        assert len(data) <= CREATION_CODE_BYTES
        code = aggregator_code()
        assert data.startswith(code)
        room, at = int.from_bytes(data[len(code) : len(code) + 4], "big"), len(code) + 4
        out, gas, tried = b"", GAS, 0
        while at < len(data):
            if tried and gas < GAS // 8:
                break
            size = int.from_bytes(data[at + 20 : at + 23], "big")
            target = checksum(data[at : at + 20])
            succeeded, output, burnt = execute(target, data[at + 23 : at + 23 + size])
            tried += 1
            gas -= gas * 63 // 64 if burnt else 10
            if 9 + len(out) + 4 + len(output) + 8 > room:
                break
            out += bytes([succeeded]) + len(output).to_bytes(3, "big") + output
            at += 23 + size
        if tried > self.most_items:
            return Failure(-32000, "gas required exceeds allowance")
        return Result("0x" + (bytes(1) + GAS.to_bytes(8, "big") + out + gas.to_bytes(8, "big")).hex())

    def multicall(self, data: bytes) -> Reply:
        from eth_abi.abi import decode, encode

        (calls,) = decode(["(address,bool,bytes)[]"], data[4:])
        if len(calls) > self.most_items:
            return Failure(-32000, "gas required exceeds allowance")
        results = [execute(checksum(to), body)[:2] for to, _, body in calls]
        return Result("0x" + encode(["(bool,bytes)[]"], [results]).hex())


def execute(to: str, data: bytes) -> tuple[bool, bytes, bool]:
    """(succeeded, output, burnt all gas)"""
    kind = ADDRESSES[to]
    if kind == "hog":
        return False, b"", True
    if kind == "echo":
        return True, data[4:], False
    if kind == "big":
        return True, bytes(30_000), False
    return {"revert": (False, b"\xde\xad", False), "bare": (False, b"", False), "nothing": (True, b"", False)}[kind]


def right(call: Call) -> Answer:
    kind, number = ADDRESSES[call.to], int(call.args[0], 16)
    answers: dict[str, Answer] = {
        "echo": Ok((number,)),
        "big": Ok((0,)),
        "revert": Reverted(b"\xde\xad", "0xdead"),
        "bare": Reverted(b"", "reverted without a reason"),
        "hog": Unread("gas"),
        "nothing": Unread("no data"),
    }
    return answers[kind]


def same(got: Answer, wanted: Answer) -> bool:
    if isinstance(got, Unread) and isinstance(wanted, Unread):
        return wanted.reason in got.reason
    return got == wanted


calls = st.builds(
    lambda kind, number, sender: Call(
        BY_KIND[kind], "erc20.balanceOf", (checksum(f"0x{number:040x}"),), True, BY_KIND["echo"] if sender else None
    ),
    st.sampled_from((*KINDS, *["echo"] * 12)),
    st.integers(0, 300),
    st.sampled_from((False, False, False, True)),
)


def ask(node: ModelNode, queries: Sequence[Query], *, multicall: bool) -> list[Answer]:
    return asyncio.run(read(node.send, queries, BLOCK, multicall=multicall))


@given(st.lists(calls, max_size=260), st.sampled_from((1, 3, 20, 1000)), st.booleans())
def test_every_query_is_answered_once_and_in_order(queries: list[Call], most_items: int, multicall: bool) -> None:
    answers = ask(ModelNode(most_items), queries, multicall=multicall)
    assert len(answers) == len(queries)
    for query, got in zip(queries, answers, strict=True):
        assert same(got, right(query)), query


@given(st.lists(calls, min_size=1, max_size=60))
def test_a_node_that_cannot_run_the_aggregator_is_asked_call_by_call(queries: list[Call]) -> None:
    node = ModelNode(1000, refuses_creation=True)
    answers = ask(node, queries, multicall=False)
    assert all(same(got, right(query)) for query, got in zip(queries, answers, strict=True))
    assert len(node.seen) <= 2


def test_many_calls_are_one_request() -> None:
    node = ModelNode(1000)
    queries = [Call(BY_KIND["echo"], "erc20.balanceOf", (f"0x{n:040x}",)) for n in range(5000)]
    assert ask(node, queries, multicall=False)[4999] == Ok((4999,))
    assert node.seen == [50]


def test_arguments_that_do_not_fit_are_unread_alone() -> None:
    wrong = Call(BY_KIND["echo"], "erc20.balanceOf", ("nobody",))
    good = Call(BY_KIND["echo"], "erc20.balanceOf", (BY_KIND["echo"],))
    answers = ask(ModelNode(10), [wrong, good, Call(BY_KIND["echo"], "erc20.nonsense")], multicall=False)
    assert isinstance(answers[0], Unread)
    assert isinstance(answers[1], Ok)
    assert isinstance(answers[2], Unread)


def test_an_answer_of_another_layout_is_never_believed() -> None:
    class Liar(ModelNode):
        def deployless(self, data: bytes) -> Reply:
            return Result("0x00")

    call = Call(BY_KIND["echo"], "erc20.balanceOf", (f"0x{7:040x}",))
    assert ask(Liar(10), [call, call], multicall=False) == [Ok((7,)), Ok((7,))]  # asked directly


def test_layout_of_the_question() -> None:
    items: list[Any] = [Item(b"\x01" * 20, b"\xaa"), Item(b"\x02" * 20, b"")]
    assert deployless_code(b"\xfe", items, 256).hex() == (
        "fe" + "00000100" + "01" * 20 + "000001" + "aa" + "02" * 20 + "000000"
    )
    assert read_deployless(bytes(9) + bytes(8), 2).parts == ()
