"""`levmon act`: the best plan for one position, shown, simulated, and with --broadcast signed, sent and followed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

import click

from monitor.cli.options import json_option, source_options
from monitor.cli.plan_command import close_option, target_option

if TYPE_CHECKING:
    from monitor.cli.guarding import Prepared, Prospect
    from monitor.cli.session import Session
    from monitor.core.actions import Plan
    from monitor.journal.rows import Draft
    from monitor.pipeline.acting import Acting
    from monitor.pipeline.carry import Standing
    from monitor.pipeline.guardians import Guardian

F = TypeVar("F", bound=Callable[..., Any])


def broadcast_options(function: F) -> F:
    """--broadcast, --until and --within."""
    for option in (
        click.option(
            "--within", type=click.FloatRange(0), default=900, show_default=True, help="Follow it for so many seconds."
        ),
        click.option(
            "--until",
            type=click.Choice(["sent", "mined", "final"]),
            default="final",
            show_default=True,
            help="Follow the transaction so far.",
        ),
        click.option("--broadcast", is_flag=True, help="Sign and send. Without it nothing is."),
    ):
        function = option(function)
    return function


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
    return asyncio.run(_act(wanted, target, partial, broadcast, until, within, as_json, close=close))


async def _act(
    wanted: Any,
    target: Fraction | None,
    partial: bool,
    broadcast: bool,
    until: str,
    within_s: float,
    as_json: bool,
    *,
    close: bool,
) -> int:
    from monitor.cli.guarding import REFUSED, guardian_for, look, prospect_dict, prospect_lines
    from monitor.cli.plan_command import code_of
    from monitor.cli.screen import echo, width
    from monitor.cli.session import opened
    from monitor.pipeline.plans import best, without_partial

    async with opened(wanted) as session:
        guardian = guardian_for(session.targets, None)
        found = await look(session, guardian, target, close=close)
        if as_json:
            click.echo(json.dumps(prospect_dict(found), separators=(",", ":")))
        else:
            echo(prospect_lines(found, width()))
        plan = best(found.proposal if partial else without_partial(found.proposal))
        if plan is None:
            return code_of(found)
        draft = await decide(found, plan)
        passes, simulation = await simulated(found, draft)
        if as_json:
            click.echo(_json("levmon.simulation/1", passes=passes, said=simulation, plan=plan.key))
        else:
            click.echo(f"\nsimulated at block {plan.block.number}: {simulation}")
        if not passes:
            return REFUSED
        if not broadcast:
            if not as_json:
                click.echo("nothing was signed: --broadcast does it")
            return 0
        return await send(session, found, draft, until, within_s, as_json)


def _json(schema: str, **fields: Any) -> str:
    return json.dumps({"schema": schema, **fields}, separators=(",", ":"))


async def decide(found: Prospect, plan: Plan) -> Draft:
    """The decision to do the plan, with the market's code and parameters that it rests on. May raise: ChainError."""
    from monitor.pipeline.acting import draft_of
    from monitor.pipeline.basis import fetch_decided_on

    basis = await fetch_decided_on(found.chain.chain, found.seen.snapshot, found.report, plan.block)
    cause, rule = "asked for by hand", found.protection.name
    return draft_of(plan, found.guardian, found.target, cause=cause, rule=rule, basis=basis)


async def simulated(found: Prepared, draft: Draft) -> tuple[bool, str]:
    from monitor.cli.guarding import simulation_text
    from monitor.execution.simulate import simulate
    from monitor.pipeline.acting import ExecutionView, own_calls

    call = own_calls()(draft.intent)
    view = ExecutionView(found.chain.chain)
    simulated = await simulate(view, draft.signer, call, draft.gas, draft.block)
    return simulation_text(simulated, draft.intent)


def open_acting(session: Session, found: Prepared) -> Acting:
    """Journal, signer and executor for the chain of what was found. May raise: JournalError."""
    from monitor.cli.guarding import finality_of
    from monitor.pipeline.acting import Acting

    chain = found.chain
    return Acting(
        found.guardian,
        chain.chain,
        session.memory,
        finality=finality_of(session, chain),
        max_head_age_s=chain.depth.max_age_s,
    )


async def send(
    session: Session, found: Prepared, draft: Draft, until: str, within_s: float, as_json: bool, poll_s: float = 0.5
) -> int:
    """Journal the decision, sign, send and follow it; the exit code."""
    from monitor.cli.guarding import REFUSED
    from monitor.pipeline.carry import Until, carry

    await require_signer(found.guardian)
    with open_acting(session, found) as acting:
        acting.allow(found.limits)
        await acting.step()  # what an earlier run left is settled first
        standing = None
        async for standing in carry(acting, draft, until=Until(until), within_s=within_s, poll_s=poll_s):
            click.echo(_json("levmon.action/1", **standing_dict(standing)) if as_json else standing_line(standing))
            if refused(standing):
                break
        if standing is None:
            click.echo("this position has an action under way already: see levmon history", err=True)
            return REFUSED
        if standing.failed or refused(standing):
            withdraw(acting, standing)
            return REFUSED
        if standing.reached(Until(until)):
            return 0
        if not as_json:
            click.echo(
                f"not waited for any longer: it is {standing.action.state.value}; `levmon protect` carries it on"
            )
        return 3
    raise AssertionError("unreachable")


async def require_signer(guardian: Guardian) -> None:
    """Before anything is journaled. May raise: SigningError where the signer is not there or cannot sign for it."""
    from monitor.core.errors import SignerRefused
    from monitor.execution.killswitch import KillSwitch
    from monitor.signer.client import SignerClient

    status = await SignerClient(guardian.socket, {}, deadline_s=10).status()
    if guardian.address not in status.keys:
        raise SignerRefused(f"the signer has no key of {guardian.address}", hint="see `levmon keys`")
    if status.killed or KillSwitch(guardian.kill_file).thrown:
        raise SignerRefused("the kill switch is thrown", hint="levmon resume, once it is understood")


def refused(standing: Standing) -> bool:
    """Nothing is on its way, and something that will not pass by itself says no."""
    action = standing.action
    if standing.why.startswith("not signed"):
        return True
    nothing_out = not action.attempts and action.state.value in ("planned", "armed")
    return nothing_out and bool(standing.why) and standing.why not in ("decided", "armed")


def withdraw(acting: Acting, standing: Standing) -> None:
    """Close an action for which the signer was never asked, so that nothing picks it up behind one's back."""
    from monitor.core.actions import ActionState
    from monitor.execution.machine import change

    action = acting.journal.action(standing.action.id)
    if action.open and not action.attempts:
        why = f"given up: {standing.why}"
        what = change(action, ActionState.CLOSED_REJECTED, why, free_nonce=action.nonce is not None)
        acting.journal.apply(what, action.changed_s)


def standing_dict(standing: Standing) -> dict[str, Any]:
    """An action's standing for programs."""
    from monitor.core.text import clean

    action, mined = standing.action, standing.action.mined
    return {
        "action": action.id,
        "position": action.position_id,
        "kind": action.draft.intent.kind,
        "state": action.state.value,
        "why": clean(standing.why or action.note, 400),
        "nonce": None if action.nonce is None else str(action.nonce),
        "attempts": len(action.attempts),
        "hash": standing.hash,
        "block": None if mined is None else str(mined.block_number),
        "ok": None if mined is None else mined.ok,
        "final": not action.open,
    }


def standing_line(standing: Standing) -> str:
    """The same for people."""
    from monitor.core.text import clean

    action = standing.action
    tx = f"  {standing.hash}" if standing.hash else ""
    return f"{action.state.value:<14}{tx}  {clean(standing.why or action.note, 300)}".rstrip()
