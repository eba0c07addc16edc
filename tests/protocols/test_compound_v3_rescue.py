"""Compound V3's rescues against recorded contracts: what was planned, what it did, and what is refused.

The recording holds random borrowers of the real contracts, what levmon planned for each from what it read, and the
state after the plan was sent; all of it is read, planned and foretold again here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import pytest

from monitor.core.actions import Step
from monitor.core.types import BlockRef, MarketRef, Position
from monitor.policy.planner import Proposal, propose
from monitor.protocols.base import APPROVE, Impossible
from monitor.protocols.compound_v3 import PROTOCOL
from monitor.protocols.compound_v3.effects import principal_of
from monitor.protocols.compound_v3.math import SUPPLY_PAUSED, Facts, State, accrued, debt_of
from monitor.protocols.compound_v3.rescue import Purse
from monitor.protocols.compound_v3.templates import REPAY, SUPPLY
from monitor.protocols.purse import Held
from monitor.testing.purse_rescues import TERMS, health_of
from monitor.testing.rescues import calldata
from tests.protocols.cassette import load

RECORDING = load("compound-v3-rescues")
RESCUES: list[dict[str, Any]] = RECORDING.content["rescues"]
SENT = [rescue for rescue in RESCUES if "after" in rescue]
GUARDIAN = RECORDING.content["guardian"]


def block_of(told: dict[str, str]) -> BlockRef:
    return BlockRef(31337, int(told["number"]), told["hash"], "0x" + "00" * 32, int(told["timestamp"]))


@cache
def facts() -> Facts:
    block = block_of(RECORDING.content["static"])
    found: Facts = RECORDING.replay(
        PROTOCOL.static(MarketRef(31337, PROTOCOL.name, RECORDING.content["market"]), block), block
    )
    return found


def read(owner: str, told: dict[str, str]) -> Position:
    block = block_of(told)
    (found,) = RECORDING.replay(PROTOCOL.state(facts(), [owner], block), block)
    assert isinstance(found, Position)
    return found


def before(rescue: dict[str, Any]) -> tuple[Position, Purse]:
    position = read(rescue["owner"], rescue["block"])
    block = position.block
    return position, RECORDING.replay(PROTOCOL.rescue_context(facts(), GUARDIAN, [position], block), block)


def planned(rescue: dict[str, Any], position: Position, purse: Purse) -> Proposal:
    terms = replace(TERMS, kinds=(rescue["kind"],), native_price=2_000 * 10**8, least_value=10**6)
    return propose(PROTOCOL, facts(), position, purse, Fraction(rescue["target"]), terms)


def decisive(position: Position) -> tuple[object, ...]:
    state: State = position.state
    return state.totals, state.principal, state.balances


def steps() -> tuple[Position, Purse, dict[str, Step]]:
    rescue = next(one for one in SENT if one["kind"] == SUPPLY.kind)
    position, purse = before(rescue)
    return position, purse, steps_of(position, purse)


def steps_of(position: Position, purse: Purse) -> dict[str, Step]:
    found = PROTOCOL.rescue_steps(facts(), position, purse, position.block.timestamp + 60)
    return {step.key: step for step in found}


def test_every_recorded_rescue_is_planned_again_and_led_where_it_was_foretold() -> None:
    kinds: Counter[str] = Counter()
    for rescue in RESCUES:
        position, purse = before(rescue)
        proposal = planned(rescue, position, purse)
        if "after" not in rescue:
            assert not proposal.plans
            kinds["refused"] += 1
            continue
        plan = proposal.plans[0]
        assert (plan.asset, str(plan.amount)) == (rescue["asset"], rescue["amount"])
        now = read(rescue["owner"], rescue["after"])
        assert decisive(PROTOCOL.after(position, plan.intent, now.block.timestamp)) == decisive(now)
        assert health_of(PROTOCOL, now) >= Fraction(rescue["target"])
        (truth,) = RECORDING.replay(PROTOCOL.truth(facts(), [now.owner], now.block), now.block)
        assert truth.reported == PROTOCOL.evaluate(now).reported
        kinds[rescue["kind"]] += 1
    assert min(kinds[REPAY.kind], kinds[SUPPLY.kind]) >= 40
    assert kinds["refused"] >= 2


def test_principals_rounded_the_other_way_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof can fail."""
    monkeypatch.setattr("monitor.protocols.compound_v3.effects.principal_of", lambda *args: principal_of(*args) + 1)
    rescue = next(one for one in SENT if one["kind"] == REPAY.kind)
    position, purse = before(rescue)
    intent = steps_of(position, purse)["compound-v3/repay USDC"].with_amount(int(rescue["amount"]))
    now = read(rescue["owner"], rescue["after"])
    assert decisive(PROTOCOL.after(position, intent, now.block.timestamp)) != decisive(now)


def test_a_repayment_never_becomes_a_supply() -> None:
    """What is more than the debt would stay with the owner, and not come back."""
    position, _, found = steps()
    repay = found["compound-v3/repay USDC"]
    state: State = position.state
    now_s = position.block.timestamp
    assert repay.limited_by == "the debt"
    assert repay.most == debt_of(state.principal, accrued(facts(), state.totals, now_s))
    for at_s in (now_s, now_s + 60, now_s + 10**6):
        assert PROTOCOL.after(position, repay.with_amount(repay.most), at_s).state.principal <= 0
    assert PROTOCOL.after(position, repay.with_amount(repay.most), now_s).state.principal == 0
    assert PROTOCOL.after(position, repay.with_amount(repay.most + 1), now_s).state.totals.total_borrow_base >= 0
    over = PROTOCOL.after(position, repay.with_amount(repay.most + 10**6), now_s).state
    assert over.principal > 0
    assert over.totals.total_supply_base == state.totals.total_supply_base + over.principal


def test_what_the_contract_refuses_is_said_beforehand() -> None:
    position, purse, found = steps()
    state: State = position.state
    key = next(key for key in found if key.startswith(SUPPLY.kind))
    asset = found[key].asset
    listed = next(one for one in facts().assets if one.address == asset)

    def supply(position: Position = position, **changed: Any) -> Step:
        return steps_of(position, replace(purse, **changed))[key]

    full = tuple((one, listed.supply_cap if one == asset else total) for one, total in purse.supplied)
    assert supply(supplied=full).refused.startswith("SupplyCapExceeded")
    nearly = tuple((one, listed.supply_cap - 5 if one == asset else total) for one, total in purse.supplied)
    assert (supply(supplied=nearly).most, supply(supplied=nearly).limited_by) == (5, "the supply cap")
    unread = tuple((one, None) for one, _ in purse.supplied)
    assert supply(supplied=unread).refused.endswith("could not be read")

    def holding(held: Held) -> tuple[tuple[str, Held], ...]:
        return tuple((token, held) for token, _ in purse.tokens)

    assert supply(tokens=holding(Held(None, 5))).refused.endswith("could not be read")
    assert supply(tokens=holding(Held(0, 5))).refused == f"the purse holds 0 {listed.symbol}"
    tied = supply(tokens=holding(Held(10**18, 0)))
    assert tied.refused.startswith("the purse lets Comet take 0 of its ")
    assert tied.remedy is not None
    assert (tied.remedy.kind, tied.remedy.args) == (APPROVE.kind, {"spender": facts().market.address, "amount": 10**18})
    assert supply(tokens=holding(Held(9, 9, "blacklisted"))).refused.endswith("let the purse pay: blacklisted")

    shut = replace(state.totals, pause_flags=state.totals.pause_flags | SUPPLY_PAUSED)
    paused = replace(position, state=replace(state, totals=shut))
    assert {step.refused for step in steps_of(paused, purse).values()} == {"Paused: the market takes no supply"}
    for wrong, amount, why in ((paused, 1, "Paused"), (position, 0, "nothing"), (position, 2**128, "128 bits")):
        with pytest.raises(Impossible, match=why):
            PROTOCOL.after(wrong, found[key].with_amount(amount), position.block.timestamp)
    unowing = replace(position, state=replace(state, principal=0))
    assert steps_of(unowing, purse)["compound-v3/repay USDC"].refused == "the owner has no debt"


def test_the_calldata_is_supply_to_the_owner() -> None:
    position, _, found = steps()
    for step in found.values():
        data = calldata(step.with_amount(7))
        assert data[:4].hex() == "4232cd63"
        assert [word.hex().lstrip("0") for word in (data[16:36], data[48:68])] == [
            one[2:].lower().lstrip("0") for one in (position.owner, step.asset)
        ]
        (move,) = PROTOCOL.moves(facts(), step.with_amount(7))
        assert (move.asset, move.holder, move.pays) == (step.asset, facts().market.address, True)
        assert move.holder in PROTOCOL.contracts(facts())


def test_an_absorption_takes_what_the_market_keeps_of_the_collateral() -> None:
    position = steps()[0]
    loss = PROTOCOL.liquidation_loss(position)
    worth = sum(leg.value for leg in PROTOCOL.evaluate(position).legs if leg.side == "collateral")
    assert 0 < loss <= worth * 10 // 100 + 1
    assert PROTOCOL.liquidation_loss(replace(position, prices={})) == 0
