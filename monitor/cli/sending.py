"""What the commands that send share: simulated, then refused or only shown, or else signed, sent and followed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from monitor.cli.guarding import Prepared
    from monitor.cli.session import Open, Session
    from monitor.journal.rows import Draft
    from monitor.journal.store import Journal
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


@dataclass(frozen=True, slots=True)
class Wish:
    """What `broadcast_options` and --json ask for."""

    broadcast: bool
    until: str
    within_s: float
    as_json: bool


async def simulate_and_send(session: Session, found: Prepared, draft: Draft, key: str, how: Wish) -> int:
    """Tell what a simulation says of the plan of this key, and go on as `go_on` does; the exit code.

    Without --broadcast also what fees, gas and limits would say to it.
    """
    from monitor.cli.guarding import REFUSED

    passes, said = await simulated(found, draft)
    objections = [] if how.broadcast else await _objections(session, found, draft)
    if how.as_json:
        click.echo(_json("levmon.simulation/1", passes=passes, said=said, plan=key, objections=objections))
    else:
        click.echo(f"\nsimulated at block {draft.block.number}: {said}")
        for one in objections:
            click.echo(f"it would not be signed: {one}")
    if objections:
        return REFUSED
    return await go_on(session, found, [draft], how, passes=passes)


async def _objections(session: Session, found: Prepared, draft: Draft) -> list[str]:
    """Only the file's own guardian has a journal and limits of its own."""
    from monitor.core.text import clean
    from monitor.pipeline.acting import ExecutionView
    from monitor.pipeline.today import fetch_objections

    config = session.targets.config
    if config is None or found.guardian.config is not config.guardian:
        return []
    view = ExecutionView(found.chain.chain)
    return [clean(one, 300) for one in await fetch_objections(view, found.guardian, draft, found.limits)]


async def go_on(session: Session, found: Prepared, drafts: Sequence[Draft], how: Wish, *, passes: bool) -> int:
    """After a simulation: refused, or shown only, or sent one after the other, all but the last until mined."""
    from monitor.cli.guarding import REFUSED

    if not passes:
        return REFUSED
    if not how.broadcast:
        if not how.as_json:
            click.echo("nothing was signed: --broadcast does it")
        return 0
    code = 0
    for draft in drafts:
        code = await send(session, found, draft, how.until if draft is drafts[-1] else "mined", how)
        if code:
            break
    return code


def _json(schema: str, **fields: Any) -> str:
    return json.dumps({"schema": schema, **fields}, separators=(",", ":"))


async def simulated(found: Prepared, draft: Draft) -> tuple[bool, str]:
    """Whether it would succeed at the block that it was decided at, and what the node says."""
    from monitor.cli.guarding import simulation_text
    from monitor.execution.simulate import simulate
    from monitor.pipeline.acting import ExecutionView, own_calls

    call = own_calls()(draft.intent)
    view = ExecutionView(found.chain.chain)
    simulated = await simulate(view, draft.signer, call, draft.gas, draft.block)
    return simulation_text(simulated, draft.intent)


def open_acting(session: Session, chain: Open, guardian: Guardian, journal: Journal | None = None) -> Acting:
    """Journal, signer and executor for a chain; `journal` is one that is open already. May raise: JournalError."""
    from monitor.cli.guarding import finality_of
    from monitor.pipeline.acting import Acting

    return Acting(
        guardian,
        chain.chain,
        session.memory,
        finality=finality_of(session, chain),
        max_head_age_s=chain.depth.max_age_s,
        journal=journal,
    )


async def send(session: Session, found: Prepared, draft: Draft, until: str, how: Wish, poll_s: float = 0.5) -> int:
    """Journal the decision, sign, send and follow it; the exit code. May raise: Refused for a market's unknown code."""
    from monitor.cli.guarding import REFUSED
    from monitor.pipeline.basis import require_trusted
    from monitor.pipeline.carry import Until, carry

    await require_signer(found.guardian)
    with open_acting(session, found.chain, found.guardian) as acting:
        acting.allow(found.limits)
        require_trusted(acting.journal, draft)
        await acting.step()  # what an earlier run left is settled first
        standing = None
        async for standing in carry(acting, draft, until=Until(until), within_s=how.within_s, poll_s=poll_s):
            click.echo(_json("levmon.action/1", **standing_dict(standing)) if how.as_json else standing_line(standing))
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
        if not how.as_json:
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
