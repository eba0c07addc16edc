"""What a guardian could do for an account of Aave V3 from its purse: each debt to repay, each asset to supply.

Every step is bounded by what the purse holds, what the pool may take of it, what is owed or what the cap lets in, or is
refused with the reason; nothing is left for the transaction to find out. Needs no permission from the owner.
"""

from __future__ import annotations

from dataclasses import replace

from monitor.core.actions import Intent, Step, Template
from monitor.core.types import Position
from monitor.core.units import format_units
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.account import (
    normalized_debt,
    normalized_income,
    price_key,
    reserve_threshold,
    variable_debt_balance,
)
from monitor.protocols.aave_v3.effects import least_amount, repay_refused, supply_refused, useless_supply
from monitor.protocols.aave_v3.math import ArithmeticReverts
from monitor.protocols.aave_v3.purse import Purse, PurseReserve, supply_room
from monitor.protocols.aave_v3.records import Facts, ReserveState, State
from monitor.protocols.aave_v3.templates import REPAY, SUPPLY
from monitor.protocols.aave_v3.versions import TABLE, Rules
from monitor.protocols.base import APPROVE

GAS = {REPAY.kind: 400_000, SUPPLY.kind: 400_000}
"""A generous bound, set by hand; the simulation at the newest block decides whether it is enough."""


def widened(position: Position, purse: Purse) -> Position:
    """The position with all listed reserves, also those in which the owner has no bit set; its health is the same."""
    state: State = position.state
    known = {reserve.asset for reserve in state.reserves}
    reserves, prices = list(state.reserves), dict(position.prices)
    for one in purse.reserves:
        deposit = purse.deposit(position.owner, one.asset)
        if one.asset not in known and one.reserve is not None and one.price is not None and deposit is not None:
            reserves.append(replace(one.reserve, scaled_a_token=deposit))
            prices.setdefault(one.asset, one.price)
    reserves.sort(key=lambda reserve: reserve.id)
    return replace(position, state=replace(state, reserves=tuple(reserves)), prices=prices)


def steps(facts: Facts, position: Position, purse: Purse, until_s: int) -> list[Step]:
    """See Protocol.rescue_steps: a repayment for each debt, then a supply for each reserve, in the market's order."""
    rules, wide = TABLE[position.rule.version], widened(position, purse)
    found = []
    for template in (REPAY, SUPPLY):
        for one in purse.reserves:
            held = next((r for r in wide.state.reserves if r.asset == one.asset), None)
            if template is REPAY and not (held and words.is_borrowing(wide.state.user_configuration, held.id)):
                continue
            found.append(_step(facts, rules, wide, purse, one, held, template, until_s))
    return found


def _step(
    facts: Facts,
    rules: Rules,
    position: Position,
    purse: Purse,
    one: PurseReserve,
    held: ReserveState | None,
    template: Template,
    until_s: int,
) -> Step:
    blank = Step(
        position=position,
        intent=Intent(
            kind=template.kind,
            chain_id=position.block.chain_id,
            position_id=position.id,
            owner=position.owner,
            to=facts.pool,
            args={"asset": one.asset, "amount": 0},
        ),
        asset=one.asset,
        symbol=one.symbol,
        decimals=words.decimals(held.configuration) if held else 0,
        price=0,
        least=0,
        most=0,
        gas=GAS[template.kind],
    )
    if held is None:
        return replace(blank, refused=f"{one.symbol}: its reserve, its price or the owner's deposit could not be read")
    try:
        return _bounded(rules, blank, purse, one, held, until_s)
    except ArithmeticReverts as reverts:
        return replace(blank, refused=f"the contract's own arithmetic reverts: {reverts}")


def _bounded(rules: Rules, step: Step, purse: Purse, one: PurseReserve, held: ReserveState, until_s: int) -> Step:
    state: State = step.position.state
    key = price_key(rules, held, state.category)
    step = replace(step, price=step.position.prices.get(key) or step.position.prices.get(held.asset, 0))
    repays = step.intent.kind == REPAY.kind
    refused = repay_refused(held) if repays else supply_refused(held) or _useless(rules, state, held)
    if refused:
        return replace(step, refused=refused)
    if one.balance is None or one.allowance is None:
        return replace(step, refused=f"the purse's {one.symbol} could not be read")
    if repays:
        index = normalized_debt(rules, held, until_s)
        bound, limited_by = variable_debt_balance(rules, held.scaled_variable_debt, index), "the debt"
    else:
        index = normalized_income(held, until_s)
        bound, limited_by = one.balance, "the purse"
        if words.supply_cap(held.configuration):
            if one.supply is None:
                return replace(step, refused=f"how much of {one.symbol}'s supply cap is used could not be read")
            bound, limited_by = supply_room(rules, held, one.supply, until_s), "the supply cap"
    least = least_amount(rules, index)
    most, limited_by = min((bound, limited_by), (one.balance, "the purse"), (one.allowance, "the purse's allowance"))
    step = replace(step, least=least, most=most, limited_by=limited_by, purse=one.balance)
    if limited_by == "the purse's allowance":
        approval = Intent(
            kind=APPROVE.kind,
            chain_id=step.intent.chain_id,
            position_id=step.intent.position_id,
            owner=step.intent.owner,
            to=held.asset,
            args={"spender": purse.pool, "amount": min(bound, one.balance)},
        )
        step = replace(step, remedy=approval)
    if most >= least:
        return step
    return replace(step, refused=_too_little(step, limited_by, one))


def _useless(rules: Rules, state: State, held: ReserveState) -> str:
    if why := useless_supply(rules, state, held):
        return why
    counts = reserve_threshold(rules, held, state.category) and not (
        rules.threshold_gates_collateral and words.liquidation_threshold(held.configuration) == 0
    )
    return "" if counts else f"{held.symbol} has a liquidation threshold of 0: more of it does not help"


def _too_little(step: Step, limited_by: str, one: PurseReserve) -> str:
    if limited_by == "the supply cap":
        return f"SupplyCapExceeded: {one.symbol}'s supply cap is reached"
    if limited_by == "the debt":
        return f"the debt in {one.symbol} is less than the contract can burn"
    held, allowed = (format_units(amount or 0, step.decimals) for amount in (one.balance, one.allowance))
    if limited_by == "the purse":
        return f"the purse holds {held} {one.symbol}"
    return f"the purse lets the pool take {allowed} of its {held} {one.symbol}"
