"""`levmon discover`: everybody who has ever borrowed in a market, from its logs."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import click

from monitor.chain.port import BlockAt
from monitor.cli.crowds import discovered, one_market, say, shown_owner, whole_options
from monitor.cli.options import block_option, json_option
from monitor.core.errors import ConfigError


@click.command("discover")
@click.argument("market", metavar="MARKET")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the addresses there, as --owners reads them."
)
@whole_options
@block_option
@json_option
def command(market: str, out: Path | None, block: BlockAt, as_json: bool, **source: Any) -> int:
    """Everybody who has borrowed in MARKET, one address a line.

    Final blocks are asked for once: a run that was stopped, and every later one, goes on where the last one ended.
    Ranges fit themselves to what the endpoint allows; answers are checked against the blocks' bloom filters.
    """
    name, number, owners = asyncio.run(_discover(market, block, source))
    if out is not None:
        _write(out, owners)
    if as_json:
        told = {"schema": "levmon.borrowers/1", "market": name, "block": str(number), "count": len(owners)}
        click.echo(json.dumps({**told, **({} if out else {"owners": owners})}, separators=(",", ":")))
    elif out is None:
        click.echo("\n".join(owners))
    say(f"{name}: {len(owners):,} borrowers up to block {number}" + (f", in {out}" if out else ""))
    return 0


async def _discover(market: str, at: BlockAt, source: dict[str, Any]) -> tuple[str, int, list[str]]:
    from monitor.pipeline.census import open_whole

    async with one_market(market, source, at) as one:
        chain = one.chain.chain
        block = one.chain.first or await chain.block(at)
        _, whole = await open_whole(chain, one.ref, one.session.memory, block)
        rows = await discovered(one, whole, block)
        return one.name, block.number, [shown_owner(f"0x{row.tobytes().hex()}") for row in rows]


def _write(path: Path, owners: list[str]) -> None:
    """All of the file or none of it. May raise: ConfigError."""
    new = path.with_name(f"{path.name}.new")
    try:
        new.write_text("".join(f"{owner}\n" for owner in owners), encoding="utf-8")
        os.replace(new, path)  # noqa: PTH105  # Path.replace says nothing about being whole
    except OSError as broken:
        raise ConfigError(f"{path} cannot be written: {broken.strerror}") from None
