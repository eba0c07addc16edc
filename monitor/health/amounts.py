"""The smallest amount of a step that brings health to a target, whenever it lands in a window. Exact, pure.

Works by ruling intervals of amounts out with the protocol's own probe, smallest first, as prices are searched in
`solve`: so the answer is the smallest even where health goes up and down between (a supply with a low threshold on
Aave up to 3.4). Whatever the search says, the answer is judged once more by the effect and the rule themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from monitor.core.actions import Step
from monitor.core.types import Health, Known, NoDebt
from monitor.health.solve import nearest_unhealthy
from monitor.protocols.base import Impossible, Protocol, reaches

MOMENTS = 24
"""So many moments are heeded at once before a step counts as one that cannot be relied on."""


GUESS_PARTS = (10**8, 10**3)
"""A guess is first taken to be off by a part in so many."""


@dataclass(frozen=True, slots=True)
class Found:
    """An amount, and the worst health that it leads to among the moments looked at. `reaches`: the target is met.

    Where nothing reaches the target, `amount` is the most that the step allows. `why` where even that means nothing.
    """

    amount: int
    health: Health | None
    reaches: bool
    why: str = ""


def smallest_amount(
    protocol: Protocol[Any, Any],
    step: Step,
    target: Fraction,
    window_s: tuple[int, int],
    context: Any = None,
    at_least: int = 0,
) -> Found:
    """The smallest amount, not under `at_least` nor the step's own least, with health >= target whenever it lands.

    Where the step has a grain, the smallest multiple of that.
    `window_s`: the first and the last block timestamp at which the step may land. The amount is searched for its two
    ends; a second in between at which it does not suffice joins them, and the search goes on. A step that is refused is
    not searched.
    """
    low, high = max(step.least, at_least), step.most
    if step.refused or low > high:
        why = step.refused or f"at least {low} is wanted of a step that allows {high}"
        return Found(0, None, reaches=False, why=why)
    moments_s = list(dict.fromkeys(window_s))
    try:
        probes = [protocol.reaches_between_amounts(step, target, at_s) for at_s in moments_s]
        guess = protocol.amount_guess(step, target, moments_s[-1])
        for _ in range(MOMENTS):
            amount = _nearest_multiple(_all(probes), low, high, guess, step.grain)
            if amount is None:
                break
            missed_s = nearest_unhealthy(_not(protocol.reaches_between_times(step, target, amount)), *window_s)
            if missed_s is None:
                worst = worst_after(protocol, step, amount, moments_s, context)
                if reaches(worst, target):
                    return Found(amount, worst, reaches=True)
                break
            low = amount
            moments_s.append(missed_s)
            probes.append(protocol.reaches_between_amounts(step, target, missed_s))
        return Found(high, worst_after(protocol, step, high, moments_s, context), reaches=False)
    except Impossible as impossible:
        return Found(0, None, reaches=False, why=str(impossible))


def _nearest_multiple(
    probe: Callable[[int, int], bool | None], low: int, high: int, guess: int | None, grain: int
) -> int | None:
    if grain == 1:
        return _nearest(probe, low, high, guess)
    first, last = -(-low // grain), high // grain
    if first > last:
        return None
    about = None if guess is None else guess // grain
    found = _nearest(lambda few, many: probe(few * grain, many * grain), first, last, about)
    return None if found is None else found * grain


def _nearest(probe: Callable[[int, int], bool | None], low: int, high: int, guess: int | None) -> int | None:
    """The smallest sufficient amount: between what the guess rules out and what it confirms, if it does."""
    if guess is not None:
        for part in GUESS_PARTS:
            above = guess + guess // part + 1
            if low < above < high and probe(above, above):
                below = guess - guess // part
                if low < below and probe(low, below) is False:
                    low = below
                return nearest_unhealthy(probe, low, above)
    return nearest_unhealthy(probe, low, high)


def worst_after(
    protocol: Protocol[Any, Any], step: Step, amount: int, moments_s: Sequence[int], context: Any = None
) -> Health:
    """The least health right after the step, over the moments; what is unknown at one of them is unknown.

    May raise: Impossible.
    """
    intent = step.with_amount(amount)
    found = [
        protocol.evaluate(protocol.after(step.position, intent, at_s), context, at_s) for at_s in sorted(moments_s)
    ]
    return min(found, key=_order)


def _order(health: Health) -> tuple[int, Fraction]:
    verdict = health.verdict
    if isinstance(verdict, Known):
        return 1, Fraction(verdict.numerator, verdict.denominator)
    return (2 if isinstance(verdict, NoDebt) else 0), Fraction(0)


def _not(probe: Callable[[int, int], bool | None]) -> Callable[[int, int], bool | None]:
    def opposite(low: int, high: int) -> bool | None:
        answer = probe(low, high)
        return None if answer is None else not answer

    return opposite


def _all(probes: Sequence[Callable[[int, int], bool | None]]) -> Callable[[int, int], bool | None]:
    def probe(low: int, high: int) -> bool | None:
        undecided = False
        for one in reversed(probes):  # the latest moment is mostly the hardest
            answer = one(low, high)
            if answer is False:
                return False
            undecided = undecided or answer is None
        return None if undecided else True

    return probe
