"""New heads over WebSocket, taken as hints only: whatever arrives means no more than `ask now`.

So it does not matter if messages are lost, late, doubled, out of order or lies. A connection that breaks, or says
nothing for too long, is made anew; that too is a hint, since something may have been missed.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import aiohttp

from monitor.chain.clock import SYSTEM, Clock
from monitor.chain.defences import ALL, Defences
from monitor.chain.jsonrpc import parse
from monitor.core.errors import BadAnswer, ConfigError
from monitor.core.secret import WEBSOCKET, RpcUrl

SUBSCRIBE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
MAX_MESSAGE_BYTES = 1024 * 1024
MAX_PAUSE_S = 30.0


class WebSocketHints:
    """Starts at the first `wait` and ends with `close`. `reconnects` counts how often it had to begin anew."""

    def __init__(self, url: RpcUrl, *, mute_s: float = 60.0, clock: Clock = SYSTEM, defences: Defences = ALL) -> None:
        """`mute_s`: after so many seconds without a message the connection counts as dead. May raise: ConfigError."""
        if url.scheme not in WEBSOCKET:
            raise ConfigError(f"{url}: hints need a ws:// or wss:// URL", hint="list http:// URLs as `rpc`")
        self._url = url
        self._mute_s = mute_s if defences.watchdog else None
        self._clock = clock
        self._hint = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.reconnects = 0

    async def wait(self) -> None:
        """Return at the next hint. Hints that came meanwhile count as one."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        await self._hint.wait()
        self._hint.clear()

    async def _run(self) -> None:
        pause_s = 1.0
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(_refuse)
        async with aiohttp.ClientSession(
            trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[trace]
        ) as session:
            while True:
                heard = False
                # whatever ends a connection, the answer is the same: a new one
                with suppress(aiohttp.ClientError, OSError, ValueError, TimeoutError, BadAnswer):
                    heard = await self._listen(session)
                self.reconnects += 1
                self._hint.set()
                pause_s = 1.0 if heard else min(pause_s * 2, MAX_PAUSE_S)
                await self._clock.sleep(pause_s)

    async def _listen(self, session: aiohttp.ClientSession) -> bool:
        """Until the connection ends or falls silent; whether anything was heard."""
        heard = False
        async with session.ws_connect(self._url.reveal(), max_msg_size=MAX_MESSAGE_BYTES) as socket:
            await socket.send_str(SUBSCRIBE)
            while True:
                try:
                    async with asyncio.timeout(self._mute_s):
                        message = await socket.receive()
                except TimeoutError:
                    return heard
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return heard
                content = parse(message.data.encode())
                if isinstance(content, dict) and content.get("method") == "eth_subscription":
                    heard = True
                    self._hint.set()

    async def close(self) -> None:
        """Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _refuse(*_: object) -> None:
    """aiohttp follows redirects of WebSockets and has no switch for it."""
    raise aiohttp.ClientError("redirected")
