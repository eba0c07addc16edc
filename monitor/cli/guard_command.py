"""`levmon guard`: what an owner allows the guard on chain, and the transactions that would allow what is missing."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import json_option, source_options
from monitor.core.errors import ConfigError

if TYPE_CHECKING:
    from monitor.pipeline.consent import Owed

CAP = 1_000_000


@click.command("guard")
@click.argument("position", metavar="POSITION")
@click.option(
    "--cap", type=click.IntRange(1), default=CAP, show_default=True, help="Debt repaid a day at most, in USD."
)
@source_options
@json_option
def command(position: str, cap: int, as_json: bool, **source: Any) -> int:
    """What a position's owner allows the guard, and what the owner would have to send to allow what is missing.

    Settings that are asked for come from the position's [[protect]]. Nothing is signed: the owner's key is not ours.
    Check every transaction before you send it.

    Exits with 0 if nothing is missing, 4 if something is.
    """
    from monitor.cli.guarding import with_position

    return asyncio.run(_guard(with_position(position, source), cap, as_json))


async def _guard(wanted: Any, cap: int, as_json: bool) -> int:
    from monitor.cli import screen
    from monitor.cli.guarding import REFUSED, guardian_for
    from monitor.cli.session import opened
    from monitor.pipeline import consent, plans
    from monitor.pipeline.guardians import ANY, protection_of, protections

    async with opened(wanted) as session:
        if len(session.subjects) != 1:
            raise ConfigError(f"that is {len(session.subjects)} positions", hint="name one, as MARKET/OWNER")
        [subject] = session.subjects
        guardian, config = guardian_for(session.targets, None), session.targets.config
        if subject.ref not in guardian.guards:
            raise ConfigError(f"no guard is configured for {subject.market}", hint="add [guardian.guards.MARKET]")
        chain = next(one for one in session.chains if one.subjects)
        seen = await plans.outlook(
            *(chain.chain, chain.subjects, guardian.address, session.memory),
            depth=chain.depth,
            first=chain.first,
            guards=guardian.guards,
        )
        report, purse = seen.snapshot.reports[0], seen.purses.get(subject.ref)
        guard = getattr(purse, "guard", None)
        state = seen.snapshot.markets[subject.ref].known
        if report.position is None or report.health is None or guard is None or state is None:
            raise ConfigError(f"the guard could not be read: {report.cause}")
        decimals = report.health.unit.decimals
        rule = (protection_of(protections(config), subject.id) if config else None) or ANY
        tokens = {
            f"a{reserve.symbol}": (reserve.a_token, allowed)
            for reserve in state.facts.reserves
            if (allowed := guard.allowance(report.position.owner, reserve.asset)) is not None
        }
        lines = consent.said(guard, report.position, decimals)
        owed = consent.owed(guard, report.position, tokens, rule, cap * 10**decimals)
    if as_json:
        told = {
            "schema": "levmon.guard/1",
            "position": subject.id,
            "guard": guard.setup.contract,
            "said": lines,
            "missing": [{"to": one.to, "data": f"0x{one.data.hex()}", "does": one.does} for one in owed],
        }
        click.echo(json.dumps(told, separators=(",", ":")))
    else:
        screen.echo(_lines(guard.setup.contract, lines, owed))
    return REFUSED if owed else 0


def _lines(contract: str, lines: list[str], owed: list[Owed]) -> list[str]:
    shown = [f"guard {contract}", *(f"  {line}" for line in lines), ""]
    if not owed:
        return [*shown, "nothing is missing"]
    shown.append("missing; its owner would send, in this order:")
    for number, one in enumerate(owed, 1):
        shown += [f"{number}. {one.does}", f"   to   {one.to}", f"   data 0x{one.data.hex()}"]
    return shown
