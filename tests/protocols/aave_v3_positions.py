"""Aave V3 positions made by hand: small numbers whose results a reader can reckon, and every field open to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monitor.core.types import BlockRef, Position, Rule
from monitor.protocols.aave_v3.records import ZERO, Category, Context, ReserveContext, ReserveState, State

RAY = 10**27
NOW_S = 1_700_000_000
OWNER = "0x00000000000000000000000000000000000000aA"
BLOCK = BlockRef(1, 100, "0x" + "11" * 32, "0x" + "22" * 32, NOW_S)


def asset(number: int) -> str:
    """The address of the reserve with that id."""
    return f"0x{number + 1:040x}"


def word(
    *,
    ltv: int = 7500,
    threshold: int = 8000,
    bonus: int = 10500,
    decimals: int = 0,
    active: bool = True,
    frozen: bool = False,
    paused: bool = False,
    fee: int = 0,
    category: int = 0,
    ceiling: int = 0,
    virtual: bool = True,
) -> int:
    """A packed configuration."""
    flags = (active << 56) | (frozen << 57) | (paused << 60) | (virtual << 252)
    return ltv | threshold << 16 | bonus << 32 | decimals << 48 | flags | fee << 152 | category << 168 | ceiling << 212


def reserve(number: int, supplied: int = 0, owed: int = 0, **changes: Any) -> ReserveState:
    """A reserve whose indices are exactly one, so that scaled balances are balances; `word_` holds word()'s fields."""
    configuration = word(**changes.pop("word_", {}))
    fields: dict[str, Any] = {
        "asset": asset(number),
        "symbol": f"T{number}",
        "id": number,
        "configuration": configuration,
        "liquidity_index": RAY,
        "liquidity_rate": 0,
        "variable_borrow_index": RAY,
        "variable_borrow_rate": 0,
        "last_update_s": NOW_S,
        "scaled_a_token": supplied,
        "scaled_variable_debt": owed,
    }
    return ReserveState(**(fields | changes))


def bitmap(collateral: Sequence[int], debt: Sequence[int]) -> int:
    """A user configuration with these ids enabled and borrowed."""
    return sum(2 << 2 * number for number in collateral) | sum(1 << 2 * number for number in debt)


def position(
    version: str,
    reserves: Sequence[ReserveState],
    prices: Sequence[int] | Mapping[str, int],
    category: Category | None = None,
    sentinel: str = ZERO,
    user_configuration: int | None = None,
) -> Position:
    """Supplied reserves are collateral and owed ones borrowed, unless the bitmap says otherwise."""
    if user_configuration is None:
        user_configuration = bitmap(
            [r.id for r in reserves if r.scaled_a_token],
            [r.id for r in reserves if r.scaled_variable_debt or r.stable_principal],
        )
    if not isinstance(prices, Mapping):
        prices = {r.asset: price for r, price in zip(reserves, prices, strict=True)}
    state = State("USD", 10**8, sentinel, user_configuration, category, tuple(reserves))
    return Position("p", OWNER, BLOCK, Rule("aave-v3", version), prices, state)


def context(
    position_: Position, *, sentinel: bool | None = True, grace: int | None = 0, free: int | None = 2**127
) -> Context:
    """The same gates for every reserve of the position."""
    reserves = (ReserveContext(r.asset, grace, free, free) for r in position_.state.reserves)
    return Context(sentinel, tuple(reserves))
