"""Bytes from strangers: whatever they are, they become one reply for each request, or BadAnswer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.chain.jsonrpc import MAX_DEPTH, Failure, Request, Result, decode, encode, parse
from monitor.chain.quantity import parse_data, parse_hash, parse_quantity
from monitor.chain.replies import Kind, kind
from monitor.chain.transport import retry_after_s
from monitor.core.errors import BadAnswer

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "result", "error", "x"]), inner),
    max_leaves=12,
)


@given(st.binary(max_size=300) | json_values.map(lambda value: json.dumps(value).encode()), st.integers(1, 3))
def test_anything_is_replies_or_bad_answer(body: bytes, count: int) -> None:
    try:
        replies = decode(body, count, 1)
    except BadAnswer:
        return
    assert len(replies) == count
    assert all(isinstance(reply, Result | Failure) for reply in replies)


@given(st.permutations([1, 2, 3, 4]), json_values.filter(lambda value: value is not None))
def test_answers_are_matched_by_id(order: list[int], value: Any) -> None:
    body = json.dumps([{"id": n, "result": [n, value]} for n in order]).encode()
    assert decode(body, 4, 1) == [Result([n, value]) for n in (1, 2, 3, 4)]


def test_one_request_is_an_object_and_several_are_a_list() -> None:
    one = Request("eth_chainId")
    assert json.loads(encode([one], 5)) == {"jsonrpc": "2.0", "id": 5, "method": "eth_chainId", "params": []}
    assert [item["id"] for item in json.loads(encode([one, one], 5))] == [5, 6]


@pytest.mark.parametrize(
    "answer",
    [
        {"id": 1},
        {"id": 1, "result": "0x", "error": {"code": 1, "message": "x"}},
        {"id": 2, "result": 1},
        {"id": "1", "result": 1},
        {"id": 1.0, "result": 1},
        {"id": True, "result": 1},
        {"result": 1},
        {"id": 1, "error": "text"},
        {"id": 1, "error": {"code": "1", "message": "x"}},
        {"id": 1, "error": {"code": 1}},
        [],
        [{"id": 1, "result": 1}, {"id": 1, "result": 1}],
        "0x",
        None,
    ],
)
def test_what_is_no_answer(answer: Any) -> None:
    with pytest.raises(BadAnswer):
        decode(json.dumps(answer).encode(), 1, 1)


def test_an_error_may_come_with_a_null_result_and_data_in_many_places() -> None:
    def failure(data: Any) -> Any:
        error = {"code": 3, "message": "execution reverted", "data": data}
        return decode(json.dumps({"id": 1, "result": None, "error": error}).encode(), 1, 1)[0]

    places: tuple[Any, ...] = ("0xDEad", {"data": "0xdead"}, "Reverted 0xdead", {"result": "0xdead"})
    for data in places:
        assert failure(data) == Failure(3, "execution reverted", "0xdead")
    for data in (None, 7, [], {}, "none"):
        assert failure(data) == Failure(3, "execution reverted", "")


def test_one_error_for_a_whole_batch() -> None:
    body = json.dumps({"id": None, "error": {"code": -32600, "message": "batch too large"}}).encode()
    assert decode(body, 3, 1) == [Failure(-32600, "batch too large")] * 3


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":['])
def test_depth(opening: str) -> None:
    closing: dict[str, str] = {"[": "]", "{": "}"}
    levels = sum(opening.count(bracket) for bracket in "[{")

    def nested(times: int) -> bytes:
        text = opening * times
        return (text + "0" + "".join(closing[char] for char in reversed(text) if char in closing)).encode()

    parse(nested(MAX_DEPTH // levels))
    with pytest.raises(BadAnswer):
        parse(nested(MAX_DEPTH // levels + 1))
    assert parse(b'"' + b"[" * 500 + b'\\"{"') == "[" * 500 + '"{'


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "9" * 21, "[1", '{"a":1,}', "'a'", "\ufeff[]"])
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(BadAnswer):
        parse(text.encode())


def test_fractions_never_become_floats() -> None:
    assert parse(b"[1.5, 1e3]") == ["1.5", "1e3"]


@given(st.integers(0, 2**256 - 1))
def test_quantities_round_trip(number: int) -> None:
    assert parse_quantity(hex(number), "x") == number
    assert parse_quantity(hex(number).upper().replace("X", "x"), "x") == number


BAD_QUANTITIES: list[Any] = [
    *("0x", "0x00", "0x01", "-0x1", "1", "", "0xg", " 0x1", "0x1 ", "0x1\n", "0x_1", "0X1", "0x١", "0x1.0", "+0x1"),
    *(1, 0, None, True, [], {}, 1.5, "0x1" + "0" * 64, hex(2**256)),
]


@pytest.mark.parametrize("value", BAD_QUANTITIES, ids=repr)
def test_bad_quantities(value: Any) -> None:
    with pytest.raises(BadAnswer):
        parse_quantity(value, "x")


@given(st.text(alphabet="0123456789abcdefxX-+ _", max_size=12))
def test_a_quantity_is_exactly_what_the_specification_says(text: str) -> None:
    try:
        number = parse_quantity(text, "x")
    except BadAnswer:
        return
    assert text.lower() == hex(number)


def test_width() -> None:
    assert parse_quantity("0xffff", "x", bits=16) == 0xFFFF
    with pytest.raises(BadAnswer):
        parse_quantity("0x10000", "x", bits=16)


@given(st.binary(max_size=80))
def test_data_round_trips(data: bytes) -> None:
    assert parse_data("0x" + data.hex(), "x") == data


@pytest.mark.parametrize("value", ["0x1", "", "0xzz", "ab", None, 7, "0x 1", ["0x"]], ids=repr)
def test_bad_data(value: Any) -> None:
    with pytest.raises(BadAnswer):
        parse_data(value, "x")


def test_hashes() -> None:
    assert parse_hash("0x" + "AB" * 32, "x") == "0x" + "ab" * 32
    for wrong in ("0x" + "ab" * 31, "0x" + "ab" * 33, "ab" * 32):
        with pytest.raises(BadAnswer):
            parse_hash(wrong, "x")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        ("60", 60),
        ("61", 60),
        ("9" * 400, 60),
        ("", 1),
        ("soon", 1),
        ("-1", 1),
        ("1.5", 1),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0),
        ("Tue, 14 Nov 2033 22:13:00 GMT", 60),
        ("Tue, 99 Nov 2023 22:13:00 GMT", 1),
    ],
)
def test_retry_after(text: str, seconds: int) -> None:
    assert retry_after_s(text, 1_700_000_000) == seconds


@given(st.text(max_size=40))
def test_retry_after_of_anything(text: str) -> None:
    assert 0 <= retry_after_s(text, 1_700_000_000) <= 60


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (3, "execution reverted: out of gas", Kind.REVERTED),
        (-32000, "execution reverted", Kind.REVERTED),
        (-32015, "VM execution error. Reverted 0x", Kind.REVERTED),
        (-32603, "VM Exception while processing transaction: reverted with reason string 'x'", Kind.REVERTED),
        (-32603, "EVM error OutOfGas", Kind.OUT_OF_GAS),
        (-32603, "EVM error InvalidFEOpcode", Kind.OUT_OF_GAS),
        (-32000, "out of gas", Kind.OUT_OF_GAS),
        (-32000, "gas required exceeds allowance (50000000)", Kind.OUT_OF_GAS),
        (-32000, "invalid opcode: INVALID", Kind.OUT_OF_GAS),
        (-32003, "max initcode size exceeded", Kind.TOO_LARGE),
        (-32005, "query returned more than 10000 results", Kind.TOO_LARGE),
        (-32000, "exceed maximum block range: 5000", Kind.TOO_LARGE),
        (
            -32602,
            "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range",
            Kind.TOO_LARGE,
        ),
        (-32000, "execution timeout", Kind.TOO_LARGE),
        (-32005, "limit exceeded", Kind.RATE_LIMITED),
        (429, "Your app has exceeded its compute units per second capacity", Kind.RATE_LIMITED),
        (-32029, "Too many requests", Kind.RATE_LIMITED),
        (-32001, "Resource not found", Kind.STATE_MISSING),
        (-32000, "header not found", Kind.STATE_MISSING),
        (-32000, "missing trie node 1f (path ) state 0x1f is not available", Kind.STATE_MISSING),
        (-32000, "unknown block", Kind.STATE_MISSING),
        (-32602, "BlockOutOfRangeError: block height is 1 but requested was 153", Kind.STATE_MISSING),
        (-32000, "hash 0x1f is not currently canonical", Kind.STATE_MISSING),
        (-32601, "the method eth_nope does not exist", Kind.OTHER),
        (-32603, "internal error", Kind.OTHER),
        (-32602, "invalid argument 0", Kind.OTHER),
    ],
)
def test_kinds_of_errors(code: int, message: str, expected: Kind) -> None:
    assert kind(Failure(code, message)) is expected
