"""JSON from elsewhere, read so that it cannot hurt: bounded depth, no doubled keys, no floats.

The depth is counted before the parser runs. py_ecc, which comes with the keystores, raises Python's recursion limit for
the whole process, and then some ten thousand brackets do not end in a RecursionError but in a crash of the signer.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

DEPTH_LIMIT = 8
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


class BadJson(ValueError):
    """Not JSON as it is read here."""


def loads(content: bytes, *, floats: bool = False) -> Any:
    """The value. May raise: BadJson."""
    try:
        text = content.decode()
        _check_depth(text)
        return json.loads(
            text, object_pairs_hook=_no_doubles, parse_float=float if floats else _no_float, parse_constant=_no_float
        )
    except BadJson:
        raise
    except ValueError:
        raise BadJson("not JSON") from None


def _check_depth(text: str) -> None:
    depth = 0
    for token in _TOKEN.finditer(text):
        first = token[0][0]
        depth += (first in "[{") - (first in "]}")
        if depth > DEPTH_LIMIT:
            raise BadJson("nested too deeply")


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise BadJson("a key stands there twice")
    return content


def _no_float(text: str) -> NoReturn:
    raise BadJson(f"{text[:20]} is not an integer")
