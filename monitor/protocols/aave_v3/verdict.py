"""From one account's state to a Health: verdict, gates, whether it can be liquidated, legs and notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.core.errors import ProtocolError
from monitor.core.types import Gate, GateState, Health, Known, Leg, NoDebt, Position, Side, Unit, Unknown, Verdict
from monitor.oracles.chainlink import remarks
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.account import AccountData, Holding, Valued, account_data, holdings
from monitor.protocols.aave_v3.liquidation import (
    HEALTH_FACTOR_LIQUIDATION_THRESHOLD,
    Attempt,
    Outcome,
    liquidation_call,
)
from monitor.protocols.aave_v3.math import ArithmeticReverts
from monitor.protocols.aave_v3.records import Context, State
from monitor.protocols.aave_v3.versions import TABLE, Rules


class Undecidable(ProtocolError):
    """The contract's answer cannot be recomputed from this state; says why."""


@dataclass(frozen=True, slots=True)
class Account:
    """A position brought to a moment: everything that further answers are made of."""

    rules: Rules
    state: State
    held: tuple[Holding, ...]
    data: AccountData
    at_s: int


def account_of(position: Position, at_s: int | None = None) -> Account:
    """The account at `at_s` (default: its block's time) at its own prices. May raise: Undecidable."""
    rules, state = TABLE[position.rule.version], position.state
    when = position.block.timestamp if at_s is None else at_s
    discounted = [
        reserve.symbol
        for reserve in state.reserves
        if rules.discounted_debt
        and words.is_borrowing(state.user_configuration, reserve.id)
        and not words.virtual_accounting(reserve.configuration)
    ]
    if discounted:
        raise Undecidable(f"{discounted[0]}: its debt is discounted in a way that the state does not tell")
    try:
        held = holdings(rules, state, when)
        return Account(rules, state, held, account_data(rules, held, position.prices), when)
    except ArithmeticReverts as reverts:
        raise Undecidable(f"the contract's own arithmetic reverts: {reverts}") from None
    except KeyError as missing:
        raise Undecidable(f"no price for {missing.args[0]}") from None


def health_of(position: Position, context: Context | None, at_s: int | None) -> Health:
    """See Protocol.evaluate."""
    state: State = position.state
    unit = base_unit(state)
    try:
        account = account_of(position, at_s)
    except Undecidable as why:
        return Health(position.id, position.block, Unknown(str(why)), unit)
    gates, liquidatable = _liquidatable(account, position, context)
    verdict = verdict_of(account)
    return Health(
        position_id=position.id,
        block=position.block,
        verdict=verdict,
        unit=unit,
        reported=account.data.reported(),
        gates=gates,
        liquidatable=None if isinstance(verdict, Unknown) else liquidatable,
        legs=legs(account, unit),
        collateral=account.data.collateral,
        debt=account.data.debt,
        input_age_s=_input_age(account, context),
        notes=tuple(_notes(account, context)),
    )


def base_unit(state: State) -> Unit:
    """What the market counts in; decimals from the oracle's BASE_CURRENCY_UNIT, a power of ten."""
    return Unit(state.base_symbol, len(str(state.base_unit)) - 1)


def verdict_of(account: Account) -> Verdict:
    """Health alone. Unknown where a debt is at a price of 0 and would count for nothing."""
    data = account.data
    free = [v.holding.reserve.symbol for v in data.values if v.price == 0 and v.holding.borrowed and v.holding.debt]
    if free and data.health_factor >= HEALTH_FACTOR_LIQUIDATION_THRESHOLD:
        return Unknown(f"{free[0]}: the oracle answers 0, so its debt would count for nothing")
    if data.debt == 0:
        return NoDebt()
    return Known(data.health_factor, HEALTH_FACTOR_LIQUIDATION_THRESHOLD)


def outcomes(account: Account, position: Position, context: Context | None) -> list[Outcome]:
    """The maximum-cover call for every pair of a used collateral and a debt."""
    attempt = Attempt(account.rules, account.state, account.data, position.prices, context, account.at_s)
    return [
        liquidation_call(attempt, collateral, debt)
        for collateral in account.held
        if words.is_using_as_collateral(account.state.user_configuration, collateral.reserve.id)
        for debt in account.held
        if debt.borrowed
    ]


def _liquidatable(
    account: Account, position: Position, context: Context | None
) -> tuple[tuple[Gate, ...], bool | None]:
    found = outcomes(account, position, context)
    verdicts = [outcome.verdict for outcome in found]
    answer = True if True in verdicts else None if None in verdicts else False
    return _nearest(found), answer


def _nearest(found: Sequence[Outcome]) -> tuple[Gate, ...]:
    """The gates of the pair nearest to liquidation: fewest shut, then fewest unknown. Its health is no gate."""

    def missing(outcome: Outcome) -> tuple[int, int]:
        states = [gate.state for gate in outcome.gates]
        return states.count(GateState.SHUT), states.count(GateState.UNKNOWN)

    best = min(found, key=missing, default=None)
    return tuple(gate for gate in best.gates if gate.name != "health") if best else ()


# -- what people are shown beside the verdict -------------------------------------------------------------------------


def legs(account: Account, unit: Unit) -> tuple[Leg, ...]:
    """Collateral and debts as the contract values them; a deposit that does not count is there with enabled=False."""
    found = []
    for value in account.data.values:
        holding = value.holding
        if holding.supplied or holding.enabled:
            # what does not count is no business of the contract's, and may be too much for its arithmetic
            worth = value.collateral_value if holding.enabled else holding.supplied * value.price // holding.unit
            found.append(_leg(Side.COLLATERAL, value, holding.supplied, worth, unit, enabled=holding.enabled))
        if holding.borrowed and holding.debt:
            found.append(_leg(Side.DEBT, value, holding.debt, value.debt_value, unit, enabled=True))
    return tuple(sorted(found, key=lambda leg: leg.side is Side.DEBT))


def _leg(side: Side, value: Valued, amount: int, worth: int, unit: Unit, *, enabled: bool) -> Leg:
    reserve = value.holding.reserve
    return Leg(
        side=side,
        asset=reserve.asset,
        symbol=reserve.symbol,
        decimals=words.decimals(reserve.configuration),
        amount=amount,
        price=value.price,
        price_decimals=unit.decimals,
        value=worth,
        factor=value.holding.threshold if side is Side.COLLATERAL else 0,
        enabled=enabled,
    )


def _input_age(account: Account, context: Context | None) -> int | None:
    if context is None:
        return None
    readings = [context.of(holding.reserve.asset).reading for holding in account.held]
    ages = [account.at_s - reading.updated_at for reading in readings if reading and reading.updated_at]
    return max(ages, default=None)


def _notes(account: Account, context: Context | None) -> list[str]:
    said = []
    if account.state.category is not None:
        said.append(f"e-mode category {account.state.category.id}")
    for value in account.data.values:
        word, symbol = value.holding.reserve.configuration, value.holding.reserve.symbol
        flags = (("paused", words.paused(word)), ("frozen", words.frozen(word)), ("inactive", not words.active(word)))
        said += [f"{symbol} is {name}" for name, set_ in flags if set_]
        isolated = account.rules.debt_ceiling_of_user or account.rules.debt_ceiling_of_collateral
        if isolated and value.holding.enabled and words.debt_ceiling(word):
            said.append(f"{symbol} is collateral in isolation mode")
        reading = context.of(value.holding.reserve.asset).reading if context else None
        if reading is not None:
            said += remarks(symbol, value.price, account.at_s, reading)
    if account.data.debt == 0 and any(h.borrowed and h.debt for h in account.held):
        said.append("the debt is worth less than the smallest unit that the contract counts in")
    return said
