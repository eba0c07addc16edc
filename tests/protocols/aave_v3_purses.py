"""Purses made by hand for positions made by hand: plenty of everything, unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from monitor.core.types import MarketRef, Position
from monitor.protocols.aave_v3.purse import Purse, PurseReserve
from monitor.protocols.aave_v3.records import ZERO, Facts, ReserveState

GUARDIAN = "0x00000000000000000000000000000000000000bB"
POOL = "0x00000000000000000000000000000000000000cC"
PLENTY = 10**24


def facts(version: str) -> Facts:
    """Facts as far as rescues look at them."""
    return Facts(MarketRef(1, "aave-v3", ZERO), POOL, ZERO, ZERO, ZERO, 1, version, (version,), "USD", 10**8, ())


def purse(
    position: Position,
    *others: tuple[ReserveState, int],
    balances: Mapping[str, int] | None = None,
    allowances: Mapping[str, int] | None = None,
    **changes: Any,
) -> Purse:
    """The position's reserves and `others`: (reserve with the owner's deposit in it, price)."""
    listed = [(r, position.prices[r.asset]) for r in position.state.reserves] + list(others)
    return Purse(
        GUARDIAN,
        POOL,
        tuple(
            PurseReserve(
                asset=r.asset,
                symbol=r.symbol,
                reserve=replace(r, scaled_a_token=0, scaled_variable_debt=0, stable_principal=0),
                price=price,
                supply=changes.get("supply"),
                balance=(balances or {}).get(r.asset, PLENTY),
                allowance=(allowances or {}).get(r.asset, PLENTY),
            )
            for r, price in listed
        ),
        tuple((position.owner, r.asset, r.scaled_a_token) for r, _ in others),
    )
