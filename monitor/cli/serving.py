"""What `levmon serve` puts behind its pages: the watch's ticks, the journals, the pools, plans and doctor's findings.

Pages run in another thread: what needs a connection is asked in the session's own loop, journals are read where they
are asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click
from aiohttp import web

from monitor.cli.sinks import Sink, events
from monitor.core.errors import ConfigError
from monitor.core.text import REASON_LIMIT, clean
from monitor.core.types import Known
from monitor.web.behind import Endpoint
from monitor.web.board import Board, Chain

if TYPE_CHECKING:
    from monitor.cli.session import Session
    from monitor.cli.targets import Wanted
    from monitor.history.rows import HistoryRow
    from monitor.history.store import HistoryView
    from monitor.journal.rows import Action
    from monitor.pipeline.watch import Tick
    from monitor.report import Report
    from monitor.web.thread import PageThread

T = TypeVar("T")
ACTIONS = 100
ALERTS = 100
LOOK_AGAIN_S = 300
OUTCOME_S = 3600
"""What happens to a position later than this after its action says nothing of the action."""
LOOKS = 2000
LOOKED_AFTER = ("/healthz", "/readyz", "/metrics")
COMES_ROUND_S = 10.0
PLANS = 2
"""So many plans are made at once."""


class ToPages(Sink):
    """Hands each tick to the pages' thread."""

    def __init__(self, board: Board) -> None:
        super().__init__()
        self._board = board
        self.pages: PageThread | None = None

    def _render(self, chain: str, tick: Tick, before: dict[str, Report]) -> None:
        block = tick.snapshot.block if tick.trouble is None else None
        chain_id = next((report.subject.ref.chain_id for report in tick.snapshot.reports), 0)
        trouble = tick.trouble.message if tick.trouble is not None else ""
        made = Chain(chain, chain_id, block, int(time.time()), tick.skipped, trouble)
        told = [click.unstyle(text) for text in events(tick)]
        if self.pages is not None:
            self.pages.call(lambda: self._board.take(made, tick, told))


class Looked:
    """/healthz, /readyz and /metrics among the pages, answered in the watch's own loop: whether it comes round."""

    def __init__(self) -> None:
        self._handlers: dict[str, Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def show(self, routes: Sequence[web.RouteDef]) -> None:
        """To be called in the watch's loop."""
        self._handlers, self._loop = {one.path: one.handler for one in routes}, asyncio.get_running_loop()

    def routes(self) -> list[web.RouteDef]:
        return [web.get(path, self._answer) for path in LOOKED_AFTER]

    async def _answer(self, request: web.Request) -> web.Response:
        handler = self._handlers.get(request.path)
        if handler is None or self._loop is None:
            return web.Response(status=503, text="it is starting\n")
        asked = asyncio.run_coroutine_threadsafe(handler(request), self._loop)
        try:
            async with asyncio.timeout(COMES_ROUND_S):
                return await asyncio.wrap_future(asked)
        except TimeoutError:
            return web.Response(status=503, text="the watch does not come round\n")


def outcome(history: HistoryView | None, action: Action) -> dict[str, Any] | None:
    """Health at the first look since the action was mined. May raise: LevmonError."""
    mined = action.mined
    if history is None or mined is None:
        return None
    rows = history.rows(action.position_id, action.created_s, action.changed_s + OUTCOME_S, LOOKS)
    for row in rows:
        if row.block_number is not None and row.block_number >= mined.block_number:
            known = row.verdict if isinstance(row.verdict, Known) else None
            return {
                "block": str(row.block_number),
                "level": row.level.value,
                "num": None if known is None else str(known.numerator),
                "den": None if known is None else str(known.denominator),
            }
    return None


class BehindTheSession:
    """Only reads."""

    def __init__(self, session: Session, loop: asyncio.AbstractEventLoop, wanted: Wanted) -> None:
        self._session, self._loop, self._wanted = session, loop, wanted
        self._plans = asyncio.Semaphore(PLANS)
        self._looking = asyncio.Lock()
        self._found: tuple[int, Sequence[dict[str, Any]]] = (0, ())

    async def _there(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it in the session's loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def plan(self, position_id: str) -> dict[str, Any]:
        """May raise: LevmonError."""
        return await self._there(self._plan(position_id))

    async def _plan(self, position_id: str) -> dict[str, Any]:
        from monitor.cli.guarding import guardian_for, look, prospect_dict

        guardian = guardian_for(self._session.targets, None)
        chains = tuple(
            replace(chain, subjects=wanted, first=None)
            for chain in self._session.chains
            if (wanted := tuple(subject for subject in chain.subjects if subject.id == position_id))
        )
        async with self._plans:
            return prospect_dict(await look(replace(self._session, chains=chains), guardian, None))

    async def findings(self) -> tuple[int, Sequence[dict[str, Any]]]:
        """Doctor's, at most LOOK_AGAIN_S old. May raise: LevmonError."""
        return await self._there(self._findings())

    async def _findings(self) -> tuple[int, Sequence[dict[str, Any]]]:
        from dataclasses import asdict

        from monitor.cli.doctor_command import findings

        async with self._looking:
            if time.time() - self._found[0] >= LOOK_AGAIN_S:
                found = [asdict(one) async for one in findings(replace(self._wanted, every_market=True))]
                told = [
                    {
                        "schema": "levmon.finding/1",
                        **{name: clean(str(value), 400) for name, value in one.items() if name != "exit_code"},
                    }
                    for one in found
                ]
                self._found = (int(time.time()), told)
            return self._found

    def actions(self) -> Sequence[dict[str, Any]]:
        """May raise: LevmonError."""
        from monitor.cli.history_command import action_dict

        view = self._journal()
        if view is None:
            return ()
        actions = view.actions()[-ACTIONS:]
        with self._history() as history:
            return [
                {**action_dict(action, view.records(action.id)), "outcome": outcome(history, action)}
                for action in actions
            ]

    def holds(self) -> Sequence[dict[str, Any]]:
        """May raise: LevmonError."""
        view = self._journal()
        return [
            {"schema": "levmon.hold/1", "scope": clean(hold.scope, 200), "reason": clean(hold.reason, REASON_LIMIT)}
            for hold in (view.holds() if view is not None else ())
        ]

    def _journal(self) -> Any:
        from monitor.cli.guarding import guardian_of
        from monitor.journal.view import JournalView

        targets = self._session.targets
        if targets.config is None or targets.config.guardian is None:
            return None
        return JournalView(guardian_of(targets.config, targets.path).journal_url)

    def alerts(self) -> Sequence[dict[str, Any]]:
        """May raise: LevmonError."""
        from monitor.cli.alerts_command import told

        targets = self._session.targets
        if targets.config is None or targets.config.alerts is None or targets.path is None:
            return ()
        try:
            return told(targets.path, ALERTS)
        except ConfigError:
            return ()

    def series(self, position_id: str, since_s: int, until_s: int, most: int) -> Sequence[HistoryRow]:
        """May raise: LevmonError."""
        with self._history() as view:
            return () if view is None else view.rows(position_id, since_s, until_s, most)

    @contextmanager
    def _history(self) -> Iterator[HistoryView | None]:
        from monitor.cli.recording import history_url
        from monitor.history.store import HistoryView

        targets = self._session.targets
        if targets.config is None:
            yield None
            return
        view = HistoryView(history_url(targets.config, targets.path))
        try:
            yield view
        finally:
            view.close()

    def endpoints(self) -> Sequence[Endpoint]:
        return [
            Endpoint(
                chain.name,
                clean(one.alias, 100),
                one.state.value,
                one.head,
                one.failures,
                clean(one.trouble, REASON_LIMIT),
            )
            for chain in self._session.chains
            for one in chain.chain.pool.endpoints
        ]
