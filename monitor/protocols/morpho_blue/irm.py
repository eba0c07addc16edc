"""AdaptiveCurveIrm: the borrow rate between accruals, from the rate at target (morpho-blue-irm, adaptive-curve-irm).

Signed integers, every division toward zero as SDIV does. Knows the market's totals and nothing else.
"""

from __future__ import annotations

from monitor.core.units import WAD, mul_div_down
from monitor.protocols.morpho_blue.math import Totals

YEAR = 365 * 86_400
CURVE_STEEPNESS = 4 * WAD
ADJUSTMENT_SPEED = 50 * WAD // YEAR
TARGET_UTILIZATION = 9 * WAD // 10
INITIAL_RATE_AT_TARGET = 4 * WAD // 100 // YEAR
MIN_RATE_AT_TARGET = WAD // 1000 // YEAR
MAX_RATE_AT_TARGET = 2 * WAD // YEAR
LN_2 = 693_147_180_559_945_309
LN_WEI = -41_446_531_673_892_822_312
WEXP_UPPER_BOUND = 93_859_467_695_000_404_319
WEXP_UPPER_VALUE = 57_716_089_161_558_943_949_701_069_502_944_508_345_128_422_502_756_744_429_568


def _div(a: int, b: int) -> int:
    """Signed division toward zero, as the EVM's SDIV."""
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def w_exp(x: int) -> int:
    """ExpLib.wExp: e^x in WAD by range reduction and a second-order Taylor polynomial."""
    if x < LN_WEI:
        return 0
    if x >= WEXP_UPPER_BOUND:
        return WEXP_UPPER_VALUE
    q = _div(x + (LN_2 // 2 if x >= 0 else -(LN_2 // 2)), LN_2)
    r = x - q * LN_2
    exp_r = WAD + r + _div(_div(r * r, WAD), 2)
    return exp_r << q if q >= 0 else exp_r >> -q


def adaptive_rate(totals: Totals, rate_at_target: int, now_s: int) -> int:
    """AdaptiveCurveIrm._borrowRate: the average rate since lastUpdate, WAD per second."""
    tba, tsa = totals.total_borrow_assets, totals.total_supply_assets
    utilization = mul_div_down(tba, WAD, tsa) if tsa else 0
    norm = WAD - TARGET_UTILIZATION if utilization > TARGET_UTILIZATION else TARGET_UTILIZATION
    err = _div((utilization - TARGET_UTILIZATION) * WAD, norm)
    if rate_at_target == 0:
        average = INITIAL_RATE_AT_TARGET
    else:
        linear = _div(ADJUSTMENT_SPEED * err, WAD) * (now_s - totals.last_update)
        if linear == 0:
            average = rate_at_target
        else:
            end = _new_rate_at_target(rate_at_target, linear)
            mid = _new_rate_at_target(rate_at_target, _div(linear, 2))
            average = _div(rate_at_target + end + 2 * mid, 4)
    coefficient = WAD - _div(WAD * WAD, CURVE_STEEPNESS) if err < 0 else CURVE_STEEPNESS - WAD
    return _div((_div(coefficient * err, WAD) + WAD) * average, WAD)


def _new_rate_at_target(start: int, linear: int) -> int:
    return min(max(_div(start * w_exp(linear), WAD), MIN_RATE_AT_TARGET), MAX_RATE_AT_TARGET)
