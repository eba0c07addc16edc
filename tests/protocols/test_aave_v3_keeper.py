"""Liquidations as a keeper meets them: by which error a pair is refused, in which order, and what it would move."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from monitor.core.guarding import GuardSetup
from monitor.core.liquidations import Liquidation
from monitor.core.types import Position
from monitor.core.units import UINT256_MAX
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.records import Category, Context, ReserveContext
from monitor.protocols.base import Impossible
from tests.protocols.aave_v3_positions import NOW_S, OWNER, asset, bitmap, context, position, reserve
from tests.protocols.aave_v3_purses import POOL, facts, purse

E8 = 10**8
SENTINEL = "0x00000000000000000000000000000000000000EE"
UNHEALTHY, HEALTHY = 80_000 * E8 * 100 // 99, 79_999 * E8


def account(owed: int = UNHEALTHY, version: str = "3.6", **words: dict[str, Any]) -> Position:
    """100,000 of T0 at 80 % against `owed` of T1, all at a price of one."""
    held = [reserve(0, 100_000 * E8, word_=words.get("collateral", {}))]
    return position(version, [*held, reserve(1, 0, owed, word_=words.get("debt", {}))], [1, 1])


def pairs(found: Position, context_: Any = "all open", purse_: Any = None) -> list[Liquidation]:
    around = context(found) if context_ == "all open" else context_
    return PROTOCOL.liquidations(facts(found.rule.version), found, purse_ or purse(found), around, NOW_S)


def only(found: Position, context_: Any = "all open", purse_: Any = None) -> Liquidation:
    [pair] = pairs(found, context_, purse_)
    return pair


def nothing_moves(pair: Liquidation) -> bool:
    return (pair.paid, pair.received, pair.protocol_fee) == (0, 0, 0)


# -- by which error ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("owed", [UNHEALTHY, HEALTHY])
@pytest.mark.parametrize(
    ("words", "error"),
    [({"active": False}, "ReserveInactive: "), ({"paused": True}, "ReservePaused: ")],
)
def test_a_closed_reserve_is_met_before_health(owed: int, words: dict[str, Any], error: str) -> None:
    for side in ("collateral", "debt"):
        pair = only(account(owed, **{side: words}))  # type: ignore[arg-type]
        assert pair.refused.startswith(error)
        assert nothing_moves(pair)


def with_sentinel(owed: int) -> Position:
    found = account(owed)
    return replace(found, state=replace(found.state, sentinel=SENTINEL))


@pytest.mark.parametrize("owed", [UNHEALTHY, HEALTHY])
def test_sentinel_and_grace_are_met_before_health(owed: int) -> None:
    held_back = with_sentinel(owed)
    assert only(held_back, context(held_back, sentinel=False)).refused.startswith("PriceOracleSentinelCheckFailed: ")
    graced = account(owed)
    pair = only(graced, context(graced, grace=NOW_S + 1))
    assert pair.refused.startswith("LiquidationGraceSentinelCheckFailed: ")
    assert nothing_moves(pair)


def test_health_is_met_before_the_pair() -> None:
    """Exactly one is healthy, and one unit of debt more is not."""
    refused = "HealthFactorNotBelowThreshold: the health factor is not below 1"
    assert only(account(80_000 * E8)).refused == refused
    assert only(account(80_000 * E8 + 80_000)).refused == ""
    off = position(
        "3.6",
        [reserve(0, 10**13), reserve(1, 10**13), reserve(2, 0, 10**12)],
        [1] * 3,
        user_configuration=bitmap([0], [2]),
    )
    assert [pair.refused for pair in pairs(off)] == [refused] * 2


def test_what_is_no_collateral_is_refused_where_the_account_is_sick() -> None:
    held = [reserve(0, 10**13), reserve(1, 10**13), reserve(2, 0, 10**13)]
    found = position("3.6", held, [1] * 3, user_configuration=bitmap([0], [2]))
    good, off = pairs(found)
    assert good.refused == ""
    assert off.collateral.symbol == "T1"
    assert off.refused.startswith("CollateralCannotBeLiquidated: ")
    assert nothing_moves(off)


def test_enabled_without_a_deposit_is_a_pair_and_borrowed_without_debt_too() -> None:
    held = [reserve(0, 10**13), reserve(1), reserve(2, 0, 10**13), reserve(3)]
    found = position("3.6", held, [1] * 4, user_configuration=bitmap([0, 1], [2, 3]))
    named = {(pair.collateral.symbol, pair.debt.symbol): pair.refused for pair in pairs(found)}
    assert set(named) == {(one, other) for one in ("T0", "T1") for other in ("T2", "T3")}
    assert named["T0", "T2"] == ""
    assert named["T0", "T3"].startswith("SpecifiedCurrencyNotBorrowedByUser: ")


def test_dust_and_what_rounds_to_nothing_have_their_errors() -> None:
    found = account(80_000 * E8 * 100 // 90)
    usd = replace(found, prices={asset(0): 1, asset(1): 1})
    whole = only(usd)
    dust = PROTOCOL.liquidated(whole, whole.paid - 1, context(usd), NOW_S)
    assert dust.refused.startswith("MustNotLeaveDust: ")
    assert nothing_moves(dust)
    held = [reserve(0, 10**6, word_={"bonus": 10_000}), reserve(1, 0, 10**9), reserve(2, 0, 1)]
    tiny = position("3.6", held, [1000, 1000, 1])
    rounded = {pair.debt.symbol: pair.refused for pair in pairs(tiny)}
    assert rounded["T2"] == "InvalidBurnAmount: the collateral to seize rounds to 0"


def test_a_gate_without_an_error_of_its_own_is_told_by_what_is_behind_it() -> None:
    found = account()
    needed = only(found).received
    short = Context(True, tuple(ReserveContext(asset(n), 0, needed, needed) for n in (0, 1)))
    pair = only(found, replace(short, reserves=(ReserveContext(asset(0), 0, 1, 1), short.reserves[1])))
    assert pair.refused.startswith("T0 has 1 of ")


def test_what_could_not_be_read_is_no_refusal() -> None:
    pair = only(account(), None)
    assert pair.refused == ""
    assert "liquidity" in pair.unread
    assert pair.paid > 0


# -- what it moves -----------------------------------------------------------------------------------------------------


def test_the_contract_takes_all_that_is_asked_and_the_maximum_is_told_exactly() -> None:
    found = account(debt={"fee": 0}, collateral={"fee": 1_000})
    whole = only(found)
    assert whole.intent.to == POOL
    assert whole.amount == whole.intent.args["debtToCover"] == whole.paid
    assert whole.protocol_fee > 0
    most = PROTOCOL.liquidated(whole, UINT256_MAX, context(found), NOW_S)
    assert (most.paid, most.amount, most.refused) == (whole.paid, whole.paid, "")
    more = PROTOCOL.liquidated(whole, whole.paid + 10**30, context(found), NOW_S)
    assert (more.paid, more.amount) == (whole.paid, whole.paid + 10**30), "what is asked for is what is signed"
    less = PROTOCOL.liquidated(whole, 10_000 * E8, context(found), NOW_S)
    assert (less.paid, less.amount) == (10_000 * E8, 10_000 * E8)
    assert 0 < less.received < whole.received
    least = PROTOCOL.liquidated(whole, 1, context(found), NOW_S)
    assert least.amount == 1
    for wrong in (0, -1, UINT256_MAX + 1):
        with pytest.raises(Impossible, match="is nothing to pay"):
            PROTOCOL.liquidated(whole, wrong, context(found), NOW_S)


def test_a_purse_does_not_liquidate_itself() -> None:
    found = account()
    own = replace(purse(found), guardian=OWNER)
    pair = only(found, purse_=own)
    assert pair.refused.startswith("SelfLiquidation: ")
    assert nothing_moves(pair)
    # what a pair once moved is no part of it when it is refused at another moment
    good = only(found)
    gone = PROTOCOL.liquidated(good, good.paid, context(found, grace=NOW_S + 9), NOW_S)
    assert gone.refused
    assert nothing_moves(gone)


def test_what_a_flash_loan_is_told() -> None:
    pair, trade = only(account()), GuardSetup(asset(7), asset(8), asset(9), (500,))
    intent = PROTOCOL.flash_liquidation(pair, trade, 500, 7, NOW_S + 60)
    assert (intent.kind, intent.to, intent.owner) == ("aave-v3/liquidate-flash", asset(7), OWNER)
    assert intent.args == {
        "collateral": asset(0),
        "debt": asset(1),
        "cover": pair.amount,
        "min_profit": 7,
        "deadline": NOW_S + 60,
        "router": asset(8),
        "fee": 500,
    }


def test_gas_grows_with_the_debts_that_are_written_off() -> None:
    held = [reserve(0, 10**12), reserve(1, 0, 10**13), reserve(2, 0, 10**12), reserve(3, 0, 10**12)]
    found = position("3.6", held, [1] * 4)
    assert {pair.debt.symbol: pair.gas for pair in pairs(found)}["T1"] == 700_000 + 2 * 200_000
    assert only(account()).gas == 700_000


def test_an_asset_is_sold_at_its_own_price_and_else_at_its_categorys() -> None:
    source = asset(40)
    category = Category(1, 9_000, 9_300, 10_100, source)
    held = [reserve(0, 10**13, word_={"category": 1}), reserve(1, 0, 10**14, word_={"category": 1})]
    found = position("3.0", held, {asset(0): 7, asset(1): 5, source: 3}, category)
    assert (only(found).collateral.price, only(found).debt.price) == (7, 5)
    for gone, prices in ((asset(0), (3, 5)), (asset(1), (7, 3))):
        left = {key: price for key, price in found.prices.items() if key != gone}
        pair = only(replace(found, prices=left), purse_=purse(found))
        assert (pair.collateral.price, pair.debt.price) == prices


# -- what liquidators would take ---------------------------------------------------------------------------------------


def loss(found: Position) -> int:
    return PROTOCOL.liquidation_loss(found)


def test_the_largest_bonus_goes_first_until_no_debt_is_left() -> None:
    held = [
        reserve(0, 50_000 * E8, word_={"bonus": 10_500}),
        reserve(1, 22_000 * E8, word_={"bonus": 11_000}),
        reserve(2, 0, 30_000 * E8),
    ]
    found = position("3.6", held, [1] * 3)
    # all of T1 covers 20,000 and loses 2,000; the rest of the debt is 10,000 and loses 500
    assert loss(found) == 2_500 * E8
    enough = replace(found, state=replace(found.state, reserves=(*held[:2], reserve(2, 0, 5_000 * E8))))
    assert loss(enough) == 500 * E8


def test_what_is_no_collateral_loses_nothing() -> None:
    held = [
        reserve(0, 50_000 * E8, word_={"bonus": 10_500}),
        reserve(1, 22_000 * E8, word_={"bonus": 11_000}),
        reserve(2, 22_000 * E8, word_={"bonus": 12_000, "threshold": 0}),
        reserve(3, 0, 30_000 * E8),
    ]
    found = position("3.6", held, [1] * 4, user_configuration=bitmap([0, 2], [3]))
    assert loss(found) == 1_500 * E8
    # without a bonus nothing is lost either, and what comes after has none at all
    plain = reserve(0, 50_000 * E8, word_={"bonus": 10_000})
    assert loss(replace(found, state=replace(found.state, reserves=(plain, *held[1:])))) == 0
