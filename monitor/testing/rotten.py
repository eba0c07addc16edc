"""Answers that no honest node gives: of the right type and any size, cut off, empty, refused. Seeded, so always
the same. Must not know: protocols.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from eth_abi.abi import encode

from monitor.chain import abi
from monitor.chain.abi import checksum, split_tuple
from monitor.core.errors import DecodeError
from monitor.core.types import Answer, Call, Created, LogQuery, Ok, Query, Reverted, Unread, Word

PANIC = bytes.fromhex("4e487b71") + (0x11).to_bytes(32, "big")
SIZES = (0, 1, 2, 18, 10**6, 10**8, 10**18, 10**27, 10**30)
PEOPLE = tuple(checksum("0x" + f"{number:02x}" * 20) for number in (0, 0x11, 0x22, 0x33))
TEXTS = ("", "WETH", "\x1b[31mWETH\x00", "x" * 300)


def failed() -> Iterator[Answer]:
    """Every way in which a call comes back without its values."""
    yield Unread("out of gas")
    yield Reverted(b"", "reverted without a reason")
    yield Reverted(PANIC, "panic 0x11")


def spoilt(call: Call | Word, good: Ok, rng: random.Random) -> Iterator[Answer]:
    """What becomes of an answer that arrives cut off, empty, or as other bytes of the same length."""
    if isinstance(call, Word):  # a node's word is 32 bytes, or no answer
        yield Unread("answer of eth_getStorageAt")
        yield Ok((rng.getrandbits(256),))
        return
    function = abi.function(call.function)
    data = encode(function.outputs, good.values)
    noise = rng.randbytes(len(data))
    for wrong in (b"", data[:-1], data[: len(data) // 2], data[:-32], noise):
        try:
            yield Ok(function.decode(wrong))
        except DecodeError as error:
            yield Unread(error.message)


def resized(call: Call | Word, good: Ok, rng: random.Random) -> Iterator[Ok]:
    """The same answer with one of its integers, then all of them, of another size: none, dust, 1e30, the most."""
    outputs = _outputs(call)
    sized = [
        tuple(_sized(kind, value, size) for kind, value in zip(outputs, good.values, strict=True)) for size in EXTREMES
    ]
    at = rng.randrange(len(outputs)) if outputs else 0
    single = [(*good.values[:at], *values[at : at + 1], *good.values[at + 1 :]) for values in sized]
    for values in dict.fromkeys((*sized, *single)):
        if values != good.values:
            yield Ok(values)


EXTREMES = (0, 1, 10**30, None)


def zeroed(call: Call | Word, good: Ok) -> Ok:
    """The same answer with every integer 0."""
    outputs = _outputs(call)
    return Ok(tuple(_sized(kind, value, 0) for kind, value in zip(outputs, good.values, strict=True)))


def anything(query: Query, rng: random.Random, failing: float) -> Answer:
    """An answer of the right type with any values; in a share of `failing` none at all."""
    if isinstance(query, LogQuery):
        return Ok(()) if rng.random() >= failing else Unread("no logs here")
    if rng.random() < failing or isinstance(query, Created):
        return rng.choice(list(failed()))
    return Ok(tuple(_value(kind, rng) for kind in _outputs(query)))


def _outputs(query: Call | Word) -> tuple[str, ...]:
    return ("uint256",) if isinstance(query, Word) else abi.function(query.function).outputs


def _most(kind: str) -> int:
    signed, bits = kind.startswith("int"), int(kind.removeprefix("u").removeprefix("int") or 256)
    return int(2 ** (bits - signed)) - 1


def _sized(kind: str, value: Any, size: int | None) -> Any:
    """The value with every integer in it as near to `size` as its type allows; None: the most that it holds."""
    if kind.endswith("]"):
        inner = kind[: kind.rindex("[")]
        return tuple(_sized(inner, one, size) for one in value)
    if kind.startswith("("):
        return tuple(_sized(part, one, size) for part, one in zip(split_tuple(kind), value, strict=True))
    if kind.startswith(("uint", "int")):
        return _most(kind) if size is None else min(size, _most(kind))
    return value


def _value(kind: str, rng: random.Random) -> Any:
    if kind.endswith("]"):
        inner, _, length = kind[:-1].rpartition("[")
        return tuple(_value(inner, rng) for _ in range(int(length) if length else rng.randrange(4)))
    if kind.startswith("("):
        return tuple(_value(part, rng) for part in split_tuple(kind))
    if kind.startswith(("uint", "int")):
        most = _most(kind)
        number = rng.choice((*SIZES, most, rng.getrandbits(rng.randrange(1, 256))))
        return min(number, most) * (-1 if kind.startswith("int") and rng.random() < 1 / 4 else 1)
    if kind == "bool":
        return rng.random() < 1 / 2
    if kind == "address":
        return rng.choice(PEOPLE)
    if kind == "string":
        return rng.choice(TEXTS)
    return rng.randbytes(int(kind.removeprefix("bytes") or rng.randrange(64)))
