"""A local market of Aave V2 with borrowers whom random prices and time bring into danger, for proofs that act there.

Judges nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import Any, TypeVar

from monitor.chain.port import Chain, run
from monitor.core.types import MarketRef, Position
from monitor.protocols.aave_v2 import PROTOCOL
from monitor.protocols.aave_v2.math import Facts, State
from monitor.protocols.base import Protocol
from monitor.testing import aave_v2
from monitor.testing.aave_v2 import COLLATERALS, DEBTS, ETHER, STABLE, VARIABLE, AaveV2Market
from monitor.testing.anvil import AnvilDevChain, AnvilProcess
from monitor.testing.purse_rescues import RescueLab, health_of

BORROWERS = 8
TRIES = 40
T = TypeVar("T")


class AaveV2Lab(RescueLab):
    """One market on a chain of its own, with a guardian beside it, whose purse holds plenty of everything."""

    version = "2"
    protocol: Protocol[Any, Any] = PROTOCOL
    native_price, least_value = ETHER, 10**15

    def __init__(self, chain: Chain, local: AnvilDevChain, seed: int) -> None:
        super().__init__(chain, local, seed)
        self.market: AaveV2Market = aave_v2.deploy(local)
        self.guardian = local.account("aave v2 guardian")
        self.owners = [local.account(f"aave v2 borrower {number}") for number in range(BORROWERS)]
        self.facts: Facts

    async def open(self) -> None:
        """Borrowers of all sizes, some of whose debt is stable, and the guardian's purse."""
        local, market, rng = self.local, self.market, self.random
        for owner in self.owners:
            power = 0
            for symbol in rng.sample(COLLATERALS, rng.randrange(1, 3)):
                one, worth = market.of(symbol), int(10 ** rng.uniform(17, 21.5))
                aave_v2.deposit(local, market, owner, one, worth * 10**one.decimals // one.price_wei)
                power += worth * one.ltv // 10_000
            chosen = rng.sample(DEBTS, rng.randrange(1, 3))
            for symbol in chosen:
                one, worth = market.of(symbol), power * rng.randrange(60, 98) // (100 * len(chosen))
                mode = STABLE if len(chosen) > 1 and symbol == chosen[0] and rng.random() < 0.3 else VARIABLE
                aave_v2.borrow(local, market, owner, one, worth * 10**one.decimals // one.price_wei, mode)
        for one in market.reserves:
            aave_v2.fund(local, market, self.guardian, one, 10**6 * ETHER * 10**one.decimals // one.price_wei)
        ref = MarketRef(local.chain_id, PROTOCOL.name, market.provider)
        block = await self.chain.block("latest")
        self.facts = await run(self.chain, PROTOCOL.static(ref, block), block)

    async def endangered(self, low: Fraction, high: Fraction) -> str:
        """A borrower whose health the oracle and up to five weeks have brought between the two."""
        feeds = {one.asset: one.feed for one in self.market.reserves}
        for _ in range(TRIES):
            owner = self.random.choice(self.owners)
            self.local.warp(int(10 ** self.random.uniform(0, 6.5)))
            position, _ = await self.read(owner)
            wanted = Fraction(self.random.randrange(int(low * 10_000), int(high * 10_000)), 10_000)
            change = wanted / health_of(PROTOCOL, position)
            for reserve in position.state.reserves:
                if reserve.counts:
                    price = int(position.prices[reserve.asset] * change)
                    aave_v2.set_price(self.local, self.market, feeds[reserve.asset], price)
            position, _ = await self.read(owner)
            if low <= health_of(PROTOCOL, position) < high:
                return owner
        raise AssertionError("no borrower could be brought into danger")

    def taker(self, asset: str) -> str:
        """See RescueLab."""
        return self.market.pool

    def decisive(self, position: Position) -> tuple[object, ...]:
        """See RescueLab. The variable index moves only while somebody owes such debt; the owner's own is decisive."""
        state: State = position.state
        return tuple(
            (
                *(one.asset, one.collateral, one.borrowing, one.scaled_a_token, one.scaled_variable_debt),
                *(one.stable_principal, one.stable_rate, one.stable_update_s, one.liquidity_index, one.last_update_s),
                one.variable_borrow_index if one.scaled_variable_debt else 0,
            )
            for one in state.reserves
        )


async def in_own_lab(seed: int, prove: Callable[[AaveV2Lab], Awaitable[T]]) -> T:
    """What a proof answers in a lab that nobody else uses."""
    from monitor.chain.rpc_chain import RpcChain

    with AnvilProcess() as process:
        local = process.chain()
        async with RpcChain(process.url) as chain:
            lab = AaveV2Lab(chain, local, seed)
            await lab.open()
            try:
                return await prove(lab)
            finally:
                local.close()
