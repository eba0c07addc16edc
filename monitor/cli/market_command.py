"""`levmon market`: a whole market's totals, its debt by distance to liquidation, and what falls when prices do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.chain.port import BlockAt
from monitor.cli.crowds import market_options, one_market
from monitor.cli.options import block_option, json_option

if TYPE_CHECKING:
    from monitor.health.book import Spread
    from monitor.pipeline.census import Census, Fall
    from monitor.protocols.whole import Total

EDGES = tuple(Fraction(percent, 100) for percent in (100, 101, 102, 105, 110, 120, 150, 200, 300))
"""Healths between which accounts are counted."""
MOVES = tuple(Fraction(-percent, 100) for percent in (5, 10, 20, 30))
ASSETS = 8
"""So many collaterals have a line of their own when prices fall."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A market at a block. `falls`: what the prices of these assets falling so far leaves below 1."""

    census: Census
    totals: list[Total]
    spread: Spread
    falls: list[Fall]


@click.command("market")
@click.argument("market", metavar="MARKET")
@market_options
@block_option
@json_option
def command(market: str, owners_file: Path | None, block: BlockAt, as_json: bool, **source: Any) -> int:
    """Totals of MARKET, its debt by distance to liquidation, and what falls at -5, -10, -20, -30 %.

    Reads every borrower at one block, as scan does. Every count is exact; sums of money are rounded for reading.
    """
    picture = asyncio.run(_look(market, owners_file, block, source))
    if as_json:
        click.echo(json.dumps(as_dict(picture), separators=(",", ":")))
    else:
        from monitor.cli.screen import echo

        echo(shown(picture))
    return 3 if len(picture.spread.unknown) or picture.census.unread else 0


async def _look(market: str, owners_file: Path | None, at: BlockAt, source: dict[str, Any]) -> Picture:
    from monitor.cli.crowds import take

    async with one_market(market, source, at) as one:
        census = await take(one, owners_file, at)
        return Picture(census, census.totals(), census.spread(EDGES), census.falls(MOVES, ASSETS))


def as_dict(picture: Picture) -> dict[str, Any]:
    """The object of schema `levmon.market/1`. Money in the market's unit, as decimal text."""
    from monitor.cli.crowds import place_dict
    from monitor.core.text import clean
    from monitor.core.units import format_units

    unit = picture.census.whole.unit
    spread = picture.spread

    def money(raw: int | None) -> str | None:
        return None if raw is None else format_units(raw, unit.decimals)

    bounds = [None, *map(str, map(float, spread.edges)), None]
    return {
        "schema": "levmon.market/1",
        **place_dict(picture.census),
        "unit": clean(unit.symbol, 20),
        "assets": [
            {
                "asset": total.asset,
                "symbol": clean(total.symbol),
                "decimals": total.decimals,
                "supplied_raw": str(total.supplied),
                "owed_raw": str(total.owed),
                "supplied_value": money(total.supplied_value),
                "owed_value": money(total.owed_value),
            }
            for total in picture.totals
        ],
        "spread": [
            {
                "from": bounds[at],
                "to": bounds[at + 1],
                "accounts": int(spread.accounts[at]),
                "debt": money(int(spread.debt[at])),
            }
            for at in range(len(spread.accounts))
        ],
        "unknown": len(spread.unknown) + len(picture.census.unread),
        "falls": [
            {
                "assets": [clean(name) for name in fall.symbols],
                "change_pct": str(fall.change * 100),
                "accounts": fall.accounts,
                "debt": money(fall.debt),
                "unknown": fall.unknown,
            }
            for fall in picture.falls
        ],
    }


# -- for people --------------------------------------------------------------------------------------------------------


def shown(picture: Picture) -> Iterator[str]:
    """Three tables, each with bars, and where it was read."""
    from monitor.cli.crowds import heading

    yield from _totals(picture)
    yield ""
    yield from _spread(picture)
    yield ""
    yield from _falls(picture)
    yield ""
    yield from heading(picture.census)
    unknown = len(picture.spread.unknown) + len(picture.census.unread)
    if unknown:
        yield f"{unknown:,} accounts are unknown and in none of the counts: levmon scan tells why"


def _totals(picture: Picture) -> Iterator[str]:
    from monitor.cli.crowds import bar, money
    from monitor.core.text import clean

    unit = picture.census.whole.unit
    rows = [total for total in picture.totals if total.supplied or total.owed]
    most = max((max(total.supplied_value or 0, total.owed_value or 0) for total in rows), default=0)
    yield click.style(f"{'':<12}{'COLLATERAL':>14}{'DEBT':>14}", bold=True)
    for total in sorted(rows, key=lambda one: -(one.supplied_value or 0)):
        supplied, owed = money(total.supplied_value, unit), money(total.owed_value, unit)
        line = bar(float(total.supplied_value or 0), float(most))
        yield f"{clean(total.symbol, 11):<12}{supplied:>14}{owed:>14}  {line}".rstrip()
    sums = [sum(value or 0 for value in values) for values in _columns(rows)]
    yield f"{'all':<12}{money(sums[0], unit):>14}{money(sums[1], unit):>14}"


def _columns(rows: Sequence[Total]) -> tuple[list[int | None], list[int | None]]:
    return [total.supplied_value for total in rows], [total.owed_value for total in rows]


def _spread(picture: Picture) -> Iterator[str]:
    from monitor.cli.crowds import bar, money
    from monitor.policy.levels import decimal

    unit, spread = picture.census.whole.unit, picture.spread
    edges = [decimal(edge) for edge in spread.edges]
    names = [f"below {edges[0]}", *(f"{low} to {high}" for low, high in pairwise(edges))]
    names.append(f"{edges[-1]} and more")
    most = float(max(spread.debt, default=0))
    yield click.style(f"{'HEALTH':<16}{'ACCOUNTS':>10}{'DEBT':>14}", bold=True)
    for name, accounts, debt in zip(names, spread.accounts.tolist(), spread.debt.tolist(), strict=True):
        line = f"{name:<16}{accounts:>10,}{money(int(debt), unit):>14}  {bar(debt, most)}".rstrip()
        yield click.style(line, fg="red") if name.startswith("below") and accounts else line


def _falls(picture: Picture) -> Iterator[str]:
    """One row a group of assets, one column a move."""
    from monitor.cli.crowds import money
    from monitor.core.text import clean
    from monitor.policy.levels import decimal

    unit = picture.census.whole.unit
    moves = list(dict.fromkeys(fall.change for fall in picture.falls))
    heads = "".join(f"{'-' + decimal(-move * 100) + '%':>20}" for move in moves)
    yield click.style(f"{'BELOW 1 IF':<16}{heads}", bold=True)
    groups: dict[str, list[str]] = {}
    for fall in picture.falls:
        name = clean(fall.symbols[0], 15) if len(fall.symbols) == 1 else fall.name
        groups.setdefault(name, []).append(f"{fall.accounts:,} {money(fall.debt, unit):>10}")
    for name, cells in groups.items():
        yield f"{name:<16}" + "".join(f"{cell:>20}" for cell in cells)
