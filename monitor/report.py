"""One position's result, and its JSON form `levmon.position/1`. Pure: built from values, holds no connection.

Integers of the chain are decimal strings in JSON, so that no reader rounds them; the text of amounts and prices is the
exact decimal beside them. Texts that a token or a node chose are cleaned here once, for every sink.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from monitor.core.text import REASON_LIMIT, clean
from monitor.core.thresholds import DEFAULT, Thresholds
from monitor.core.types import (
    Address,
    BlockRef,
    Health,
    Known,
    Leg,
    Level,
    LiquidationPrice,
    MarketRef,
    NoDebt,
    Position,
    Price,
    PriceStatus,
    Side,
    Unknown,
    Unreadable,
)
from monitor.core.units import format_ratio, format_units
from monitor.policy.levels import level as level_of

SCHEMA = "levmon.position/1"
RATIO_PLACES = 18


@dataclass(frozen=True, slots=True)
class Subject:
    """Which position is asked about, and how it is to be judged.

    `market` is what `--market` accepts; `name` is what people call the owner (a label or an ENS name) or nothing.
    """

    ref: MarketRef
    market: str
    owner: Address
    name: str = ""
    thresholds: Thresholds = DEFAULT

    @property
    def id(self) -> str:
        """The position's text id."""
        return self.ref.position_id(self.owner)


@dataclass(frozen=True, slots=True)
class Report:
    """What levmon says of one position. `health`, `block` and `position` are None only when the level is unknown.

    `prices` are those that the position uses, `symbols` names them by key.
    """

    subject: Subject
    level: Level
    cause: str
    block: BlockRef | None = None
    health: Health | None = None
    position: Position | None = None
    prices: tuple[Price, ...] = ()
    symbols: Mapping[str, str] = field(default_factory=dict)
    liquidation_prices: tuple[LiquidationPrice, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The position's text id."""
        return self.subject.id

    @property
    def owner(self) -> Address:
        """Whose position it is."""
        return self.subject.owner

    @property
    def verdict(self) -> str:
        """`known`, `no_debt` or `unknown`."""
        if self.health is None or isinstance(self.health.verdict, Unknown):
            return "unknown"
        return "no_debt" if isinstance(self.health.verdict, NoDebt) else "known"

    def stale(self) -> tuple[Price, ...]:
        """The prices in use that are too old or invalid, judged at the block's own time."""
        if self.block is None:
            return ()
        now_s = self.block.timestamp
        return tuple(price for price in self.prices if price.status(now_s) is not PriceStatus.FRESH)

    def to_dict(self) -> dict[str, Any]:
        """The object of schema `levmon.position/1`."""
        health, block = self.health, self.block
        legs = health.legs if health else ()
        return {
            "schema": SCHEMA,
            "id": self.id,
            "chain_id": self.subject.ref.chain_id,
            "protocol": self.subject.ref.protocol,
            "market": self.subject.market,
            "owner": self.owner,
            "name": clean(self.subject.name, REASON_LIMIT) or None,
            "block": {
                "number": str(block.number) if block else None,
                "hash": block.hash if block else None,
                "timestamp": str(block.timestamp) if block else None,
            },
            "verdict": self.verdict,
            "health": _ratio(health),
            "reported": {name: str(value) for name, value in health.reported.items()} if health else {},
            "liquidatable": health.liquidatable if health else None,
            "gates": [
                {"name": gate.name, "state": gate.state.value, "detail": clean(gate.detail, REASON_LIMIT)}
                for gate in (health.gates if health else ())
            ],
            "level": self.level.value,
            "collateral": [_leg(leg, health) for leg in legs if leg.side is Side.COLLATERAL],
            "debt": [_leg(leg, health) for leg in legs if leg.side is Side.DEBT],
            "liquidation_prices": [
                {
                    "asset": price.asset,
                    "symbol": clean(price.symbol),
                    "price": format_units(price.price, price.decimals),
                    "direction": price.direction,
                    "change_pct": change_pct(price, 6),
                }
                for price in self.liquidation_prices
            ],
            "input_age_s": health.input_age_s if health else None,
            "errors": list(self.errors),
        }

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.to_dict(), separators=(",", ":"))


def _ratio(health: Health | None) -> dict[str, str | None]:
    verdict = health.verdict if health else None
    if not isinstance(verdict, Known):
        return {"num": None, "den": None, "factor": None}
    factor = format_ratio(verdict.numerator, verdict.denominator, RATIO_PLACES)
    return {"num": str(verdict.numerator), "den": str(verdict.denominator), "factor": factor}


def _leg(leg: Leg, health: Health | None) -> dict[str, Any]:
    value_decimals = health.unit.decimals if health else 0
    return {
        "asset": leg.asset,
        "symbol": clean(leg.symbol),
        "decimals": leg.decimals,
        "amount_raw": str(leg.amount),
        "amount": format_units(leg.amount, leg.decimals),
        "price_raw": str(leg.price),
        "price": format_units(leg.price, leg.price_decimals),
        "value": format_units(leg.value, value_decimals),
        "factor": format_units(leg.factor, leg.factor_decimals),
    }


def change_pct(price: LiquidationPrice, places: int) -> str:
    """How far the price is from now, in percent, truncated toward zero."""
    if price.current == 0:
        return "0"
    text = format_ratio((price.price - price.current) * 100, price.current, places)
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def buffer_pct(verdict: Known, places: int) -> str:
    """How far all collateral may fall before health is 1, in percent of its value: 1 - 1/health, truncated."""
    if verdict.numerator == 0:
        return "-∞"
    return format_ratio((verdict.numerator - verdict.denominator) * 100, verdict.numerator, places)


def nearest(prices: tuple[LiquidationPrice, ...]) -> LiquidationPrice | None:
    """The liquidation price that is the smallest relative move away."""
    best: LiquidationPrice | None = None
    for price in prices:
        if price.current <= 0:
            continue
        distance = abs(price.price - price.current)
        if best is None or distance * best.current < abs(best.price - best.current) * price.current:
            best = price
    return best


# -- building --------------------------------------------------------------------------------------------------------


def of_health(
    subject: Subject,
    position: Position,
    health: Health,
    *,
    prices: tuple[Price, ...] = (),
    symbols: Mapping[str, str] | None = None,
    liquidation_prices: tuple[LiquidationPrice, ...] = (),
) -> Report:
    """The report of a position that could be read and evaluated (which may still have said unknown)."""
    level, cause = level_of(health, subject.thresholds)
    errors = [cause] if level is Level.UNKNOWN else []
    now_s = health.block.timestamp
    for price in prices:
        status = price.status(now_s)
        if status is not PriceStatus.FRESH:
            errors.append(f"{status.value} price of {_called(price.asset, symbols)}: {_age(price, now_s)}")
    return Report(
        subject,
        level,
        cause,
        health.block,
        health,
        position,
        prices,
        symbols or {},
        liquidation_prices,
        tuple(errors),
    )


def unknown(subject: Subject, reason: str, block: BlockRef | None = None) -> Report:
    """The report of a position that could not be read: unknown with its reason, never absence."""
    reason = clean(" ".join(reason.replace("\n", "; ").split()), REASON_LIMIT)
    return Report(subject, Level.UNKNOWN, reason, block, errors=(reason,))


def of_unreadable(subject: Subject, found: Unreadable) -> Report:
    """The report of a position whose own reads failed."""
    return unknown(subject, found.reason, found.block)


def _called(asset: Address, symbols: Mapping[str, str] | None) -> str:
    return clean(symbols[asset]) if symbols and asset in symbols else asset


def _age(price: Price, now_s: int) -> str:
    if price.updated_at is None:
        return "not a positive number"
    told = f"{now_s - price.updated_at} s old" if price.updated_at <= now_s else "updated in the future"
    return f"{told}, valid for {price.valid_for} s" if price.valid_for is not None else told
