"""Following a whole market block by block: the mirror, the book over it, and who is near liquidation at each head.

Between heads the mirror settles what can wait (the audit, the newcomers of a gap). Where the market itself has changed
its facts are read anew and everything begins again; nothing is said of blocks for which nothing is known.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from monitor.chain import cache, mirror_file
from monitor.chain.bulk.accounts import BulkAccounts
from monitor.chain.bulk.reader import BulkReader, Drop
from monitor.chain.mirror import Market, Mirror, Step
from monitor.chain.mirror_file import Identity, NotResumable, Saved
from monitor.chain.port import run
from monitor.chain.rpc_chain import RpcChain
from monitor.core.address import parse_address
from monitor.core.errors import ProtocolError
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import BlockRef, MarketRef, ReadPlan
from monitor.health.book import Book
from monitor.pipeline.borrowers import naming_of
from monitor.pipeline.census import open_whole
from monitor.pipeline.market import MarketState
from monitor.pipeline.memory import Memory
from monitor.protocols.base import Protocol
from monitor.protocols.whole import Whole

START = "start"
"""Why a mirror that begins reads everybody; nobody has to be told."""
Borrowers = Callable[[Whole, BlockRef], Awaitable[Sequence[bytes]]]
"""Everybody who has borrowed in that market up to a block."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Who is near: health below `near`. `saved_every_s`: how often the mirror is written to disk."""

    near: Fraction = Fraction(21, 20)
    saved_every_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Standing:
    """One account at a head: its row and exact health."""

    row: int
    owner: str
    numerator: int
    denominator: int

    @property
    def unhealthy(self) -> bool:
        return self.numerator < self.denominator


@dataclass(frozen=True, slots=True)
class Look:
    """A market at a head. `near` in order of health; `unknown` counts accounts of which nothing can be said."""

    block: BlockRef
    accounts: int
    changed: int
    near: tuple[Standing, ...]
    unknown: int
    reckoned: int
    """how many accounts took integers"""
    took_s: float
    """from the head's arrival to this decision"""
    whole: str = ""
    undone: int = 0

    @property
    def unhealthy(self) -> tuple[Standing, ...]:
        return tuple(one for one in self.near if one.unhealthy)


@dataclass(slots=True)
class _Followed:
    """A market as its facts are now. `modes`: those that `bulk` reads; None: all that the protocol may have.

    `book` is None where it does not hold what the mirror holds; `first` is what the mirror began with, until looked at.
    """

    state: MarketState
    whole: Whole
    bulk: Any
    mirror: Mirror[Any] = field(init=False)
    modes: frozenset[int] | None = None
    book: Book[Any, Any] | None = None
    globals_: Any = None
    first: Step[Any] | None = None

    def read_globals(self, block: BlockRef) -> ReadPlan[Any]:
        """By whatever is read at the time."""
        return self.bulk.read_globals(block)  # type: ignore[no-any-return]


class Keeper:
    """One market, kept. `dropped` and `say` are told of whatever a user should know of the reading."""

    def __init__(
        self,
        chain: RpcChain,
        ref: MarketRef,
        name: str,
        memory: Memory,
        borrowers: Borrowers,
        terms: Terms,
        *,
        say: Callable[[str], None] = lambda _: None,
        home: Path | None = None,
    ) -> None:
        self.ref, self.name, self.terms = ref, name, terms
        self._chain, self._memory, self._borrowers, self._say = chain, memory, borrowers, say
        self._home = (home or cache.cache_home()) / "mirrors"
        self._now: _Followed | None = None
        self._saved_s = float("-inf")

    @property
    def mirror(self) -> Mirror[Any]:
        """May raise: AssertionError before `start`."""
        return self._followed.mirror

    @property
    def _followed(self) -> _Followed:
        if self._now is None:
            raise AssertionError("the keeper has not started")
        return self._now

    async def start(self, block: BlockRef, owners: Sequence[bytes] | None = None) -> str:
        """Resume from disk, or read all of `owners` (None: all borrowers since the beginning). Says which, in words.

        What was followed before goes on being followed where this fails. May raise: ChainError, ConfigError,
        ProtocolError, CallFailed.
        """
        named = [parse_address(f"0x{owner.hex()}") for owner in owners or ()]
        state, whole = await open_whole(self._chain, self.ref, self._memory, block, named)
        known = state.known
        if known is None:
            raise AssertionError("open_whole answers known markets only")
        protocol: Protocol[Any, Any] = protocol_named(self.ref.protocol)
        fresh = _Followed(state, whole, whole.bulk)
        market = Market(whole.replay, fresh.read_globals, lambda at: protocol.recheck(known.facts, at))
        reader = BulkReader(self._chain, whole.survey, dropped=self._drop)
        accounts = BulkAccounts(self._chain, reader, naming_of(whole), self._path().with_suffix(".found"))
        fresh.mirror = Mirror(self._chain, market, accounts)
        if owners is None:
            try:
                saved = mirror_file.load(self._path(), self._identity(known.facts))
            except NotResumable as why:
                self._say(f"{why.message}: all borrowers are read")
                owners = await self._borrowers(whole, block)
            else:
                fresh.mirror.resume(saved.columns, saved.block, saved.unknown, saved.unseen)
                self._now = fresh
                return f"{len(saved.columns):,} accounts as of block {saved.block.number}, from disk"
        fresh.first = await fresh.mirror.start(owners, block)
        self._now = fresh
        return f"{len(fresh.mirror.ledger):,} accounts read at block {block.number}"

    async def look(self, head: BlockRef, arrived_s: float) -> Look | None:
        """Bring the mirror to this head and judge; None if it is no news. `arrived_s`: when the head came, monotonic.

        May raise: ChainError, CallFailed, ProtocolError (nothing is lost, the next head is tried).
        """
        try:
            step = await self.mirror.follow(head)
        except ProtocolError as changed:  # the market is another than its facts say: they are read anew
            self._say(changed.message)
            ledger = self.mirror.ledger
            await self.start(head, [ledger.owner(row) for row in range(len(ledger))])
            step = await self.mirror.follow(head)
        now = self._followed
        step, now.first = step or now.first, None
        return None if step is None else await self._judged(step, arrived_s)

    async def settle(self, arrived_s: float) -> Look | None:
        """What can wait until a head was acted upon; a look where that changed anything. Saves now and then.

        May raise: ChainError, CallFailed.
        """
        step = await self.mirror.settle()
        if time.monotonic() - self._saved_s >= self.terms.saved_every_s:
            self.save()
        return None if step is None else await self._judged(step, arrived_s)

    def save(self) -> None:
        """Write the mirror, so that the next run goes on from here; what cannot be written is said and no more."""
        self._saved_s = time.monotonic()
        try:
            known = self._followed.state.known
            mirror_file.save(self._path(), self._identity(known and known.facts), Saved.of(self.mirror))
        except OSError as broken:
            self._say(f"the mirror could not be saved: {broken.strerror}")

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _judged(self, step: Step[Any], arrived_s: float) -> Look:
        now = self._followed
        ledger = now.mirror.ledger
        book, now.book = now.book, None  # a step that is not judged to its end must not be missing from the book
        now.globals_ = await self._fitting(step)
        if book is None or step.whole or book.source is not ledger or book.bulk is not now.bulk:
            book = Book(now.bulk, ledger)
        elif step.rows:
            book.update(step.rows)
        at_s = step.block.timestamp
        below = book.follow(now.globals_, at_s, self.terms.near)
        rows = below.rows[~np.isin(below.rows, list(step.unknown))] if step.unknown else below.rows
        healths = book.exact(now.globals_, at_s, rows)
        near = [
            Standing(row, f"0x{ledger.owner(row).hex()}", *health)
            for row, health in zip(rows.tolist(), healths, strict=True)
            if health is not None
        ]
        near.sort(key=lambda one: (Fraction(one.numerator, one.denominator), one.row))
        now.book = book
        unknown = len(set(below.unknown.tolist()) | set(step.unknown))
        return Look(
            block=step.block,
            accounts=len(ledger),
            changed=len(step.rows),
            near=tuple(near),
            unknown=unknown,
            reckoned=below.reckoned,
            took_s=time.monotonic() - arrived_s,
            whole="" if step.whole == START else step.whole,
            undone=step.undone,
        )

    async def _fitting(self, step: Step[Any]) -> Any:
        """The step's globals, read anew where an account is in a mode that they do not tell of.

        Only modes in use are read with each block: a market may have two hundred, and all would be asked for.
        """
        now = self._followed
        ledger = now.mirror.ledger
        if now.modes is not None and not step.whole:
            used = frozenset(ledger.take(np.array(step.rows, np.int64)).mode.tolist()) | now.modes
            if used == now.modes:
                return step.globals_
        else:
            used = frozenset(np.unique(ledger.columns().mode).tolist())
        bulk = now.whole.bulk.for_modes(sorted(used))
        globals_ = await run(self._chain, bulk.read_globals(step.block), step.block)
        now.bulk, now.modes = bulk, used
        return globals_

    def _drop(self, drop: Drop) -> None:
        self._say(str(drop))

    def _identity(self, facts: Any) -> Identity:
        digest = hashlib.sha256(json.dumps(asdict(facts), sort_keys=True, default=str).encode()).hexdigest()
        return Identity(self.ref.chain_id, str(self.ref), digest)

    def _path(self) -> Path:
        digest = hashlib.sha256(str(self.ref).encode()).hexdigest()[:16]
        return self._home / f"{self.ref.chain_id}-{self.ref.protocol}-{digest}.mirror"
