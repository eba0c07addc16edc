"""Everything of a market that is the same for all accounts at one block, and the one round of calls that reads it.

As `reading` does for single owners: one broken price, reserve or category harms its holders only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitor.core.errors import ProtocolError
from monitor.core.types import Call, ReadPlan
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.account import in_category
from monitor.protocols.aave_v3.reading import Book, category_calls, category_of, pool_call, price_call, reserve_state
from monitor.protocols.aave_v3.records import ZERO, Category, Facts, ReserveFacts, ReserveState
from monitor.protocols.aave_v3.versions import TABLE, Rules


@dataclass(frozen=True, slots=True)
class Globals:
    """Prices by price key, reserves by id with balances of zero, categories by number; what could not be read is not
    in here, but reserves that cannot be judged are in `unreadable`, with the reason.
    """

    version: str
    reserves: Mapping[int, ReserveState]
    unreadable: Mapping[int, str]
    categories: Mapping[int, Category]
    prices: Mapping[str, int]

    @property
    def rules(self) -> Rules:
        """How the market's version reckons."""
        return TABLE[self.version]


def own_source(category: Category | None) -> str | None:
    """The price source that the category brings along (<= 3.1), if any."""
    return category.price_source if category is not None and category.price_source != ZERO else None


def price_in(globals_: Globals, reserve: ReserveState, category: Category | None) -> int | None:
    """The price that counts for an account of that category, None where it is not known. As account.price_of."""
    source = own_source(category) if globals_.rules.reserve_e_mode else None
    if source is not None and in_category(globals_.rules, reserve, category) and globals_.prices.get(source) != 0:
        return globals_.prices.get(source)
    return globals_.prices.get(reserve.asset)


class Questions:
    """The getters of a market's globals, with these categories. `keys` are what has a price, the reserves first."""

    def __init__(self, facts: Facts, modes: Sequence[int]) -> None:
        rules = TABLE[facts.version]
        sources = [category.source for category in facts.categories] if rules.reserve_e_mode else []
        self.facts, self.modes = facts, tuple(modes)
        self.keys = tuple(dict.fromkeys([*(reserve.asset for reserve in facts.reserves), *sources]))
        self.listing = pool_call(facts, "getReservesList")
        self.data = [pool_call(facts, "getReserveData", reserve.asset) for reserve in facts.reserves]
        self.prices = [price_call(facts, key) for key in self.keys]
        self.categories = {mode: category_calls(facts, rules, mode) for mode in self.modes}


def read_globals(asked: Questions, book: Book | None = None) -> ReadPlan[Globals]:
    """Reserves, prices and categories in one round, but for what is in the book; a second for price sources that the
    facts do not name.

    May raise: ProtocolError where the facts no longer hold.
    """
    facts, rules, book = asked.facts, TABLE[asked.facts.version], Book() if book is None else book
    categories_ = (call for calls in asked.categories.values() for call in calls)
    yield from book.ask([asked.listing, *asked.data, *asked.prices, *categories_])
    if book.known(asked.listing) != tuple(r.asset for r in facts.reserves):
        raise ProtocolError("the list of reserves changed since the market's facts were read, or cannot be read")
    if any(reserve.id < 0 for reserve in facts.reserves):
        raise ProtocolError("a reserve was unreadable when the market's facts were read: nobody's holdings are known")
    found = {mode: category_of(facts, rules, book, mode) for mode in asked.modes}
    categories = {mode: category for mode, category in found.items() if category is not None}
    sources = {source for category in categories.values() if (source := own_source(category))}
    yield from book.ask(price_call(facts, source) for source in sorted(sources))
    prices = {key: book.known(price_call(facts, key)) for key in (*asked.keys, *sorted(sources))}
    reserves, unreadable = {}, {}
    pairs = zip(facts.reserves, asked.data, strict=True)
    for reserve, call in sorted(pairs, key=lambda pair: pair[0].id):
        read = _reserve(book, reserve, call)
        if isinstance(read, str):
            unreadable[reserve.id] = read
        else:
            reserves[reserve.id] = read
    return Globals(
        facts.version, reserves, unreadable, categories, {k: price for k, price in prices.items() if price is not None}
    )


def _reserve(book: Book, reserve: ReserveFacts, call: Call) -> ReserveState | str:
    """The reserve with balances of zero, or why it cannot be judged."""
    data = book.known(call)
    if reserve.refused or data is None:
        return f"{reserve.symbol}: {reserve.refused or 'its reserve data could not be read'}"
    if data[7] != reserve.id or words.decimals(data[0][0]) != reserve.decimals:
        return f"{reserve.symbol}: its id or decimals changed since the market's facts were read"
    return reserve_state(reserve, data)
