"""Morpho Blue's parts for whole markets: two balances an account, two weights, and what all together have and owe.

Kinds are the replay's: 0 the borrow shares, 1 the collateral; the code of a kind is one more. Supply shares play no
part in health and are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from monitor.core.address import parse_address
from monitor.core.errors import ProtocolError
from monitor.core.types import BlockRef, Known, NoDebt, Position, ReadPlan, Unit, Unreadable
from monitor.core.units import WAD
from monitor.protocols.columns import I64, U16, U64, Bulk, Columns, Mask, Weights
from monitor.protocols.morpho_blue.effects import totals_at
from monitor.protocols.morpho_blue.math import (
    ORACLE_PRICE_SCALE,
    VIRTUAL_ASSETS,
    VIRTUAL_SHARES,
    Facts,
    Overflows,
    State,
    Totals,
    to_assets_up,
)
from monitor.protocols.morpho_blue.reading import Market, read_market
from monitor.protocols.morpho_blue.replay import BALANCE_BITS, COLLATERAL, DEBT, MorphoReplay
from monitor.protocols.survey import Getter, Survey
from monitor.protocols.whole import Total, Whole

POSITION = bytes.fromhex("93c52062")
"""Morpho.position(bytes32,address): supply shares, borrow shares, collateral"""
VOID, OWED, HELD = 0, DEBT + 1, COLLATERAL + 1
GUARD = 2.0**-40
"""Room around a weight, relative: far more than what rounding it, an amount and a sum of two in float64 takes."""


class MorphoBulk(Bulk[Facts, Market]):
    """One market's accounts."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def read_globals(self, block: BlockRef) -> ReadPlan[Market]:
        market = yield from read_market(self.facts, block)
        if market.unread:
            raise ProtocolError(f"oracle price(): {market.unread}")
        return market

    def prices(self, globals_: Market) -> Mapping[str, int]:
        return {} if globals_.price is None else {self.facts.collateral.address: globals_.price}

    def at_prices(self, globals_: Market, prices: Mapping[str, int]) -> Market:
        return replace(globals_, price=prices.get(self.facts.collateral.address, globals_.price))

    def codes(self, columns: Columns) -> U16:
        return (columns.kind + 1).astype(np.uint16)

    def weights(self, globals_: Market, at_s: int) -> Weights:
        """The contract rounds what is owed up once, and what may be owed down twice, the first time times lltv <= 1.

        So owed lies in [real, real + 1) and what may be in (real - 2, real], with real = amount times weight. No code
        stands for a number that the contract could not reckon with: balances have 128 bits, and at prices below 2**128
        and totals below 2**127 no product overflows; at others all debts are left to the integers.
        """
        totals = _totals_at(globals_, at_s)
        price = globals_.price
        large = totals is None or max(totals.total_borrow_assets, totals.total_borrow_shares) >> BALANCE_BITS - 1
        if totals is None or large or price is None or price >> BALANCE_BITS:
            nan = np.array([0.0, np.nan, np.nan])
            return Weights(nan, nan.copy(), np.array([0.0, 1.0, 1.0]))
        owed = (totals.total_borrow_assets + VIRTUAL_ASSETS) / (totals.total_borrow_shares + VIRTUAL_SHARES)
        held = price * self.facts.lltv / (ORACLE_PRICE_SCALE * WAD)
        lower = np.array([0.0, -owed * (1 + GUARD), held * (1 - GUARD)])
        upper = np.array([0.0, -owed * (1 - GUARD), held * (1 + GUARD)])
        return Weights(lower, upper, np.array([0.0, 2.0, 3.0]))

    def price_codes(self, globals_: Market, key: str) -> Mask:
        return np.array([False, False, key == self.facts.collateral.address])

    def unknown_flags(self, globals_: Market, size: int, at_s: int) -> U64:
        """None: there are no flags."""
        return np.zeros((256, size), np.uint64)

    def exact(self, globals_: Market, columns: Columns, rows: I64, at_s: int) -> list[tuple[int, int] | None]:
        return [self._judged(globals_, columns, row, at_s) for row in rows.tolist()]

    def position(self, globals_: Market, columns: Columns, row: int, block: BlockRef) -> Position | Unreadable:
        held = columns.balances(row)
        owner = parse_address(columns.owner(row))
        return replace(globals_, block=block).position(owner, (0, held.get(DEBT, 0), held.get(COLLATERAL, 0)))

    def _judged(self, globals_: Market, columns: Columns, row: int, at_s: int) -> tuple[int, int] | None:
        from monitor.protocols.morpho_blue import PROTOCOL  # which needs no numpy, and so imports this one late

        found = self.position(globals_, columns, row, globals_.block)
        if isinstance(found, Unreadable):
            return None
        match PROTOCOL.evaluate(found, None, at_s).verdict:
            case Known(numerator, denominator):
                return numerator, denominator
            case NoDebt():
                return 1, 0
            case _:
                return None


def whole(facts: Facts) -> Whole:
    """All parts for these facts."""
    morpho = facts.market.address
    balances = {
        kind: Getter(morpho, POSITION, BALANCE_BITS, facts.market_id, place, 3)
        for kind, place in ((DEBT, 1), (COLLATERAL, 2))
    }
    return Whole(
        survey=Survey(flags=None, mode=None, width=1, balances=balances, beside={}, within={}, lens=""),
        replay=MorphoReplay(facts),
        bulk=MorphoBulk(facts),
        unit=Unit(facts.loan.symbol, facts.loan.decimals),
        totals=lambda globals_, columns, at_s: totals(facts, globals_, columns, at_s),
        borrowed=(morpho, "morpho_blue.Borrow", 2),
        symbols={facts.collateral.address: facts.collateral.symbol},
        inside=facts.market_id,
    )


def totals(facts: Facts, globals_: Market, columns: Columns, at_s: int) -> list[Total]:
    """The collateral of those who owe something, and the loan."""
    held = _sum(columns, COLLATERAL)
    accrued = _totals_at(globals_, at_s)
    owed = 0
    if accrued is not None:
        owed = to_assets_up(_sum(columns, DEBT), accrued.total_borrow_assets, accrued.total_borrow_shares)
    worth = None if globals_.price is None else held * globals_.price // ORACLE_PRICE_SCALE
    collateral, loan = facts.collateral, facts.loan
    return [
        Total(collateral.address, collateral.symbol, collateral.decimals, held, 0, worth, 0),
        Total(loan.address, loan.symbol, loan.decimals, 0, owed, 0, owed),
    ]


def _totals_at(globals_: Market, at_s: int) -> Totals | None:
    """None where the contract's own arithmetic reverts."""
    try:
        nobody = State(globals_.facts, globals_.totals, 0, 0, 0, globals_.borrow_rate, globals_.rate_at_target)
        return totals_at(nobody, globals_.block, at_s)
    except Overflows:
        return None


def _sum(columns: Columns, kind: int) -> int:
    which = columns.kind == kind
    parts = zip(columns.low[which].tolist(), columns.high[which].tolist(), strict=True)
    return sum(high << 64 | low for low, high in parts)
