"""What to offer for inclusion, and what never to exceed. Pure integers.

The offer grows with the health's urgency. It stops at the least of four ceilings: the key's absolute cap, the plan's
cap per gas and in all, and a share of the loss that the rescue avoids. A replacement offers at least an eighth more, in
both fields, than every attempt before it and than what the pool holds: geth asks for a tenth, others for an eighth.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from monitor.core.units import BPS, WAD, mul_div_down, mul_div_up
from monitor.execution.defences import ALL, Defences
from monitor.journal.rows import Attempt, AttemptKind, Draft


class Urgency(IntEnum):
    """How near the liquidation is."""

    CALM = 0
    PRESSING = 1
    URGENT = 2


CALM_WAD = 110 * WAD // 100
URGENT_WAD = 103 * WAD // 100


@dataclass(frozen=True, slots=True)
class Fees:
    """An offer per gas, in wei."""

    max_fee_wei: int
    tip_wei: int


@dataclass(frozen=True, slots=True)
class Capped:
    """The offer that inclusion needs is above the ceiling."""

    wanted_wei: int
    ceiling_wei: int
    why: str


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """Numbers of the fee schedule; tuples by urgency."""

    max_fee_per_gas_wei: int = 500 * 10**9
    max_tip_wei: int = 50 * 10**9
    min_tip_wei: int = 10**6
    loss_share_bps: int = 5_000
    """of the avoided loss, that fees may cost at most"""
    bump_bps: int = 11_250
    base_fee_bps: tuple[int, int, int] = (20_000, 30_000, 40_000)
    tip_bps: tuple[int, int, int] = (10_000, 15_000, 30_000)
    bump_after_blocks: tuple[int, int, int] = (4, 2, 1)
    max_attempts: int = 24
    cancel_over_cap: bool = True
    """A cancel of an attempt near the cap may exceed it. Else attempts stop an eighth below, so that none ever does."""


POLICY = FeePolicy()


def urgency(health_wad: int) -> Urgency:
    """By health; one that nobody told (0) is pressing."""
    if health_wad >= CALM_WAD:
        return Urgency.CALM
    return Urgency.URGENT if 0 < health_wad < URGENT_WAD else Urgency.PRESSING


def ceiling(draft: Draft, policy: FeePolicy, defences: Defences = ALL) -> Capped:
    """The highest max fee per gas of an attempt, and which rule sets it (as a Capped with nothing wanted)."""
    cap = _cap(draft, policy, defences)
    if policy.cancel_over_cap:
        return cap
    return Capped(0, mul_div_down(cap.ceiling_wei, BPS, policy.bump_bps), f"{cap.why}, less what a cancel would take")


def _cap(draft: Draft, policy: FeePolicy, defences: Defences) -> Capped:
    if not defences.fee_cap:
        return Capped(0, 2**200, "nothing")
    rules = [
        (policy.max_fee_per_gas_wei, "the key's cap"),
        (draft.max_fee_per_gas_wei, "the plan's cap"),
        (_per_gas(draft.max_cost_wei, draft), "the plan's cost"),
    ]
    if draft.loss_avoided_wei:
        share = mul_div_down(draft.loss_avoided_wei, policy.loss_share_bps, BPS)
        rules.append((_per_gas(share, draft), "the share of the loss avoided"))
    limit, why = min(rules)
    return Capped(0, limit, why)


def _per_gas(cost_wei: int, draft: Draft) -> int:
    """What is left for gas once the L1 data fee is paid."""
    return max(cost_wei - draft.l1_data_fee_wei, 0) // draft.gas


def cancel_ceiling(draft: Draft, before: Iterable[Attempt], policy: FeePolicy, defences: Defences = ALL) -> Capped:
    """The cap, and where the policy lets it, high enough to replace any attempt of the intent.

    Else an attempt at the cap could never be cancelled, and its nonce would stand in the way of every other rescue. It
    costs a fraction of what is reserved, since a transfer to oneself takes a fraction of the gas.
    """
    limit = _cap(draft, policy, defences)
    if not policy.cancel_over_cap:
        return limit
    least = max((a.max_fee_wei for a in before if a.kind is AttemptKind.INTENT), default=0)
    return Capped(0, max(limit.ceiling_wei, mul_div_up(least, policy.bump_bps, BPS)), limit.why)


def offer(base_fee_wei: int, tip_wei: int, how: Urgency, policy: FeePolicy) -> Fees:
    """What one would like to offer now, no ceiling considered but that of the tip."""
    tip = min(max(mul_div_up(tip_wei, policy.tip_bps[how], BPS), policy.min_tip_wei), policy.max_tip_wei)
    return Fees(mul_div_up(base_fee_wei, policy.base_fee_bps[how], BPS) + tip, tip)


def first(wanted: Fees, base_fee_wei: int, limit: Capped) -> Fees | Capped:
    """The first attempt's offer: cut to the ceiling as long as that still pays the base fee."""
    if limit.ceiling_wei < base_fee_wei + 1:
        return Capped(base_fee_wei + wanted.tip_wei, limit.ceiling_wei, limit.why)
    max_fee = min(wanted.max_fee_wei, limit.ceiling_wei)
    return Fees(max_fee, min(wanted.tip_wei, max_fee))


def replacement(
    wanted: Fees,
    before: Iterable[Attempt],
    pooled: tuple[int, int] | None,
    limit: Capped,
    policy: FeePolicy,
    defences: Defences = ALL,
) -> Fees | Capped:
    """An offer that every node takes in place of those before it, or Capped."""
    attempts = list(before)
    held = [(attempt.max_fee_wei, attempt.tip_wei) for attempt in attempts] + ([pooled] if pooled else [])
    bump = policy.bump_bps if defences.full_bump else 10_500
    max_fee = max(mul_div_up(fee, bump, BPS) for fee, _ in held)
    tip = max(mul_div_up(tip, bump, BPS) for _, tip in held)
    least = max(max_fee, tip)
    if least > limit.ceiling_wei:
        return Capped(least, limit.ceiling_wei, limit.why)
    max_fee = max(least, min(wanted.max_fee_wei, limit.ceiling_wei))
    return Fees(max_fee, min(max(tip, wanted.tip_wei), max_fee))
