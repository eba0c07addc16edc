# ruff: noqa: N802  (functions bear the names of the contract functions that they mirror)
"""The integer functions of Aave V3, named after the contract's and rounding as it does.

Mirrors protocol/libraries/math/{WadRayMath,PercentageMath,MathUtils}.sol of core-v3 1.19.3 and aave-v3-origin v3.1 to
v3.7. Knows nothing of markets. Where the contract would revert on overflow or division by zero, ArithmeticReverts is
raised: a result that the chain could not have computed must never be shown.
"""

from __future__ import annotations

from monitor.core.units import RAY, UINT256_MAX, WAD

HALF_RAY = RAY // 2
PERCENTAGE_FACTOR = 10_000
HALF_PERCENTAGE_FACTOR = 5_000
SECONDS_PER_YEAR = 365 * 86_400


class ArithmeticReverts(Exception):
    """The contract's own arithmetic reverts on these inputs: overflow of uint256, or division by zero."""


def uint256(value: int) -> int:
    """The value, if it fits the EVM's word. May raise: ArithmeticReverts."""
    if not 0 <= value <= UINT256_MAX:
        raise ArithmeticReverts("a number does not fit 256 bits")
    return value


def _over(numerator: int, denominator: int) -> int:
    if denominator == 0:
        raise ArithmeticReverts("division by zero")
    return uint256(numerator) // denominator


def wadDiv(a: int, b: int) -> int:
    """a / b in wad, half up. WadRayMath.wadDiv."""
    return _over(a * WAD + b // 2, b)


def rayMul(a: int, b: int) -> int:
    """a * b in ray, half up. WadRayMath.rayMul."""
    return uint256(a * b + HALF_RAY) // RAY


def rayMulFloor(a: int, b: int) -> int:
    """a * b in ray, down. WadRayMath.rayMulFloor, >= 3.5."""
    return uint256(a * b) // RAY


def rayMulCeil(a: int, b: int) -> int:
    """a * b in ray, up. WadRayMath.rayMulCeil, >= 3.5."""
    return -(-uint256(a * b) // RAY)


def rayDiv(a: int, b: int) -> int:
    """a / b in ray, half up. WadRayMath.rayDiv."""
    return _over(a * RAY + b // 2, b)


def rayDivFloor(a: int, b: int) -> int:
    """a / b in ray, down. WadRayMath.rayDivFloor, >= 3.5."""
    return _over(a * RAY, b)


def rayDivCeil(a: int, b: int) -> int:
    """a / b in ray, up. WadRayMath.rayDivCeil, >= 3.5."""
    return _over(a * RAY, b) + (a * RAY % b != 0)


def percentMul(value: int, percentage: int) -> int:
    """value * percentage in basis points, half up. PercentageMath.percentMul."""
    return uint256(value * percentage + HALF_PERCENTAGE_FACTOR) // PERCENTAGE_FACTOR


def percentMulFloor(value: int, percentage: int) -> int:
    """value * percentage in basis points, down. PercentageMath.percentMulFloor, >= 3.5."""
    return uint256(value * percentage) // PERCENTAGE_FACTOR


def percentMulCeil(value: int, percentage: int) -> int:
    """value * percentage in basis points, up. PercentageMath.percentMulCeil, >= 3.5."""
    return -(-uint256(value * percentage) // PERCENTAGE_FACTOR)


def percentDiv(value: int, percentage: int) -> int:
    """value / percentage in basis points, half up. PercentageMath.percentDiv."""
    return _over(value * PERCENTAGE_FACTOR + percentage // 2, percentage)


def percentDivFloor(value: int, percentage: int) -> int:
    """value / percentage in basis points, down. PercentageMath.percentDivFloor, >= 3.7."""
    return _over(value * PERCENTAGE_FACTOR, percentage)


def percentDivCeil(value: int, percentage: int) -> int:
    """value / percentage in basis points, up. PercentageMath.percentDivCeil, >= 3.5."""
    return _over(value * PERCENTAGE_FACTOR, percentage) + (value * PERCENTAGE_FACTOR % percentage != 0)


def mulDivFloor(a: int, b: int, c: int) -> int:
    """a * b / c, down: the plain Solidity expression with its overflow check."""
    return _over(a * b, c)


def mulDivCeil(a: int, b: int, c: int) -> int:
    """a * b / c, up. MathUtils.mulDivCeil, >= 3.5."""
    return _over(a * b, c) + (a * b % c != 0)


def calculateLinearInterest(rate: int, elapsed_s: int) -> int:
    """Growth in ray of a supply balance after `elapsed_s` at `rate` (ray per year). MathUtils, every version."""
    return RAY + rate * elapsed_s // SECONDS_PER_YEAR


def calculateCompoundedInterest(rate: int, elapsed_s: int) -> int:
    """Growth in ray of a debt after `elapsed_s` at `rate` (ray per year): binomial, <= 3.3, and all stable debt."""
    if elapsed_s == 0:
        return RAY
    minus_one = elapsed_s - 1
    minus_two = elapsed_s - 2 if elapsed_s > 2 else 0
    base_power_two = rayMul(rate, rate) // (SECONDS_PER_YEAR * SECONDS_PER_YEAR)
    base_power_three = rayMul(base_power_two, rate) // SECONDS_PER_YEAR
    second_term = elapsed_s * minus_one * base_power_two // 2
    third_term = elapsed_s * minus_one * minus_two * base_power_three // 6
    return RAY + rate * elapsed_s // SECONDS_PER_YEAR + second_term + third_term


def calculateCompoundedInterestTaylor(rate: int, elapsed_s: int) -> int:
    """Growth in ray of a debt after `elapsed_s` at `rate` (ray per year): MathUtils of >= 3.4."""
    if elapsed_s == 0:
        return RAY
    x = rate * elapsed_s // SECONDS_PER_YEAR
    return RAY + x + rayMul(x, x // 2 + rayMul(x, x // 6))
