"""The first price, or moment, at which a position turns unhealthy: found with the protocol's exact rule.

Works by ruling intervals out: the protocol's probe says whether an interval is unhealthy throughout, nowhere, or
undecided, and undecided ones are halved, the half nearer to now first. So the answer is the nearest crossing even where
health goes up and down between (Aave up to 3.4), and nothing is assumed of how health depends on a price.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isqrt
from typing import Any

from monitor.core.types import Health, Known, LiquidationPrice, Position, Side
from monitor.protocols.base import Protocol

MAX_PRICE = 2**96
"""No feed answers more; a debt that would need more to hurt is not hurt by its price."""
PROBES = 20_000
"""So many intervals are looked at before the search stops and names the nearest price that it could not rule out."""
WIDE = 1024
TEN_YEARS_S = 10 * 365 * 86_400

Probe = Callable[[int, int], bool | None]


def nearest_unhealthy(probe: Probe, near: int, far: int) -> int | None:
    """The unhealthy point nearest to `near` between `near` and `far` (either may be the larger), or None.

    Exact unless PROBES run out on a health that touches 1 almost everywhere; then the point is one that no unhealthy
    point is nearer than.
    """
    step = 1 if far >= near else -1
    todo = [(0, abs(far - near))]  # intervals of distances from `near`, the nearest last
    for _ in range(PROBES):
        if not todo:
            return None
        first, last = todo.pop()
        unhealthy = probe(*sorted((near + step * first, near + step * last)))
        if unhealthy:
            return near + step * first
        if unhealthy is None:
            # a span of many magnitudes is cut in the middle of its magnitudes, so that the far end costs little
            wide = last > WIDE * (first + 1)
            middle = isqrt((first + 1) * last) if wide else (first + last) // 2
            todo += [(middle + 1, last), (first, middle)]
    return near + step * todo[-1][0] if todo else None


def liquidation_price(protocol: Protocol[Any, Any], position: Position, key: str, direction: str) -> int | None:
    """The nearest price of `key` that makes the position unhealthy, all else equal; None if no price does it.

    `direction` is `below` (prices under the current one, down to 1) or `above`.
    """
    current = position.prices[key]
    probe = protocol.unhealthy_between_prices(position, key)
    if direction == "below":
        return nearest_unhealthy(probe, current - 1, 1) if current > 1 else None
    return nearest_unhealthy(probe, current + 1, MAX_PRICE) if current < MAX_PRICE else None


def liquidation_prices(
    protocol: Protocol[Any, Any], position: Position, symbols: Mapping[str, str] | None = None
) -> tuple[LiquidationPrice, ...]:
    """For each price in use and each direction that can hurt, the first price at which the position turns unhealthy.

    A position that is unhealthy already has its current prices. Nothing for positions without debt or unknown.
    """
    health = protocol.evaluate(position)
    if not isinstance(health.verdict, Known):
        return ()
    found = []
    for key, called in protocol.price_keys(position).items():
        current, symbol = position.prices[key], (symbols or {}).get(key, called)
        for direction in ("below", "above"):
            if health.verdict.unhealthy:
                price = current if direction == _hurting(health, key) else None
            else:
                price = liquidation_price(protocol, position, key, direction)
            if price is not None:
                found.append(LiquidationPrice(key, symbol, price, price_decimals(health, key), current, direction))
    return tuple(found)


def seconds_to_liquidation(protocol: Protocol[Any, Any], position: Position, within_s: int = TEN_YEARS_S) -> int | None:
    """Seconds from the position's block until interest alone makes it unhealthy; 0 if it is so now, None if never."""
    health = protocol.evaluate(position)
    if not isinstance(health.verdict, Known):
        return None
    if health.verdict.unhealthy:
        return 0
    now_s = position.block.timestamp
    moment_s = nearest_unhealthy(protocol.unhealthy_between_times(position), now_s + 1, now_s + within_s)
    return None if moment_s is None else moment_s - now_s


def _hurting(health: Health, key: str) -> str:
    """Which way the price of an unhealthy position's asset hurts: by what weighs more."""
    weight = 0
    for leg in health.legs:
        if leg.asset == key and leg.enabled:
            weight += leg.value * leg.factor if leg.side is Side.COLLATERAL else -leg.value * 10**leg.factor_decimals
    return "below" if weight >= 0 else "above"


def price_decimals(health: Health, key: str) -> int:
    """Of the price under that key: as the position's leg has them, else the unit's."""
    return next((leg.price_decimals for leg in health.legs if leg.asset == key), health.unit.decimals)
