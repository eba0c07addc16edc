"""`levmon verify`: recompute, compare with the contract's own numbers, and show every difference."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.chain.port import BlockAt
from monitor.cli.options import Block, json_option, source_options
from monitor.core.errors import ConfigError
from monitor.core.types import BlockRef

if TYPE_CHECKING:
    from monitor.chain.recording import Recorder
    from monitor.cli.session import Open, Session
    from monitor.cli.targets import Wanted
    from monitor.pipeline.verify import Comparison, Verification

SCHEMA = "levmon.verification/1"
MOST_BLOCKS = 100_000
SHOWN = 20
FILE = click.Path(dir_okay=False, path_type=Path)


class Blocks(click.ParamType[tuple[BlockAt, ...]]):
    """One block, or FIRST..LAST[/STEP] by number."""

    name = "block"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[BlockAt, ...]:
        if isinstance(value, tuple):
            return value
        first, dots, rest = str(value).partition("..")
        if not dots:
            return (Block().convert(value, param, ctx),)
        last, _, step = rest.partition("/")
        if not all(part.isascii() and part.isdecimal() for part in (first, last, step or "1")) or step == "0":
            return self.fail(f"{value!r} is no range: write FIRST..LAST or FIRST..LAST/STEP", param, ctx)
        numbers = range(int(first), int(last) + 1, int(step or 1))
        if not 0 < len(numbers) <= MOST_BLOCKS:
            return self.fail(f"{value!r} are {len(numbers)} blocks; 1 to {MOST_BLOCKS} are possible", param, ctx)
        return tuple(numbers)


@click.command("verify")
@click.argument("owners", nargs=-1, metavar="[OWNER]...")
@source_options
@click.option(
    "-b",
    "--block",
    "blocks",
    type=Blocks(),
    default="latest",
    show_default=True,
    help="As for check, or a range of numbers: FIRST..LAST or FIRST..LAST/STEP.",
)
@click.option(
    "--sample",
    type=click.IntRange(0, 1000),
    help="How many recent borrowers of each market to compare as well.  [default: 60; 0 when owners are given]",
)
@click.option(
    "--record",
    "kept",
    type=FILE,
    help="Write calls and answers to a file (gzip if it ends in .gz): what was compared, for --replay.",
)
@click.option("--replay", "replayed", type=FILE, help="Compare what such a file holds, without a chain.")
@json_option
def command(
    owners: tuple[str, ...],
    blocks: tuple[BlockAt, ...],
    sample: int | None,
    kept: Path | None,
    replayed: Path | None,
    as_json: bool,
    **source: Any,
) -> int:
    """Recompute positions from raw state, and compare all numbers with the contract's own getter.

    Without OWNER: the positions of the file, and recent borrowers of each market.

    Exits with 1 on any difference, else with 3 if anything could not be compared, else with 0.
    """
    from monitor.cli.targets import Wanted

    if replayed is not None:
        if owners or kept is not None or sample is not None or any(source.values()):
            raise ConfigError("--replay takes everything from its file", hint="name nothing beside it but --json")
        done = asyncio.run(_replay(replayed, as_json))
    else:
        wanted = Wanted(**source, owners=owners, every_market=True)
        size = sample if sample is not None else 0 if owners else 60
        done = asyncio.run(_verify(wanted, blocks, size, kept, as_json))
    compared = [one for _, verification in done for one in verification.comparisons]
    exact = sum(one.exact for one in compared)
    different = sum(bool(one.difference) for one in compared)
    if not as_json:
        _tell(done)
        click.echo(f"{exact} of {len(compared)} exact")
    if different:
        return 1
    return 0 if compared and exact == len(compared) and not any(v.trouble for _, v in done) else 3


async def _replay(path: Path, as_json: bool) -> list[tuple[str, Verification]]:
    from monitor.chain import recording
    from monitor.pipeline.recorded import replay

    done = [(str(one.ref), one) for one in await replay(recording.load(path))]
    for name, verification in done if as_json else ():
        for line in _json_lines(name, verification):
            click.echo(line)
    return done


async def _verify(
    wanted: Wanted, blocks: tuple[BlockAt, ...], sample: int, kept: Path | None, as_json: bool
) -> list[tuple[str, Verification]]:
    from monitor.chain import recording
    from monitor.cli.session import opened
    from monitor.pipeline.recorded import content, fetch_code_hashes

    recorders: dict[int, Recorder] = {}
    codes: dict[str, dict[str, str]] = {}
    done: list[tuple[str, Verification]] = []
    async with opened(wanted, blocks[0]) as session:
        if not any(chain.markets() for chain in session.chains):
            raise ConfigError("there is nothing to compare", hint="name a market with --market, or owners")
        for at in blocks:
            for chain in session.chains:
                block = chain.first if chain.first is not None and at == "latest" else await chain.chain.block(at)
                recorder = recorders.setdefault(chain.chain_id, recording.Recorder(chain.chain)) if kept else None
                found = await _at(session, chain, block, sample, recorder)
                if recorder is not None:
                    codes[block.hash] = await fetch_code_hashes(chain.chain, recorder.contracts(), block)
                done += found
                if as_json:
                    for name, verification in found:
                        for line in _json_lines(name, verification):
                            click.echo(line)
    if kept is not None:
        recording.save(kept, content([one for _, one in done], list(recorders.values()), codes))
    return done


async def _at(
    session: Session, chain: Open, block: BlockRef, sample: int, recorder: Recorder | None
) -> list[tuple[str, Verification]]:
    """With a recorder nothing is remembered: a recording holds all that its numbers rest on."""
    from monitor.pipeline.memory import ShortMemory
    from monitor.pipeline.verify import verify

    names = chain.markets()
    owners = {ref: [subject.owner for subject in chain.subjects if subject.ref == ref] for ref in names}
    memory = session.memory if recorder is None else ShortMemory()
    found = await verify(recorder or chain.chain, owners, memory, block, sample)
    return [(names[one.ref], one) for one in found]


def _tell(done: list[tuple[str, Verification]]) -> None:
    """One line per market and run of blocks; every difference in full."""
    from monitor.cli.screen import colour

    shown = 0
    for name in dict.fromkeys(name for name, _ in done):
        mine = [verification for market, verification in done if market == name]
        compared = [one for verification in mine for one in verification.comparisons]
        numbers = [verification.block.number for verification in mine]
        where = f"block {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} blocks {numbers[0]}..{numbers[-1]}"
        version = next((one.version for one in compared if one.version), "")
        rules = f"{mine[0].ref.protocol} {version}".strip()
        click.echo(f"{name} ({rules}, {where}): {sum(one.exact for one in compared)} of {len(compared)} exact")
        for trouble in dict.fromkeys(verification.trouble for verification in mine if verification.trouble):
            click.echo(f"  {trouble}")
        for one in compared:
            if one.exact or shown == SHOWN:
                continue
            shown += 1
            head = f"  {one.owner} at block {one.block.number} " + ("differs" if one.difference else "is unknown")
            click.echo(click.style(head, fg="red", bold=True), color=colour())
            for line in _difference(one) if one.contract and one.recomputed else [one.difference or one.error]:
                click.echo(f"    {line}")
    if shown == SHOWN:
        click.echo("  further differences are in the output of --json")


def _difference(one: Comparison) -> Iterator[str]:
    yield f"{'field':<28} {'contract':>28} {'recomputed':>28} {'difference':>12}"
    for name, theirs in one.contract.items():
        ours = one.recomputed.get(name)
        if ours != theirs:
            gap = "" if ours is None else f"{ours - theirs:+d}"
            yield f"{name:<28} {theirs:>28} {'nothing' if ours is None else ours:>28} {gap:>12}"


def _json_lines(name: str, verification: Verification) -> Iterator[str]:
    for one in verification.comparisons:
        yield json.dumps(
            {
                "schema": SCHEMA,
                "id": one.ref.position_id(one.owner),
                "market": name,
                "owner": one.owner,
                "version": one.version,
                "block": {"number": str(one.block.number), "hash": one.block.hash},
                "exact": one.exact,
                "contract": {key: str(value) for key, value in one.contract.items()},
                "recomputed": {key: str(value) for key, value in one.recomputed.items()},
                "errors": [text for text in (one.difference, one.error) if text],
            },
            separators=(",", ":"),
        )
    if verification.trouble:
        block = {"number": str(verification.block.number), "hash": verification.block.hash}
        yield json.dumps(
            {"schema": SCHEMA, "market": name, "block": block, "exact": False, "errors": [verification.trouble]},
            separators=(",", ":"),
        )
