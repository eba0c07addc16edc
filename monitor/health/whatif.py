"""Positions at other prices and later: shocks by exact fractions, rounded down as a feed would answer.

Knows no protocol; prices are replaced by key and the protocol's exact rule does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from monitor.core.errors import ConfigError
from monitor.core.types import Health, Position
from monitor.protocols.base import Protocol

DAY_S = 86_400


def shock(position: Position, changes: Mapping[str, Fraction]) -> Position:
    """The position with prices changed by key, e.g. {weth: Fraction(-1, 5)} for -20 %. Keys not in use are ignored.

    May raise: ConfigError for a fall of more than 100 %.
    """
    for key, change in changes.items():
        if change < -1:
            raise ConfigError(f"a price cannot fall by more than 100 %: {key}", hint="write e.g. -20%")
    prices = {key: shocked(price, changes[key]) if key in changes else price for key, price in position.prices.items()}
    return replace(position, prices=prices)


def shocked(price: int, change: Fraction) -> int:
    """The price after the change, down."""
    return price * (change.numerator + change.denominator) // change.denominator


def whatif(
    protocol: Protocol[Any, Any],
    position: Position,
    context: Any = None,
    changes: Mapping[str, Fraction] | None = None,
    days: Fraction = Fraction(0),
) -> Health:
    """Health after the changes, `days` after the position's block (whole seconds, rounded down).

    May raise: ConfigError.
    """
    if days < 0:
        raise ConfigError("days must not be negative", hint="write e.g. --days 7")
    at_s = position.block.timestamp + int(days * DAY_S)
    return protocol.evaluate(shock(position, changes or {}), context, at_s)


def keys_of(symbols: Mapping[str, str], name: str) -> list[str]:
    """The price keys that a symbol or an address means, whatever its case. May raise: ConfigError."""
    wanted = name.strip().casefold()
    found = [key for key, symbol in symbols.items() if wanted in (key.casefold(), symbol.casefold())]
    if not found:
        known = ", ".join(sorted(set(symbols.values())))
        raise ConfigError(f"no price called {name!r} in this market", hint=f"known: {known}")
    return found
