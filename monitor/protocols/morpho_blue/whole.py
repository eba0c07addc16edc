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
from monitor.protocols.columns import I64, U16, U64, Bulk, Columns, Mask, Weights
from monitor.protocols.morpho_blue.bound import weights
from monitor.protocols.morpho_blue.effects import totals_at
from monitor.protocols.morpho_blue.math import (
    ORACLE_PRICE_SCALE,
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
        return weights(_totals_at(globals_, at_s), globals_.price, self.facts.lltv)

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
