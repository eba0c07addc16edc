"""Serves the routes of one daemon at an address of this machine, for as long as it runs."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from monitor.core.errors import ConfigError
from monitor.status.routes import local_only

_EXAMPLE = "write ADDRESS:PORT, such as 127.0.0.1:9464"


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen. `local`: nobody but this machine can ask."""

    host: str
    port: int
    local: bool


def place(text: str, *, public: bool = False) -> Place:
    """ADDRESS:PORT; other machines only where that is said plainly. May raise: ConfigError."""
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[0-9.]+|localhost):(\d{1,5})", text.strip())
    if found is None or int(found[2]) > 65_535:
        raise ConfigError(f"--listen: {text[:80]!r} is no address with a port", hint=_EXAMPLE)
    host = "127.0.0.1" if found[1] == "localhost" else found[1].strip("[]")
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise ConfigError(f"--listen: {host!r} is no address", hint=_EXAMPLE) from None
    if not local and not public:
        raise ConfigError(
            f"--listen: other machines could ask {host}, and nobody is asked who they are",
            hint="listen on 127.0.0.1 behind a proxy that asks, or add --listen-public",
        )
    return Place(host, int(found[2]), local)


@asynccontextmanager
async def listening(at: Place, routes: Sequence[web.RouteDef]) -> AsyncIterator[str]:
    """Answers the URL; with port 0 a free one was taken. May raise: ConfigError."""
    app = web.Application(middlewares=[local_only] if at.local else [], client_max_size=1024)
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, at.host, at.port).start()
        except OSError as failed:
            raise ConfigError(
                f"--listen: cannot listen on {at.host}:{at.port}: {failed.strerror}", hint="take another port"
            ) from None
        host, port = runner.addresses[0][:2]
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        await runner.cleanup()
