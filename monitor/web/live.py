"""The event stream of a page: first what has changed since it was made, then with every tick what changed by that.

What travels is what changed, and nothing where nothing did. A reader that does not keep up is sent the newest state
when it is ready, never a queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from monitor.web.board import Board
from monitor.web.view import View

READERS = 64
QUIET_S = 15.0
"""After so long a comment says that the line is there."""
STUCK_S = 20.0


class Live:
    """All open streams."""

    def __init__(self, board: Board, *, quiet_s: float = QUIET_S) -> None:
        self._board, self._quiet_s = board, quiet_s
        self.readers = 0
        self.sent_bytes = 0

    async def stream(self, request: web.Request, make: Callable[[], Awaitable[View]]) -> web.StreamResponse:
        """Answer with the events of the page that `make` makes, until the reader goes."""
        if self.readers >= READERS:
            return web.Response(status=503, text="levmon: too many open pages\n")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(request)
        self.readers += 1
        try:
            # the page was made a moment ago: whatever is different by now travels with the first event
            shown, seen = View("", "", {}), -1
            while True:
                try:
                    async with asyncio.timeout(self._quiet_s):
                        await self._board.changed(seen)
                except TimeoutError:
                    await self._write(response, ":\n\n")
                    continue
                seen = self._board.version
                fresh = await make()
                if told := fresh.changes(shown):
                    await self._write(response, f"data: {told}\n\n")
                shown = fresh
        except (ConnectionError, TimeoutError):
            return response
        finally:
            self.readers -= 1

    async def _write(self, response: web.StreamResponse, text: str) -> None:
        data = text.encode()
        async with asyncio.timeout(STUCK_S):
            await response.write(data)
        self.sent_bytes += len(data)
