"""What the guard does when it acts, to the wei, on the real pool and the real exchange."""

from __future__ import annotations

from dataclasses import replace

import pytest

from monitor.testing import aave_v3, guard, uniswap
from monitor.testing.aave_v3_listing import ETH_EMODE
from monitor.testing.devchain import MAX_UINT256
from monitor.testing.guard import CLOSE, FLASH_PREMIUM_BPS
from tests.guard.attacks_in_flight import DEAF, FEE, NO_ZERO, SILENT, STRICT
from tests.guard.scene import CONSENT, DONE, POSITIONS, WAD, Action, Scene, open_position

pytestmark = pytest.mark.anvil
BOTH = pytest.mark.parametrize("scene", ["3.0", "3.6"], indirect=True)
EVERY_POSITION = pytest.mark.parametrize("label", POSITIONS)
USDC = 10**6
DAY_S = 86_400


def premium(scene: Scene, amount: int) -> int:
    """percentMul of 3.0 rounds half up, percentMulCeil of 3.6 up."""
    return (amount * FLASH_PREMIUM_BPS + (9_999 if scene.market.version == "3.6" else 5_000)) // 10_000


def cost(scene: Scene, collateral: str, debt: str, repaid: int) -> int:
    """Collateral that must be sold, as the quoter has it."""
    needed = repaid + premium(scene, repaid)
    if collateral == debt:
        return needed
    return uniswap.quote_exact_output(scene.chain, scene.site.exchange, scene.market, collateral, debt, needed)


@BOTH
@EVERY_POSITION
@pytest.mark.parametrize("closing", [False, True], ids=["deleverage", "close"])
def test_every_wei_is_accounted_for(scene: Scene, label: str, closing: bool) -> None:
    (collateral, _), (debt, _), repay = POSITIONS[label]
    sold_from, owed, owner = scene.market.reserves[collateral], scene.market.reserves[debt], scene.account(label)
    before_wad = scene.health(label)
    wallets = [scene.balance(asset, owner) for asset in (sold_from.asset, owed.asset)]
    had = scene.balance(sold_from.a_token, owner)
    pools = [scene.balance(reserve.asset, reserve.a_token) for reserve in (sold_from, owed)]

    assert (scene.close(label) if closing else scene.deleverage(label)) == DONE

    of, action_id, (kind, debt_at, repaid, collateral_at, sold, health_before, health_after) = scene.acted()
    assert (of, action_id) == (owner, b"\x01" * 32)
    assert (kind, debt_at, collateral_at) == (2 if closing else 1, owed.asset, sold_from.asset)
    assert abs(health_before - before_wad) < 10**12  # a second's interest
    assert health_after == scene.health(label)
    if closing:
        assert (health_after, scene.balance(owed.v_token, owner)) == (MAX_UINT256, 0)
    else:
        assert repaid == repay
        assert CONSENT.low_wad <= health_after <= CONSENT.high_wad
    # the pools of both assets have changed by the repayment, the premium and the sale, and by nothing else
    paid = repaid + premium(scene, repaid)
    moved = [scene.balance(reserve.asset, reserve.a_token) for reserve in (sold_from, owed)]
    if collateral == debt:
        assert sold == paid
        assert moved[0] - pools[0] == repaid + premium(scene, repaid) - sold
    else:
        assert [moved[0] - pools[0], moved[1] - pools[1]] == [-sold, paid]
    # the change went back into the position, to two units of rounding; some seconds of interest came on top, and where
    # it is the same pool a share of the premium, which 3.0 gives to those who supply
    gained = scene.balance(sold_from.a_token, owner) - (had - sold)
    shared = premium(scene, repaid) if collateral == debt else 0
    assert -2 <= gained <= had // 10**8 + 2 + shared
    assert [scene.balance(asset, owner) for asset in (sold_from.asset, owed.asset)] == wallets
    assert scene.left_behind() == []


@pytest.mark.parametrize("scene", ["3.0"], indirect=True)
def test_stable_debt_is_repaid_where_no_variable_debt_is(scene: Scene) -> None:
    """Until 3.1 one asset can be owed in both ways; an action repays one of them."""
    owed, owner = scene.market.reserves["USDC"], scene.account("owner")
    tokens = "getReserveTokensAddresses(address)", "(address,address,address)"
    _, stable, _ = scene.chain.call(scene.market.data_provider, *tokens, owed.asset)
    scene.send(owner, scene.market.pool, "swapBorrowRateMode(address,uint256)", owed.asset, 2)
    borrow = "borrow(address,uint256,uint256,uint16,address)"
    scene.send(owner, scene.market.pool, borrow, owed.asset, 100 * USDC, 2, 0, owner)
    stable_before = scene.balance(stable, owner)
    assert stable_before >= 29_000 * USDC
    assert scene.close() == DONE
    assert scene.balance(owed.v_token, owner) == 0
    assert stable_before <= scene.balance(stable, owner) < stable_before + USDC
    assert scene.deleverage(action_id=b"\x02" * 32) == DONE
    _, _, (_, _, repaid, _, _, _, health_after) = scene.acted()
    assert repaid == 14_000 * USDC
    assert CONSENT.low_wad <= health_after <= CONSENT.high_wad
    assert 0 < scene.balance(stable, owner) < stable_before - repaid + USDC
    assert scene.close(action_id=b"\x03" * 32) == DONE
    assert scene.health("owner") == MAX_UINT256
    assert scene.left_behind() == []


@BOTH
def test_a_position_in_an_e_mode(scene: Scene) -> None:
    """Health counts with the category's threshold, and the guard asks the pool for it."""
    market, label = scene.market, "owner in an e-mode"
    owner = scene.account(label)
    uniswap.add_pools(scene.chain, scene.site.exchange, market, [("wstETH", "WETH")])
    scene.send(owner, market.pool, "setUserEMode(uint8)", ETH_EMODE)
    open_position(scene, label, ("wstETH", 20 * WAD), ("WETH", 19 * WAD))
    scene.consent(label, collateral="wstETH")
    assert scene.health(label) < 115 * WAD // 100
    action = Action(owner, "wstETH", "WETH", 11 * WAD, sender=scene.account("keeper"))
    assert scene.run(replace(action, router=scene.site.exchange.router)) == DONE
    assert CONSENT.low_wad < scene.health(label) < CONSENT.high_wad
    assert scene.left_behind() == []


@BOTH
def test_the_trade_costs_what_the_quoter_said(scene: Scene) -> None:
    expected = cost(scene, "WETH", "USDC", 14_000 * USDC)
    assert scene.deleverage(max_collateral=expected) == DONE
    assert scene.acted()[2][4] == expected


def test_a_caller_may_only_tighten_what_is_sold(scene: Scene) -> None:
    expected = cost(scene, "WETH", "USDC", 14_000 * USDC)
    assert scene.deleverage(max_collateral=expected - 1) == "STF"
    assert scene.deleverage(max_collateral=expected) == DONE


@BOTH
def test_change_that_the_pool_refuses_goes_to_the_wallet(scene: Scene) -> None:
    aave_v3.set_frozen(scene.chain, scene.market, "WETH", True)
    had, expected = (
        scene.balance(scene.asset("WETH"), scene.account("owner")),
        cost(scene, "WETH", "USDC", 14_000 * USDC),
    )
    price, base = scene.price_e8("WETH"), 14_000 * scene.price_e8("USDC")
    limit = base * 10_100 * WAD // (10_000 * price)
    assert scene.deleverage() == DONE
    back = scene.balance(scene.asset("WETH"), scene.account("owner")) - had
    assert abs(back - (limit - expected)) <= 1  # aTokens arrive to the nearest unit
    assert scene.left_behind() == []


def test_what_strangers_left_here_does_not_stop_it(scene: Scene) -> None:
    """Tokens stay as they are; aTokens of the collateral go to the owner who acts."""
    market, there = scene.market, scene.site.guard
    scene.send(market.admin, scene.asset("WETH"), "mint(address,uint256)", there, 3)
    scene.send(market.admin, scene.asset("USDC"), "mint(address,uint256)", there, 4)
    scene.send(market.lender, market.reserves["WETH"].a_token, "transfer(address,uint256)", there, WAD)
    had = scene.balance(market.reserves["WETH"].a_token, scene.account("owner"))
    assert scene.deleverage() == DONE
    assert [scene.balance(scene.asset(symbol), there) for symbol in ("WETH", "USDC")] == [3, 4]
    assert scene.balance(market.reserves["WETH"].a_token, there) == 0
    sold = scene.acted()[2][4]
    got = scene.balance(market.reserves["WETH"].a_token, scene.account("owner")) - had + sold
    assert abs(got - WAD) < WAD // 10**6


def test_the_owner_needs_no_permission(scene: Scene) -> None:
    assert scene.deleverage(sender=scene.account("owner")) == DONE


def test_the_deadline_is_the_last_second_that_counts(scene: Scene) -> None:
    with scene.undone():
        assert scene.deleverage(deadline=scene.chain.timestamp()) != DONE
    assert scene.deleverage(deadline=scene.chain.timestamp() + 1) == DONE


@BOTH
def test_without_the_owners_allowance_nothing_moves(scene: Scene) -> None:
    a_token = scene.market.reserves["WETH"].a_token
    scene.send(scene.account("owner"), a_token, "approve(address,uint256)", scene.site.guard, 0)
    assert scene.deleverage() != DONE
    assert scene.deleverage("odd collateral") == DONE


def test_a_failed_action_leaves_its_id_and_the_day_unspent(scene: Scene) -> None:
    had = scene.chain.call(scene.site.guard, "allowed_today(address)", "(uint256)", scene.account("owner"))
    assert scene.deleverage(amount=1_000 * USDC) == "BAND_LOW"
    assert scene.chain.call(scene.site.guard, "allowed_today(address)", "(uint256)", scene.account("owner")) == had
    assert scene.deleverage() == DONE


def test_tokens_that_answer_nothing_are_fine(scene: Scene) -> None:
    scene.behave(SILENT)
    assert scene.deleverage("odd collateral") == DONE
    assert scene.deleverage("odd debt") == DONE


def test_tokens_that_ignore_an_approval_of_zero_are_fine_when_nothing_is_left(scene: Scene) -> None:
    scene.behave(DEAF)
    expected = cost(scene, "ODD", "USDC", 14_000 * USDC)
    assert scene.deleverage("odd collateral", max_collateral=expected) == DONE


def test_tokens_that_want_an_approval_taken_back_first_are_fine(scene: Scene) -> None:
    scene.behave(STRICT)
    assert scene.deleverage("odd collateral") == DONE
    assert scene.deleverage("odd debt") == DONE


def test_tokens_that_refuse_an_approval_of_zero_need_an_exact_limit(scene: Scene) -> None:
    """What the router leaves of its allowance could not be taken back, so there must be nothing to leave."""
    scene.behave(NO_ZERO)
    expected = cost(scene, "ODD", "USDC", 14_000 * USDC)
    assert scene.deleverage("odd collateral") == "no zero"
    assert scene.deleverage("odd collateral", max_collateral=expected) == DONE
    assert scene.deleverage("odd debt") == DONE


@pytest.mark.parametrize("label", ["odd collateral", "odd debt"])
def test_a_fee_on_transfer_is_refused(scene: Scene, label: str) -> None:
    """The exchange gets too little, or the pool does: whoever finds it first says so, and nothing has moved."""
    scene.behave(FEE)
    assert scene.deleverage(label) != DONE
    assert scene.left_behind() == []


def test_an_empty_flash_source_still_says_so_to_a_close(scene: Scene) -> None:
    there = scene.balance(scene.asset("USDC"), scene.market.reserves["USDC"].a_token)
    withdraw = "withdraw(address,uint256,address)"
    lender = scene.market.lender
    scene.send(lender, scene.market.pool, withdraw, scene.asset("USDC"), there - 28_999 * USDC, lender)
    assert scene.close() == "FLASH_SOURCE"


def test_no_twenty_four_hours_see_more_than_the_cap(scene: Scene) -> None:
    """Just before midnight and just after are one day too."""
    guard_at, owner = scene.site.guard, scene.account("owner")
    scene.consent("owner", replace(CONSENT, daily_cap_e8=20_000 * 10**8))
    price = scene.price_e8("USDC")

    def allowed() -> int:
        return int(scene.chain.call(guard_at, "allowed_today(address)", "(uint256)", owner)[0])

    def at(second_of_day: int, days: int) -> None:
        midnight = scene.chain.timestamp() // DAY_S * DAY_S
        scene.chain.set_next_timestamp(midnight + days * DAY_S + second_of_day)

    at(DAY_S - 10, 1)
    assert scene.deleverage(amount=14_000 * USDC) == DONE
    assert allowed() == 20_000 * 10**8 - 14_000 * price
    aave_v3.shock(scene.chain, scene.market, {"WETH": "-20%"})
    uniswap.arbitrage(scene.chain, scene.site.exchange, scene.market, [("WETH", "USDC")])
    at(10, 1)
    scene.chain.mine()
    assert allowed() == 20_000 * 10**8 - 14_000 * price
    with scene.undone():
        assert scene.deleverage(action_id=b"\x02" * 32, amount=7_000 * USDC) == "CAP"
    assert scene.close(action_id=b"\x03" * 32) == "CAP"
    at(10, 1)
    scene.chain.mine()
    assert allowed() == 20_000 * 10**8
    assert scene.deleverage(action_id=b"\x02" * 32, amount=7_000 * USDC) == DONE
    assert allowed() == 20_000 * 10**8 - 7_000 * price


def test_the_band_is_exact_at_both_ends(scene: Scene) -> None:
    """The health that this repayment leaves is allowed when it is the bound, and refused when it is one beyond."""
    owner, keeper = scene.account("owner"), scene.account("keeper")
    with scene.undone():
        then = scene.chain.timestamp() + 20
        scene.chain.set_next_timestamp(then)
        assert scene.deleverage() == DONE
        health = scene.acted()[2][6]
    for bound, allowed in ((health, True), (health + 1, False), (health - 1, False)):
        with scene.undone():
            terms = replace(CONSENT, low_wad=bound, high_wad=bound, collateral=("WETH",))
            guard.consent(scene.chain, scene.market, scene.site, owner, keeper, terms)
            action = scene.action()
            scene.chain.set_next_timestamp(then)
            # which bound it met is asked of the block before, where the debt is a second younger
            assert scene.run(action) in ({DONE} if allowed else {"BAND_LOW", "BAND_HIGH"})


def test_new_settings_are_what_the_views_say(scene: Scene) -> None:
    owner, there = scene.account("owner"), scene.site.guard
    words = "(uint256,uint256,uint256,uint256,uint256,uint256,bool)"
    scene.send(owner, there, "set_paused(bool)", True)
    (kept,) = scene.chain.call(there, "settings(address)", f"({words})", owner)
    assert kept == (
        CONSENT.trigger_wad,
        CONSENT.close_below_wad,
        CONSENT.low_wad,
        CONSENT.high_wad,
        CONSENT.max_slippage_bps,
        CONSENT.daily_cap_e8,
        True,
    )
    scene.send(owner, there, "set_paused(bool)", False)
    assert scene.deleverage(signature=CLOSE, amount=MAX_UINT256) == DONE
    router = scene.site.exchange.router
    (code,) = scene.chain.call(there, "code_hash_of(address)", "(bytes32)", router)
    assert code == guard.code_hash(scene.chain, router)
    assert scene.chain.call(there, "router_code_hash(address,address)", "(bytes32)", owner, router) == (code,)
    assert scene.chain.call(there, "is_caller(address,address)", "(bool)", owner, scene.account("keeper")) == (True,)
    assert scene.chain.call(there, "used(address,bytes32)", "(bool)", owner, b"\x01" * 32) == (True,)
    assert scene.chain.call(there, "POOL()", "(address)") == (scene.market.pool,)
