"""An RPC URL as a secret: providers put their keys into path, query and user info, so only the host may be seen."""

from __future__ import annotations

from typing import NoReturn
from urllib.parse import SplitResult, urlsplit

from monitor.core.errors import ConfigError

HTTP = ("http", "https")
WEBSOCKET = ("ws", "wss")


class RpcUrl:
    """Shows as `host` or `host:port` wherever it is printed; `reveal()` is for the transport alone."""

    __slots__ = ("_text", "alias", "scheme")

    def __init__(self, text: str) -> None:
        """May raise: ConfigError (which does not repeat the text)."""
        parts = _split(text.strip())
        host = parts.hostname or ""
        port = parts.port
        shown = f"[{host}]" if ":" in host else host
        self._text = text.strip()
        self.scheme = parts.scheme.lower()
        self.alias = shown if port is None else f"{shown}:{port}"

    @property
    def websocket(self) -> bool:
        return self.scheme in WEBSOCKET

    def reveal(self) -> str:
        """The URL itself. What it returns must not reach a log, an error or a repr."""
        return self._text

    def __str__(self) -> str:
        return self.alias

    def __repr__(self) -> str:
        return f"RpcUrl({self.alias})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RpcUrl) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an RPC URL is not written anywhere")


def _split(text: str) -> SplitResult:
    hint = "an RPC URL starts with http://, https://, ws:// or wss:// and names a host"
    try:
        parts = urlsplit(text)
        usable = parts.scheme.lower() in HTTP + WEBSOCKET and parts.hostname and (parts.port or 1)
    except ValueError:
        usable = False
    if not usable or any(char.isspace() or ord(char) < 32 for char in text):
        raise ConfigError("an RPC URL cannot be read (it is not shown: it may hold a key)", hint=hint)
    return urlsplit(text)
