"""An RPC URL that never shows more than its host: the path, query and user part of such URLs are API keys.

Whatever prints, logs or pickles it by accident gets the host. Only `reveal()` gives the URL, and only the transport
asks. Also knows where URLs come from and which source wins; must not know how they are used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from monitor.core.errors import ConfigError

_URL = re.compile(
    r"(?P<scheme>https?|wss?)://(?:[^@/?#\s]*@)?(?P<host>\[[0-9a-fA-F:.]+\]|[^:/?#@\s\[\]]+)(?P<port>:\d{1,5})?"
    r"(?:[/?#]\S*)?"
)
HTTP = ("http", "https")
WEBSOCKET = ("ws", "wss")


class RpcUrl:
    """A URL of a node. Equal by its whole text, shown as its host."""

    __slots__ = ("_url", "host", "scheme")

    def __init__(self, url: str, schemes: tuple[str, ...] = HTTP) -> None:
        """May raise: ConfigError, which never repeats the text, as it may hold a key."""
        found = _URL.fullmatch(url.strip())
        if found is None or found["scheme"] not in schemes:
            raise ConfigError("not a usable URL", hint=f"write {schemes[-1]}://host/path or {schemes[0]}://host:port")
        self._url = url.strip()
        self.scheme = found["scheme"]
        self.host = found["host"] + (found["port"] or "")

    def reveal(self) -> str:
        """The URL itself, for the transport."""
        return self._url

    def __str__(self) -> str:
        return self.host

    def __repr__(self) -> str:
        return f"RpcUrl({self.host})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RpcUrl) and other._url == self._url

    def __hash__(self) -> int:
        return hash(self._url)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an RPC URL is not pickled: it may hold a key")


def split_urls(text: str, schemes: tuple[str, ...] = HTTP) -> tuple[RpcUrl, ...]:
    """URLs separated by commas or blanks, as in an environment variable or a file. May raise: ConfigError."""
    return tuple(RpcUrl(part, schemes) for part in re.split(r"[,\s]+", text.strip()) if part)


def parse_urls(value: Any, schemes: tuple[str, ...]) -> tuple[RpcUrl, ...]:
    """One URL or a list of them, as TOML gives them. May raise: ConfigError."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(url, str) for url in value):
        raise ConfigError("not a list of URLs", hint=f'write ["{schemes[-1]}://host/path"]')
    return tuple(RpcUrl(url, schemes) for url in value)


def rpc_urls(
    chain_id: int | None, configured: tuple[RpcUrl, ...], flag: Iterable[str], env: Mapping[str, str]
) -> tuple[RpcUrl, ...]:
    """`--rpc-url` > `LEVMON_RPC_<chainId>` > `[chains.X] rpc` > `ETH_RPC_URL`. May raise: ConfigError."""
    given = tuple(flag)
    if given:
        return _named("--rpc-url", " ".join(given))
    variable = f"LEVMON_RPC_{chain_id}"
    if chain_id is not None and env.get(variable):
        return _named(variable, env[variable])
    if configured:
        return configured
    if env.get("ETH_RPC_URL"):
        return _named("ETH_RPC_URL", env["ETH_RPC_URL"])
    which, variable = (f"chain {chain_id}", variable) if chain_id is not None else ("the chain", "ETH_RPC_URL")
    raise ConfigError(
        f"no endpoint for {which}",
        hint=f"give --rpc-url URL, or set {variable}, or add rpc to its [chains.X] table",
    )


def _named(source: str, text: str) -> tuple[RpcUrl, ...]:
    try:
        return split_urls(text)
    except ConfigError as wrong:
        raise ConfigError(f"{source}: {wrong.message}", hint=wrong.hint) from None
