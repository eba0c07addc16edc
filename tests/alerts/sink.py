"""A real HTTP server on loopback that takes alerts, and fails as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from monitor.core.secret import Secret, channel_url

TOKEN = "c4n4ry-of-the-channel"
SECRET = "c4n4ry-of-the-signature"


@dataclass
class Sink:
    """What came. `script`: what to do with the next requests, in order; then `mode`.

    ok, down (connection closed), 500, 429, slow, lost (taken, answer dropped), moved, refuse (400 unless plain).
    """

    port: int = 0
    mode: str = "ok"
    script: list[str] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    """of the answers"""
    closing: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """what else ends with it"""
    never: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> Secret:
        return channel_url(f"http://127.0.0.1:{self.port}/hook/{TOKEN}")

    @property
    def apprise_url(self) -> Secret:
        return channel_url(f"json://127.0.0.1:{self.port}/hook/{TOKEN}")

    @property
    def keys(self) -> list[str]:
        return [one["headers"].get("Idempotency-Key", "") for one in self.requests]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        got = {"headers": dict(request.headers), "body": body, "json": await request.json(), "path": request.path}
        self.requests.append(got)
        mode = self.script.pop(0) if self.script else self.mode
        if TOKEN not in request.path:
            return web.Response(status=401, text="who are you")
        if mode == "down":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if mode == "slow":
            await self.never.wait()
        if mode == "refuse" and len(body) > 300:
            return web.Response(status=400)
        if mode == "moved":
            return web.Response(status=307, headers={"Location": f"http://127.0.0.1:{self.port}/elsewhere/{TOKEN}"})
        if mode.isdecimal():
            return web.Response(status=int(mode), headers=self.headers)
        self.taken.append(got)
        if mode == "lost":
            assert request.transport is not None
            request.transport.abort()
        return web.Response(text="ok")


@asynccontextmanager
async def sink(mode: str = "ok") -> AsyncIterator[Sink]:
    made = Sink(mode=mode)
    app = web.Application()
    app.router.add_route("POST", "/{rest:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        made.never.set()
        for close in made.closing:
            await close()
        await runner.cleanup()
