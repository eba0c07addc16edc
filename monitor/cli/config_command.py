"""`levmon config init|show|check`: a file to start from, what is in force, and every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.cli.options import config_option
from monitor.core.errors import ConfigError

TEMPLATE = """\
# levmon.toml: which positions to watch, and where. `levmon config check` says what is wrong with it.

[chains.{chain}]
chain_id = {chain_id}
# rpc = ["https://..."]      # several: the next is asked when one fails; ${{NAME}} inside is taken from the environment
# rpc_file = "rpc-urls.txt"  # or from a file, one URL a line; without both: {variable}, else ETH_RPC_URL
# ws = ["wss://..."]         # new blocks are noticed sooner
# quorum = 2                 # so many of at least 3 endpoints must give the same answer
# block_time_s = 12
# finality = "finalized"     # or "safe", or a number of blocks

[[markets]]
name = "{market}"
chain = "{chain}"
protocol = "{protocol}"
address = "{address}"   # for Aave V3 and its forks: the PoolAddressesProvider

# A level is reached when health is below its threshold; below 1 is always critical.
[levels]
watch = 2.0
warn = 1.5
critical = 1.1

# Names for addresses, to be used as owners.
[addresses]
# treasury = "0x..."

# Each position: an address, an ENS name, or a label; with thresholds of its own if they differ.
# [[positions]]
# market = "{market}"
# owner = "treasury"
# warn = 1.6
"""


@click.group("config")
def command() -> None:
    """Write, show or check levmon.toml."""


@command.command("init")
@click.option("-c", "--config", "path", type=click.Path(path_type=Path), default=Path("levmon.toml"), show_default=True)
@click.option("--market", default="ethereum/aave-v3/core", show_default=True, help="A known market to start from.")
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
def init(path: Path, market: str, force: bool) -> None:
    """Write a levmon.toml to start from."""
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already", hint="edit it, or overwrite it with --force")
    path.write_text(template(market))
    click.echo(f"wrote {path}: put your endpoint and positions into it, then run `levmon config check`")


def template(market: str) -> str:
    """A levmon.toml for a known market. May raise: ConfigError."""
    from monitor.chain.chains import chain_info
    from monitor.core.deployments import known_deployment

    deployment = known_deployment(market)
    chain = chain_info(deployment.chain_id or 0)
    return TEMPLATE.format(
        chain=chain.name,
        chain_id=deployment.chain_id,
        variable=f"LEVMON_RPC_{deployment.chain_id}",
        market=market.rpartition("/")[2],
        protocol=deployment.protocol,
        address=deployment.address,
    )


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
