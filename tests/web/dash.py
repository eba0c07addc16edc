"""A dashboard on a free port with positions that no chain has, and raw requests to it."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from monitor.core.errors import ConfigError
from monitor.core.secret import Secret
from monitor.core.types import (
    BlockRef,
    Health,
    Known,
    Leg,
    LiquidationPrice,
    MarketRef,
    NoDebt,
    Position,
    Rule,
    Side,
    Unit,
)
from monitor.history.rows import HistoryRow
from monitor.pipeline.snapshot import Snapshot
from monitor.pipeline.watch import Tick
from monitor.report import Report, Subject, of_health, unknown
from monitor.web.access import access_for
from monitor.web.app import Pages
from monitor.web.behind import Endpoint
from monitor.web.board import Board, Chain
from monitor.web.defences import ALL
from monitor.web.thread import PageThread, bound

TOKEN = "t0ken-of-the-dashboard-with-many-characters"
REF = MarketRef(1, "toy", "0x" + "11" * 20)
ASSET = "0x" + "cc" * 20


def block(number: int = 7) -> BlockRef:
    return BlockRef(1, number, f"0x{number:064x}", f"0x{number - 1:064x}", 1_700_000_000 + number)


def report(number: int, debt: int | None, at: BlockRef | None = None, **names: str) -> Report:
    """A position of 3,000,000 against `debt`; None: it could not be read; 0: nothing is owed."""
    at = at or block()
    subject = Subject(REF, names.get("market", "core"), f"0x{number:040x}", names.get("name", ""))
    if debt is None:
        return unknown(subject, names.get("reason", "no endpoint answered"), at)
    symbol = names.get("symbol", "WETH")
    leg = Leg(Side.COLLATERAL, ASSET, symbol, 18, 10**18, 3 * 10**6, 2, 3 * 10**6, 8000)
    verdict = Known(3 * 10**6, debt) if debt else NoDebt()
    health = Health(subject.id, at, verdict, Unit("USD", 2), legs=(leg,), collateral=3 * 10**6, debt=debt)
    position = Position(subject.id, subject.owner, at, Rule("toy", "1"), {ASSET: 3 * 10**6}, None)
    price = LiquidationPrice(ASSET, symbol, max(debt, 1), 2, 3 * 10**6, "below")
    made = of_health(subject, position, health, symbols={ASSET: symbol}, liquidation_prices=(price,) if debt else ())
    return Report(made.subject, made.level, made.cause, at, health, None, (), made.symbols, made.liquidation_prices)


def tick(reports: Sequence[Report], at: BlockRef | None = None) -> Tick:
    return Tick(Snapshot(at or block(), tuple(reports), {}))


@dataclass
class Told:
    """What stands behind the pages: plain data, or an error."""

    data: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    endpoint: str = "node.example"
    history: list[HistoryRow] = field(default_factory=list)
    error: Exception | None = None

    def _of(self, name: str) -> list[dict[str, Any]]:
        if self.error is not None:
            raise self.error
        return self.data.get(name, [])

    async def plan(self, position_id: str) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        raise ConfigError("no guardian is configured", hint="add [guardian]")

    async def findings(self) -> tuple[int, list[dict[str, Any]]]:
        return 1_700_000_000, self._of("findings")

    def actions(self) -> list[dict[str, Any]]:
        return self._of("actions")

    def holds(self) -> list[dict[str, Any]]:
        return self._of("holds")

    def alerts(self) -> list[dict[str, Any]]:
        return self._of("alerts")

    def series(self, position_id: str, since_s: int, until_s: int, most: int) -> list[HistoryRow]:
        return [row for row in self.history if since_s <= row.at_s <= until_s][-most:]

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("ethereum", self.endpoint, "alive", 7, 0, "")]


@dataclass
class Dash:
    """`ask` sends one request as it is given; the answer is status, headers, body."""

    port: int
    board: Board
    behind: Told
    thread: PageThread
    said: list[str] = field(default_factory=list)

    def ask(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        host: str | None = None,
        body: bytes | None = None,
        most: int | None = None,
    ) -> tuple[int, dict[str, str], str]:
        """`most`: read no more than that, of what does not end."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("Host", host or f"127.0.0.1:{self.port}")
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read(most) if most is None else answer.read1(most)
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, content.decode()
        finally:
            connection.close()

    def take(self, reports: Sequence[Report], at: BlockRef | None = None, chain: str = "ethereum") -> None:
        """A tick, taken in before this returns."""
        done = threading.Event()

        def work() -> None:
            self.board.take(Chain(chain, 1, at or block(), 1_700_000_010), tick(reports, at))
            done.set()

        self.thread.call(work)
        assert done.wait(20)


@contextmanager
def dash(
    reports: Sequence[Report] = (), *, off: str | None = None, token: str = "", behind: Told | None = None
) -> Iterator[Dash]:
    """The dashboard, with one defence off if so wanted."""
    listener = bound("127.0.0.1", 0)
    port = listener.getsockname()[1]
    access = access_for("127.0.0.1", port, Secret(token) if token else None, None, ALL.without(off) if off else ALL)
    board, behind, said = Board(), behind or Told(), list[str]()
    make: Callable[[], Any] = lambda: Pages(board, behind, access, said.append).app()  # noqa: E731
    with PageThread(listener, make) as thread:
        made = Dash(port, board, behind, thread, said)
        if reports:
            made.take(reports)
        yield made
