"""/healthz, /readyz and /metrics. Only read, without a body; nothing here takes a parameter.

/healthz says that the event loop comes round, and touches nothing else. /readyz says why not. With `local` a request
whose Host is not this machine is refused, so that no page in a browser reads along under another name.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from monitor.status.checks import Readiness
from monitor.status.metrics import Numbers

LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def routes(readiness: Readiness, numbers: Numbers) -> list[web.RouteDef]:
    """To be added to any application."""
    registry = numbers.registry()

    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="alive\n", headers=_HEADERS)

    async def ready(_: web.Request) -> web.Response:
        found = await readiness.reasons()
        told = {"schema": "levmon.ready/1", "ready": not any(found.values()), "checks": found}
        status = 200 if told["ready"] else 503
        return web.Response(
            text=json.dumps(told) + "\n", status=status, content_type="application/json", headers=_HEADERS
        )

    async def metrics(_: web.Request) -> web.Response:
        numbers.checks = await readiness.reasons()
        headers = {**_HEADERS, "Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=generate_latest(registry), headers=headers)

    return [web.get("/healthz", alive), web.get("/readyz", ready), web.get("/metrics", metrics)]


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def local_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses what was asked of another name than this machine's."""
    name = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdecimal() else request.host
    if name.lower() not in LOCAL_NAMES:
        raise web.HTTPMisdirectedRequest(text="ask for 127.0.0.1\n")
    return await handler(request)
