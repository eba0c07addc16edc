"""The hex of JSON-RPC, strictly: a node that writes a number in any other way is not believed.

Quantities are `0x0` or `0x` and digits without a leading zero; data is `0x` and whole bytes. Everything else (null,
numbers, decimals, signs, spaces, underscores, `0x`, `0x00`, too wide) is BadAnswer, because a lenient parser turns a
broken answer into a small number.
"""

from __future__ import annotations

import re
from typing import Any

from monitor.core.errors import BadAnswer

_QUANTITY = re.compile(r"0x(?:0|[1-9a-fA-F][0-9a-fA-F]*)", re.ASCII)


def parse_quantity(value: Any, what: str, *, bits: int = 256, strict: bool = True) -> int:
    """A quantity as an integer below 2**bits. May raise: BadAnswer."""
    if not strict:
        return _lenient(value)
    if not isinstance(value, str) or len(value) > 66 or not _QUANTITY.fullmatch(value):
        raise BadAnswer(f"{what} is no quantity: {shown(value)}")
    number = int(value, 16)
    if number >> bits:
        raise BadAnswer(f"{what} does not fit {bits} bits")
    return number


def _lenient(value: Any) -> int:
    """What careless clients do; only reached with the defence off."""
    text = str(value)
    try:
        return int(text, 16) if text.startswith(("0x", "-0x")) else int(text)
    except ValueError:
        return 0


def parse_data(value: Any, what: str, *, length: int | None = None) -> bytes:
    """Bytes, of exactly `length` where given. May raise: BadAnswer."""
    data = _unhex(value)
    if data is None:
        raise BadAnswer(f"{what} is no data: {shown(value)}")
    if length is not None and len(data) != length:
        raise BadAnswer(f"{what} has {len(data)} bytes, not {length}")
    return data


def _unhex(value: Any) -> bytes | None:
    if not isinstance(value, str) or not value.startswith("0x"):
        return None
    try:
        data = bytes.fromhex(value[2:])
    except ValueError:
        return None
    return data if 2 * len(data) + 2 == len(value) else None  # fromhex passes over spaces


def parse_hash(value: Any, what: str) -> str:
    """A 32-byte hash as lower-case text. May raise: BadAnswer."""
    parse_data(value, what, length=32)
    return str(value).lower()


def shown(value: Any) -> str:
    """Enough of a foreign value to recognise it by, and nothing that a terminal would obey."""
    text = value if isinstance(value, str) else type(value).__name__
    short = text if len(text) <= 40 else f"{text[:40]}... ({len(text)} characters)"
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in short)
