"""What `watch`, `protect` and `keep` share for whoever looks after them: a board, and where it can be asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.status.board import Board, ChainRow

if TYPE_CHECKING:
    from aiohttp import web

    from monitor.cli.session import Open
    from monitor.journal.store import Journal
    from monitor.pipeline.guardians import Guardian
    from monitor.pipeline.telling import Teller
    from monitor.pipeline.watch import Tick
    from monitor.report import Subject
    from monitor.status.checks import Readiness
    from monitor.status.metrics import Numbers


@dataclass(frozen=True, slots=True)
class Care:
    """How a daemon is looked after: `--listen`, `--listen-public` and `--log-json`.

    `shows` takes the answers where the daemon has a server of its own for them.
    """

    listen: str | None
    public: bool
    log_json: bool
    shows: Callable[[Sequence[web.RouteDef]], None] | None = None


@dataclass(frozen=True, slots=True)
class Attended:
    """A board that is shown, if anybody asked for that."""

    board: Board
    readiness: Readiness | None = None
    numbers: Numbers | None = None

    def saw(self, chain: str, tick: Tick) -> None:
        """A tick of the chain of that name."""
        row = self.board.chain(chain)
        if row is not None:
            trouble = tick.trouble.message if tick.trouble is not None else ""
            row.saw(tick.snapshot, skipped=tick.skipped, reorganised=tick.reorg is not None, trouble=trouble)

    def depends_on(self, teller: Teller | None, journal: Journal | None, guardian: Guardian | None) -> None:
        """What being ready takes beside fresh heads, once it is open. `guardian`: whose signer must answer."""
        from monitor.status import checks

        if self.readiness is None or self.numbers is None:
            return
        now_s = self.board.clock.time
        if journal is not None:
            self.readiness.checks["journal"] = checks.journal_commits(journal, now_s)
        if guardian is not None:
            self.readiness.checks["signer"] = checks.signer_answers(guardian)
        if teller is not None and teller.sender.channels():
            self.readiness.checks["alerts"] = checks.alerts_go_out(teller, now_s)
        self.numbers.teller, self.numbers.journal = teller, journal


def board_of(command: str, chains: Mapping[str, tuple[Open, Sequence[Subject]]], *, armed: bool = False) -> Board:
    """With a row for each chain by its name: what is open, and which positions are asked about."""
    from monitor.chain.heads import max_age_s

    rows = []
    for name, (chain, subjects) in chains.items():
        limit_s = chain.depth.max_age_s
        limit_s = max_age_s(chain.chain_id) if limit_s is None else limit_s
        rows.append(ChainRow(name, chain.chain.pool, limit_s, tuple(subjects)))
    return Board(command, armed=armed, chains=rows)


@asynccontextmanager
async def attended(care: Care, board: Board, say: Callable[[str], None]) -> AsyncIterator[Attended]:
    """The board at the address that was asked for, if any. May raise: ConfigError."""
    if care.listen is None and care.shows is None:
        yield Attended(board)
        return
    from importlib.metadata import version

    from monitor.status.checks import Readiness
    from monitor.status.metrics import Numbers
    from monitor.status.routes import routes
    from monitor.status.server import listening, place

    readiness, numbers = Readiness(board), Numbers(board, version("levmon"))
    if care.shows is not None:
        care.shows(routes(readiness, numbers))
    if care.listen is None:
        yield Attended(board, readiness, numbers)
        return
    at = place(care.listen, public=care.public)
    async with listening(at, routes(readiness, numbers)) as url:
        say(f"listening on {url} for /healthz, /readyz and /metrics")
        yield Attended(board, readiness, numbers)
