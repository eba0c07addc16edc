"""The JSON API below /api/v1: the same objects as the commands' --json, of the newest block that was taken in."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from aiohttp import web

from monitor.core.errors import ConfigError, LevmonError
from monitor.core.text import REASON_LIMIT, clean
from monitor.core.types import Level
from monitor.pipeline.questions import after, explanation_dict, whatif_dict
from monitor.policy.levels import URGENCY
from monitor.report import Report
from monitor.web.behind import Behind
from monitor.web.board import Board, Chain
from monitor.web.markets import Markets, as_dict
from monitor.web.openapi import document
from monitor.web.portfolio import PAGE, WORDS
from monitor.web.position import asked, explained

KNOWN = {"page", "level", "q"}


class Service:
    """The handlers."""

    def __init__(self, board: Board, behind: Behind, markets: Markets, *, token: bool) -> None:
        self._board, self._behind, self._markets, self._token = board, behind, markets, token

    def routes(self) -> list[web.RouteDef]:
        at = "/api/v1"
        return [
            web.get(f"{at}/openapi.json", self._document),
            web.get(f"{at}/summary", self._summary),
            web.get(f"{at}/positions", self._positions),
            web.get(f"{at}/positions/{{id}}", self._position),
            web.get(f"{at}/positions/{{id}}/explanation", self._explanation),
            web.get(f"{at}/positions/{{id}}/whatif", self._what_if),
            web.get(f"{at}/positions/{{id}}/plan", self._plan),
            web.get(f"{at}/markets", self._of_markets),
            web.get(f"{at}/actions", self._actions),
            web.get(f"{at}/alerts", self._alerts),
            web.get(f"{at}/system", self._system),
        ]

    async def _document(self, _: web.Request) -> web.Response:
        return web.json_response(document(token=self._token))

    async def _summary(self, _: web.Request) -> web.Response:
        board = self._board
        sums = [
            {
                "unit": clean(unit.symbol, 20),
                "decimals": unit.decimals,
                "positions": one.positions,
                "collateral": str(one.collateral),
                "debt": str(one.debt),
            }
            for unit, one in board.sums.items()
        ]
        return web.json_response(
            {
                "schema": "levmon.summary/1",
                "positions": len(board.reports),
                "levels": {level.value: board.counts[level] for level in URGENCY},
                "sums": sums,
                "chains": chains(board),
            }
        )

    async def _positions(self, request: web.Request) -> web.Response:
        query = request.query
        page, level, words = query.get("page", "1"), query.get("level"), query.get("q", "")
        if not (page.isascii() and page.isdecimal() and len(page) < 7 and int(page)):
            return error(400, "page is a number from 1", "")
        if level is not None and level not in set(Level):
            return error(400, "no such level", "one of " + ", ".join(Level))
        if len(words) > WORDS:
            return error(400, f"q has at most {WORDS} characters", "")
        order = self._board.order(None if level is None else Level(level), words)
        start = (int(page) - 1) * PAGE
        told = [self._board.reports[one].to_dict() for one in order[start : start + PAGE]]
        pages = max(-(-len(order) // PAGE), 1)
        return web.json_response(
            {
                "schema": "levmon.positions/1",
                "page": int(page),
                "pages": pages,
                "found": len(order),
                "positions": told,
            }
        )

    def _report(self, request: web.Request) -> Report | None:
        return self._board.reports.get(request.match_info["id"])

    async def _position(self, request: web.Request) -> web.Response:
        report = self._report(request)
        return missing() if report is None else web.json_response(report.to_dict())

    async def _explanation(self, request: web.Request) -> web.Response:
        report = self._report(request)
        if report is None:
            return missing()
        return web.json_response(explanation_dict(report, explained(self._board, report)))

    async def _what_if(self, request: web.Request) -> web.Response:
        report = self._report(request)
        if report is None:
            return missing()
        try:
            shocks, days = asked(request.query, request.query.getall("shock", []))
            made, changes = after(report, self._board.state(report), shocks, days)
        except ConfigError as wrong:
            return error(400, wrong.message, wrong.hint)
        return web.json_response(whatif_dict(report, made, changes, days))

    async def _plan(self, request: web.Request) -> web.Response:
        report = self._report(request)
        if report is None:
            return missing()
        try:
            return web.json_response(await self._behind.plan(report.id))
        except ConfigError as wrong:
            return error(400, wrong.message, wrong.hint)
        except LevmonError as failed:
            return error(503, failed.message, failed.hint)

    async def _of_markets(self, _: web.Request) -> web.Response:
        return web.json_response(as_dict(self._markets, await self._markets.falls()))

    async def _actions(self, _: web.Request) -> web.Response:
        try:
            actions = await asyncio.to_thread(self._behind.actions)
            holds = await asyncio.to_thread(self._behind.holds)
        except LevmonError as failed:
            return error(503, failed.message, failed.hint)
        return web.json_response({"schema": "levmon.actions/1", "actions": list(actions), "holds": list(holds)})

    async def _alerts(self, _: web.Request) -> web.Response:
        try:
            alerts = await asyncio.to_thread(self._behind.alerts)
        except LevmonError as failed:
            return error(503, failed.message, failed.hint)
        return web.json_response({"schema": "levmon.alerts/1", "alerts": list(alerts)})

    async def _system(self, _: web.Request) -> web.Response:
        try:
            looked_s, findings = await self._behind.findings()
        except LevmonError as failed:
            return error(503, failed.message, failed.hint)
        return web.json_response(
            {
                "schema": "levmon.system/1",
                "chains": chains(self._board),
                "endpoints": [asdict(one) for one in self._behind.endpoints()],
                "looked_s": str(looked_s),
                "findings": list(findings),
            }
        )


def chains(board: Board) -> list[dict[str, Any]]:
    """Where each chain stands."""
    return [_chain(chain) for chain in board.chains.values()]


def _chain(chain: Chain) -> dict[str, Any]:
    block = chain.block
    return {
        "name": clean(chain.name, 40),
        "chain_id": chain.chain_id,
        "block": None
        if block is None
        else {"number": str(block.number), "hash": block.hash, "timestamp": str(block.timestamp)},
        "trouble": clean(chain.trouble, REASON_LIMIT),
    }


def error(status: int, text: str, hint: str) -> web.Response:
    """The object of schema `levmon.error/1`."""
    told = {"schema": "levmon.error/1", "error": clean(text, REASON_LIMIT), "hint": clean(hint, REASON_LIMIT)}
    return web.json_response(told, status=status)


def missing() -> web.Response:
    return error(404, "no such position is watched", "see /api/v1/positions")
