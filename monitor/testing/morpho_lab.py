"""A local Morpho Blue market with borrowers whom random prices and time bring into danger, for proofs that act there.

Knows how to read a borrower and a purse through the adapter, and how to send as a guardian. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import Any, TypeVar

from monitor.chain.port import Chain, run
from monitor.core.types import MarketRef, Position
from monitor.protocols.base import Protocol
from monitor.protocols.morpho_blue import PROTOCOL
from monitor.protocols.morpho_blue.math import Facts, State
from monitor.testing import morpho, purse_rescues
from monitor.testing.anvil import AnvilDevChain, AnvilProcess
from monitor.testing.morpho import PARAMS, MorphoMarket, fund
from monitor.testing.purse_rescues import RescueLab

BORROWERS = 8
SEVENTH = 10**18 // 7
TRIES = 40
T = TypeVar("T")


class MorphoLab(RescueLab):
    """One market on a chain of its own, with a guardian beside it, whose purse holds plenty of both tokens."""

    version = "1.0.0"
    protocol: Protocol[Any, Any] = PROTOCOL
    native_price, least_value = 2_000 * 10**6, 10**4

    def __init__(self, chain: Chain, local: AnvilDevChain, seed: int) -> None:
        super().__init__(chain, local, seed)
        self.market: MorphoMarket = morpho.deploy(local)
        self.guardian = local.account("morpho guardian")
        self.owners = [local.account(f"morpho borrower {number}") for number in range(BORROWERS)]
        self.facts: Facts

    async def open(self) -> None:
        """Borrowers of all sizes, a fee for the market, and the guardian's purse."""
        local, market = self.local, self.market
        local.send(market.admin, market.morpho, f"setFee({PARAMS},uint256)", market.params, SEVENTH)
        for owner in self.owners:
            collateral = int(10 ** self.random.uniform(15, 20))
            loan = collateral * 2_000 * self.random.randrange(30, 86) // 100 // 10**12
            morpho.borrow(local, market, owner, collateral, loan)
        for token, plenty in zip(market.params[:2], (10**15, 10**27), strict=True):
            fund(local, market, str(token), self.guardian, plenty)
        ref = MarketRef(local.chain_id, PROTOCOL.name, market.morpho, market.id)
        block = await self.chain.block("latest")
        self.facts = await run(self.chain, PROTOCOL.static(ref, block), block)

    async def endangered(self, low: Fraction, high: Fraction) -> str:
        """A borrower whose health the oracle and up to five weeks have brought between the two."""
        for _ in range(TRIES):
            owner = self.random.choice(self.owners)
            self.local.warp(int(10 ** self.random.uniform(0, 6.5)))
            position, _ = await self.read(owner)
            health, wanted = health_of(position), self.random.randrange(int(low * 10_000), int(high * 10_000))
            price = position.prices[self.facts.collateral.address]
            change = Fraction(wanted, 10_000) / health
            morpho.set_price(self.local, self.market, price * change.numerator // change.denominator)
            position, _ = await self.read(owner)
            if low <= health_of(position) < high:
                return owner
        raise AssertionError("no borrower could be brought into danger")

    def taker(self, asset: str) -> str:
        """See RescueLab."""
        return self.market.morpho

    def decisive(self, position: Position) -> tuple[object, ...]:
        """See RescueLab."""
        state: State = position.state
        return state.totals, state.borrow_shares, state.collateral


def health_of(position: Position, at_s: int | None = None) -> Fraction:
    """Health as a number. The position must have a debt and a price."""
    return purse_rescues.health_of(PROTOCOL, position, at_s)


async def in_own_lab(seed: int, prove: Callable[[MorphoLab], Awaitable[T]]) -> T:
    """What a proof answers in a lab that nobody else uses."""
    from monitor.chain.rpc_chain import RpcChain

    with AnvilProcess() as process:
        local = process.chain()
        async with RpcChain(process.url) as chain:
            lab = MorphoLab(chain, local, seed)
            await lab.open()
            try:
                return await prove(lab)
            finally:
                local.close()
