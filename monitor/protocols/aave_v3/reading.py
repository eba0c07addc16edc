"""The state, truth and context plans: which calls bring which raw numbers, at one block.

State takes two rounds: the market's reserves, prices and each owner's bitmap; then the balances that the bitmaps call
for and the e-mode categories in use. (A third only for a category's price source that the facts do not know.) One
broken price or reserve harms its holders only, so every call may fail alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from monitor.core.plan import gather
from monitor.core.types import (
    Address,
    Answer,
    BlockRef,
    Call,
    Ok,
    Position,
    Query,
    ReadPlan,
    Reverted,
    Rule,
    Unreadable,
)
from monitor.oracles.chainlink import read_source
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.account import in_category
from monitor.protocols.aave_v3.records import (
    ZERO,
    Category,
    Context,
    Facts,
    ReserveContext,
    ReserveFacts,
    ReserveState,
    State,
)
from monitor.protocols.aave_v3.versions import TABLE, Rules

A_TOKEN, STABLE_TOKEN, VARIABLE_TOKEN = 8, 9, 10
"""Places in getReserveData's struct; the same in every version."""


class Missing(Exception):
    """Something that this owner's position needs could not be read."""


@dataclass
class Book:
    """All answers of a round by query, so that plans ask in any order and read by name."""

    answers: dict[Query, Answer] = field(default_factory=dict)

    def ask(self, queries: Iterable[Query]) -> ReadPlan[None]:
        """Ask what is not yet known, in one round; nothing left to ask is no round."""
        asked = tuple(dict.fromkeys(query for query in queries if query not in self.answers))
        if asked:
            answers = yield asked
            self.answers.update(zip(asked, answers, strict=True))

    def values(self, query: Call) -> tuple[Any, ...]:
        """The values that a call returned. May raise: Missing."""
        answer = self.answers[query]
        if not isinstance(answer, Ok):
            raise Missing(f"{query}: {answer.reason}")
        return answer.values

    def known(self, query: Call) -> Any | None:
        """The one value that a call returned, or None if it failed."""
        answer = self.answers.get(query)
        return answer.values[0] if isinstance(answer, Ok) else None


def pool_call(facts: Facts, name: str, *args: Any) -> Call:
    """A view of the pool that may fail."""
    return Call(facts.pool, f"aave_v3_pool.{name}", args, allow_revert=True)


def price_call(facts: Facts, key: Address) -> Call:
    """The oracle's price of an asset, or of what an e-mode category names as its price source."""
    return Call(facts.oracle, "aave_v3_oracle.getAssetPrice", (key,), allow_revert=True)


def token_call(token: Address, name: str, owner: Address) -> Call:
    """A view of an aToken or debt token."""
    return Call(token, f"aave_v3_token.{name}", (owner,), allow_revert=True)


def read_state(facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
    """See Protocol.state."""
    rules = TABLE[facts.version]
    book = Book()
    listing = pool_call(facts, "getReservesList")
    keys = [r.asset for r in facts.reserves] + ([c.source for c in facts.categories] if rules.reserve_e_mode else [])
    yield from book.ask(
        [
            listing,
            *(pool_call(facts, "getReserveData", r.asset) for r in facts.reserves),
            *(price_call(facts, key) for key in keys),
            *(pool_call(facts, name, owner) for owner in owners for name in ("getUserConfiguration", "getUserEMode")),
        ]
    )
    wanted: list[Query] = []
    for owner in owners:
        wanted += _second_round(facts, rules, book, owner)
    yield from book.ask(wanted)
    if rules.reserve_e_mode:
        yield from book.ask(
            price_call(facts, category.price_source)
            for owner in owners
            if (category := _category(facts, rules, book, owner)) and category.price_source != ZERO
        )
    listed = book.known(listing)
    return [_position(facts, rules, book, owner, block, listed) for owner in owners]


def _second_round(facts: Facts, rules: Rules, book: Book, owner: Address) -> list[Query]:
    configuration = book.known(pool_call(facts, "getUserConfiguration", owner))
    if not configuration or not configuration[0]:
        return []
    queries: list[Query] = list(_mode_calls(facts, rules, book, owner))
    ids = set(words.reserve_ids(configuration[0]))
    for reserve in facts.reserves:
        data = book.known(pool_call(facts, "getReserveData", reserve.asset))
        if reserve.id in ids and data is not None:
            borrowing = words.is_borrowing(configuration[0], reserve.id)
            queries += _balance_calls(rules, data, owner, borrowing=borrowing)
    return queries


def _balance_calls(rules: Rules, data: tuple[Any, ...], owner: Address, *, borrowing: bool) -> list[Call]:
    """In the order of ReserveState's balances. Debts only where the bit says so, as the contract does."""
    calls = [token_call(data[A_TOKEN], "scaledBalanceOf", owner)]
    if borrowing:
        calls.append(token_call(data[VARIABLE_TOKEN], "scaledBalanceOf", owner))
    if borrowing and rules.stable_debt:
        names = ("principalBalanceOf", "getUserStableRate", "getUserLastUpdated")
        calls += [token_call(data[STABLE_TOKEN], name, owner) for name in names]
    return calls


def _mode_calls(facts: Facts, rules: Rules, book: Book, owner: Address) -> list[Call]:
    mode = book.known(pool_call(facts, "getUserEMode", owner))
    return category_calls(facts, rules, mode) if mode else []


def category_calls(facts: Facts, rules: Rules, mode: int) -> list[Call]:
    """What there is to ask of an e-mode category."""
    if rules.reserve_e_mode:
        return [pool_call(facts, "getEModeCategoryData", mode)]
    names = ["getEModeCategoryCollateralConfig", "getEModeCategoryCollateralBitmap"]
    names += ["getEModeCategoryLtvzeroBitmap"] if rules.ltvzero_bitmap else []
    names += ["getIsEModeCategoryIsolated"] if rules.isolated_e_mode else []
    return [pool_call(facts, name, mode) for name in names]


def _category(facts: Facts, rules: Rules, book: Book, owner: Address) -> Category | None:
    """The owner's category; None without one, or if it could not be read."""
    mode = book.known(pool_call(facts, "getUserEMode", owner))
    return category_of(facts, rules, book, mode) if mode else None


def category_of(facts: Facts, rules: Rules, book: Book, mode: int) -> Category | None:
    """The category from what category_calls were answered; None if it could not be read."""
    values = [book.known(call) for call in category_calls(facts, rules, mode)]
    if None in values:
        return None
    if rules.reserve_e_mode:
        ltv, threshold, bonus, source, _ = values[0]  # type: ignore[misc]  # None was ruled out above
        return Category(mode, ltv, threshold, bonus, price_source=source)
    ltv, threshold, bonus = values[0]  # type: ignore[misc]
    return Category(
        mode,
        ltv,
        threshold,
        bonus,
        collateral_bitmap=values[1] or 0,
        ltvzero_bitmap=(values[2] or 0) if rules.ltvzero_bitmap else 0,
        isolated=bool(values[3]) if rules.isolated_e_mode else False,
    )


def _position(
    facts: Facts, rules: Rules, book: Book, owner: Address, block: BlockRef, listed: tuple[Address, ...] | None
) -> Position | Unreadable:
    name = facts.market.position_id(owner)
    try:
        if listed is None:
            raise Missing("the list of reserves could not be read")
        if listed != tuple(r.asset for r in facts.reserves):
            raise Missing("the list of reserves changed since the market's facts were read")
        state, prices = _account(facts, rules, book, owner)
    except Missing as missing:
        return Unreadable(name, owner, block, str(missing))
    return Position(name, owner, block, Rule(facts.market.protocol, rules.version), prices, state)


def _account(facts: Facts, rules: Rules, book: Book, owner: Address) -> tuple[State, Mapping[Address, int]]:
    configuration = book.values(pool_call(facts, "getUserConfiguration", owner))[0][0]
    e_mode = book.values(pool_call(facts, "getUserEMode", owner))[0]
    reserves: list[ReserveState] = []
    category = None
    prices: dict[Address, int] = {}
    if configuration:
        category = _category(facts, rules, book, owner)
        if e_mode and category is None:
            raise Missing(f"e-mode category {e_mode} could not be read")
        # ids that are in nobody's list were dropped; the contract skips them too
        ids = set(words.reserve_ids(configuration))
        nameless = [r for r in facts.reserves if r.id < 0]
        if nameless and ids - {r.id for r in facts.reserves}:
            raise Missing(f"{nameless[0].symbol}: {nameless[0].refused}, and with it what is held in it")
        used = sorted((r for r in facts.reserves if r.id in ids), key=lambda r: r.id)
        reserves = [_reserve(facts, rules, book, owner, reserve, configuration) for reserve in used]
        own_source = category is not None and category.price_source != ZERO
        if category is not None and own_source:
            prices[category.price_source] = book.values(price_call(facts, category.price_source))[0]
        for held in reserves:
            price = book.known(price_call(facts, held.asset))
            if price is not None:
                prices[held.asset] = price
            elif not (own_source and in_category(rules, held, category)):
                book.values(price_call(facts, held.asset))
    state = State(facts.base_symbol, facts.base_unit, facts.sentinel, configuration, category, tuple(reserves))
    return state, prices


def _reserve(
    facts: Facts, rules: Rules, book: Book, owner: Address, reserve: ReserveFacts, configuration: int
) -> ReserveState:
    if reserve.refused:
        raise Missing(f"{reserve.symbol}: {reserve.refused}")
    data = book.values(pool_call(facts, "getReserveData", reserve.asset))[0]
    decimals = words.decimals(data[0][0])
    if data[7] != reserve.id or decimals != reserve.decimals:
        raise Missing(f"{reserve.symbol}: its id or decimals changed since the market's facts were read")
    borrowing = words.is_borrowing(configuration, reserve.id)
    supplied, *owed = [book.values(c)[0] for c in _balance_calls(rules, data, owner, borrowing=borrowing)]
    return reserve_state(reserve, data, supplied, *owed)


def reserve_state(reserve: ReserveFacts, data: Any, supplied: int = 0, debt: int = 0, *stable: int) -> ReserveState:
    """A reserve as `getReserveData` tells it, with balances beside it in the order of ReserveState's."""
    indexes_and_rates = data[1:5]
    return ReserveState(
        *(reserve.asset, reserve.symbol, reserve.id, data[0][0]),
        *indexes_and_rates,
        *(data[6], supplied, debt, *stable),
    )


# -- context -----------------------------------------------------------------------------------------------------------


def read_context(facts: Facts) -> ReadPlan[Context]:
    """See Protocol.context: two rounds, which travel with the state's two."""
    rules = TABLE[facts.version]
    plans: list[ReadPlan[Any]] = [_sentinel(facts, rules)]
    plans += [_gates(facts, rules, reserve) for reserve in facts.reserves]
    plans += [read_source(reserve.source) for reserve in facts.reserves]
    results: list[Any] = yield from gather(plans)
    allowed, *found = results
    size = len(facts.reserves)
    return Context(
        allowed,
        tuple(
            # facts may name a source that the oracle has left; its age would say nothing
            replace(gates, reading=reading if source == reading.source else None)
            for (gates, source), reading in zip(found[:size], found[size:], strict=True)
        ),
    )


def _sentinel(facts: Facts, rules: Rules) -> ReadPlan[bool | None]:
    if not rules.sentinel or facts.sentinel == ZERO:
        return True
    (answer,) = yield (Call(facts.sentinel, "aave_v3_sentinel.isLiquidationAllowed", allow_revert=True),)
    if isinstance(answer, Reverted):
        return False  # then the liquidation call reverts with it
    return bool(answer.values[0]) if isinstance(answer, Ok) else None


def read_grace(facts: Facts) -> ReadPlan[int | None]:
    """See Protocol.grace_after_outage, where there is a sentinel."""
    (answer,) = yield (Call(facts.sentinel, "aave_v3_sentinel.getGracePeriod", allow_revert=True),)
    return answer.values[0] if isinstance(answer, Ok) else None


def _gates(facts: Facts, rules: Rules, reserve: ReserveFacts) -> ReadPlan[tuple[ReserveContext, Address | None]]:
    """What gates a seizure of the reserve, and the price source that the oracle names for it at this block."""
    book = Book()
    paid_out = Call(reserve.asset, "erc20.balanceOf", (reserve.a_token,), allow_revert=True)
    grace = pool_call(facts, "getLiquidationGracePeriod", reserve.asset)
    virtual = pool_call(facts, "getVirtualUnderlyingBalance", reserve.asset)
    source = _source_call(facts, reserve.asset)
    yield from book.ask([paid_out, source, *((grace, virtual) if rules.grace_periods else ())])
    gates = ReserveContext(
        asset=reserve.asset,
        grace_until_s=book.known(grace) if rules.grace_periods else 0,
        underlying=book.known(paid_out),
        virtual_balance=book.known(virtual),
    )
    return gates, book.known(source)


def _source_call(facts: Facts, key: Address) -> Call:
    return Call(facts.oracle, "aave_v3_oracle.getSourceOfAsset", (key,), allow_revert=True)


def read_price_sources(facts: Facts, keys: Sequence[Address]) -> ReadPlan[Mapping[str, Address]]:
    """See Protocol.price_sources; what has none, or could not be read, is left out."""
    answers = yield tuple(_source_call(facts, key) for key in keys)
    found = ((key, answer.values[0]) for key, answer in zip(keys, answers, strict=True) if isinstance(answer, Ok))
    return {key: source for key, source in found if source != ZERO}
