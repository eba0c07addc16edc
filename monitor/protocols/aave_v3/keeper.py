"""What liquidations of an account of Aave V3 would move at a moment, each impossible one with the contract's error.

Every pair of a reserve that the owner supplied and one that the owner borrowed, by liquidation.py. The contract judges
health before it looks at the pair, so a healthy account is told so for every pair. Collateral is always taken as the
underlying: aTokens could not be sold without the liquidity that the other way needs too.
"""

from __future__ import annotations

from dataclasses import replace

from monitor.core.actions import Intent
from monitor.core.guarding import GuardSetup
from monitor.core.liquidations import Liquidation, Token
from monitor.core.types import Address, Gate, GateState, Ok, Position, ReadPlan
from monitor.core.units import UINT256_MAX
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.account import Holding, price_of, supplied_value
from monitor.protocols.aave_v3.liquidation import (
    HEALTH_FACTOR_LIQUIDATION_THRESHOLD,
    Attempt,
    Outcome,
    Seizure,
    bonus_of,
    fee_moved,
    liquidation_call,
)
from monitor.protocols.aave_v3.purse import Purse
from monitor.protocols.aave_v3.reading import pool_call
from monitor.protocols.aave_v3.records import Context, Facts
from monitor.protocols.aave_v3.templates import LIQUIDATE, LIQUIDATE_FLASH
from monitor.protocols.aave_v3.verdict import Account, Undecidable, account_of
from monitor.protocols.base import Impossible

GAS = 700_000
GAS_OF_BAD_DEBT = 200_000
"""For each further reserve that the owner borrows, where no collateral is left and the rest is written off (>= 3.3).

Both generous bounds, set by hand; the simulation at the newest block decides whether they are enough."""
ONE = 10_000

ERRORS = {
    "active": "ReserveInactive",
    "pause": "ReservePaused",
    "sentinel": "PriceOracleSentinelCheckFailed",
    "grace": "LiquidationGraceSentinelCheckFailed",
    "health": "HealthFactorNotBelowThreshold",
    "collateral": "CollateralCannotBeLiquidated",
    "debt": "SpecifiedCurrencyNotBorrowedByUser",
    "dust": "MustNotLeaveDust",
}
"""By gate, as the sources call them from 3.4 on."""
_ROUNDS = "InvalidBurnAmount"
_BEFORE_HEALTH = ("active", "pause", "sentinel", "grace")


def pairs(facts: Facts, position: Position, purse: Purse, context: Context | None, at_s: int) -> list[Liquidation]:
    """See Protocol.liquidations. May raise: Undecidable."""
    account = account_of(position, at_s)
    return [
        _pair(facts.pool, position, account, (collateral, debt), purse, context)
        for collateral in account.held
        if collateral.supplied or collateral.enabled
        for debt in account.held
        if debt.borrowed
    ]


def _pair(
    pool: Address,
    position: Position,
    account: Account,
    holdings: tuple[Holding, Holding],
    purse: Purse,
    context: Context | None,
) -> Liquidation:
    collateral, debt = holdings
    one = next((one for one in purse.reserves if one.asset == debt.reserve.asset), None)
    args: dict[str, int | str] = {
        "collateralAsset": collateral.reserve.asset,
        "debtAsset": debt.reserve.asset,
        "debtToCover": UINT256_MAX,
    }
    intent = Intent(LIQUIDATE.kind, position.block.chain_id, position.id, position.owner, pool, args)
    blank = Liquidation(
        position=position,
        intent=intent,
        collateral=_token(position, collateral),
        debt=_token(position, debt),
        at_s=account.at_s,
        paid=0,
        received=0,
        protocol_fee=0,
        gas=GAS,
        amount=UINT256_MAX,
        purse=one.balance if one else None,
        allowance=one.allowance if one else None,
    )
    if purse.guardian == position.owner:
        return _refused(blank, "SelfLiquidation: a purse does not liquidate itself")
    return judged(blank, account, holdings, UINT256_MAX, context)


def liquidated(pair: Liquidation, amount: int, context: Context | None, at_s: int) -> Liquidation:
    """See Protocol.liquidated. May raise: Impossible, Undecidable."""
    if not 0 < amount <= UINT256_MAX:
        raise Impossible(f"InvalidAmount: {amount} is nothing to pay")
    account = account_of(pair.position, at_s)
    by_asset = {holding.reserve.asset: holding for holding in account.held}
    return judged(pair, account, (by_asset[pair.collateral.asset], by_asset[pair.debt.asset]), amount, context)


def repeated(pair: Liquidation, intent: Intent, context: Context | None, at_s: int) -> Liquidation | None:
    """See Protocol.repeated."""
    wanted = intent.args["collateralAsset"], intent.args["debtAsset"]
    if (pair.collateral.asset, pair.debt.asset) != wanted:
        return None
    return liquidated(pair, int(intent.args["debtToCover"]), context, at_s)


def judged(
    pair: Liquidation, account: Account, holdings: tuple[Holding, Holding], amount: int, context: Context | None
) -> Liquidation:
    """The pair with what this much cover would move, or why it would not."""
    position = pair.position
    attempt = Attempt(account.rules, account.state, account.data, position.prices, context, account.at_s, amount)
    outcome = liquidation_call(attempt, *holdings)
    seizure = outcome.seizure
    cover = amount if seizure is None or amount < UINT256_MAX else seizure.debt_to_cover
    intent = replace(pair.intent, args={**pair.intent.args, "debtToCover": cover})
    found = replace(pair, intent=intent, at_s=account.at_s, amount=cover)
    found = replace(found, paid=0, received=0, protocol_fee=0, refused="", unread="")
    if seizure is not None:
        found = replace(
            found,
            paid=seizure.debt_to_cover,
            received=seizure.collateral,
            protocol_fee=fee_moved(account.rules, *holdings, seizure),
            gas=_gas(account, seizure),
        )
    shut = _first_shut(outcome, account)
    if shut is not None:
        return _refused(found, _named(shut))
    unread = [f"{gate.name} {gate.detail}".strip() for gate in outcome.gates if gate.state is GateState.UNKNOWN]
    return replace(found, unread="; ".join(unread))


def _refused(pair: Liquidation, why: str) -> Liquidation:
    return replace(pair, refused=why, paid=0, received=0, protocol_fee=0)


def read_flash_premium(facts: Facts) -> ReadPlan[int | None]:
    """See Protocol.flash_premium_bps."""
    (answer,) = yield (pool_call(facts, "FLASHLOAN_PREMIUM_TOTAL"),)
    return int(answer.values[0]) if isinstance(answer, Ok) else None


def flash_liquidation(pair: Liquidation, trade: GuardSetup, fee: int, least: int, deadline_s: int) -> Intent:
    """See Protocol.flash_liquidation."""
    args: dict[str, int | str] = {
        "collateral": pair.collateral.asset,
        "debt": pair.debt.asset,
        "cover": pair.amount,
        "min_profit": least,
        "deadline": deadline_s,
        "router": trade.router,
        "fee": fee,
    }
    return replace(pair.intent, kind=LIQUIDATE_FLASH.kind, to=trade.contract, args=args)


def _first_shut(outcome: Outcome, account: Account) -> Gate | None:
    """The condition that the contract meets first. It asks for health before it asks for the pair."""
    shut = [gate for gate in outcome.gates if gate.state is GateState.SHUT]
    early = next((gate for gate in shut if gate.name in _BEFORE_HEALTH), None)
    if early is None and account.data.health_factor >= HEALTH_FACTOR_LIQUIDATION_THRESHOLD:
        return Gate("health", GateState.SHUT, "the health factor is not below 1")
    return early or next(iter(shut), None)


def _named(gate: Gate) -> str:
    """The contract's error and what is behind it; without a name where the contract has none for it."""
    name = ERRORS.get(gate.name, _ROUNDS if "rounds to 0" in gate.detail else "")
    return f"{name}: {gate.detail}" if name else gate.detail


def _gas(account: Account, seizure: Seizure) -> int:
    others = sum(holding.borrowed for holding in account.held) - 1
    return GAS + GAS_OF_BAD_DEBT * others if seizure.clears_collateral else GAS


def _token(position: Position, holding: Holding) -> Token:
    """At the asset's own price where there is one: that is what it can be sold for, whatever its category says."""
    reserve, prices = holding.reserve, position.prices
    price = prices.get(reserve.asset) or prices.get(holding.price_key, 0)
    return Token(reserve.asset, reserve.symbol, words.decimals(reserve.configuration), price)


def loss(position: Position) -> int:
    """See Protocol.liquidation_loss: the collateral with the highest bonus goes first, until no debt is left."""
    try:
        account = account_of(position)
    except Undecidable:
        return 0
    left, lost = account.data.debt, 0
    bonuses = [
        (bonus_of(account.rules, account.state, holding), supplied_value(holding, price_of(holding, position.prices)))
        for holding in account.held
        if holding.enabled and holding.threshold
    ]
    for bonus, value in sorted(bonuses, reverse=True):
        if bonus <= ONE:
            break
        covered = min(left, value * ONE // bonus)
        lost += covered * (bonus - ONE) // ONE
        left -= covered
    return lost
