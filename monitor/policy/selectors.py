"""Which rule applies to which position: by exact id, or by a pattern over the id's text. Pure.

A position's id reads `eip155:1/aave-v3/0xMarket/0xOwner`, so `eip155:1/*` is a chain, `*/aave-v3/*` a protocol and
`*/0xOwner` an owner. The most exact pattern wins, which is the one with the most letters of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Protocol, TypeVar

WILD = "*?[]"


class Selecting(Protocol):
    """Anything with a name and a selector."""

    @property
    def name(self) -> str: ...

    @property
    def selector(self) -> str: ...


S = TypeVar("S", bound=Selecting)


def matches(selector: str, position_id: str) -> bool:
    """Whether the selector means the position. Upper and lower case of addresses do not matter."""
    return fnmatchcase(position_id.casefold(), selector.casefold())


def choose(rules: Iterable[S], position_id: str) -> S | None:
    """The rule that applies: the most exact selector, then the name that comes first; None if none matches."""
    found = [rule for rule in rules if matches(rule.selector, position_id)]
    return min(found, key=lambda rule: (_loose(rule.selector), rule.name), default=None)


def _loose(selector: str) -> tuple[bool, int]:
    own = sum(char not in WILD for char in selector)
    return any(char in WILD for char in selector), -own
