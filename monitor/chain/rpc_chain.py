"""The reader's port over JSON-RPC: blocks by tag, number or hash, and read plans answered at one block hash.

Wires pool, reader and header checks together. First contact is one HTTP request: chain id, head, and whether Multicall3
is there. With a quorum, every answer needs the same decoded value from several endpoints, compared item by item; what
they dispute is Unread and says who said what.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Self, TypeVar

from monitor.chain.aggregate import MULTICALL3
from monitor.chain.chains import chain_info
from monitor.chain.clock import SYSTEM, Clock
from monitor.chain.defences import ALL, Defences
from monitor.chain.endpoint import Endpoint
from monitor.chain.headers import HeaderCheck, parse_block
from monitor.chain.jsonrpc import Failure, Reply, Request, Result
from monitor.chain.pool import PATIENCE, Patience, Pool
from monitor.chain.port import BlockAt
from monitor.chain.quantity import parse_data, parse_hash
from monitor.chain.quorum import Dispute, agree
from monitor.chain.reader import read
from monitor.chain.replies import Kind, kind
from monitor.chain.transport import LIMITS, Limits
from monitor.core.errors import BadAnswer, ChainError, ConfigError, RpcError, RpcUnavailable, StateMissing, WrongChain
from monitor.core.secret import RpcUrl
from monitor.core.types import Answer, BlockRef, Query

T = TypeVar("T")
Send = Callable[[Sequence[Request]], Awaitable[list[Reply]]]
"""Asks somebody, and answers in order."""
TAGS = ("latest", "safe", "finalized", "earliest")
SYNC_TOLERANCE = 3
"""Blocks that an endpoint may be behind the best one before it counts as out of sync."""


class RpcChain:
    """One chain over its JSON-RPC endpoints."""

    def __init__(
        self,
        urls: Sequence[str | RpcUrl] | str | RpcUrl,
        *,
        chain_id: int | None = None,
        quorum: int = 1,
        limits: Limits = LIMITS,
        patience: Patience = PATIENCE,
        clock: Clock = SYSTEM,
        defences: Defences = ALL,
    ) -> None:
        """`quorum`: how many endpoints must agree on each answer; 0 and 1 are off, more needs at least three endpoints.

        May raise: ConfigError.
        """
        given = [urls] if isinstance(urls, str | RpcUrl) else list(urls)
        self.pool = Pool(
            [url if isinstance(url, RpcUrl) else RpcUrl(url) for url in given],
            chain_id=chain_id,
            limits=limits,
            patience=patience,
            clock=clock,
            defences=defences,
        )
        quorum = quorum or 1
        if quorum < 1 or quorum > len(self.pool.endpoints) or (quorum > 1 and len(self.pool.endpoints) < 3):
            raise ConfigError(
                f"a quorum of {quorum} is not possible with {len(self.pool.endpoints)} endpoints",
                hint="a quorum needs at least three different endpoints; 0 turns it off",
            )
        self.quorum = quorum
        self.disputes: list[Dispute] = []
        self._defences = defences
        self._multicall: bool | None = None
        self._header_check: HeaderCheck | None = None

    @property
    def chain_id(self) -> int:
        """Known once configured or after the first answer. May raise: ChainError."""
        if self.pool.chain_id is None:
            raise ChainError("the chain id is not known yet", hint="read a block first")
        return self.pool.chain_id

    @property
    def multicall(self) -> bool | None:
        """Whether Multicall3 is on the chain; None before the first answer."""
        return self._multicall

    @property
    def http_requests(self) -> int:
        """How many HTTP requests were sent so far."""
        return self.pool.http_requests

    async def block(self, at: BlockAt = "latest") -> BlockRef:
        """May raise: ChainError, ConfigError when `at` is no block."""
        if at == "latest" and len(self.pool.endpoints) > 1:
            return await self.newest()
        if isinstance(at, int) and at < 0:
            head = await self.block("latest")
            if head.number + at < 0:
                raise ConfigError(f"there is no block {at} before block {head.number}")
            return await self.block(head.number + at)
        return await self._fetch(
            at, lambda requests: self.pool.send(requests, need=at if isinstance(at, int) else None)
        )

    async def newest(self) -> BlockRef:
        """The highest head that as many endpoints have as must agree. Asks all of them. May raise: ChainError."""
        answered, trouble = await self.pool.each(self.pool.usable(), self._head_of, self.quorum)
        if len(answered) < self.quorum:
            if len(trouble) == 1:
                raise trouble[0]
            raise RpcUnavailable("; ".join(error.message for error in trouble))
        best = max(block.number for _, block in answered)
        for endpoint, block in answered:
            endpoint.saw_head(block.number, best, SYNC_TOLERANCE)
        return sorted((block for _, block in answered), key=lambda block: -block.number)[self.quorum - 1]

    async def _head_of(self, endpoint: Endpoint) -> BlockRef:
        return await self._fetch("latest", self._only(endpoint))

    def _only(self, endpoint: Endpoint) -> Send:
        async def send(requests: Sequence[Request]) -> list[Reply]:
            found, replies = await endpoint.ask(requests, self.pool.chain_id)
            if self.pool.chain_id is None:
                self.pool.chain_id = found
            if (
                found != self.pool.chain_id and self._defences.chain_id
            ):  # two endpoints were asked first at the same time, and they differ
                raise endpoint.of_wrong_chain(found, self.pool.chain_id)
            return replies

        return send

    async def _fetch(self, at: BlockAt, send: Send) -> BlockRef:
        requests = [block_request(at)]
        if self._multicall is None:
            requests.append(Request("eth_getCode", (MULTICALL3, "latest")))
        replies = await send(requests)
        if self._multicall is None and isinstance(replies[1], Result):
            self._multicall = bool(parse_data(replies[1].value, "code of Multicall3"))
        return self._parse(replies[0], at)

    def check_header(self, reply: Reply, block: BlockRef) -> None:
        """Whether this answer is that block's header, hash and all. May raise: ChainError."""
        self._parse(reply, block.hash)

    def _parse(self, reply: Reply, at: BlockAt) -> BlockRef:
        if self._header_check is None:
            known = chain_info(self.chain_id).checks_headers if self._defences.header_hash else False
            self._header_check = HeaderCheck(known)
        value = _block_value(reply, at)
        block = parse_block(value, self.chain_id, self._header_check, strict_quantity=self._defences.strict_quantity)
        if (isinstance(at, int) and block.number != at) or (_is_hash(at) and block.hash != str(at).lower()):
            raise BadAnswer(f"block {at} was asked and block {block.number} ({block.hash}) came")
        return block

    async def headers(self, first: int, last: int) -> list[BlockRef]:
        """The canonical blocks `first` to `last` in one request, as one endpoint has them. May raise: ChainError."""
        group = 1
        requests = [Request("eth_getBlockByNumber", (hex(n), False), group) for n in range(first, last + 1)]
        replies = await self.pool.send(requests, need=last)
        return [self._parse(reply, first + n) for n, reply in enumerate(replies)]

    async def ask(self, queries: Sequence[Query], block: BlockRef) -> list[Answer]:
        """One answer per query, in order, all at `block.hash`. May raise: ChainError (then nothing is known)."""
        if not queries:
            return []
        if self._multicall is None or self.pool.chain_id is None:
            await self.block("latest")
        if block.chain_id != self.chain_id:
            raise WrongChain(f"block {block.number} is of chain {block.chain_id}, not {self.chain_id}")
        if self.quorum > 1 and self._defences.quorum:
            return await self._ask_quorum(queries, block)
        return await self._read(lambda requests: self.pool.send(requests, need=block.number), queries, block)

    async def ask_beside(
        self, requests: Sequence[Request], queries: Sequence[Query], block: BlockRef
    ) -> tuple[list[Reply], list[Answer]]:
        """`ask`, with requests of the caller's own in the same HTTP request: one reply each, as one endpoint has them.

        A quorum judges the answers only. May raise: ChainError.
        """
        if not queries or not requests or self._multicall is None or self.quorum > 1:
            replies = await self.pool.send(requests, need=block.number) if requests else []
            return replies, await self.ask(queries, block)
        beside: list[Reply] = []

        async def send(asked: Sequence[Request]) -> list[Reply]:
            if beside:
                return await self.pool.send(asked, need=block.number)
            replies = await self.pool.send([*requests, *asked], need=block.number)
            beside.extend(replies[: len(requests)])
            return replies[len(requests) :]

        answers = await self._read(send, queries, block)
        return beside, answers

    async def _read(self, send: Send, queries: Sequence[Query], block: BlockRef) -> list[Answer]:
        return await read(send, queries, block, multicall=bool(self._multicall), defences=self._defences)

    async def ask_most(self, queries: Sequence[Query], block: BlockRef) -> list[Answer]:
        """`ask`, where of the endpoints that answer in time most must agree; a configured quorum counts as ever.

        May raise: ChainError.
        """
        if not queries or self.quorum > 1 or len(self.pool.endpoints) == 1 or self._multicall is None:
            return await self.ask(queries, block)
        votes, _ = await self._votes(queries, block, 1)
        return self._agreed(queries, votes, 1) if votes else await self.ask(queries, block)

    async def _ask_quorum(self, queries: Sequence[Query], block: BlockRef) -> list[Answer]:
        votes, trouble = await self._votes(queries, block, self.quorum)
        if len(votes) < self.quorum:
            said = "; ".join(error.message for error in trouble)
            raise RpcUnavailable(f"{len(votes)} of the {self.quorum} endpoints that must agree have answered; {said}")
        return self._agreed(queries, votes, self.quorum)

    async def _votes(
        self, queries: Sequence[Query], block: BlockRef, enough: int
    ) -> tuple[list[tuple[str, list[Answer]]], list[ChainError]]:
        """What each endpoint that can know the block answers, in the order of the endpoints."""
        return await self.ask_each(block, lambda send: self._read(send, queries, block), enough)

    async def ask_each(
        self, block: BlockRef, work: Callable[[Send], Coroutine[Any, Any, T]], enough: int = 1
    ) -> tuple[list[tuple[str, T]], list[ChainError]]:
        """The same work at each endpoint that can know the block: what came of it by host in their order, and errors.

        Once `enough` have answered, the others have only the hedge delay left.
        """
        asked = [endpoint for endpoint in self.pool.usable() if not endpoint.lacks(block.number)]
        answered, trouble = await self.pool.each(asked, lambda endpoint: work(self._only(endpoint)), enough)
        order = {endpoint.alias: n for n, endpoint in enumerate(self.pool.endpoints)}
        votes = sorted(((endpoint.alias, found) for endpoint, found in answered), key=lambda vote: order[vote[0]])
        return votes, trouble

    def _agreed(self, queries: Sequence[Query], votes: Sequence[tuple[str, list[Answer]]], needed: int) -> list[Answer]:
        answers, disputes = agree(queries, votes, needed)
        self.disputes.extend(disputes)
        return answers

    async def close(self) -> None:
        """Idempotent."""
        await self.pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"RpcChain({', '.join(endpoint.alias for endpoint in self.pool.endpoints)})"


def _is_hash(at: BlockAt) -> bool:
    return isinstance(at, str) and at.startswith("0x") and len(at) == 66


def block_request(at: BlockAt) -> Request:
    """The JSON-RPC request for a block. May raise: ConfigError."""
    if isinstance(at, int):
        return Request("eth_getBlockByNumber", (hex(at), False))
    if at in TAGS:
        return Request("eth_getBlockByNumber", (at, False))
    try:
        return Request("eth_getBlockByHash", (parse_hash(at, "block hash"), False))
    except BadAnswer:
        raise ConfigError(f"{at!r} is no block", hint="latest, safe, finalized, a number, -100, or a hash") from None


def _block_value(reply: Reply, at: BlockAt) -> Any:
    if isinstance(reply, Failure):
        if kind(reply) is Kind.STATE_MISSING:
            raise StateMissing(f"block {at}: {reply.message[:120]}")
        raise RpcError(f"block {at}: {reply.message[:200]}", code=reply.code, data=reply.data)
    if reply.value is None:
        raise StateMissing(f"no endpoint has block {at}", hint="it may not exist yet, or have been reorganised away")
    return reply.value
