"""`levmon rehearse`: would the rescue of every protected position land? Tried on a throwaway fork, never for real."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import json_option, source_options
from monitor.core.errors import ConfigError

if TYPE_CHECKING:
    from monitor.cli.session import Open, Session
    from monitor.core.types import BlockRef
    from monitor.pipeline.guardians import Guardian, Protection
    from monitor.pipeline.rehearsal import Rehearsal
    from monitor.pipeline.stage import Stage
    from monitor.report import Subject


@click.command("rehearse")
@click.option("--anvil", type=click.Path(path_type=Path), help="The anvil to fork with.  [default: the one on PATH]")
@click.option("--in-place", is_flag=True, help="On a local chain (31337) itself, which is put back afterwards.")
@source_options
@json_option
def command(anvil: Path | None, in_place: bool, as_json: bool, **source: Any) -> int:
    """Shock every protected position on a fork until its rule acts, and see whether the rescue lands.

    Closes at a stop-loss or take-profit price are tried as well, each by itself. Where the guard sells, strangers trade
    its exchange to the shocked prices; what could not be made to follow is said.

    The fork runs on this machine and is thrown away. Rule, plan, limits and simulation are those of a real rescue; the
    guardian is impersonated there, so that no key is needed and no signer asked. Your endpoints are only read.

    Exits with 0 if every rescue would land, 4 else.
    """
    from monitor.cli.targets import Wanted

    return asyncio.run(_rehearse(Wanted(**source, every_market=True), anvil, in_place, as_json))


async def _rehearse(wanted: Any, anvil: Path | None, in_place: bool, as_json: bool) -> int:
    from monitor.cli.guarding import REFUSED, guardian_for
    from monitor.cli.protecting import protected_subjects
    from monitor.cli.screen import echo
    from monitor.cli.session import opened
    from monitor.pipeline.guardians import protections

    async with opened(wanted) as session:
        guardian = guardian_for(session.targets, None)
        config = session.targets.config
        rules = protections(config) if config is not None else ()
        found = [(chain, protected_subjects(chain, session.targets, rules)) for chain in session.chains]
        if not any(subjects for _, subjects in found):
            raise ConfigError("no position is protected", hint="add [[protect]] to levmon.toml")
        failed = count = 0
        for chain, subjects in found:
            if not subjects:
                continue
            async for one in _on_stage(session, chain, subjects, guardian, anvil, in_place):
                count += 1
                failed += not one.lands
                if as_json:
                    click.echo(json.dumps(rehearsal_dict(one), separators=(",", ":")))
                else:
                    echo(rehearsal_lines(one))
        if not as_json:
            click.echo(f"{count - failed} of {count} rescues would land")
        return REFUSED if failed else 0


async def _on_stage(
    session: Session,
    chain: Open,
    subjects: dict[Subject, Protection],
    guardian: Guardian,
    anvil: Path | None,
    in_place: bool,
) -> Any:
    """Each position of the chain from the same state; progress goes to standard error."""
    from monitor.pipeline.rehearsal import Rehearsing, aims
    from monitor.pipeline.snapshot import snapshot

    click.echo(f"{chain.name}: reading {len(subjects)} protected positions", err=True)
    # rules are confirmed on the chain itself, and then known on its fork
    taken = await snapshot(chain.chain, list(subjects), session.memory, depth=chain.depth, first=chain.first)
    if taken.block is None:
        raise ConfigError(f"{chain.name} cannot be read: {'; '.join(taken.errors)}", hint="levmon doctor")
    async with _stage(chain, taken.block, anvil, in_place) as stage:
        for number, (subject, protection) in enumerate(subjects.items(), 1):
            click.echo(
                f"{chain.name}: rehearsing {number} of {len(subjects)}: {subject.market}/{subject.owner}", err=True
            )
            for aim in aims(protection):
                before = await stage.snapshot()
                try:
                    block_s = max(chain.depth.next_block_s, 1)
                    yield await Rehearsing(stage, subject, protection, guardian, session.memory, block_s, aim).run()
                finally:
                    await stage.revert(before)


def _stage(chain: Open, block: BlockRef, anvil: Path | None, in_place: bool) -> AbstractAsyncContextManager[Stage]:
    from monitor.pipeline import stage

    if in_place:
        return stage.in_place(chain.chain)
    return stage.fork(chain.chain, block, stage.find_anvil(anvil))


# -- telling -----------------------------------------------------------------------------------------------------------


def rehearsal_dict(one: Rehearsal) -> dict[str, Any]:
    """The object of schema `levmon.rehearsal/1`."""
    from monitor.cli.guarding import plan_dict
    from monitor.core.text import clean
    from monitor.pipeline.acting import ratio
    from monitor.policy.planner import shown

    healths = {"before": one.before, "triggered": one.triggered, "after": one.after}
    return {
        "schema": "levmon.rehearsal/1",
        "position": one.subject.id,
        "aim": one.aim.value,
        "lands": one.lands,
        "why": clean(one.why, 2000),
        "notes": [clean(note, 400) for note in one.notes],
        "health": {
            name: None if health is None else {"ratio": ratio(health), "shown": shown(health)}
            for name, health in healths.items()
        },
        "prices": [
            {"symbol": clean(fall.symbol), "before": str(fall.before), "after": str(fall.after)} for fall in one.falls
        ],
        "steps": [
            {**plan_dict(rung.plan), "gas_used": str(rung.gas_used), "fee_wei": str(rung.fee_wei)} for rung in one.rungs
        ],
    }


def rehearsal_lines(one: Rehearsal) -> Iterator[str]:
    """The position, what was done to it, and whether its rescue landed."""
    from monitor.core.text import clean
    from monitor.core.units import format_ratio, format_units
    from monitor.policy.planner import shown
    from monitor.policy.rules import Aim

    verdict = click.style("would land", fg="green") if one.lands else click.style("WOULD NOT LAND", fg="red", bold=True)
    aim = "" if one.aim is Aim.RAISE else f"  {one.aim.value}"
    yield click.style(f"{one.subject.market}/{one.subject.owner}", bold=True) + f"{aim}  {verdict}"
    for fall in one.falls:
        change = format_ratio((fall.after - fall.before) * 100, fall.before, 2)
        yield f"  {clean(fall.symbol, 40)} {change} %"
    if one.before is not None and one.triggered is not None:
        yield f"  health {shown(one.before)} -> {shown(one.triggered)}: the rule acts"
    for rung in one.rungs:
        plan = rung.plan
        amount = f"{format_units(plan.amount, plan.decimals)} {clean(plan.symbol, 20)}"
        cost = format_units(rung.fee_wei, 18)
        yield f"  {plan.intent.kind.rpartition('/')[2]} {amount}: {rung.gas_used} gas, {cost} of the chain's coin"
    if one.rungs and one.after is not None:
        yield f"  health after {shown(one.after)}"
    yield from (f"  {clean(note, 400)}" for note in one.notes)
    if one.why:
        yield f"  {clean(one.why, 2000)}"
