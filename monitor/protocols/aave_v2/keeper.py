"""What liquidations of an account of Aave V2 would move at a moment, each impossible one with the contract's code.

Every pair of a reserve that counts and one that the owner borrowed. Half of a debt is the most that one call covers,
stable debt after variable. Collateral is always taken as the underlying, so the pool must have it in cash.
"""

from __future__ import annotations

from dataclasses import replace

from monitor.core.actions import Intent
from monitor.core.liquidations import Liquidation, Token
from monitor.core.types import Address, Position
from monitor.core.units import UINT256_MAX
from monitor.protocols.aave_v2.math import (
    Facts,
    NoPrice,
    Refusal,
    State,
    account_data,
    liquidation,
)
from monitor.protocols.aave_v2.math import pairs as pairs_of
from monitor.protocols.aave_v2.rescue import Purse
from monitor.protocols.aave_v2.templates import LIQUIDATE
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.math import ArithmeticReverts
from monitor.protocols.base import Impossible

GAS = 800_000
"""A generous bound, set by hand; the simulation at the newest block decides whether it is enough."""
ONE = 10_000
CODES = {
    "2": "a reserve is not active",
    "23": "it rounds to nothing, or its arithmetic reverts",
    "42": "the health factor is not below 1",
    "43": "the collateral does not count",
    "44": "nothing of this is borrowed",
    "45": "the pool has too little cash of the collateral",
    "64": "the pool is paused",
}


def pairs(facts: Facts, position: Position, purse: Purse, at_s: int) -> list[Liquidation]:
    """See Protocol.liquidations."""
    state: State = position.state
    return [_pair(facts, position, collateral, debt, purse, at_s) for collateral, debt in pairs_of(state)]


def _pair(facts: Facts, position: Position, collateral: Address, debt: Address, purse: Purse, at_s: int) -> Liquidation:
    args: dict[str, int | str] = {"collateralAsset": collateral, "debtAsset": debt, "debtToCover": UINT256_MAX}
    held = purse.of(debt)
    blank = Liquidation(
        position=position,
        intent=Intent(LIQUIDATE.kind, position.block.chain_id, position.id, position.owner, facts.pool, args),
        collateral=_token(position, collateral),
        debt=_token(position, debt),
        at_s=at_s,
        paid=0,
        received=0,
        protocol_fee=0,
        gas=GAS,
        amount=UINT256_MAX,
        purse=held.balance,
        allowance=held.allowance,
    )
    if purse.guardian == position.owner:
        return replace(blank, refused="a purse does not liquidate itself")
    if held.stuck:
        return replace(blank, refused=f"{blank.debt.symbol} does not let the purse pay: {held.stuck}")
    cash = purse.cash_of(collateral)
    found = judged(blank, UINT256_MAX, at_s, cash)
    return found if cash is not None or found.refused else replace(found, unread="the pool's cash")


def judged(pair: Liquidation, cover: int, at_s: int, cash: int | None = None) -> Liquidation:
    """The pair with what this much cover moves at `at_s`, or why the call would revert."""
    position = pair.position
    try:
        outcome = liquidation(
            position.state,
            position.prices,
            at_s,
            pair.collateral.asset,
            pair.debt.asset,
            cover,
            receive_a_token=False,
            liquidity=cash,
        )
    except (ArithmeticReverts, NoPrice) as reverts:
        return replace(pair, at_s=at_s, paid=0, received=0, refused=f"23: the contract itself reverts: {reverts}")
    if isinstance(outcome, Refusal):
        why = f"{outcome.code}: {CODES.get(outcome.code, 'refused')}"
        return replace(pair, at_s=at_s, paid=0, received=0, refused=why)
    named = outcome.debt_to_cover if cover == UINT256_MAX else cover
    intent = replace(pair.intent, args={**pair.intent.args, "debtToCover": named})
    found = replace(pair, intent=intent, at_s=at_s, amount=named, refused="")
    return replace(found, paid=outcome.debt_to_cover, received=outcome.collateral)


def liquidated(pair: Liquidation, amount: int, at_s: int) -> Liquidation:
    """See Protocol.liquidated. May raise: Impossible."""
    if not 0 < amount < UINT256_MAX:
        raise Impossible(f"{amount} is nothing to pay")
    return judged(pair, amount, at_s)


def repeated(pair: Liquidation, intent: Intent, at_s: int) -> Liquidation | None:
    """See Protocol.repeated."""
    wanted = intent.args["collateralAsset"], intent.args["debtAsset"]
    if (pair.collateral.asset, pair.debt.asset) != wanted:
        return None
    return liquidated(pair, int(intent.args["debtToCover"]), at_s)


def _token(position: Position, asset: Address) -> Token:
    facts = next(one.facts for one in position.state.reserves if one.asset == asset)
    return Token(asset, facts.symbol, facts.decimals, position.prices.get(asset, 0))


def loss(position: Position) -> int:
    """See Protocol.liquidation_loss: the collateral with the highest bonus goes first, until no debt is left."""
    state: State = position.state
    now_s = position.block.timestamp
    try:
        left = account_data(state, position.prices, now_s).debt
        held = [
            (words.liquidation_bonus(one.configuration), _value(position, one.asset, now_s))
            for one in state.reserves
            if one.counts
        ]
    except (ArithmeticReverts, NoPrice):
        return 0
    lost = 0
    for bonus, value in sorted(held, reverse=True):
        if bonus <= ONE:
            break
        covered = min(left, value * ONE // bonus)
        lost += covered * (bonus - ONE) // ONE
        left -= covered
    return lost


def _value(position: Position, asset: Address, now_s: int) -> int:
    state: State = position.state
    alone = replace(
        state, reserves=tuple(replace(one, borrowing=False) for one in state.reserves if one.asset == asset)
    )
    return account_data(alone, position.prices, now_s).collateral
