"""Rows S1 to S5 and S16: hostile names, secrets, foreign pages and hosts, and where it listens; by raw requests."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from monitor.core.errors import ConfigError, RpcUnavailable
from monitor.core.secret import Secret
from monitor.report import Report
from monitor.web.access import COOKIE, access_for, parse_listen, read_token
from monitor.web.app import FILES
from monitor.web.defences import ALL
from tests import canaries
from tests.faults.rows import row
from tests.web.dash import TOKEN, Told, dash, report

MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
ESCAPES = "\x1b]0;title\x07\x1b[2J\u202etxet\u0000\u200b"
HUGE = "W" * 2**20
PAGES = ("/", "/actions", "/alerts", "/system")
API = ("/api/v1/summary", "/api/v1/positions", "/api/v1/actions", "/api/v1/alerts", "/api/v1/system")


class Markup(HTMLParser):
    """Collects what runs or is fetched and is not ours."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        ours = tag == "script" and dict(attrs).get("src") == "/static/app.js"
        if tag in {"script", "img", "iframe", "style", "object"} and not ours:
            self.found.append(tag)


def markup_of(text: str) -> list[str]:
    parser = Markup()
    parser.feed(text)
    return parser.found


def hostile(text: str) -> tuple[Told, list[Report]]:
    """The text in every place that a chain, a node or a file of others can put one."""
    action = {
        "action": text,
        "position": text,
        "kind": f"aave-v3/{text}",
        "state": "planned",
        "note": text,
        "nonce": "1",
        "decision": {"cause": text, "why": text, "health_expected": text},
        "mined": None,
        "attempts": [
            {"kind": "intent", "stage": "sent", "hash": text, "max_fee_wei": "1", "tip_wei": "1", "said": text}
        ],
        "records": [{"seq": 1, "at_s": "1", "kind": text, "to": text, "why": text}],
    }
    channel = {
        "schema": "levmon.channel/1",
        "channel": text,
        "pending": 1,
        "failing_s": "1",
        "failures": 1,
        "error": text,
    }
    alert = {"schema": "levmon.alert.listed/1", "severity": text, "subject": text, "text": text, "waits_for": [text]}
    finding = {"state": "bad", "check": text, "detail": text, "mend": text}
    hold = {"scope": text, "reason": text}
    data: dict[str, list[dict[str, Any]]] = {
        "actions": [action],
        "alerts": [channel, alert],
        "findings": [finding],
        "holds": [hold],
    }
    found = [report(1, 10**6, symbol=text, name=text, market=text), report(2, None, reason=text, name=text)]
    return Told(data), found


@row("S1", "a name with markup is text on every page and in the stream", "escape")
def test_markup_in_names(off: str | None) -> None:
    behind, reports = hostile(MARKUP)
    with dash(reports, off=off, behind=behind) as made:
        ids = [quote(one, safe="") for one in made.board.reports]
        paths = [*PAGES, "/?q=" + quote(MARKUP), *(f"/{page}/{one}" for one in ids for page in ("positions", "plan"))]
        paths.append(f"/positions/{ids[0]}?shock.{quote(MARKUP)}=-20&days={quote(MARKUP)}")
        for path in paths:
            status, _, text = made.ask(path)
            assert status == 200, path
            assert markup_of(text) == [], path
        _, _, stream = made.ask("/events?of=/", most=10**6)
        assert "&lt;script" in stream
        assert "<script" not in stream
        assert markup_of("<p onclick=x><script>y</script><img src=z>") == ["onclick", "script", "img"]


def as_it_is(text: str, *_: int) -> str:
    return text


@row(
    "S1",
    "terminal escapes, a right-to-left override, NUL and a megabyte in a name are shown as what they are, and cut",
    "monitor.wording:clean",
    careless=as_it_is,
)
def test_invisible_and_endless_names() -> None:
    for text in (ESCAPES, HUGE):
        with dash([report(1, 10**6, symbol=text, name=text), report(2, None, reason=text)]) as made:
            ids = [quote(one, safe="") for one in made.board.reports]
            for path in ("/", "/api/v1/positions", *(f"/positions/{one}" for one in ids)):
                _, _, told = made.ask(path)
                assert len(told) < 100_000, path
                for char in "\x1b\x07\u202e\x00\u200b":
                    assert char not in told, path


@row("S2", "an error that nobody expected shows nothing of itself, on no page and in no log", "scrub")
def test_unexpected_errors(off: str | None) -> None:
    secret = f"http://node.example/{canaries.RPC[:-1]}"  # all but the whole canary, which no failure may hold
    with dash([report(1, 10**6)], off=off, behind=Told(error=ValueError(secret))) as made:
        for path in ("/actions", "/alerts", "/system", *API[2:]):
            status, _, text = made.ask(path)
            assert status == 500
            assert secret not in text, path
        assert made.ask("/")[0] == 200, "the rest goes on"
        assert made.said
        assert not any(secret in text for text in made.said)


@row("S2", "an endpoint that fails is told by its host", limit="aliases are all that the pages are given")
def test_endpoints_by_host() -> None:
    with dash([report(1, 10**6)], behind=Told(error=RpcUnavailable("node.example: timed out"))) as made:
        for path in ("/actions", "/api/v1/actions"):
            status, _, text = made.ask(path)
            assert status == 503
            assert "node.example: timed out" in text


def shows(secret: Secret) -> str:
    return secret.reveal()


@row(
    "S3",
    "the token shows nowhere: in no answer, no header, no cookie and no repr",
    "monitor.core.secret:Secret.__repr__",
    careless=shows,
)
def test_the_token_shows_nowhere() -> None:
    access = access_for("127.0.0.1", 1, Secret(TOKEN), None)
    assert TOKEN not in repr(access)
    with dash([report(1, 10**6)], token=TOKEN) as made:
        origin = {"Origin": f"http://127.0.0.1:{made.port}", "Content-Type": "application/x-www-form-urlencoded"}
        answers = [
            made.ask("/login", origin, method="POST", body=f"token={TOKEN}".encode()),
            made.ask("/login", origin, method="POST", body=f"token={TOKEN}x".encode()),
            *(made.ask(path, {"Authorization": f"Bearer {TOKEN}"}) for path in (*PAGES, *API)),
        ]
        assert [status for status, _, _ in answers] == [303, 403, *[200] * 9]
        assert not any(TOKEN in f"{headers}{text}" for _, headers, text in answers)
        assert made.said == []


@row("S4", "a name that is not ours, pointed at this machine, is not answered", "hosts")
def test_dns_rebinding(off: str | None) -> None:
    with dash([report(1, 10**6)], off=off) as made:
        for host in ("evil.example", f"evil.example:{made.port}", f"127.0.0.1.evil.example:{made.port}", "127.0.0.1:1"):
            for path in ("/", *API, "/events?of=/", "/static/app.js"):
                assert made.ask(path, host=host, most=2000)[0] == 421, (host, path)
        for host in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
            assert made.ask("/", host=f"{host}:{made.port}")[0] == 200


@row("S4", "what another site's page asks for, or sends, is refused", "origins")
def test_foreign_pages(off: str | None) -> None:
    with dash([report(1, 10**6)], off=off, token=TOKEN) as made:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        for foreign in ("http://evil.example", "null", f"https://127.0.0.1:{made.port}", "http://127.0.0.1:1"):
            for path in ("/", "/events?of=/", *API):
                assert made.ask(path, {**bearer, "Origin": foreign}, most=2000)[0] == 403, (foreign, path)
        fetched = {**bearer, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
        assert made.ask("/api/v1/positions", fetched)[0] == 403
        followed = {**bearer, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert made.ask("/", followed)[0] == 200, "a link may lead here"
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        body = f"token={TOKEN}".encode()
        assert made.ask("/login", form, method="POST", body=body)[0] == 403, "it tells no origin"
        ours = {**form, "Origin": f"http://127.0.0.1:{made.port}"}
        assert made.ask("/login", ours, method="POST", body=body)[0] == 303


@row("S4", "where there is a token, nothing is shown without it", "token")
def test_token_needed(off: str | None) -> None:
    with dash([report(1, 10**6)], off=off, token=TOKEN) as made:
        [position] = [quote(one, safe="") for one in made.board.reports]
        for told in (
            {},
            {"Authorization": "Bearer x"},
            {"Authorization": f"Bearer {TOKEN[:-1]}"},
            {"Cookie": f"{COOKIE}=x"},
        ):
            for path in (*PAGES, f"/positions/{position}", f"/plan/{position}"):
                status, headers, text = made.ask(path, told)
                assert (status, headers.get("location")) == (303, "/login"), path
                assert "core" not in text
            for path in ("/events?of=/", *API, "/api/v1/openapi.json"):
                assert made.ask(path, told, most=2000)[0] == 401, path
        assert made.ask("/login")[0] == 200
        assert made.ask("/", {"Authorization": f"Bearer {TOKEN}"})[0] == 200


@row("S4", "the cookie goes with no request of another site, and no script reads it", "strict_cookie")
def test_cookie(off: str | None) -> None:
    with dash([report(1, 10**6)], off=off, token=TOKEN) as made:
        form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://127.0.0.1:{made.port}"}
        _, headers, _ = made.ask("/login", form, method="POST", body=f"token={TOKEN}".encode())
        cookie = headers["set-cookie"]
        assert "SameSite=Strict" in cookie
        assert "HttpOnly" in cookie
        assert made.ask("/", {"Cookie": cookie.partition(";")[0]})[0] == 200


@row("S4", "the browser runs and shows only what we serve as files, and nobody frames us", "policy")
def test_content_policy(off: str | None) -> None:
    with dash([report(1, 10**6)], off=off) as made:
        for path in (*PAGES, "/nothing", "/static/app.js", "/api/v1/summary"):
            _, headers, text = made.ask(path)
            policy = headers.get("content-security-policy", "")
            assert "default-src 'none'" in policy, path
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            if path in PAGES:
                assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=)", text), path


@row(
    "S4",
    "nothing but the token is ever sent: every other request that is not GET is refused",
    limit="there is no code that changes anything",
)
def test_read_only() -> None:
    with dash([report(1, 10**6)]) as made:
        ours = {"Origin": f"http://127.0.0.1:{made.port}"}
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            for path in ("/", *PAGES, *API, "/static/app.js", "/events"):
                assert made.ask(path, ours, method=method, body=b"x=1")[0] in (403, 405), (method, path)
        assert made.ask("/login", ours, method="POST", body=b"x" * 10_000)[0] in (403, 413)


@row("S5", "it refuses to listen where others reach it, without a token and TLS in front", "loopback")
def test_other_places(off: str | None) -> None:
    defences = ALL.without(off) if off else ALL
    token, url = Secret(TOKEN), "https://levmon.example"
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org"):  # noqa: S104  # refused
        for given in ((None, None), (token, None), (None, url)):
            try:
                access_for(host, 8080, given[0], given[1], defences)
            except ConfigError:
                continue
            raise AssertionError(f"{host} with {given}")
    made = access_for("0.0.0.0", 8080, token, url, defences)  # noqa: S104  # with both
    assert made.secure
    assert "levmon.example" in made.hosts
    assert "0.0.0.0:8080" not in made.hosts  # nobody types that
    for wrong in ("http://levmon.example", "levmon.example", "https://a@levmon.example", "https://levmon.example/x"):
        try:
            access_for("127.0.0.1", 8080, token, wrong, defences)
        except ConfigError:
            continue
        raise AssertionError(wrong)


def test_where_to_listen_and_the_token_are_looked_at(tmp_path: Path) -> None:
    assert parse_listen("[::1]:80") == ("::1", 80)
    for wrong in ("8080", "127.0.0.1", ":80", "a:b", "a:99999", ""):
        with pytest.raises(ConfigError):
            parse_listen(wrong)
    file = tmp_path / "token"
    for text, mode in (("short", 0o600), (TOKEN, 0o644), (TOKEN + "\n" + TOKEN, 0o600), ("", 0o600)):
        file.write_text(text)
        file.chmod(mode)
        with pytest.raises(ConfigError) as refused:
            read_token(file)
        assert TOKEN not in str(refused.value)
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    assert read_token(file).reveal() == TOKEN


@row(
    "S16",
    "no page, form or API takes a URL or a setting",
    limit="there is no code for it: every field of every form, and every parameter, is looked at",
)
def test_no_urls_from_pages() -> None:
    with dash([report(1, 10**6)]) as made:
        [position] = [quote(one, safe="") for one in made.board.reports]
        before = made.ask("/api/v1/system")[2]
        fields: set[str] = set()
        for path in (*PAGES, f"/positions/{position}", "/login"):
            for sent in ("rpc_url", "url", "webhook", "next", "of"):
                _, headers, text = made.ask(f"{path}?{sent}={quote('http://evil.example/')}")
                assert "evil.example" not in text, (path, sent)
                assert "location" not in headers
            fields |= set(re.findall(r'name="([^"]*)"', made.ask(path)[2]))
        assert fields <= {"viewport", "color-scheme", "q", "level", "days", "token"} | {f"shock.0x{'cc' * 20}"}
        assert made.ask("/api/v1/system")[2] == before
        assert set(FILES) == {"app.css", "app.js", "icon.svg"}
        for path in ("/static/..%2fapp.py", "/static/../app.py", "/static/%2e%2e/app.py", "/static/x"):
            assert made.ask(path)[0] == 404
