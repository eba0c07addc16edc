"""Messages to people through Apprise: Telegram, Discord, Slack, e-mail and whatever else its URLs name.

Apprise blocks, so it runs in a thread of its own with a deadline; a thread that hangs is left behind and nothing more
is given to it until it ends. Its URLs are secrets, host included, and its own log could repeat them: that log is off.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import threading
import warnings
from typing import Any

from monitor.alerts.channel import Letter, Undelivered
from monitor.core.errors import ConfigError
from monitor.core.secret import Secret

DEADLINE_S = 20.0
QUIET_LOGS = ("apprise", "urllib3", "requests")


class Notifier:
    """One Apprise URL."""

    def __init__(self, url: Secret, *, deadline_s: float = DEADLINE_S) -> None:
        """May raise: ConfigError, when Apprise is not installed."""
        if importlib.util.find_spec("apprise") is None:
            raise ConfigError("channels other than a signed webhook need Apprise", hint='pip install "levmon[alerts]"')
        self._url, self._deadline_s = url, deadline_s
        self._opened: Any = None
        self._busy: threading.Thread | None = None

    async def prepare(self) -> None:
        """Load Apprise, which takes seconds, beside whatever else goes on. May raise: Undelivered."""
        if self._opened is None:
            self._opened = await asyncio.to_thread(_open, self._url, self._deadline_s)

    async def send(self, letter: Letter) -> None:
        """May raise: Undelivered."""
        if self._busy is not None and self._busy.is_alive():
            raise Undelivered("still busy with the message before")
        await self.prepare()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bool] = loop.create_future()

        def work() -> None:
            try:
                taken = bool(self._notify(letter))
            except Exception:  # noqa: BLE001  # alert sender: a service's own bug is a failed delivery, with no text
                taken = False
            loop.call_soon_threadsafe(_resolve, answer, taken)

        self._busy = threading.Thread(target=_unless_closed, args=(work,), daemon=True, name="levmon-notify")
        self._busy.start()
        try:
            async with asyncio.timeout(self._deadline_s):
                taken = await answer
        except TimeoutError:
            raise Undelivered(f"no answer within {self._deadline_s:g} s") from None
        if not taken:
            raise Undelivered("the service did not take it")

    def _notify(self, letter: Letter) -> Any:
        kinds = {"critical": "failure", "warn": "warning"}
        kind = kinds.get(letter.severity, "info")
        return self._opened.notify(title=letter.title, body=letter.body, notify_type=kind, body_format="text")

    async def close(self) -> None:
        """A thread that still runs ends with the process."""


def _open(url: Secret, deadline_s: float) -> Any:
    """May raise: Undelivered, when Apprise does not know the URL."""
    for name in QUIET_LOGS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # and so of those below it
    with warnings.catch_warnings(action="ignore"):  # of what its plugins import
        import apprise

        asset = apprise.AppriseAsset(
            app_id="levmon",
            app_desc="levmon",
            app_url="",
            async_mode=False,
            secure_logging=True,
            http_redirects=False,
            storage_mode="memory",
            service_timeout=deadline_s,
        )
        opened = apprise.Apprise(asset=asset)
        if not opened.add(url.reveal()):
            raise Undelivered(f"Apprise does not know this URL ({url})")
    return opened


def _resolve(answer: asyncio.Future[bool], taken: bool) -> None:
    if not answer.done():
        answer.set_result(taken)


def _unless_closed(work: Any) -> None:
    """A loop that has ended meanwhile wants no answer."""
    try:
        work()
    except RuntimeError:
        return
