"""Reads loans of crvUSD and LlamaLend markets: which calls and storage words, and what they mean. Judges nothing.

No getter tells a band's shares, the loan's own multiplier or the oracle's memory, so they are read from storage. Its
layout is that of one Vyper release: whatever can be reckoned from the words is compared with what getters say, and a
loan of which the two differ is unreadable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitor.core.errors import ProtocolError
from monitor.core.plan import values
from monitor.core.slots import vyper_entry
from monitor.core.types import (
    Address,
    Answer,
    BlockRef,
    Call,
    MarketRef,
    Ok,
    Position,
    Query,
    ReadPlan,
    Rule,
    Unread,
    Unreadable,
    Word,
)
from monitor.core.units import WAD
from monitor.protocols.crvusd.math import (
    Band,
    Facts,
    Reverts,
    State,
    Token,
    debt_of,
    get_rate_mul,
    get_sum_xy,
    price_oracle,
)
from monitor.protocols.symbols import symbol_of

ABI = "crvusd"
RULE = Rule("crvusd", "v1")
ZERO: Address = "0x0000000000000000000000000000000000000000"
RATE, RATE_TIME, RATE_MUL, ACTIVE_BAND, OLD_P_O, PREV_P_O_TIME, TOTAL_SHARES = 4, 5, 6, 7, 12, 14, 17
"""Slots of the AMM."""
LOAN = 1
"""The controller's slot of loans: initial_debt, and rate_mul in the next word."""
MAX_TICKS = 50
"""The most bands that a loan can lie in."""
AMM_SLOTS = (RATE, RATE_TIME, RATE_MUL, ACTIVE_BAND, OLD_P_O, PREV_P_O_TIME)


def read_facts(market: MarketRef) -> ReadPlan[Facts]:
    """Three rounds. May raise: ProtocolError for markets of another generation, whose rules and storage differ."""
    controller = market.address
    *told, generation = yield (
        *(Call(controller, f"{ABI}.{name}") for name in ("amm", "collateral_token", "borrowed_token")),
        Call(controller, f"{ABI}.extra_health", (ZERO,), allow_revert=True),
    )
    if isinstance(generation, Unread):
        raise ProtocolError(f"{market}: extra_health(): {generation.reason}")
    if not isinstance(generation, Ok):
        raise ProtocolError(f"{market} is not of the v1 generation, and the rules of others are not known here")
    amm, collateral, borrowed = (values(answer)[0] for answer in told)
    names = ("A", "price_oracle_contract", "get_base_price", "get_rate_mul")
    found = yield (
        *(Call(amm, f"{ABI}.{name}") for name in names),
        *(Call(token, "erc20.decimals") for token in (collateral, borrowed)),
        *(Call(token, "erc20.symbol", allow_revert=True) for token in (collateral, borrowed)),
    )
    a, oracle, base, rate_mul, *decimals = (values(answer)[0] for answer in found[:6])
    pays, owed = (
        Token(token, symbol_of(token, answer), places)
        for token, places, answer in zip((collateral, borrowed), decimals, found[6:], strict=True)
    )
    # the multiplier never falls below one, so only one base price can have been rounded down to this one
    if not a or not rate_mul:
        raise ProtocolError(f"{market}: A or the rate's multiplier is 0")
    return Facts(market, amm, oracle, pays, owed, a, -(-base * WAD // rate_mul))


def still_true(facts: Facts) -> ReadPlan[bool]:
    """Whether the contracts are the same: everything in the facts is immutable in them."""
    calls = [(facts.market.address, "amm", facts.amm), (facts.amm, "price_oracle_contract", facts.oracle)]
    answers = yield tuple(Call(to, f"{ABI}.{name}", allow_revert=True) for to, name, _ in calls)
    return [answer.values[0] if isinstance(answer, Ok) else None for answer in answers] == [mine for *_, mine in calls]


def read_state(facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
    """Two rounds: the AMM and the loans; then the bands that they lie in, each once."""
    read = _Read(facts, block, {})
    asked = [*read.market_queries(), *(query for owner in owners for query in read.loan_queries(owner))]
    read.answers.update(zip(asked, (yield tuple(asked)), strict=True))
    more = tuple(dict.fromkeys(query for owner in owners for query in read.band_queries(owner)))
    read.answers.update(zip(more, (yield more) if more else (), strict=True))
    return [read.position(owner) for owner in owners]


class _Unread(Exception):
    """The loan cannot be told: what was asked and why."""


@dataclass(frozen=True, slots=True)
class _Read:
    """The answers of one state plan, by query."""

    facts: Facts
    block: BlockRef
    answers: dict[Query, Answer]

    def controller(self, name: str, *args: object) -> Call:
        return Call(self.facts.market.address, f"{ABI}.{name}", args, allow_revert=True)

    def amm(self, name: str, *args: object) -> Call:
        return Call(self.facts.amm, f"{ABI}.{name}", args, allow_revert=True)

    def word(self, slot: int) -> Word:
        return Word(self.facts.amm, slot, allow_revert=True)

    def loan(self, owner: Address) -> tuple[Word, Word]:
        first = vyper_entry(LOAN, int(owner, 16))
        controller = self.facts.market.address
        return Word(controller, first, allow_revert=True), Word(controller, first + 1, allow_revert=True)

    @property
    def price(self) -> Call:
        return Call(self.facts.oracle, f"{ABI}.price", allow_revert=True)

    def market_queries(self) -> list[Query]:
        getters = ("rate", "active_band", "get_rate_mul", "price_oracle")
        words = [self.word(slot) for slot in AMM_SLOTS]
        return [self.controller("n_loans"), *(self.amm(name) for name in getters), self.price, *words]

    def loan_queries(self, owner: Address) -> list[Query]:
        controller = [self.controller(name, owner) for name in ("debt", "liquidation_discounts")]
        amm = [self.amm(name, owner) for name in ("read_user_tick_numbers", "user_shares", "get_sum_xy")]
        return [*controller, *amm, *self.loan(owner)]

    def band_queries(self, owner: Address) -> list[Query]:
        """Empty for who has no loan."""
        found = self.answers[self.loan(owner)[0]]
        if not isinstance(found, Ok) or found.values[0] == 0:
            return []
        return [query for n in self._numbers(owner) for query in self._band(n)]

    def _numbers(self, owner: Address) -> range:
        """Empty where they are more than a loan can have, which `_bands` does not take."""
        answer = self.answers[self.amm("read_user_tick_numbers", owner)]
        first, last = answer.values[0] if isinstance(answer, Ok) else (0, -1)
        return range(first, last + 1) if last - first < MAX_TICKS else range(0)

    def _band(self, n: int) -> tuple[Query, Query, Query]:
        return self.amm("bands_x", n), self.amm("bands_y", n), self.word(vyper_entry(TOTAL_SHARES, n))

    def told(self, query: Query) -> int:
        """May raise: _Unread."""
        answer = self.answers[query]
        if not isinstance(answer, Ok):
            raise _Unread(f"{query}: {answer.reason}")
        found: int = answer.values[0]
        return found

    def position(self, owner: Address) -> Position | Unreadable:
        name = self.facts.market.position_id(owner)
        try:
            price, error = self._price()
            state = self._state(owner, error)
            self._compare(owner, state, price)
        except _Unread as unread:
            return Unreadable(name, owner, self.block, str(unread))
        prices: Mapping[str, int] = {} if price is None else {self.facts.collateral.address: price}
        return Position(name, owner, self.block, RULE, prices, state)

    def _price(self) -> tuple[int | None, str]:
        answer = self.answers[self.price]
        if isinstance(answer, Ok):
            return answer.values[0], ""
        return None, f"price(): {answer.reason or 'reverts'}"

    def _state(self, owner: Address, price_error: str) -> State:
        rate, rate_time, rate_mul, active, old_p_o, prev_p_o_time = (self.told(self.word(slot)) for slot in AMM_SLOTS)
        initial_debt, loan_rate_mul = (self.told(word) for word in self.loan(owner))
        if initial_debt:
            self.told(self.amm("read_user_tick_numbers", owner))
            self.told(self.amm("user_shares", owner))
        return State(
            facts=self.facts,
            n_loans=self.told(self.controller("n_loans")),
            rate=rate,
            rate_time=rate_time,
            rate_mul=rate_mul,
            active_band=active - (1 << 256) if active >> 255 else active,
            old_p_o=old_p_o,
            prev_p_o_time=prev_p_o_time,
            initial_debt=initial_debt,
            loan_rate_mul=loan_rate_mul,
            liquidation_discount=self.told(self.controller("liquidation_discounts", owner)),
            n1=self._numbers(owner).start if initial_debt else 0,
            bands=self._bands(owner) if initial_debt else (),
            price_error=price_error,
        )

    def _bands(self, owner: Address) -> tuple[Band, ...]:
        answer = self.answers[self.amm("user_shares", owner)]
        packed = answer.values[1] if isinstance(answer, Ok) else ()
        ticks = [part for two in packed for part in (two & (1 << 128) - 1, two >> 128)]
        numbers = self._numbers(owner)
        if not 0 < len(numbers) <= len(ticks):
            raise _Unread(f"read_user_tick_numbers(): {len(numbers)} bands for {len(ticks)} shares")
        found = []
        for n, shares in zip(numbers, ticks, strict=False):
            x, y, total = (self.told(query) for query in self._band(n))
            found.append(Band(x, y, total, shares))
        return tuple(found)

    def _compare(self, owner: Address, state: State, price: int | None) -> None:
        """What the words come to against what the getters say, at this very block. May raise: _Unread."""
        now_s = self.block.timestamp
        try:
            mine: dict[Query, object] = {
                self.amm("rate"): state.rate,
                self.amm("active_band"): state.active_band,
                self.amm("get_rate_mul"): get_rate_mul(state, now_s),
                self.controller("debt", owner): debt_of(state, now_s),
            }
            if state.initial_debt:
                mine[self.amm("get_sum_xy", owner)] = get_sum_xy(state)
            if price is not None:
                mine[self.amm("price_oracle")] = price_oracle(state, price, now_s)
        except Reverts as reverts:
            raise _Unread(f"storage words make no sense: {reverts}") from None
        for query, value in mine.items():
            told: object = self.told(query)
            if told != value:
                raise _Unread(f"{query} says {told}, the storage {value}: it is not laid out as is known here")
