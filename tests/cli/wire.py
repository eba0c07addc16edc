"""An HTTP proxy in front of a node that keeps every request body, for counting and searching. Runs in a thread."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream)
        self.bodies: list[bytes] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # the name is the base class's
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, _Server)
        self.server.bodies.append(body)
        node = http.client.HTTPConnection(self.server.upstream.hostname or "", self.server.upstream.port, timeout=60)
        try:
            node.request("POST", "/", body, {"Content-Type": "application/json"})
            answer = node.getresponse()
            content = answer.read()
        finally:
            node.close()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class Wire:
    """The proxy at `url`; `bodies` are the requests in order."""

    def __init__(self, upstream: str) -> None:
        self._server = _Server(upstream)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def bodies(self) -> list[bytes]:
        return self._server.bodies

    def take(self) -> list[bytes]:
        """The requests since the last time."""
        taken = list(self.bodies)
        self.bodies.clear()
        return taken

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
