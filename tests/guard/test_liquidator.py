"""The liquidator on the real pool and the real exchange: profit to the wei, and what is tried against it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from eth_utils.crypto import keccak

from monitor.testing import aave_v3, guard, uniswap
from monitor.testing.artifacts import own_contract
from monitor.testing.codec import decode, encode_args
from monitor.testing.devchain import MAX_UINT256, Transaction
from tests.guard.attacks_in_flight import EXECUTE, FALSE_APPROVE, FALSE_TRANSFER, FLASH, SILENT, STICKY
from tests.guard.scene import DONE, POSITIONS, WAD, Scene, compiled, slot_of
from tests.guard.switches import LIQUIDATOR, switched

pytestmark = pytest.mark.anvil
LIQUIDATE = "liquidate(address,address,address,uint256,uint256,uint256,address,uint24)"
SEIZED = "LiquidationCall(address,address,address,uint256,uint256,address,bool)"
JOB = "((address,address,address,uint24))"
QUOTE = "quoteExactInputSingle((address,address,uint256,uint24,uint160))"
USDC = 10**6
# what brings each position below 1, and how much of its debt is covered
FALLS = {
    "owner": ({"WETH": "-20%"}, 10_000 * USDC),
    "odd collateral": ({"ODD": "-15%"}, 10_000 * USDC),
    "odd debt": ({"ODD": "+20%"}, 1_000 * WAD),
}


@dataclass
class Hunt:
    """A liquidator of the keeper's in a scene whose position under that label may be liquidated."""

    scene: Scene
    at: str
    label: str
    off: int = 0

    def transaction(self, **changes: Any) -> Transaction:
        scene, ((collateral, _), (debt, _), _) = self.scene, POSITIONS[self.label]
        given = {
            "sender": scene.account("keeper"),
            "cover": FALLS[self.label][1],
            "min_profit": 0,
            "deadline": MAX_UINT256,
            "router": scene.site.exchange.router,
            "fee": uniswap.FEE,
            **changes,
        }
        names = ("cover", "min_profit", "deadline", "router", "fee")
        args = (scene.account(self.label), scene.asset(collateral), scene.asset(debt), *(given[n] for n in names))
        return Transaction(given["sender"], self.at, LIQUIDATE, args)

    def run(self, **changes: Any) -> str:
        return self.scene.outcome(self.transaction(**changes))

    def job(self) -> bytes:
        (collateral, _), _, _ = POSITIONS[self.label]
        values = (self.scene.account(self.label), self.scene.asset(collateral), self.scene.rogue, uniswap.FEE)
        return encode_args(JOB, [values])

    def seized(self) -> tuple[int, int]:
        """(debt covered, collateral received) of the newest block's liquidation, as the pool tells it."""
        newest, topic = hex(self.scene.chain.block_number()), "0x" + keccak(text=SEIZED).hex()
        asked = {"fromBlock": newest, "toBlock": newest, "address": self.scene.market.pool, "topics": [topic]}
        (log,) = self.scene.chain.rpc("eth_getLogs", asked)
        covered, received, _, _ = decode("(uint256,uint256,address,bool)", bytes.fromhex(log["data"][2:]))
        return covered, received

    def on(self, label: str) -> Hunt:
        """The same liquidator after another fall."""
        aave_v3.shock(self.scene.chain, self.scene.market, FALLS[label][0])
        return replace(self, label=label)


def hunt(scene: Scene, label: str = "owner", code: bytes | None = None) -> Hunt:
    args = [scene.market.pool, scene.account("keeper")]
    at = scene.chain.deploy(scene.market.admin, code or own_contract("liquidator").code, "(address,address)", args)
    aave_v3.shock(scene.chain, scene.market, FALLS[label][0])
    return Hunt(replace(scene, site=replace(scene.site, guard=at)), at, label)


@pytest.mark.parametrize("scene", ["3.0", "3.6"], indirect=True)
@pytest.mark.parametrize("label", FALLS)
@pytest.mark.parametrize("whole", [False, True], ids=["a part", "all of it"])
def test_the_profit_is_exact_and_goes_to_the_owner(scene: Scene, label: str, whole: bool) -> None:
    at, ((collateral, _), (debt, borrowed), _) = hunt(scene, label), POSITIONS[label]
    cover = borrowed * 11 // 10 if whole else FALLS[label][1]  # more than is owed: what is not used goes straight back
    bps = guard.FLASH_PREMIUM_BPS
    premium = (cover * bps + (9_999 if scene.market.version == "3.6" else 5_000)) // 10_000
    with scene.undone():
        assert at.run(cover=cover) == DONE
        covered, received = at.seized()
    question = (scene.asset(collateral), scene.asset(debt), received, uniswap.FEE, 0)
    (bought,) = scene.chain.call(scene.site.exchange.quoter, QUOTE, "(uint256)", question)
    expected = bought - covered - premium
    had = scene.balance(scene.asset(debt), scene.account("keeper"))
    with scene.undone():
        assert at.run(cover=cover, min_profit=expected + expected // 10**6 + 1) == "PROFIT"
    assert at.run(cover=cover, min_profit=expected - expected // 10**6) == DONE
    covered_now, received_now = at.seized()
    assert abs(received_now - received) <= received // 10**6  # a second's interest in a bad debt is all
    got = scene.balance(scene.asset(debt), scene.account("keeper")) - had
    if (covered_now, received_now) == (covered, received):
        assert got == expected
    assert abs(got - expected) <= expected // 10**6 + 1
    assert at.scene.left_behind() == []


# -------------------------------------------------------------------------------------------------- attacks


def stranger(at: Hunt) -> str:
    return at.run(sender=at.scene.account("stranger"))


def the_one_who_deployed_it(at: Hunt) -> str:
    return at.run(sender=at.scene.market.admin)


def too_late(at: Hunt) -> str:
    return at.run(deadline=at.scene.chain.timestamp() - 1)


def less_than_was_wanted(at: Hunt) -> str:
    return at.run(min_profit=5_000 * USDC)


def sandwiched(at: Hunt) -> str:
    exchange, scene = at.scene.site.exchange, at.scene
    sale = (scene.asset("WETH"), scene.asset("USDC"), uniswap.FEE, exchange.arbitrageur, 30_000 * WAD, 0, 0)
    signature = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))"
    scene.send(exchange.arbitrageur, exchange.router, signature, sale)
    # the oracle has fallen by a fifth and the exchange has not: without the sandwich this brings more
    return at.run(min_profit=2_500 * USDC)


def forged_callback(at: Hunt) -> str:
    args = (at.scene.asset("USDC"), 1_000 * USDC, 0, at.at, at.job())
    return at.scene.outcome(Transaction(at.scene.account("stranger"), at.at, EXECUTE, args))


def flash_loan_of_somebody_else(at: Hunt) -> str:
    args = (at.at, at.scene.asset("USDC"), 1_000 * USDC, at.job(), 0)
    return at.scene.outcome(Transaction(at.scene.account("stranger"), at.scene.market.pool, FLASH, args))


def callback_that_nobody_asked_for(at: Hunt) -> str:
    """A liquidator whose pool is an account of the stranger's."""
    scene, code = at.scene, compiled(switched(LIQUIDATOR)[0])
    args = [scene.account("stranger"), scene.account("keeper")]
    other = scene.chain.deploy(scene.market.admin, code, "(address,address)", args)
    if at.off:
        scene.send(scene.market.admin, other, "switch_off(uint256)", at.off)
    forged = (scene.asset("USDC"), 1_000 * USDC, 0, other, at.job())
    return scene.outcome(Transaction(scene.account("stranger"), other, EXECUTE, forged))


def nothing_is_awaited_afterwards(at: Hunt) -> str:
    ended, slot = at.run(), slot_of(LIQUIDATOR, "_flight")
    return ended if int(at.scene.chain.rpc("eth_getStorageAt", at.at, slot, "latest"), 16) == 0 else "still open"


def token_refuses_to_be_approved_by_saying_false(at: Hunt) -> str:
    at.scene.behave(FALSE_APPROVE)
    return at.on("odd collateral").run()


def profit_refuses_to_go_home_by_saying_false(at: Hunt) -> str:
    at.scene.behave(FALSE_TRANSFER)
    return at.on("odd debt").run()


def hook_pushes_collateral_in(at: Hunt) -> str:
    scene = at.scene
    scene.behave(0, hook=scene.rogue)
    scene.plan(scene.asset("WETH"), "transfer(address,uint256)", at.at, 5, skip=3)
    return at.on("odd debt").run()


def hook_pushes_debt_in(at: Hunt) -> str:
    """At the very last transfer, that of the profit, the rogue adds to what is here."""
    scene = at.scene
    scene.behave(0, hook=scene.rogue)
    scene.plan(scene.asset("ODD"), "transfer(address,uint256)", at.at, 5, skip=4)
    return at.on("odd debt").run()


def allowance_of_the_router_stays(at: Hunt) -> str:
    at.scene.behave(STICKY)
    return _left(at.on("odd collateral"), at.scene.site.exchange.router, "ODD")


def allowance_of_the_pool_stays(at: Hunt) -> str:
    """The pool takes less than was borrowed, so that something of its allowance is left while the router runs."""
    scene = at.scene
    scene.terms(10_000, 10**12)
    scene.plan(scene.asset("USDC"), "allowance(address,address)", at.at, scene.market.pool)
    assert at.run(cover=40_000 * USDC, router=scene.rogue) == DONE
    (left,) = decode("(uint256)", scene.chain.call(scene.rogue, "answer()", "(bytes)")[0])
    return DONE if left == 0 else "left"


def _left(at: Hunt, spender: str, symbol: str) -> str:
    ended = at.run()
    return "left" if at.scene.allowance(at.scene.asset(symbol), at.at, spender) else ended


ATTACKS: list[tuple[str, str, Callable[[Hunt], str]]] = [
    ("OWNER", "OWNER", stranger),
    ("OWNER", "OWNER", the_one_who_deployed_it),
    ("DEADLINE", "DEADLINE", too_late),
    ("PROFIT", "PROFIT", less_than_was_wanted),
    ("PROFIT", "PROFIT", sandwiched),
    ("POOL", "POOL", forged_callback),
    ("INITIATOR", "INITIATOR", flash_loan_of_somebody_else),
    ("FLIGHT", "FLIGHT", callback_that_nobody_asked_for),
    ("once", DONE, nothing_is_awaited_afterwards),
    ("TOKEN 2", "TOKEN", token_refuses_to_be_approved_by_saying_false),
    ("TOKEN", "TOKEN", profit_refuses_to_go_home_by_saying_false),
    ("COLLATERAL_BALANCE", "COLLATERAL_BALANCE", hook_pushes_collateral_in),
    ("DEBT_BALANCE", "DEBT_BALANCE", hook_pushes_debt_in),
    ("take back the router's allowance", DONE, allowance_of_the_router_stays),
    ("take back the debt's allowance", DONE, allowance_of_the_pool_stays),
]
EACH = [pytest.param(check, ends, run, id=run.__name__) for check, ends, run in ATTACKS]


@pytest.fixture
def at(scene: Scene) -> Hunt:
    return hunt(scene)


def test_every_check_of_the_source_has_an_attack() -> None:
    assert set(switched(LIQUIDATOR)[1]) == {check for check, _, _ in ATTACKS}


@pytest.mark.parametrize(("check", "ends", "run"), EACH)
def test_attack_meets_its_check(at: Hunt, check: str, ends: str, run: Callable[[Hunt], str]) -> None:
    assert run(at) == ends
    if "allowance" not in check:
        assert at.scene.left_behind() == []


@pytest.mark.parametrize(("check", "ends", "run"), EACH)
def test_attack_ends_otherwise_without_its_check(
    scene: Scene, check: str, ends: str, run: Callable[[Hunt], str]
) -> None:
    source, names = switched(LIQUIDATOR)
    at = replace(hunt(scene, code=compiled(source)), off=names.index(check) + 1)
    scene.send(scene.market.admin, at.at, "switch_off(uint256)", at.off)
    assert run(at) != ends


def test_tokens_that_answer_nothing_are_fine(at: Hunt) -> None:
    at.scene.behave(SILENT)
    assert at.on("odd collateral").run() == DONE


def test_a_router_that_keeps_everything_only_costs_gas(at: Hunt) -> None:
    at.scene.terms(10_000, -(10**30))
    assert at.run(router=at.scene.rogue) != DONE
    assert at.scene.left_behind() == []


def test_a_healthy_position_is_left_alone(scene: Scene) -> None:
    at = hunt(scene)
    aave_v3.shock(scene.chain, scene.market, {"WETH": "+50%"})
    assert at.run() == "45"
    assert at.scene.left_behind() == []
