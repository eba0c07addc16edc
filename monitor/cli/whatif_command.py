"""`levmon whatif`: one position after price moves and time, by the same exact rule."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click

from monitor.chain.port import BlockAt
from monitor.cli.options import Threshold, block_option, json_option, level_options, source_options
from monitor.core.errors import ConfigError

if TYPE_CHECKING:
    from monitor.report import Report

DAY_S = 86_400


class Shock(click.ParamType[tuple[str, Fraction]]):
    """ASSET=PERCENT, such as WETH=-20%."""

    name = "shock"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Fraction]:
        from monitor.pipeline.questions import parse_shock

        if isinstance(value, tuple):
            return value
        try:
            return parse_shock(str(value))
        except ConfigError as wrong:
            return self.fail(f"{value!r}: {wrong.message}; {wrong.hint}", param, ctx)


@click.command("whatif")
@click.argument("position", metavar="POSITION")
@click.option(
    "--shock", "shocks", type=Shock(), multiple=True, metavar="ASSET=PERCENT", help="A price move, such as WETH=-20%."
)
@click.option("--days", type=Threshold(), default="0", help="How many days of interest later.  [default: 0]")
@source_options
@block_option
@level_options
@json_option
def command(
    position: str,
    shocks: tuple[tuple[str, Fraction], ...],
    days: Fraction,
    block: BlockAt,
    as_json: bool,
    **source: Any,
) -> int:
    """Health after price moves and time, by the contract's own rule.

    POSITION is as for explain. Several --shock happen together; repeated ones of an asset one after the other.

    Exits by the level afterwards, as check does.
    """
    from monitor.cli.explain_command import read_one
    from monitor.cli.targets import Wanted, one_position
    from monitor.pipeline.questions import LONGEST_DAYS, after, whatif_dict
    from monitor.policy.levels import exit_code

    if not 0 <= days <= LONGEST_DAYS:
        raise click.BadParameter(f"between 0 and {LONGEST_DAYS}", param_hint="--days")
    _, taken = asyncio.run(read_one(one_position(position, Wanted(**source)), block))
    before = taken.reports[0]
    made, changes = after(before, taken.markets.get(before.subject.ref), shocks, days)
    if as_json:
        click.echo(json.dumps(whatif_dict(before, made, changes, days), separators=(",", ":")))
    else:
        _show(before, made, changes, days)
    return exit_code({made.level})


def _show(before: Report, after: Report, changes: Mapping[str, Fraction], days: Fraction) -> None:
    from monitor.cli import table
    from monitor.cli.explain_command import heading
    from monitor.cli.screen import echo, width

    lines = [*heading(before), ""]
    lines += [click.style(text, bold=True) for text in _moves(before, changes, days)]
    lines += _sides(before, after)
    notes = [note.replace("liquidated now", "liquidated then") for note in table.notes([after], width())]
    lines += ["", *notes] if notes else []
    lines += _time_left(after, days)
    echo(lines)


def _moves(before: Report, changes: Mapping[str, Fraction], days: Fraction) -> Iterator[str]:
    from monitor.core.text import clean
    from monitor.policy.levels import decimal

    for key, change in changes.items():
        percent = change * 100
        sign = "-" if percent < 0 else "+"
        yield f"{clean(before.symbols.get(key, key))} {sign}{decimal(abs(percent))}%"
    if days:
        yield f"{decimal(days)} days later"
    if not changes and not days:
        yield "nothing changes: give --shock or --days"


def _sides(before: Report, after: Report) -> Iterator[str]:
    from monitor.cli import table

    yield f"{'':<12} {'now':>14}    {'then':>14}"
    rows = (
        ("level", before.level.value, after.level.value),
        ("health", table.health_text(before), table.health_text(after)),
        ("buffer", table.buffer_text(before), table.buffer_text(after)),
        ("collateral", table.money(before.health, "collateral"), table.money(after.health, "collateral")),
        ("debt", table.money(before.health, "debt"), table.money(after.health, "debt")),
    )
    for name, now, then in rows:
        text = f"{name:<12} {now:>14} -> {then:>14}"
        yield click.style(text, **table.STYLES[after.level]) if name == "level" else text


def _time_left(after: Report, days: Fraction) -> Iterator[str]:
    from monitor.pipeline.questions import seconds_left

    if after.verdict != "known" or days:
        return
    left_s = seconds_left(after)
    if left_s is None:
        yield "interest alone does not bring it below 1 within ten years"
    elif left_s:
        yield f"interest alone brings it below 1 after {left_s // DAY_S} days and {left_s % DAY_S // 3600} hours"
