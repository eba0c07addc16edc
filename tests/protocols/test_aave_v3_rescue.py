"""What a guardian may do for an account: each step's bounds and what sets them, and every refusal with its words."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from monitor.core.actions import ArgRule, Step
from monitor.core.types import Position
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.account import holdings
from monitor.protocols.aave_v3.effects import least_amount
from monitor.protocols.aave_v3.purse import Purse
from monitor.protocols.aave_v3.rescue import steps, widened
from monitor.protocols.aave_v3.search import _extreme, _jittered, amount_guess, moment_probe
from monitor.protocols.aave_v3.templates import REPAY, SUPPLY
from monitor.protocols.aave_v3.versions import TABLE
from monitor.protocols.base import APPROVE, Impossible, reaches
from tests.protocols.aave_v3_positions import NOW_S, OWNER, RAY, asset, position, reserve
from tests.protocols.aave_v3_purses import POOL, facts, purse
from tests.protocols.test_aave_v3_effects import NEW, OLD, VERSIONS, do

PRICES = [2 * 10**8, 10**8]


def account(version: str, collateral: dict[str, Any] | None = None, owed: dict[str, Any] | None = None) -> Position:
    """1,000 of asset 0 at 2 USD as collateral, 600 of asset 1 at 1 USD owed; no decimals."""
    first = reserve(0, 1_000, word_=collateral or {})
    return position(version, [first, reserve(1, 0, 600, word_=owed or {})], PRICES)


def step_of(found: Position, kind: str, number: int, beside: Purse | None = None) -> Step:
    """The one step of that kind on that asset, as it stands at the position's own time."""
    held = purse(found) if beside is None else beside
    listed = [s for s in steps(facts(found.rule.version), found, held, NOW_S) if s.intent.kind == kind]
    return next(s for s in listed if s.asset == asset(number))


# -- what a step is ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_repayment_is_bounded_by_the_debt_and_a_supply_by_the_purse(version: str) -> None:
    found = account(version)
    held = purse(found, balances={asset(0): 70, asset(1): 5_000})
    repay, supply = step_of(found, "aave-v3/repay", 1, held), step_of(found, "aave-v3/supply", 0, held)
    assert (repay.least, repay.most, repay.limited_by, repay.purse) == (1, 600, "the debt", 5_000)
    assert (supply.least, supply.most, supply.limited_by, supply.purse) == (1, 70, "the purse", 70)
    assert (repay.price, supply.price) == (10**8, 2 * 10**8)
    assert (repay.symbol, supply.symbol, repay.decimals) == ("T1", "T0", 0)
    assert repay.gas == supply.gas == 400_000
    assert not repay.refused
    assert repay.remedy is None


def test_an_intent_says_what_for_and_has_no_amount_yet() -> None:
    intent = step_of(account("3.6"), "aave-v3/repay", 1).intent
    assert (intent.kind, intent.to, intent.owner) == ("aave-v3/repay", POOL, OWNER)
    assert (intent.chain_id, intent.position_id, intent.value_wei) == (1, "p", 0)
    assert intent.args == {"asset": asset(1), "amount": 0}


def test_only_debts_are_repaid_and_everything_listed_may_be_supplied() -> None:
    found = account("3.6")
    kinds = [(s.intent.kind, s.symbol) for s in steps(facts("3.6"), found, purse(found), NOW_S)]
    assert kinds[:3] == [("aave-v3/repay", "T1"), ("aave-v3/supply", "T0"), ("aave-v3/supply", "T1")]


def test_a_step_that_lacks_an_allowance_says_which_approval_would_lift_it() -> None:
    found = account("3.6")
    held = purse(found, balances={asset(1): 500}, allowances={asset(1): 40})
    step = step_of(found, "aave-v3/repay", 1, held)
    assert (step.most, step.limited_by) == (40, "the purse's allowance")
    assert step.remedy is not None
    assert (step.remedy.kind, step.remedy.to) == ("erc20/approve", asset(1))
    assert step.remedy.args == {"spender": POOL, "amount": 500}
    rich = step_of(found, "aave-v3/repay", 1, purse(found, allowances={asset(1): 40}))
    assert rich.remedy is not None
    assert rich.remedy.args["amount"] == 600
    assert (rich.remedy.chain_id, rich.remedy.position_id, rich.remedy.owner) == (1, "p", OWNER)


def test_reserves_are_walked_in_the_order_of_their_ids() -> None:
    found = position("3.6", [reserve(1, 0, 600), reserve(2, 1_000)], [10**8, 2 * 10**8])
    wide = widened(found, purse(found, (reserve(0), 10**8)))
    assert [one.id for one in wide.state.reserves] == [0, 1, 2]
    assert wide.prices[asset(0)] == 10**8


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balances", "allowances", "said"),
    [
        ({asset(1): 0}, {}, "the purse holds 0 T1"),
        ({asset(1): 7}, {asset(1): 0}, "the purse lets the pool take 0 of its 7 T1"),
    ],
)
def test_a_purse_that_cannot_says_what_it_has(balances: dict[str, int], allowances: dict[str, int], said: str) -> None:
    found = account("3.6")
    step = step_of(found, "aave-v3/repay", 1, purse(found, balances=balances, allowances=allowances))
    assert step.refused == said


@pytest.mark.parametrize("version", VERSIONS)
def test_a_debt_that_no_share_covers_is_left(version: str) -> None:
    """One share of a debt at an index of 3: the smallest amount that burns a share is 3 from 3.5, 2 before."""
    found = position(version, [reserve(0, 1_000), reserve(1, 0, 1, variable_borrow_index=3 * RAY)], PRICES)
    step = step_of(found, "aave-v3/repay", 1)
    assert (step.least, step.most) == ((3, 3) if version in NEW else (2, 3))
    assert not step.refused


@pytest.mark.parametrize("flag", ["paused", "active", "frozen"])
def test_closed_reserves_are_refused(flag: str) -> None:
    word = {flag: flag != "active"}
    owed, held = account("3.6", owed=word), account("3.6", collateral=word)
    assert bool(step_of(owed, "aave-v3/repay", 1).refused) == (flag != "frozen")
    assert step_of(held, "aave-v3/supply", 0).refused.startswith("Reserve")


def test_a_supply_that_does_not_count_is_refused() -> None:
    found = account("3.6", owed={"threshold": 0, "ltv": 0})
    assert "LTV of 0" in step_of(found, "aave-v3/supply", 1).refused
    useless = replace(found.state.reserves[0], configuration=reserve(0, word_={"threshold": 0}).configuration)
    changed = replace(found, state=replace(found.state, reserves=(useless, found.state.reserves[1])))
    assert step_of(changed, "aave-v3/supply", 0).refused == (
        "T0 has a liquidation threshold of 0: more of it does not help"
    )
    assert not step_of(found, "aave-v3/supply", 0).refused


def test_isolation_keeps_another_asset_from_becoming_collateral() -> None:
    """Up to 3.6 a single collateral with a debt ceiling isolates its owner."""
    isolated = position("3.6", [reserve(0, 1_000, word_={"ceiling": 1}), reserve(1, 0, 600)], PRICES)
    assert "isolation mode" in step_of(isolated, "aave-v3/supply", 1).refused
    assert not step_of(isolated, "aave-v3/supply", 0).refused
    free = position("3.6", [reserve(0, 1_000), reserve(1, 0, 600)], PRICES)
    assert not step_of(free, "aave-v3/supply", 1).refused
    one_of_two = [reserve(0, 1_000, word_={"ceiling": 1}), reserve(1, 0, 600), reserve(2, 5)]
    assert not step_of(position("3.6", one_of_two, [*PRICES, 10**8]), "aave-v3/supply", 1).refused
    ceiling = position("3.6", [reserve(0, 1_000), reserve(1, 0, 600, word_={"ceiling": 1})], PRICES)
    assert "isolation mode" in step_of(ceiling, "aave-v3/supply", 1).refused
    assert not step_of(position("3.7", isolated.state.reserves, PRICES), "aave-v3/supply", 1).refused


def test_what_could_not_be_read_is_refused() -> None:
    found = account("3.6")
    held = purse(found)
    blind = replace(held, reserves=tuple(replace(one, balance=None) for one in held.reserves))
    assert step_of(found, "aave-v3/repay", 1, blind).refused == "the purse's T1 could not be read"
    other = replace(held.reserves[0], asset=asset(2), symbol="T2", reserve=None)
    step = step_of(found, "aave-v3/supply", 2, replace(held, reserves=(*held.reserves, other)))
    assert "could not be read" in step.refused
    assert (step.decimals, step.price, step.least, step.most) == (0, 0, 0, 0)


# -- effects -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [RAY, RAY + 1, 3 * RAY // 2, 3 * RAY // 2 + 1, 2 * RAY, 5 * RAY // 2, 3 * RAY - 1])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_least_amount_is_the_first_that_moves_a_share(version: str, index: int) -> None:
    """By trying: the shares of every amount, half up as rayDiv rounds, from 3.5 down."""
    rules = TABLE[version]

    def shares(amount: int) -> int:
        return amount * RAY // index if rules.directed_rounding else (amount * RAY + index // 2) // index

    assert least_amount(rules, index) == next(amount for amount in range(1, 10) if shares(amount))


@pytest.mark.parametrize("kind", ["repay", "supply"])
def test_amounts_that_the_contract_cannot_hold(kind: str) -> None:
    number = 1 if kind == "repay" else 0
    for amount, said in ((0, "InvalidAmount: nothing is no amount"), (-1, "InvalidAmount: nothing is no amount")):
        with pytest.raises(Impossible, match=said):
            do(account("3.6"), kind, number, amount)
    for amount in (2**128, 2**256 - 1):
        with pytest.raises(Impossible, match="does not fit"):
            do(account("3.6"), kind, number, amount)


@pytest.mark.parametrize(("versions", "name"), [(OLD, "InvalidMintAmount"), (NEW, "InvalidAmount")])
def test_a_supply_of_no_share_has_the_contracts_error(versions: tuple[str, ...], name: str) -> None:
    for version in versions:
        found = position(version, [reserve(0, 10, liquidity_index=9 * RAY), reserve(1, 0, 5)], PRICES)
        with pytest.raises(Impossible, match=f"^{name}: "):
            do(found, "supply", 0, 1)


# -- templates ---------------------------------------------------------------------------------------------------------


def test_templates_are_what_the_signer_was_reviewed_for() -> None:
    """Word for word: a change here is a change of what a key signs."""
    amount, token = ArgRule("amount", "intent", "amount"), ArgRule("asset", "intent", "asset")
    owner = ArgRule("onBehalfOf", "owner", "recipient")
    assert (REPAY.kind, REPAY.function) == ("aave-v3/repay", "aave_v3_pool.repay")
    assert REPAY.args == (token, amount, ArgRule("interestRateMode", "constant", "", 2), owner)
    assert (SUPPLY.kind, SUPPLY.function) == ("aave-v3/supply", "aave_v3_pool.supply")
    assert SUPPLY.args == (token, amount, owner, ArgRule("referralCode", "constant", "", 0))
    assert (APPROVE.kind, APPROVE.function) == ("erc20/approve", "erc20.approve")
    assert APPROVE.args == (ArgRule("spender", "intent", "spender"), ArgRule("amount", "intent", "allowance"))


# -- searches over steps -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("kind", "number"), [("aave-v3/repay", 1), ("aave-v3/supply", 0)])
@pytest.mark.parametrize("target", [Fraction(3), Fraction(7, 2), Fraction(11, 4)])
def test_a_guess_is_the_amount_but_for_rounding(version: str, kind: str, number: int, target: Fraction) -> None:
    """Health is 0.8 * 2,000,000 / 600,000: the guess is where the closed form says, and the contract nearly agrees."""
    big = [reserve(0, 1_000_000), reserve(1, 0, 600_000), reserve(2, 0, 5)]
    found = position(version, big, [*PRICES, 10**8])
    step = step_of(found, kind, number)
    covered, debt = Fraction(8, 10) * 2_000_000, 600_005
    exact = debt - covered / target if kind == "aave-v3/repay" else (target * debt - covered) / Fraction(16, 10)
    guess = amount_guess(step, target, NOW_S)
    assert guess is not None
    assert abs(guess - exact) <= 1
    for amount, enough in ((guess - 2, False), (guess + 2, True)):
        health = PROTOCOL.evaluate(PROTOCOL.after(found, step.with_amount(amount), NOW_S), None, NOW_S)
        assert reaches(health, target) is enough
    assert amount_guess(replace(step, price=0), target, NOW_S) is None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("kind", "number"), [("aave-v3/repay", 1), ("aave-v3/supply", 0)])
def test_a_moment_is_judged_as_the_contract_would_and_an_interval_never_wrongly(
    version: str, kind: str, number: int
) -> None:
    """Interest at 60 % a year takes health through the target within the window."""
    owed = reserve(1, 0, 600_000, variable_borrow_rate=RAY * 6 // 10)
    found = position(version, [reserve(0, 1_000_000, liquidity_rate=RAY // 20), owed], PRICES)
    step = step_of(found, kind, number)
    target = Fraction(3)
    amount = (amount_guess(step, target, NOW_S + 1_000) or 0) + 2
    probe = moment_probe(step, target, amount)
    moments = range(NOW_S, NOW_S + 4_000, 50)

    def at(moment_s: int) -> bool:
        return reaches(
            PROTOCOL.evaluate(PROTOCOL.after(found, step.with_amount(amount), moment_s), None, moment_s), target
        )

    truth = {moment_s: at(moment_s) for moment_s in moments}
    assert set(truth.values()) == {True, False}
    assert {moment_s: probe(moment_s, moment_s) for moment_s in moments} == truth
    decided = 0
    for low in moments[::8]:
        for high in moments[::8]:
            if low < high and (said := probe(low, high)) is not None:
                decided += 1
                assert {truth[moment_s] for moment_s in moments if low <= moment_s <= high} == {said}
    assert decided


def test_a_changed_balance_is_taken_for_more_and_less_than_rounding_can_make_of_it() -> None:
    (held,) = (one for one in holdings(TABLE["3.6"], account("3.6").state, NOW_S) if one.reserve.asset == asset(0))
    assert (held.supplied, held.variable_debt) == (1_000, 0)
    more, less = (_jittered(held, frozenset({asset(0)}), sign) for sign in (1, -1))
    assert (more.supplied, more.variable_debt) == (1_006, 6)
    assert (less.supplied, less.variable_debt) == (994, 0)
    risen = replace(held, normalized_income=3 * RAY, normalized_debt=2 * RAY, supplied=4, variable_debt=50)
    more, less = (_jittered(risen, frozenset({asset(0)}), sign) for sign in (1, -1))
    assert (more.supplied, more.variable_debt) == (14, 60)
    assert (less.supplied, less.variable_debt) == (0, 40)
    owed = replace(held, normalized_income=2 * RAY, normalized_debt=3 * RAY)
    assert _jittered(owed, frozenset({asset(0)}), 1).supplied == 1_010
    assert _jittered(held, frozenset({asset(1)}), 1) is held


def test_without_a_holding_thresholds_have_no_mean() -> None:
    assert _extreme(min, []) == _extreme(max, []) == 0
    assert _extreme(min, [(8_000, 0, 10)]) == 0
    assert _extreme(max, [(8_000, 10, 10), (6_000, 10, 10)]) == 7_000
