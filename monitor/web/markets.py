"""What the watched positions of each market come to: by asset, by distance to liquidation, and what falls with prices.

Of what is watched here only: a whole market is what `levmon market` reads. Counts are made by each position's exact
rule; positions that are unknown are counted as that, and in nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

from monitor.core.errors import LevmonError
from monitor.core.registry import protocol as protocol_named
from monitor.core.text import clean
from monitor.core.types import BlockRef, Health, Known, Leg, MarketRef, NoDebt, Side, Unit
from monitor.core.units import format_units
from monitor.health.whatif import whatif
from monitor.report import Report
from monitor.web.board import Board
from monitor.web.portfolio import chains_part
from monitor.web.view import Templates, View
from monitor.wording import money

EDGES = (0, 2, 5, 10, 20, 30, 50)
"""Distances, in percent of the collateral's value, between which debt is counted."""
MOVES = tuple(Fraction(-percent, 100) for percent in (5, 10, 20, 30, 40, 50))
ASSETS = 3
"""So many collaterals are also moved alone."""
STEADY = Fraction(1, 20)
"""An asset whose price is this close to one of the market's unit is its stand-in and holds, as in `levmon market`."""
TOGETHER = "all but what is steady"
AT_ONCE_S = 0.05
SLICE_S = 0.008
REST = 3
"""After a slice of counting, so many times as long is left to pages and to the watch."""
AGAIN_S = 30.0


@dataclass(slots=True)
class Asset:
    """What the positions have of it, in the market's unit."""

    symbol: str
    supplied: int = 0
    owed: int = 0
    steady: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """One market. `accounts` and `debt` have one more than EDGES: below the first, between each two, from the last."""

    ref: MarketRef
    name: str
    unit: Unit
    block: BlockRef | None
    positions: int
    unknown: int
    assets: tuple[tuple[str, Asset], ...]
    accounts: tuple[int, ...]
    debt: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """After one move: how many of the positions are below 1, their debt as it was, and how many are unknown."""

    accounts: int = 0
    debt: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Falls:
    """Rows by what falls, a cell for each of MOVES; of the positions as they were at `block`."""

    block: BlockRef | None
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(slots=True)
class Markets:
    """Pictures are made once for a block; falls are counted beside, a little at a time, while somebody looks."""

    board: Board
    rest: float = REST
    _pictures: tuple[int, tuple[Picture, ...]] = (-1, ())
    _falls: dict[MarketRef, Falls] = field(default_factory=dict)
    _counting: asyncio.Task[None] | None = None
    _began_s: float = float("-inf")
    _counted: int = -1

    def pictures(self) -> tuple[Picture, ...]:
        """Of the newest reports."""
        if self._pictures[0] != self.board.version:
            self._pictures = (self.board.version, tuple(pictures(self.board.reports.values())))
        return self._pictures[1]

    async def falls(self) -> Mapping[MarketRef, Falls]:
        """What is counted already; starts counting where that is old, and waits as long as a page may."""
        busy = self._counting is not None and not self._counting.done()
        if not busy and self._counted != self.board.version and time.monotonic() - self._began_s >= self._pause_s():
            self._began_s = time.monotonic()
            self._counting = asyncio.create_task(self._count(self.board.version))
        if self._counting is not None and not self._falls:
            await asyncio.wait({self._counting}, timeout=2 * AT_ONCE_S)
        if self._counting is not None and self._counting.done():
            self._counting.result()
        return self._falls

    def _pause_s(self) -> float:
        return AGAIN_S if len(self.board.reports) > 200 else 0.0

    async def _count(self, version: int) -> None:
        began = slice_ = time.perf_counter()
        found = {}
        for picture in self.pictures():
            reports = [one for one in self.board.reports.values() if one.subject.ref == picture.ref]
            rows = []
            for name, keys in groups(picture):
                cells = [Cell()] * len(MOVES)
                for report in reports:
                    context = getattr(self.board.state(report), "context", None)
                    told = [fallen(report, context, keys, move) for move in MOVES]
                    cells = [plus(one, other) for one, other in zip(cells, told, strict=True)]
                    now = time.perf_counter()
                    if now - slice_ >= SLICE_S and now - began >= AT_ONCE_S:
                        await asyncio.sleep(self.rest * (now - slice_))
                        slice_ = time.perf_counter()
                rows.append((name, tuple(cells)))
            found[picture.ref] = Falls(picture.block, tuple(rows))
        self._falls, newest = found, self.board.version == version
        self.board.touch()
        self._counted = self.board.version if newest else version


def pictures(reports: Iterable[Report]) -> Iterator[Picture]:
    """One for each market, in the order of their names."""
    by_market: dict[MarketRef, list[Report]] = {}
    for report in reports:
        by_market.setdefault(report.subject.ref, []).append(report)
    for ref, theirs in sorted(by_market.items(), key=lambda one: (one[1][0].subject.market, str(one[0]))):
        yield picture_of(ref, theirs)


def picture_of(ref: MarketRef, reports: Sequence[Report]) -> Picture:
    """All of one market."""
    known = [(report, report.health) for report in reports if report.health is not None and report.verdict != "unknown"]
    unit = known[0][1].unit if known else Unit("", 0)
    assets: dict[str, Asset] = {}
    accounts, debt = [0] * (len(EDGES) + 1), [0] * (len(EDGES) + 1)
    for _, health in known:
        for leg in health.legs:
            asset = assets.get(leg.asset)
            if asset is None:
                asset = assets[leg.asset] = Asset(clean(leg.symbol, 20), steady=steady(leg))
            if leg.side is Side.COLLATERAL:
                asset.supplied += leg.value
            else:
                asset.owed += leg.value
        if isinstance(health.verdict, Known):
            place = place_of(health.verdict)
            accounts[place] += 1
            debt[place] += health.debt
    blocks = [health.block for _, health in known]
    return Picture(
        ref,
        reports[0].subject.market,
        unit,
        max(blocks, key=lambda block: block.number) if blocks else None,
        len(reports),
        len(reports) - len(known),
        tuple(sorted(assets.items(), key=lambda one: (-one[1].supplied, -one[1].owed, one[0]))),
        tuple(accounts),
        tuple(debt),
    )


def place_of(verdict: Known) -> int:
    """How many of EDGES its distance, 1 - 1/health, has reached."""
    n, d = verdict.numerator, verdict.denominator
    return sum((n - d) * 100 >= edge * n for edge in EDGES) if n > 0 else 0


def groups(picture: Picture) -> list[tuple[str, frozenset[str] | None]]:
    """What is moved: all that is not steady (None: also what no leg tells of), and the largest collaterals alone."""
    moving = [(key, asset) for key, asset in picture.assets if not asset.steady]
    alone = [(asset.symbol, frozenset({key})) for key, asset in moving if asset.supplied][:ASSETS]
    return [(TOGETHER, None), *alone] if len(moving) > 1 or not alone else [(TOGETHER, None)]


def fallen(report: Report, context: Any, keys: frozenset[str] | None, move: Fraction) -> Cell:
    """The position after the move, by its exact rule. `context` is its market's, see Protocol.evaluate."""
    health, position = report.health, report.position
    if health is None or report.verdict == "unknown":
        return Cell(unknown=1)
    if isinstance(health.verdict, NoDebt):
        return Cell()
    if position is None:
        return Cell(unknown=1)
    moved = _moving(health, position.prices) if keys is None else keys & position.prices.keys()
    verdict: Any = health.verdict
    if moved:
        try:
            protocol = protocol_named(report.subject.ref.protocol)
            verdict = whatif(protocol, position, context, dict.fromkeys(moved, move)).verdict
        except LevmonError:
            return Cell(unknown=1)
    if isinstance(verdict, Known):
        return Cell(1, health.debt) if verdict.unhealthy else Cell()
    return Cell() if isinstance(verdict, NoDebt) else Cell(unknown=1)


def _moving(health: Health, prices: Mapping[str, int]) -> frozenset[str]:
    return frozenset(prices) - {leg.asset for leg in health.legs if steady(leg)}


def steady(leg: Leg) -> bool:
    """See STEADY."""
    one: int = 10**leg.price_decimals
    return abs(leg.price - one) <= STEADY * one


def plus(one: Cell, other: Cell) -> Cell:
    return Cell(one.accounts + other.accounts, one.debt + other.debt, one.unknown + other.unknown)


# -- shown -------------------------------------------------------------------------------------------------------------


def view(markets: Markets, templates: Templates, falls: Mapping[MarketRef, Falls]) -> View:
    """The page: a section for each market."""
    board = markets.board
    sections = {
        f"m{number}": templates.fill("market.html", number=number, **_told(one, falls.get(one.ref)))
        for number, one in enumerate(markets.pictures())
    }
    parts = {"chains": chains_part(board, templates), **sections}
    return View("markets.html", "Markets", parts, more={"sections": list(sections), "watched": len(board.reports)})


def _told(picture: Picture, falls: Falls | None) -> dict[str, Any]:
    def shown(raw: int) -> str:
        return _money(raw, picture.unit)

    most = max((max(one.supplied, one.owed) for _, one in picture.assets), default=0)
    names = [f"below {EDGES[0]}%", *(f"{low}% to {high}%" for low, high in pairwise(EDGES)), f"{EDGES[-1]}% and more"]
    return {
        "called": clean(picture.name, 60),
        "picture": picture,
        "assets": [
            (one.symbol, shown(one.supplied), shown(one.owed), _part(one.supplied, most), _part(one.owed, most))
            for _, one in picture.assets
            if one.supplied or one.owed
        ],
        "sums": (
            shown(sum(one.supplied for _, one in picture.assets)),
            shown(sum(one.owed for _, one in picture.assets)),
        ),
        "spread": [
            (name, accounts, shown(debt), _part(debt, max(picture.debt)))
            for name, accounts, debt in zip(names, picture.accounts, picture.debt, strict=True)
        ],
        "moves": [f"{move * 100}%" for move in MOVES],
        "falls": None
        if falls is None
        else [(name, [(one.accounts, shown(one.debt)) for one in cells]) for name, cells in falls.rows],
        "counted": falls.block if falls else None,
        "lost": max((cell.unknown for _, cells in falls.rows for cell in cells), default=0) if falls else 0,
    }


def _money(raw: int, unit: Unit) -> str:
    return (
        money(Health("", BlockRef(0, 0, "", "", 0), NoDebt(), unit, collateral=raw), "collateral")
        if unit.symbol
        else ""
    )


def _part(value: int, most: int) -> int:
    """Of a hundred, for a bar; anything at all shows."""
    return max(1, value * 100 // most) if value > 0 and most > 0 else 0


def as_dict(markets: Markets, falls: Mapping[MarketRef, Falls]) -> dict[str, Any]:
    """The object of schema `levmon.markets/1`."""
    return {
        "schema": "levmon.markets/1",
        "markets": [_dict(one, falls.get(one.ref)) for one in markets.pictures()],
    }


def _dict(picture: Picture, falls: Falls | None) -> dict[str, Any]:
    def decimal(raw: int) -> str:
        return format_units(raw, picture.unit.decimals)

    bounds = [None, *map(str, EDGES), None]
    return {
        "market": clean(picture.name, 60),
        "chain_id": picture.ref.chain_id,
        "protocol": picture.ref.protocol,
        "unit": clean(picture.unit.symbol, 20),
        "positions": picture.positions,
        "unknown": picture.unknown,
        "assets": [
            {"asset": key, "symbol": one.symbol, "supplied": decimal(one.supplied), "owed": decimal(one.owed)}
            for key, one in picture.assets
        ],
        "spread": [
            {"from_pct": bounds[at], "to_pct": bounds[at + 1], "positions": accounts, "debt": decimal(debt)}
            for at, (accounts, debt) in enumerate(zip(picture.accounts, picture.debt, strict=True))
        ],
        "counted_at": str(falls.block.number) if falls is not None and falls.block is not None else None,
        "falls": [
            {
                "assets": name,
                "change_pct": str(move * 100),
                "positions": cell.accounts,
                "debt": decimal(cell.debt),
                "unknown": cell.unknown,
            }
            for name, cells in (falls.rows if falls is not None else ())
            for move, cell in zip(MOVES, cells, strict=True)
        ],
    }
