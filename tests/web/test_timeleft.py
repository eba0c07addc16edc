"""Time left is reckoned beside the page, and a row never shows that of another moment."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

from monitor.core.types import Known
from monitor.pipeline.snapshot import Snapshot
from monitor.pipeline.watch import Tick
from monitor.report import Report
from monitor.web.board import Board, Chain
from monitor.web.defences import ALL
from monitor.web.portfolio import Asked, Portfolio
from monitor.web.timeleft import LATER, TimesLeft
from monitor.web.view import Templates, View
from tests.web.test_markets import AT, watched


def times(view: View) -> list[str]:
    found = [re.search(r'data-label="Time left"[^>]*>([^<]*)<', html) for html in view.rows.values()]
    return [one[1] for one in found if one]


def lower(report: Report) -> Report:
    health = report.health
    assert health is not None
    assert isinstance(health.verdict, Known)
    verdict = Known(health.verdict.numerator * 9 // 10, health.verdict.denominator)
    return replace(report, health=replace(health, verdict=verdict))


async def settled(board: Board, portfolio: Portfolio) -> View:
    """Once every row of the first page is reckoned."""
    while True:
        version = board.version
        view = portfolio.view(Asked())
        if LATER not in times(view):
            return view
        await board.changed(version)


def test_what_is_not_reckoned_yet_says_so_and_is_pushed() -> None:
    async def looked() -> None:
        _, board, _ = watched(12)
        whole = Portfolio(board, Templates(ALL)).view(Asked())
        assert LATER not in times(whole), "without a limit all is there at once"
        assert len(set(times(whole))) > 3
        portfolio = Portfolio(board, Templates(ALL), TimesLeft(board, 0, rest=0))
        first = portfolio.view(Asked())
        assert set(times(first)) == {LATER}
        last = await settled(board, portfolio)
        assert last.rows == whole.rows
        told = last.changes(first)
        assert told, "so that an open page hears of it"
        reports = board.reports
        worst = next(one for one in board.order() if isinstance(getattr(reports[one].health, "verdict", None), Known))
        board.take(Chain("ethereum", 1, AT, 0), Tick(Snapshot(AT, (lower(reports[worst]),), {})))
        moved = portfolio.view(Asked())
        assert times(moved).count(LATER) == 1, "its old time is not shown beside its new health"
        assert LATER not in times(await settled(board, portfolio))

    asyncio.run(looked())
