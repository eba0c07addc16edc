"""Thirty reserves, as many as the largest markets list: the ten of aave_v3_listing and twenty more on other terms.

Pure data for borrowers.py. Prices are invented but not round, and decimals are of every kind that is met.
"""

from __future__ import annotations

from monitor.testing.aave_v3_listing import ETH_EMODE, MONEY, VOLATILE, Listing, listings
from monitor.testing.aave_v3_market import Version

_MORE = (
    Listing("cbETH", 18, 2111_43219876, 67_00, 74_00, 107_50, 15_00, 10_00, VOLATILE, emode=ETH_EMODE),
    Listing("rETH", 18, 2188_87654321, 67_00, 74_00, 107_50, 15_00, 10_00, VOLATILE, emode=ETH_EMODE),
    Listing("weETH", 18, 2096_13572468, 72_50, 75_00, 107_50, 15_00, 10_00, VOLATILE, emode=ETH_EMODE),
    Listing("LUSD", 18, 99876123, 77_00, 80_00, 104_50, 10_00, 10_00, MONEY),
    Listing("FRAX", 18, 99765432, 70_00, 75_00, 106_00, 20_00, 10_00, MONEY),
    Listing("UNI", 18, 7_23456789, 65_00, 74_00, 110_00, 20_00, 10_00, VOLATILE),
    Listing("MKR", 18, 1432_98712345, 65_00, 70_00, 108_50, 20_00, 10_00, VOLATILE),
    Listing("SNX", 18, 2_87123456, 49_00, 65_00, 108_50, 35_00, 10_00, VOLATILE),
    Listing("BAL", 18, 3_31987654, 57_00, 59_00, 108_30, 20_00, 10_00, VOLATILE),
    Listing("LDO", 18, 1_91234567, 40_00, 50_00, 109_00, 20_00, 10_00, VOLATILE),
    Listing("ENS", 18, 12_34567891, 39_00, 49_00, 108_00, 20_00, 10_00, VOLATILE),
    Listing("1INCH", 18, 37654321, 57_00, 67_00, 107_50, 20_00, 10_00, VOLATILE),
    Listing("RPL", 18, 21_23456712, 40_00, 50_00, 109_00, 20_00, 10_00, VOLATILE),
    Listing("STG", 18, 41234987, 35_00, 37_00, 110_00, 20_00, 10_00, VOLATILE),
    Listing("KNC", 18, 61239871, 35_00, 40_00, 110_00, 20_00, 10_00, VOLATILE),
    Listing("sDAI", 18, 1_06123498, 75_00, 78_00, 104_50, 10_00, 10_00, MONEY),
    Listing("cbBTC", 8, 61198_12345678, 73_00, 78_00, 107_50, 20_00, 10_00, VOLATILE),
    Listing("tBTC", 18, 61087_98765432, 73_00, 78_00, 107_50, 20_00, 10_00, VOLATILE),
    Listing("PYUSD", 6, 99912345, 75_00, 78_00, 107_50, 20_00, 10_00, MONEY),
    Listing("crvUSD", 18, 99812367, 75_00, 78_00, 107_50, 10_00, 10_00, MONEY),
)
MOST = 10 + len(_MORE)


def wide_listings(version: Version, count: int = MOST) -> tuple[Listing, ...]:
    """The first `count` of them, at least ten. May raise: ValueError."""
    if not len(listings(version)) <= count <= MOST:
        raise ValueError(f"a wide market has {len(listings(version))} to {MOST} reserves, not {count}")
    return (*listings(version), *_MORE[: count - len(listings(version))])
