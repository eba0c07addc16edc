from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from monitor.core.types import Known, Position
from monitor.policy.planner import Proposal, Terms, propose
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.records import Supply
from monitor.protocols.base import APPROVE, Impossible
from monitor.protocols.liquity_v1 import PROTOCOL as LIQUITY
from tests.protocols.aave_v3_positions import NOW_S, asset, bitmap, position, reserve
from tests.protocols.aave_v3_purses import facts, purse

TERMS = Terms(max_fee_per_gas_wei=10**9, native_price=2_000 * 10**8)
ONE = 10**8
TARGET = Fraction("1.6")


def account(version: str = "3.6", **changes: Any) -> Position:
    """1,000 worth of T0 at a threshold of 80 %, owing 400 of T1 and 200 of T2: health 1.33."""
    reserves = [
        reserve(0, 1000 * ONE, word_={"decimals": 8} | changes.get("first", {})),
        reserve(1, 0, 400 * ONE, word_={"decimals": 8} | changes.get("second", {})),
        reserve(2, 0, 200 * ONE, word_={"decimals": 8}),
    ]
    return position(version, reserves, [ONE] * 3, user_configuration=bitmap([0], [1, 2]))


def ask(found: Position, purse_: Any = None, target: Fraction = TARGET, **terms: Any) -> Proposal:
    return propose(PROTOCOL, facts(found.rule.version), found, purse_ or purse(found), target, replace(TERMS, **terms))


def reasons(proposal: Proposal) -> dict[str, str]:
    return {refusal.key: refusal.reason for refusal in proposal.refused}


def test_the_cheapest_comes_first_and_says_why() -> None:
    first, *others = ask(account()).plans
    # 100 less debt do: 800 / 500; as collateral 200 more are needed: 960 / 600
    assert (first.intent.kind, first.amount) == ("aave-v3/repay", 100 * ONE)
    assert [plan.amount for plan in others] == [100 * ONE, 200 * ONE, 200 * ONE, 200 * ONE]
    assert {plan.intent.kind for plan in others[1:]} == {"aave-v3/supply"}
    assert first.expected.verdict == Known(16 * 10**17, 10**18)
    assert "health 1.3333 to 1.6000, target 1.6" in first.why
    assert "the cheapest of 5" in first.why
    assert "costs at most 0.0004 of the chain's coin" in first.why
    assert "number 5 of 5 by cost" in others[-1].why


def test_a_plan_is_an_intent_with_limits() -> None:
    plan = ask(account(), l1_data_fee_wei=7, margin_s=30).plans[0]
    assert plan.intent.args == {"asset": plan.asset, "amount": plan.amount}
    assert plan.key == plan.intent.hash[:16]
    assert plan.limits.max_cost_wei == plan.limits.gas * 10**9 + 7
    assert plan.limits.valid_until_s == NOW_S + 30
    assert plan.block == account().block


def test_what_a_step_moves_counts_more_than_its_gas_and_gas_counts_too() -> None:
    dear = ask(account(), max_fee_per_gas_wei=10**6).plans
    assert [plan.amount for plan in dear] == sorted(plan.amount for plan in dear)


def test_nothing_is_done_for_a_position_that_is_well() -> None:
    proposal = ask(account(), target=Fraction("1.3"))
    assert proposal == Proposal(note="health 1.3333 is not below 1.3")


def test_nothing_is_planned_on_an_unknown_health() -> None:
    proposal = ask(replace(account(), prices={asset(0): ONE}), purse(account()))
    assert (proposal.plans, proposal.ladder, proposal.partial) == ((), (), ())
    assert proposal.note.startswith("nothing is planned on an unknown health")


def test_a_protocol_without_steps_has_no_plans() -> None:
    liquity: Any = LIQUITY
    assert liquity.rescue_steps(None, account(), None, NOW_S) == []
    with pytest.raises(Impossible):
        liquity.after(account(), ask(account()).plans[0].intent, NOW_S)


def test_a_paused_reserve_is_passed_over_with_its_reason() -> None:
    proposal = ask(account(second={"paused": True}))
    assert proposal.plans[0].asset == asset(2)
    assert reasons(proposal)["aave-v3/repay T1"] == "ReservePaused: T1 is paused"
    assert "aave-v3/repay T1: ReservePaused: T1 is paused" in proposal.plans[0].refused


def test_the_purse_is_a_bound_and_an_approval_mends_an_allowance() -> None:
    found = account()
    held = purse(found, balances={asset(1): 5 * ONE}, allowances={asset(2): 6 * ONE})
    proposal = ask(found, held, kinds=("aave-v3/repay",))
    assert proposal.plans == ()
    assert proposal.ladder == ()
    assert [plan.amount for plan in proposal.partial] == [6 * ONE, 5 * ONE]
    assert reasons(proposal)["aave-v3/repay T1"].startswith("all of the purse reaches only 1.34")
    (mended,) = [r.remedy for r in proposal.refused if r.key == "aave-v3/repay T2"]
    assert mended is not None
    assert (mended.kind, mended.to, mended.args["amount"]) == (APPROVE.kind, asset(2), 200 * ONE)
    assert "does not reach" in proposal.partial[0].why


def test_what_could_not_be_read_is_no_purse() -> None:
    found = account()
    whole = purse(found)
    blind = replace(whole, reserves=tuple(replace(r, balance=None) for r in whole.reserves))
    assert set(reasons(ask(found, blind)).values()) == {f"the purse's T{n} could not be read" for n in range(3)}
    lost = replace(whole, reserves=tuple(replace(r, reserve=None, asset=asset(9)) for r in whole.reserves))
    assert all("could not be read" in reason for reason in reasons(ask(found, lost)).values())


def test_what_the_purse_keeps_is_not_spent() -> None:
    found = account()
    held = purse(found, balances={asset(n): 150 * ONE for n in range(3)})
    proposal = ask(found, held, keep={asset(1): 60 * ONE}, kinds=("aave-v3/repay",))
    assert [plan.asset for plan in proposal.plans] == [asset(2)]
    assert reasons(proposal)["aave-v3/repay T1"] == "all of what the purse may spend reaches only 1.5686"
    assert "allows 0 T1" in reasons(ask(found, held, keep={asset(1): 10**30}))["aave-v3/repay T1"]


def test_a_ladder_goes_on_from_where_its_first_step_leads() -> None:
    first, second = ask(account(), target=Fraction(8), kinds=("aave-v3/repay",)).ladder
    assert (first.asset, first.amount) == (asset(1), 400 * ONE)
    assert (second.asset, second.amount) == (asset(2), 100 * ONE)
    assert second.before.verdict == first.expected.verdict == Known(4 * 10**18, 10**18)


def test_a_step_below_the_least_value_is_raised_to_it() -> None:
    plan = ask(account(), least_value=150 * ONE).plans[0]
    assert plan.amount == 150 * ONE
    assert "by the smallest step allowed" in plan.why
    small = ask(account(), least_value=10**6 * ONE, kinds=("aave-v3/supply",), keep={asset(0): 0})
    assert {plan.amount for plan in small.plans} == {10**6 * ONE}


def test_a_cost_above_the_limit_is_refused() -> None:
    proposal = ask(account(), max_cost_wei=10**9)
    assert proposal.note == "no step is possible"
    assert all("wei, more than the 1000000000 allowed" in reason for reason in reasons(proposal).values())
    assert ask(account(), max_cost_wei=400_000 * 10**9).plans


def test_a_cap_bounds_a_supply_and_a_full_one_refuses_it() -> None:
    found = account()
    cap = 1 << 116  # one whole token
    capped = replace(found.state.reserves[0], configuration=found.state.reserves[0].configuration | cap)
    found = replace(found, state=replace(found.state, reserves=(capped, *found.state.reserves[1:])))
    full = purse(found, supply=Supply(scaled=ONE, accrued_to_treasury=0, scaled_variable_debt=0))
    assert reasons(ask(found, full))["aave-v3/supply T0"] == "SupplyCapExceeded: T0's supply cap is reached"
    half = purse(found, supply=Supply(scaled=ONE // 2, accrued_to_treasury=0, scaled_variable_debt=0))
    assert reasons(ask(found, half))["aave-v3/supply T0"].startswith("all of the supply cap reaches only 1.33")
    blind = purse(found)
    assert "could not be read" in reasons(ask(found, blind))["aave-v3/supply T0"]


def test_a_new_asset_can_be_the_collateral() -> None:
    found = account()
    held = purse(found, (reserve(3, word_={"decimals": 8, "threshold": 9000}), ONE))
    proposal = ask(found, held)
    plan = next(plan for plan in proposal.plans if plan.asset == asset(3))
    # (800 + 0.9 x) / 600 = 1.6
    assert plan.amount == -(-160 * ONE * 10 // 9)


def test_supplies_that_would_not_count_are_refused() -> None:
    found = account()
    dead = (reserve(3, word_={"ltv": 0, "decimals": 8}), ONE)
    off = (reserve(4, 5 * ONE, word_={"decimals": 8}), ONE)
    isolated = (reserve(5, word_={"ceiling": 100, "decimals": 8}), ONE)
    found_reasons = reasons(ask(found, purse(found, dead, off, isolated)))
    assert found_reasons["aave-v3/supply T3"] == "T3 would not become collateral by itself: an LTV of 0"
    assert found_reasons["aave-v3/supply T4"].startswith("the owner's T4 is not used as collateral")
    assert found_reasons["aave-v3/supply T5"] == "T5 would not become collateral by itself: isolation mode"


def test_a_plan_suffices_at_both_ends_of_its_window() -> None:
    growing = replace(account().state.reserves[1], variable_borrow_rate=10**27)
    state = account().state
    found = replace(account(), state=replace(state, reserves=(state.reserves[0], growing, state.reserves[2])))
    short, long = (ask(found, margin_s=margin_s).plans[0].amount for margin_s in (1, 3600))
    assert short < long


def test_refusals_read_well() -> None:
    refusal = ask(account(second={"paused": True})).refused[0]
    assert str(refusal) == "aave-v3/repay T1: ReservePaused: T1 is paused"
