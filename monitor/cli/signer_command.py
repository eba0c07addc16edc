"""`levmon signer`: becomes the process that holds the keys. Nothing of the rest of levmon stays loaded in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from monitor.cli.options import config_option


@click.command("signer")
@config_option
@click.option(
    "--signer-config",
    type=click.Path(path_type=Path),
    help="The signer's own file.  [default: signer_config of [guardian], else ./signer.toml]",
)
def command(config_file: Path | None, signer_config: Path | None) -> None:
    """Run the process that holds the keys, until SIGTERM. It signs only what its own signer.toml allows.

    Keys come from keystores or files that signer.toml names, passwords from a file or the terminal, never from a flag.
    """
    path = signer_config or _of_file(config_file)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "monitor.signer", "--config", str(path)])  # noqa: S606  # no shell


def _of_file(config_file: Path | None) -> Path:
    from monitor.cli.guarding import config_of, guardian_of

    if config_file is None and not Path("levmon.toml").exists():
        return Path("signer.toml")
    return guardian_of(*config_of(config_file)).signer_file
