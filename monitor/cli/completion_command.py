"""`levmon completion`: what a shell must be told to complete commands and options."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS), metavar="SHELL")
def command(shell: str) -> None:
    """Print tab completion for SHELL: bash, zsh or fish.

    Put the line below into ~/.bashrc; for zsh the same with zsh into ~/.zshrc.
    """
    from click.shell_completion import get_completion_class

    from monitor.cli.app import app

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(app, {}, "levmon", "_LEVMON_COMPLETE").source())
