"""`levmon docs`: the reference pages that are shipped with it."""

from __future__ import annotations

import click

PAGES = {
    "commands": "every command's --help",
    "settings": "every key of levmon.toml and signer.toml, and every variable",
    "metrics": "what /metrics says",
    "exit-codes": "what the exit code of a command means",
    "errors": "every error, and whether a retry may help",
    "operations": "running it as a service, and what to do when something fails",
}


@click.command("docs")
@click.argument("page", required=False, type=click.Choice(list(PAGES)), metavar="[PAGE]")
def command(page: str | None) -> None:
    """Show a reference page, or which there are.

    PAGE is commands, settings, metrics, exit-codes, errors or operations.
    """
    from importlib.resources import files

    if page is None:
        for name, told in PAGES.items():
            click.echo(f"levmon docs {name:<11} {told}")
        return
    text = files("monitor").joinpath("docs", f"{page}.md").read_text(encoding="utf-8")
    click.echo(text, nl=False)
