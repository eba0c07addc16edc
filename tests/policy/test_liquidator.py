from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from monitor.core.types import Position
from monitor.policy.liquidator import Bid, Bids, KeeperTerms, bids, profit_of, still_worth
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.keeper import GAS, GAS_OF_BAD_DEBT
from monitor.protocols.liquity_v1 import PROTOCOL as LIQUITY
from tests.protocols.aave_v3_positions import NOW_S, OWNER, RAY, asset, bitmap, context, position, reserve
from tests.protocols.aave_v3_purses import facts, purse

ONE = 10**8
GWEI = 10**9
MOST = {asset(n): 10**24 for n in range(4)}
TERMS = KeeperTerms(max_fee_per_gas_wei=GWEI, most=MOST, native_price=2_000 * ONE)


def sick(version: str = "3.6", **changes: Any) -> Position:
    """100,000 of T0 and 50,000 of T1 against 130,000 of T2: health 0.92, so that all of it may be covered."""
    held = [
        reserve(0, 100_000 * ONE, word_={"decimals": 8} | changes.get("first", {})),
        reserve(1, 50_000 * ONE, word_={"decimals": 8, "bonus": 10_800}),
        reserve(2, 0, changes.get("owed", 130_000) * ONE, word_={"decimals": 8}),
    ]
    return position(version, held, [ONE] * 3, user_configuration=bitmap([0, 1], [2]))


def ask(found: Position, purse_: Any = None, context_: Any = "all open", **terms: Any) -> Bids:
    around = context(found) if context_ == "all open" else context_
    purse_ = purse_ or purse(found)
    return bids(PROTOCOL, facts(found.rule.version), found, purse_, around, replace(TERMS, **terms))


def reasons(found: Bids) -> dict[str, str]:
    return {passed.pair.key: passed.reason for passed in found.passed}


def test_the_most_profitable_pair_comes_first() -> None:
    first, second = ask(sick()).bids
    # all of T1 for 50,000 / 1.08 brings 3,703; all of T0 for 100,000 / 1.05 brings 4,761
    assert (first.last.collateral.symbol, second.last.collateral.symbol) == ("T0", "T1")
    assert first.intent.args == {"collateralAsset": asset(0), "debtAsset": asset(2), "debtToCover": first.last.paid}
    assert first.profit.worth == first.last.received == 100_000 * ONE
    assert first.last.paid == -(-100_000 * ONE * 10_000 // 10_500)
    # 700,000 gas at 1 gwei are 0.0007 of a coin at 2,000
    assert first.profit.gas == 14 * ONE // 10
    assert first.profit.net == first.profit.worth - first.profit.paid - first.profit.gas
    assert first.limits.max_cost_wei == GAS * GWEI
    assert first.limits.valid_until_s == NOW_S + 60
    assert f"profit {first.profit.net // ONE}" in first.why


def test_a_haircut_turns_to_the_pair_with_the_larger_bonus() -> None:
    [only] = ask(sick(), haircut_bps=500).bids
    assert only.last.collateral.symbol == "T1"
    assert only.profit.worth == 47_500 * ONE
    assert "after 500 bps for selling" in only.why
    passed = ask(sick(), haircut_bps=500)
    assert "is not above 0" in reasons(passed)["T2 for T0"]
    assert ask(sick(), haircut_bps=800).bids == ()


def test_the_least_profit_is_a_bound_that_is_not_reached() -> None:
    [best, _] = ask(sick()).bids
    assert best.last.debt.price == ONE
    assert ask(sick(), min_profit=best.profit.net - 1).bids[0].key == best.key
    found = ask(sick(), min_profit=best.profit.net)
    assert found.bids == ()
    assert "is not above" in reasons(found)["T2 for T0"]
    assert all(passed.profit is not None for passed in found.passed)


def test_gas_and_the_data_fee_are_rounded_up() -> None:
    one_wei = ask(sick(), max_fee_per_gas_wei=0, l1_data_fee_wei=1).bids[0].profit
    assert (one_wei.gas, one_wei.l1_data_fee) == (0, 1)
    dear = ask(sick(), l1_data_fee_wei=10**18).bids[0]
    assert dear.profit.l1_data_fee == 2_000 * ONE
    assert dear.limits.max_cost_wei == GAS * GWEI + 10**18
    assert ask(sick(), l1_data_fee_wei=10**19).bids == ()


def test_without_a_price_for_the_coin_the_profit_is_before_gas_and_says_so() -> None:
    best = ask(sick(), native_price=None).bids[0]
    assert best.profit.before_gas
    assert best.gain_wei == 0
    assert "the profit is before gas" in best.why
    assert best.profit.net == best.profit.worth - best.profit.paid
    with_price = ask(sick()).bids[0]
    assert with_price.gain_wei == (best.profit.net * 10**18) // (2_000 * ONE)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"balances": {asset(2): 10_000 * ONE}}, "the purse"),
        ({"allowances": {asset(2): 10_000 * ONE}}, "allowance"),
        ({}, "the limits"),
    ],
)
def test_purse_allowance_and_limits_bound_it(limits: dict[str, Any], words: str) -> None:
    found = sick()
    most = MOST if limits else MOST | {asset(2): 10_000 * ONE}
    best = ask(found, purse(found, **limits), most=most).bids[0]
    assert best.last.paid == best.first.paid == 10_000 * ONE
    assert best.last.collateral.symbol == "T1", "where the purse is what is short, the larger bonus is worth more"
    none = {name: {asset(2): 0} for name in limits}
    nothing = ask(found, purse(found, **none), most=most if limits else {asset(2): 0})
    assert nothing.bids == ()
    assert words in reasons(nothing)["T2 for T0"]


def test_an_asset_without_limits_is_not_used() -> None:
    assert "no limits are set for T2" in reasons(ask(sick(), most={}))["T2 for T0"]
    assert "T2 is not to be paid" in reasons(ask(sick(), debts=(asset(0),)))["T2 for T0"]
    only = ask(sick(), collaterals=(asset(1),))
    assert [bid.last.collateral.symbol for bid in only.bids] == ["T1"]
    assert "T0 is not wanted" in reasons(only)["T2 for T0"]


def test_no_dust_is_left_where_the_purse_cannot_cover_all() -> None:
    """3.3 and later: 1,000 of debt must stay unless nothing does."""
    held = [
        reserve(0, 150_000 * ONE, word_={"decimals": 8}),
        reserve(1, 10_000 * ONE, word_={"decimals": 8}),
        reserve(2, 0, 140_000 * ONE, word_={"decimals": 8}),
    ]
    found = position("3.6", held, [ONE] * 3)
    nearly = 140_000 * ONE - 1
    best = ask(found, purse(found, balances={asset(2): nearly})).bids[0]
    assert best.last.paid == 139_000 * ONE
    assert PROTOCOL.liquidated(best.last, best.last.paid + 1, context(found), NOW_S).refused.startswith("MustNotLeave")
    old = replace(found, rule=replace(found.rule, version="3.0"))
    assert ask(old, purse(old, balances={asset(2): nearly})).bids[0].last.paid == nearly


def test_what_is_not_known_is_not_planned() -> None:
    unread = ask(sick(), context_=None)
    assert unread.bids == ()
    assert "not known to be possible" in reasons(unread)["T2 for T0"]
    broken = replace(sick(), prices={})
    assert "unknown health" in ask(broken, purse(sick())).note
    found = sick()
    poor = replace(purse(found), reserves=tuple(replace(one, balance=None) for one in purse(found).reserves))
    assert "could not be read" in reasons(ask(found, poor))["T2 for T0"]


def test_the_healthy_are_left_alone() -> None:
    well = sick(owed=90_000)
    found = ask(well)
    assert found.bids == ()
    assert "is not below 1" in found.note
    assert set(reasons(found).values()) == {"HealthFactorNotBelowThreshold: the health factor is not below 1"}
    nobody = position("3.6", [reserve(0, 5)], [ONE])
    assert ask(nobody).bids == ()
    assert "debt" in ask(nobody).note


def test_nobody_liquidates_themselves() -> None:
    found = sick()
    own = replace(purse(found), guardian=OWNER)
    assert all("SelfLiquidation" in reason for reason in reasons(ask(found, own)).values())


def test_other_protocols_have_none_yet() -> None:
    unused: Any = None
    assert LIQUITY.liquidations(unused, sick(), None, None, NOW_S) == []


def test_writing_bad_debt_off_takes_more_gas() -> None:
    held = [
        reserve(0, 10_000 * ONE, word_={"decimals": 8}),
        reserve(1, 0, 20_000 * ONE, word_={"decimals": 8}),
        reserve(2, 0, 20_000 * ONE, word_={"decimals": 8}),
    ]
    found = position("3.6", held, [ONE] * 3)
    assert {bid.limits.gas for bid in ask(found).bids} == {GAS + GAS_OF_BAD_DEBT}
    old = replace(found, rule=replace(found.rule, version="3.0"))
    assert {bid.limits.gas for bid in ask(old).bids} == {GAS}


class TestStillWorth:
    """The very intent, judged again by a newer position."""

    def why(self, found: Position, bid: Bid, **terms: Any) -> str:
        version = found.rule.version
        around, rules = context(found), replace(TERMS, **terms)
        return still_worth(PROTOCOL, facts(version), found, purse(found), around, bid.intent, rules)

    def test_it_is_as_long_as_nothing_changes(self) -> None:
        [best, _] = ask(sick()).bids
        assert self.why(sick(), best) == ""

    def test_not_for_one_who_is_well_again(self) -> None:
        [best, _] = ask(sick()).bids
        assert self.why(sick(owed=90_000), best).startswith("HealthFactorNotBelowThreshold")

    def test_not_when_the_profit_is_gone(self) -> None:
        [best, _] = ask(sick()).bids
        fallen = replace(sick(), prices={**sick().prices, asset(0): ONE, asset(2): ONE})
        assert "is not above" in self.why(fallen, best, haircut_bps=600)
        assert "is not above" in self.why(fallen, best, native_price=10**8 * ONE)

    def test_not_when_the_collateral_is_gone(self) -> None:
        [best, _] = ask(sick()).bids
        held = [one for one in sick().state.reserves if one.asset != asset(0)]
        gone = position("3.6", held, [ONE] * 2, user_configuration=bitmap([1], [2]))
        assert "no such collateral" in self.why(gone, best)


def test_a_profit_counts_what_the_contract_would_really_move() -> None:
    """No moment of the window brings less than is promised, and hardly more is left out."""
    growing = sick()
    debt = replace(growing.state.reserves[2], variable_borrow_rate=RAY // 5)
    growing = replace(growing, state=replace(growing.state, reserves=(*growing.state.reserves[:2], debt)))
    for price in (ONE, 97_312 * ONE):
        found = replace(growing, prices={**growing.prices, asset(2): ONE, asset(0): price})
        for bid in ask(found, margin_s=600).bids:
            made = [
                profit_of(PROTOCOL.liquidated(bid.last, bid.last.amount, context(found), NOW_S + second), TERMS).net
                for second in range(1, 601)
            ]
            assert bid.profit.net <= min(made)
            assert bid.profit.net >= min(made) * 999 // 1000
    best = ask(sick()).bids[0]
    assert (best.first.at_s, best.last.at_s) == (NOW_S + 1, NOW_S + 60)


@pytest.mark.parametrize("version", ["3.0", "3.6"])
def test_the_loss_that_a_rescue_avoids_is_the_bonus_on_all_of_the_debt(version: str) -> None:
    # T1's bonus is the larger one: 50,000 / 1.08 at 8 %, the rest of the 130,000 at 5 % until T0 is used up
    covered = 50_000 * ONE * 10_000 // 10_800
    rest = min(130_000 * ONE - covered, 100_000 * ONE * 10_000 // 10_500)
    expected = covered * 800 // 10_000 + rest * 500 // 10_000
    assert PROTOCOL.liquidation_loss(sick(version)) == expected
    assert PROTOCOL.liquidation_loss(position(version, [reserve(0, 5)], [ONE])) == 0
    assert PROTOCOL.liquidation_loss(replace(sick(version), prices={})) == 0
