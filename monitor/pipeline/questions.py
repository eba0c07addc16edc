"""What is asked of one report besides: where its numbers come from, and what it would be after shocks and time.

Pure: the position and its market's state are there already. One form for the command line, the pages and the API.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from monitor import report
from monitor.core.errors import ConfigError, LevmonError
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import Line
from monitor.core.units import parse_percent
from monitor.health import whatif
from monitor.health.solve import liquidation_prices, seconds_to_liquidation
from monitor.pipeline.market import MarketState
from monitor.report import Report

DAY_S = 86_400
LONGEST_DAYS = 3650

Shock = tuple[str, Fraction]
"""An asset by symbol or key, and the change of its price."""


def parse_shock(text: str) -> Shock:
    """ASSET=PERCENT, such as WETH=-20%. May raise: ConfigError."""
    asset, equals, percent = text.partition("=")
    if not asset or not equals:
        raise ConfigError("not a shock", hint="write ASSET=PERCENT, such as WETH=-20%")
    change = parse_percent(percent)
    if not -1 <= change <= 10**6:
        raise ConfigError("out of range", hint="a price falls by at most 100%")
    return asset, change


def explain(asked: Report, state: MarketState | None) -> list[Line]:
    """Every number of the position; none where it could not be read."""
    if asked.position is None or state is None:
        return []
    lines: list[Line] = protocol_named(asked.subject.ref.protocol).explain(asked.position, state.context)
    return lines


def explanation_dict(asked: Report, lines: Sequence[Line]) -> dict[str, Any]:
    """The object of schema `levmon.explanation/1`."""
    told = [{"name": x.name, "value": x.value, "formula": x.formula, "source": x.source} for x in lines]
    return {"schema": "levmon.explanation/1", "position": asked.to_dict(), "lines": told}


def after(
    before: Report, state: MarketState | None, shocks: Sequence[Shock], days: Fraction
) -> tuple[Report, dict[str, Fraction]]:
    """The report after all shocks together and so many days, and by key the changes that touch it.

    Repeated shocks of an asset come one after the other. May raise: ConfigError for an asset that is not there.
    """
    if not 0 <= days <= LONGEST_DAYS:
        raise ConfigError(f"days are between 0 and {LONGEST_DAYS}")
    if before.position is None or state is None:
        return before, {}
    protocol = protocol_named(before.subject.ref.protocol)
    changes: dict[str, Fraction] = {}
    for name, change in shocks:
        for key in whatif.keys_of(before.symbols, name):
            changes[key] = (1 + changes.get(key, Fraction(0))) * (1 + change) - 1
    try:
        moved = whatif.shock(before.position, changes)
        health = whatif.whatif(protocol, before.position, state.context, changes, days)
        solved = liquidation_prices(protocol, moved, before.symbols) if not days else ()
    except ConfigError:
        raise
    except LevmonError as refused:
        return report.unknown(before.subject, refused.message, before.block), changes
    made = report.of_health(before.subject, moved, health, symbols=before.symbols, liquidation_prices=solved)
    return made, {key: change for key, change in changes.items() if key in before.position.prices}


def whatif_dict(before: Report, made: Report, changes: dict[str, Fraction], days: Fraction) -> dict[str, Any]:
    """The object of schema `levmon.whatif/1`."""
    return {
        "schema": "levmon.whatif/1",
        "shocks": {key: f"{change.numerator}/{change.denominator}" for key, change in changes.items()},
        "seconds": int(days * DAY_S),
        "before": before.to_dict(),
        "after": made.to_dict(),
    }


def seconds_left(asked: Report) -> int | None:
    """Until interest alone makes it unhealthy, at its block's rates; 0 if it is so now, None if never or unknown."""
    if asked.position is None or asked.verdict != "known":
        return None
    try:
        return seconds_to_liquidation(protocol_named(asked.subject.ref.protocol), asked.position)
    except LevmonError:
        return None
