"""The dashboard's figures: thousands of positions on its pages, with a day of history behind them.

Positions are a synthetic market's (`crowd`), judged as a watch judges them; requests go over real sockets to the pages'
own thread. No chain is in any of the times, and so no page that asks one (a plan, doctor's first look).
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from monitor.core.errors import ConfigError
from monitor.core.types import BlockRef, Known
from monitor.history.rows import HistoryRow
from monitor.history.store import History, HistoryView
from monitor.pipeline.market import MarketState, Remembered
from monitor.pipeline.snapshot import Snapshot, judge
from monitor.pipeline.watch import Tick
from monitor.report import Report, Subject
from monitor.testing.crowd import NOW_S, crowd, market
from monitor.testing.figures import Figure
from monitor.web.access import access_for
from monitor.web.app import Pages
from monitor.web.behind import Endpoint
from monitor.web.board import Board, Chain
from monitor.web.defences import ALL
from monitor.web.portfolio import Asked, Portfolio
from monitor.web.thread import PageThread, bound
from monitor.web.view import Templates

DAY_S = 86_400
BLOCK_S = 12
ROUNDS = 15
FIRST_BYTE_MS, PAGE_MS, PAGE_BYTES = 100, 200, 1_000_000
LISTED = 100
MILLI = 1e3


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many positions, and how many looks at each are kept of the day."""

    positions: int = 5_000
    looks: int = 96


QUICK = Sizes(1_000, 24)


@dataclass
class Canned:
    """What stands behind the pages: a real history, and as many actions and alerts as pages show."""

    url: str
    position: str

    async def plan(self, position_id: str) -> dict[str, Any]:
        raise ConfigError("no guardian is configured")

    async def findings(self) -> tuple[int, Sequence[dict[str, Any]]]:
        found = {"schema": "levmon.finding/1", "check": "cache", "state": "ok", "detail": "can be written", "mend": ""}
        return NOW_S, [found] * 40

    def actions(self) -> Sequence[dict[str, Any]]:
        record = {"seq": 1, "at_s": str(NOW_S), "kind": "change", "to": "signed", "why": "within all limits"}
        sent = {"kind": "intent", "stage": "sent", "hash": "0x" + "ab" * 32, "said": "accepted by 2 of 2"}
        one = {
            "action": "a",
            "position": self.position,
            "kind": "aave-v3/repay",
            "state": "final_ok",
            "note": "",
            "nonce": "1",
            "decision": {"cause": "below", "why": "least cost", "health_expected": ["14", "10"]},
            "mined": {"hash": sent["hash"], "block": "1", "block_hash": sent["hash"], "ok": True},
            "outcome": {"block": "1", "level": "ok", "num": "14", "den": "10"},
            "attempts": [sent],
            "records": [record] * 7,
        }
        return [one] * LISTED

    def holds(self) -> Sequence[dict[str, Any]]:
        return ()

    def alerts(self) -> Sequence[dict[str, Any]]:
        one = {"severity": "warn", "subject": "position", "text": "health fell below 1.5", "waits_for": []}
        return [{"schema": "levmon.alert.listed/1", **one}] * LISTED

    def series(self, position_id: str, since_s: int, until_s: int, most: int) -> Sequence[HistoryRow]:
        view = HistoryView(self.url)
        try:
            return view.rows(position_id, since_s, until_s, most)
        finally:
            view.close()

    def endpoints(self) -> Sequence[Endpoint]:
        return [Endpoint("ethereum", "node.example", "alive", 1, 0, "")]


def block(number: int) -> BlockRef:
    """The market's moment is that of block DAY_S / BLOCK_S."""
    at_s = NOW_S - DAY_S + number * BLOCK_S
    return BlockRef(1, number, f"0x{number:064x}", f"0x{number - 1:064x}", at_s)


LAST = DAY_S // BLOCK_S


def watched(size: int) -> Tick:
    """A crowd as a watch judges it."""
    of = market("3.6", 1)
    columns = crowd(of, size, 2)
    at = block(LAST)
    found = tuple(of.bulk.position(of.globals_, columns, row, at) for row in range(size))
    states = {of.bulk.facts.market: MarketState(Remembered(of.bulk.facts, None), found)}
    subjects = [Subject(of.bulk.facts.market, "core", one.owner) for one in found]
    return Tick(Snapshot(at, judge(subjects, states, at).reports, states))


def moved(report: Report, parts: int, at: BlockRef) -> Report:
    """The same with health moved by so many thousandths, at that block."""
    health = report.health
    if health is None or not isinstance(health.verdict, Known):
        return report
    verdict = Known(health.verdict.numerator * (1000 + parts), health.verdict.denominator * 1000)
    return replace(report, block=at, health=replace(health, verdict=verdict, block=at))


def remembered(url: str, reports: Sequence[Report], looks: int) -> int:
    """A day of looks at all of them; answers how many rows were kept."""
    history = History(url)
    try:
        rows = 0
        for look in range(1, looks + 1):
            at = block(look * LAST // looks)
            rows += history.keep([moved(one, (look * 37) % 90 - 45, at) for one in reports], at.timestamp)
        return rows
    finally:
        history.close()


@dataclass
class Served:
    """The pages at a port of this machine, and the parts that they are made of."""

    port: int
    thread: PageThread
    board: Board

    def take(self, tick: Tick) -> float:
        """Seconds that taking it in holds the pages up."""
        done, took = threading.Event(), [0.0]

        def work() -> None:
            began = time.perf_counter()
            self.board.take(Chain("ethereum", 1, tick.snapshot.block, NOW_S), tick)
            took[0] = time.perf_counter() - began
            done.set()

        self.thread.call(work)
        done.wait()
        return took[0]

    def ask(self, path: str) -> tuple[float, float, int]:
        """Seconds to the first byte and to the last, and how many bytes came. May raise: ValueError."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.connect()
            began = time.perf_counter()
            connection.request("GET", path)
            answer = connection.getresponse()
            first = answer.read(1)
            first_s = time.perf_counter() - began
            whole = first + answer.read()
            if answer.status != 200:
                raise ValueError(f"{path} answered {answer.status}")
            return first_s, time.perf_counter() - began, len(whole)
        finally:
            connection.close()


@contextmanager
def served(behind: Canned) -> Iterator[Served]:
    listener = bound("127.0.0.1", 0)
    port = listener.getsockname()[1]
    board, access = Board(), access_for("127.0.0.1", port, None, None)
    with PageThread(listener, lambda: Pages(board, behind, access, lambda _: None).app()) as thread:
        yield Served(port, thread, board)


def measure(sizes: Sizes, tell: Callable[[str], None]) -> list[Figure]:
    """All figures of one run."""
    tell(f"so many processes want the {os.cpu_count()} cores: {os.getloadavg()[0]:.1f}")
    tell(f"judging {sizes.positions} positions")
    tick = watched(sizes.positions)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "history.sqlite3"
        url = f"sqlite:///{file}"
        tell(f"keeping a day of {sizes.looks} looks at each")
        rows = remembered(url, tick.snapshot.reports, sizes.looks)
        behind = Canned(url, tick.snapshot.reports[0].id)
        with served(behind) as pages:
            name = f"{sizes.positions:,} positions"
            found = first_page(pages, tick, name)
            tell("asking every page")
            found += every_page(pages, tick, f"{name}, {rows:,} looks")
            found += updates(tick, name)
            return found


def first_page(pages: Served, tick: Tick, name: str) -> list[Figure]:
    """The portfolio, when nothing was made of it before, and again and again; beside all positions in one page."""
    pages.take(tick)
    cold_s, _, size = pages.ask("/")
    again = [pages.ask("/") for _ in range(ROUNDS)]
    floor = [pages.ask("/static/app.css")[0] for _ in range(ROUNDS)]
    whole = sum(pages.ask(f"/?page={page}")[2] for page in range(1, -(-len(tick.snapshot.reports) // 100) + 1))
    held = []
    for number in range(ROUNDS):
        at = block(LAST + 1 + number)
        held.append(pages.take(Tick(Snapshot(at, tuple(moved(one, 1, at) for one in tick.snapshot.reports), {}))))
    pages.take(tick)
    first_ms = median(one[0] for one in again) * MILLI
    floor_ms = median(floor) * MILLI
    return [
        Figure("U1", f"{name}: first byte, nothing made yet", cold_s * MILLI, "ms", FIRST_BYTE_MS, 300, floor=floor_ms),
        Figure("U1", f"{name}: first byte", first_ms, "ms", FIRST_BYTE_MS, 300, floor=floor_ms),
        Figure("U1", f"{name}: the page", size / 1e3, "kB", PAGE_BYTES / 1e3, PAGE_BYTES / 1e3, peer=whole / 1e3),
        Figure("U2", f"{name}: taking a block in, all changed", median(held) * MILLI, "ms", FIRST_BYTE_MS),
    ]


def every_page(pages: Served, tick: Tick, name: str) -> list[Figure]:
    """Each from the question to its last byte, the slowest of all positions' pages that were asked."""
    reports = tick.snapshot.reports
    some = [f"/positions/{quote(reports[at * len(reports) // ROUNDS].id, safe='')}" for at in range(ROUNDS)]
    groups = {"/": ["/"] * ROUNDS, "a position": some, "a search": [f"/?q={number:02x}" for number in range(ROUNDS)]}
    groups |= {path: [path] * ROUNDS for path in ("/markets", "/actions", "/alerts", "/system")}
    found = []
    for what, paths in groups.items():
        began_s = time.process_time()
        worst = max(pages.ask(path)[1] for path in paths) * MILLI
        own_ms = (time.process_time() - began_s) / len(paths) * MILLI
        note = f"{own_ms:.1f} ms of processor time on average, asking and what goes on beside it included"
        found.append(Figure("U3", f"{name}: {what}, slowest of {len(paths)}", worst, "ms", PAGE_MS, 600, note=note))
    return found


def updates(tick: Tick, name: str) -> list[Figure]:
    """What a block sends to an open portfolio when so many of the shown positions changed, beside the page itself."""
    board = Board()
    board.take(Chain("ethereum", 1, tick.snapshot.block, NOW_S), tick)
    portfolio = Portfolio(board, Templates(ALL))
    before = portfolio.view(Asked())
    whole = sum(len(one) for one in (*before.parts.values(), *before.rows.values())) / 1e3
    found = []
    for number, count in enumerate((0, 1, 10, 100)):
        at = block(LAST + number + 1)
        changed = set(board.order()[:count])
        reports = [moved(one, 1, at) if one.id in changed else one for one in board.reports.values()]
        began = time.perf_counter()
        board.take(Chain("ethereum", 1, at, NOW_S), Tick(Snapshot(at, tuple(reports), {})))
        fresh = portfolio.view(Asked())
        told = fresh.changes(before)
        took = time.perf_counter() - began
        before = fresh
        note = f"{took * MILLI:.1f} ms of work"
        what = f"{name}, {count} of 100 shown changed: sent"
        found.append(Figure("U4", what, len(told) / 1e3, "kB", None, peer=whole, note=note))
    return found
