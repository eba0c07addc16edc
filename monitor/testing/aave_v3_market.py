"""What a deployed Aave V3 market on a local chain consists of: addresses, and who is who.

Pure data with a JSON round trip, so that a chain left running can be found again by another process. Knows no chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, cast

Version = Literal["3.0", "3.6"]
VERSIONS: tuple[Version, ...] = ("3.0", "3.6")


@dataclass(frozen=True, slots=True)
class Contracts:
    """The singletons of a market."""

    provider: str
    pool: str
    configurator: str
    oracle: str
    data_provider: str


@dataclass(frozen=True, slots=True)
class Reserve:
    """One listed asset; `feed` is our PriceFeed (8 decimals). `s_token` is None from 3.2 on."""

    symbol: str
    asset: str
    feed: str
    a_token: str
    v_token: str
    s_token: str | None
    decimals: int
    id: int


@dataclass(frozen=True, slots=True)
class AaveMarket:
    """Addresses are checksummed. `borrowers` are in order of opening; `lender` has collateral and no debt.

    `liquidator` is a stranger to every borrower who holds every asset and has approved the pool without limit.
    `emode_feeds` maps an e-mode category to the feed of its own price source (3.0 only).
    """

    version: Version
    chain_id: int
    block: int
    admin: str
    lender: str
    liquidator: str
    provider: str
    pool: str
    configurator: str
    oracle: str
    data_provider: str
    reserves: Mapping[str, Reserve]
    emode_feeds: Mapping[int, str]
    borrowers: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"reserves": {symbol: asdict(reserve) for symbol, reserve in self.reserves.items()}}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """May raise: KeyError, TypeError when `raw` was not written by to_json."""
        if raw["version"] not in VERSIONS:
            raise TypeError(f"no such version: {raw['version']}")
        return cls(
            **{
                **raw,
                "version": cast("Version", raw["version"]),
                "reserves": {symbol: Reserve(**reserve) for symbol, reserve in raw["reserves"].items()},
                "emode_feeds": {int(category): feed for category, feed in raw["emode_feeds"].items()},
                "borrowers": tuple(raw["borrowers"]),
            }
        )
