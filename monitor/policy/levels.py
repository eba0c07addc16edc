"""One position's level, and what caused it. Compared by cross-multiplication: no division, no float decides.

Knows health and thresholds; must not know markets, time or how a level is shown.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from monitor.core.text import REASON_LIMIT, clean
from monitor.core.thresholds import Thresholds
from monitor.core.types import Health, Known, Level, NoDebt, Unknown
from monitor.core.units import format_ratio

URGENCY = (Level.UNKNOWN, Level.CRITICAL, Level.WARN, Level.WATCH, Level.OK)
"""Most urgent first: what is not known comes before the worst that is."""


def level(health: Health, thresholds: Thresholds) -> tuple[Level, str]:
    """The level and its cause in words.

    A threshold is reached when health < threshold; health < 1 and a liquidation that would succeed now are critical
    whatever the thresholds say. Without debt it is ok, and what is unknown is never anything else.
    """
    verdict = health.verdict
    if isinstance(verdict, Unknown):
        return Level.UNKNOWN, clean(verdict.reason, REASON_LIMIT)
    if health.liquidatable is True:
        return Level.CRITICAL, "can be liquidated now"
    if isinstance(verdict, NoDebt):
        return Level.OK, "no debt"
    if verdict.unhealthy:
        return Level.CRITICAL, "health is below 1"
    for name, threshold in (
        (Level.CRITICAL, thresholds.critical),
        (Level.WARN, thresholds.warn),
        (Level.WATCH, thresholds.watch),
    ):
        if below(verdict, threshold):
            return name, f"health is below {decimal(threshold)}"
    return Level.OK, f"health is {decimal(thresholds.watch)} or more"


def below(verdict: Known, threshold: Fraction) -> bool:
    """health < threshold, exactly."""
    return verdict.numerator * threshold.denominator < threshold.numerator * verdict.denominator


@lru_cache(maxsize=256)  # the same few thresholds, for every position at every block
def decimal(value: Fraction) -> str:
    """A threshold as people write it: thresholds come from decimal text, so a few places show it whole."""
    text = format_ratio(value.numerator, value.denominator, 18)
    return text.rstrip("0").rstrip(".")


def exit_code(levels: set[Level]) -> int:
    """1 if anything is warn or worse, else 3 if anything is unknown, else 0."""
    if levels & {Level.WARN, Level.CRITICAL}:
        return 1
    return 3 if Level.UNKNOWN in levels else 0
