"""`levmon config init|show|check`: a file to start from, what is in force, and every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.cli.options import config_option
from monitor.core.errors import ConfigError


@click.group("config")
def command() -> None:
    """Write, show or check levmon.toml."""


@command.command("init")
@click.option("-c", "--config", "path", type=click.Path(path_type=Path), default=Path("levmon.toml"), show_default=True)
@click.option(
    "--market", default="ethereum/aave-v3/core", show_default=True, help="A known market, or PROTOCOL:ADDRESS[/ID]."
)
@click.option("--chain-id", type=click.IntRange(1), help="The chain of a PROTOCOL:ADDRESS market.")
@click.option("--owner", "owners", multiple=True, help="Whose position: an address or an ENS name. May be repeated.")
@click.option(
    "--rpc-env", default="", metavar="NAME", help="Variable with the endpoint's URL. [default: LEVMON_RPC_<chainId>]"
)
@click.option(
    "--alert-env", default="", metavar="NAME", help="Variable with an alert channel's URL.  [default: no channel]"
)
@click.option("--watch", default="2.0", show_default=True, help="Level watch below this health.")
@click.option("--warn", default="1.5", show_default=True, help="Level warn below this health.")
@click.option("--critical", default="1.1", show_default=True, help="Level critical below this health.")
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@click.option("--no-input", is_flag=True, help="Ask nothing, also on a terminal.")
def init(
    path: Path,
    *,
    market: str,
    chain_id: int | None,
    owners: tuple[str, ...],
    rpc_env: str,
    alert_env: str,
    watch: str,
    warn: str,
    critical: str,
    force: bool,
    no_input: bool,
) -> None:
    """Write a levmon.toml to start from, commented.

    On a terminal it asks what it needs, unless --owner or --no-input is given. URLs are not asked for and not written:
    the file names the environment variables that hold them.
    """
    import sys

    from monitor.cli import first_config
    from monitor.core.deployments import parse_market

    if path.exists() and not force:
        raise ConfigError(f"{path} is there already", hint="edit it, or overwrite it with --force")
    first_config.known_market(market)
    variables = (first_config.variable(rpc_env), first_config.variable(alert_env))
    answers = first_config.Answers(market, chain_id, owners, *variables, watch, warn, critical)
    if not owners and not no_input and sys.stdin.isatty() and sys.stdout.isatty():
        answers = first_config.interview(answers)
    text = first_config.written(answers)
    try:
        path.write_text(text)
    except OSError as failed:
        raise ConfigError(f"{path} cannot be written: {failed.strerror}", hint="name another with --config") from None
    named = parse_market(answers.market).chain_id or answers.chain_id or 0
    click.echo(f"wrote {path}; next:\n{first_config.next_steps(answers, str(path), named)}")


@command.command("show")
@config_option
def show(config_file: Path | None) -> None:
    """Show what is in force, with secrets hidden and environment variables told."""
    import os

    from monitor.core import config as configuration
    from monitor.core.secret import rpc_urls
    from monitor.policy.levels import decimal

    path = config_file or Path(configuration.DEFAULT_FILE)
    config = configuration.load(path)
    click.echo(f"# {path}")
    for name, chain in config.chains.items():
        variable = f"LEVMON_RPC_{chain.chain_id}"
        try:
            hosts = ", ".join(map(str, rpc_urls(chain.chain_id, chain.rpc, (), os.environ)))
        except ConfigError:
            hosts = "none"
        told = f"  (from {variable})" if os.environ.get(variable) else "  (from ETH_RPC_URL)" if not chain.rpc else ""
        click.echo(f"chain {name}: id {chain.chain_id}, endpoints {hosts}{told}, quorum {chain.quorum or 'off'}")
    for market in config.markets:
        where = f"{market.address}/{market.id}" if market.id else market.address
        click.echo(f"market {market.name}: {market.protocol} at {where} on {market.chain}")
    for label, address in config.addresses.items():
        click.echo(f"address {label}: {address}")
    for position in config.positions:
        owner = config.owner(position.owner)
        called = f" ({position.owner})" if position.owner != owner else ""
        levels = config.thresholds(position)
        told = "/".join(decimal(level) for level in (levels.watch, levels.warn, levels.critical))
        click.echo(f"position {owner}{called} in {position.market}: levels {told}")
    for channel in config.alerts.channels if config.alerts else ():
        signed = " signed" if channel.secret else ""
        told = ", ".join(channel.events) or "what is escalated"
        click.echo(f"channel {channel.name}: {channel.url}{signed}, {channel.min_severity} or worse of {told}")


@command.command("check")
@config_option
def check(config_file: Path | None) -> None:
    """Check the file and name every mistake with its line. Asks no node; `levmon doctor` does."""
    from monitor.core import config as configuration

    path = config_file or Path(configuration.DEFAULT_FILE)
    config = configuration.load(path)
    counts = f"{len(config.chains)} chains, {len(config.markets)} markets, {len(config.positions)} positions"
    click.echo(f"{path} is right: {counts}")
