"""Who may ask: which host names are ours, which pages may send requests, and the token.

A page of any site can make a browser send requests to this machine, and a name of any site can be pointed at it: so the
`Host` must be one of ours, and an `Origin`, where a browser tells one, too. Must not know what is shown.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from monitor.core.errors import ConfigError
from monitor.core.secret import Secret
from monitor.web.defences import ALL, Defences

COOKIE = "levmon"
TOKEN_LEAST = 32
SESSIONS = 64
OPEN_PATHS = ("/login", "/static/")
"""What is shown to whoever has not said the token yet."""
FOR_PROGRAMS = frozenset({"/events", "/healthz", "/readyz", "/metrics"})
"""Beside /api/: without the token they are refused, and not sent to the form."""
SAFE = frozenset({"GET", "HEAD"})


@dataclass(slots=True)
class Access:
    """`hosts` as in the Host header, `origins` as in Origin; `secure`: the browser speaks TLS."""

    hosts: frozenset[str]
    origins: frozenset[str]
    token: Secret | None = None
    secure: bool = False
    defences: Defences = ALL
    _sessions: list[str] = field(default_factory=list)

    def refused(self, request: web.Request) -> web.Response | None:
        """Why the request is not answered; None where it may be."""
        named = [host.strip().lower() for host in request.headers.getall("Host", [])]
        if self.defences.hosts and (len(named) != 1 or named[0] not in self.hosts):
            return web.Response(status=421, text="levmon: this is not a host name of mine\n")
        if self.defences.origins and (why := self._foreign(request)):
            return web.Response(status=403, text=f"levmon: {why}\n")
        if request.method not in SAFE and not (request.method == "POST" and request.path == "/login"):
            return web.Response(status=405, text="levmon: it is read-only\n", headers={"Allow": "GET, HEAD"})
        if self.defences.token and self.token is not None and not self._known(request):
            if request.path.startswith("/api/") or request.path in FOR_PROGRAMS:
                return web.Response(status=401, text="levmon: a token is needed\n")
            return web.Response(status=303, headers={"Location": "/login"})
        return None

    def _foreign(self, request: web.Request) -> str:
        origins = request.headers.getall("Origin", [])
        if any(origin.lower() not in self.origins for origin in origins):
            return "another site's page asked for this"
        if request.method not in SAFE and not origins:
            return "a form of this site tells its origin"
        site, mode = request.headers.get("Sec-Fetch-Site", ""), request.headers.get("Sec-Fetch-Mode", "")
        if site in ("cross-site", "same-site") and mode != "navigate":
            return "another site's page asked for this"
        return ""

    def _known(self, request: web.Request) -> bool:
        if request.path == OPEN_PATHS[0] or request.path.startswith(OPEN_PATHS[1]):
            return True
        kind, _, said = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.fits(said):
            return True
        cookie = request.cookies.get(COOKIE, "")
        return any(hmac.compare_digest(cookie.encode(), one.encode()) for one in self._sessions)

    def fits(self, said: str) -> bool:
        """Whether it is the token, in a time that does not tell how much of it is right."""
        return self.token is not None and hmac.compare_digest(said.strip().encode(), self.token.reveal().encode())

    def admit(self, response: web.StreamResponse) -> None:
        """Let the browser in that gave the token: by a cookie that is not the token, and dies with this process."""
        self._sessions = [*self._sessions, secrets.token_urlsafe(32)][-SESSIONS:]
        strict = self.defences.strict_cookie
        response.set_cookie(
            COOKIE, self._sessions[-1], httponly=strict, samesite="Strict" if strict else "None", secure=self.secure
        )


def access_for(host: str, port: int, token: Secret | None, public_url: str | None, defences: Defences = ALL) -> Access:
    """For a socket that listens there. May raise: ConfigError, when it would show itself to others without defence."""
    if defences.loopback and not is_loopback(host) and (token is None or public_url is None):
        raise ConfigError(
            f"{host} can be reached by others",
            hint="listen on 127.0.0.1; or give --token-file and, where TLS is in front, --public-url https://NAME",
        )
    names = {f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"}
    if is_loopback(host) and ":" not in host:
        names.add(f"{host}:{port}")
    origins = {f"http://{name}" for name in names}
    if public_url is not None:
        url = urlsplit(public_url)
        if url.scheme != "https" or not url.hostname or url.path.strip("/") or url.query or "@" in url.netloc:
            raise ConfigError("--public-url is not usable", hint="write https://NAME, as people write it in a browser")
        names.add(url.netloc.lower())
        origins.add(f"https://{url.netloc.lower()}")
    return Access(frozenset(names), frozenset(origins), token, public_url is not None, defences)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_listen(text: str) -> tuple[str, int]:
    """HOST:PORT, IPv6 in brackets. May raise: ConfigError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"{text!r} is no place to listen", hint="write HOST:PORT, such as 127.0.0.1:8080")
    return host, int(port)


def read_token(path: Path) -> Secret:
    """May raise: ConfigError; it never tells what the file holds."""
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"others may read {path.name}", hint=f"chmod 600 {path.name}")
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{path.name} cannot be read") from None
    if len(text) < TOKEN_LEAST or any(not 33 <= ord(char) <= 126 for char in text):
        hint = "python -c 'import secrets; print(secrets.token_urlsafe(32))' > FILE; chmod 600 FILE"
        raise ConfigError(f"{path.name} holds no token of at least {TOKEN_LEAST} characters", hint=hint)
    return Secret(text)
