"""The three health thresholds between the levels: exact fractions, in order. Knows nothing of positions.

Here and not with the levels, because configuration speaks of them too and core imports nothing of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

LEAST = Fraction(1)
MOST = Fraction(1_000_000)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A level is reached when health < its threshold. `1 <= critical <= warn <= watch <= 10**6`, checked by `wrong`."""

    watch: Fraction = Fraction(2)
    warn: Fraction = Fraction(3, 2)
    critical: Fraction = Fraction(11, 10)

    def wrong(self) -> str:
        """What is wrong with them, or nothing."""
        for name, value in (("watch", self.watch), ("warn", self.warn), ("critical", self.critical)):
            if not LEAST <= value <= MOST:
                return f"{name} = {float(value):g} is out of range: a threshold lies between {LEAST} and {MOST}"
        if not self.critical <= self.warn <= self.watch:
            return (
                f"thresholds are out of order: critical {float(self.critical):g} <= warn {float(self.warn):g}"
                f" <= watch {float(self.watch):g} must hold"
            )
        return ""


DEFAULT = Thresholds()
