"""A thief has the guardian's key. Whatever he calls, the owners' settings hold: seen from outside, after each call."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from monitor.testing import aave_v3, uniswap
from monitor.testing.devchain import MAX_UINT256
from monitor.testing.guard import CLOSE, DELEVERAGE
from tests.guard.scene import CONSENT, DONE, POSITIONS, WAD, Action, Scene, open_position
from tests.guard.switches import LIMIT, switched

pytestmark = pytest.mark.anvil
CALLS = 100
DAY_S = 86_400
CAP_E8 = 45_000 * 10**8
TERMS = replace(CONSENT, daily_cap_e8=CAP_E8, close_below_wad=11 * WAD // 10)
SYMBOLS = ("WETH", "USDC", "ODD")


class Thief:
    """Draws calls, moves the exchange's prices before them, and keeps a ledger of what each owner lost."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene, self.random = scene, Random(seed)
        self.repaid_e8: dict[str, list[tuple[int, int]]] = {label: [] for label in POSITIONS}
        self.landed: Counter[str] = Counter()
        self.spent_ids: set[tuple[str, bytes]] = set()

    def disturb(self) -> None:
        """Time passes, oracle prices move and the exchange follows; then the thief pushes the exchange."""
        scene, random = self.scene, self.random
        if random.random() < 0.3:
            scene.chain.warp(random.choice((60, 3_600, 40_000, DAY_S)))
        if random.random() < 0.5:
            symbol, change = random.choice(("WETH", "ODD")), random.choice(("-4%", "-2%", "+2%", "+5%"))
            aave_v3.shock(scene.chain, scene.market, {symbol: change})
            uniswap.arbitrage(scene.chain, scene.site.exchange, scene.market, [("WETH", "USDC"), ("ODD", "USDC")])
        if random.random() < 0.3:
            sold, bought = random.sample(SYMBOLS, 2)
            worth_e8 = random.choice((10**6, 10**7, 10**9)) * 10**8
            amount = worth_e8 * 10 ** scene.market.reserves[sold].decimals // scene.price_e8(sold)
            exchange = scene.site.exchange
            sale = (scene.asset(sold), scene.asset(bought), uniswap.FEE, exchange.arbitrageur, amount, 0, 0)
            signature = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))"
            scene.send(exchange.arbitrageur, exchange.router, signature, sale)

    def refill(self, label: str) -> None:
        """An owner who is out of danger borrows again, to a health factor of about 1.09."""
        scene, ((collateral, wanted), (debt, _), _) = self.scene, POSITIONS[label]
        held, owed = (scene.market.reserves[symbol] for symbol in (collateral, debt))
        missing = max(wanted - scene.balance(held.a_token, scene.account(label)), 10**held.decimals)
        value_e8 = wanted * scene.price_e8(collateral) // 10**held.decimals
        share = 75 if collateral == "WETH" else 72
        room_e8 = value_e8 * share // 100 - self.seen(label)["owed"]
        if room_e8 > 1_000 * 10**8:
            amount = room_e8 * 10**owed.decimals // scene.price_e8(debt)
            open_position(scene, label, (collateral, missing), (debt, amount))

    def fair(self, label: str) -> int:
        """Collateral worth the honest repayment, by the oracle: the thief asks for somewhat more."""
        (collateral, _), _, repay = POSITIONS[label]
        unit = int(10 ** self.scene.market.reserves[collateral].decimals)
        return self.worth_e8(label, repay) * unit // self.scene.price_e8(collateral)

    def call(self) -> None:
        scene, random = self.scene, self.random
        label = random.choice(list(POSITIONS))
        self.refill(label)
        honest = scene.action(label)
        chance = random.random()
        action = replace(
            honest,
            signature=random.choice((DELEVERAGE, DELEVERAGE, CLOSE)),
            collateral=honest.collateral if chance < 0.9 else random.choice(SYMBOLS),
            debt=honest.debt if chance < 0.9 else random.choice(SYMBOLS),
            amount=random.choice((honest.amount, honest.amount * random.randrange(20, 200) // 100, MAX_UINT256)),
            max_collateral=random.choice((MAX_UINT256, self.fair(label) * random.randrange(100, 135) // 100)),
            action_id=bytes([random.randrange(60)]) * 32,
            router=random.choice((honest.router, honest.router, honest.router, scene.rogue)),
            fee=random.choice((*[uniswap.FEE] * 9, 3_000)),
            deadline=scene.chain.timestamp() + random.choice((*[60] * 9, -5)),
        )
        before = self.seen(label)
        ended = scene.run(action)
        after = self.seen(label)
        assert scene.left_behind() == []
        if ended != DONE:
            assert after["wallet"] == before["wallet"]
            return
        self.landed[action.signature] += 1
        self.judge(label, action, before, after)
        assert (label, action.action_id) not in self.spent_ids
        self.spent_ids.add((label, action.action_id))

    def seen(self, label: str) -> dict[str, int]:
        scene = self.scene
        owner = scene.account(label)
        total, owed, _, _, _, health = aave_v3.account_data(scene.chain, scene.market, owner)
        wallet_e8 = sum(
            scene.balance(scene.asset(symbol), owner)
            * scene.price_e8(symbol)
            // 10 ** scene.market.reserves[symbol].decimals
            for symbol in SYMBOLS
        )
        return {"total": total, "owed": owed, "health": health, "wallet": wallet_e8}

    def worth_e8(self, label: str, amount: int) -> int:
        symbol = POSITIONS[label][1][0]
        return amount * self.scene.price_e8(symbol) // int(10 ** self.scene.market.reserves[symbol].decimals)

    def judge(self, label: str, action: Action, before: dict[str, int], after: dict[str, int]) -> None:
        repaid_e8 = before["owed"] - after["owed"]
        lost_e8 = (before["total"] + before["wallet"]) - (after["total"] + after["wallet"])
        # every loss is the price of a repayment, at most the owner's slippage above it; a dollar is for interest
        assert repaid_e8 > 0
        assert lost_e8 <= repaid_e8 * (10_000 + TERMS.max_slippage_bps) // 10_000 + 10**8, "lost_e8"
        if action.signature == DELEVERAGE:
            assert before["health"] < TERMS.trigger_wad + 10**12
            assert TERMS.low_wad <= after["health"] <= TERMS.high_wad
        else:
            assert before["health"] < TERMS.close_below_wad + 10**12
            assert after["health"] >= before["health"] - 10**12
            assert after["owed"] == 0 or repaid_e8 <= self.worth_e8(label, action.amount) + 10**8
        now = self.scene.chain.timestamp()
        self.repaid_e8[label].append((now, repaid_e8))
        assert sum(worth for at, worth in self.repaid_e8[label] if now - at <= DAY_S) <= CAP_E8 + 10**8


def steal(scene: Scene) -> Thief:
    """Two owners also trust a router that takes all that it may."""
    for label in POSITIONS:
        scene.consent(label, TERMS)
    scene.trust_rogue("owner")
    scene.trust_rogue("odd debt")
    scene.terms(10_000, 0)
    thief = Thief(scene, seed=20_261_123)
    for _ in range(CALLS):
        thief.disturb()
        thief.call()
    return thief


def test_a_stolen_key_stays_within_the_owners_settings(scene: Scene) -> None:
    thief = steal(scene)
    assert thief.landed[DELEVERAGE] >= 5
    assert thief.landed[CLOSE] >= 2


def test_the_ledger_would_see_a_theft(with_switches: Scene) -> None:
    with pytest.raises(AssertionError, match="lost_e8"):
        steal(with_switches.without(switched()[1].index(LIMIT) + 1))
