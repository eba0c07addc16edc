"""`levmon check`: health of positions at one block."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from monitor.chain.port import BlockAt
from monitor.cli.options import block_option, json_option, level_options, source_options

if TYPE_CHECKING:
    from monitor.cli.session import Open
    from monitor.cli.targets import Wanted
    from monitor.pipeline.snapshot import Snapshot


@click.command("check")
@click.argument("owners", nargs=-1, metavar="[OWNER]...")
@source_options
@block_option
@level_options
@json_option
def command(owners: tuple[str, ...], block: BlockAt, as_json: bool, **source: Any) -> int:
    """Health of positions now, or at a block.

    OWNER is an address, an ENS name, or a label of [addresses] in the file. Without owners: the positions of the file.
    Owners are looked for in every market of the file, with all their vaults, troves, proxies and sub-accounts.

    Exits with 1 if any position is warn or worse, else with 3 if any is unknown, else with 0.
    """
    from monitor.cli.session import all_reports
    from monitor.cli.targets import Wanted
    from monitor.policy.levels import exit_code

    taken = asyncio.run(_check(Wanted(**source, owners=owners), block))
    reports = all_reports(taken)
    if as_json:
        for report in reports:
            click.echo(report.to_json())
    else:
        show(taken)
    return exit_code({report.level for report in reports})


async def _check(wanted: Wanted, at: BlockAt) -> list[tuple[Open, Snapshot]]:
    from monitor.cli.session import opened

    async with opened(wanted, at) as session:
        return await session.snapshots(at, find=True)


def show(taken: Sequence[tuple[Open, Snapshot]]) -> None:
    """The table, the reasons below it, one line a chain, and the sum."""
    from monitor.cli import table
    from monitor.cli.screen import echo, width

    reports = [report for _, snapshot in taken for report in snapshot.reports]
    lines = table.render(table.worth_a_row(reports), width())
    notes = table.notes(reports, width())
    if notes:
        lines += ["", *notes]
    lines.append("")
    lines += [table.block_line(chain.name, snapshot.block) for chain, snapshot in taken]
    lines += [*table.totals(reports), table.summary(reports)]
    echo(lines)
