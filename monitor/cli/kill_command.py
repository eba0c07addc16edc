"""`levmon kill`: the kill switch. A file, looked at before each signature and each send; it survives restarts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.cli.options import config_option, json_option
from monitor.core.errors import ConfigError

if TYPE_CHECKING:
    from monitor.pipeline.guardians import Guardian


@click.command("kill")
@config_option
@click.option("--reason", default="by hand", show_default=True, help="Written into the file.")
@json_option
def command(config_file: Path | None, reason: str, as_json: bool) -> None:
    """Stop all signing and sending at once. What is on its way already may still land; watching goes on.

    Makes the file `kill_file` of [guardian], and tells the signer, which has a switch of its own. `levmon resume`
    undoes both where they are the same file.
    """
    from monitor.cli.guarding import config_of, guardian_of
    from monitor.execution.killswitch import KillSwitch

    guardian = guardian_of(*config_of(config_file))
    try:
        KillSwitch(guardian.kill_file).throw(reason)
    except OSError as failed:
        raise ConfigError(
            f"cannot make {guardian.kill_file.name}: {failed.strerror}", hint="stop levmon and the signer instead"
        ) from None
    signer = asyncio.run(tell_signer(guardian))
    if as_json:
        told = {"schema": "levmon.kill/1", "killed": True, "file": str(guardian.kill_file), "signer": signer}
        click.echo(json.dumps(told, separators=(",", ":")))
    else:
        click.echo(f"killed: nothing is signed or sent while {guardian.kill_file} is there; {signer}")


async def tell_signer(guardian: Guardian) -> str:
    """What the signer says to it; without a signer there is nothing to stop there."""
    from monitor.core.errors import SigningError
    from monitor.signer.client import SignerClient

    try:
        await SignerClient(guardian.socket, {}, deadline_s=5).kill()
    except SigningError as silent:
        return f"the signer was not told ({silent.message})"
    return "the signer has stopped too"
