"""The numbers that pools up to 3.3 revert with, by the names that the sources give them from 3.4 on. Data only.

Source: protocol/libraries/helpers/Errors.sol of core-v3 1.19.3 and of aave-v3-origin v3.3.0 and v3.6.0; those that
supply, repay and liquidationCall can meet.
"""

from __future__ import annotations

from collections.abc import Mapping

NAMES: Mapping[str, str] = {
    "24": "InvalidMintAmount",
    "25": "InvalidBurnAmount",
    "26": "InvalidAmount",
    "27": "ReserveInactive",
    "28": "ReserveFrozen",
    "29": "ReservePaused",
    "33": "InvalidInterestRateModeSelected",
    "35": "HealthFactorLowerThanLiquidationThreshold",
    "39": "NoDebtOfSelectedType",
    "40": "NoExplicitAmountToRepayOnBehalf",
    "45": "HealthFactorNotBelowThreshold",
    "46": "CollateralCannotBeLiquidated",
    "47": "SpecifiedCurrencyNotBorrowedByUser",
    "51": "SupplyCapExceeded",
    "59": "PriceOracleSentinelCheckFailed",
    "94": "SupplyToAToken",
    "97": "LiquidationGraceSentinelCheckFailed",
    "103": "MustNotLeaveDust",
}
