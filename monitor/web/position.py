"""One position: how it stands, its legs and prices, where every number comes from, and what if."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from monitor.core.errors import ConfigError, LevmonError
from monitor.core.text import REASON_LIMIT, clean
from monitor.core.thresholds import Thresholds
from monitor.core.types import Leg, Line, PriceStatus, Side
from monitor.core.units import format_units, parse_decimal
from monitor.history.rows import HistoryRow
from monitor.pipeline.questions import Shock, after, explain, parse_shock
from monitor.report import Report, change_pct
from monitor.web import charts
from monitor.web.board import Board
from monitor.web.portfolio import cells, chains_part, signed
from monitor.web.timeleft import left_text
from monitor.web.view import Templates, View
from monitor.wording import exact

SHOCKS = 32
NUMBER = 24
MINUTE_S = 60
FIELD = "shock."


def view(
    board: Board, templates: Templates, report: Report, query: Mapping[str, str], rows: Sequence[HistoryRow]
) -> View:
    """The page. A question in the query that makes no sense is answered with why."""
    state = board.state(report)
    told = what_if(board, report, query) if any(name in query for name in ("days", *_fields(query))) else None
    said = cells(report)
    parts = {
        "chains": chains_part(board, templates),
        "standing": templates.fill("standing.html", report=report, left=left_text(report), **said),
        "chart": templates.fill("chart.html", charts=drawn(report, rows)),
        "legs": templates.fill(
            "legs.html", legs=_legs(report), unit=clean(report.health.unit.symbol, 20) if report.health else ""
        ),
        "prices": templates.fill("prices.html", prices=_prices(report), liquidation=_liquidation(report)),
        "lines": templates.fill("lines.html", lines=_lines(explained(board, report))),
    }
    more = {
        "report": report,
        "sliders": _sliders(report, query),
        "days": query.get("days", "0")[:NUMBER],
        "result": templates.fill("whatif.html", told=told) if told else "",
        "known": state is not None and report.position is not None,
    }
    return View("position.html", f"{said['owner']} in {said['market']}", parts, more=more)


@lru_cache(maxsize=64)
def _drawn(rows: tuple[HistoryRow, ...], levels: Thresholds, until_s: int) -> tuple[tuple[str, str], ...]:
    both = (charts.health(rows, levels, until_s), charts.price(rows, until_s))
    return tuple(one for one in both if one[0])


def drawn(report: Report, rows: Sequence[HistoryRow]) -> tuple[tuple[str, str], ...]:
    """Charts with their words, up to the minute of the newest block; drawn anew only where there is more to draw."""
    if report.block is None or not rows:
        return ()
    until_s = max(report.block.timestamp // MINUTE_S * MINUTE_S, rows[-1].at_s)
    return _drawn(tuple(rows), report.subject.thresholds, until_s)


def explained(board: Board, report: Report) -> list[Line]:
    """Where its numbers come from; nothing where the protocol refuses its own state."""
    try:
        return explain(report, board.state(report))
    except LevmonError:
        return []


def asked(query: Mapping[str, str], shocks: Iterable[str] = ()) -> tuple[list[Shock], Fraction]:
    """Shocks and days of a query: `shock.ASSET=PERCENT` as sliders send it, and those of the form ASSET=PERCENT.

    May raise: ConfigError.
    """
    texts = [
        *shocks,
        *(
            f"{name.removeprefix(FIELD)}={query[name].strip().removesuffix('%')}%"
            for name in _fields(query)
            if query[name].strip()
        ),
    ]
    if len(texts) > SHOCKS:
        raise ConfigError(f"more than {SHOCKS} shocks", hint="ask again with fewer")
    days = query.get("days", "").strip() or "0"
    if len(days) > NUMBER or any(len(text) > 100 for text in texts):
        raise ConfigError("that is too long for a number", hint="write e.g. -20%")
    found = [parse_shock(text) for text in texts]
    return [shock for shock in found if shock[1]], parse_decimal(days)


def what_if(board: Board, report: Report, query: Mapping[str, str]) -> dict[str, Any]:
    """Now and then side by side, or why the question makes no sense."""
    try:
        shocks, days = asked(query)
        made, _ = after(report, board.state(report), shocks, days)
    except ConfigError as wrong:
        return {"wrong": clean(f"{wrong.message}; {wrong.hint}" if wrong.hint else wrong.message, REASON_LIMIT)}
    return {"wrong": "", "now": cells(report), "then": cells(made), "cause": clean(made.cause, REASON_LIMIT)}


def _fields(query: Mapping[str, str]) -> list[str]:
    return [name for name in query if name.startswith(FIELD)]


def _sliders(report: Report, query: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Field, name and value, of every price that the position rests on."""
    if report.position is None:
        return []
    found = []
    for key in report.position.prices:
        value = query.get(f"{FIELD}{key}", "0").strip().removesuffix("%")
        whole = value.lstrip("-")
        found.append(
            (
                f"{FIELD}{key}",
                clean(report.symbols.get(key, key)),
                value if whole.isdecimal() and len(whole) < 5 else "0",
            )
        )
    return found


def _legs(report: Report) -> list[dict[str, Any]]:
    health = report.health
    return [_leg(leg, health.unit.decimals) for leg in health.legs] if health else []


def _leg(leg: Leg, decimals: int) -> dict[str, Any]:
    return {
        "side": leg.side.value,
        "symbol": clean(leg.symbol),
        "asset": leg.asset,
        "amount": exact(leg.amount, leg.decimals),
        "price": exact(leg.price, leg.price_decimals),
        "value": exact(leg.value, decimals),
        "factor": format_units(leg.factor, leg.factor_decimals) if leg.side is Side.COLLATERAL else "",
        "enabled": leg.enabled,
    }


def _prices(report: Report) -> list[dict[str, Any]]:
    if report.block is None:
        return []
    now_s = report.block.timestamp
    return [
        {
            "symbol": clean(report.symbols.get(price.asset, price.asset[:8])),
            "text": f"{exact(price.answer, price.decimals)} {clean(price.unit)}",
            "fresh": price.status(now_s) is PriceStatus.FRESH,
            "status": price.status(now_s).value,
            "at_s": price.updated_at,
            "source": clean(price.source, 120),
        }
        for price in report.prices
    ]


def _liquidation(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "symbol": clean(price.symbol),
            "there": price.price == price.current,
            "way": "falls to" if price.direction == "below" else "rises to",
            "price": exact(price.price, price.decimals),
            "move": signed(change_pct(price, 2)),
        }
        for price in report.liquidation_prices
    ]


def _lines(lines: Iterable[Line]) -> list[tuple[str, ...]]:
    return [(clean(x.name, 60), clean(x.value, 120), clean(x.formula, 600), clean(x.source, 600)) for x in lines]
