"""`levmon plan`: what would bring a position to a health, in order, and why not otherwise."""

from __future__ import annotations

import asyncio
import json
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import Threshold, json_option, source_options

if TYPE_CHECKING:
    from monitor.cli.guarding import Prospect

target_option = click.option(
    "--target", type=Threshold(), help="The health wanted, such as 1.6.  [default: that of the position's [[protect]]]"
)


close_option = click.option("--close", is_flag=True, help="End the position instead, with its own collateral.")


@click.command("plan")
@click.argument("position", metavar="POSITION")
@target_option
@close_option
@click.option("--guardian", metavar="ADDRESS", help="Plan from this purse instead of the file's, without limits.")
@source_options
@json_option
def command(
    position: str, target: Fraction | None, close: bool, guardian: str | None, as_json: bool, **source: Any
) -> int:
    """What would bring a position to a health, in order: amount, why, cost, and the health expected.

    POSITION is as for explain. Nothing is signed, and no signer is asked.

    Exits with 0 if something reaches the target (or nothing need be done), 4 if nothing does, 3 if health is unknown.
    """
    from monitor.cli.guarding import prospect_dict, prospect_lines, with_position
    from monitor.cli.screen import echo, width

    found = asyncio.run(_plan(with_position(position, source), guardian, target, close))
    if as_json:
        click.echo(json.dumps(prospect_dict(found), separators=(",", ":")))
    else:
        echo(prospect_lines(found, width()))
    return code_of(found)


async def _plan(wanted: Any, address: str | None, target: Fraction | None, close: bool) -> Prospect:
    from monitor.cli.guarding import guardian_for, look
    from monitor.cli.session import opened

    async with opened(wanted) as session:
        return await look(session, guardian_for(session.targets, address), target, close=close)


def code_of(found: Prospect) -> int:
    """0: it can be reached, or is; 3: health is unknown; 4: it cannot be reached."""
    from monitor.cli.guarding import REFUSED
    from monitor.core.types import Level

    proposal = found.proposal
    if found.report.level is Level.UNKNOWN:
        return 3
    if proposal.plans or proposal.ladder:
        return 0
    done = "is not below" in proposal.note or "no debt to close" in proposal.note
    return 0 if done and not proposal.partial and not proposal.refused else REFUSED
