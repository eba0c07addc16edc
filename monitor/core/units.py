"""Fixed-point integers: the three roundings of the EVM world, and the exact way between integers and text.

Knows nothing of protocols. All division floors toward zero on unsigned values unless the name says otherwise;
no float enters or leaves. Named functions that mirror one contract's rounding live with that protocol.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import NewType

from monitor.core.errors import ConfigError

Wad = NewType("Wad", int)
"""Fixed point with 18 decimals."""
Ray = NewType("Ray", int)
"""Fixed point with 27 decimals."""
Bps = NewType("Bps", int)
"""Hundredths of a percent: 10_000 is one."""

WAD = 10**18
RAY = 10**27
BPS = 10_000
UINT256_MAX = 2**256 - 1
MAX_EXPONENT = 78
"""As many decimal digits as 2**256 has: text such as 1e999999999 would otherwise fill the memory as a fraction."""


def mul_div_down(a: int, b: int, denominator: int) -> int:
    """floor(a * b / denominator) for unsigned integers."""
    return a * b // denominator


def mul_div_up(a: int, b: int, denominator: int) -> int:
    """ceil(a * b / denominator) for unsigned integers."""
    return -(-a * b // denominator)


def mul_div_half_up(a: int, b: int, denominator: int) -> int:
    """(a * b + denominator / 2) / denominator with floors: Aave's half-up rounding."""
    return (a * b + denominator // 2) // denominator


def format_units(raw: int, decimals: int) -> str:
    """The exact decimal text of `raw / 10**decimals`, without exponent or trailing zeros. `decimals >= 0`."""
    sign = "-" if raw < 0 else ""
    whole, fraction = divmod(abs(raw), 10**decimals)
    text = str(fraction).rjust(decimals, "0").rstrip("0") if decimals else ""
    return f"{sign}{whole}.{text}" if text else f"{sign}{whole}"


def format_ratio(numerator: int, denominator: int, places: int) -> str:
    """`numerator / denominator` truncated (never rounded up, so 0.9999 stays below 1) to `places` decimals."""
    sign = "-" if numerator < 0 else ""
    scaled = abs(numerator) * 10**places // denominator
    whole, fraction = divmod(scaled, 10**places)
    return f"{sign}{whole}.{fraction:0{places}d}" if places else f"{sign}{whole}"


def parse_decimal(text: str | Decimal | int) -> Fraction:
    """An exact fraction from decimal text such as `1.5`. May raise: ConfigError."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ConfigError(f"not a number: {str(text)!r}", hint="write a decimal number such as 1.5") from None
    if not value.is_finite():
        raise ConfigError(f"not a finite number: {str(text)!r}", hint="write a decimal number such as 1.5")
    if value and (abs(value.adjusted()) > MAX_EXPONENT or -int(value.as_tuple().exponent) > MAX_EXPONENT):
        raise ConfigError(f"out of range: {str(text)[:40]!r}", hint="write a decimal number such as 1.5")
    return Fraction(value)


def parse_percent(text: str) -> Fraction:
    """A signed percentage such as `-20%` as an exact fraction (-1/5). May raise: ConfigError."""
    stripped = text.strip()
    if not stripped.endswith("%"):
        raise ConfigError(f"not a percentage: {text!r}", hint="write it as -20% or +1.5%")
    return parse_decimal(stripped[:-1]) / 100
