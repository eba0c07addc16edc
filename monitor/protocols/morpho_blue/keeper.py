"""What liquidating a borrower of Morpho Blue would move at a moment, from a purse, told by repaid shares.

A market has one pair. There is no close factor: all shares that the collateral pays for, bonus included, may be repaid.
Where the collateral goes to the last unit, the rest of the debt is written off; nothing of that touches the liquidator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from monitor.core.actions import Intent
from monitor.core.liquidations import Liquidation, Token
from monitor.core.types import Known, Position
from monitor.core.units import WAD
from monitor.protocols.base import Impossible
from monitor.protocols.morpho_blue.effects import totals_at
from monitor.protocols.morpho_blue.math import (
    ORACLE_PRICE_SCALE,
    Facts,
    Overflows,
    State,
    Totals,
    liquidate,
    seized_by,
    to_assets_up,
    u256,
)
from monitor.protocols.morpho_blue.math import Token as MarketToken
from monitor.protocols.morpho_blue.rescue import Purse, market_args, token_price
from monitor.protocols.morpho_blue.templates import FIRST_SHARES, LIQUIDATE, SHARES_PER_UNIT

GAS = 600_000
"""A generous bound, set by hand; the simulation at the newest block decides whether it is enough."""


def pairs(facts: Facts, position: Position, purse: Purse, at_s: int) -> list[Liquidation]:
    """See Protocol.liquidations."""
    state: State = position.state
    if state.borrow_shares == 0:
        return []
    intent = Intent(
        LIQUIDATE.kind,
        position.block.chain_id,
        position.id,
        position.owner,
        facts.market.address,
        {**market_args(facts), "repaidShares": 0},
    )
    blank = Liquidation(
        position=position,
        intent=intent,
        collateral=_token(facts, position, facts.collateral),
        debt=_token(facts, position, facts.loan),
        at_s=at_s,
        paid=0,
        received=0,
        protocol_fee=0,
        gas=GAS,
        amount=0,
        purse=purse.loan.balance,
        allowance=purse.loan.allowance,
        counted=FIRST_SHARES // SHARES_PER_UNIT,
    )
    if purse.guardian == position.owner:
        return [replace(blank, refused="a purse does not liquidate itself")]
    if purse.loan.stuck:
        return [replace(blank, refused=f"{facts.loan.symbol} does not let the purse pay: {purse.loan.stuck}")]
    try:
        totals = totals_at(state, position.block, at_s)
        most = most_shares(state, totals, position.prices.get(facts.collateral.address))
    except Overflows as overflow:
        return [replace(blank, refused=f"the contract's own arithmetic reverts: {overflow.message}")]
    return [by_shares(blank, most, at_s)]


def by_shares(pair: Liquidation, shares: int, at_s: int) -> Liquidation:
    """The pair with what repaying so many shares moves at `at_s`, or why the call would revert.

    `amount` is what they cost at the moment that the pair was told for.
    """
    position = pair.position
    state: State = position.state
    intent = replace(pair.intent, args={**pair.intent.args, "repaidShares": shares})
    found = replace(pair, intent=intent, at_s=at_s, paid=0, received=0, refused="")
    price = position.prices.get(state.facts.collateral.address)
    try:
        cost = _cost(totals_at(state, position.block, pair.at_s), shares)
        found = replace(found, amount=cost)
        totals = totals_at(state, position.block, at_s)
        if why := _refusal(state, totals, price, shares):
            return replace(found, refused=why)
        seizure = liquidate(state, totals, price or 0, 0, shares)
    except Overflows as overflow:
        return replace(found, refused=f"the contract's own arithmetic reverts: {overflow.message}")
    if max(cost, seizure.repaid_assets) > -(-shares // SHARES_PER_UNIT):
        return replace(found, refused="the market's interest has made a share dearer than is reckoned with")
    return replace(found, paid=seizure.repaid_assets, received=seizure.seized)


def liquidated(pair: Liquidation, amount: int, at_s: int) -> Liquidation:
    """See Protocol.liquidated: the most shares that cost no more than this at the moment that the pair was told for.

    So the same shares come out for each `at_s`. May raise: Impossible.
    """
    if amount <= 0:
        raise Impossible(f"inconsistent input: {amount} is nothing to pay")
    position = pair.position
    state: State = position.state
    try:
        totals = totals_at(state, position.block, pair.at_s)
        most = most_shares(state, totals, position.prices.get(state.facts.collateral.address))
        shares = _last(lambda few: _cost(totals, few) <= amount, most)
    except Overflows as overflow:
        raise Impossible(f"the contract's own arithmetic reverts: {overflow.message}") from None
    return by_shares(pair, shares, at_s)


def repeated(facts: Facts, pair: Liquidation, intent: Intent, at_s: int) -> Liquidation | None:
    """See Protocol.repeated."""
    if {**intent.args, "repaidShares": 0} != {**market_args(facts), "repaidShares": 0}:
        return None
    return by_shares(pair, int(intent.args["repaidShares"]), at_s)


def most_shares(state: State, totals: Totals, price: int | None) -> int:
    """The most shares that can be repaid: those that the collateral pays for. May raise: Overflows."""
    if not price:
        return state.borrow_shares

    def fits(shares: int) -> bool:
        return seized_by(state.facts.lltv, totals, price, shares) <= state.collateral

    return _last(fits, state.borrow_shares)


def loss(position: Position) -> int:
    """See Protocol.liquidation_loss: the bonus on all the debt that the collateral pays for."""
    state: State = position.state
    price = position.prices.get(state.facts.collateral.address)
    if not price or not state.borrow_shares:
        return 0
    try:
        totals = totals_at(state, position.block, position.block.timestamp)
        seizure = liquidate(state, totals, price, 0, most_shares(state, totals, price))
    except Overflows:
        return 0
    return max(seizure.seized * price // ORACLE_PRICE_SCALE - seizure.repaid_assets, 0)


def _refusal(state: State, totals: Totals, price: int | None, shares: int) -> str:
    """What the contract says before it moves anything; empty if nothing. May raise: Overflows."""
    if price is None:
        return f"price() reverts: {state.oracle_error}"
    if shares == 0:
        return "inconsistent input: the collateral pays for no share"
    borrowed = to_assets_up(state.borrow_shares, totals.total_borrow_assets, totals.total_borrow_shares)
    quoted = u256(state.collateral * price) // ORACLE_PRICE_SCALE
    verdict = Known(u256(quoted * state.facts.lltv) // WAD, borrowed)
    return "" if verdict.unhealthy else "position is healthy"


def _cost(totals: Totals, shares: int) -> int:
    return to_assets_up(shares, totals.total_borrow_assets, totals.total_borrow_shares)


def _last(holds: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` for which it holds, where it holds for 0 and up to some number."""
    if holds(most):
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _token(facts: Facts, position: Position, token: MarketToken) -> Token:
    return Token(token.address, token.symbol, token.decimals, token_price(facts, position, token))
