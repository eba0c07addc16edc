"""What is to be known of a guard contract before it is asked for anything: its owners' wishes, and what trades cost.

Reads in up to four rounds, which travel with the state's. Exchanges are asked only for owners who are in danger by
their own settings. What could not be read stays None, and refuses what needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.core.guarding import GuardSetup
from monitor.core.types import Address, Call, Ok, Position, Query, ReadPlan
from monitor.core.units import mul_div_up
from monitor.protocols.aave_v3.account import Holding, supplied_value
from monitor.protocols.aave_v3.guarded import premium
from monitor.protocols.aave_v3.purse import supply_calls, supply_of
from monitor.protocols.aave_v3.reading import A_TOKEN, Book, pool_call
from monitor.protocols.aave_v3.records import Facts, ReserveFacts, Supply
from monitor.protocols.aave_v3.verdict import Account, Undecidable, account_of
from monitor.protocols.aave_v3.versions import TABLE, Rules

NO_CODE = "0x" + "00" * 32
COLLATERALS = 3
"""So many of an owner's deposits are offered to exchanges, the largest first."""
POINTS = 12
STEP = (5, 7)
"""Exchanges are asked for all of a debt, then for this part of that, and so on."""
SCOUT = 8
"""Which pool is best is told by all of a debt and by an eighth of it."""
GROWTH = (1_005, 1_000)
"""Debts grow until inclusion; at 100 % a year a day makes three parts in a thousand."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What one owner wrote on the guard. Health factors in wad; caps in the oracle's base unit."""

    trigger: int
    close_below: int
    low: int
    high: int
    max_slippage_bps: int
    daily_cap: int
    paused: bool
    caller_allowed: bool
    router_code_hash: str
    allowed_today: int


@dataclass(frozen=True, slots=True)
class Quote:
    """What the exchange takes of the collateral for `repaid` of the debt and the flash loan's premium on it."""

    repaid: int
    sold: int
    ticks: int


@dataclass(frozen=True, slots=True)
class Quotes:
    """One pool's answers for one owner's pair, from the smallest amount to the largest that it can serve."""

    owner: Address
    collateral: Address
    debt: Address
    fee: int
    points: tuple[Quote, ...]


@dataclass(frozen=True, slots=True)
class GuardState:
    """A guard at one block. Pairs are (owner, asset). `liquidity`: what the pool can pay out of an asset."""

    setup: GuardSetup
    guardian: Address
    serves: Address | None
    router_code_hash: str | None
    premium_bps: int | None
    to_treasury_bps: int | None
    wishes: tuple[tuple[Address, Wishes], ...]
    liquidity: tuple[tuple[Address, int], ...]
    supplies: tuple[tuple[Address, Supply], ...]
    allowances: tuple[tuple[Address, Address, int], ...]
    quotes: tuple[Quotes, ...]

    def wishes_of(self, owner: Address) -> Wishes | None:
        return next((wishes for who, wishes in self.wishes if who == owner), None)

    def payable(self, asset: Address) -> int | None:
        return next((amount for what, amount in self.liquidity if what == asset), None)

    def supply(self, asset: Address) -> Supply | None:
        return next((supply for what, supply in self.supplies if what == asset), None)

    def allowance(self, owner: Address, asset: Address) -> int | None:
        return next((amount for who, what, amount in self.allowances if (who, what) == (owner, asset)), None)


def read_guard(
    facts: Facts, setup: GuardSetup, guardian: Address, positions: Sequence[Position]
) -> ReadPlan[GuardState]:
    """The guard with what it would find for these positions. No call fails the plan."""
    rules, book = TABLE[facts.version], Book()
    accounts = {position.owner: account for position in positions if (account := _account(position))}
    yield from book.ask([*_common(facts, setup), *(c for owner in accounts for c in _wishes(setup, guardian, owner))])
    serves = book.known(_guard(setup, "POOL"))
    premium_bps = book.known(pool_call(facts, "FLASHLOAN_PREMIUM_TOTAL"))
    wishes = {owner: wish for owner in accounts if (wish := _wishes_of(book, setup, guardian, owner))}
    used = {r.asset: r for account in accounts.values() for r in _listed(facts, account)}
    yield from book.ask(pool_call(facts, "getReserveData", asset) for asset in used)
    data: dict[Address, Any] = {asset: book.known(pool_call(facts, "getReserveData", asset)) for asset in used}
    endangered = {
        owner: account
        for owner, account in accounts.items()
        if serves == facts.pool and premium_bps is not None and _may_act(wishes.get(owner), account)
    }
    # what an owner has let it take is told before it is needed
    deposits = [(owner, h.reserve.asset) for owner, account in accounts.items() for h in account.held if h.supplied]
    pairs = [(owner, *pair) for owner, account in endangered.items() for pair in _pairs(account)]
    scouts = {
        (owner, c.reserve.asset, d.reserve.asset, fee): _amounts(d, ((1, 1), (1, SCOUT)))
        for owner, c, d in pairs
        if c.reserve.asset != d.reserve.asset
        for fee in setup.fees_of((c.reserve.symbol, d.reserve.symbol))
    }
    yield from book.ask(
        [
            *(call for asset in used if data[asset] for call in _reserve_calls(rules, facts, asset, data[asset])),
            *(_allowance(data, setup, owner, asset) for owner, asset in deposits if data[asset]),
            *_quote_calls(rules, setup, premium_bps or 0, scouts),
        ]
    )
    chosen = _best(rules, book, setup, premium_bps or 0, scouts)
    parts = tuple((STEP[0] ** n, STEP[1] ** n) for n in range(POINTS))
    debts = {(owner, d.reserve.asset): d for owner, _, d in pairs}
    grids = {key: _amounts(debts[key[0], key[2]], parts) for key in chosen}
    yield from book.ask(_quote_calls(rules, setup, premium_bps or 0, grids))
    return GuardState(
        setup=setup,
        guardian=guardian,
        serves=serves,
        router_code_hash=_hex(book.known(_guard(setup, "code_hash_of", setup.router))),
        premium_bps=premium_bps,
        to_treasury_bps=book.known(pool_call(facts, "FLASHLOAN_PREMIUM_TO_PROTOCOL")),
        wishes=tuple(wishes.items()),
        liquidity=tuple(
            (a, p) for a in used if data[a] and (p := _payable(rules, facts, book, a, data[a])) is not None
        ),
        supplies=tuple((a, s) for a in used if data[a] and (s := supply_of(rules, book, data[a]))),
        allowances=tuple(
            (owner, asset, allowed)
            for owner, asset in deposits
            if data[asset] and (allowed := book.known(_allowance(data, setup, owner, asset))) is not None
        ),
        quotes=tuple(_quoted(rules, book, setup, premium_bps or 0, key, amounts) for key, amounts in grids.items()),
    )


# -- what is asked -----------------------------------------------------------------------------------------------------


def _guard(setup: GuardSetup, name: str, *args: Any) -> Call:
    return Call(setup.contract, f"guard.{name}", args, allow_revert=True)


def _common(facts: Facts, setup: GuardSetup) -> list[Query]:
    return [
        _guard(setup, "POOL"),
        _guard(setup, "code_hash_of", setup.router),
        pool_call(facts, "FLASHLOAN_PREMIUM_TOTAL"),
        pool_call(facts, "FLASHLOAN_PREMIUM_TO_PROTOCOL"),
    ]


def _wishes(setup: GuardSetup, guardian: Address, owner: Address) -> tuple[Call, Call, Call, Call]:
    return (
        _guard(setup, "settings", owner),
        _guard(setup, "is_caller", owner, guardian),
        _guard(setup, "router_code_hash", owner, setup.router),
        _guard(setup, "allowed_today", owner),
    )


def _wishes_of(book: Book, setup: GuardSetup, guardian: Address, owner: Address) -> Wishes | None:
    settings, caller, code_hash, allowed = (book.known(call) for call in _wishes(setup, guardian, owner))
    if settings is None or caller is None or code_hash is None or allowed is None:
        return None
    values: tuple[Any, ...] = (*settings, caller, _hex(code_hash) or "", allowed)
    return Wishes(*values)


def _hex(code_hash: bytes | None) -> str | None:
    return None if code_hash is None else "0x" + code_hash.hex()


def _reserve_calls(rules: Rules, facts: Facts, asset: Address, data: Any) -> list[Call]:
    virtual = pool_call(facts, "getVirtualUnderlyingBalance", asset)
    return [_underlying(asset, data), *([virtual] if rules.grace_periods else []), *supply_calls(rules, data)]


def _underlying(asset: Address, data: Any) -> Call:
    return Call(asset, "erc20.balanceOf", (data[A_TOKEN],), allow_revert=True)


def _payable(rules: Rules, facts: Facts, book: Book, asset: Address, data: Any) -> int | None:
    """What the pool has of the asset, and from 3.1 what its own book says that it has, if that is less."""
    underlying = book.known(_underlying(asset, data))
    virtual = book.known(pool_call(facts, "getVirtualUnderlyingBalance", asset)) if rules.grace_periods else underlying
    return None if underlying is None or virtual is None else min(underlying, virtual)


def _allowance(data: Any, setup: GuardSetup, owner: Address, asset: Address) -> Call:
    return Call(data[asset][A_TOKEN], "erc20.allowance", (owner, setup.contract), allow_revert=True)


# -- who is asked about ------------------------------------------------------------------------------------------------


def _account(position: Position) -> Account | None:
    try:
        return account_of(position)
    except Undecidable:
        return None


def _listed(facts: Facts, account: Account) -> Iterable[ReserveFacts]:
    held = {holding.reserve.asset for holding in account.held}
    return (reserve for reserve in facts.reserves if reserve.asset in held)


def _may_act(wishes: Wishes | None, account: Account) -> bool:
    """Health is where the owner lets the guard act at all."""
    if wishes is None or wishes.paused or not wishes.caller_allowed:
        return False
    return account.data.health_factor < max(wishes.trigger, wishes.close_below)


def _pairs(account: Account) -> list[tuple[Holding, Holding]]:
    """(collateral, debt): each debt with the largest deposits."""
    worth = {value.holding.reserve.asset: supplied_value(value.holding, value.price) for value in account.data.values}
    deposits = sorted((h for h in account.held if h.supplied), key=lambda h: worth[h.reserve.asset], reverse=True)
    debts = [holding for holding in account.held if holding.borrowed and holding.due]
    return [(deposit, debt) for debt in debts for deposit in deposits[:COLLATERALS]]


# -- exchanges ---------------------------------------------------------------------------------------------------------

Key = tuple[Address, Address, Address, int]
"""(owner, collateral, debt, fee)"""


def _amounts(debt: Holding, parts: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """These parts of a debt as it may be at inclusion, without doubles."""
    top = mul_div_up(debt.due, *GROWTH)
    return tuple(dict.fromkeys(amount for part in parts if (amount := top * part[0] // part[1])))


def _quote(rules: Rules, setup: GuardSetup, premium_bps: int, key: Key, repaid: int) -> Call:
    _, collateral, debt, fee = key
    wanted = repaid + premium(rules, repaid, premium_bps)
    args = ((collateral, debt, wanted, fee, 0),)
    return Call(setup.quoter, "uniswap_quoter.quoteExactOutputSingle", args, allow_revert=True)


def _quote_calls(rules: Rules, setup: GuardSetup, bps: int, asked: dict[Key, tuple[int, ...]]) -> list[Call]:
    return [_quote(rules, setup, bps, key, amount) for key, amounts in asked.items() for amount in amounts]


def _best(rules: Rules, book: Book, setup: GuardSetup, bps: int, scouts: dict[Key, tuple[int, ...]]) -> list[Key]:
    """Per pair the pool that is cheapest for all of the debt, and the one that is so for a part."""
    cheapest: dict[tuple[Address, Address, Address, int], tuple[int, Key]] = {}
    for key, amounts in scouts.items():
        for place, amount in enumerate(amounts):
            answer = book.answers[_quote(rules, setup, bps, key, amount)]
            if isinstance(answer, Ok):
                offer = (answer.values[0], key)
                known = cheapest.get((*key[:3], place), offer)
                cheapest[*key[:3], place] = min(known, offer)
    return list(dict.fromkeys(key for _, key in cheapest.values()))


def _quoted(rules: Rules, book: Book, setup: GuardSetup, bps: int, key: Key, amounts: Sequence[int]) -> Quotes:
    """From the smallest amount up to the first that the pool cannot serve."""
    found: list[Quote] = []
    for amount in sorted(amounts):
        answer = book.answers[_quote(rules, setup, bps, key, amount)]
        if not isinstance(answer, Ok):
            break
        sold, _, ticks, _ = answer.values
        found.append(Quote(amount, sold, ticks))
    return Quotes(*key, tuple(found))
