"""What a unit of shares and of collateral weighs in float64, bounded on both sides as `columns.Weights` promises.

Proof: the contract rounds what is owed up once, and what may be owed down twice, the first time before it multiplies by
lltv <= 1. So with real = amount times weight, owed lies in [real, real + 1) and what may be owed in (real - 2, real].
The weights are quotients of integers, each rounded once, moved outwards by one part in 2**40, which is far more than
rounding them, an amount, and a sum of two of the products takes; the slack is a whole unit more than the rounding. No
weight stands for a number that the contract could not reckon with: balances have 128 bits, and at prices below 2**128
and totals below 2**127 no product overflows. At others, and without a price, debts are left to the integers.
"""

from __future__ import annotations

import numpy as np

from monitor.core.units import WAD
from monitor.protocols.columns import Weights
from monitor.protocols.morpho_blue.math import ORACLE_PRICE_SCALE, VIRTUAL_ASSETS, VIRTUAL_SHARES, Totals
from monitor.protocols.morpho_blue.replay import BALANCE_BITS

GUARD = 2.0**-40


def weights(totals: Totals | None, price: int | None, lltv: int) -> Weights:
    """Of nothing, a share owed and a unit of collateral; `totals` accrued, None where accruing reverts."""
    large = totals is not None and max(totals.total_borrow_assets, totals.total_borrow_shares) >> BALANCE_BITS - 1
    if totals is None or large or price is None or price >> BALANCE_BITS:
        nan = np.array([0.0, np.nan, np.nan])
        return Weights(nan, nan.copy(), np.array([0.0, 1.0, 1.0]))
    owed = (totals.total_borrow_assets + VIRTUAL_ASSETS) / (totals.total_borrow_shares + VIRTUAL_SHARES)
    held = price * lltv / (ORACLE_PRICE_SCALE * WAD)
    lower = np.array([0.0, -owed * (1 + GUARD), held * (1 - GUARD)])
    upper = np.array([0.0, -owed * (1 - GUARD), held * (1 + GUARD)])
    return Weights(lower, upper, np.array([0.0, 2.0, 3.0]))
