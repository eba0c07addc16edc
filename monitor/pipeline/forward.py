"""A JSON-RPC server on loopback that passes reads on to a chain's endpoints, and nothing else.

A fork of a chain asks here instead of the endpoints themselves: so their URLs, which hold keys, stand in nobody's
command line, and whatever the fork does, no transaction can get past this door.
"""

from __future__ import annotations

from typing import Any, Self

from aiohttp import web

from monitor.chain.jsonrpc import Request, Result
from monitor.chain.rpc_chain import RpcChain
from monitor.core.errors import ChainError

READS = frozenset(
    {
        "eth_blockNumber",
        "eth_call",
        "eth_chainId",
        "eth_feeHistory",
        "eth_gasPrice",
        "eth_getAccount",
        "eth_getAccountInfo",
        "eth_getBalance",
        "eth_getBlockByHash",
        "eth_getBlockByNumber",
        "eth_getBlockReceipts",
        "eth_getCode",
        "eth_getLogs",
        "eth_getProof",
        "eth_getStorageAt",
        "eth_getTransactionByHash",
        "eth_getTransactionCount",
        "eth_getTransactionReceipt",
        "eth_maxPriorityFeePerGas",
        "net_version",
        "web3_clientVersion",
    }
)
MAX_BODY = 4 * 1024 * 1024


class Forward:
    """An async context manager; `refused` holds the methods that were not passed on."""

    def __init__(self, chain: RpcChain) -> None:
        self._chain = chain
        self.url = ""
        self.refused: list[str] = []
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_post("/", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            content = await request.json()
        except ValueError:
            return web.json_response(_error(None, -32700, "not JSON"))
        if isinstance(content, list):
            return web.json_response([await self._answer(item) for item in content])
        return web.json_response(await self._answer(content))

    async def _answer(self, item: Any) -> dict[str, Any]:
        asked = item if isinstance(item, dict) else {}
        number, method, params = asked.get("id"), asked.get("method"), asked.get("params") or []
        if method not in READS or not isinstance(params, list):
            self.refused.append(str(method))
            return _error(number, -32601, "only reads are passed on")
        try:
            (reply,) = await self._chain.pool.send([Request(method, tuple(params))])
        except ChainError as error:
            return _error(number, -32000, error.message)
        if isinstance(reply, Result):
            return {"jsonrpc": "2.0", "id": number, "result": reply.value}
        return _error(number, reply.code, reply.message)


def _error(number: Any, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}
