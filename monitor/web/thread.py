"""Pages in a thread of their own, with a loop of their own: thousands of positions are judged in the other meanwhile.

The board belongs to this thread; the watch hands each tick over and never waits. If the thread ends, `ended` tells.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Self

from aiohttp import web

from monitor.core.errors import ConfigError

BACKLOG = 64
DRAIN_S = 1.0
LINE_BYTES = 65_536
"""Of a request's first line: every question that the API describes fits, however its letters are escaped."""


def bound(host: str, port: int) -> socket.socket:
    """A socket there; port 0 takes a free one. May raise: ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except OSError as failed:
        made.close()
        hint = "choose another place with --listen"
        raise ConfigError(f"cannot listen on {host}:{port}: {failed.strerror}", hint=hint) from None
    return made


class PageThread:
    """Serves `make`'s application at a bound socket for as long as the context is open. `make` runs in the thread."""

    def __init__(self, listener: socket.socket, make: Callable[[], web.Application]) -> None:
        self._listener, self._make = listener, make
        self._thread = threading.Thread(target=self._run, name="pages", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready: Future[None] = Future()
        self.ended: Future[None] = Future()

    def __enter__(self) -> Self:
        """May raise: whatever made the thread fail to start."""
        self._thread.start()
        self._ready.result()
        return self

    def __exit__(self, *_: object) -> None:
        if self._stop is not None:
            self.call(self._stop.set)
        self._thread.join()
        self._listener.close()

    def call(self, work: Callable[[], None]) -> None:
        """Do this in the thread, soon and in order. Nothing is done once it has ended."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as failed:  # noqa: BLE001  # handed over whole to who waits in the other thread
            if not self._ready.done():
                self._ready.set_exception(failed)
            self.ended.set_exception(failed)
        else:
            self.ended.set_result(None)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        runner = web.AppRunner(
            self._make(), access_log=None, handle_signals=False, shutdown_timeout=DRAIN_S, max_line_size=LINE_BYTES
        )
        await runner.setup()
        try:
            await web.SockSite(runner, self._listener, backlog=BACKLOG).start()
            self._ready.set_result(None)
            await self._stop.wait()
        finally:
            await runner.cleanup()
