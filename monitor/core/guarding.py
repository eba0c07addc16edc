"""What a guardian knows of one guard contract: where it is, and how it trades. What may be done is written on chain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from monitor.core.types import Address


@dataclass(frozen=True, slots=True)
class GuardSetup:
    """One guard contract, which serves one pool, with a Uniswap V3 router and the QuoterV2 of the same factory.

    `fees` are the pools' fee tiers in millionths; `pairs` names other tiers for a pair of symbols, in either order.
    The exchange may become `tolerance_bps` dearer until inclusion. Where its price and the protocol's oracle differ by
    more than `gap_bps`, one of them is wrong, and nothing is sold.
    """

    contract: Address
    router: Address
    quoter: Address
    fees: tuple[int, ...]
    pairs: tuple[tuple[str, str, tuple[int, ...]], ...] = ()
    tolerance_bps: int = 50
    gap_bps: int = 300

    def fees_of(self, symbols: Iterable[str]) -> tuple[int, ...]:
        """The fee tiers to ask for a pair of symbols."""
        wanted = set(symbols)
        return next((fees for one, other, fees in self.pairs if {one, other} == wanted), self.fees)
