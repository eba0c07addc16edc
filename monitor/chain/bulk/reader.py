"""Reads the raw state of many accounts at one block: climbs down the ladder until a rung is proven, then sweeps.

A rung is proven on each endpoint before it is believed: what it says of a sample must be what plain getter calls say.
Each drop to a lower rung is told with its reason. What a rung could not read of single accounts is asked once more by
plain getters; what still cannot be read is told account by account.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from monitor.chain.bulk.chunks import Cutter, Work
from monitor.chain.bulk.lens import CreatedLens, OverrideLens
from monitor.chain.bulk.rung import Rung
from monitor.chain.bulk.storage import StorageValues
from monitor.chain.bulk.wire import RungFailed, TooMuch, Wire
from monitor.chain.bulk.words import Batch, Multicall
from monitor.chain.clock import SYSTEM, Clock
from monitor.chain.endpoint import Endpoint
from monitor.chain.rpc_chain import RpcChain
from monitor.core.errors import BadAnswer, ChainError, RateLimited, RpcUnavailable
from monitor.core.types import Address, BlockRef
from monitor.protocols.columns import U8, Columns
from monitor.protocols.survey import Part, Survey, join

LADDER: tuple[type[Rung], ...] = (OverrideLens, StorageValues, CreatedLens, Multicall, Batch)
SAMPLE = 16
AGAIN_AT_MOST = 500
"""So many accounts that a rung could not read are asked once more by themselves; more are their market's trouble."""


@dataclass(frozen=True, slots=True)
class Drop:
    """A rung that an endpoint could not stand on."""

    endpoint: str
    rung: str
    reason: str

    def __str__(self) -> str:
        return f"{self.endpoint}: not by {self.rung}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Swept:
    """The accounts that could be read, and those that could not, with the reason for each."""

    block: BlockRef
    columns: Columns
    unread: tuple[tuple[Address, str], ...]
    rungs: tuple[str, ...]
    """Which were used."""


class BulkReader:
    """One market on one chain. Remembers which rung each endpoint stands on; make a new one when the facts change."""

    def __init__(
        self,
        chain: RpcChain,
        survey: Survey,
        *,
        ladder: Sequence[type[Rung]] = LADDER,
        clock: Clock = SYSTEM,
        dropped: Callable[[Drop], None] = lambda _: None,
    ) -> None:
        """`dropped` is told of every drop to a lower rung."""
        self.survey = survey
        self.drops: list[Drop] = []
        self._chain, self._clock, self._dropped = chain, clock, dropped
        self._ladder = tuple(rung for rung in ladder if survey.lens or not rung.by_lens)
        self._standing: dict[str, list[Rung]] = {}
        self._proven: dict[str, Rung] = {}

    @property
    def gas_an_account(self) -> int | None:
        """Of the last answer that told it."""
        return next((rung.gas_an_account for rung in self._proven.values() if rung.gas_an_account), None)

    async def read(self, owners: U8, block: BlockRef, progress: Callable[[int], None] = lambda _: None) -> Swept:
        """`owners`: (n, 20), each once. `progress` is told how many more have been read. May raise: ChainError.

        With a quorum as many endpoints must tell the same of everybody, or nothing is known.
        """
        usable = self._chain.pool.usable()
        if self._chain.quorum == 1:
            return await self._read(usable, owners, block, progress)
        agreed: list[Swept] = []
        for place, endpoint in enumerate(usable):
            try:
                agreed.append(await self._read([endpoint], owners, block, progress if not agreed else lambda _: None))
            except ChainError:
                if len(agreed) + len(usable) - place - 1 < self._chain.quorum:
                    raise
            if len(agreed) == self._chain.quorum:
                break
        first, *others = agreed
        if any(not _same(first, other) for other in others):
            raise BadAnswer(f"the endpoints disagree about accounts at block {block.number}")
        return first

    async def _read(
        self, endpoints: Sequence[Endpoint], owners: U8, block: BlockRef, progress: Callable[[int], None]
    ) -> Swept:
        work, used, trouble = Work.of(owners, progress), list[str](), list[ChainError]()
        for endpoint in endpoints:
            if not work.todo:
                break
            try:
                await self._sweep(Wire(endpoint, block), work, used)
            except ChainError as error:
                trouble.append(error)
        if work.todo:
            if trouble and len({type(error) for error in trouble}) == 1 and not isinstance(trouble[0], RateLimited):
                raise trouble[0]
            raise RpcUnavailable("; ".join(dict.fromkeys(error.message for error in trouble)) or "no endpoint answered")
        columns, unread = join(*_in_order(work, self.survey))
        told = tuple((f"0x{owners[row].tobytes().hex()}", reason) for row, reason in unread)
        return Swept(block, columns, told, tuple(dict.fromkeys(used)))

    async def _sweep(self, wire: Wire, work: Work, used: list[str]) -> None:
        """What is left of the work, by this endpoint. May raise: ChainError."""
        alias = wire.endpoint.alias
        standing = self._standing.setdefault(alias, [rung(self.survey) for rung in self._ladder])
        while work.todo and standing:
            rung = standing[0]
            try:
                if self._proven.get(alias) is not rung:
                    await self._prove(rung, wire, work.owners)
                    self._proven[alias] = rung
                before = set(work.parts)
                await Cutter(work, partial(rung.read, wire), rung.most, self._clock).run()
            except (RungFailed, TooMuch) as failed:
                standing.pop(0)
                drop = Drop(alias, rung.name, str(failed))
                self.drops.append(drop)
                self._dropped(drop)
                continue
            used.append(rung.name)
            if not isinstance(rung, Batch):
                await self._again(wire, work, before)
        if work.todo:
            raise RpcUnavailable(f"{alias}: cannot read accounts in bulk")

    async def _prove(self, rung: Rung, wire: Wire, owners: U8) -> None:
        """May raise: RungFailed, TooMuch, ChainError."""
        sample = owners[np.unique(np.linspace(0, len(owners) - 1, SAMPLE).astype(np.int64))]
        await rung.prepare(wire, owners)
        if isinstance(rung, Batch):
            return
        plain, told = await self._all_of(Batch(self.survey), wire, sample), await self._all_of(rung, wire, sample)
        if (row := _difference(plain, told)) is not None:
            raise RungFailed(f"of 0x{sample[row].tobytes().hex()} it says other than the market's own getters")

    async def _all_of(self, rung: Rung, wire: Wire, owners: U8) -> dict[int, tuple[object, ...] | None]:
        """What the rung tells of each, by row; None of whom it cannot read. May raise: RungFailed, ChainError."""
        work = Work.of(owners)
        await Cutter(work, partial(rung.read, wire), rung.most, self._clock).run()
        found: dict[int, tuple[object, ...] | None] = dict.fromkeys(work.unread)
        for first, part in work.parts.items():
            for row in range(len(part)):
                found[first + row] = None if row in part.failed else _account(part, row)
        return found

    async def _again(self, wire: Wire, work: Work, before: set[int]) -> None:
        """Accounts that failed in the parts of this sweep, by plain getters."""
        failed = [(first, row) for first, part in work.parts.items() if first not in before for row in part.failed]
        if not failed or len(failed) > AGAIN_AT_MOST:
            return
        rows = np.array([first + row for first, row in failed])
        plain = Work.of(work.owners[rows])
        batch = Batch(self.survey)
        await Cutter(plain, partial(batch.read, wire), batch.most, self._clock).run()
        for at, part in plain.parts.items():
            for number in range(len(part)):
                if number not in part.failed:
                    first, row = failed[at + number]
                    _replace(work.parts[first], row, part, number)


def _in_order(work: Work, survey: Survey) -> tuple[U8, list[Part]]:
    for row, reason in work.unread.items():
        work.parts[row] = _unreadable(survey, reason)
    return work.owners, [work.parts[first] for first in sorted(work.parts)] or [_nothing(survey, 0)]


def _same(one: Swept, other: Swept) -> bool:
    names = ("owners", "mode", "flags", "start", "kind", "low", "high")
    equal = all(np.array_equal(getattr(one.columns, name), getattr(other.columns, name)) for name in names)
    return equal and [owner for owner, _ in one.unread] == [owner for owner, _ in other.unread]


def _nothing(survey: Survey, count: int) -> Part:
    none = np.zeros(0, np.uint64)
    flags, mode = np.zeros((count, survey.width), np.uint64), np.zeros(count, np.uint8)
    return Part(flags, mode, np.zeros(0, np.int64), np.zeros(0, np.uint16), none, none)


def _unreadable(survey: Survey, reason: str) -> Part:
    part = _nothing(survey, 1)
    part.failed[0] = reason
    return part


def _replace(part: Part, row: int, other: Part, number: int) -> None:
    """Account `row` of a part becomes account `number` of the other."""
    keep, take = part.row != row, other.row == number
    part.row = np.concatenate([part.row[keep], np.full(int(take.sum()), row)])
    part.kind = np.concatenate([part.kind[keep], other.kind[take]])
    part.low = np.concatenate([part.low[keep], other.low[take]])
    part.high = np.concatenate([part.high[keep], other.high[take]])
    part.flags[row], part.mode[row] = other.flags[number], other.mode[number]
    del part.failed[row]


def _difference(plain: dict[int, tuple[object, ...] | None], told: dict[int, tuple[object, ...] | None]) -> int | None:
    """The first row that is told otherwise."""
    return next((row for row in sorted(plain) if told[row] != plain[row]), None)


def _account(part: Part, row: int) -> tuple[object, ...]:
    its = part.row == row
    entries = zip(part.kind[its].tolist(), part.low[its].tolist(), part.high[its].tolist(), strict=True)
    balances = {kind: high << 64 | low for kind, low, high in entries}
    return part.flags[row].tolist(), int(part.mode[row]), {kind: value for kind, value in balances.items() if value}
