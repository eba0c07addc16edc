"""Searching by ruling intervals out, for any protocol: order, ends, budget, and what the defaults assume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.errors import ConfigError
from monitor.core.plan import done
from monitor.core.types import (
    BlockRef,
    Health,
    Known,
    Leg,
    Line,
    LiquidationPrice,
    MarketRef,
    NoDebt,
    Position,
    ReadPlan,
    Rule,
    Side,
    Unit,
    Unknown,
    Unreadable,
    Verdict,
)
from monitor.health import solve
from monitor.health.engine import assess
from monitor.health.solve import liquidation_price, liquidation_prices, nearest_unhealthy, seconds_to_liquidation
from monitor.health.whatif import keys_of, shock, whatif
from monitor.protocols.base import Protocol, Truth, Version

BLOCK = BlockRef(1, 7, "0x" + "11" * 32, "0x" + "22" * 32, 1_000)


class Pair(Protocol[None, bool]):
    """Collateral C against debt D that grows by one a second: healthy while C's price covers D's times the debt."""

    name = "pair"
    title = "Pair"
    versions: ClassVar[Sequence[Version]] = ()
    facts_type = type(None)

    def static(self, market: MarketRef, block: BlockRef) -> ReadPlan[None]:
        return done(None)

    def recheck(self, facts: None, block: BlockRef) -> ReadPlan[bool]:
        return done(True)

    def state(self, facts: None, owners: Sequence[str], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
        return done([])

    def context(self, facts: None, block: BlockRef) -> ReadPlan[bool]:
        return done(True)

    def truth(self, facts: None, owners: Sequence[str], block: BlockRef) -> ReadPlan[list[Truth]]:
        return done([])

    def explain(self, position: Position, context: bool | None = None) -> list[Line]:
        return []

    def evaluate(self, position: Position, context: bool | None = None, at_s: int | None = None) -> Health:
        owed = position.state + ((at_s or BLOCK.timestamp) - BLOCK.timestamp if position.state > 0 else 0)
        collateral, debt = position.prices["C"], owed * position.prices["D"]
        verdict: Verdict = NoDebt() if position.state == 0 else Known(collateral, max(debt, 1))
        if position.state < 0:
            verdict = Unknown("no")
        liquidatable = context if isinstance(verdict, Known) and verdict.unhealthy else False
        legs = (
            Leg(Side.COLLATERAL, "C", "Coll", 0, 1, collateral, 3, collateral, 10_000),
            Leg(Side.DEBT, "D", "Debt", 0, owed, position.prices["D"], 5, debt, 0),
        )
        return Health(position.id, position.block, verdict, Unit("USD", 8), liquidatable=liquidatable, legs=legs)


PAIR = Pair()


def pair(collateral: int = 100, price: int = 1, owed: int = 50) -> Position:
    return Position("p", "o", BLOCK, Rule("pair", "1"), {"C": collateral, "D": price}, owed)


@given(bad=st.sets(st.integers(0, 60)), near=st.integers(0, 60), far=st.integers(0, 60))
def test_nearest(bad: set[int], near: int, far: int) -> None:
    def probe(low: int, high: int) -> bool | None:
        inside = {point in bad for point in range(low, high + 1)}
        return inside.pop() if len(inside) == 1 else None

    points = range(near, far + 1) if near <= far else range(near, far - 1, -1)
    assert nearest_unhealthy(probe, near, far) == next((point for point in points if point in bad), None)


def test_a_probe_is_asked_low_before_high() -> None:
    asked: list[tuple[int, int]] = []

    def probe(low: int, high: int) -> bool | None:
        asked.append((low, high))
        return None if high > low else high == 3

    assert nearest_unhealthy(probe, 9, 0) == 3
    assert all(low <= high for low, high in asked)
    assert asked[0] == (0, 9)


def test_a_spent_budget_names_the_nearest_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solve, "PROBES", 8)
    assert nearest_unhealthy(lambda low, high: None if high > low else False, 1, 100) == 2
    monkeypatch.setattr(solve, "PROBES", 1)
    assert nearest_unhealthy(lambda *_: False, 1, 100) is None


@pytest.mark.parametrize(
    ("key", "direction", "price"),
    [("C", "below", 49), ("C", "above", None), ("D", "above", 3), ("D", "below", None)],
)
def test_liquidation_price(key: str, direction: str, price: int | None) -> None:
    assert liquidation_price(PAIR, pair(), key, direction) == price


def test_ends_of_the_price_range() -> None:
    assert liquidation_price(PAIR, pair(1, 1, 1), "C", "below") is None
    assert liquidation_price(PAIR, pair(0, 0, 1), "C", "below") is None
    assert liquidation_price(PAIR, pair(solve.MAX_PRICE, 1, solve.MAX_PRICE), "C", "above") is None
    assert liquidation_price(PAIR, pair(solve.MAX_PRICE - 1, solve.MAX_PRICE - 1, 1), "D", "above") == solve.MAX_PRICE
    assert liquidation_price(PAIR, pair(solve.MAX_PRICE, solve.MAX_PRICE, 1), "D", "above") is None


def test_liquidation_prices() -> None:
    assert liquidation_prices(PAIR, pair(), {"C": "Gold"}) == (
        LiquidationPrice("C", "Gold", 49, 3, 100, "below"),
        LiquidationPrice("D", "D", 3, 5, 1, "above"),
    )


def test_unhealthy_positions_have_their_current_prices() -> None:
    assert liquidation_prices(PAIR, pair(49)) == (
        LiquidationPrice("C", "C", 49, 3, 49, "below"),
        LiquidationPrice("D", "D", 1, 5, 1, "above"),
    )


def test_nothing_to_solve_without_a_known_health() -> None:
    for owed in (0, -1):
        assert liquidation_prices(PAIR, pair(owed=owed)) == ()
        assert seconds_to_liquidation(PAIR, pair(owed=owed)) is None


def test_seconds() -> None:
    assert seconds_to_liquidation(PAIR, pair()) == 51
    assert seconds_to_liquidation(PAIR, pair(), 51) == 51
    assert seconds_to_liquidation(PAIR, pair(), 50) is None
    assert seconds_to_liquidation(PAIR, pair(49)) == 0


def test_the_default_keys_are_those_of_the_prices() -> None:
    assert PAIR.price_keys(pair()) == {"C": "C", "D": "D"}


# -- engine ------------------------------------------------------------------------------------------------------------


def test_the_next_block_is_the_same_question_later() -> None:
    edge = pair(50)
    assert assess(PAIR, edge, True).at_next_block is None
    assert assess(PAIR, edge, True, 1).at_next_block is True
    assert assess(PAIR, edge, True, 1).liquidatable is False
    assert assess(PAIR, edge, None, 1).at_next_block is None
    assert assess(PAIR, pair(51), True, 1).at_next_block is False
    assert assess(PAIR, pair(51), True, 2).at_next_block is True
    assert assess(PAIR, pair(51), True, -1).at_next_block is None


def test_the_unreadable_is_unknown() -> None:
    health = assess(PAIR, Unreadable("p", "o", BLOCK, "the node is asleep"), True, 12)
    assert health.verdict == Unknown("the node is asleep")
    assert (health.position_id, health.block, health.liquidatable, health.at_next_block) == ("p", BLOCK, None, None)


# -- what if -----------------------------------------------------------------------------------------------------------


@given(price=st.integers(0, 10**12), change=st.fractions(-1, 10))
def test_a_shock_is_exact_and_rounds_down(price: int, change: Fraction) -> None:
    shocked = shock(pair(price), {"C": change, "unused": Fraction(1)}).prices
    assert shocked == {"C": (price * (1 + change)).__floor__(), "D": 1}


def test_a_price_cannot_fall_below_nothing() -> None:
    assert shock(pair(), {"C": Fraction(-1)}).prices["C"] == 0
    with pytest.raises(ConfigError, match="100 %"):
        shock(pair(), {"C": Fraction(-101, 100)})


def test_whatif() -> None:
    def verdict(**asked: Any) -> Verdict:
        return whatif(PAIR, pair(), True, **asked).verdict

    assert verdict() == Known(100, 50)
    assert verdict(changes={"C": Fraction(-1, 2)}) == Known(50, 50)
    assert verdict(days=Fraction(1)) == Known(100, 50 + 86_400)
    assert verdict(days=Fraction(3, 2 * 86_400)) == Known(100, 51)
    assert whatif(PAIR, pair(), True, {"C": Fraction(-51, 100)}).liquidatable is True
    assert whatif(PAIR, pair(), None, {"C": Fraction(-51, 100)}).liquidatable is None
    with pytest.raises(ConfigError, match="negative"):
        verdict(days=Fraction(-1))


def test_names_of_prices() -> None:
    symbols: Mapping[str, str] = {"0xAb": "WETH", "0xCd": "USDC", "0xEf": "usdc"}
    assert keys_of(symbols, "weth") == ["0xAb"]
    assert keys_of(symbols, " 0XAB ") == ["0xAb"]
    assert keys_of(symbols, "USDC") == ["0xCd", "0xEf"]
    with pytest.raises(ConfigError, match="'DAI'") as wrong:
        keys_of(symbols, "DAI")
    assert "USDC, WETH, usdc" in wrong.value.hint
