"""Routes, and what stands before all of them: who may ask, what a browser may do with the answer, and what went wrong.

The one handler that every request passes is a supervision point, and so may catch everything.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from urllib.parse import parse_qsl, unquote, urlsplit

from aiohttp import web
from multidict import MultiDict

from monitor.core.errors import ConfigError, LevmonError
from monitor.core.text import REASON_LIMIT, clean
from monitor.web import charts, lists, markets
from monitor.web.access import Access
from monitor.web.behind import Behind
from monitor.web.board import Board
from monitor.web.live import Live
from monitor.web.portfolio import Asked, Portfolio, cells
from monitor.web.position import view as position_view
from monitor.web.position import what_if
from monitor.web.service import Service
from monitor.web.timeleft import TimesLeft, left_text
from monitor.web.view import STATIC, Templates, View

BODY_BYTES = 4096
AT_ONCE_S = 0.03
"""So long a page may take for what can also come later."""
FIELDS = 100
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FILES = {"app.css": "text/css", "app.js": "text/javascript", "icon.svg": "image/svg+xml"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pages:
    """The handlers of pages. `say` is told of what nobody expected."""

    def __init__(self, board: Board, behind: Behind, access: Access, say: Callable[[str], None]) -> None:
        self._board, self._behind, self._access, self._say = board, behind, access, say
        self._templates = Templates(access.defences)
        self._portfolio = Portfolio(board, self._templates, TimesLeft(board, AT_ONCE_S))
        charts.library()
        self._markets = markets.Markets(board)
        self.live = Live(board)
        self._files = {name: (STATIC / name).read_bytes() for name in FILES}

    def app(self, besides: Sequence[web.RouteDef] = ()) -> web.Application:
        """All routes behind the one handler, and those that somebody else answers."""
        app = web.Application(middlewares=[self._guard], client_max_size=BODY_BYTES)
        app.add_routes(
            [
                *(
                    web.get(path, self._page)
                    for path in ("/", "/markets", "/positions/{id}", "/actions", "/alerts", "/system")
                ),
                web.get("/positions/{id}/whatif", self._answer),
                web.get("/plan/{id}", self._plan),
                web.get("/events", self._events),
                web.get("/login", self._login_page),
                web.post("/login", self._login),
                web.get("/static/{name}", self._file),
                *Service(self._board, self._behind, self._markets, token=self._access.token is not None).routes(),
                *besides,
            ]
        )
        return app

    # -- before everything -------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = self._access.refused(request) or await handler(request)
        except web.HTTPException as raised:
            response = self._message(request, raised.status, raised.reason)
        except asyncio.CancelledError:
            raise
        except ConnectionError:
            return web.Response(status=503)  # whoever asked has gone
        except Exception as error:  # noqa: BLE001  # supervision point: one page that fails must not end the watch
            trace = sys.exc_info()[2]
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            where = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if trace else "?"
            self._say(f"a page failed: {type(error).__name__} at {where}")
            text = "This page failed; what is watched goes on." if self._access.defences.scrub else repr(error)
            response = self._message(request, 500, text)
        if not response.prepared:
            response.headers.update(HEADERS)
            if self._access.defences.policy:
                response.headers["Content-Security-Policy"] = POLICY
        return response

    def _message(self, request: web.Request, status: int, text: str) -> web.Response:
        if request.path.startswith(("/api/", "/events")):
            return web.json_response({"schema": "levmon.error/1", "error": text, "hint": ""}, status=status)
        return self._html(request, View("message.html", text, {}, more={"text": text}), status)

    def _html(self, request: web.Request, view: View, status: int = 200, *, live: bool = False) -> web.Response:
        here = request.path if request.path == "/" else "/" + request.path.split("/")[1]
        page = self._templates.page(view, here=here, live=live)
        return web.Response(text=page, status=status, content_type="text/html")

    # -- pages -------------------------------------------------------------------------------------------------------

    async def _page(self, request: web.Request) -> web.Response:
        head = request.path.lstrip("/").partition("/")[0]
        return self._html(request, await self._view(head, request.match_info.get("id", ""), request.query), live=True)

    async def _view(self, head: str, rest: str, query: Mapping[str, str]) -> View:
        """The page under that head, for what follows in its path. May raise: HTTPNotFound, HTTPServiceUnavailable."""
        behind, templates = self._behind, self._templates
        if not head:
            return self._portfolio.view(Asked.of(query))
        try:
            if head == "positions" and (report := self._board.reports.get(rest)) is not None:
                now_s = report.block.timestamp if report.block else int(time.time())
                rows = await asyncio.to_thread(behind.series, rest, now_s - charts.SPAN_S, now_s, charts.POINTS)
                return position_view(self._board, templates, self._board.reports[rest], query, rows)
            if head == "markets":
                return markets.view(self._markets, templates, await self._markets.falls())
            if head == "actions":
                found = await asyncio.to_thread(behind.actions)
                return lists.actions(templates, found, await asyncio.to_thread(behind.holds))
            if head == "alerts":
                return lists.alerts(templates, await asyncio.to_thread(behind.alerts))
            if head == "system":
                return lists.system(self._board, templates, behind.endpoints(), *await behind.findings())
        except LevmonError as failed:
            raise web.HTTPServiceUnavailable(reason=clean(failed.message.partition("\n")[0], REASON_LIMIT)) from None
        raise web.HTTPNotFound(reason="No such position is watched" if head == "positions" else "No such page")

    async def _answer(self, request: web.Request) -> web.Response:
        """What if, as a part of the position's page."""
        report = self._board.reports.get(request.match_info["id"])
        if report is None:
            raise web.HTTPNotFound(reason="No such position is watched")
        told = what_if(self._board, report, request.query)
        return web.Response(text=self._templates.fill("whatif.html", told=told), content_type="text/html")

    async def _plan(self, request: web.Request) -> web.Response:
        report = self._board.reports.get(request.match_info["id"])
        if report is None:
            raise web.HTTPNotFound(reason="No such position is watched")
        plan, wrong = None, ""
        try:
            plan = await self._behind.plan(report.id)
        except ConfigError as nothing:
            wrong = clean(f"{nothing.message}; {nothing.hint}" if nothing.hint else nothing.message, REASON_LIMIT)
        except LevmonError as failed:
            wrong = clean(failed.message, REASON_LIMIT)
        said = cells(report)
        standing = self._templates.fill("standing.html", report=report, left=left_text(report), **said)
        more = {"report": report, "plan": plan, "wrong": wrong}
        title = f"Plan for {said['owner']} in {said['market']}"
        return self._html(request, View("plan.html", title, {"standing": standing}, more=more))

    # -- the stream, the token, the files ----------------------------------------------------------------------------

    async def _events(self, request: web.Request) -> web.StreamResponse:
        try:
            page = urlsplit(request.query.get("of", "/"))
            query = MultiDict(parse_qsl(page.query, max_num_fields=FIELDS))
        except ValueError:
            raise web.HTTPBadRequest(reason="Not a page") from None
        head, _, rest = page.path.lstrip("/").partition("/")
        make = partial(self._view, head, unquote(rest), query)
        await make()  # a page that is not there has no events either
        return await self.live.stream(request, make)

    async def _login_page(self, request: web.Request) -> web.Response:
        return self._html(request, View("login.html", "Token", {}, more={"wrong": False}))

    async def _login(self, request: web.Request) -> web.Response:
        said = (await request.post()).get("token", "")
        if not isinstance(said, str) or not self._access.fits(said):
            return self._html(request, View("login.html", "Token", {}, more={"wrong": True}), 403)
        response = web.Response(status=303, headers={"Location": "/"})
        self._access.admit(response)
        return response

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in FILES:
            raise web.HTTPNotFound(reason="No such file")
        return web.Response(body=self._files[name], content_type=FILES[name], charset="utf-8")
