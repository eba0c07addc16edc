"""Attacks by calling: strangers, thieves of the keeper's key, bad moments, bad prices, bad routers."""

from __future__ import annotations

from dataclasses import replace

from monitor.testing import aave_v3, uniswap
from monitor.testing.devchain import MAX_UINT256, Transaction
from tests.guard.attack_table import CONFIGURE, USDC, attack
from tests.guard.scene import CONSENT, DONE, PAIRS, WAD, Scene
from tests.guard.switches import LIMIT

SAME_ID = b"\x07" * 32


# ------------------------------------------------------------------------------------------------- settings


@attack("ORDER")
def band_under_the_trigger(s: Scene) -> str:
    args = (12 * WAD // 10, 0, 11 * WAD // 10, 16 * WAD // 10, 100, 10**20)
    return s.outcome(Transaction(s.account("owner"), s.site.guard, CONFIGURE, args))


@attack("SLIPPAGE_LIMIT")
def slippage_beyond_ten_percent(s: Scene) -> str:
    args = (WAD, 0, WAD, 2 * WAD, 1_001, 10**20)
    return s.outcome(Transaction(s.account("owner"), s.site.guard, CONFIGURE, args))


# -------------------------------------------------------------------------------------------- who, when, how often


@attack("CALLER")
def stranger(s: Scene) -> str:
    return s.deleverage(sender=s.account("stranger"))


@attack("CALLER")
def caller_of_another_owner(s: Scene) -> str:
    s.send(s.account("stranger"), s.site.guard, "set_caller(address,bool)", s.account("mallory"), True)
    return s.deleverage(sender=s.account("mallory"))


@attack("CALLER")
def dismissed_caller(s: Scene) -> str:
    s.send(s.account("owner"), s.site.guard, "set_caller(address,bool)", s.account("keeper"), False)
    return s.deleverage()


@attack("PAUSED")
def paused(s: Scene) -> str:
    s.send(s.account("owner"), s.site.guard, "set_paused(bool)", True)
    return s.deleverage()


@attack("PAUSED")
def paused_before_new_settings(s: Scene) -> str:
    s.send(s.account("owner"), s.site.guard, "set_paused(bool)", True)
    s.consent("owner")
    return s.deleverage()


@attack("DEADLINE")
def too_late(s: Scene) -> str:
    return s.deleverage(deadline=s.chain.timestamp() - 1)


@attack("USED")
def replayed(s: Scene) -> str:
    return _twice(s)


@attack("spend the id", "USED")
def replayed_if_forgotten(s: Scene) -> str:
    return _twice(s)


def _twice(s: Scene) -> str:
    s.deleverage(action_id=SAME_ID)
    _fall(s)
    return s.deleverage(action_id=SAME_ID, amount=7_000 * USDC)


def _fall(s: Scene) -> None:
    """WETH loses a fifth, at the oracle and on the exchange."""
    aave_v3.shock(s.chain, s.market, {"WETH": "-20%"})
    uniswap.arbitrage(s.chain, s.site.exchange, s.market, PAIRS)


@attack("CAP")
def more_than_a_day_allows(s: Scene) -> str:
    return _over_the_cap(s)


@attack("book the day", "CAP")
def more_than_a_day_allows_if_forgotten(s: Scene) -> str:
    return _over_the_cap(s)


def _over_the_cap(s: Scene) -> str:
    s.consent("owner", replace(CONSENT, daily_cap_e8=20_000 * 10**8))
    s.deleverage()
    _fall(s)
    return s.deleverage(action_id=SAME_ID, amount=7_000 * USDC)


# ---------------------------------------------------------------------------------------- a position in no need


@attack("TRIGGER")
def healthy_position(s: Scene) -> str:
    aave_v3.shock(s.chain, s.market, {"WETH": "+10%"})
    return s.deleverage(amount=7_000 * USDC)


@attack("TRIGGER")
def owner_without_settings(s: Scene) -> str:
    s.send(s.account("owner"), s.site.guard, CONFIGURE, 0, 0, 0, MAX_UINT256, 1_000, 10**20)
    return s.deleverage()


@attack("CLOSE_BELOW")
def closed_too_early(s: Scene) -> str:
    s.consent("owner", replace(CONSENT, close_below_wad=11 * WAD // 10))
    return s.close()


@attack("CLOSE_BELOW")
def never_to_be_closed(s: Scene) -> str:
    s.consent("owner", replace(CONSENT, close_below_wad=0))
    return s.close()


@attack("NOTHING")
def nothing_repaid(s: Scene) -> str:
    return s.deleverage(amount=0)


@attack("BAND_LOW")
def too_little(s: Scene) -> str:
    return s.deleverage(amount=1_000 * USDC)


@attack("BAND_HIGH")
def too_much(s: Scene) -> str:
    return s.deleverage(amount=25_000 * USDC)


@attack("REPAID")
def more_than_is_owed(s: Scene) -> str:
    return s.deleverage(amount=29_500 * USDC)


@attack("no more than max_repay", f"{DONE}, {20_000 * USDC} repaid")
def more_debt_than_was_signed_for(s: Scene) -> str:
    return f"{s.close(amount=20_000 * USDC)}, {s.acted()[2][2]} repaid"


# ------------------------------------------------------------------------------------------------- price and trade


@attack("PRICE")
def oracle_without_a_price(s: Scene) -> str:
    """The market's oracle is replaced, and the guard asks the new one."""
    s.send(s.account("stranger"), s.rogue, "be_oracle(address,address)", s.market.oracle, s.asset("WETH"))
    s.send(s.market.admin, s.market.provider, "setPriceOracle(address)", s.rogue)
    return s.deleverage()


@attack(LIMIT, "STF")
def sandwiched(s: Scene) -> str:
    """Somebody sells a lot before us; the caller set no limit. The exchange finds its allowance too small."""
    exchange, amount = s.site.exchange, 10**5 * WAD
    sale = (s.asset("WETH"), s.asset("USDC"), uniswap.FEE, exchange.arbitrageur, amount, 0, 0)
    signature = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))"
    s.send(exchange.arbitrageur, exchange.router, signature, sale)
    return s.deleverage(max_collateral=9 * WAD)


def drain(s: Scene, pair: tuple[str, str], left_usd: int) -> None:
    """The provider withdraws from this pool until so much is left on each side."""
    exchange = s.site.exchange
    (there,) = s.chain.call(str(uniswap.pool_of(s.chain, exchange, s.market, pair)), "liquidity()", "(uint128)")
    leaving = there - there * left_usd // uniswap.DEPTH_USD
    signature = "decreaseLiquidity((uint256,uint128,uint256,uint256,uint256))"
    position = PAIRS.index(pair) + 1  # they are numbered as they were added
    s.send(exchange.provider, exchange.positions, signature, (position, leaving, 0, 0, MAX_UINT256))


@attack(LIMIT, "STF")
def drained(s: Scene) -> str:
    """What is asked for is a fifth of all that is left on the exchange, so its price is far off."""
    drain(s, ("WETH", "USDC"), left_usd=70_000)
    return s.deleverage(max_collateral=9 * WAD)


@attack(LIMIT, "kept within the limit")
def greedy_router_and_no_minimum(s: Scene) -> str:
    """The owner trusts a router that takes all it may. It may take the owner's slippage and not a wei more."""
    s.trust_rogue()
    s.terms(10_000, 0)
    had = s.balance(s.asset("WETH"), s.rogue)
    ended = s.deleverage(router=s.rogue, max_collateral=8 * WAD)
    took_e8 = (s.balance(s.asset("WETH"), s.rogue) - had) * s.price_e8("WETH") // WAD
    allowed_e8 = 14_000 * s.price_e8("USDC") * 101 // 100
    assert ended != DONE or took_e8 > allowed_e8 * 999 // 1000
    return "kept within the limit" if ended == DONE and took_e8 <= allowed_e8 else ended


@attack("SLIPPAGE")
def premium_beyond_the_slippage(s: Scene) -> str:
    """Nothing is traded, and still the flash loan costs more than this owner allows."""
    s.consent("one asset", replace(CONSENT, max_slippage_bps=4))
    return s.deleverage("one asset")


@attack("ROUTER")
def router_of_nobody(s: Scene) -> str:
    return s.deleverage(router=s.rogue)


@attack("ROUTER_CODE")
def router_with_other_code(s: Scene) -> str:
    s.send(s.account("owner"), s.site.guard, "set_router(address,bytes32)", s.rogue, b"\x11" * 32)
    return s.deleverage(router=s.rogue)


@attack("BOUGHT")
def router_takes_all_and_gives_nothing(s: Scene) -> str:
    s.trust_rogue()
    s.terms(10_000, -(10**30))
    return s.deleverage(router=s.rogue)


@attack("BOUGHT")
def router_gives_one_too_little(s: Scene) -> str:
    s.trust_rogue()
    s.terms(9_000, -1)
    return s.deleverage(router=s.rogue)


@attack("BOUGHT")
def router_eats_what_somebody_left_here(s: Scene) -> str:
    """Money of a stranger in the guard must not hide that the router gave too little."""
    s.send(s.market.admin, s.asset("USDC"), "mint(address,uint256)", s.site.guard, 50_000 * USDC)
    s.trust_rogue()
    s.terms(9_000, -1_000 * USDC)
    return s.deleverage(router=s.rogue)


@attack("DEBT_BALANCE")
def router_gives_too_much(s: Scene) -> str:
    s.trust_rogue()
    s.terms(9_000, 5)
    return s.deleverage(router=s.rogue)


@attack("give back", DONE)
def honest_with_change(s: Scene) -> str:
    return s.deleverage()


@attack("take back the router's allowance", DONE)
def honest_with_an_allowance_left(s: Scene) -> str:
    return s.deleverage()


@attack("take back the pool's allowance", DONE)
def honest_while_supplying_is_frozen(s: Scene) -> str:
    aave_v3.set_frozen(s.chain, s.market, "WETH", True)
    return s.deleverage()


@attack("FLASH_SOURCE")
def nothing_to_borrow(s: Scene) -> str:
    there = s.balance(s.asset("USDC"), s.market.reserves["USDC"].a_token)
    withdraw = "withdraw(address,uint256,address)"
    s.send(s.market.lender, s.market.pool, withdraw, s.asset("USDC"), there - 13_999 * USDC, s.market.lender)
    return s.deleverage()
