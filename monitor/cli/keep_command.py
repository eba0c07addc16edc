"""`levmon keep`: a whole market block by block, and for keepers the liquidations that it offers.

The mirror follows the market at the cost of what changed. Each new block is judged at once; what can wait (the audit,
saving to disk) is done between heads. SIGTERM drains what was signed, saves, and ends. Alert channels are told what
becomes of actions and when the market cannot be read; not who is near, which in a whole market is always somebody.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.crowds import discovered, market_options, one_market, read_owners, say, shown_owner
from monitor.cli.options import Threshold, care_options, json_option
from monitor.core.errors import ConfigError
from monitor.core.units import format_ratio

if TYPE_CHECKING:
    from monitor.chain.heads import Head
    from monitor.cli.attending import Care
    from monitor.cli.crowds import One
    from monitor.core.errors import LevmonError
    from monitor.core.types import BlockRef
    from monitor.pipeline.hunting import Hunter, News
    from monitor.pipeline.keeping import Keeper, Look
    from monitor.pipeline.telling import Blocks, Teller
    from monitor.status.board import MarketRow

TICK_S = 0.5
DRAIN_S = 20.0
LISTED = 5
"""So many of those near liquidation are in a line for people."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to keep: until when, how often, as what, and whether anything is sent."""

    near: Fraction
    count: int | None
    poll_s: float | None
    liquidate: bool
    broadcast: bool
    flash: bool
    as_json: bool
    care: Care

    @property
    def say(self) -> Callable[[str], None]:
        """What is said beside the blocks."""
        from monitor.cli.log_lines import say as say_json

        return say_json if self.care.log_json else say


@dataclass(frozen=True, slots=True)
class Voice:
    """Who tells the board, and the alert channels of one market where some are set up or anything is sent."""

    teller: Teller | None
    market: str
    blocks: Blocks
    row: MarketRow

    async def saw(self, look: Look, skipped: int) -> None:
        """A block that was judged: it is a heartbeat, and may have taken alerts with the one before it."""
        row = self.row
        row.accounts, row.unhealthy, row.near = look.accounts, len(look.unhealthy), len(look.near)
        row.unknown, row.took_s = look.unknown, look.took_s
        row.chain.looked(look.block, skipped=skipped, reorganised=look.undone > 0)
        if self.teller is None:
            return
        counts = f"{look.accounts:,} accounts, {len(look.unhealthy):,} below 1, {look.unknown:,} unknown"
        self.teller.pulse(f"{self.market}: {counts}")
        self.teller.blind(self.market, "", look.block)
        await self.teller.settle(look.block.chain_id, self.blocks, reorganised=look.undone > 0)

    def missed(self, why: str) -> None:
        self.row.chain.looked(None, trouble=why)
        if self.teller is not None:
            self.teller.blind(self.market, why, None)


@click.command("keep")
@click.argument("market", metavar="MARKET")
@click.option(
    "--near", type=Threshold(), default="1.05", show_default=True, help="List accounts whose health is below this."
)
@click.option("--liquidate", is_flag=True, help="Look for what liquidating would bring, with [guardian.liquidate].")
@click.option("--broadcast", is_flag=True, help="Do it: sign and send, if [guardian] says armed = true.")
@click.option("--flash", is_flag=True, help="Pay with flash loans, through [guardian.liquidate.flash].")
@click.option("--count", type=click.IntRange(1), help="Stop after so many blocks.  [default: go on until SIGTERM]")
@click.option(
    "--poll", type=click.FloatRange(0.05), help="Seconds between questions for a new block. [default: by chain]"
)
@market_options
@care_options
@json_option
def command(
    market: str,
    *,
    near: Fraction,
    liquidate: bool,
    broadcast: bool,
    flash: bool,
    count: int | None,
    poll: float | None,
    owners_file: Path | None,
    as_json: bool,
    listen: str | None,
    listen_public: bool,
    log_json: bool,
    **source: Any,
) -> int:
    """Follow every account of MARKET, and list at each block who is near liquidation.

    The first run reads all borrowers; later ones go on from disk. With --json one object a block, with everybody who is
    near. With --liquidate every unhealthy account is priced; with --broadcast too the best is sent, within the limits
    of [guardian.liquidate].

    Exits with 1 if anybody was below 1 at the last block, else with 3 if anybody was unknown, else with 0.
    """
    if broadcast and not liquidate:
        raise ConfigError("--broadcast does nothing here without --liquidate", hint="add --liquidate")
    from monitor.cli.attending import Care

    care = Care(listen, listen_public, log_json)
    way = Way(near, count, poll, liquidate, broadcast, flash, as_json or log_json, care)
    return asyncio.run(_keep(market, way, owners_file, source))


async def _keep(market: str, way: Way, owners_file: Path | None, source: dict[str, Any]) -> int:
    from monitor.chain.clock import SYSTEM
    from monitor.cli.attending import attended, board_of
    from monitor.cli.guarding import guardian_for
    from monitor.cli.signals import until_sigterm
    from monitor.cli.telling import BlocksOf, telling
    from monitor.pipeline.keeping import Keeper, Terms
    from monitor.pipeline.watchdog import Watchdog
    from monitor.status.board import MarketRow

    async with AsyncExitStack() as opened:
        one = await opened.enter_async_context(one_market(market, source))
        stop = await opened.enter_async_context(until_sigterm())
        await opened.enter_async_context(Watchdog())
        board = board_of("keep", {one.chain.name: (one.chain, ())}, armed=way.broadcast)
        row = MarketRow(one.name, board.chains[0])
        board.markets.append(row)
        care = await opened.enter_async_context(attended(way.care, board, way.say))
        chain = one.chain.chain
        block = one.chain.first or await chain.block("latest")

        async def borrowers(whole: Any, until: BlockRef) -> list[bytes]:
            return [row.tobytes() for row in await discovered(one, whole, until)]

        keeper = Keeper(chain, one.ref, one.name, one.session.memory, borrowers, Terms(way.near), say=way.say)
        owners = [bytes.fromhex(owner[2:]) for owner in read_owners(owners_file)] if owners_file else None
        began = SYSTEM.monotonic()
        said = await keeper.start(block, owners)
        way.say(f"{one.name}: {said}, {SYSTEM.monotonic() - began:.1f} s")
        with ExitStack() as stack:
            hunter = _hunter(one, way, stack) if way.liquidate else None
            journal = hunter.journal if hunter is not None else None
            does = "liquidates" if way.broadcast else "prices liquidations" if way.liquidate else "only watches"
            try:
                async with telling(one.session, journal, way.say, lambda _: "", f"keep {one.name} ({does})") as teller:
                    guardian = guardian_for(one.session.targets, None) if way.broadcast else None
                    care.depends_on(teller, journal, guardian)
                    voice = Voice(teller, one.name, BlocksOf(one.session, one.chain), row)
                    last = await _follow(one, keeper, hunter, voice, way, stop)
                    board.draining = True
            finally:
                keeper.save()
        if last is None:
            return 3
        return 1 if last.unhealthy else 3 if last.unknown else 0


def _hunter(one: One, way: Way, stack: ExitStack) -> Hunter:
    """May raise: ConfigError, JournalError."""
    from monitor.cli.guarding import liquidating_guardian, require_armed
    from monitor.cli.sending import open_acting
    from monitor.pipeline.hunting import Hunter
    from monitor.pipeline.liquidations import Wishes

    guardian = liquidating_guardian(one.session.targets)
    acting = None
    if way.broadcast:
        require_armed(guardian)
        acting = stack.enter_context(open_acting(one.session, one.chain, guardian))
    wishes = Wishes(flash=way.flash)
    return Hunter(one.chain.chain, one.ref, one.name, guardian, one.session.memory, wishes, acting)


async def _follow(
    one: One, keeper: Keeper, hunter: Hunter | None, voice: Voice, way: Way, stop: asyncio.Event
) -> Look | None:
    """Heads until told to stop; the last look."""
    from monitor.chain.heads import Trouble
    from monitor.cli.newest import newest_heads, next_head
    from monitor.core.errors import CallFailed, ChainError, ProtocolError

    last: Look | None = None
    seen = 0
    if hunter is not None:
        _tell(await hunter.step(), way)  # recovery comes before the first look
    async with newest_heads(one.chain, way.poll_s) as heads:
        while not stop.is_set():
            event = await next_head(heads, TICK_S)
            try:
                if event is None:
                    if hunter is not None and hunter.busy:
                        _tell(await hunter.step(), way)
                    continue
                if isinstance(event, Trouble):
                    _trouble(one, event.error, last, voice, way)
                    continue
                last = await _look(one, keeper, hunter, voice, way, event, last) or last
            except (ChainError, CallFailed, ProtocolError) as error:
                _trouble(one, error, last, voice, way)
                continue
            seen += 1
            if way.count is not None and seen >= way.count:
                break
    if hunter is not None:
        await _drain(hunter, way)
    return last


async def _look(
    one: One, keeper: Keeper, hunter: Hunter | None, voice: Voice, way: Way, head: Head, last: Look | None
) -> Look | None:
    """One head: judged, shown, acted upon; then what could wait. May raise: ChainError."""
    arrived_s = time.monotonic()
    look = await keeper.look(head.block, arrived_s)
    if look is None:
        return None
    _show(one, look, head.skipped, last, way)
    if hunter is not None:
        _tell(await hunter.look([shown_owner(at.owner) for at in look.unhealthy], look.block), way)
    await voice.saw(look, head.skipped)
    return await keeper.settle(time.monotonic()) or look


async def _drain(hunter: Hunter, way: Way) -> None:
    """Nothing new is decided; what may have been signed is sent, or left for the next start after a while."""
    hunter.draining = True
    end = time.monotonic() + DRAIN_S
    while hunter.busy and time.monotonic() < end:
        _tell(await hunter.step(), way)
        await asyncio.sleep(TICK_S)


# -- showing -----------------------------------------------------------------------------------------------------------


def _show(one: One, look: Look, skipped: int, last: Look | None, way: Way) -> None:
    if way.as_json:
        told = look_dict(one.name, look, skipped)
        if way.care.log_json:
            told["near"] = told["near"][:LISTED]
        click.echo(json.dumps(told, separators=(",", ":")))
        return
    click.echo(line(look, skipped, way))
    listed = [at.owner for at in look.near[:LISTED]]
    if last is None or listed != [at.owner for at in last.near[:LISTED]]:
        for at in look.near[:LISTED]:
            click.echo(f"    {format_ratio(at.numerator, at.denominator, 4)}  {shown_owner(at.owner)}")


def look_dict(market: str, look: Look, skipped: int) -> dict[str, Any]:
    """The object of schema `levmon.keep/1`."""
    block = look.block
    return {
        "schema": "levmon.keep/1",
        "market": market,
        "block": {"number": str(block.number), "hash": block.hash, "timestamp": str(block.timestamp)},
        "accounts": look.accounts,
        "changed": look.changed,
        "skipped": skipped,
        "undone": look.undone,
        "read_anew": look.whole or None,
        "unknown": look.unknown,
        "unhealthy": len(look.unhealthy),
        "near": [
            {"owner": shown_owner(at.owner), "num": str(at.numerator), "den": str(at.denominator)} for at in look.near
        ],
        "took_ms": round(look.took_s * 1000, 3),
    }


def line(look: Look, skipped: int, way: Way) -> str:
    """One block in one line; who is worst stands below it when that changes."""
    from monitor.policy.levels import decimal

    counts = f"{look.accounts:,} accounts, {look.changed:,} changed"
    near = f"{len(look.near):,} below {decimal(way.near)}"
    text = f"block {look.block.number}  {counts}, {near}, {len(look.unhealthy):,} below 1"
    if look.unknown:
        text += f", {look.unknown:,} unknown"
    text += f"  {look.took_s * 1000:.1f} ms"
    if skipped:
        text += f"  (blocks in between: {skipped})"
    if look.undone:
        text += f"  (blocks that left the chain: {look.undone})"
    if look.whole:
        text += f"  (all read anew: {look.whole})"
    return text


def _tell(news: list[News], way: Way) -> None:
    from monitor.core.text import clean

    for item in news:
        if way.as_json:
            told = {"schema": "levmon.event/1", "kind": item.kind, "position": item.position, "text": item.text}
            click.echo(json.dumps({**told, **item.fields}, separators=(",", ":")))
        else:
            click.echo(f"  {item.kind}  {item.position.rpartition('/')[2]}  {clean(item.text, 400)}")


def _trouble(one: One, error: LevmonError, last: Look | None, voice: Voice, way: Way) -> None:
    """What is not known is said, with the age of what was known last."""
    since = "" if last is None else f"; nothing is known since block {last.block.number}"
    voice.missed(error.message)
    if way.as_json:
        told = {"schema": "levmon.event/1", "kind": "trouble", "text": f"{error.message}{since}"}
        click.echo(json.dumps(told, separators=(",", ":")))
    else:
        say(f"{one.name}: {error.message}{since}")
