"""Every attack on the guard that we know: what is tried, which check stands against it, and how it ends.

An attack answers how it ended, `done` or the contract's reason. It ends otherwise when its check is switched off; a
test runs each both ways. Where two checks stand against the same attack the reason tells which one it met.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.guard.scene import Scene

CONFIGURE = "configure(uint256,uint256,uint256,uint256,uint256,uint256)"
USDC = 10**6


@dataclass(frozen=True)
class Attack:
    check: str
    ends: str
    run: Callable[[Scene], str]

    @property
    def name(self) -> str:
        return self.run.__name__


ATTACKS: list[Attack] = []
"""Filled by attacks.py and attacks_in_flight.py."""


def attack(check: str, ends: str | None = None) -> Callable[[Callable[[Scene], str]], Callable[[Scene], str]]:
    """Against `check`; it ends with that check's reason unless said otherwise."""

    def keep(run: Callable[[Scene], str]) -> Callable[[Scene], str]:
        ATTACKS.append(Attack(check, check.rstrip(" 23") if ends is None else ends, run))
        return run

    return keep
