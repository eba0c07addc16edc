"""`levmon act`: the best plan for one position, shown, simulated, and with --broadcast signed, sent and followed."""

from __future__ import annotations

import asyncio
import json
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import json_option, source_options
from monitor.cli.plan_command import close_option, target_option
from monitor.cli.sending import Wish, broadcast_options, simulate_and_send

if TYPE_CHECKING:
    from monitor.cli.guarding import Prospect
    from monitor.core.actions import Plan
    from monitor.journal.rows import Draft


@click.command("act")
@click.argument("position", metavar="POSITION")
@target_option
@close_option
@click.option("--partial", is_flag=True, help="Also do what helps without reaching the target.")
@broadcast_options
@source_options
@json_option
def command(
    position: str,
    target: Fraction | None,
    close: bool,
    partial: bool,
    broadcast: bool,
    until: str,
    within: float,
    as_json: bool,
    **source: Any,
) -> int:
    """Do the best plan for one position; signs nothing without --broadcast.

    Shows the plan, what a simulation at the newest block says of it, and the health after. With --broadcast the
    decision is journaled, the signer asked, and the transaction sent and followed to finality.

    Exits with 0 when it is done (or would be), 3 when that is not known yet, 4 when it is refused or failed.
    """
    from monitor.cli.guarding import with_position

    wanted = with_position(position, source)
    how = Wish(broadcast, until, within, as_json)
    return asyncio.run(_act(wanted, target, partial, how, close=close))


async def _act(wanted: Any, target: Fraction | None, partial: bool, how: Wish, *, close: bool) -> int:
    from monitor.cli.guarding import guardian_for, look, prospect_dict, prospect_lines
    from monitor.cli.plan_command import code_of
    from monitor.cli.screen import echo, width
    from monitor.cli.session import opened
    from monitor.pipeline.plans import best, without_partial

    async with opened(wanted) as session:
        guardian = guardian_for(session.targets, None)
        found = await look(session, guardian, target, close=close)
        if how.as_json:
            click.echo(json.dumps(prospect_dict(found), separators=(",", ":")))
        else:
            echo(prospect_lines(found, width()))
        plan = best(found.proposal if partial else without_partial(found.proposal))
        if plan is None:
            return code_of(found)
        draft = await decide(found, plan)
        return await simulate_and_send(session, found, draft, plan.key, how)


async def decide(found: Prospect, plan: Plan) -> Draft:
    """The decision to do the plan, with the market's code and parameters that it rests on. May raise: ChainError."""
    from monitor.pipeline.acting import draft_of
    from monitor.pipeline.basis import fetch_decided_on

    basis = await fetch_decided_on(found.chain.chain, found.seen.snapshot, found.report, plan.block)
    cause, rule = "asked for by hand", found.protection.name
    return draft_of(plan, found.guardian, found.target, cause=cause, rule=rule, basis=basis)
