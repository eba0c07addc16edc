"""Attacks from inside: while the flash loan is out, and by tokens with bad manners."""

from __future__ import annotations

from monitor.testing import aave_v3
from monitor.testing.devchain import MAX_UINT256, Transaction
from monitor.testing.guard import CLOSE
from tests.guard.attack_table import CONFIGURE, USDC, attack
from tests.guard.scene import DONE, WAD, Scene

FEE, SILENT, FALSE_TRANSFER, FALSE_APPROVE, STICKY, DEAF, STRICT, NO_ZERO = (1 << bit for bit in range(8))
EXECUTE = "executeOperation(address,uint256,uint256,address,bytes)"
FLASH = "flashLoanSimple(address,address,uint256,bytes,uint16)"
BORROW = "borrow(address,uint256,uint256,uint16,address)"


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


@attack("once", DONE)
def honest_and_then_nothing_is_awaited(s: Scene) -> str:
    """The callback is open for one call: what it waited for is forgotten, though nobody but the pool could use it."""
    ended = s.deleverage()
    return ended if s.word("_flight") == bytes(32) else "still open"


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
