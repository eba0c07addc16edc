"""An RPC URL that never shows more than its host: the path, query and user part of such URLs are API keys.

Beside it any other secret text, such as the URL of an alert channel, of which nothing shows but its scheme.

Whatever prints, logs or pickles it by accident gets the host. Only `reveal()` gives the URL, and only the transport
asks. Also knows where URLs come from and which source wins; must not know how they are used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from monitor.core.errors import ConfigError

# not urllib: core knows no network, and a URL is only taken apart here as far as its host
_URL = re.compile(
    r"(?P<scheme>https?|wss?)://(?:[^@/?#\s]*@)?(?P<host>\[[0-9a-f:.]+\]|[^:/?#@\s\[\]]+)(?::(?P<port>\d{1,5}))?"
    r"(?:[/?#]\S*)?",
    re.IGNORECASE,
)
MAX_PORT = 65_535
HTTP = ("http", "https")
WEBSOCKET = ("ws", "wss")


class RpcUrl:
    """A URL of a node. Equal by its whole text; shown, copied into no error and no file, as `host` or `host:port`."""

    __slots__ = ("_url", "alias", "scheme")

    def __init__(self, url: str, schemes: tuple[str, ...] = HTTP + WEBSOCKET) -> None:
        """May raise: ConfigError, which never repeats the text, as it may hold a key."""
        self._url = url.strip()
        found = None if any(ord(char) < 32 for char in self._url) else _URL.fullmatch(self._url)
        scheme = found["scheme"].lower() if found else ""
        if found is None or scheme not in schemes or not 0 < int(found["port"] or 1) <= MAX_PORT:
            raise ConfigError(
                "not a usable URL (it is not shown: it may hold a key)",
                hint=f"write {schemes[-1]}://host/path or {schemes[0]}://host:port",
            )
        self.scheme = scheme
        self.alias = found["host"].lower() + (f":{found['port']}" if found["port"] else "")

    def reveal(self) -> str:
        """The URL itself, for the transport alone."""
        return self._url

    def __str__(self) -> str:
        return self.alias

    def __repr__(self) -> str:
        return f"RpcUrl({self.alias})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RpcUrl) and other._url == self._url

    def __hash__(self) -> int:
        return hash(self._url)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an RPC URL is not pickled: it may hold a key")


class Secret:
    """A text that never shows: `shown` stands for it wherever it is printed. Only `reveal()` gives it."""

    __slots__ = ("_text", "shown")

    def __init__(self, text: str, shown: str = "***") -> None:
        self._text = text
        self.shown = shown

    def reveal(self) -> str:
        """The text itself, for whoever must use it."""
        return self._text

    def __str__(self) -> str:
        return self.shown

    def __repr__(self) -> str:
        return f"Secret({self.shown})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


def channel_url(text: str) -> Secret:
    """The URL of an alert channel. Of such URLs the host may be a key too, so only the scheme shows.

    May raise: ConfigError, which never repeats the text.
    """
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]{0,31})://\S+", text.strip())
    if found is None:
        raise ConfigError(
            "not a usable URL (it is not shown: it may hold a key)",
            hint="write an Apprise URL such as tgram://..., or https://... with a secret_file",
        )
    return Secret(text.strip(), f"{found[1].lower()}://***")


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
