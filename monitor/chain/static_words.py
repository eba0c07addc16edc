"""Decodes what has one layout only: outputs without strings, bytes and open arrays, straight from their words.

As strict as the general codec (padding, ranges, missing bytes), and many times faster: what a market's globals are made
of is read in every block.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from eth_utils.address import to_checksum_address

Read = Callable[[bytes, int], Any]
"""The value at this place of the data. May raise: ValueError."""
checksum = lru_cache(maxsize=65536)(to_checksum_address)
"""EIP-55 text of an address, remembered: the same few addresses come back in every block."""
_TYPE = re.compile(r"(uint|int|bytes)([0-9]+)")


@cache
def static_of(types: tuple[str, ...]) -> Callable[[bytes], tuple[Any, ...]] | None:
    """A decoder for data of these types, structs as tuples and addresses checksummed; None where one is dynamic."""
    layout = [_layout(kind) for kind in types]
    if None in layout:
        return None
    fields = [part for part in layout if part is not None]
    size, read = 32 * sum(words for words, _ in fields), _tuple(fields)

    def decode(data: bytes) -> tuple[Any, ...]:
        if len(data) < size:
            raise ValueError(f"{size} bytes are needed")
        values: tuple[Any, ...] = read(data, 0)
        return values

    return decode


def _layout(kind: str) -> tuple[int, Read] | None:
    """How many words a type takes and how they are read; None where it is dynamic or unknown."""
    if kind.endswith("]"):
        inner, _, count = kind[:-1].rpartition("[")
        part = _layout(inner) if count else None
        return part and (part[0] * int(count), _tuple([part] * int(count)))
    if kind.startswith("("):
        parts = [_layout(part) for part in split_tuple(kind)]
        if None in parts:
            return None
        fields = [part for part in parts if part is not None]
        return sum(words for words, _ in fields), _tuple(fields)
    if kind == "address":
        return 1, _address
    if kind == "bool":
        return 1, _bool
    found = _TYPE.fullmatch(kind)
    if found is None:
        return None
    size = int(found[2])
    return 1, {"uint": _uint, "int": _int, "bytes": _bytes}[found[1]](size)


@cache
def split_tuple(kind: str) -> tuple[str, ...]:
    """`(a,(b,c),d[])` -> its parts."""
    parts, depth, start = [], 0, 1
    for at, char in enumerate(kind):
        depth += (char == "(") - (char == ")")
        if (char == "," and depth == 1) or depth == 0:
            parts.append(kind[start:at])
            start = at + 1
    return tuple(part for part in parts if part)


def _tuple(fields: list[tuple[int, Read]]) -> Read:
    places, at = [], 0
    for words, read in fields:
        places.append((32 * at, read))
        at += words
    return lambda data, start: tuple([read(data, start + place) for place, read in places])


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 32], "big")


def _uint(bits: int) -> Read:
    if bits == 256:
        return _word

    def read(data: bytes, at: int) -> int:
        value = _word(data, at)
        if value >> bits:
            raise ValueError(f"a number has more than {bits} bits")
        return value

    return read


def _int(bits: int) -> Read:
    half = 1 << bits - 1

    def read(data: bytes, at: int) -> int:
        value = int.from_bytes(data[at : at + 32], "big", signed=True)
        if not -half <= value < half:
            raise ValueError(f"a number has more than {bits} bits")
        return value

    return read


def _bytes(size: int) -> Read:
    def read(data: bytes, at: int) -> bytes:
        if any(data[at + size : at + 32]):
            raise ValueError(f"there is something after {size} bytes")
        return data[at : at + size]

    return read


def _address(data: bytes, at: int) -> str:
    if any(data[at : at + 12]):
        raise ValueError("there is something before an address")
    return checksum("0x" + data[at + 12 : at + 32].hex())


def _bool(data: bytes, at: int) -> bool:
    value = _word(data, at)
    if value > 1:
        raise ValueError("a truth value is neither 0 nor 1")
    return value == 1
