"""The first page: all positions by urgency, a hundred at a time, what they come to, and where each chain stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from monitor.core.text import clean
from monitor.core.types import BlockRef, Level
from monitor.policy.levels import URGENCY
from monitor.report import Report, change_pct, nearest
from monitor.web.board import Board, summed
from monitor.web.timeleft import HOUR_S, LATER, TimesLeft
from monitor.web.view import Templates, View
from monitor.wording import buffer_text, full_owner, health_text, money, nearest_text, remarks, short_owner

PAGE = 100
WORDS = 80


@dataclass(frozen=True, slots=True)
class Asked:
    """Which of the positions: `page` from 1."""

    page: int = 1
    level: Level | None = None
    words: str = ""

    @classmethod
    def of(cls, query: Any) -> Asked:
        """From a query; what makes no sense there is as if it were not there."""
        page, level = str(query.get("page", "")), str(query.get("level", ""))
        number = int(page) if page.isascii() and page.isdecimal() and len(page) < 7 else 1
        return cls(max(number, 1), Level(level) if level in set(Level) else None, str(query.get("q", ""))[:WORDS])


class Portfolio:
    """Rows are filled once for each report that shows another text, and kept."""

    def __init__(self, board: Board, templates: Templates, left: TimesLeft | None = None) -> None:
        self._board, self._templates, self._left = board, templates, left or TimesLeft(board)
        self._rows: dict[str, tuple[Report, tuple[Any, ...], str]] = {}

    def view(self, asked: Asked) -> View:
        board = self._board
        self._left.begin()
        order = board.order(asked.level, asked.words)
        pages = max(-(-len(order) // PAGE), 1)
        page = min(asked.page, pages)
        shown = order[(page - 1) * PAGE : page * PAGE]
        rows = {f"p{board.key(one)}": self._row(board.reports[one]) for one in shown}
        parts = {
            "chains": chains_part(board, self._templates),
            "summary": self._templates.fill("summary.html", **self._summary(asked)),
            "pages": self._templates.fill("pages.html", page=page, pages=pages, asked=asked, found=len(order)),
        }
        return View("portfolio.html", "Portfolio", parts, rows, {"asked": asked, "levels": URGENCY})

    def _summary(self, asked: Asked) -> dict[str, Any]:
        board = self._board
        block = next((chain.block for chain in board.chains.values() if chain.block), BlockRef(0, 0, "", "", 0))
        sums = [
            (clean(unit.symbol, 8), found.positions, money(health, "collateral"), money(health, "debt"))
            for unit, found in sorted(board.sums.items(), key=lambda one: (one[0].symbol, one[0].decimals))
            if found.positions
            for health in (summed(unit, found, block),)
        ]
        counts = [(level, board.counts[level]) for level in URGENCY]
        return {"counts": counts, "sums": sums, "total": len(board.reports), "asked": asked}

    def _row(self, report: Report) -> str:
        kept = self._rows.get(report.id)
        if kept is not None and kept[0] is report:
            return kept[2]
        said = cells(report)
        seen = tuple((name, str(value)) for name, value in said.items())
        left = self._left.of(report, (*seen, report.block.timestamp // HOUR_S if report.block else 0))
        texts = (*seen, left)
        if kept is not None and kept[1] == texts:
            html = kept[2]
        else:
            html = self._templates.fill("row.html", key=self._board.key(report.id), id=report.id, left=left, **said)
        if left != LATER:
            self._rows[report.id] = (report, texts, html)
        return html


def chains_part(board: Board, templates: Templates) -> str:
    """Where each chain stands."""
    return templates.fill("chains.html", chains=list(board.chains.values()))


def cells(report: Report) -> dict[str, Any]:
    """What a row says of a position, but for the time that is left."""
    near = nearest(report.liquidation_prices)
    return {
        "level": report.level.value,
        "health": health_text(report),
        "distance": buffer_text(report),
        "nearest": nearest_text(report),
        "move": "" if near is None else signed(change_pct(near, 1)),
        "collateral": money(report.health, "collateral"),
        "debt": money(report.health, "debt"),
        "market": clean(report.subject.market, 40),
        "owner": short_owner(report),
        "whole_owner": full_owner(report),
        "chain": report.subject.ref.chain_id,
        "remarks": remarks(report)[:3],
    }


def signed(percent: str) -> str:
    return f"{percent}%" if percent.startswith("-") or percent == "0" else f"+{percent}%"
