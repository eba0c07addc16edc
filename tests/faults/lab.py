"""The fault lab: an anvil for each scenario, with proxies before it and readers whose defences are the row's.

A scenario makes proxies and chains there, and asserts; tests/faults/rows.py makes it a test and a line of the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from monitor.chain.clock import SYSTEM, Clock
from monitor.chain.defences import Defences
from monitor.chain.endpoint import Endpoint
from monitor.chain.heads import Heads
from monitor.chain.pool import Patience
from monitor.chain.rpc_chain import RpcChain
from monitor.chain.transport import Limits
from monitor.core.errors import LevmonError
from monitor.core.types import Call
from monitor.testing.anvil import AnvilDevChain, AnvilProcess
from tests.faults.proxy import FaultProxy

ECHO = "0x" + "Ec" * 20
"""Answers its arguments: 600436038060046000376000f3."""
ECHO_CODE = "0x600436038060046000376000f3"
FAST = Patience(hedge_s=0.15, total_s=2.0, pause_s=0.01, tries=2)
SHORT = Limits(deadline_s=5, answer_bytes=4 * 1024 * 1024)


@dataclass
class Lab:
    """What a scenario works with. Everything that it makes is closed after it."""

    anvil: AnvilProcess
    defences: Defences
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def proxies(self, count: int = 1) -> list[FaultProxy]:
        return [await self.stack.enter_async_context(FaultProxy(self.anvil.url, seed)) for seed in range(count)]

    def chain(
        self,
        *proxies: FaultProxy | str,
        clock: Clock = SYSTEM,
        limits: Limits = SHORT,
        patience: Patience = FAST,
        **more: Any,
    ) -> RpcChain:
        """An RpcChain over these proxies, in this order, with the lab's defences."""
        urls = [proxy if isinstance(proxy, str) else proxy.url for proxy in proxies]
        chain = RpcChain(urls, clock=clock, limits=limits, patience=patience, defences=self.defences, **more)
        self.stack.push_async_callback(chain.close)
        return chain

    def heads(self, chain: RpcChain, **more: Any) -> Heads:
        """Heads of that chain with the lab's defences."""
        return Heads(chain, defences=self.defences, **more)

    def node(self) -> AnvilDevChain:
        """Direct control of anvil."""
        node = self.anvil.chain()
        self.stack.callback(node.close)
        return node

    def echo(self, node: AnvilDevChain | None = None) -> None:
        """Put the echo contract on the chain."""
        (node or self.node()).rpc("anvil_setCode", ECHO, ECHO_CODE)


def endpoint(chain: RpcChain, proxy: FaultProxy) -> Endpoint:
    """The endpoint that stands for a proxy."""
    alias = proxy.url.removeprefix("http://")
    return next(endpoint for endpoint in chain.pool.endpoints if endpoint.alias == alias)


def echo_call(number: int) -> Call:
    """A call whose right answer is `number`."""
    return Call(ECHO, "erc20.balanceOf", (f"0x{number:040x}",), allow_revert=True)


async def outcome(work: Awaitable[Any], within_s: float = 5.0) -> Any:
    """The result, or the error that it raised as a value, so that a wrong error is a failed assertion."""
    try:
        async with asyncio.timeout(within_s):
            return await work
    except (LevmonError, TimeoutError, RecursionError, MemoryError, ValueError, LookupError, TypeError) as error:
        return error


@asynccontextmanager
async def open_lab(defences: Defences) -> AsyncIterator[Lab]:
    """A lab with a fresh anvil. Afterwards nothing that it started may still run."""
    before = asyncio.all_tasks()
    with AnvilProcess() as anvil:
        lab = Lab(anvil, defences)
        async with lab.stack:
            yield lab
    await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() - before if not task.done()]
    assert left == [], left
