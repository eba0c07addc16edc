"""Large eth_calls to one endpoint, pinned to a block hash, with the hex cut out of the answer instead of parsed.

What is left when the hex is cut out is an ordinary small JSON-RPC answer and is read as strictly as any other.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from monitor.chain import jsonrpc
from monitor.chain.endpoint import Endpoint
from monitor.chain.jsonrpc import Failure, Reply, Request, Result
from monitor.chain.replies import Kind, kind
from monitor.chain.transport import AnswerTooLarge, NoAnswer, QuestionTooLarge
from monitor.core.errors import BadAnswer, RateLimited, StateMissing
from monitor.core.types import BlockRef

T = TypeVar("T")
_RESULT = re.compile(rb'"result"\s*:\s*"0x')
_HEAD_BYTES = 512
"""How far into an answer its result begins."""
_ID = 1


class TooMuch(Exception):
    """The question or its answer is more than the endpoint takes, in gas, bytes or time: ask for less."""


class RungFailed(Exception):
    """The endpoint cannot do this at all, or does it wrongly; the text says why."""


def judge(failure: Failure) -> Exception:
    """What a refusal asks of us: less, patience, another endpoint, or another rung."""
    text = failure.message[:160]
    match kind(failure):
        case Kind.OUT_OF_GAS | Kind.TOO_LARGE:
            return TooMuch(text)
        case Kind.RATE_LIMITED:
            return RateLimited(text, retry_after_s=1.0)
        case Kind.STATE_MISSING:
            return StateMissing(text)
        case _:
            return RungFailed(text)


class Wire:
    """One endpoint at one block."""

    def __init__(self, endpoint: Endpoint, block: BlockRef) -> None:
        self.endpoint = endpoint
        self.block = block
        self.pin = {"blockHash": block.hash, "requireCanonical": True}

    async def call(self, data: bytes, to: str | None = None, overrides: Mapping[str, Any] | None = None) -> bytes:
        """The bytes that an eth_call returns. May raise: TooMuch, RungFailed, ChainError."""
        target = "" if to is None else f'"to":"{to}",'
        state = "" if overrides is None else "," + json.dumps(overrides, separators=(",", ":"))
        pin = json.dumps(self.pin, separators=(",", ":"))
        head = f'{{"jsonrpc":"2.0","id":{_ID},"method":"eth_call","params":[{{{target}"data":"0x'
        body = b"".join((head.encode(), binascii.hexlify(data), f'"}},{pin}{state}]}}'.encode()))
        return result_bytes(await self._patiently(self.endpoint.ask_raw(body, "eth_call")))

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """One reply each. May raise: TooMuch, ChainError."""
        _, replies = await self._patiently(self.endpoint.ask(requests, self.block.chain_id))
        return replies

    async def _patiently(self, asking: Awaitable[T]) -> T:
        """Silence and refusals for size are the same request to ask for less."""
        try:
            return await asking
        except (QuestionTooLarge, AnswerTooLarge, NoAnswer) as refused:
            raise TooMuch(refused.message) from None


def result_bytes(answer: bytes) -> bytes:
    """The bytes in an answer's result. May raise: TooMuch, RungFailed, ChainError."""
    found = _RESULT.search(answer, 0, _HEAD_BYTES)
    if found is None:
        (reply,) = jsonrpc.decode(answer, 1, _ID)
        if isinstance(reply, Failure):
            raise judge(reply)
        raise BadAnswer("the result of eth_call is no data")
    end = answer.find(b'"', found.end())
    (reply,) = jsonrpc.decode(answer[: found.end()] + answer[end:], 1, _ID)
    if not isinstance(reply, Result):
        raise BadAnswer("an answer needs exactly one of result and error")
    try:
        return binascii.unhexlify(answer[found.end() : end])
    except binascii.Error:
        raise BadAnswer("the result of eth_call is no data") from None
