"""`levmon scan`: everybody in a market who is near liquidation, now or after price moves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.chain.port import BlockAt
from monitor.cli.crowds import market_options, one_market
from monitor.cli.options import Threshold, block_option, json_option
from monitor.cli.whatif_command import Shock

if TYPE_CHECKING:
    from monitor.health.book import Below
    from monitor.pipeline.census import Census
    from monitor.report import Report


@dataclass(frozen=True, slots=True)
class Asked:
    """What to look for."""

    below: Fraction
    top: int
    shocks: tuple[tuple[str, Fraction], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """Who is below, the riskiest of them as reports, and how many can be liquidated among all."""

    census: Census
    asked: Asked
    globals_: Any
    below: Below
    unhealthy: Below
    top: list[Report]

    @property
    def unknown(self) -> int:
        return len(self.below.unknown) + len(self.census.unread)


@click.command("scan")
@click.argument("market", metavar="MARKET")
@click.option(
    "--below", type=Threshold(), default="1.05", show_default=True, help="Show accounts whose health is below this."
)
@click.option("--top", type=click.IntRange(0, 100_000), default=50, show_default=True, help="Show so many of them.")
@click.option(
    "--shock", "shocks", type=Shock(), multiple=True, metavar="ASSET=PERCENT", help="After a move, such as WETH=-30%."
)
@market_options
@block_option
@json_option
def command(
    market: str,
    below: Fraction,
    top: int,
    shocks: tuple[tuple[str, Fraction], ...],
    owners_file: Path | None,
    block: BlockAt,
    as_json: bool,
    **source: Any,
) -> int:
    """Everybody in MARKET whose health is below a threshold, the riskiest first.

    Reads every borrower at one block: those that the market's logs name (see levmon discover), or those in --owners.
    What is shown is exact, as check would show it.

    Exits with 1 if anybody is below, else with 3 if anybody is unknown, else with 0.
    """
    asked = Asked(below, top, shocks)
    found = asyncio.run(_scan(market, asked, owners_file, block, source))
    if as_json:
        for line in as_lines(found):
            click.echo(line)
    else:
        from monitor.cli.screen import echo, width

        echo(shown(found, width()))
    return 1 if len(found.below.rows) else 3 if found.unknown else 0


async def _scan(market: str, asked: Asked, owners_file: Path | None, at: BlockAt, source: dict[str, Any]) -> Found:
    from monitor.cli.crowds import take

    async with one_market(market, source, at) as one:
        census = await take(one, owners_file, at)
        return look(census, asked)


def look(census: Census, asked: Asked) -> Found:
    """Who is below, by exact integers. May raise: ConfigError for an asset that the market does not have."""
    import numpy as np

    from monitor.pipeline.snapshot import Depth

    globals_ = census.shocked(asked.shocks) if asked.shocks else census.globals_
    below = census.below(asked.below, globals_)
    healths = census.health(below.rows, globals_)
    order = sorted(
        (Fraction(*health), row) for row, health in zip(below.rows.tolist(), healths, strict=True) if health is not None
    )
    rows = np.array([row for _, row in order[: asked.top]], np.int64)
    top = census.reports(rows, globals_, depth=Depth(liquidation_prices=not asked.shocks))
    return Found(census, asked, globals_, below, census.below(Fraction(1), globals_), top)


def as_lines(found: Found) -> Iterator[str]:
    """One object of schema `levmon.scan/1`, then one `levmon.position/1` for each account shown or unknown."""
    from monitor.cli.crowds import place_dict

    told = {
        "schema": "levmon.scan/1",
        **place_dict(found.census),
        "threshold": str(found.asked.below),
        "shocks": {name: str(change) for name, change in found.asked.shocks},
        "below": len(found.below.rows),
        "unhealthy": len(found.unhealthy.rows),
        "unknown": found.unknown,
        "shown": len(found.top),
    }
    yield json.dumps(told, separators=(",", ":"))
    for report in (*found.top, *unknown_reports(found)):
        yield report.to_json()


def unknown_reports(found: Found) -> list[Report]:
    """Every account of which nothing can be said, with its reason."""
    return [*found.census.reports(found.below.unknown, found.globals_), *found.census.unread_reports()]


def shown(found: Found, columns: int | None) -> Iterator[str]:
    """For people: the table, what is unknown, and the counts."""
    from monitor.cli import table
    from monitor.cli.crowds import heading, shock_text
    from monitor.policy.levels import decimal

    moved = f", {shock_text(found.asked.shocks)}" if found.asked.shocks else ""
    if found.top:
        yield from table.render(found.top, columns)
        notes = table.notes(found.top, columns)
        yield from (["", *notes] if notes else [])
        if len(found.below.rows) > len(found.top):
            yield f"  … {len(found.below.rows) - len(found.top):,} more: --top {len(found.below.rows)} shows them"
        yield ""
    unknown = unknown_reports(found)
    if unknown:
        yield from table.notes(unknown, columns)
        yield ""
    yield from heading(found.census)
    yield (
        f"{len(found.below.rows):,} below {decimal(found.asked.below)}{moved}, {len(found.unhealthy.rows):,} below 1"
        + (f", {found.unknown:,} unknown" if found.unknown else "")
    )
