"""Which assets a local Aave V3 market lists, and on what terms.

Prices are invented but not round, so that a rounding that goes the wrong way shows. Terms are in basis points as in the
contracts. Pure data; `aave_v3_core.py` (3.0) and `aave_v3_origin.py` (3.6) put it on a chain.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitor.testing.aave_v3_market import Version

STABLE_EMODE = 1
ETH_EMODE = 2
LST_EMODE = 3  # 3.6 only: wstETH counts with LTV zero in it


@dataclass(frozen=True, slots=True)
class Rates:
    """Kinked interest rate of a reserve, in bps a year."""

    optimal: int
    base: int
    slope1: int
    slope2: int


MONEY = Rates(optimal=90_00, base=0, slope1=5_50, slope2=60_00)
VOLATILE = Rates(optimal=65_00, base=1_00, slope1=7_00, slope2=300_00)


@dataclass(frozen=True, slots=True)
class Listing:
    """`debt_ceiling` is in whole base units with two decimals (0: not isolated). `emode`: the 3.0 category."""

    symbol: str
    decimals: int
    price_e8: int
    ltv: int
    threshold: int
    bonus: int
    reserve_factor: int
    protocol_fee: int
    rates: Rates
    stable: bool = False
    emode: int = 0
    isolation_debt: bool = False
    debt_ceiling: int = 0


_COMMON = (
    Listing("WETH", 18, 1999_37654321, 80_00, 82_50, 105_00, 15_00, 10_00, VOLATILE, emode=ETH_EMODE),
    Listing("WBTC", 8, 61234_56789012, 73_00, 78_00, 106_25, 20_00, 10_00, VOLATILE),
    Listing("USDC", 6, 99987654, 77_00, 80_00, 104_50, 10_00, 10_00, MONEY, True, STABLE_EMODE, isolation_debt=True),
    Listing("DAI", 18, 1_00013579, 75_00, 80_00, 105_00, 10_00, 20_00, MONEY, True, STABLE_EMODE, isolation_debt=True),
    Listing("USDT", 6, 1_00042131, 70_00, 75_00, 105_00, 12_50, 0, MONEY, False, STABLE_EMODE, isolation_debt=True),
    Listing("wstETH", 18, 2333_98765433, 78_50, 81_00, 106_00, 15_00, 15_00, VOLATILE, emode=ETH_EMODE),
    Listing("LINK", 18, 14_87654329, 50_00, 65_00, 107_50, 20_00, 10_00, VOLATILE),
    Listing("AAVE", 18, 93_21987655, 50_00, 60_00, 107_50, 0, 10_00, VOLATILE, debt_ceiling=25_000_000_00),
    Listing("CRV", 18, 51234567, 45_00, 55_00, 108_30, 35_00, 20_00, VOLATILE),
)
# 3.6 refuses an underlying with fewer than 6 decimals (ConfiguratorLogic.executeInitReserve), 3.0 takes any
_LAST: dict[Version, Listing] = {
    "3.0": Listing("GUSD", 2, 99876543, 60_00, 66_00, 105_00, 10_00, 10_00, MONEY),
    "3.6": Listing("EURC", 6, 1_08765432, 60_00, 66_00, 105_00, 10_00, 10_00, MONEY),
}
ODD_SYMBOL: dict[Version, str] = {version: listing.symbol for version, listing in _LAST.items()}
FROZEN_SYMBOL = "CRV"
ISOLATED_SYMBOL = "AAVE"
EMODE_PRICE_E8 = 1_00065432  # of category STABLE_EMODE's own source on 3.0


def listings(version: Version) -> tuple[Listing, ...]:
    """In listing order, which gives the reserve ids 0, 1, 2, ..."""
    return (*_COMMON, _LAST[version])
