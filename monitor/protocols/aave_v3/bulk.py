"""Aave V3 for whole markets: the numbering of balances, and what the engine asks of a protocol.

A kind is the number of the bit that lets the balance count: 2 * id for variable debt, 2 * id + 1 for aTokens, both
scaled; `cells.STABLE_KIND` tells of stable debt. The flags are the user configuration. A code is (category, kind); a
balance whose bit is not set has code 0, and one that no float may judge has code 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from monitor.core.address import parse_address
from monitor.core.types import BlockRef, Known, NoDebt, Position, ReadPlan, Rule, Unreadable
from monitor.core.units import UINT256_MAX, WAD
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.bound import Bound
from monitor.protocols.aave_v3.cells import (
    BALANCE_BITS,
    STABLE_KIND,
    Cells,
    cells,
    healths_directed,
    healths_half_up,
    in_mode,
    indexes,
    is_member,
    unknown_bits,
    unread,
)
from monitor.protocols.aave_v3.globals import Globals, own_source
from monitor.protocols.aave_v3.packed import Packed
from monitor.protocols.aave_v3.records import Facts, ReserveState, State
from monitor.protocols.aave_v3.verdict import Undecidable, account_of, verdict_of
from monitor.protocols.columns import I64, U16, U64, Bulk, Columns, Mask, Weights

WORD = 2**64 - 1
VOID, OPEN, FIRST = 0, 1, 2
"""Codes: weighs nothing; left to the integers; the first of those that mean a kind."""
MODES = tuple(range(1, 33))


class AaveV3Bulk(Bulk[Facts, Globals]):
    """`modes`: the e-mode categories that are read. Accounts in others are unknown, so name all that are in use."""

    def __init__(self, facts: Facts, modes: Sequence[int] = MODES) -> None:
        self.facts = facts
        self.modes = tuple(sorted({0, *modes}))
        self.kinds = 2 * max((reserve.id for reserve in facts.reserves), default=-1) + 2
        self._places = np.full(256, -1, np.int64)
        self._places[list(self.modes)] = np.arange(len(self.modes))
        self._bound = Bound(self.modes, self.kinds, FIRST)
        self._packed = Packed(facts, self.modes[1:])
        self._moment: tuple[Globals, int] | None = None
        self._indexes: dict[int, tuple[int, int]] = {}
        self._cells: dict[int, Cells] = {}
        self._weights: Weights | None = None
        self._flags: U64 | None = None

    def for_modes(self, modes: Sequence[int]) -> AaveV3Bulk:
        return AaveV3Bulk(self.facts, modes)

    def read_globals(self, block: BlockRef) -> ReadPlan[Globals]:
        return self._packed.read()

    def prices(self, globals_: Globals) -> Mapping[str, int]:
        return globals_.prices

    def at_prices(self, globals_: Globals, prices: Mapping[str, int]) -> Globals:
        return replace(globals_, prices={**globals_.prices, **prices})

    def codes(self, columns: Columns) -> U16:
        rows = np.repeat(np.arange(len(columns)), np.diff(columns.start))
        place = self._places[columns.mode][rows]
        kind = columns.kind.astype(np.int64)
        ours = kind < self.kinds
        counts = _counts(columns.kind, columns.flags[rows], self.kinds)
        found = np.where(counts, FIRST + place * self.kinds + kind, VOID)
        wild = (columns.high >> np.uint64(BALANCE_BITS - 64) != 0) | (kind >= STABLE_KIND) | (ours & (place < 0))
        return np.where(wild, OPEN, found).astype(np.uint16)

    def weights(self, globals_: Globals, at_s: int) -> Weights:
        known = self._at(globals_, at_s)
        if self._weights is None:
            self._weights = self._bound.weights(globals_, known)
        return self._weights

    def price_codes(self, globals_: Globals, key: str) -> Mask:
        return self._bound.price_codes(globals_, key)

    def unknown_flags(self, globals_: Globals, size: int, at_s: int) -> U64:
        known = self._at(globals_, at_s)
        if self._flags is not None and self._flags.shape[1] == size:
            return self._flags
        found = np.full((256, size), WORD, np.uint64)
        shared = _split(unknown_bits(globals_, 0, known), size)
        for mode in self.modes:
            same = not unread(globals_, mode) and not own_source(globals_.categories.get(mode))
            found[mode] = shared if same else _split(unknown_bits(globals_, mode, known), size)
        self._flags = found
        return found

    def exact(self, globals_: Globals, columns: Columns, rows: I64, at_s: int) -> list[tuple[int, int] | None]:
        known = self._at(globals_, at_s)
        at, counts = columns.entries(rows)
        of = np.repeat(np.arange(len(rows)), counts)
        mode, flags, kind, high = columns.mode[rows], columns.flags[rows], columns.kind[at], columns.high[at]
        masks = np.full((256, flags.shape[1]), WORD, np.uint64)
        for one in np.unique(mode).tolist():
            masks[one] = _split(self._cells_of(globals_, one, known).unknown, flags.shape[1])
        odd: Mask = np.asarray(np.any(flags & masks[mode], axis=1))
        odd[of[(kind >= STABLE_KIND) | (high >> np.uint64(BALANCE_BITS - 64) != 0)]] = True
        counts_ = _counts(kind, flags[of], self.kinds) & ~odd[of]
        of, parts = of[counts_], (kind[counts_].tolist(), columns.low[at[counts_]].tolist(), high[counts_].tolist())
        balances = [(kind, high << 64 | low if high else low) for kind, low, high in zip(*parts, strict=True)]
        ends = np.searchsorted(of, np.arange(len(rows) + 1)).tolist()
        tables = {one: held.entries for one, held in self._cells.items()}
        accounts = (
            (tables[one], balances[begin:end])
            for one, begin, end in zip(mode.tolist(), ends[:-1], ends[1:], strict=True)
        )
        reckon = healths_directed if globals_.rules.directed_rounding else healths_half_up
        found: list[tuple[int, int] | None] = [
            (1, 0) if health == UINT256_MAX else (health, WAD) for health in reckon(accounts)
        ]
        for place in np.flatnonzero(odd).tolist():
            found[place] = self._judged(globals_, columns, int(rows[place]), at_s)
        return found

    def position(self, globals_: Globals, columns: Columns, row: int, block: BlockRef) -> Position | Unreadable:
        owner = parse_address(columns.owner(row))
        name = self.facts.market.position_id(owner)
        configuration, mode = _joined(columns.flags[row].tolist()), int(columns.mode[row])
        ids = set(words.reserve_ids(configuration))
        if configuration and unread(globals_, mode):
            return Unreadable(name, owner, block, f"e-mode category {mode} could not be read")
        if reasons := [why for number, why in globals_.unreadable.items() if number in ids]:
            return Unreadable(name, owner, block, reasons[0])
        category = globals_.categories.get(mode) if configuration else None
        for number, reserve in globals_.reserves.items():
            member = own_source(category) is not None and is_member(globals_, reserve, mode)
            if number in ids and reserve.asset not in globals_.prices and not member:
                return Unreadable(name, owner, block, f"{reserve.symbol}: no price")
        balances = columns.balances(row)
        held = [_held(reserve, configuration, balances) for n, reserve in globals_.reserves.items() if n in ids]
        state = State(
            self.facts.base_symbol, self.facts.base_unit, self.facts.sentinel, configuration, category, tuple(held)
        )
        keys = {reserve.asset for reserve in held} | ({source} if (source := own_source(category)) else set())
        prices = {key: price for key, price in globals_.prices.items() if key in keys}
        return Position(name, owner, block, Rule(self.facts.market.protocol, globals_.version), prices, state)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _at(self, globals_: Globals, at_s: int) -> dict[int, tuple[int, int]]:
        """The indexes at that moment. What is reckoned for one moment is kept until the next."""
        if self._moment is None or self._moment[0] is not globals_ or self._moment[1] != at_s:
            self._moment, self._indexes, self._cells = (globals_, at_s), indexes(globals_, at_s), {}
            self._weights = self._flags = None
        return self._indexes

    def _cells_of(self, globals_: Globals, mode: int, known: dict[int, tuple[int, int]]) -> Cells:
        if mode not in self._cells:
            alone = mode == 0 or unread(globals_, mode) or own_source(globals_.categories.get(mode))
            self._cells[mode] = (
                cells(globals_, mode, known) if alone else in_mode(self._cells_of(globals_, 0, known), globals_, mode)
            )
        return self._cells[mode]

    def _judged(self, globals_: Globals, columns: Columns, row: int, at_s: int) -> tuple[int, int] | None:
        found = self.position(globals_, columns, row, BlockRef(self.facts.market.chain_id, 0, "", "", at_s))
        if isinstance(found, Unreadable):
            return None
        try:
            verdict = verdict_of(account_of(found, at_s))
        except Undecidable:
            return None
        match verdict:
            case Known(numerator, denominator):
                return numerator, denominator
            case NoDebt():
                return 1, 0
            case _:
                return None


def _counts(kind: U16, flags: U64, kinds: int) -> Mask:
    """Which balances count: the flag of the same number is set. `flags`: each balance's account's."""
    bit = np.where(kind < kinds, kind, 0)
    of = flags[np.arange(len(kind)), bit >> 6] if flags.shape[1] > 1 else flags[:, 0]
    counts: Mask = (kind < kinds) & (of >> (bit & 63).astype(np.uint64) & np.uint64(1) == 1)
    return counts


def _joined(flags: Sequence[int]) -> int:
    return sum(word << 64 * place for place, word in enumerate(flags)) if len(flags) > 1 else flags[0]


def _split(flags: int, words_: int) -> list[int]:
    return [flags >> 64 * place & WORD for place in range(words_)]


def _held(reserve: ReserveState, configuration: int, balances: Mapping[int, int]) -> ReserveState:
    """The reserve with an account's balances. Debts only where the bit says so, as `reading` reads them."""
    owed = words.is_borrowing(configuration, reserve.id)
    stable = [balances.get(first + reserve.id, 0) for first in (STABLE_KIND, STABLE_KIND + 128, STABLE_KIND + 256)]
    return replace(
        reserve,
        scaled_a_token=balances.get(2 * reserve.id + 1, 0),
        scaled_variable_debt=balances.get(2 * reserve.id, 0) if owed else 0,
        stable_principal=stable[0] if owed else 0,
        stable_rate=stable[1] if owed else 0,
        stable_update_s=stable[2] if owed else 0,
    )
