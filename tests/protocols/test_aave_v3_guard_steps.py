"""What a guard could do for an account: why not and who could mend it, by which route, and within which bounds."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from monitor.core.actions import Step
from monitor.core.guarding import GuardSetup
from monitor.core.types import Position
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.guard import NO_CODE, GuardState, Quote, Quotes, Wishes
from monitor.protocols.aave_v3.records import Supply
from tests.protocols.aave_v3_positions import NOW_S, asset, bitmap, position, reserve, word
from tests.protocols.aave_v3_purses import GUARDIAN, POOL, facts, purse

ONE, WAD, ALWAYS = 10**8, 10**18, 2**256 - 1
CODE, OTHER = "0x" + "11" * 32, "0x" + "22" * 32
SETUP = GuardSetup(asset(7), asset(8), asset(9), (500,))
WISHES = Wishes(2 * WAD, 3 * WAD, 12 * WAD // 10, 4 * WAD, 100, 10**18, False, True, CODE, 10**18)
HEALTH = 1_333_333_333_333_333_333
LENT = 1 << 63
CLOSE, DELEVERAGE = "aave-v3/close", "aave-v3/deleverage"


def account(collateral: int = word(decimals=8), debt: int = word(decimals=8) | LENT, **more: Any) -> Position:
    """1,000 of T0 at 80 % against 600 of T1, at a price of one: health 1.3333."""
    held = [reserve(0, 1000 * ONE, configuration=collateral), reserve(1, 0, 600 * ONE, configuration=debt)]
    prices = more.pop("prices", [ONE, ONE])
    held += more.pop("others", [])
    return position("3.6", held, prices + [ONE] * (len(held) - 2), **more)


def quotes(found: Position, *pairs: tuple[int, int], ticks: int = 0, fee: int = 500) -> Quotes:
    return Quotes(found.owner, asset(0), asset(1), fee, tuple(Quote(*pair, ticks) for pair in pairs))


FAIR = tuple((n * ONE, n * ONE + n * ONE // 1999) for n in (1, 60, 300, 603))


def state(found: Position, wishes: Wishes | None = WISHES, **changes: Any) -> GuardState:
    assets = [r.asset for r in found.state.reserves]
    made = GuardState(
        setup=SETUP,
        guardian=GUARDIAN,
        serves=POOL,
        router_code_hash=CODE,
        premium_bps=0,
        to_treasury_bps=0,
        wishes=((found.owner, wishes),) if wishes else (),
        liquidity=tuple((one, 10**24) for one in assets),
        supplies=(),
        allowances=tuple((found.owner, one, ALWAYS) for one in assets),
        quotes=(quotes(found, *FAIR),),
    )
    return replace(made, **changes)


def steps(found: Position, guard: GuardState | None) -> list[Step]:
    asked = PROTOCOL.rescue_steps(facts("3.6"), found, replace(purse(found), guard=guard), NOW_S + 60)
    return [step for step in asked if step.intent.kind in (CLOSE, DELEVERAGE)]


def one(found: Position, guard: GuardState, kind: str = DELEVERAGE) -> Step:
    [step] = [step for step in steps(found, guard) if step.intent.kind == kind]
    return step


def wish(**changes: Any) -> GuardState:
    return state(account(), replace(WISHES, **changes))


# -- why not -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guard", "why", "mend"),
    [
        (state(account(), serves=asset(5)), "the guard could not be read, or serves another pool", ""),
        (state(account(), None), "what the owner allows, or what a flash loan costs, could not be read", ""),
        (state(account(), premium_bps=None), "what the owner allows, or what a flash loan costs", ""),
        (state(account(), to_treasury_bps=None), "what the owner allows, or what a flash loan costs", ""),
        (wish(trigger=0, close_below=0), "the owner has not configured the guard", "configure"),
        (wish(paused=True), "PAUSED: the owner has paused the guard", "set_paused"),
        (wish(caller_allowed=False), f"CALLER: the owner does not let {GUARDIAN} call", "set_caller"),
        (wish(router_code_hash=NO_CODE), "ROUTER: the owner has not allowed the router", "set_router"),
        (wish(router_code_hash=OTHER), "ROUTER_CODE: the router's code is not the one", "set_router"),
        (state(account(), router_code_hash=None), "the router's code could not be read", ""),
        (
            state(account(), allowances=((account().owner, asset(0), 0),)),
            "the owner has not let the guard take T0",
            "approve aT0",
        ),
        (state(account(), allowances=()), "whether the owner lets the guard take T0 could not be read", ""),
        (wish(allowed_today=0), "CAP: the owner's cap for the day is used up", ""),
        (state(account(), quotes=()), "no exchange buys T1 with any of the deposits", ""),
        (state(account(), quotes=(quotes(account()),)), "no exchange buys T1 with any of the deposits", ""),
        (state(account(), liquidity=()), "what the pool can pay out could not be read", ""),
        (state(account(), liquidity=((asset(0), 1),)), "what the pool can pay out could not be read", ""),
        (state(account(), liquidity=((asset(1), 1),)), "what the pool can pay out could not be read", ""),
    ],
)
def test_why_not_and_what_only_the_owner_can_mend(guard: GuardState, why: str, mend: str) -> None:
    for kind in (DELEVERAGE, CLOSE):
        step = one(account(), guard, kind)
        assert step.refused.startswith(why)
        assert step.owner_must == mend


def test_without_a_guard_or_a_debt_there_is_nothing_to_do() -> None:
    assert steps(account(), None) == []
    idle = position("3.6", [reserve(0, 1000 * ONE)], [ONE])
    assert steps(idle, state(idle, quotes=())) == []
    # the bit alone is no debt, nor is a debt without it
    for bits in (bitmap([0], [1]), bitmap([0], [])):
        amounts = reserve(1, 0, 0 if bits & 4 else 600 * ONE)
        found = position("3.6", [reserve(0, 1000 * ONE), amounts], [ONE] * 2, user_configuration=bits)
        assert steps(found, state(found)) == []


def test_each_line_of_health_is_its_own() -> None:
    found = account()
    at, over = replace(WISHES, trigger=HEALTH, close_below=HEALTH + 1), replace(WISHES, close_below=HEALTH)
    refused = one(found, state(found, at)).refused
    assert refused == "TRIGGER: health is not below the 1.3333 under which the owner lets the guard act"
    assert one(found, state(found, at), CLOSE).refused == ""
    assert one(found, state(found, replace(at, trigger=HEALTH + 1))).refused == ""
    assert one(found, state(found, over), CLOSE).refused.startswith("CLOSE_BELOW: health is not below the 1.3333")
    assert one(found, state(found, over)).refused == ""
    only_one = replace(WISHES, trigger=0)
    assert one(found, state(found, only_one)).refused.startswith("TRIGGER: ")
    assert one(found, state(found, only_one), CLOSE).refused == ""


def test_what_the_guard_may_take_is_told_before_health_is_low() -> None:
    two = account(others=[reserve(2, 5 * ONE, configuration=word(decimals=8))])
    well = replace(WISHES, trigger=WAD, close_below=0)
    none = tuple((two.owner, asset(n), 0) for n in (0, 2))
    step = one(two, state(two, well, allowances=none))
    assert (step.refused, step.owner_must) == ("the owner has not let the guard take T0, T2", "approve aT0 or aT2")
    some = ((two.owner, asset(0), 0), (two.owner, asset(2), 1))
    assert one(two, state(two, well, allowances=some)).refused.startswith("TRIGGER: ")


@pytest.mark.parametrize(
    ("collateral", "debt", "why"),
    [
        (word(decimals=8), word(decimals=8), "FlashloanDisabled: T1 is not lent within a transaction"),
        (word(decimals=8), word(decimals=8, paused=True) | LENT, "ReservePaused: "),
        (word(decimals=8), word(decimals=8, active=False) | LENT, "ReserveInactive: "),
        (word(decimals=8, paused=True), word(decimals=8) | LENT, "ReservePaused: T0 is paused"),
        (word(decimals=8, active=False), word(decimals=8) | LENT, "ReserveInactive: T0 is not active"),
    ],
)
def test_closed_reserves(collateral: int, debt: int, why: str) -> None:
    found = account(collateral, debt)
    for kind in (DELEVERAGE, CLOSE):
        assert one(found, state(found), kind).refused.startswith(why)
        assert one(found, state(found), kind).owner_must == ""


def test_collateral_without_a_price_is_not_sold() -> None:
    found = account(prices=[0, ONE], others=[reserve(2, 1000 * ONE, configuration=word(decimals=8))])
    assert one(found, state(found)).refused == "PRICE: T0 has no price"


# -- two prices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("per_mille", "why"),
    [
        (1030, ""),
        (1031, "the exchange sells T1 for T0 3.1"),
        (970, ""),
        (969, "the exchange sells T1 for T0 3.1"),
    ],
)
def test_exchange_and_oracle_must_agree(per_mille: int, why: str) -> None:
    """3 % apart at most, before the exchange's fee."""
    found, up = account(), per_mille in (1031, 970)  # rounded away from the bound
    offer = tuple((n * ONE, n * ONE * per_mille // 1000 * 10**6 // (10**6 - 500) + up) for n in (1, 60, 300, 603))
    wishes = replace(WISHES, max_slippage_bps=1_000)
    step = one(found, state(found, wishes, quotes=(quotes(found, *offer),)))
    assert step.refused.startswith(why)
    assert bool(step.refused) == bool(why)
    if why:
        assert ("dearer" if per_mille > 1000 else "cheaper") in step.refused
        assert step.owner_must == ""


def test_the_flash_loans_premium_is_part_of_what_is_bought() -> None:
    found = account()
    with_premium = tuple((n * ONE, n * ONE * 1009 // 1000 * 10**6 // (10**6 - 500)) for n in (1, 60, 300, 603))
    wishes = replace(WISHES, max_slippage_bps=1_000)
    setup = replace(SETUP, gap_bps=10)
    asked = {"quotes": (quotes(found, *with_premium),), "setup": setup}
    assert one(found, state(found, wishes, premium_bps=90, **asked)).refused == ""
    assert "dearer" in one(found, state(found, wishes, premium_bps=0, **asked)).refused


def test_the_smallest_amount_that_tells_a_price_is_the_one_that_is_compared() -> None:
    found = account()
    dust = (9_999, 20_000)  # of which rounding may make anything
    assert one(found, state(found, quotes=(quotes(found, dust, *FAIR),))).refused == ""
    told = (10_000, 20_000)
    assert "dearer" in one(found, state(found, quotes=(quotes(found, told, *FAIR),))).refused
    assert "dearer" in one(found, state(found, quotes=(quotes(found, (9_000, 9_999), (9_999, 9_999 * 2)),))).refused


# -- bounds ------------------------------------------------------------------------------------------------------------


def bound(**changes: Any) -> tuple[int, str]:
    found = account()
    wishes = changes.pop("wishes", WISHES)
    step = one(found, state(found, wishes, **changes))
    assert step.refused == ""
    return step.most, step.limited_by


def test_what_bounds_a_step() -> None:
    assert bound() == (600 * ONE, "the debt")
    assert bound(liquidity=((asset(0), 10**24), (asset(1), 50 * ONE))) == (50 * ONE, "what the pool can lend")
    wishes = replace(WISHES, allowed_today=70 * ONE)
    assert bound(wishes=wishes) == (70 * ONE, "the owner's cap for the day")
    short = quotes(account(), *FAIR[:3])
    assert bound(quotes=(short,)) == (300 * ONE, "what an exchange was asked for")
    for few in (
        {"allowances": ((account().owner, asset(0), 60 * ONE),)},
        {"liquidity": ((asset(0), 60 * ONE), (asset(1), 10**24))},
    ):
        most, limited_by = bound(**few)
        assert limited_by == "the T0 that may be taken"
        assert 59 * ONE < most < 60 * ONE
    dear = quotes(account(), FAIR[0], FAIR[1], (300 * ONE, 306 * ONE), (603 * ONE, 640 * ONE))
    most, limited_by = bound(quotes=(dear,))
    assert limited_by == "the slippage that the owner allows"
    assert 60 * ONE < most < 300 * ONE


def test_a_bound_below_the_least_step_is_told() -> None:
    found = account()
    none = state(found, liquidity=((asset(0), 10**24), (asset(1), 0)))
    assert one(found, none).refused.startswith("what the pool can lend allows 0 of 0.0000")
    assert one(found, none).refused.endswith(" T1")


def test_a_cap_in_the_markets_unit_is_reckoned_at_the_price() -> None:
    found = account(prices=[ONE, ONE * 4 // 5])
    offer = tuple((n * ONE, n * ONE * 8 // 10) for n in (1, 60, 300, 603))
    wishes = replace(WISHES, allowed_today=80 * ONE)
    step = one(found, state(found, wishes, quotes=(quotes(found, *offer),)))
    assert (step.most, step.limited_by, step.price) == (100 * ONE, "the owner's cap for the day", ONE * 4 // 5)


# -- what a step is ----------------------------------------------------------------------------------------------------


def test_the_whole_of_a_step() -> None:
    found = account()
    step, close = one(found, state(found)), one(found, state(found), CLOSE)
    assert {name: value for name, value in step.intent.args.items() if name != "action_id"} == {
        "debt": asset(1),
        "amount": 0,
        "deadline": NOW_S + 60,
        "router": SETUP.router,
        "collateral": asset(0),
        "fee": 500,
        "max_collateral": 0,
    }
    ids = [str(step.intent.args["action_id"]), str(close.intent.args["action_id"])]
    assert len(set(ids)) == 2
    assert all(len(one) == 66 and one.startswith("0x") for one in ids)
    assert (step.intent.to, step.asset, step.symbol, step.decimals, step.price) == (
        SETUP.contract,
        asset(1),
        "T1",
        8,
        ONE,
    )
    assert (step.gas, step.closes, close.closes) == (1_500_000, False, True)
    assert step.swap is not None
    assert close.swap is not None
    assert (step.swap.low, step.swap.high) == (Fraction(WISHES.low, WAD), Fraction(WISHES.high, WAD))
    assert (close.swap.low, close.swap.high) == (None, None)
    assert step.swap.worth == Fraction(101, 100)
    assert (step.swap.tolerance_bps, step.swap.symbol, step.swap.decimals, step.swap.price) == (50, "T0", 8, ONE)
    assert step.swap.held == 1000 * ONE
    assert step.grain == 7  # eight units of the collateral
    assert step.least >= 1
    [route] = step.position.state.routes
    assert (route.collateral, route.debt, route.router, route.fee) == (asset(0), asset(1), SETUP.router, 500)
    assert route.swap == step.swap
    # each point is padded by its own rounding: a unit of the debt, and twice the ticks with those of the start
    assert step.swap.sold.at(ONE) == FAIR[0][1] + 2 + 2 * 6
    crossed = one(found, state(found, quotes=(quotes(found, *FAIR, ticks=5),)))
    assert crossed.swap is not None
    assert crossed.swap.sold.at(ONE) == FAIR[0][1] + 2 + 2 * 11
    assert crossed.swap.sold.most == 603 * ONE


def test_a_deposit_of_the_debts_own_asset_needs_no_exchange() -> None:
    held = [reserve(0, 1000 * ONE, configuration=word(decimals=8))]
    held.append(reserve(1, 200 * ONE, 600 * ONE, configuration=word(decimals=8) | LENT))
    found = position("3.6", held, [ONE] * 2)
    guard = state(found, quotes=(), premium_bps=9, to_treasury_bps=3)
    step = one(found, guard)
    assert step.refused == ""
    assert step.intent.args["fee"] == 0
    assert step.intent.args["collateral"] == asset(1)
    assert step.swap is not None
    assert step.swap.tolerance_bps == 0
    assert step.swap.held == 200 * ONE
    assert 199 * ONE < step.most < 200 * ONE
    assert step.limited_by == "the T1 that may be taken"
    # the amount, the premium on it, and a unit for rounding
    assert 100 * ONE * 10_009 // 10_000 <= step.swap.sold.at(100 * ONE) <= 100 * ONE * 10_009 // 10_000 + 2
    [route] = step.position.state.routes
    assert (route.premium_bps, route.to_treasury_bps) == (9, 3)


def test_whether_the_pool_takes_back_what_is_not_sold() -> None:
    found = account(collateral=word(decimals=8) | 2_000 << 116)
    assert [
        one(found, state(found, supplies=supplies)).position.state.routes[0].returned
        for supplies in ((), ((asset(0), Supply(1000 * ONE, 0, 0)),), ((asset(0), Supply(2_000 * ONE, 0, 0)),))
    ] == [False, True, False]
    free = account()
    assert one(free, state(free)).position.state.routes[0].returned
