"""How far prices have to fall until a rule acts: all that hurt by falling moved alike. Exact, pure.

Knows no protocol: which prices hurt is found out by moving them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from monitor.core.types import Address, Known, Position
from monitor.health.whatif import shock
from monitor.policy.levels import below
from monitor.protocols.base import Protocol

PARTS = 10**6
"""Prices fall to so many parts of a million, the most that lets the rule act."""


def falling_prices(protocol: Protocol[Any, Any], position: Position, trigger: Fraction) -> Mapping[str, int] | None:
    """Prices by key at which health is just below the trigger, all that hurt by falling moved alike; {} if it is there.

    None where no fall does it.
    """
    if _is_below(protocol, position, trigger):
        return {}
    keys = hurting(protocol, position)
    low, high = 0, PARTS
    while high - low > 1:  # at `high` parts health is not below the trigger
        middle = (low + high) // 2
        if _is_below(protocol, _at(position, keys, middle), trigger):
            low = middle
        else:
            high = middle
    if low == 0 or not keys:
        return None
    prices = _at(position, keys, low).prices
    return {key: prices[key] for key in keys}


def hurting(protocol: Protocol[Any, Any], position: Position) -> Sequence[Address]:
    """The keys of prices whose fall lowers health."""
    now = protocol.evaluate(position).verdict
    found = []
    for key in protocol.price_keys(position):
        then = protocol.evaluate(_at(position, [key], PARTS * 9 // 10)).verdict
        if isinstance(now, Known) and isinstance(then, Known):
            falls = then.numerator * now.denominator < now.numerator * then.denominator
            found += [key] if falls else []
    return found


def _at(position: Position, keys: Sequence[str], parts: int) -> Position:
    return shock(position, dict.fromkeys(keys, Fraction(parts - PARTS, PARTS)))


def _is_below(protocol: Protocol[Any, Any], position: Position, trigger: Fraction) -> bool:
    verdict = protocol.evaluate(position).verdict
    return isinstance(verdict, Known) and below(verdict, trigger)
