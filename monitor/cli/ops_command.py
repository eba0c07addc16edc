"""`levmon ops`: what it takes to run it as a service, printed, to be read and put where it belongs."""

from __future__ import annotations

import click

NAMES = ("systemd", "systemd-signer", "dockerfile", "grafana", "prometheus")


@click.command("ops")
@click.argument("name", type=click.Choice(NAMES), metavar="NAME")
def command(name: str) -> None:
    """Print a service unit, a Dockerfile, a Grafana dashboard or Prometheus alert rules.

    NAME is systemd, systemd-signer, dockerfile, grafana or prometheus.
    """
    from monitor import ops

    click.echo(ops.text(name), nl=False)
