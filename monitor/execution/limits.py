"""What may be spent: per action, per position and day, per key and day, gas per day, and what must stay. Pure.

Judged inside the journal's transaction that reserves, over what is reserved or was spent in the last 24 hours of chain
time, so that no interleaving, restart or midnight lets the sum pass a limit. An asset without limits is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from monitor.core.types import Address
from monitor.execution.defences import ALL, Defences
from monitor.journal.budget import Judge
from monitor.journal.rows import Charge, Draft, Totals


@dataclass(frozen=True, slots=True)
class AssetLimits:
    """In the asset's smallest unit."""

    per_action: int
    per_position_day: int
    per_key_day: int


@dataclass(frozen=True, slots=True)
class SpendLimits:
    """Everything that bounds one key. Wei where not said otherwise."""

    assets: Mapping[Address, AssetLimits] = field(default_factory=dict)
    gas_wei_per_day: int = 0
    min_reserve_wei: int = 0


def reasons(limits: SpendLimits, draft: Draft, charge: Charge, balance_wei: int, totals: Totals) -> list[str]:
    """Why this charge may not be reserved; nothing where it may."""
    asset = limits.assets.get(draft.asset)
    if asset is None:
        return [f"no limits are set for asset {draft.asset}"]
    checks = (
        ("per action", charge.amount, asset.per_action),
        ("per position and day", totals.position_amount + charge.amount, asset.per_position_day),
        ("per key and day", totals.key_amount + charge.amount, asset.per_key_day),
        ("cost of the plan in wei", charge.gas_wei, draft.max_cost_wei),
        ("gas per day in wei", totals.key_gas_wei + charge.gas_wei, limits.gas_wei_per_day),
    )
    found = [f"limit {name}: {wanted} > {limit}" for name, wanted, limit in checks if wanted > limit]
    left = balance_wei - charge.gas_wei
    if left < limits.min_reserve_wei:
        found.append(f"the key lacks {limits.min_reserve_wei - left} wei for gas and reserve")
    return found


def judge(limits: SpendLimits, draft: Draft, charge: Charge, balance_wei: int, defences: Defences = ALL) -> Judge:
    """`reasons` for the journal to ask, with everything but the totals given."""
    if not defences.limits:
        return lambda _: []
    return lambda totals: reasons(limits, draft, charge, balance_wei, totals)
