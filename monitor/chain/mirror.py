"""A market's accounts, kept equal to the chain block by block at the cost of what changed.

For each new block one HTTP request brings its logs and the market's globals, both by the block's hash. Logs change the
ledger where they are exact; what they do not tell is read anew at the same hash before the step is answered. Blocks
that leave the chain are undone from a journal of what was there before. Between steps a seeded random slice is compared
with the chain bit by bit. Whatever does not fit (a contradiction, a difference, a reorganisation beyond the journal)
ends in reading all accounts anew, is counted and said aloud.

Knows no protocol: what logs mean is the replay's business, how accounts are read in bulk is the reader's. A step that
fails leaves the mirror as it was at its last step, and `tip` tells how old that is.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np

from monitor.chain.block_logs import LogFeed
from monitor.chain.branch import Branch, Growth
from monitor.chain.defences import ALL, Defences
from monitor.chain.port import run
from monitor.chain.rpc_chain import RpcChain
from monitor.core.errors import ProtocolError
from monitor.core.plan import advance
from monitor.core.types import BlockRef, ReadPlan
from monitor.protocols.columns import Columns
from monitor.protocols.events import Contradiction, RawLog, Replay, Stage
from monitor.protocols.ledger import Account, Ledger, accounts_of

G = TypeVar("G")

WINDOW = 128
"""Blocks that can be undone."""
SLICE = 64
"""Accounts that are compared with the chain after each step."""
_log = logging.getLogger("levmon.mirror")


class MarketChanged(ProtocolError):
    """The market's facts no longer hold: other contracts or reserves. Read them anew, and mirror with those."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Accounts as the chain has them at one block, in any order, and why the others could not be read."""

    columns: Columns
    unreadable: Mapping[bytes, str] = field(default_factory=dict)


class Accounts(Protocol):
    """Reads accounts in bulk."""

    async def read(self, owners: Sequence[bytes], block: BlockRef) -> Reading:
        """Each owner is in the columns or unreadable. May raise: ChainError."""
        ...

    async def newcomers(self, first: int, block: BlockRef) -> Sequence[bytes]:
        """Who has borrowed from block number `first` up to `block`. May raise: ChainError."""
        ...


@dataclass(frozen=True, slots=True)
class Market(Generic[G]):
    """What a mirror must know of its market."""

    replay: Replay
    read_globals: Callable[[BlockRef], ReadPlan[G]]
    recheck: Callable[[BlockRef], ReadPlan[bool]]


@dataclass(frozen=True, slots=True)
class Step(Generic[G]):
    """What became of the market since the last step. `rows` are those whose state differs, new ones among them; none is
    ever dropped.

    `whole`: why all accounts were read anew, so that rows may have other numbers; empty if they were not.
    """

    block: BlockRef
    globals_: G
    rows: tuple[int, ...]
    whole: str = ""
    unknown: Mapping[int, str] = field(default_factory=dict)
    """rows whose state could not be read, with the reason: their health is unknown, whatever the ledger has"""
    undone: int = 0
    """blocks that left the chain"""


@dataclass(slots=True)
class Counts:
    """What a mirror did since it was made. `rereads` counts by reason."""

    blocks: int = 0
    logs: int = 0
    dirty: int = 0
    undone: int = 0
    audited: int = 0
    differences: int = 0
    rereads: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Record:
    """How to get back to `base`: its number of accounts, what was in the rows that changed, what was unknown."""

    base: BlockRef
    count: int
    before: Mapping[int, Account]
    unknown: Mapping[int, str]


class Mirror(Generic[G]):
    """One market's accounts. Not to be used concurrently."""

    def __init__(
        self,
        chain: RpcChain,
        market: Market[G],
        accounts: Accounts,
        *,
        window: int = WINDOW,
        audited: int = SLICE,
        seed: int = 0,
        defences: Defences = ALL,
    ) -> None:
        """`audited`: how many accounts are compared after each step; `seed` chooses them."""
        self.counts = Counts()
        self.unseen: int | None = None
        """the first block from which on new borrowers have not been looked for; None: all are known"""
        self._chain = chain
        self._market = market
        self._feed = LogFeed(chain, market.replay.watch, defences)
        self._accounts = accounts
        self._window = window
        self._audited = audited
        self._seed = seed
        self._defences = defences
        self._ledger: Ledger | None = None
        self._path: deque[BlockRef] = deque(maxlen=window + 1)
        self._records: deque[_Record] = deque()
        self._unknown: dict[int, str] = {}
        self._pending: set[int] = set()
        """rows that were undone and not yet told"""
        self._undone = 0
        self._told = False

    @property
    def ledger(self) -> Ledger:
        """The accounts at `tip`."""
        if self._ledger is None:
            raise AssertionError("a mirror is started or resumed before it is used")
        return self._ledger

    @property
    def tip(self) -> BlockRef:
        """The block that the ledger is of."""
        return self._path[-1]

    @property
    def unknown(self) -> Mapping[int, str]:
        """Rows whose state could not be read at `tip`."""
        return self._unknown

    # -- beginning -----------------------------------------------------------------------------------------------------

    async def start(self, owners: Sequence[bytes], block: BlockRef) -> Step[G]:
        """Read these accounts at a block. May raise: ChainError, CallFailed, ProtocolError."""
        _, globals_ = await self._ask([], block)
        return await self._read_all(owners, block, "start", globals_)

    def resume(
        self,
        columns: Columns,
        block: BlockRef,
        unknown: Mapping[int, str] | None = None,
        unseen: int | None = None,
    ) -> None:
        """Go on from accounts that were saved at a block."""
        self._begin(Ledger(columns), block, unknown or {})
        self.unseen = unseen

    def _begin(self, ledger: Ledger, block: BlockRef, unknown: Mapping[int, str]) -> None:
        self._ledger, self._unknown = ledger, dict(unknown)
        self._records.clear()
        self._pending.clear()
        self._path.clear()
        self._path.append(block)
        self._told = False

    # -- following -----------------------------------------------------------------------------------------------------

    async def follow(self, head: BlockRef) -> Step[G] | None:
        """Bring the accounts to this head; None if it is no news.

        May raise: ChainError, CallFailed, MarketChanged. Nothing is lost then: try the next head, and decide nothing
        until there is a step again, for blocks may have been undone already.
        """
        growth = await self._growth(head)
        if growth is None:
            return await self._advance([]) if head == self.tip and not self._told else None
        first = self.tip.number + 1
        if growth.reorg is not None:
            ancestor = growth.reorg.ancestor
            first = ancestor.number + 1 if ancestor is not None else self._path[0].number
            again = None if ancestor is None or growth.unseen else self._undo(ancestor)
            if again is None:
                return await self._read_again(growth.blocks[-1], "deep reorganisation", first)
            return await self._advance([*again, *growth.blocks])
        if growth.unseen:
            return await self._read_again(growth.blocks[-1], "gap", first)
        return await self._advance(growth.blocks)

    async def _growth(self, head: BlockRef) -> Growth | None:
        if head.parent_hash == self.tip.hash and head.number == self.tip.number + 1:
            return Growth((head,))
        question = Branch(self._window, self._defences, self._path).grow(head)
        try:
            first, last = next(question)
            while True:
                first, last = question.send(await self._chain.headers(first, last))
        except StopIteration as done:
            found: Growth | None = done.value
            return found

    def _undo(self, ancestor: BlockRef) -> list[BlockRef] | None:
        """Go back to the last step at or before a block; the blocks between them, or None if that is too far back."""
        blocks = list(self._path)
        while self._records and self.tip.number > ancestor.number:
            record = self._records.pop()
            late = dict.fromkeys(range(record.count, len(self.ledger)), "it came with a block that left the chain")
            self._pending.update(record.before, late, self._unknown.keys() ^ record.unknown.keys())
            for row, account in record.before.items():
                self.ledger.put(row, account)
            self._unknown = {**record.unknown, **late}
            while self.tip != record.base:
                self._path.pop()
                self._undone += 1
        if self.tip.number > ancestor.number:
            return None
        again = [block for block in blocks if self.tip.number < block.number <= ancestor.number]
        self._undone -= len(again)
        return again

    async def _advance(self, blocks: Sequence[BlockRef]) -> Step[G]:
        """Apply these blocks, which follow the tip, as one step."""
        target = blocks[-1] if blocks else self.tip
        logs, globals_ = await self._ask(blocks, target)
        stage = Stage(self.ledger, self._unknown)
        try:
            for block, found in zip(blocks, logs, strict=True):
                self._market.replay.apply(stage, found, block)
        except Contradiction as wrong:
            _log.warning("block %d: %s", target.number, wrong)
            return await self._read_again(target, "contradiction", self.tip.number + 1, globals_)
        if stage.recheck:
            await self._recheck(stage.recheck, target)
            return await self._read_again(target, "upheaval", self.tip.number + 1, globals_)
        retried = {self.ledger.owner(row) for row in self._unknown}
        reading = await self._read(sorted(stage.dirty | retried), target)
        self.counts.blocks += len(blocks)
        self.counts.logs += sum(map(len, logs))
        self.counts.dirty += len(stage.dirty)
        rows = self._commit(stage, reading, blocks)
        return self._step(target, globals_, rows)

    def _step(self, block: BlockRef, globals_: G, rows: set[int], whole: str = "") -> Step[G]:
        told = tuple(sorted(rows | self._pending))
        undone, self._undone = self._undone, 0
        self.counts.undone += undone
        self._pending.clear()
        self._told = True
        return Step(block, globals_, told, whole, dict(self._unknown), undone)

    async def _recheck(self, reason: str, block: BlockRef) -> None:
        if not await run(self._chain, self._market.recheck(block), block):
            raise MarketChanged(f"the market changed ({reason}) by block {block.number}", hint="read its facts anew")

    def _commit(self, stage: Stage, reading: Reading, blocks: Sequence[BlockRef]) -> set[int]:
        """Write what is new, and down what was there; the rows that differ."""
        ledger, count, unknown = self.ledger, len(self.ledger), dict(self._unknown)
        before: dict[int, Account] = {}
        told: set[int] = set()
        rows, accounts = [], []
        for owner, account in stage.accounts.items():
            row, was = stage.before[owner]
            if was != account:
                before[row] = was
                rows.append(row)
                accounts.append(account)
        ledger.put_all(rows, accounts)
        for owner, account in self._trimmed(reading.columns).items():
            found = ledger.find(owner)
            if found is None:
                told.add(ledger.add(owner, account))
                continue
            if self._unknown.pop(found, None) is not None:
                told.add(found)
            was = ledger.account(found)
            if was != account:
                before[found] = was
                ledger.put(found, account)
        for owner, reason in reading.unreadable.items():
            found = ledger.find(owner)
            found = ledger.add(owner, Account()) if found is None else found
            self._unknown[found] = reason
            told.add(found)
        if blocks:
            self._records.append(_Record(self.tip, count, before, unknown))
            self._path.extend(blocks)
            while self._records and self._records[0].base.number < self._path[0].number:
                self._records.popleft()
        return told | before.keys()

    # -- asking --------------------------------------------------------------------------------------------------------

    async def _ask(self, blocks: Sequence[BlockRef], target: BlockRef) -> tuple[list[list[RawLog]], G]:
        """The blocks' logs and the target's globals: one HTTP request, unless globals need more rounds."""
        plan = self._market.read_globals(target)
        batch = next(plan)
        logs, answers = await self._feed.fetch(blocks, batch, target)
        try:
            while True:
                batch = advance(plan, batch, answers)
                answers = await self._chain.ask(batch, target)
        except StopIteration as done:
            globals_: G = done.value
            return logs, globals_

    async def _read(self, owners: Sequence[bytes], block: BlockRef) -> Reading:
        if not owners:
            return Reading(self.ledger.take([]))
        return await self._accounts.read(owners, block)

    def _trimmed(self, columns: Columns) -> dict[bytes, Account]:
        found = accounts_of(columns)
        for account in found.values():
            self._market.replay.trim(account)
        return found

    async def _read_again(self, block: BlockRef, reason: str, first: int, globals_: G | None = None) -> Step[G]:
        """All accounts anew, in place of blocks that were not replayed from number `first` on."""
        _log.warning("all accounts are read anew at block %d: %s", block.number, reason)
        if globals_ is None:
            _, globals_ = await self._ask([], block)
        owners = [self.ledger.owner(row) for row in range(len(self.ledger))]
        step = await self._read_all(owners, block, reason, globals_)
        if self._defences.back_fill:
            self.unseen = first if self.unseen is None else min(first, self.unseen)
        return step

    async def _read_all(self, owners: Sequence[bytes], block: BlockRef, reason: str, globals_: G) -> Step[G]:
        reading = await self._accounts.read(owners, block)
        ledger = Ledger(reading.columns)
        unknown = {ledger.add(owner, Account()): why for owner, why in reading.unreadable.items()}
        if len(ledger) != len(owners):
            raise AssertionError(f"{len(owners)} accounts were asked for and {len(ledger)} came")
        self._begin(ledger, block, unknown)
        self.counts.rereads[reason] += 1
        return self._step(block, globals_, set(), reason)

    # -- between steps -------------------------------------------------------------------------------------------------

    async def settle(self) -> Step[G] | None:
        """What can wait until a step was acted upon: new borrowers of a gap, and the audit. None if nothing changed.

        May raise: ChainError, CallFailed.
        """
        if self.unseen is not None:
            return await self._fill(self.unseen)
        return await self._audit()

    async def _fill(self, first: int) -> Step[G] | None:
        found = await self._accounts.newcomers(first, self.tip)
        fresh = [owner for owner in dict.fromkeys(found) if self.ledger.find(owner) is None]
        if not fresh:
            self.unseen = None
            return None
        _, globals_ = await self._ask([], self.tip)
        rows = self._commit(Stage(self.ledger), await self._read(fresh, self.tip), ())
        self.unseen = None
        return self._step(self.tip, globals_, rows)

    async def _audit(self) -> Step[G] | None:
        """Compare a slice with the chain; read all anew where it differs."""
        if not self._audited or not len(self.ledger):
            return None
        dice = np.random.default_rng([self._seed, self.tip.number])
        rows = np.unique(dice.integers(0, len(self.ledger), self._audited)).tolist()
        mine = self._trimmed(self.ledger.take([row for row in rows if row not in self._unknown]))
        theirs = self._trimmed((await self._read(list(mine), self.tip)).columns)
        self.counts.audited += len(theirs)
        wrong = [owner for owner, account in theirs.items() if mine[owner] != account]
        if not wrong:
            return None
        self.counts.differences += len(wrong)
        _log.error(
            "block %d: %d accounts differ from the chain, first 0x%s", self.tip.number, len(wrong), wrong[0].hex()
        )
        return await self._read_again(self.tip, "difference", self._path[0].number)
