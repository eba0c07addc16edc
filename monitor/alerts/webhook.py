"""A signed webhook: one POST of JSON, signed over its time and its bytes, within one deadline, to one host.

The receiver recomputes HMAC-SHA256(secret, timestamp + "." + body), refuses old timestamps, and drops keys that it has
seen. No redirect is followed, no proxy of the environment asked, and nothing of the answer is read but its status and
how long to wait.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from email.utils import parsedate_to_datetime

import aiohttp

from monitor.alerts.channel import Letter, Undelivered
from monitor.chain.clock import SYSTEM, Clock
from monitor.core.secret import Secret

DEADLINE_S = 10.0
LONGEST_WAIT_S = 3600
KEY_HEADER, TIME_HEADER, SIGNATURE_HEADER = "Idempotency-Key", "X-Levmon-Timestamp", "X-Levmon-Signature"


class Webhook:
    """One URL and one secret, neither of which is ever shown."""

    def __init__(self, url: Secret, secret: Secret, *, deadline_s: float = DEADLINE_S, clock: Clock = SYSTEM) -> None:
        self._url, self._secret = url, secret
        self._deadline_s, self._clock = deadline_s, clock
        self._session: aiohttp.ClientSession | None = None

    async def prepare(self) -> None:
        """Nothing: its URL was looked at when it was read."""

    async def send(self, letter: Letter) -> None:
        """May raise: Undelivered."""
        body = json.dumps(letter.content, separators=(",", ":")).encode()
        timestamp = str(int(self._clock.time()))
        headers = {
            "Content-Type": "application/json",
            KEY_HEADER: letter.key,
            TIME_HEADER: timestamp,
            SIGNATURE_HEADER: f"v1={signature(self._secret, timestamp, body)}",
        }
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with (
                asyncio.timeout(self._deadline_s),
                self._session.post(self._url.reveal(), data=body, headers=headers, allow_redirects=False) as answer,
            ):
                status, wait = answer.status, answer.headers.get("Retry-After", "")
        except TimeoutError:
            raise Undelivered(f"no answer within {self._deadline_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # the kind alone: the text of such errors repeats the URL
            raise Undelivered(f"not reached ({type(error).__name__})") from None
        self._judge(status, wait)

    def _judge(self, status: int, wait: str) -> None:
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            raise Undelivered(f"answered with a redirect ({status}), which is not followed")
        if status in (401, 403):
            raise Undelivered(f"does not let levmon in ({status}): check its URL and secret")
        if status in (429, 503):
            raise Undelivered(f"asks to wait ({status})", retry_after_s=self._wait_s(wait))
        raise Undelivered(f"answered {status}", refused=status in (400, 413, 415, 422))

    def _wait_s(self, text: str) -> int:
        """Retry-After, seconds or a date, at most an hour."""
        text = text.strip()
        if text.isdecimal() and text.isascii():
            return min(int(text[:9]), LONGEST_WAIT_S)
        try:
            until_s = parsedate_to_datetime(text).timestamp()
        except (TypeError, ValueError, OverflowError):
            return 0
        return min(max(int(until_s - self._clock.time()), 0), LONGEST_WAIT_S)

    async def close(self) -> None:
        """Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def signature(secret: Secret, timestamp: str, body: bytes) -> str:
    """Hex of HMAC-SHA256 over the timestamp, a dot and the body."""
    return hmac.new(secret.reveal().encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
