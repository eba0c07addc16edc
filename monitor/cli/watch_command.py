"""`levmon watch`: health at every new block; a live table on a terminal, lines of what changed in a pipe.

One task per chain feeds a short queue, so a slow reader makes blocks be skipped (and counted), never piled up.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import json_option, level_options, source_options

if TYPE_CHECKING:
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
@json_option
def command(
    owners: tuple[str, ...], count: int | None, heartbeat: float, poll: float | None, as_json: bool, **source: Any
) -> int:
    """Health of positions at every new block, until Ctrl-C.

    On a terminal a table that renews itself; in a pipe a line for each change of a level. With --json every position
    at every block.

    Ends on SIGTERM, or after --count blocks, with check's exit code for what was seen last.
    """
    from monitor.cli.targets import Wanted

    return asyncio.run(_watch(Wanted(**source, owners=owners), count, heartbeat, poll, as_json))


async def _watch(wanted: Wanted, count: int | None, heartbeat_s: float, poll_s: float | None, as_json: bool) -> int:
    from monitor.cli.screen import live
    from monitor.cli.session import opened
    from monitor.cli.sinks import JsonLines, Lines, LiveTable
    from monitor.policy.levels import exit_code

    async with opened(wanted) as session, _until_sigterm() as stop:
        sink = JsonLines() if as_json else LiveTable() if live() else Lines(heartbeat_s)
        queue: asyncio.Queue[tuple[Open, Tick]] = asyncio.Queue(maxsize=1)
        followers = [
            asyncio.create_task(_follow(session, chain, poll_s, queue)) for chain in session.chains if chain.subjects
        ]
        ended = asyncio.create_task(stop.wait())
        try:
            with sink:
                await _show(queue, {ended, *followers}, sink, count)
        finally:
            for task in (ended, *followers):
                task.cancel()
            await asyncio.gather(ended, *followers, return_exceptions=True)
        return exit_code(sink.levels())


async def _follow(session: Session, chain: Open, poll_s: float | None, queue: asyncio.Queue[tuple[Open, Tick]]) -> None:
    from monitor.pipeline.watch import watch

    async with aclosing(watch(chain.chain, chain.subjects, session.memory, chain.heads(poll_s), chain.depth)) as ticks:
        async for tick in ticks:
            await queue.put((chain, tick))


async def _show(
    queue: asyncio.Queue[tuple[Open, Tick]], enders: AbstractSet[asyncio.Task[Any]], sink: Sink, count: int | None
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
            seen += tick.trouble is None
    finally:
        got.cancel()


@asynccontextmanager
async def _until_sigterm() -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError, RuntimeError):  # Windows, or not the main thread: then only Ctrl-C ends it
        loop.add_signal_handler(signal.SIGTERM, stop.set)
    try:
        yield stop
    finally:
        with suppress(NotImplementedError, RuntimeError):
            loop.remove_signal_handler(signal.SIGTERM)
