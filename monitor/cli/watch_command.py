"""`levmon watch`: health at every new block; a live table on a terminal, lines of what changed in a pipe.

One task per chain feeds a short queue, so a slow reader makes blocks be skipped (and counted), never piled up.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import json_option, level_options, source_options

if TYPE_CHECKING:
    from monitor.cli.session import Open, Session
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

    async with opened(wanted) as session:
        sink = JsonLines() if as_json else LiveTable() if live() else Lines(heartbeat_s)
        seen = 0
        with sink:
            async with aclosing(_ticks(session, poll_s, sink.idle_s)) as ticks:
                async for item in ticks:
                    if item is None:
                        sink.idle()
                        continue
                    chain, tick = item
                    sink.show(chain.name, tick)
                    seen += tick.trouble is None
                    if count is not None and seen >= count:
                        break
        return exit_code(sink.levels())


async def _ticks(
    session: Session, poll_s: float | None, idle_s: float | None
) -> AsyncGenerator[tuple[Open, Tick] | None, None]:
    """The ticks of all chains as they come, until SIGTERM; None whenever nothing came for `idle_s` seconds."""
    from monitor.pipeline.watch import watch

    queue: asyncio.Queue[tuple[Open, Tick]] = asyncio.Queue(maxsize=1)

    async def follow(chain: Open) -> None:
        async for tick in watch(chain.chain, chain.subjects, session.memory, chain.heads(poll_s), chain.depth):
            await queue.put((chain, tick))

    async with _until_sigterm() as stop, asyncio.TaskGroup() as tasks:
        followers = [tasks.create_task(follow(chain)) for chain in session.chains if chain.subjects]
        stopped = tasks.create_task(stop.wait())
        got = tasks.create_task(queue.get())
        try:
            while True:
                await asyncio.wait([got, stopped], timeout=idle_s, return_when=asyncio.FIRST_COMPLETED)
                if stopped.done():
                    return
                if not got.done():
                    yield None
                    continue
                item = got.result()
                got = tasks.create_task(queue.get())
                yield item
        finally:
            for task in (*followers, stopped, got):
                task.cancel()


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
