"""A whole market at one block: its accounts read in bulk, judged by the book, and shown as single positions are.

Everything is of one block hash. Accounts that could not be read are carried along with their reasons; they are unknown,
never absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from monitor import report
from monitor.chain.bulk.reader import BulkReader, Drop
from monitor.chain.port import run
from monitor.chain.rpc_chain import RpcChain
from monitor.core.errors import CallFailed, ConfigError, ProtocolError
from monitor.core.registry import protocol as protocol_named
from monitor.core.thresholds import DEFAULT, Thresholds
from monitor.core.types import Address, BlockRef, Known, MarketRef, Unreadable
from monitor.health import whatif
from monitor.health.book import Below, Book, Spread
from monitor.health.screen import entries, sums
from monitor.pipeline.market import MarketState
from monitor.pipeline.memory import Memory
from monitor.pipeline.snapshot import FULL, Depth, judge, read_markets
from monitor.protocols.base import Protocol
from monitor.protocols.columns import I64, U8, Columns
from monitor.protocols.whole import Total, Whole
from monitor.report import Report, Subject

SAMPLE = 40
"""So many known owners are looked at to confirm the rules of a market that is new here."""
STEADY = Fraction(1, 20)
"""An asset whose price is this close to one unit of the market's currency is taken for its stand-in, and holds."""


@dataclass(frozen=True, slots=True)
class Fall:
    """What is below 1 once these prices have fallen by `change`, with its debt in the market's unit, about."""

    name: str
    symbols: tuple[str, ...]
    change: Fraction
    accounts: int
    debt: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Census:
    """A market's accounts at a block. `unread`: (owner, reason) of accounts that are in no row."""

    ref: MarketRef
    name: str
    block: BlockRef
    state: MarketState
    whole: Whole
    globals_: Any
    columns: Columns
    book: Book[Any, Any]
    unread: tuple[tuple[Address, str], ...] = ()
    rungs: tuple[str, ...] = ()
    """by which ways the accounts were read"""

    @property
    def at_s(self) -> int:
        return self.block.timestamp

    def below(self, threshold: Fraction, globals_: Any = None) -> Below:
        """Whose health is below the threshold, and whose is unknown; at other globals if given."""
        return self.book.below(self.globals_ if globals_ is None else globals_, self.at_s, threshold)

    def shocked(self, changes: Iterable[tuple[str, Fraction]]) -> Any:
        """The globals after price changes by symbol or key. May raise: ConfigError, also for a price moved twice."""
        prices, moved = self.whole.bulk.prices(self.globals_), dict[str, int]()
        for name, change in changes:
            for key in whatif.keys_of(self.whole.symbols, name):
                if key in moved:
                    raise ConfigError(f"{name} is moved twice", hint="give one --shock for each asset")
                if key in prices:
                    moved[key] = whatif.shocked(prices[key], change)
        return self.whole.bulk.at_prices(self.globals_, moved)

    def health(self, rows: I64, globals_: Any = None) -> list[tuple[int, int] | None]:
        """See Bulk.exact."""
        return self.book.exact(self.globals_ if globals_ is None else globals_, self.at_s, rows)

    def reports(
        self,
        rows: Sequence[int] | I64,
        globals_: Any = None,
        *,
        thresholds: Thresholds = DEFAULT,
        depth: Depth = FULL,
    ) -> list[Report]:
        """These rows as `check` would show them."""
        bulk, given = self.whole.bulk, self.globals_ if globals_ is None else globals_
        found = tuple(bulk.position(given, self.columns, int(row), self.block) for row in rows)
        subjects = [Subject(self.ref, self.name, one.owner, thresholds=thresholds) for one in found]
        state = MarketState(self.state.known, found, self.state.context, notes=self.state.notes)
        return list(judge(subjects, {self.ref: state}, self.block, depth).reports)

    def unread_reports(self) -> list[Report]:
        """The accounts that could not be read, each unknown with its reason."""
        return [
            report.of_unreadable(
                Subject(self.ref, self.name, owner), Unreadable(self.ref.position_id(owner), owner, self.block, reason)
            )
            for owner, reason in self.unread
        ]

    def spread(self, edges: Sequence[Fraction]) -> Spread:
        """As Book.spread, with the debts that no weight tells of (Aave's stable ones) added account by account."""
        found = self.book.spread(self.globals_, self.at_s, edges)
        weights = self.whole.bulk.weights(self.globals_, self.at_s)
        untold = np.flatnonzero(np.isnan(sums(entries(self.whole.bulk, self.columns), weights).debit_least))
        for report_ in self.reports(untold, depth=Depth(liquidation_prices=False)):
            health = report_.health
            if health is not None and isinstance(health.verdict, Known):
                num, den = health.verdict.numerator, health.verdict.denominator
                found.debt[sum(num * edge.denominator >= edge.numerator * den for edge in edges)] += health.debt
        return found

    def falls(self, moves: Sequence[Fraction], assets: int) -> list[Fall]:
        """All that is not steady falling together, then each of the largest collaterals alone."""
        one = 10**self.whole.unit.decimals
        prices = self.whole.bulk.prices(self.globals_)
        moving = tuple(key for key, price in prices.items() if abs(Fraction(price, one) - 1) > STEADY)
        largest = sorted(self.totals(), key=lambda total: -(total.supplied_value or 0))
        groups = [("all but steady", moving)] if moving else []
        groups += [(one.symbol, (one.asset,)) for one in largest[:assets] if one.asset in moving]
        return [self._fall(name, keys, move) for name, keys in groups for move in moves]

    def _fall(self, name: str, keys: tuple[str, ...], move: Fraction) -> Fall:
        shocked = self.shocked((key, move) for key in keys)
        below = self.below(Fraction(1), shocked)
        weights = self.whole.bulk.weights(shocked, self.at_s)
        debt = sums(entries(self.whole.bulk, self.columns.take(below.rows)), weights).debit_least
        symbols = tuple(self.whole.symbols.get(key, key) for key in keys)
        return Fall(name, symbols, move, len(below.rows), int(np.nan_to_num(debt).sum()), len(below.unknown))

    def totals(self) -> list[Total]:
        """By asset, in the market's order."""
        return self.whole.totals(self.globals_, self.columns, self.at_s)


async def open_whole(
    chain: RpcChain, ref: MarketRef, memory: Memory, block: BlockRef, owners: Sequence[Address] = ()
) -> tuple[MarketState, Whole]:
    """The market's facts, confirmed, and its parts. `owners`: some that are known, to confirm the rules on.

    May raise: ChainError, ProtocolError, ConfigError.
    """
    state = (await read_markets(chain, {ref: owners[:: max(1, len(owners) // SAMPLE)][:SAMPLE]}, memory, block))[ref]
    if state.known is None:
        raise ProtocolError(state.trouble or f"{ref} cannot be read")
    protocol: Protocol[Any, Any] = protocol_named(ref.protocol)
    try:
        whole = await run(chain, protocol.whole(state.known.facts, block), block)
    except CallFailed as failed:
        raise ProtocolError(f"{ref}: {failed.message}") from None
    if whole is None:
        raise ConfigError(
            f"levmon does not know how to follow all accounts of {protocol.title}",
            hint="name the owners: levmon check OWNER... --market ...",
        )
    return state, whole


async def take(
    chain: RpcChain,
    ref: MarketRef,
    name: str,
    parts: tuple[MarketState, Whole],
    owners: U8,
    block: BlockRef,
    *,
    progress: Callable[[int], None] = lambda _: None,
    dropped: Callable[[Drop], None] = lambda _: None,
) -> Census:
    """Read these accounts, (n, 20), each once, at one block. May raise: ChainError, ProtocolError."""
    state, whole = parts
    swept = await BulkReader(chain, whole.survey, dropped=dropped).read(owners, block, progress)
    try:
        globals_ = await run(chain, whole.bulk.read_globals(block), block)
    except CallFailed as failed:
        raise ProtocolError(f"{ref}: {failed.message}") from None
    book = Book(whole.bulk, swept.columns)
    return Census(ref, name, block, state, whole, globals_, swept.columns, book, swept.unread, swept.rungs)


def as_rows(owners: Sequence[Address]) -> U8:
    """Addresses as the bulk reader takes them, each once, in their order."""
    unique = dict.fromkeys(bytes.fromhex(owner[2:]) for owner in owners)
    return np.frombuffer(b"".join(unique), np.uint8).reshape(-1, 20)
