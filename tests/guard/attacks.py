"""Every attack on the guard that we know: what is tried, which check stands against it, and how it ends.

An attack answers how it ended, `done` or the contract's reason. It ends otherwise when its check is switched off; a
test runs each both ways. Where two checks stand against the same attack the reason tells which one it met.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from monitor.testing import aave_v3, uniswap
from monitor.testing.devchain import MAX_UINT256, Transaction
from monitor.testing.guard import CLOSE
from tests.guard.scene import CONSENT, DONE, PAIRS, WAD, Scene
from tests.guard.switches import LIMIT

FEE, SILENT, FALSE_TRANSFER, FALSE_APPROVE, STICKY, DEAF = (1 << bit for bit in range(6))
CONFIGURE = "configure(uint256,uint256,uint256,uint256,uint256,uint256)"
EXECUTE = "executeOperation(address,uint256,uint256,address,bytes)"
FLASH = "flashLoanSimple(address,address,uint256,bytes,uint16)"
BORROW = "borrow(address,uint256,uint256,uint16,address)"
SAME_ID = b"\x07" * 32
USDC = 10**6


@dataclass(frozen=True)
class Attack:
    check: str
    ends: str
    run: Callable[[Scene], str]

    @property
    def name(self) -> str:
        return self.run.__name__


ATTACKS: list[Attack] = []


def attack(check: str, ends: str | None = None) -> Callable[[Callable[[Scene], str]], Callable[[Scene], str]]:
    """Against `check`; it ends with that check's reason unless said otherwise."""

    def keep(run: Callable[[Scene], str]) -> Callable[[Scene], str]:
        ATTACKS.append(Attack(check, check.rstrip(" 23") if ends is None else ends, run))
        return run

    return keep


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


@attack("MAX_REPAY")
def more_debt_than_was_signed_for(s: Scene) -> str:
    return s.close(amount=29_000 * USDC - 1)


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


# ----------------------------------------------------------------------------------------- while the loan is out


@attack("DEBT_LEFT")
def debt_taken_again_while_closing(s: Scene) -> str:
    return _borrow_meanwhile(s, "USDC", 100 * USDC)


@attack("WORSE")
def other_debt_taken_while_closing(s: Scene) -> str:
    return _borrow_meanwhile(s, "DAI", 8_400 * WAD)


def _borrow_meanwhile(s: Scene, symbol: str, amount: int) -> str:
    """The bad router is also allowed to borrow in the owner's name."""
    s.trust_rogue()
    s.terms(10_000, 0)
    debt = s.market.reserves[symbol].v_token
    s.send(s.account("owner"), debt, "approveDelegation(address,uint256)", s.rogue, MAX_UINT256)
    s.plan(s.market.pool, BORROW, s.asset(symbol), amount, 2, 0, s.account("owner"))
    ended = s.close(router=s.rogue)
    assert ended != DONE or s.inner() == DONE
    return ended


@attack("POOL")
def forged_callback(s: Scene) -> str:
    args = (s.asset("USDC"), 1_000 * USDC, 0, s.site.guard, s.job())
    return s.outcome(Transaction(s.account("stranger"), s.site.guard, EXECUTE, args))


@attack("POOL")
def forged_callback_while_the_loan_is_out(s: Scene) -> str:
    s.trust_rogue()
    s.terms(10_000, 0)
    s.plan(s.site.guard, EXECUTE, s.asset("USDC"), 1_000 * USDC, 0, s.site.guard, s.job())
    assert s.deleverage(router=s.rogue) == DONE
    return s.inner()


@attack("INITIATOR")
def flash_loan_of_somebody_else(s: Scene) -> str:
    args = (s.site.guard, s.asset("USDC"), 1_000 * USDC, s.job(), 0)
    return s.outcome(Transaction(s.account("stranger"), s.market.pool, FLASH, args))


@attack("INITIATOR")
def flash_loan_of_somebody_else_while_ours_is_out(s: Scene) -> str:
    s.trust_rogue()
    s.terms(10_000, 0)
    s.plan(s.market.pool, FLASH, s.site.guard, s.asset("USDC"), 1_000 * USDC, s.job(), 0)
    assert s.deleverage(router=s.rogue) == DONE
    return s.inner()


@attack("FLIGHT")
def callback_that_nobody_asked_for(s: Scene) -> str:
    """Even the pool itself, were it to turn, cannot make the guard run arguments that it did not write."""
    at = s.beside("stranger")
    args = (s.asset("USDC"), 1_000 * USDC, 0, at.site.guard, s.job())
    return s.outcome(Transaction(s.account("stranger"), at.site.guard, EXECUTE, args))


# ---------------------------------------------------------------------------------------------------- odd tokens


@attack("TOKEN 2", "TOKEN")
def token_refuses_to_be_approved_by_saying_false(s: Scene) -> str:
    s.behave(FALSE_APPROVE)
    return s.deleverage("odd collateral")


@attack("TOKEN", "TOKEN")
def token_refuses_to_go_home_by_saying_false(s: Scene) -> str:
    s.behave(FALSE_TRANSFER)
    aave_v3.set_frozen(s.chain, s.market, "ODD", True)
    return s.deleverage("odd collateral")


@attack("ALLOWANCE")
def allowance_of_the_debt_stays(s: Scene) -> str:
    s.behave(STICKY)
    return s.deleverage("odd debt")


@attack("ALLOWANCE 2")
def allowance_of_the_collateral_stays(s: Scene) -> str:
    s.behave(STICKY)
    return s.deleverage("odd collateral")


@attack("ALLOWANCE 3")
def allowance_cannot_be_taken_back(s: Scene) -> str:
    s.trust_rogue("odd collateral")
    s.terms(10_000, 0)
    s.behave(STICKY | DEAF)
    return s.deleverage("odd collateral", router=s.rogue)


@attack("COLLATERAL_BALANCE")
def hook_pushes_collateral_in(s: Scene) -> str:
    s.behave(0, hook=s.rogue)
    s.plan(s.asset("WETH"), "transfer(address,uint256)", s.site.guard, 5)
    return s.deleverage("odd debt")


@attack("ATOKEN_BALANCE")
def hook_pushes_a_tokens_in(s: Scene) -> str:
    """At the last moment, when the pool takes its loan back."""
    a_token = s.market.reserves["WETH"].a_token
    s.send(s.market.lender, a_token, "transfer(address,uint256)", s.rogue, WAD)
    s.behave(0, hook=s.rogue)
    s.plan(a_token, "transfer(address,uint256)", s.site.guard, WAD, skip=3)
    return s.deleverage("odd debt")


@attack("lock")
def reentrant_token(s: Scene) -> str:
    """The token's hook acts for another owner who trusts it, while the first one's loan is out."""
    s.send(s.account("owner"), s.site.guard, "set_caller(address,bool)", s.rogue, True)
    inner = s.transaction(s.action("owner"))
    s.behave(0, hook=s.rogue)
    s.plan(inner.to, inner.signature, *inner.args, skip=1)
    assert s.deleverage("odd debt") == DONE
    return s.inner()


@attack("lock")
def reentrant_router(s: Scene) -> str:
    s.send(s.account("one asset"), s.site.guard, "set_caller(address,bool)", s.rogue, True)
    s.trust_rogue()
    s.terms(10_000, 0)
    inner = s.transaction(s.action("one asset", signature=CLOSE, amount=MAX_UINT256))
    s.plan(inner.to, inner.signature, *inner.args)
    assert s.deleverage(router=s.rogue) == DONE
    return s.inner()


@attack("lock")
def settings_changed_while_the_loan_is_out(s: Scene) -> str:
    """The rogue is the sender, so these are its own settings: there is a lock all the same."""
    s.trust_rogue()
    s.terms(10_000, 0)
    s.plan(s.site.guard, CONFIGURE, WAD, 0, WAD, 2 * WAD, 100, 10**20)
    assert s.deleverage(router=s.rogue) == DONE
    return s.inner()
