"""A JSON-RPC server that is as bad as it is told to be, in front of a real anvil.

Rules are tried in order for each HTTP request; the first that applies answers it, else it is passed on. What is passed
on can be limited to a view of the chain (`visible`) and edited item by item (`edits`). All is seeded and counted.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from aiohttp import web

Item = dict[str, Any]
Edit = Callable[[Item, Item], Item | None]
"""(request, answer) -> another answer; None drops the item."""
GONE = {"code": -32001, "message": "Resource not found"}


@dataclass
class Exchange:
    """One HTTP request as the proxy sees it: its items, and how many came before it."""

    proxy: FaultProxy
    request: web.Request
    items: list[Item]
    nth: int

    def methods(self) -> list[str]:
        return [item["method"] for item in self.items]

    async def answers(self) -> list[Item]:
        return await self.proxy.forward(self.items)

    def reply(self, answers: list[Item]) -> web.Response:
        return web.json_response(answers if len(self.items) > 1 else answers[0])


Act = Callable[[Exchange], Awaitable[web.StreamResponse]]


@dataclass
class Rule:
    """`act` answers requests that hold `method` (None: all), from the first on, `times` times (None: always)."""

    act: Act
    method: str | None = None
    times: int | None = None
    used: int = 0

    def applies(self, exchange: Exchange) -> bool:
        if self.method is not None and self.method not in exchange.methods():
            return False
        return self.times is None or self.used < self.times


@dataclass
class Seen:
    """What reached the proxy."""

    requests: int = 0
    methods: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


class FaultProxy:
    """One bad endpoint on a free loopback port. An async context manager."""

    def __init__(self, upstream: str, seed: int = 0) -> None:
        self.upstream = upstream
        self.random = random.Random(seed)
        self.rules: list[Rule] = []
        self.edits: list[Edit] = []
        self.visible: Callable[[], int] | None = None
        """the highest block number that this endpoint has; None: all"""
        self.seen = Seen()
        self.sockets: list[web.WebSocketResponse] = []
        self.ws_connections = 0
        self._subscribed = asyncio.Condition()
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._never = asyncio.Event()

    def on(self, act: Act, method: str | None = None, times: int | None = None) -> Rule:
        rule = Rule(act, method, times)
        self.rules.append(rule)
        return rule

    @property
    def ws_url(self) -> str:
        return self.url.replace("http://", "ws://")

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        if self._session is not None:
            await self._session.close()

    async def stop(self) -> None:
        """From here on connections are refused."""
        self._never.set()
        for socket in self.sockets:
            await socket.close()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    # -- answering ---------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request)
        content = await request.json()
        items = content if isinstance(content, list) else [content]
        self.seen.requests += 1
        self.seen.methods.extend(item["method"] for item in items)
        self.seen.paths.append(request.path_qs)
        exchange = Exchange(self, request, items, self.seen.requests)
        for rule in self.rules:
            if rule.applies(exchange):
                rule.used += 1
                return await rule.act(exchange)
        return exchange.reply(await exchange.answers())

    async def forward(self, items: list[Item]) -> list[Item]:
        """anvil's answers, seen through `visible` and `edits`."""
        answers = []
        for item in items:
            answer = await self._one(item)
            for edit in self.edits:
                edited = edit(item, answer) if answer else None
                answer = edited if edited is not None else {}
            if answer:
                answers.append(answer)
        return answers

    async def _one(self, item: Item) -> Item:
        if self.visible is None:
            return await self.upstream_item(item)
        limit = self.visible()
        method, params = item["method"], list(item["params"])
        for place, value in enumerate(params):
            if value in {"latest", "safe", "finalized"} if isinstance(value, str) else False:
                params[place] = hex(limit)
            elif isinstance(value, dict) and "blockHash" in value and await self._number(value["blockHash"]) > limit:
                return self._says(item, error=GONE)
            elif isinstance(value, dict) and "toBlock" in value and int(value["toBlock"], 16) > limit:
                return self._says(item, result=[])  # what real laggards do: an empty list and no error
        if method == "eth_getBlockByNumber" and int(params[0], 16) > limit:
            return self._says(item, result=None)
        if method == "eth_getBlockByHash" and await self._number(params[0]) > limit:
            return self._says(item, result=None)
        return await self.upstream_item({**item, "params": params})

    def _says(self, item: Item, **what: Any) -> Item:
        return {"jsonrpc": "2.0", "id": item["id"], **what}

    async def _number(self, block_hash: str) -> int:
        answer = await self.ask("eth_getBlockByHash", block_hash, False)
        return int(answer["number"], 16) if answer else 2**63

    async def ask(self, method: str, *params: Any) -> Any:
        """anvil's own result, past all faults."""
        answer = await self.upstream_item({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
        return answer.get("result")

    async def upstream_item(self, item: Item) -> Item:
        assert self._session is not None
        async with self._session.post(self.upstream, json=item) as response:
            answer: Item = await response.json()
            return answer

    # -- WebSocket ---------------------------------------------------------------------------------------------------

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async with self._subscribed:
            self.ws_connections += 1
            self._subscribed.notify_all()
        async for message in socket:
            asked = json.loads(message.data)
            await socket.send_json({"jsonrpc": "2.0", "id": asked["id"], "result": "0x1"})
        self.sockets.remove(socket)
        return socket

    async def subscribed(self, count: int) -> None:
        """Return once so many connections have been made in all."""
        async with self._subscribed:
            await self._subscribed.wait_for(lambda: self.ws_connections >= count)

    async def push(self, head: Any) -> None:
        """Tell every subscriber of a head, true or not."""
        for socket in list(self.sockets):
            params = {"subscription": "0x1", "result": head}
            await socket.send_json({"jsonrpc": "2.0", "method": "eth_subscription", "params": params})

    # -- faults ------------------------------------------------------------------------------------------------------

    async def hold(self, _: Exchange) -> web.StreamResponse:
        """Accept and never answer."""
        await self._never.wait()
        return web.Response(status=500)

    async def drip(self, exchange: Exchange) -> web.StreamResponse:
        """One byte at a time, for ever: each read succeeds, the answer never ends."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(exchange.request)
        while not self._never.is_set():
            try:
                await response.write(b" ")
                await asyncio.wait_for(self._never.wait(), 0.01)
            except TimeoutError:
                continue
            except ConnectionError:
                break
        return response

    async def reset(self, exchange: Exchange) -> web.StreamResponse:
        """Half of the answer, then a reset connection."""
        body = json.dumps(await exchange.answers()).encode()
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(exchange.request)
        await response.write(body[: len(body) // 2])
        transport = exchange.request.transport
        assert transport is not None
        transport.abort()
        return response


def says(body: str | bytes, status: int = 200, **headers: str) -> Act:
    """Always the same text."""

    async def act(_: Exchange) -> web.StreamResponse:
        content = body if isinstance(body, bytes) else body.encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=content, headers={"Content-Type": "text/html", **named})

    return act


def edits(edit: Callable[[list[Item]], Any]) -> Act:
    """anvil's answers with the whole list changed before it leaves."""

    async def act(exchange: Exchange) -> web.StreamResponse:
        changed = edit(await exchange.answers())
        return web.json_response(changed)

    return act


def flood(piece: bytes, times: int) -> Act:
    """`piece` over and over, `times` times, or until the other side has had enough."""

    async def act(exchange: Exchange) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(exchange.request)
        for _ in range(times):
            try:
                await response.write(piece)
            except ConnectionError:
                break
        return response

    return act
