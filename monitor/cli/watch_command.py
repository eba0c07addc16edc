"""`levmon watch`: health at every new block; a live table on a terminal, lines of what changed in a pipe.

One task per chain feeds a short queue, so a slow reader makes blocks be skipped (and counted), never piled up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from collections.abc import Set as AbstractSet
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import care_options, json_option, level_options, source_options
from monitor.cli.signals import until_sigterm

if TYPE_CHECKING:
    from monitor.cli.attending import Attended, Care
    from monitor.cli.recording import Recording
    from monitor.cli.session import Open, Session
    from monitor.cli.sinks import Sink
    from monitor.cli.targets import Wanted
    from monitor.pipeline.watch import Tick


@click.command("watch")
@click.argument("owners", nargs=-1, metavar="[OWNER]...")
@source_options
@level_options
@click.option("--count", type=click.IntRange(1), help="Stop after so many blocks.  [default: go on until Ctrl-C]")
@click.option(
    "--heartbeat",
    type=click.FloatRange(0),
    default=60,
    show_default=True,
    help="In a pipe, say every so many seconds that nothing changed.",
)
@click.option(
    "--poll", type=click.FloatRange(0.05), help="Seconds between questions for a new block. [default: by chain]"
)
@click.option("--no-alerts", is_flag=True, help="Only show; tell the channels of [alerts] nothing.")
@care_options
@json_option
def command(
    owners: tuple[str, ...],
    *,
    count: int | None,
    heartbeat: float,
    poll: float | None,
    no_alerts: bool,
    as_json: bool,
    listen: str | None,
    listen_public: bool,
    log_json: bool,
    **source: Any,
) -> int:
    """Health of positions at every new block, until Ctrl-C.

    On a terminal a table that renews itself; in a pipe a line for each change of a level. With --json every position
    at every block. Changes of a level also go to the channels of [alerts].

    Ends on SIGTERM, or after --count blocks, with check's exit code for what was seen last.
    """
    from monitor.cli.attending import Care
    from monitor.cli.targets import Wanted

    shown = Shown(count, heartbeat, poll, as_json, not no_alerts, Care(listen, listen_public, log_json))
    return asyncio.run(_watch(Wanted(**source, owners=owners), shown))


@dataclass(frozen=True, slots=True)
class Shown:
    """How to watch: until when, how often, as what, whether channels are told, and who looks after it."""

    count: int | None
    heartbeat_s: float
    poll_s: float | None
    as_json: bool
    alerts: bool
    care: Care

    def sink(self) -> Sink:
        from monitor.cli.log_lines import LogLines
        from monitor.cli.screen import live
        from monitor.cli.sinks import JsonLines, Lines, LiveTable

        if self.as_json:
            return JsonLines()
        if self.care.log_json:
            return LogLines(self.heartbeat_s)
        return LiveTable() if live() else Lines(self.heartbeat_s)

    @property
    def say(self) -> Callable[[str], None]:
        """What is said beside it."""
        from monitor.cli.log_lines import say

        return say if self.care.log_json else partial(click.echo, err=True)


async def _watch(wanted: Wanted, shown: Shown) -> int:
    from monitor.cli.resources import require_machine
    from monitor.cli.session import opened
    from monitor.pipeline.watchdog import Watchdog
    from monitor.policy.levels import exit_code

    async with opened(wanted) as session, until_sigterm() as stop, Watchdog():
        require_machine(sum(len(chain.chain.pool.endpoints) for chain in session.chains))
        sink = shown.sink()
        await follow(session, shown, sink, stop)
        return exit_code(sink.levels())


async def follow(
    session: Session,
    shown: Shown,
    sink: Sink,
    stop: asyncio.Event,
    enders: AbstractSet[asyncio.Future[Any]] = frozenset(),
    command: str = "watch",
) -> None:
    """Show ticks of all chains, keep them and tell the channels, until `stop`, the last block wanted, or an ender.

    `command` is what it was started as.
    """
    from monitor.cli.attending import attended, board_of
    from monitor.cli.recording import recording

    board = board_of(command, {one.name: (one, one.subjects) for one in session.chains if one.subjects})
    queue: asyncio.Queue[tuple[Open, Tick]] = asyncio.Queue(maxsize=1)
    followers = [
        asyncio.create_task(_follow(session, chain, shown.poll_s, queue)) for chain in session.chains if chain.subjects
    ]
    ended = asyncio.create_task(stop.wait())
    try:
        async with attended(shown.care, board, shown.say) as care, _told(session, shown, care) as told:
            with sink, recording(session.targets, shown.say) as kept:
                await _show(queue, {ended, *followers, *enders}, sink, kept, told, shown.count)
                board.draining = True
    finally:
        for task in (ended, *followers):
            task.cancel()
        await asyncio.gather(ended, *followers, return_exceptions=True)


async def _follow(session: Session, chain: Open, poll_s: float | None, queue: asyncio.Queue[tuple[Open, Tick]]) -> None:
    from monitor.pipeline.watch import watch

    async with aclosing(watch(chain.chain, chain.subjects, session.memory, chain.heads(poll_s), chain.depth)) as ticks:
        async for tick in ticks:
            await queue.put((chain, tick))


Telling = Callable[["Open", "Tick"], Awaitable[None]]


@asynccontextmanager
async def _told(session: Session, shown: Shown, care: Attended) -> AsyncIterator[Telling]:
    """What takes ticks to the board and to the channels of the file, where there are any.

    Says on standard error how they fare.
    """

    async def nobody(chain: Open, tick: Tick) -> None:
        care.saw(chain.name, tick)

    alerts = session.targets.config.alerts if shown.alerts and session.targets.config else None
    if alerts is None or not alerts.channels:
        yield nobody
        return
    from monitor.cli.telling import BlocksOf, telling

    blocks = {chain.chain_id: BlocksOf(session, chain) for chain in session.chains}
    what = f"watch ({len(session.subjects)} positions)"
    async with telling(session, None, shown.say, lambda _: "only watches", what) as teller:
        care.depends_on(teller, None, None)

        async def tell(chain: Open, tick: Tick) -> None:
            care.saw(chain.name, tick)
            if teller is not None:
                if tick.trouble is None:
                    await teller.settle(chain.chain_id, blocks[chain.chain_id], reorganised=tick.reorg is not None)
                teller.look(tick.snapshot.reports, tick.snapshot.block, tick.snapshot.outage)

        yield tell


async def _show(
    queue: asyncio.Queue[tuple[Open, Tick]],
    enders: AbstractSet[asyncio.Future[Any]],
    sink: Sink,
    kept: Recording,
    told: Telling,
    count: int | None,
) -> None:
    """Show ticks until one of `enders` is done (a failed one raises), or `count` blocks were seen."""
    seen = 0
    got = asyncio.create_task(queue.get())
    try:
        while count is None or seen < count:
            await asyncio.wait({got, *enders}, timeout=sink.idle_s, return_when=asyncio.FIRST_COMPLETED)
            done = [task for task in enders if task.done()]
            if done:
                for task in done:
                    task.result()
                return
            if not got.done():
                sink.idle()
                continue
            chain, tick = got.result()
            got = asyncio.create_task(queue.get())
            sink.show(chain.name, tick)
            kept.see(chain, tick)
            await told(chain, tick)
            seen += tick.trouble is None
    finally:
        got.cancel()
