"""Drives a local Aave V3 market through seeded prices, jumps in time and deeds of its borrowers.

For proofs: after every step the newest block is a state that nobody chose by hand. Deeds that the pool refuses are part
of life and leave no trace. Knows no health arithmetic of levmon's.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from monitor.testing.aave_v3 import price_of, set_price
from monitor.testing.aave_v3_market import AaveMarket
from monitor.testing.devchain import MAX_UINT256, CallReverted, DevChain

DAY_S = 86_400
YEAR_S = 365 * DAY_S
LONGEST_S = 400 * DAY_S
BOUND = 64
"""No price wanders further than 64 times up or down from where it began."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a step did last: the block that it ended in, and the seconds that it let pass."""

    block: int
    waited_s: int


class Sweep:
    """`steps` steps from one seed; the same chain, market and seed give the same blocks."""

    def __init__(self, chain: DevChain, market: AaveMarket, seed: int) -> None:
        self._chain = chain
        self._market = market
        self._random = random.Random(seed)
        feeds = [*(reserve.feed for reserve in market.reserves.values()), *market.emode_feeds.values()]
        self._began = {feed: price_of(chain, feed) for feed in feeds}
        self._prices = dict(self._began)
        self._waited_s = 0

    def run(self, steps: int) -> Iterator[Step]:
        """Most waits are short, some a year and more, so that interest has every size and no market is eaten by it."""
        for _ in range(steps):
            for _ in range(self._random.randrange(3)):
                with suppress(CallReverted):
                    self._deed()
            for feed in self._random.sample(sorted(self._prices), 3):
                self._move(feed)
            wait_s = self._wait_s()
            self._waited_s += wait_s
            self._chain.warp(wait_s)
            yield Step(self._chain.block_number(), wait_s)

    def _wait_s(self) -> int:
        longest_s = LONGEST_S if self._waited_s < 4 * YEAR_S else DAY_S
        return min(longest_s, int(10 ** self._random.uniform(0, 7.6)))

    def _move(self, feed: str) -> None:
        parts = self._random.randrange(700_000, 1_400_000)
        began, answer = self._began[feed], self._prices[feed] * parts // 1_000_000 + self._random.randrange(2)
        self._prices[feed] = min(max(answer, began // BOUND, 1), began * BOUND)
        set_price(self._chain, self._market, feed, self._prices[feed])

    def _deed(self) -> None:
        user = self._random.choice(self._market.borrowers)
        reserve = self._random.choice(sorted(self._market.reserves.values(), key=lambda r: r.id))
        amount = int(10 ** self._random.uniform(0, reserve.decimals + 3))
        pool, lender = self._market.pool, self._market.lender
        match self._random.randrange(7):
            case 0:
                self._chain.send(lender, pool, "supply(address,uint256,address,uint16)", reserve.asset, amount, user, 0)
            case 1:
                borrow = "borrow(address,uint256,uint256,uint16,address)"
                self._chain.send(user, pool, borrow, reserve.asset, amount, self._random.choice((1, 2, 2)), 0, user)
            case 2:
                self._chain.send(user, pool, "withdraw(address,uint256,address)", reserve.asset, amount, user)
            case 3:
                repay = "repay(address,uint256,uint256,address)"
                self._chain.send(lender, pool, repay, reserve.asset, amount, self._random.choice((1, 2, 2)), user)
            case 4:
                use = "setUserUseReserveAsCollateral(address,bool)"
                self._chain.send(user, pool, use, reserve.asset, self._random.random() < 0.7)
            case 5:
                self._chain.send(user, pool, "setUserEMode(uint8)", self._random.randrange(4))
            case _:
                other = self._random.choice(sorted(self._market.reserves.values(), key=lambda r: r.id))
                call = "liquidationCall(address,address,address,uint256,bool)"
                receive_a_token = self._random.random() < 0.5
                self._chain.send(
                    self._market.liquidator, pool, call, other.asset, reserve.asset, user,
                    self._random.choice((amount, MAX_UINT256)), receive_a_token,
                )  # fmt: skip
