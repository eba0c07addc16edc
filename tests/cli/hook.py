"""An HTTP server in a thread that takes alerts for whatever runs in other processes."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

TOKEN = "c4n4ry-of-the-channel"
SECRET = "c4n4ry-of-the-signature"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[dict[str, Any]] = []
        self.status = 200


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # the name is the base class's
        assert isinstance(self.server, _Server)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.status == 200:
            self.server.bodies.append(body)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class Hook:
    """`bodies` are what was taken, in order; `status` is the answer from now on."""

    def __init__(self) -> None:
        self._server = _Server()
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/{TOKEN}"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return self._server.bodies

    @property
    def alerts(self) -> list[dict[str, Any]]:
        return [alert for body in self.bodies for alert in body.get("alerts", ())]

    def answer(self, status: int) -> None:
        self._server.status = status

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def alerts_text(hook: Hook, more: str = "", name: str = "ops", events: str = "") -> str:
    """A signed webhook for a levmon.toml."""
    wanted = f"events = [{events}]\n" if events else ""
    return f"""
[alerts]
group_s = 1
{more}

[[alerts.channels]]
name = "{name}"
url = "{hook.url}"
secret = "{SECRET}"
min_severity = "info"
{wanted}
"""
