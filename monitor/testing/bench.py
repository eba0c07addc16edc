"""`scripts/bench`: each measurement with its peer, its floor and their ratios, all from one run."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from monitor.testing import latency

LIMIT_S = 0.3


@click.group()
def cli() -> None:
    """Measure levmon on this machine."""


@cli.command("latency")
@click.option("--count", type=click.IntRange(1), default=200, show_default=True, help="So many transactions.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def latency_command(count: int, as_json: bool) -> None:
    """From a decision to its transaction's broadcast, on a local chain with a real signer process and journal."""
    samples = latency.measure(count)
    if as_json:
        click.echo(latency.as_json(samples))
    else:
        click.echo("\n".join(latency.lines(samples)))
    worst = latency.percentile(samples.own, 0.99)
    if worst > LIMIT_S:
        click.echo(f"p99 beyond the node is {worst:.3f} s, above {LIMIT_S} s", err=True)
        sys.exit(1)


@cli.command("engine")
@click.option("--quick", is_flag=True, help="Smaller markets: a minute less.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def engine_command(quick: bool, as_json: bool) -> None:
    """Whole markets judged, followed and stressed, beside Python integers and memory itself. Needs no chain."""
    from monitor.testing import bench_engine, figures

    sizes = bench_engine.QUICK if quick else bench_engine.Sizes()
    found = bench_engine.measure(sizes, lambda text: click.echo(text, err=True))
    click.echo(json.dumps(figures.report(found)) if as_json else "\n".join(figures.table(found)))
    if failed := [one.what for one in found if one.failed]:
        click.echo(f"beyond its limit: {', '.join(failed)}", err=True)
        sys.exit(1)


@cli.command("mirror")
@click.option("--accounts", type=click.IntRange(500), default=10_000, show_default=True, help="So many borrowers.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Of few and of many changes each.")
@click.option("--blocks", type=click.IntRange(0), default=300, show_default=True, help="Of everything that happens.")
@click.option("--quick", is_flag=True, help="2,000 borrowers, 40 blocks, 100,000 accounts from disk.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def mirror_command(accounts: int, rounds: int, blocks: int, quick: bool, as_json: bool) -> None:
    """From a new block to a decision on a market that is followed, each block compared with reading all anew."""
    from monitor.testing import bench_mirror, figures
    from monitor.testing.aave_v3_market import VERSIONS

    accounts, blocks = (2_000, 40) if quick else (accounts, blocks)
    found = bench_mirror.disk_figures(bench_mirror.disk(100_000 if quick else bench_mirror.MILLION))
    for version in VERSIONS:
        found += bench_mirror.block_figures(version, bench_mirror.rounds(version, accounts, rounds))
    compared = [bench_mirror.everything(version, blocks, 1) for version in VERSIONS] if blocks else []
    if as_json:
        click.echo(json.dumps(figures.report(found) | {"compared": [asdict(one) for one in compared]}))
    else:
        click.echo("\n".join([*figures.table(found), *(one.line() for one in compared)]))


@cli.command("read")
@click.option("--accounts", type=click.IntRange(1_000), default=10_000, show_default=True, help="So many borrowers.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="So many turns for everybody.")
@click.option("--version", "only", type=click.Choice(["3.0", "3.6"]), help="Of Aave V3; default: both.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def read_command(accounts: int, rounds: int, only: str | None, as_json: bool) -> None:
    """The health of a whole market at one block, beside multicall.py, aggregate3 and a web3.py loop."""
    from monitor.testing import bench_read, figures
    from monitor.testing.aave_v3_market import VERSIONS

    found = []
    for version in VERSIONS:
        if only in {None, version}:
            found += bench_read.figures(bench_read.measure(version, accounts, rounds))
    click.echo(json.dumps(figures.report(found)) if as_json else "\n".join(figures.table(found)))
    if failed := [f"{one.id} {one.what}" for one in found if one.failed]:
        click.echo(f"beyond its limit: {', '.join(failed)}", err=True)
        sys.exit(1)


@cli.command("pages")
@click.option("--quick", is_flag=True, help="1,000 positions instead of 5,000.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def pages_command(quick: bool, as_json: bool) -> None:
    """The dashboard's pages of thousands of positions over a day of history: first byte, size, updates. No chain."""
    from monitor.testing import bench_pages, figures

    sizes = bench_pages.QUICK if quick else bench_pages.Sizes()
    found = bench_pages.measure(sizes, lambda text: click.echo(text, err=True))
    click.echo(json.dumps(figures.report(found)) if as_json else "\n".join(figures.table(found)))
    if failed := [one.what for one in found if one.failed]:
        click.echo(f"beyond its limit: {', '.join(failed)}", err=True)
        sys.exit(1)


@cli.command("page")
@click.option("--quick", is_flag=True, help="Smaller markets and fewer rounds.")
def page_command(quick: bool) -> None:
    """Run read, engine and mirror, and write their figures into the README."""
    from monitor.testing import bench_page

    smaller = {"read": ("--accounts", "2000", "--rounds", "3"), "engine": ("--quick",), "mirror": ("--quick",)}
    found = {name: bench_page.measure(name, smaller[name] if quick else ()) for name in bench_page.BENCHES}
    bench_page.write(bench_page.page(found, bench_page.machine()))


if __name__ == "__main__":
    cli()
