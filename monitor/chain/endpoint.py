"""One endpoint of a chain: its transport, what is thought of it, and the chain id check that rides on every request.

An endpoint never answers for a chain that it was not asked about: every HTTP request starts with eth_chainId, so that a
provider which is re-pointed between two requests, or behind a load balancer, is noticed with the very answer it spoils.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from monitor.chain.clock import Clock
from monitor.chain.defences import Defences
from monitor.chain.jsonrpc import Failure, Reply, Request, Result
from monitor.chain.quantity import parse_quantity
from monitor.chain.replies import Kind, kind
from monitor.chain.transport import AccessRefused, HttpTransport
from monitor.core.errors import BadAnswer, ChainError, RateLimited, RpcUnavailable, WrongChain

CHAIN_ID = Request("eth_chainId")
MAX_FAILURES = 8
SHUN_S = 60.0
"""How long an endpoint of the wrong chain, or with an expired key, is passed over before it is tried again."""


class EndpointState(StrEnum):
    """What is thought of an endpoint. None of these is for ever."""

    UNTRIED = "untried"
    ALIVE = "alive"
    OUT_OF_SYNC = "out of sync"
    UNREACHABLE = "unreachable"
    RATE_LIMITED = "rate limited"
    WRONG_CHAIN = "wrong chain"
    REFUSED = "refused"


class Endpoint:
    """State that decays: a failure adds one, a success takes one away, so that a flapping endpoint stays behind."""

    def __init__(self, transport: HttpTransport, clock: Clock, defences: Defences) -> None:
        self.transport = transport
        self.state = EndpointState.UNTRIED
        self.failures = 0
        self.head: int | None = None
        self.trouble = ""
        self._rest_until = float("-inf")
        self._shun_until = float("-inf")
        self._clock = clock
        self._defences = defences

    @property
    def alias(self) -> str:
        return self.transport.alias

    @property
    def resting_s(self) -> float:
        """Seconds for which it asked to be left alone."""
        return max(self._rest_until - self._clock.monotonic(), 0.0)

    def lacks(self, number: int | None) -> bool:
        """Whether it is known not to have that block yet."""
        return self._defences.laggards and number is not None and self.head is not None and self.head < number

    def rank(self, need: int | None) -> tuple[int, int]:
        """Smaller is better. Nothing is excluded here: the last endpoint is asked however bad it is."""
        if self._shun_until > self._clock.monotonic():
            badness = 4
        elif self.resting_s > 0:
            badness = 3
        elif self.lacks(need):
            badness = 2
        else:
            badness = 1 if self.state in {EndpointState.UNREACHABLE, EndpointState.OUT_OF_SYNC} else 0
        return badness, self.failures

    async def ask(self, requests: Sequence[Request], chain_id: int | None) -> tuple[int, list[Reply]]:
        """The chain id that it serves, and one reply each. May raise: ChainError, and remembers what that means."""
        try:
            if not self._defences.chain_id and chain_id is not None:
                replies = await self.transport.send(requests)
                found = chain_id
            else:
                first, *replies = await self.transport.send([CHAIN_ID, *requests])
                found = self._chain_id(first)
            if chain_id is not None and found != chain_id:
                raise _wrong_chain(self.alias, found, chain_id)
        except ChainError as error:
            self._failed(error)
            raise
        self._succeeded()
        return found, replies

    async def ask_raw(self, body: bytes, method: str) -> bytes:
        """A bulk question as it is, without the chain id: it is pinned to a block hash, which no other chain has.

        May raise: ChainError, and remembers what that means.
        """
        try:
            answer = await self.transport.send_raw(body, method)
        except ChainError as error:
            self._failed(error)
            raise
        self._succeeded()
        return answer

    def _chain_id(self, reply: Reply) -> int:
        if isinstance(reply, Result):
            return parse_quantity(reply.value, f"{self.alias}: chain id", strict=self._defences.strict_quantity)
        if kind(reply) is Kind.RATE_LIMITED:
            raise RateLimited(f"{self.alias}: {reply.message[:120]}", retry_after_s=1.0)
        raise BadAnswer(f"{self.alias}: no chain id: {reply.message[:120]}")

    def _succeeded(self) -> None:
        self.failures = max(self.failures - 1, 0)
        if self.state is not EndpointState.OUT_OF_SYNC:
            self.state = EndpointState.ALIVE
            self.trouble = ""

    def _failed(self, error: ChainError) -> None:
        self.failures = min(self.failures + 1, MAX_FAILURES)
        self.trouble = error.message
        if isinstance(error, WrongChain):
            self.state = EndpointState.WRONG_CHAIN
            self._shun_until = self._clock.monotonic() + SHUN_S
        elif isinstance(error, AccessRefused) and self._defences.refuse:
            self.state = EndpointState.REFUSED
            self._shun_until = self._clock.monotonic() + SHUN_S
        elif isinstance(error, RateLimited):
            self.state = EndpointState.RATE_LIMITED
            if self._defences.retry_after:
                self._rest_until = self._clock.monotonic() + error.retry_after_s
        else:
            self.state = EndpointState.UNREACHABLE

    def limited(self, failure: Failure) -> None:
        """Some item of a batch was refused for its rate: give it a second."""
        self._failed(RateLimited(f"{self.alias}: {failure.message[:120]}", retry_after_s=1.0))

    def of_wrong_chain(self, found: int, wanted: int) -> WrongChain:
        """It turned out to serve another chain than was asked for; the error to raise."""
        error = _wrong_chain(self.alias, found, wanted)
        self._failed(error)
        return error

    def slow(self) -> None:
        """Others were faster by the hedge delay, and its answer was not waited for."""
        self._failed(RpcUnavailable(f"{self.alias}: slower than others"))

    def saw_head(self, number: int, best: int, tolerance: int) -> None:
        """Its newest block, and the newest that any endpoint knows."""
        self.head = number
        if best - number > tolerance:
            self.state = EndpointState.OUT_OF_SYNC
            self.trouble = f"{best - number} blocks behind"
        elif self.state is EndpointState.OUT_OF_SYNC:
            self.state = EndpointState.ALIVE
            self.trouble = ""

    def __repr__(self) -> str:
        return f"Endpoint({self.alias}, {self.state})"


def _wrong_chain(alias: str, found: int, wanted: int) -> WrongChain:
    return WrongChain(f"{alias} serves chain {found}, not {wanted}", hint="check the RPC URL")
