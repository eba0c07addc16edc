"""What repay and supply do, on accounts small enough to reckon by hand, and the smallest amounts against all."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.core.actions import Intent, Step
from monitor.core.types import Known, NoDebt, Position
from monitor.health.amounts import smallest_amount
from monitor.protocols.aave_v3 import PROTOCOL, words
from monitor.protocols.aave_v3.effects import repaid_stable
from monitor.protocols.aave_v3.math import calculateCompoundedInterest, percentMul, rayDiv, rayMul
from monitor.protocols.aave_v3.purse import supply_room
from monitor.protocols.aave_v3.records import Category, ReserveState, Supply
from monitor.protocols.aave_v3.versions import TABLE
from monitor.protocols.base import Impossible, reaches
from tests.protocols.aave_v3_positions import NOW_S, RAY, asset, bitmap, position, reserve
from tests.protocols.aave_v3_purses import POOL, facts, purse

VERSIONS = tuple(TABLE)
OLD, NEW = VERSIONS[: VERSIONS.index("3.5")], VERSIONS[VERSIONS.index("3.5") :]
YEAR_S = 31_536_000


def intent(kind: str, number: int, amount: int) -> Intent:
    return Intent(f"aave-v3/{kind}", 1, "p", "0xowner", POOL, {"asset": asset(number), "amount": amount})


def do(found: Position, kind: str, number: int, amount: int, at_s: int = NOW_S) -> Position:
    return PROTOCOL.after(found, intent(kind, number, amount), at_s)


def held(found: Position, number: int) -> ReserveState:
    one: ReserveState = next(r for r in found.state.reserves if r.id == number)
    return one


def loan(version: str, **owed: Any) -> Position:
    """100 of asset 0 as collateral, 50 shares of asset 1 owed."""
    return position(version, [reserve(0, 100), reserve(1, 0, 50, **owed)], [10**8, 10**8])


# -- rounding, on both sides of 3.5 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("versions", "left"), [(OLD, 46), (NEW, 47)])
def test_a_repayment_burns_shares_half_up_and_from_3_5_down(versions: tuple[str, ...], left: int) -> None:
    # 7 / 1.9 = 3.68
    for version in versions:
        assert (
            held(do(loan(version, variable_borrow_index=19 * RAY // 10), "repay", 1, 7), 1).scaled_variable_debt == left
        )


@pytest.mark.parametrize(("versions", "now"), [(OLD, 104), (NEW, 103)])
def test_a_supply_mints_shares_half_up_and_from_3_5_down(versions: tuple[str, ...], now: int) -> None:
    for version in versions:
        before = position(version, [reserve(0, 100, liquidity_index=19 * RAY // 10)], [10**8])
        assert held(do(before, "supply", 0, 7), 0).scaled_a_token == now


def test_a_unit_that_is_no_share_is_refused_by_the_contracts_name_for_it() -> None:
    index = 3 * RAY
    for version in VERSIONS:
        with pytest.raises(Impossible, match="InvalidBurnAmount"):
            do(loan(version, variable_borrow_index=index), "repay", 1, 1)
        name = "InvalidAmount" if version in NEW else "InvalidMintAmount"
        with pytest.raises(Impossible, match=name):
            do(position(version, [reserve(0, 100, liquidity_index=index)], [1]), "supply", 0, 1)


@pytest.mark.parametrize(("version", "still"), [("3.3", True), ("3.4", False)])
def test_who_repays_all_but_a_unit_may_lose_the_last_share(version: str, still: bool) -> None:
    """3 shares at 1.9 are 6 units; 5 units burn 2.63, so 3 shares. Up to 3.3 the bit stays: one unit was not paid."""
    before = position(
        version, [reserve(0, 100), reserve(1, 0, 3, variable_borrow_index=19 * RAY // 10)], [10**8, 10**8]
    )
    after = do(before, "repay", 1, 5)
    assert held(after, 1).scaled_variable_debt == 0
    assert words.is_borrowing(after.state.user_configuration, 1) is still
    assert PROTOCOL.evaluate(after).verdict == NoDebt()


def test_more_than_the_debt_is_the_debt() -> None:
    for version in VERSIONS:
        found = loan(version, variable_borrow_index=12345 * RAY // 10000)
        after = do(found, "repay", 1, 10**9)
        assert held(after, 1).scaled_variable_debt == 0
        assert not words.is_borrowing(after.state.user_configuration, 1)
        assert PROTOCOL.evaluate(after).verdict == NoDebt()


def test_stable_debt_is_not_touched_and_keeps_the_bit() -> None:
    found = loan("3.0", stable_principal=10, stable_update_s=NOW_S)
    after = do(found, "repay", 1, 10**9)
    assert words.is_borrowing(after.state.user_configuration, 1)
    assert PROTOCOL.evaluate(after).debt == 10 * 10**8
    only_stable = position(
        "3.0", [reserve(0, 100), reserve(1, 0, 0, stable_principal=10, stable_update_s=NOW_S)], [1, 1]
    )
    with pytest.raises(Impossible, match="NoDebtOfSelectedType"):
        do(only_stable, "repay", 1, 5)


@pytest.mark.parametrize("variable", [0, 7])
def test_a_repayment_of_stable_debt_leaves_the_rest_with_its_interest_in_it(variable: int) -> None:
    rules = TABLE["3.0"]
    owed = {"stable_principal": 10**6, "stable_rate": RAY // 10, "stable_update_s": NOW_S - YEAR_S}
    found = position("3.0", [reserve(0, 10**7), reserve(1, 0, variable, **owed)], [1, 1], user_configuration=0b0110)
    due = rayMul(10**6, calculateCompoundedInterest(RAY // 10, YEAR_S))
    assert due > 10**6
    part = repaid_stable(rules, found.state, held(found, 1), 10**5, NOW_S)
    left = next(one for one in part.reserves if one.id == 1)
    assert (left.stable_principal, left.stable_update_s, left.stable_rate) == (due - 10**5, NOW_S, RAY // 10)
    assert words.is_borrowing(part.user_configuration, 1)
    # more than all of it is all of it; the bit goes where nothing is owed otherwise
    whole = repaid_stable(rules, found.state, held(found, 1), 2 * due, NOW_S)
    assert next(one for one in whole.reserves if one.id == 1).stable_principal == 0
    assert words.is_borrowing(whole.user_configuration, 1) is (variable > 0)
    with pytest.raises(Impossible, match="NoDebtOfSelectedType"):
        repaid_stable(rules, whole, next(one for one in whole.reserves if one.id == 1), 1, NOW_S)


def test_interest_until_inclusion_is_paid_first() -> None:
    for version in VERSIONS:
        found = loan(version, variable_borrow_rate=RAY // 10)
        after = do(found, "repay", 1, 50, NOW_S + YEAR_S)
        # 50 grew to 55 and some; 50 of it was repaid
        assert PROTOCOL.evaluate(after, at_s=NOW_S + YEAR_S).debt // 10**8 in {5, 6}


# -- what turns into collateral ----------------------------------------------------------------------------------------


def first_supply(version: str, user: int | None = None, category: Category | None = None, **word_: Any) -> Position:
    """Asset 2, in which the owner has nothing, is supplied."""
    reserves = [reserve(0, 100), reserve(1, 0, 50), reserve(2, 0, 0, word_=word_)]
    found = position(version, reserves, [10**8] * 3, category, user_configuration=user)
    return do(found, "supply", 2, 10)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_first_supply_becomes_collateral(version: str) -> None:
    assert words.is_using_as_collateral(first_supply(version).state.user_configuration, 2)


@pytest.mark.parametrize("version", VERSIONS)
def test_not_with_an_ltv_of_zero(version: str) -> None:
    assert not words.is_using_as_collateral(first_supply(version, ltv=0).state.user_configuration, 2)


@pytest.mark.parametrize("version", VERSIONS)
def test_not_if_it_is_isolated_which_3_7_no_longer_knows(version: str) -> None:
    enabled = words.is_using_as_collateral(first_supply(version, ceiling=5).state.user_configuration, 2)
    assert enabled is (version == "3.7")


@pytest.mark.parametrize("version", VERSIONS)
def test_not_beside_an_isolated_collateral(version: str) -> None:
    reserves = [reserve(0, 100, word_={"ceiling": 5}), reserve(1, 0, 50), reserve(2)]
    after = do(position(version, reserves, [10**8] * 3), "supply", 2, 10)
    assert words.is_using_as_collateral(after.state.user_configuration, 2) is (version == "3.7")


@pytest.mark.parametrize("version", ["3.5", "3.6", "3.7"])
def test_the_category_decides_about_ltv_from_3_6(version: str) -> None:
    heeds = version != "3.5"
    zeroed = Category(1, 9000, 9300, 10100, collateral_bitmap=1 << 2, ltvzero_bitmap=1 << 2)
    assert words.is_using_as_collateral(first_supply(version, category=zeroed).state.user_configuration, 2) is not heeds
    given_ = Category(1, 9000, 9300, 10100, collateral_bitmap=1 << 2)
    enabled = first_supply(version, category=given_, ltv=0)
    assert words.is_using_as_collateral(enabled.state.user_configuration, 2) is heeds
    isolated = Category(1, 9000, 9300, 10100, collateral_bitmap=1, isolated=True)
    outside = first_supply(version, category=isolated)
    assert words.is_using_as_collateral(outside.state.user_configuration, 2) is (version != "3.7")


@pytest.mark.parametrize("version", VERSIONS)
def test_more_of_what_is_no_collateral_stays_none(version: str) -> None:
    reserves = [reserve(0, 100), reserve(1, 0, 50), reserve(2, 5)]
    found = position(version, reserves, [10**8] * 3, user_configuration=bitmap([0], [1]))
    after = do(found, "supply", 2, 10)
    assert after.state.user_configuration == found.state.user_configuration
    assert PROTOCOL.evaluate(after).reported == PROTOCOL.evaluate(found).reported


@pytest.mark.parametrize(
    ("flags", "supply", "repay"),
    [
        ({"paused": True}, "ReservePaused", "ReservePaused"),
        ({"active": False}, "ReserveInactive", "ReserveInactive"),
        ({"frozen": True}, "ReserveFrozen", ""),
    ],
)
def test_flags(flags: dict[str, bool], supply: str, repay: str) -> None:
    for version in VERSIONS:
        found = position(version, [reserve(0, 100), reserve(1, 10, 50, word_=flags)], [10**8, 10**8])
        with pytest.raises(Impossible, match=supply):
            do(found, "supply", 1, 5)
        if repay:
            with pytest.raises(Impossible, match=repay):
                do(found, "repay", 1, 5)
        else:
            assert held(do(found, "repay", 1, 5), 1).scaled_variable_debt == 45


def test_what_is_not_known_or_not_an_amount_is_impossible() -> None:
    found = loan("3.6")
    for kind, number, amount in (
        ("repay", 7, 1),
        ("swap", 1, 1),
        ("repay", 1, 0),
        ("supply", 0, -1),
        ("supply", 0, 2**200),
    ):
        with pytest.raises(Impossible):
            do(found, kind, number, amount)


# -- the room under a cap ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_the_room_under_a_cap(version: str) -> None:
    """The largest amount that fits, by trying all of them."""
    rules = TABLE[version]
    one = replace(reserve(0, liquidity_index=17 * RAY // 10), configuration=reserve(0).configuration | 100 << 116)
    supply = Supply(scaled=31, accrued_to_treasury=7, scaled_variable_debt=0)
    room = supply_room(rules, one, supply, NOW_S)

    def fits(amount: int) -> bool:
        if rules.directed_rounding:
            return (38 + amount * RAY // one.liquidity_index) * one.liquidity_index // RAY <= 100
        return (38 * one.liquidity_index + RAY // 2) // RAY + amount <= 100

    assert [amount for amount in range(1, 100) if fits(amount)] == list(range(1, room + 1))
    assert supply_room(rules, one, replace(supply, scaled=1000), NOW_S) == 0


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("stable", [0, 40])
def test_interest_that_goes_to_the_treasury_takes_of_the_room(version: str, stable: int) -> None:
    """A year at 50 %, of which a fifth is the treasury's, written down step by step as ReserveLogic does it."""
    rules = TABLE[version]
    later_s = NOW_S + YEAR_S
    rate = RAY // 2
    one = replace(
        reserve(
            0, liquidity_index=2 * RAY, variable_borrow_index=3 * RAY, liquidity_rate=rate, variable_borrow_rate=rate
        ),
        configuration=reserve(0).configuration & ~(0xFFFF << 64) | 2_000 << 64 | 1_000 << 116,
        last_update_s=NOW_S,
    )
    supply = Supply(
        scaled=31,
        accrued_to_treasury=7,
        scaled_variable_debt=30,
        stable_principal=stable,
        stable_rate=rate,
        stable_update_s=NOW_S - YEAR_S,
    )
    year, two = (calculateCompoundedInterest(rate, n * YEAR_S) for n in (1, 2))
    index, debt_index = 3 * RAY, rayMul(year, 3 * RAY)
    if rules.directed_rounding:
        debt = 30 * (debt_index - 3 * RAY) // RAY
        treasury = 7 + percentMul(debt, 2_000) * RAY // index
        taken = (31 + treasury) * index // RAY
    else:
        debt = rayMul(30, debt_index) - 90 + (rayMul(40, two) - rayMul(40, year) if stable else 0)
        treasury = 7 + rayDiv(percentMul(debt, 2_000), index)
        taken = rayMul(31 + treasury, index)
    assert treasury > 7 + 3
    room = supply_room(rules, one, supply, later_s)
    # from 3.5 a supply mints rounded down, so that a little more than what is left may come in
    assert 0 <= room - (1_000 - taken) <= (5 if rules.directed_rounding else 0)
    if rules.directed_rounding:
        assert (31 + treasury + room * RAY // index) * index // RAY <= 1_000
        assert (31 + treasury + (room + 1) * RAY // index) * index // RAY > 1_000
    at_once = replace(one, last_update_s=later_s)
    assert supply_room(rules, at_once, supply, later_s) > room
    for_free = replace(one, configuration=one.configuration & ~(0xFFFF << 64))
    assert supply_room(rules, for_free, supply, later_s) > room


# -- the smallest amount, against every amount -------------------------------------------------------------------------


@st.composite
def accounts(draw: st.DrawFn) -> tuple[Position, int]:
    """A small account in danger, and an asset (0 or 2 to supply, 1 to repay) that can help."""
    version = draw(st.sampled_from(VERSIONS))
    index = st.integers(RAY, 3 * RAY)
    rate = st.integers(0, RAY * 5)
    thresholds = st.one_of(st.integers(1, 9000), st.integers(7000, 8500))

    def one(number: int, supplied: int, owed: int) -> ReserveState:
        threshold = draw(thresholds)
        return reserve(
            number,
            supplied,
            owed,
            liquidity_index=draw(index),
            variable_borrow_index=draw(index),
            liquidity_rate=draw(rate),
            variable_borrow_rate=draw(rate),
            last_update_s=NOW_S - draw(st.integers(0, 10**6)),
            word_={"threshold": threshold, "ltv": max(1, threshold - 1), "decimals": draw(st.integers(0, 2))},
        )

    reserves = [
        one(0, draw(st.integers(1, 400)), 0),
        one(1, 0, draw(st.integers(1, 400))),
        one(2, draw(st.integers(0, 50)), 0),
    ]
    prices = [draw(st.integers(50, 2000)) for _ in reserves]
    return position(version, reserves, prices, user_configuration=bitmap([0, 2], [1])), draw(st.integers(0, 2))


def above(found: Position, thousandths: int) -> Fraction:
    """A target so far above the health that the account has."""
    verdict = PROTOCOL.evaluate(found, at_s=NOW_S + 1).verdict
    if not isinstance(verdict, Known):
        return Fraction(2)
    return Fraction(verdict.numerator, verdict.denominator) * Fraction(1000 + thousandths, 1000)


def step_of(found: Position, number: int, until_s: int) -> Step | None:
    steps = PROTOCOL.rescue_steps(facts(found.rule.version), found, purse(found), until_s)
    kind = "repay" if number == 1 else "supply"
    return next((s for s in steps if s.key == f"aave-v3/{kind} T{number}" and not s.refused), None)


@settings(max_examples=150)
@given(accounts(), st.integers(1, 600), st.integers(1, 6))
def test_the_smallest_amount_is_the_smallest_of_all(account: tuple[Position, int], more: int, window: int) -> None:
    found, number = account
    first_s, last_s = NOW_S + 1, NOW_S + window
    target = above(found, more)
    step = step_of(found, number, last_s)
    if step is None:
        return
    step = replace(step, most=min(step.most, step.least + 150))

    def good(amount: int) -> bool:
        return all(
            reaches(
                PROTOCOL.evaluate(do(found, step.intent.kind.split("/")[1], number, amount, at_s), at_s=at_s), target
            )
            for at_s in range(first_s, last_s + 1)
        )

    result = smallest_amount(PROTOCOL, step, target, (first_s, last_s))
    expected = next((amount for amount in range(step.least, step.most + 1) if good(amount)), None)
    assert (result.amount if result.reaches else None) == expected
    if expected is None:
        assert result.amount == step.most
        assert result.health is not None
        assert not reaches(result.health, target)


@settings(max_examples=150)
@given(accounts(), st.integers(1, 600), st.data())
def test_probes_never_say_what_is_not_so(account: tuple[Position, int], more: int, data: st.DataObject) -> None:
    found, number = account
    target, at_s = above(found, more), NOW_S + 30
    step = step_of(found, number, at_s + 10)
    if step is None:
        return
    kind = step.intent.kind.split("/")[1]
    low = data.draw(st.integers(step.least, min(step.most, step.least + 300)))
    high = data.draw(st.integers(low, min(step.most, low + 40)))
    truths = {
        reaches(PROTOCOL.evaluate(do(found, kind, number, a, at_s), at_s=at_s), target) for a in range(low, high + 1)
    }
    said = PROTOCOL.reaches_between_amounts(step, target, at_s)(low, high)
    assert said is None or truths == {said}
    assert low != high or said is not None
    over_time = {
        reaches(PROTOCOL.evaluate(do(found, kind, number, low, t), at_s=t), target) for t in range(at_s, at_s + 11)
    }
    said = PROTOCOL.reaches_between_times(step, target, low)(at_s, at_s + 10)
    assert said is None or over_time == {said}


@settings(max_examples=100)
@given(accounts())
def test_no_repayment_lowers_health(account: tuple[Position, int]) -> None:
    found, _ = account
    step = step_of(found, 1, NOW_S)
    if step is None:
        return
    last = PROTOCOL.evaluate(found).verdict
    for amount in range(step.least, min(step.most, step.least + 60) + 1):
        now = PROTOCOL.evaluate(do(found, "repay", 1, amount)).verdict
        if isinstance(now, Known) and isinstance(last, Known):
            assert now.numerator >= last.numerator
        last = now
