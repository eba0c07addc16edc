"""JSON-RPC 2.0 as text: requests to bytes, bytes to one reply for each request. Sans I/O.

Answers come from strangers. Depth and length of integers are limited before anything is built, NaN is refused, ids must
be ours, and exactly one of result and error must be there. Unknown extra fields are ignored, as the specification lets
servers add them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from monitor.chain.quantity import shown
from monitor.core.errors import BadAnswer

MAX_DEPTH = 32
MAX_DIGITS = 20
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SQUARE = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(range(256)).translate(None, b"[]{}")


@dataclass(frozen=True, slots=True)
class Request:
    """One question: a method and its parameters. Questions of one `group` (not 0) only make sense from one endpoint."""

    method: str
    params: tuple[Any, ...] = ()
    group: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """The node's answer, still JSON."""

    value: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """The node's refusal. `data` is the hex of revert data where it sent any, else empty."""

    code: int
    message: str
    data: str = ""


Reply = Result | Failure


def encode(requests: Sequence[Request], first_id: int) -> bytes:
    """A single request as an object, several as an array; ids count up from `first_id`."""
    items = [
        {"jsonrpc": "2.0", "id": first_id + n, "method": r.method, "params": r.params} for n, r in enumerate(requests)
    ]
    return json.dumps(items[0] if len(items) == 1 else items, separators=(",", ":")).encode()


def decode(body: bytes, count: int, first_id: int, *, strict: bool = True, caps: bool = True) -> list[Reply]:
    """One reply for each of `count` requests, in their order. May raise: BadAnswer."""
    content = parse(body, caps=caps)
    if isinstance(content, dict) and count > 1:
        # one error object for a whole batch: its items all failed alike
        failure = _reply(content, strict=strict)
        if isinstance(failure, Failure):
            return [failure] * count
        raise BadAnswer("one result answers a batch")
    items = content if isinstance(content, list) else [content]
    if not strict:
        return [_reply(item, strict=False) for item in items]
    if len(items) != count:
        raise BadAnswer(f"{count} requests got {len(items)} answers")
    replies: dict[int, Reply] = {}
    for item in items:
        reply = _reply(item, strict=True)
        number = item.get("id")
        if number is None and count == 1 and isinstance(reply, Failure):
            number = first_id  # the server could not even read which request failed; there was only one
        if type(number) is not int or not first_id <= number < first_id + count or number in replies:
            raise BadAnswer("an answer has an id that was not asked")
        replies[number] = reply
    return [replies[first_id + n] for n in range(count)]


def parse(body: bytes, *, caps: bool = True) -> Any:
    """JSON with limits. Fractions come out as text, so that no float is ever made. May raise: BadAnswer."""
    if caps and _deeper_than(MAX_DEPTH, body):
        raise BadAnswer(f"the answer is nested deeper than {MAX_DEPTH} or cut off ({len(body)} bytes)")
    try:
        text = body.decode()
        return json.loads(
            text, parse_int=_short_int if caps else None, parse_float=str, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError):
        raise BadAnswer(f"the answer is no JSON ({len(body)} bytes)") from None


def _deeper_than(limit: int, body: bytes) -> bool:
    """Whether brackets nest deeper than `limit`, found without parsing: the innermost pairs go, `limit` times."""
    # without escapes every second quote ends a string, which is found much faster; what is cut off is refused as JSON
    plain = _STRING.sub(b"", body) if b"\\" in body else b"".join(body.split(b'"')[::2])
    brackets = plain.translate(_SQUARE, _NOT_BRACKETS)
    for _ in range(limit):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _short_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError("too many digits")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _reply(item: Any, *, strict: bool) -> Reply:
    if not isinstance(item, dict):
        raise BadAnswer(f"an answer is no object: {shown(item)}")
    error = item.get("error")
    if strict and (item.get("result") is not None if error is not None else "result" not in item):
        raise BadAnswer("an answer needs exactly one of result and error")
    if error is None:
        return Result(item.get("result"))
    if not isinstance(error, dict) or type(error.get("code")) is not int or not isinstance(error.get("message"), str):
        raise BadAnswer("an error has no code or no message")
    return Failure(error["code"], error["message"][:500], _revert_data(error.get("data")))


def _revert_data(data: Any) -> str:
    """Revert data as geth, Erigon, Nethermind and Parity's heirs place it: in `data`, in `data.data`, after a word."""
    if isinstance(data, dict):
        data = data.get("data") or data.get("result")
    if not isinstance(data, str):
        return ""
    found = re.search(r"0x(?:[0-9a-fA-F]{2})*", data)
    return found.group().lower() if found else ""
