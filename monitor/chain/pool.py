"""The endpoints of one chain: whom to ask, when to ask the next, and what to ask again.

An answer may come from any endpoint, because every read is pinned to a block hash. A failed endpoint is followed by the
next at once, a silent one after the hedge delay (and its late answer still counts); items of a batch that failed for
the node's sake are asked elsewhere, and only those. No endpoint is ever given up for good, least of all the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from monitor.chain.clock import SYSTEM, Clock
from monitor.chain.defences import ALL, Defences
from monitor.chain.endpoint import Endpoint
from monitor.chain.jsonrpc import Failure, Reply, Request
from monitor.chain.replies import Kind, kind
from monitor.chain.transport import LIMITS, HttpTransport, Limits
from monitor.core.errors import ChainError, ConfigError, RateLimited, RpcUnavailable
from monitor.core.secret import RpcUrl

T = TypeVar("T")
_MALFORMED = {-32600, -32601, -32602}
"""The question itself is refused; nobody else will like it better."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to hope, in seconds."""

    hedge_s: float = 0.7
    """for one endpoint, before another is asked as well"""
    total_s: float = 12.0
    """for endpoints that asked to be left alone"""
    pause_s: float = 0.2
    """before a second try when all have failed"""
    tries: int = 2
    hedges: float = 8
    """so many requests in a row may be sent to a second endpoint because the first is silent"""
    hedge_share: float = 0.1
    """and one in so many on average: a provider that is slow throughout must not double what is asked"""


PATIENCE = Patience()


class Pool:
    """The endpoints of one chain. The chain id is adopted from the first answer where it is not configured."""

    def __init__(
        self,
        urls: Sequence[RpcUrl],
        *,
        chain_id: int | None = None,
        limits: Limits = LIMITS,
        patience: Patience = PATIENCE,
        clock: Clock = SYSTEM,
        defences: Defences = ALL,
    ) -> None:
        """May raise: ConfigError."""
        if not urls:
            raise ConfigError("no RPC URL is configured", hint="give --rpc-url, or rpc = [...] in levmon.toml")
        self.chain_id = chain_id
        self.endpoints = [
            Endpoint(HttpTransport(url, limits=limits, clock=clock, defences=defences), clock, defences)
            for url in dict.fromkeys(urls)
        ]
        self._patience = patience
        self._clock = clock
        self._defences = defences
        self._hedges = patience.hedges

    @property
    def http_requests(self) -> int:
        """How many HTTP requests were sent so far."""
        return sum(endpoint.transport.traffic.requests for endpoint in self.endpoints)

    async def send(self, requests: Sequence[Request], *, need: int | None = None, critical: bool = True) -> list[Reply]:
        """One reply each, in order, from endpoints that have block `need`. May raise: ChainError.

        Only what is `critical` is asked of a second endpoint while the first is merely slow: bulk reads would cost
        twice, and nobody waits for them.
        """
        self._hedges = min(self._hedges + self._patience.hedge_share, self._patience.hedges)
        replies: dict[int, Reply] = {}
        todo = list(range(len(requests)))
        started = self._clock.monotonic()
        trouble: list[ChainError] = []
        for left in reversed(range(self._patience.tries)):
            waiting = self._order(need)
            while todo and waiting:
                won = await self._race([requests[n] for n in todo], waiting, trouble, critical)
                if won is None:
                    break
                endpoint, answers = won
                replies.update(zip(todo, answers, strict=True))
                todo = self._again(endpoint, todo, requests, replies)
            if (
                not todo
                or not left
                or not await self._wait(started, [replies[n] for n in todo if n in replies], trouble)
            ):
                break
        if len(replies) < len(requests):
            raise self._verdict(trouble)
        return [replies[n] for n in range(len(requests))]

    def _order(self, need: int | None) -> list[Endpoint]:
        """Best first. Those that rest are left alone; the shunned come in only where there is no other at all."""
        ranked = sorted(self.endpoints, key=lambda endpoint: endpoint.rank(need))
        usable = [endpoint for endpoint in ranked if endpoint.rank(need)[0] < 3]
        if not usable and not any(endpoint.resting_s > 0 for endpoint in ranked):
            usable = ranked
        return usable if self._defences.failover else self.endpoints[:1]

    async def _race(
        self, requests: Sequence[Request], waiting: list[Endpoint], trouble: list[ChainError], critical: bool
    ) -> tuple[Endpoint, list[Reply]] | None:
        """The first endpoint that answers, the next being started when one fails or is silent. Takes from `waiting`."""
        running: dict[asyncio.Task[tuple[int, list[Reply]]], Endpoint] = {}
        another = True
        try:
            while waiting or running:
                if waiting and another:
                    endpoint = waiting.pop(0)
                    running[asyncio.create_task(endpoint.ask(requests, self.chain_id))] = endpoint
                hedge_s = self._patience.hedge_s if waiting and self._may_hedge(critical) else None
                done, _ = await asyncio.wait(running, timeout=hedge_s, return_when=asyncio.FIRST_COMPLETED)
                another = bool(done) or self._hedged()
                for task in done:
                    endpoint = running.pop(task)
                    error = task.exception()
                    if error is None:
                        found, replies = task.result()
                        self.chain_id = found if self.chain_id is None else self.chain_id
                        for silent in running.values():
                            silent.slow()
                        return endpoint, replies
                    if not isinstance(error, ChainError):
                        raise error
                    trouble.append(error)
            return None
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _may_hedge(self, critical: bool) -> bool:
        return self._defences.hedge and (critical or not self._defences.hedge_cap)

    def _hedged(self) -> bool:
        """Whether one more request may go to a second endpoint; counts it."""
        if self._hedges < 1 and self._defences.hedge_cap:
            return False
        self._hedges -= 1
        return True

    async def each(
        self, endpoints: Sequence[Endpoint], work: Callable[[Endpoint], Coroutine[Any, Any, T]], enough: int
    ) -> tuple[list[tuple[Endpoint, T]], list[ChainError]]:
        """The same work at several endpoints at once: what came of it, and the errors.

        Once `enough` have answered, the others have only the hedge delay left. May raise: nothing of its own.
        """
        running = {asyncio.create_task(work(endpoint)): endpoint for endpoint in endpoints}
        answered: list[tuple[Endpoint, T]] = []
        trouble: list[ChainError] = []
        try:
            while running:
                hedge_s = self._patience.hedge_s if len(answered) >= enough and self._defences.hedge else None
                done, _ = await asyncio.wait(running, timeout=hedge_s, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                for task in done:
                    endpoint, error = running.pop(task), task.exception()
                    if error is None:
                        answered.append((endpoint, task.result()))
                    elif isinstance(error, ChainError):
                        trouble.append(error)
                    else:
                        raise error
            for endpoint in running.values():
                endpoint.slow()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return answered, trouble

    def _again(
        self, endpoint: Endpoint, asked: Sequence[int], requests: Sequence[Request], replies: dict[int, Reply]
    ) -> list[int]:
        """Which of the items that were just answered are worth asking another endpoint, whole groups together."""
        failed = [n for n in asked if self._retryable(endpoint, requests[n], replies[n])]
        groups = {requests[n].group for n in failed} - {0}
        return [n for n in asked if n in failed or requests[n].group in groups]

    def _retryable(self, endpoint: Endpoint, request: Request, reply: Reply) -> bool:
        if not isinstance(reply, Failure):
            lacks_block = reply.value is None and request.method.startswith("eth_getBlockBy")
            return lacks_block and self._defences.state_missing
        what = kind(reply)
        if what is Kind.RATE_LIMITED and self._defences.item_retry:
            endpoint.limited(reply)
            return True
        if what is Kind.STATE_MISSING:
            return self._defences.state_missing
        return what is Kind.OTHER and reply.code not in _MALFORMED and self._defences.item_retry

    async def _wait(self, started: float, failed: Sequence[Reply], trouble: Sequence[ChainError]) -> bool:
        """Let a moment pass before everyone is asked again; False where that is hopeless or takes too long.

        Even the only endpoint is asked twice for a block that it lacks: behind its name there may be many nodes.
        """
        if not failed and trouble and not any(error.retryable for error in trouble):
            return False
        wait_s = max(self.rest_s(), self._patience.pause_s)
        if self._clock.monotonic() - started + wait_s > self._patience.total_s:
            return False
        await self._clock.sleep(wait_s)
        return True

    def _verdict(self, trouble: Sequence[ChainError]) -> ChainError:
        """One error for all: the only one, else a summary by host of what each said last."""
        said = list(dict.fromkeys(error.message for error in trouble))
        if not trouble and self.rest_s() > 0:
            return RateLimited("every endpoint asked to be left alone for now", retry_after_s=self.rest_s())
        if len({type(error) for error in trouble}) == 1:
            worst = trouble[-1]
            if isinstance(worst, RateLimited):
                return RateLimited("; ".join(said), retry_after_s=self.rest_s())
            return type(worst)("; ".join(said), hint=worst.hint)
        return RpcUnavailable("; ".join(said) or "no endpoint answered")

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        for endpoint in self.endpoints:
            await endpoint.transport.close()

    def rest_s(self) -> float:
        """Seconds until some endpoint may be asked."""
        return min(endpoint.resting_s for endpoint in self.endpoints)

    def usable(self) -> list[Endpoint]:
        """The endpoints that are not left alone for now; the best one where all are."""
        ranked = sorted(self.endpoints, key=lambda endpoint: endpoint.rank(None))
        return [endpoint for endpoint in ranked if endpoint.rank(None)[0] < 3] or ranked[:1]
