"""`levmon resume`: undoes `levmon kill`, and lifts holds that a person has understood."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.cli.options import config_option, json_option

if TYPE_CHECKING:
    from monitor.pipeline.guardians import Guardian


@click.command("resume")
@click.argument("scopes", nargs=-1, metavar="[SCOPE]...")
@config_option
@json_option
def command(scopes: tuple[str, ...], config_file: Path | None, as_json: bool) -> int:
    """Allow signing and sending again after `levmon kill`.

    With SCOPE, as `levmon history` shows it, lift that hold instead; `levmon protect` must not be running then.

    Exits with 4 if something still stands in the way.
    """
    from monitor.cli.guarding import REFUSED, config_of, guardian_of
    from monitor.execution.killswitch import KillSwitch
    from monitor.journal.view import JournalView

    guardian = guardian_of(*config_of(config_file))
    if scopes:
        _release(guardian, scopes)
    else:
        KillSwitch(guardian.kill_file).reset()
    signer_killed = asyncio.run(_signer_killed(guardian))
    holds = JournalView(guardian.journal_url).holds()
    killed = KillSwitch(guardian.kill_file).thrown
    if as_json:
        told = {
            "schema": "levmon.resume/1",
            "killed": bool(killed),
            "signer_killed": signer_killed,
            "holds": [{"scope": hold.scope, "reason": hold.reason} for hold in holds],
        }
        click.echo(json.dumps(told, separators=(",", ":")))
    else:
        click.echo(f"still stopped: {killed}" if killed else "levmon may sign and send")
        if signer_killed:
            click.echo("the signer's own kill switch is still on: remove the kill_file of signer.toml by hand")
        for hold in holds:
            click.echo(f"on hold: {hold.scope}: {hold.reason}")
    return REFUSED if killed or signer_killed or holds else 0


def _release(guardian: Guardian, scopes: tuple[str, ...]) -> None:
    from monitor.core.errors import ConfigError
    from monitor.journal.store import Journal
    from monitor.pipeline.basis import lift

    journal = Journal(guardian.journal_url, now_s=int(time.time()))
    try:
        known = {hold.scope: hold for hold in journal.holds()}
        for scope in scopes:
            if scope not in known:
                raise ConfigError(f"nothing is on hold as {scope!r}", hint=f"on hold: {', '.join(known) or 'nothing'}")
            lift(journal, known[scope], int(time.time()))
    finally:
        journal.close()


async def _signer_killed(guardian: Guardian) -> bool:
    """Whether the signer says that its switch is on; a signer that is not there says nothing."""
    from monitor.core.errors import SigningError
    from monitor.signer.client import SignerClient

    try:
        return (await SignerClient(guardian.socket, {}, deadline_s=5).status()).killed
    except SigningError:
        return False
