"""JSON-RPC over HTTP to one endpoint: one kept-alive session, one deadline, limits before parsing, no secrets out.

Knows HTTP and nothing of Ethereum. Why not web3's provider: it hangs for good when a request is cancelled, opens a
connection for every request and re-sends on its own. Every failure is a ChainError that names the endpoint by its host
only; the library's own exceptions quote URLs and are therefore never chained or quoted.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import aiohttp

from monitor.chain import jsonrpc
from monitor.chain.clock import SYSTEM, Clock
from monitor.chain.defences import ALL, Defences
from monitor.chain.jsonrpc import Reply, Request
from monitor.core.errors import BadAnswer, ChainError, ConfigError, RateLimited, RpcUnavailable
from monitor.core.secret import HTTP, RpcUrl

MAX_RETRY_AFTER_S = 60.0
DEFAULT_RETRY_AFTER_S = 1.0


class AccessRefused(ChainError):
    """The endpoint answers 401 or 403: its key has expired or never was right."""


class QuestionTooLarge(ChainError):
    """The endpoint answers 413: the request has more bytes than it takes."""


class AnswerTooLarge(BadAnswer):
    """The answer has more bytes than we take."""


class NoAnswer(RpcUnavailable):
    """The deadline passed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may take: seconds from start to last byte, bytes of the (unpacked) answer."""

    deadline_s: float = 10.0
    answer_bytes: int = 32 * 1024 * 1024


LIMITS = Limits()


@dataclass(slots=True)
class Traffic:
    """What went over the wire: HTTP requests, JSON-RPC items in them by method, failed requests, bytes of bodies."""

    requests: int = 0
    failed: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    connections: int = 0
    methods: dict[str, int] = field(default_factory=dict)


class HttpTransport:
    """One endpoint. `send` is safe to cancel at any moment and may be called concurrently."""

    def __init__(
        self, url: RpcUrl, *, limits: Limits = LIMITS, clock: Clock = SYSTEM, defences: Defences = ALL
    ) -> None:
        """May raise: ConfigError, when the URL is not of HTTP."""
        if url.scheme not in HTTP:
            raise ConfigError(f"{url}: reading needs an http:// or https:// URL", hint="list ws:// URLs as `ws`")
        self.url = url
        self.traffic = Traffic()
        self._limits = limits
        self._clock = clock
        self._defences = defences
        self._session: aiohttp.ClientSession | None = None
        self._next_id = 1

    @property
    def alias(self) -> str:
        return self.url.alias

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        """One HTTP request for all of them; one reply each, in order. May raise: ChainError."""
        first_id, self._next_id = self._next_id, self._next_id + len(requests)
        body = jsonrpc.encode(requests, first_id)
        self.traffic.requests += 1
        for request in requests:
            self.traffic.methods[request.method] = self.traffic.methods.get(request.method, 0) + 1
        try:
            answer = await self._post(body)
            return jsonrpc.decode(
                answer, len(requests), first_id, strict=self._defences.strict_json, caps=self._defences.caps
            )
        except BadAnswer as wrong:
            self.traffic.failed += 1
            raise type(wrong)(f"{self.alias}: {wrong.message}") from None
        except ChainError:
            self.traffic.failed += 1
            raise

    async def send_raw(self, body: bytes, method: str) -> bytes:
        """A body that is one request already, answered as it comes: for bulk, which must not become objects.

        May raise: ChainError.
        """
        self.traffic.requests += 1
        self.traffic.methods[method] = self.traffic.methods.get(method, 0) + 1
        try:
            return await self._post(body)
        except ChainError:
            self.traffic.failed += 1
            raise

    async def _post(self, body: bytes) -> bytes:
        self.traffic.bytes_out += len(body)
        total = self._limits.deadline_s if self._defences.total_deadline else None
        try:
            async with (
                asyncio.timeout(total),
                self._open().post(
                    self.url.reveal(), data=body, allow_redirects=not self._defences.no_redirect
                ) as response,
            ):
                self._judge(response)
                answer = await self._read(response)
                if response.status >= 400 and not answer.lstrip().startswith((b"{", b"[")):
                    raise RpcUnavailable(f"{self.alias}: HTTP {response.status}")
                return answer
        except TimeoutError:
            raise NoAnswer(f"{self.alias}: no answer within {self._limits.deadline_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as broken:
            raise RpcUnavailable(f"{self.alias}: {_kind(broken)}") from None

    def _judge(self, response: aiohttp.ClientResponse) -> None:
        """May raise by the status alone. Other errors of servers may still carry a JSON-RPC answer."""
        status = response.status
        if status in {401, 403}:
            raise AccessRefused(f"{self.alias}: access refused (HTTP {status})", hint="its key may have expired")
        if status == 429 or (status == 503 and "Retry-After" in response.headers):
            wait_s = retry_after_s(response.headers.get("Retry-After", ""), self._clock.time())
            raise RateLimited(f"{self.alias}: too many requests (HTTP {status})", retry_after_s=wait_s)
        if status == 413:
            raise QuestionTooLarge(f"{self.alias}: the request is larger than it takes (HTTP 413)")
        if 300 <= status < 400:
            raise BadAnswer(f"it redirects (HTTP {status}), which is not followed")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._limits.answer_bytes
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            self.traffic.bytes_in += len(part)
            if size > limit and self._defences.caps:
                response.close()
                raise AnswerTooLarge(f"the answer is larger than {limit} bytes")
            parts.append(part)
        return b"".join(parts)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            trace = aiohttp.TraceConfig()
            trace.on_connection_create_end.append(self._connected)
            per_read = None if self._defences.total_deadline else self._limits.deadline_s
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, sock_read=per_read),
                connector=aiohttp.TCPConnector(limit=8, keepalive_timeout=60),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Content-Type": "application/json", "User-Agent": "levmon"},
                trust_env=False,
                trace_configs=[trace],
            )
        return self._session

    async def _connected(self, *_: object) -> None:
        self.traffic.connections += 1

    async def close(self) -> None:
        """Close the connections. Idempotent; a later `send` opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def __repr__(self) -> str:
        return f"HttpTransport({self.alias})"


def _kind(broken: BaseException) -> str:
    """What went wrong without quoting the library, whose texts hold URLs."""
    if isinstance(broken, aiohttp.ClientConnectorDNSError):
        return "its name cannot be resolved"
    if isinstance(broken, aiohttp.ClientSSLError):
        return "its certificate is not trusted or TLS failed"
    if isinstance(broken, aiohttp.ClientConnectorError | ConnectionRefusedError):
        return "no connection"
    if isinstance(broken, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | ConnectionError):
        return "the connection broke"
    return f"HTTP failed ({type(broken).__name__})"


def retry_after_s(text: str, now_s: float) -> float:
    """The seconds that a Retry-After header asks for, between 0 and 60; 1 where it is missing or unreadable."""
    stripped = text.strip()
    if re.fullmatch(r"[0-9]+", stripped):
        return MAX_RETRY_AFTER_S if len(stripped) > 6 else min(float(stripped), MAX_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(stripped).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return DEFAULT_RETRY_AFTER_S
    return min(max(moment - now_s, 0.0), MAX_RETRY_AFTER_S)
