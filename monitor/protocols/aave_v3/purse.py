"""What rescues need to know besides the position: a guardian's tokens, what the pool may take of them, and caps.

One plan in two rounds, which can travel with the state's: most of its questions are the state's own. What could not be
read stays None, and a step that needs it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from monitor.core.types import Address, Call, Ok, Position, Query, ReadPlan
from monitor.core.units import RAY
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.account import normalized_debt, normalized_income
from monitor.protocols.aave_v3.math import (
    calculateCompoundedInterest,
    percentMul,
    rayDiv,
    rayDivFloor,
    rayMul,
    rayMulFloor,
)
from monitor.protocols.aave_v3.reading import (
    A_TOKEN,
    STABLE_TOKEN,
    VARIABLE_TOKEN,
    Book,
    pool_call,
    price_call,
    reserve_state,
    token_call,
)
from monitor.protocols.aave_v3.records import Facts, ReserveFacts, ReserveState, Supply
from monitor.protocols.aave_v3.versions import TABLE, Rules

if TYPE_CHECKING:
    from monitor.protocols.aave_v3.guard import GuardState

ACCRUED = 12
"""accruedToTreasury's place in getReserveData's struct; the same in every version."""


@dataclass(frozen=True, slots=True)
class PurseReserve:
    """A listed reserve as a rescuer meets it. `reserve` has no balances; None where it could not be read."""

    asset: Address
    symbol: str
    reserve: ReserveState | None
    price: int | None
    supply: Supply | None
    """None without a cap, or if it could not be read."""
    balance: int | None
    allowance: int | None


@dataclass(frozen=True, slots=True)
class Purse:
    """`deposits`: (owner, asset) -> scaled balance, where the owner's bitmap does not make the state read it."""

    guardian: Address
    pool: Address
    reserves: tuple[PurseReserve, ...]
    deposits: tuple[tuple[Address, Address, int], ...]
    guard: GuardState | None = None
    """None where the guardian has no guard for this pool."""

    def deposit(self, owner: Address, asset: Address) -> int | None:
        return next((scaled for who, what, scaled in self.deposits if (who, what) == (owner, asset)), None)


def read_purse(facts: Facts, guardian: Address, positions: Sequence[Position]) -> ReadPlan[Purse]:
    """See Protocol.rescue_context."""
    rules = TABLE[facts.version]
    book = Book()
    usable = [reserve for reserve in facts.reserves if not reserve.refused]
    unheld = [
        (position.owner, reserve)
        for position in positions
        for reserve in usable
        if all(held.asset != reserve.asset for held in position.state.reserves)
    ]
    first: list[Query] = []
    for reserve in usable:
        first += [
            pool_call(facts, "getReserveData", reserve.asset),
            price_call(facts, reserve.asset),
            *_purse_calls(facts, guardian, reserve),
        ]
    first += [token_call(reserve.a_token, "scaledBalanceOf", owner) for owner, reserve in unheld]
    yield from book.ask(first)
    datas = {reserve.asset: book.known(pool_call(facts, "getReserveData", reserve.asset)) for reserve in usable}
    yield from book.ask(call for data in datas.values() if data and _capped(data) for call in supply_calls(rules, data))
    deposits = [
        (owner, reserve.asset, book.known(token_call(reserve.a_token, "scaledBalanceOf", owner)))
        for owner, reserve in unheld
    ]
    return Purse(
        guardian,
        facts.pool,
        tuple(_reserve(facts, rules, book, guardian, reserve, datas[reserve.asset]) for reserve in usable),
        tuple((owner, asset, scaled) for owner, asset, scaled in deposits if scaled is not None),
    )


def _purse_calls(facts: Facts, guardian: Address, reserve: ReserveFacts) -> tuple[Call, Call]:
    return (
        Call(reserve.asset, "erc20.balanceOf", (guardian,), allow_revert=True),
        Call(reserve.asset, "erc20.allowance", (guardian, facts.pool), allow_revert=True),
    )


def _capped(data: Any) -> bool:
    return data is not None and words.supply_cap(data[0][0]) != 0


def supply_calls(rules: Rules, data: tuple[Any, ...]) -> list[Call]:
    """What `supply_of` reads, for a reserve's data."""
    calls = [
        Call(data[token], "aave_v3_token.scaledTotalSupply", allow_revert=True) for token in (A_TOKEN, VARIABLE_TOKEN)
    ]
    stable = Call(data[STABLE_TOKEN], "aave_v3_token.getSupplyData", allow_revert=True)
    return [*calls, stable] if rules.stable_debt else calls


def _reserve(
    facts: Facts, rules: Rules, book: Book, guardian: Address, reserve: ReserveFacts, data: Any
) -> PurseReserve:
    balance, allowance = (book.known(call) for call in _purse_calls(facts, guardian, reserve))
    price = book.known(price_call(facts, reserve.asset))
    changed = data is not None and (data[7], words.decimals(data[0][0])) != (reserve.id, reserve.decimals)
    if data is None or changed:
        return PurseReserve(reserve.asset, reserve.symbol, None, price, None, balance, allowance)
    empty = reserve_state(reserve, data)
    supply = supply_of(rules, book, data) if _capped(data) else None
    return PurseReserve(reserve.asset, reserve.symbol, empty, price, supply, balance, allowance)


def supply_of(rules: Rules, book: Book, data: tuple[Any, ...]) -> Supply | None:
    """All that is supplied to a reserve; None where a part could not be read."""
    scaled_call, variable_call, *stable_call = supply_calls(rules, data)
    scaled, variable = book.known(scaled_call), book.known(variable_call)
    if scaled is None or variable is None:
        return None
    supply = Supply(scaled, data[ACCRUED], variable)
    if not stable_call:
        return supply
    stable = book.answers[stable_call[0]]
    if not isinstance(stable, Ok):
        return None
    principal, _, rate, updated_s = stable.values
    return replace(supply, stable_principal=principal, stable_rate=rate, stable_update_s=updated_s)


# -- how much the cap lets in ------------------------------------------------------------------------------------------


def supply_room(rules: Rules, reserve: ReserveState, supply: Supply, at_s: int) -> int:
    """The most that can be supplied at `at_s` under the cap. ValidationLogic.validateSupply with updateState before it.

    May raise: ArithmeticReverts.
    """
    cap: int = words.supply_cap(reserve.configuration) * 10 ** words.decimals(reserve.configuration)
    index = normalized_income(reserve, at_s)
    scaled = supply.scaled + accrued(rules, reserve, supply, at_s)
    if not rules.directed_rounding:
        return max(cap - rayMul(scaled, index), 0)
    # from 3.5 the new shares are added before the balance is taken: the largest amount whose shares still fit
    if rayMulFloor(scaled, index) > cap:
        return 0
    shares = ((cap + 1) * RAY - 1) // index - scaled
    return ((shares + 1) * index - 1) // RAY


def accrued(rules: Rules, reserve: ReserveState, supply: Supply, at_s: int) -> int:
    """The treasury's scaled share with the interest until `at_s`. ReserveLogic._accrueToTreasury."""
    factor = words.reserve_factor(reserve.configuration)
    if factor == 0 or at_s == reserve.last_update_s:
        return supply.accrued_to_treasury
    before, scaled = reserve.variable_borrow_index, supply.scaled_variable_debt
    now = normalized_debt(rules, reserve, at_s) if scaled else before
    index = normalized_income(reserve, at_s)
    if rules.directed_rounding:
        grown = rayMulFloor(scaled, now - before)
        return supply.accrued_to_treasury + rayDivFloor(percentMul(grown, factor), index)
    grown = rayMul(scaled, now) - rayMul(scaled, before)
    if supply.stable_principal:
        grown += _stable(supply, at_s) - _stable(supply, reserve.last_update_s)
    return supply.accrued_to_treasury + rayDiv(percentMul(grown, factor), index)


def _stable(supply: Supply, at_s: int) -> int:
    elapsed_s = at_s - supply.stable_update_s
    return rayMul(supply.stable_principal, calculateCompoundedInterest(supply.stable_rate, elapsed_s))
