"""What pages ask besides reports, so that the dashboard knows neither the command line nor a database.

Everything is plain data of the schemas that the command line prints with --json.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from monitor.history.rows import HistoryRow


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint as the pool sees it. `alias` is its host: never a URL."""

    chain: str
    alias: str
    state: str
    head: int | None
    failures: int
    trouble: str


class Behind(Protocol):
    """Only reads."""

    async def plan(self, position_id: str) -> dict[str, Any]:
        """The object of schema `levmon.plan/1`. May raise: LevmonError, ConfigError where nothing is set up for it."""
        ...

    async def findings(self) -> tuple[int, Sequence[dict[str, Any]]]:
        """When doctor was last asked, in seconds since 1970, and what it found: `levmon.finding/1`. May raise:
        LevmonError.
        """
        ...

    def actions(self) -> Sequence[dict[str, Any]]:
        """`levmon.history/1`, the newest last, each with its `outcome`: the first look at its position since it was
        mined, with `block`, `num`, `den` and `level`; None where there is none yet. May raise: LevmonError.
        """
        ...

    def holds(self) -> Sequence[dict[str, Any]]:
        """`levmon.hold/1`. May raise: LevmonError."""
        ...

    def alerts(self) -> Sequence[dict[str, Any]]:
        """`levmon.channel/1` and `levmon.alert.listed/1`, the newest last. May raise: LevmonError."""
        ...

    def series(self, position_id: str, since_s: int, until_s: int, most: int) -> Sequence[HistoryRow]:
        """What was kept of the position, oldest first. May raise: LevmonError."""
        ...

    def endpoints(self) -> Sequence[Endpoint]: ...
