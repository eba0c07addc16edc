"""Reading a market: what is the same for all borrowers, and each one's own shares and collateral."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.core.plan import values
from monitor.core.types import (
    Address,
    Answer,
    BlockRef,
    Call,
    Ok,
    Position,
    ReadPlan,
    Reverted,
    Rule,
    Unread,
    Unreadable,
)
from monitor.protocols.morpho_blue.irm import adaptive_rate
from monitor.protocols.morpho_blue.math import Facts, State, Totals

ABI = "morpho_blue"
VERSION = "1.0.0"
ZERO: Address = "0x0000000000000000000000000000000000000000"


@dataclass(frozen=True, slots=True)
class Market:
    """A market at one block. `price` is None where it reverts, with the error, or was not read at all."""

    facts: Facts
    block: BlockRef
    totals: Totals
    price: int | None
    oracle_error: str
    unread: str
    borrow_rate: int
    rate_at_target: int | None

    def position(self, owner: Address, balances: tuple[int, int, int]) -> Position | Unreadable:
        """The owner's, from supply shares, borrow shares and collateral."""
        identity = self.facts.market.position_id(owner)
        if self.unread:
            return Unreadable(identity, owner, self.block, f"oracle price(): {self.unread}")
        prices = {} if self.price is None else {self.facts.collateral.address: self.price}
        state = State(self.facts, self.totals, *balances, self.borrow_rate, self.rate_at_target, self.oracle_error)
        return Position(identity, owner, self.block, Rule(self.facts.market.protocol, VERSION), prices, state)


def read_state(facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
    """See Protocol.state."""
    shared = _shared(facts)
    mine = [
        Call(facts.market.address, f"{ABI}.position", (facts.market_id, owner), allow_revert=True) for owner in owners
    ]
    answers = yield [*shared, *mine]
    market = yield from _market(facts, block, answers[: len(shared)])
    return [_position(market, owner, answer) for owner, answer in zip(owners, answers[len(shared) :], strict=True)]


def read_market(facts: Facts, block: BlockRef) -> ReadPlan[Market]:
    """The same without owners. May raise: CallFailed."""
    answers = yield _shared(facts)
    return (yield from _market(facts, block, answers))


def _shared(facts: Facts) -> list[Call]:
    return [
        Call(facts.market.address, f"{ABI}.market", (facts.market_id,)),
        Call(facts.oracle, f"{ABI}.price", allow_revert=True),
        *([Call(facts.irm, f"{ABI}.rateAtTarget", (facts.market_id,))] if facts.adaptive else []),
    ]


def _market(facts: Facts, block: BlockRef, answers: Sequence[Answer]) -> ReadPlan[Market]:
    stored, price = values(answers[0]), answers[1]
    totals = Totals(*stored)
    target = values(answers[2])[0] if facts.adaptive else None
    rate = 0
    if facts.irm != ZERO:
        [answer] = yield [Call(facts.irm, f"{ABI}.borrowRateView", (facts.params, stored))]
        rate = values(answer)[0]
    if target is not None and adaptive_rate(totals, target, block.timestamp) != rate:
        target = None  # some other curve that also has a rateAtTarget: its rate is only known at this block
    return Market(
        facts,
        block,
        totals,
        price.values[0] if isinstance(price, Ok) else None,
        price.reason if isinstance(price, Reverted) else "",
        price.reason if isinstance(price, Unread) else "",
        rate,
        target,
    )


def _position(market: Market, owner: Address, mine: Answer) -> Position | Unreadable:
    if not isinstance(mine, Ok):
        identity = market.facts.market.position_id(owner)
        return Unreadable(identity, owner, market.block, f"position(): {mine.reason}")
    supply_shares, borrow_shares, collateral = mine.values
    return market.position(owner, (supply_shares, borrow_shares, collateral))
