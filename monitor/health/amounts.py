"""The smallest amount of a step that brings health to a target, at every moment at which it may land. Exact, pure.

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


@dataclass(frozen=True, slots=True)
class Found:
    """An amount and the worst health that it leads to among the moments asked for. `reaches`: the target is met.

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
    moments_s: Sequence[int],
    context: Any = None,
    at_least: int = 0,
) -> Found:
    """The smallest amount, not under `at_least` nor the step's own least, with health >= target at all moments.

    `moments_s` are block timestamps at which the step may land, normally the next second and the last one allowed: in
    between health moves by interest one way. A step that is refused is not searched.
    """
    low, high = max(step.least, at_least), step.most
    if step.refused or low > high:
        why = step.refused or f"at least {low} is wanted of a step that allows {high}"
        return Found(0, None, reaches=False, why=why)
    try:
        probes = [protocol.reaches_between_amounts(step, target, at_s) for at_s in moments_s]
        amount = nearest_unhealthy(_all(probes), low, high)
        if amount is not None:
            worst = worst_after(protocol, step, amount, moments_s, context)
            if reaches(worst, target):
                return Found(amount, worst, reaches=True)
        return Found(high, worst_after(protocol, step, high, moments_s, context), reaches=False)
    except Impossible as impossible:
        return Found(0, None, reaches=False, why=str(impossible))


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


def _all(probes: Sequence[Callable[[int, int], bool | None]]) -> Callable[[int, int], bool | None]:
    def probe(low: int, high: int) -> bool | None:
        answers = set()
        for one in probes:
            answers.add(one(low, high))
            if False in answers:
                return False
        return None if None in answers else True

    return probe
