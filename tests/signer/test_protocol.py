"""What travels over the socket is read strictly, and what is written is read as what it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitor.core.actions import Intent, SignRequest
from monitor.signer import strict_json
from monitor.signer.errors import Refusal
from monitor.signer.protocol import (
    INT64,
    UINT256,
    Done,
    Kill,
    Malformed,
    Refused,
    Register,
    Sign,
    SignedAnswer,
    Status,
    StatusAnswer,
    read_answer,
    read_request,
    write_answer,
    write_request,
)
from tests.signer.room import GUARDIAN, OWNER, USDC, intent, request

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=50)
ADDRESSES = st.sampled_from([GUARDIAN, OWNER, USDC])
INTENTS = st.builds(
    Intent,
    kind=TEXT,
    chain_id=st.just(5),
    position_id=TEXT,
    owner=ADDRESSES,
    to=ADDRESSES,
    args=st.dictionaries(TEXT, st.one_of(TEXT, st.integers(-UINT256, UINT256)), max_size=16),
    value_wei=st.integers(0, UINT256),
)
REQUESTS = st.one_of(
    st.builds(
        Sign,
        st.builds(
            SignRequest,
            action_id=TEXT,
            epoch=st.integers(0, INT64),
            chain_id=st.just(5),
            sender=ADDRESSES,
            nonce=st.integers(0, INT64 - 1),
            intent=st.one_of(st.none(), INTENTS),
            gas=st.integers(0, 2**64 - 1),
            max_fee_per_gas_wei=st.integers(0, 2**128),
            max_priority_fee_per_gas_wei=st.integers(0, 2**128),
        ),
    ),
    st.builds(Register, st.integers(1, 2**53 - 1), ADDRESSES, st.integers(0, INT64), st.integers(0, INT64)),
    st.just(Status()),
    st.just(Kill()),
)
ANSWERS = st.one_of(
    st.builds(SignedAnswer, st.binary(max_size=300), TEXT),
    st.just(Done()),
    st.builds(StatusAnswer, st.lists(ADDRESSES).map(tuple), st.booleans()),
    st.builds(Refused, st.sampled_from(Refusal), TEXT, st.one_of(st.just(""), TEXT)),
)


class TestRoundTrip:
    @given(REQUESTS)
    def test_of_requests(self, asked: Any) -> None:
        line = write_request(asked)
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert read_request(line) == asked

    @given(REQUESTS)
    def test_keeps_the_hash_of_an_intent(self, asked: Any) -> None:
        read = read_request(write_request(asked))
        if isinstance(asked, Sign) and asked.request.intent:
            assert isinstance(read, Sign)
            assert read.request.intent
            assert read.request.intent.hash == asked.request.intent.hash

    @given(ANSWERS)
    def test_of_answers(self, answer: Any) -> None:
        assert read_answer(write_answer(answer)) == answer


def changed(**changes: Any) -> bytes:
    content = json.loads(write_request(Sign(request())))
    return json.dumps(content | changes).encode()


def changed_intent(**changes: Any) -> bytes:
    content = json.loads(write_request(Sign(request())))
    return json.dumps(content | {"intent": content["intent"] | changes}).encode()


class TestStrictness:
    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b"\n",
            b"null",
            b"5",
            b"[]",
            b"{}",
            b"\xff\xfe",
            b'{"type": "status"',
            b'{"type": "status"} x',
            b'{"type": ["status"]}',
            b'{"type": "status", "type": "kill"}',
            b'{"type": "status", "extra": 1}',
            b'{"type": "unknown"}',
            b"[" * 60_000,
            b'{"type":' * 5_000,
            b'{"type": "status", "n": ' + b"9" * 5_000 + b"}",
            changed(nonce=-1),
            changed(nonce=1.0),
            changed(nonce=True),
            changed(nonce="0"),
            changed(nonce=None),
            changed(nonce=2**63),
            changed(nonce=float("nan")),
            changed(epoch=-1),
            changed(chain_id=0),
            changed(chain_id=1),
            changed(gas=2**64),
            changed(max_fee_per_gas_wei=2**129),
            changed(sender=GUARDIAN.lower()),
            changed(sender=GUARDIAN[2:]),
            changed(sender=GUARDIAN + "00"),
            changed(sender="0x" + "zz" * 20),
            changed(sender=5),
            changed(action_id=""),
            changed(action_id="x" * 301),
            changed(action_id="two\x1b[2Jlines"),
            changed(action_id="\u202ereversed"),
            changed(action_id="\ud800"),
            changed(action_id=7),
            changed(intent=[]),
            changed(intent={}),
            changed(raw="0x00"),
            changed_intent(args=[]),
            changed_intent(args={"asset": None}),
            changed_intent(args={"asset": [1]}),
            changed_intent(args={"asset": {"a": 1}}),
            changed_intent(args={"amount": 2**256}),
            changed_intent(args={"amount": True}),
            changed_intent(args={"": 1}),
            changed_intent(args={str(n): n for n in range(17)}),
            changed_intent(value_wei=-1),
            changed_intent(owner=OWNER.lower()),
            changed_intent(data="0xdeadbeef"),
        ],
        ids=lambda line: repr(line[:40]),
    )
    def test_is_no_request(self, line: bytes) -> None:
        with pytest.raises(Malformed):
            read_request(line)

    @settings(max_examples=500)
    @given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode(errors="replace"))))
    @example(b'{"type": "register"}')
    @example(b'{"type": "sign"}')
    def test_garbage_is_malformed_and_nothing_else(self, line: bytes) -> None:
        for read in (read_request, read_answer):
            try:
                read(line)
            except Malformed:
                continue

    @settings(max_examples=500)
    @given(REQUESTS, st.data())
    def test_a_damaged_request_is_malformed_or_another_request(self, asked: Any, data: st.DataObject) -> None:
        line = bytearray(write_request(asked))
        for _ in range(data.draw(st.integers(1, 4))):
            line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))
        try:
            read_request(bytes(line))
        except Malformed:
            return

    @pytest.mark.parametrize(
        "line",
        [
            b"{}",
            b'{"type": "signed", "raw": "00", "hash": "x"}',
            b'{"type": "signed", "raw": "0xzz", "hash": "x"}',
            b'{"type": "signed", "raw": 5, "hash": "x"}',
            b'{"type": "refused", "code": "because", "reason": "x", "hint": ""}',
            b'{"type": "status", "keys": 5, "killed": true}',
            b'{"type": "status", "keys": [], "killed": 1}',
            b'{"type": "status", "keys": ["x"], "killed": true}',
            b'{"type": "done", "too": 1}',
        ],
    )
    def test_is_no_answer(self, line: bytes) -> None:
        with pytest.raises(Malformed):
            read_answer(line)

    def test_nothing_of_a_line_is_repeated(self) -> None:
        for line in (changed(action_id=7, sender="canary"), b"canary", b'{"canary": 1}', changed_intent(kind="")):
            with pytest.raises(Malformed) as wrong:
                read_request(line)
            assert "canary" not in str(wrong.value)

    def test_brackets_inside_text_are_text(self) -> None:
        asked = Sign(request(0, intent(kind='[[[[[[[[[[{{{{{{{{{{"\\')))
        assert read_request(write_request(asked)) == asked

    def test_depth_is_counted_before_it_is_parsed(self) -> None:
        """With the recursion limit that py_ecc sets, json itself would end the process here."""
        assert strict_json.loads(b"[" * 8 + b"]" * 8) == [[[[[[[[]]]]]]]]
        with pytest.raises(strict_json.BadJson, match="deep"):
            strict_json.loads(b"[" * 200_000)
