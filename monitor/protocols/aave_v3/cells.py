"""The exact health of many accounts at one moment: what each reserve does for accounts of one mode is reckoned once.

The same integers as `account`, in the same order; only what is equal for all accounts is taken out of the loop. What
the loop is not made for (stable debt, debt at a price of 0, numbers so large that the contract might revert) is judged
by `account` itself, as is every account of which something is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from monitor.core.units import RAY, UINT256_MAX, WAD
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.account import (
    in_category,
    normalized_debt,
    normalized_income,
    reserve_threshold,
)
from monitor.protocols.aave_v3.globals import Globals, own_source, price_in
from monitor.protocols.aave_v3.math import HALF_PERCENTAGE_FACTOR, HALF_RAY, PERCENTAGE_FACTOR, ArithmeticReverts
from monitor.protocols.aave_v3.records import Category, ReserveState

BALANCE_BITS = 112
"""Balances of this many bits at most are reckoned in bulk: 5e15 tokens of 18 decimals."""
_INDEX_BITS, _VALUE_BITS = 143, 160
RESERVES = 128
STABLE_KIND = 2 * RESERVES
"""Kinds from here on are stable debt: 256 + id principal, 384 + id rate, 512 + id last update in seconds."""
EVERY_BIT = (1 << STABLE_KIND) - 1

Entry = tuple[int, int, int, int]
"""index, price, unit, threshold."""
Balance = tuple[int, int]
"""kind, scaled balance."""


@dataclass(frozen=True, slots=True)
class Cells:
    """One mode. `entries` by kind: None where a balance does not count. `unknown`: with one of these bits set an
    account cannot be judged by the loop.
    """

    entries: tuple[Entry | None, ...]
    unknown: int


def indexes(globals_: Globals, at_s: int) -> dict[int, tuple[int, int]]:
    """The normalized income and debt of every reserve at `at_s`; left out where the contract's arithmetic reverts."""
    found = {}
    for number, reserve in globals_.reserves.items():
        try:
            found[number] = normalized_income(reserve, at_s), normalized_debt(globals_.rules, reserve, at_s)
        except ArithmeticReverts:
            continue
    return found


def tame(reserve: ReserveState, index: tuple[int, int], price: int) -> bool:
    """Whether nothing that the contract reckons of the reserve can overflow, for balances up to BALANCE_BITS.

    With an index below 2**143 balance times index fits 256 bits, and so must amount times price. A value is below
    2**160, so that the sum of 128 of them, times a threshold or LTV (2**16) and times a wad (2**60), fits too.
    """
    most = ((1 << BALANCE_BITS) * max(index) // RAY + 1) * price
    return most >> 255 == 0 and (most // 10 ** words.decimals(reserve.configuration) + 1) >> _VALUE_BITS == 0


def discounted(globals_: Globals, reserve: ReserveState) -> bool:
    """3.3: a debt in it counts with a discount that no balance tells. As verdict.account_of."""
    return globals_.rules.discounted_debt and not words.virtual_accounting(reserve.configuration)


def gated(globals_: Globals, reserve: ReserveState) -> bool:
    """<= 3.5: with a threshold of 0 of its own it is no collateral. As account.counts_as_collateral."""
    return globals_.rules.threshold_gates_collateral and words.liquidation_threshold(reserve.configuration) == 0


def unread(globals_: Globals, mode: int) -> bool:
    """Whether accounts of this mode cannot be judged: its category, or its category's own price, is not known."""
    if mode == 0:
        return False
    source = own_source(globals_.categories.get(mode))
    return mode not in globals_.categories or (source is not None and source not in globals_.prices)


def unknown_bits(globals_: Globals, mode: int, known: dict[int, tuple[int, int]]) -> int:
    """The bits of a user configuration with which an account of this mode is unknown whatever its balances are.

    `known`: the reserves' indexes.
    """
    if unread(globals_, mode):
        return EVERY_BIT
    category = globals_.categories.get(mode)
    bits = sum(3 << 2 * number for number in globals_.unreadable)
    for number, reserve in globals_.reserves.items():
        lost = number not in known or max(known[number]) >> _INDEX_BITS
        if lost or price_in(globals_, reserve, category) is None:
            bits |= 3 << 2 * number
        elif discounted(globals_, reserve):
            bits |= 1 << 2 * number
    return bits


def in_mode(plain: Cells, globals_: Globals, mode: int) -> Cells:
    """The cells of a mode that is read and changes no price: those of mode 0 but for its members' thresholds."""
    entries = list(plain.entries)
    for number, reserve in globals_.reserves.items():
        entry = entries[2 * number + 1]
        if entry is not None and is_member(globals_, reserve, mode):
            entries[2 * number + 1] = *entry[:3], globals_.categories[mode].liquidation_threshold
    return Cells(tuple(entries), plain.unknown)


def cells(globals_: Globals, mode: int, known: dict[int, tuple[int, int]]) -> Cells:
    """How every reserve counts for accounts of this mode."""
    category = globals_.categories.get(mode)
    unknown = unknown_bits(globals_, mode, known)
    entries: list[Entry | None] = [None] * (2 * max(globals_.reserves, default=-1) + 2)
    for number, reserve in globals_.reserves.items():
        price = price_in(globals_, reserve, category)
        if unknown >> 2 * number & 2 or price is None:
            continue
        if not tame(reserve, known[number], price):
            unknown |= 3 << 2 * number
            continue
        if price == 0:
            unknown |= 1 << 2 * number  # a debt that may count for nothing
        unit = 10 ** words.decimals(reserve.configuration)
        entries[2 * number] = known[number][1], price, unit, 0
        if not gated(globals_, reserve):
            entries[2 * number + 1] = known[number][0], price, unit, _threshold(globals_, reserve, category)
    return Cells(tuple(entries), unknown)


def _threshold(globals_: Globals, reserve: ReserveState, category: Category | None) -> int:
    return reserve_threshold(globals_.rules, reserve, category)


def is_member(globals_: Globals, reserve: ReserveState, mode: int) -> bool:
    """Whether the reserve is in the mode's category as collateral."""
    return in_category(globals_.rules, reserve, globals_.categories.get(mode))


def healths_half_up(accounts: Iterable[tuple[Sequence[Entry | None], Sequence[Balance]]]) -> Iterator[int]:
    """The health factors up to 3.4, in wad; per account its mode's entries and the balances whose bits are set."""
    for entries, balances in accounts:
        collateral = debt = weighted = 0
        for kind, scaled in balances:
            if (entry := entries[kind]) is not None:
                index, price, unit, threshold = entry
                value = (scaled * index + HALF_RAY) // RAY * price // unit
                if kind & 1:
                    collateral += value
                    weighted += value * threshold
                else:
                    debt += value
        if debt == 0:
            yield UINT256_MAX
            continue
        average = weighted // collateral if collateral else 0
        covered = (collateral * average + HALF_PERCENTAGE_FACTOR) // PERCENTAGE_FACTOR
        yield (covered * WAD + debt // 2) // debt


def healths_directed(accounts: Iterable[tuple[Sequence[Entry | None], Sequence[Balance]]]) -> Iterator[int]:
    """The same from 3.5."""
    for entries, balances in accounts:
        debt = weighted = 0
        for kind, scaled in balances:
            if (entry := entries[kind]) is not None:
                index, price, unit, threshold = entry
                if kind & 1:
                    weighted += scaled * index // RAY * price // unit * threshold
                else:
                    debt -= -scaled * index // RAY * price // unit
        yield UINT256_MAX if debt == 0 else (weighted * WAD + debt // 2) // debt // PERCENTAGE_FACTOR
