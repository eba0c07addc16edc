"""`levmon explain`: every number of one position with its formula and the call that it came from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from monitor.chain.port import BlockAt
from monitor.cli.options import block_option, json_option, level_options, source_options
from monitor.core.errors import ConfigError

if TYPE_CHECKING:
    from monitor.cli.session import Open
    from monitor.cli.targets import Wanted
    from monitor.core.types import Line
    from monitor.pipeline.snapshot import Snapshot
    from monitor.report import Report


@click.command("explain")
@click.argument("position", metavar="POSITION")
@source_options
@block_option
@level_options
@json_option
def command(position: str, block: BlockAt, as_json: bool, **source: Any) -> int:
    """Each number of a position, with its formula and the call it came from.

    POSITION is MARKET/OWNER, a position's id as --json prints it, or OWNER with --market or a file of one market.
    """
    from monitor.cli.targets import Wanted, one_position
    from monitor.pipeline.questions import explain, explanation_dict
    from monitor.policy.levels import exit_code

    chain, taken = asyncio.run(read_one(one_position(position, Wanted(**source)), block))
    report = taken.reports[0]
    lines = explain(report, taken.markets.get(report.subject.ref))
    if as_json:
        click.echo(json.dumps(explanation_dict(report, lines), separators=(",", ":")))
    else:
        _show(chain, taken, report, lines)
    return exit_code({report.level})


async def read_one(wanted: Wanted, at: BlockAt) -> tuple[Open, Snapshot]:
    """The snapshot of one position. May raise: ConfigError when the words fit several, ChainError."""
    from monitor.cli.session import opened

    async with opened(wanted, at) as session:
        if len(session.subjects) != 1:
            names = ", ".join(f"{subject.market}/{subject.owner}" for subject in session.subjects[:4])
            raise ConfigError(
                f"that is {len(session.subjects)} positions", hint=f"say which: {names}" if names else "name one"
            )
        [(chain, taken)] = [pair for pair in await session.snapshots(at) if pair[1].reports]
        return chain, taken


def _show(chain: Open, taken: Snapshot, report: Report, lines: Sequence[Line]) -> None:
    from monitor.cli import table
    from monitor.cli.screen import echo, width

    columns = width()
    shown = [*heading(report), ""]
    for line in lines:
        shown += _line(line, columns)
    notes = table.notes([report], columns)
    shown += ["", *notes] if notes else []
    shown += ["", *_prices(report), *_liquidation(report)]
    shown.append(table.block_line(chain.name, taken.block))
    echo(shown)


def heading(report: Report) -> list[str]:
    """Which position, and how it stands."""
    from monitor.cli import table
    from monitor.core.text import clean

    level = click.style(report.level.value, **table.STYLES[report.level])
    name = f"{clean(report.subject.name, 40)}  " if report.subject.name else ""
    return [
        click.style(f"{name}{report.owner}", bold=True) + f"  in {clean(report.subject.market, 80)}",
        f"{level}: health {table.health_text(report)}, {report.cause}",
    ]


def _line(line: Line, columns: int | None) -> Iterator[str]:
    import textwrap

    from monitor.core.text import clean

    name, value = clean(line.name, 60), clean(line.value, 120)
    yield f"{click.style(name, bold=True)}  {value}"
    for mark, text in (("= ", line.formula), ("from ", line.source)):
        if not text:
            continue
        told = clean(text, 600)
        if columns is None:
            yield f"    {mark}{told}"
        else:
            room = max(columns, 40)
            yield from textwrap.wrap(told, room, initial_indent=f"    {mark}", subsequent_indent="      ")


def _prices(report: Report) -> Iterator[str]:
    from monitor.cli import table
    from monitor.core.text import clean
    from monitor.core.types import PriceStatus

    if not report.prices or report.block is None:
        return
    now_s = report.block.timestamp
    yield click.style("prices", bold=True)
    for price in report.prices:
        status = price.status(now_s)
        symbol = clean(report.symbols.get(price.asset, price.asset[:8]))
        age = "age not told" if price.updated_at is None else table.ago(now_s - price.updated_at)
        word = click.style(status.value, fg="green" if status is PriceStatus.FRESH else "red")
        yield f"    {symbol:<10} {table.exact(price.answer, price.decimals)} {clean(price.unit)}, {word}, {age}"
        yield f"      from {clean(price.source, 120)}"


def _liquidation(report: Report) -> Iterator[str]:
    from monitor.cli import table
    from monitor.core.text import clean
    from monitor.report import change_pct

    if report.liquidation_prices:
        yield click.style("liquidation prices, all else unchanged", bold=True)
    for price in report.liquidation_prices:
        if price.price == price.current:
            yield f"    {clean(price.symbol):<10} is there already, at {table.exact(price.price, price.decimals)}"
            continue
        change = change_pct(price, 2)
        sign = "" if change.startswith("-") else "+"
        way = "falls to" if price.direction == "below" else "rises to"
        yield f"    {clean(price.symbol):<10} {way} {table.exact(price.price, price.decimals)} ({sign}{change}%)"
