"""`scripts/localnet`: the command line before monitor.testing.localnet. Parses, prints, maps errors to codes."""

from __future__ import annotations

import re
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import click

from monitor.core.errors import ConfigError, LevmonError
from monitor.testing import localnet
from monitor.testing.aave_v3_market import VERSIONS, Version
from monitor.testing.anvil import AnvilFailed, AnvilProcess
from monitor.testing.artifacts import ProvisionFailed
from monitor.testing.devchain import CallReverted

UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
WAD = 10**18
port_option = click.option("--port", type=click.IntRange(1, 65_535), help="Which localnet, if several are up.")
market_option = click.option("--market", help="Only this market (core or core36).")


def seconds(text: str) -> int:
    """`90`, `90s`, `15m`, `2h`, `5d`, `1w`. May raise ConfigError."""
    match = re.fullmatch(r"([0-9]{1,9})([smhdw]?)", text)
    if match is None or int(match[1]) == 0:
        raise ConfigError(f"{text!r} is no length of time", hint="write seconds, or 90s, 15m, 2h, 5d, 1w")
    return int(match[1]) * UNIT_S[match[2]]


def fixed(amount: int, unit: int, places: int) -> str:
    """An integer amount as a decimal, rounded down, with thousands marked."""
    whole, rest = divmod(amount, unit)
    return f"{whole:,}.{rest * 10**places // unit:0{places}}"


def say(text: str) -> None:
    click.echo(f"localnet: {text}", err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """A chain on this machine with real Aave V3, borrowers near the edge, and prices that you move."""


@cli.command()
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=localnet.DEFAULT_PORT, show_default=True, help="0: free."
)
@click.option("--version", type=click.Choice([*VERSIONS, "both"]), default="both", show_default=True)
@click.option("--with", "beside", type=click.Choice(localnet.BESIDE), multiple=True, help="Beside Aave.")
@click.option("--block-time", type=click.IntRange(1, 3_600), help="Mine every so many seconds, not on demand.")
@click.option("--background", is_flag=True, help="Return at once; end it with `down`.")
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), default="levmon.toml", show_default=True)
def up(
    port: int, version: str, beside: tuple[str, ...], block_time: int | None, background: bool, config: Path
) -> None:
    """Start the chain, deploy, print addresses and write a levmon.toml."""
    localnet.check_config_path(config)
    versions: tuple[Version, ...] = tuple(v for v in VERSIONS if version in {v, "both"})
    process, net = localnet.start(
        versions,
        port=port,
        block_time=block_time,
        own_session=True,
        outlives=background,
        guarded=True,
        beside=beside,
        say=say,
    )
    with ExitStack() as undo:
        undo.callback(localnet.forget, net)
        undo.callback(process.stop)
        config.write_text(localnet.config_text(net))
        localnet.save(net)
        _print_addresses(net, config)
        if background:
            process.detach()
            undo.pop_all()
        else:
            say(f"press Ctrl-C to end (pid {net.pid})")
            _serve(process)


def _serve(process: AnvilProcess) -> None:
    """Until somebody ends us, or anvil ends by itself."""
    try:
        process.wait()
    except KeyboardInterrupt:
        say("ending")


def _print_addresses(net: localnet.Localnet, config: Path) -> None:
    click.echo(f"url {net.url}")
    for name, market in net.markets.items():
        click.echo(f"\n{name}: Aave {market.version}, {len(market.borrowers)} borrowers")
        for role in ("provider", "pool", "configurator", "oracle", "data_provider", "admin", "liquidator"):
            click.echo(f"  {role:13} {getattr(market, role)}")
        site = net.guards[name]
        for role, address in (
            ("guard", site.guard),
            ("router", site.exchange.router),
            ("quoter", site.exchange.quoter),
        ):
            click.echo(f"  {role:13} {address}")
        for reserve in market.reserves.values():
            click.echo(f"  {reserve.symbol:13} {reserve.asset}  feed {reserve.feed}  {reserve.decimals} decimals")
    if net.morpho:
        click.echo(f"\n{localnet.MORPHO_NAME}: Morpho Blue, {len(net.morpho.borrowers)} borrowers")
        for role in ("morpho", "id", "oracle", "admin"):
            click.echo(f"  {role:13} {getattr(net.morpho, role)}")
    if net.aave_v2:
        click.echo(f"\n{localnet.AAVE_V2_NAME}: Aave V2, {len(net.aave_v2.borrowers)} borrowers")
        for role in ("provider", "pool", "admin"):
            click.echo(f"  {role:13} {getattr(net.aave_v2, role)}")
        for one in net.aave_v2.reserves:
            click.echo(f"  {one.symbol:13} {one.asset}  feed {one.feed or 'none: it is the base'}")
    click.echo(f"\nwrote {config}")


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("changes", nargs=-1, required=True, metavar="ASSET=PERCENT...")
@market_option
@port_option
def shock(changes: tuple[str, ...], market: str | None, port: int | None) -> None:
    """Move prices: `shock WETH=-20% USDC=+1%`."""
    wanted = {}
    for change in changes:
        symbol, found, percent = change.partition("=")
        if not found:
            raise ConfigError(f"{change!r} is no change of a price", hint="write for example WETH=-20%")
        wanted[symbol] = percent
    for name, symbol, before, after in localnet.shock(localnet.load(port), wanted, market):
        click.echo(f"{name:7} {symbol:7} {fixed(before, 10**8, 8)} -> {fixed(after, 10**8, 8)}")


@cli.command()
@click.argument("blocks", type=click.IntRange(1, 100_000), default=1)
@port_option
def mine(blocks: int, port: int | None) -> None:
    """Mine blocks."""
    with localnet.at_once(localnet.load(port)) as chain:
        chain.mine(blocks)
        click.echo(f"block {chain.block_number()}")


@cli.command()
@click.argument("duration")
@port_option
def warp(duration: str, port: int | None) -> None:
    """Let time pass in one block: seconds, or 15m, 2h, 5d, 1w."""
    length = seconds(duration)
    with localnet.at_once(localnet.load(port)) as chain:
        chain.warp(length)
        click.echo(f"block {chain.block_number()}, timestamp {chain.timestamp()}")


@cli.command()
@market_option
@port_option
def status(market: str | None, port: int | None) -> None:
    """Every borrower with the health factor that the contract answers, lowest first."""
    net = localnet.load(port)
    rows = localnet.standings(net, market)
    with localnet.at_once(net) as chain:
        click.echo(f"{net.url}  block {chain.block_number()}  timestamp {chain.timestamp()}  pid {net.pid}\n")
    click.echo(f"{'market':7} {'owner':42} {'collateral $':>18} {'debt $':>18} {'health':>12}")
    for row in rows:
        health = "no debt" if row.health_wad is None else fixed(row.health_wad, WAD, 6)
        mark = "" if row.health_wad is None or row.health_wad >= WAD else "  below 1"
        money = f"{fixed(row.collateral_e8, 10**8, 2):>18} {fixed(row.debt_e8, 10**8, 2):>18}"
        click.echo(f"{row.market:7} {row.owner} {money} {health:>12}{mark}")


@cli.command()
@port_option
def down(port: int | None) -> None:
    """End the chain that `up` started."""
    net = localnet.load(port)
    localnet.stop(net)
    click.echo(f"ended localnet on port {net.port} (pid {net.pid})")


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def main() -> None:
    signal.signal(signal.SIGTERM, _interrupt)  # so that a killed `up` ends its chain as Ctrl-C does
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except LevmonError as error:
        click.echo(f"localnet: {error}", err=True)
        sys.exit(error.exit_code)
    except (ProvisionFailed, AnvilFailed, CallReverted, OSError) as error:
        click.echo(f"localnet: {error}", err=True)
        sys.exit(3)


if __name__ == "__main__":
    main()
