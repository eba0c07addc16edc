"""What the forks of Compound V2 differ in, as data: clocks, getters, gates, and how fast blocks can come.

Knows no rule of its own: compound_v2.math holds those, and the adapter asks a Variant which of them apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from monitor.core.types import Address


@dataclass(frozen=True, slots=True)
class Variant:
    """One fork. `seconds`: interest accrues by timestamp, else by block number.

    `pools`: Venus' comptroller, with a liquidation threshold apart from the collateral factor, pools that an account
    selects, incentives per market, pauses per action, and VAI. `deprecates`: a market without collateral factor, with
    borrowing paused and a reserve factor of one lets anyone liquidate whatever the health (Compound since 2022).
    `vai`: VAI controllers by (chain, comptroller): a debt that no market holds.
    """

    seconds: bool = False
    pools: bool = False
    deprecates: bool = False
    vai: Mapping[tuple[int, Address], Address] | None = None

    @property
    def accrued_at(self) -> str:
        return "accrualBlockTimestamp" if self.seconds else "accrualBlockNumber"

    @property
    def borrow_rate(self) -> str:
        return "borrowRatePerTimestamp" if self.seconds else "borrowRatePerBlock"


FASTEST_BLOCK_MS: Mapping[int, int] = {1: 12_000, 56: 450, 97: 450, 31337: 1000}
"""The shortest time between blocks by chain, for forks that count blocks: more blocks than this allows cannot come, and
fewer mean less interest. BNB's has been cut from 3 s to 0.45 s in steps, which is why it is not a rate to rely on."""
COINS: Mapping[int, str] = {1: "ETH", 10: "ETH", 56: "BNB", 1284: "GLMR", 1285: "MOVR", 8453: "ETH", 43114: "AVAX"}
"""The chain's own coin, for the one market that has no underlying token."""


def blocks_until(chain_id: int, seconds: int) -> int | None:
    """The most blocks that can come in so many seconds; None on a chain whose pace is not known."""
    pace = FASTEST_BLOCK_MS.get(chain_id)
    return None if pace is None else -(-seconds * 1000 // pace)
