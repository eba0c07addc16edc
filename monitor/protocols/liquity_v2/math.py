"""Liquity V2's integers: a trove's debt with interest and batch fees, and what a liquidation does with it.

Rounded as TroveManager does (liquity/bold 405f912). Holds the raw state that they work on. Ratios, rates and amounts
are in 10**18; rates are per year of 365 days, and interest is simple until somebody touches the trove or its batch.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitor.core.types import Address, MarketRef
from monitor.core.units import UINT256_MAX, WAD, mul_div_down

ONE_YEAR_S = 365 * 86_400
NONEXISTENT, ACTIVE, CLOSED, ZOMBIE = 0, 1, 2, 4
"""Statuses; 3 is of a trove that was closed by liquidation."""
GAS_COMPENSATION_DIVISOR, GAS_COMPENSATION_CAP = 200, 2 * WAD
MIN_BOLD_IN_SP = WAD
"""The Stability Pool keeps this much."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One branch's contracts and ratios; all are immutable."""

    market: MarketRef
    manager: Address
    price_feed: Address
    nft: Address
    stability_pool: Address
    coll: Address
    bold: Address
    mcr: int
    ccr: int
    scr: int
    symbol: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch manager's troves share: one debt, cut by shares, and the rate and fee that the manager sets."""

    manager: Address
    debt: int
    rate: int
    fee: int
    updated_s: int
    shares: int


@dataclass(frozen=True, slots=True)
class State:
    """One trove as stored, and its pending redistribution. `debt`, `rate` and `updated_s` are 0 in a batch."""

    facts: Facts
    trove_id: int
    status: int
    debt: int
    coll: int
    rate: int
    updated_s: int
    shares: int
    batch: Batch | None
    redist_debt: int
    redist_coll: int
    shutdown_s: int
    troves: int
    price_error: str = ""
    oracle_failed: bool = False
    """whether the next fetchPrice on chain shuts the branch down"""


@dataclass(frozen=True, slots=True)
class Latest:
    """TroveManager.getLatestTroveData: the debt and its parts, and the collateral."""

    recorded_debt: int
    interest: int
    fee: int
    rate: int
    debt: int
    coll: int


def interest(debt: int, rate: int, seconds: int) -> int:
    """LiquityBase._calcInterest: two divisions, both down."""
    return debt * rate * seconds // ONE_YEAR_S // WAD


def period(state: State, updated_s: int, now_s: int) -> int:
    """TroveManager._getInterestPeriod: interest stops when the branch is shut down."""
    if state.shutdown_s == 0:
        return now_s - updated_s
    return max(state.shutdown_s - updated_s, 0)


def latest(state: State, now_s: int) -> Latest:
    """The trove at `now_s`. In a batch the debt, the interest and the fee are cut by shares one by one, each down."""
    batch = state.batch
    if batch is None:
        recorded, rate, fee = state.debt, state.rate, 0
        accrued = interest(recorded, rate, period(state, state.updated_s, now_s))
    else:
        seconds, rate = period(state, batch.updated_s, now_s), batch.rate
        whole = batch.debt, interest(batch.debt, rate, seconds), interest(batch.debt, batch.fee, seconds)
        recorded, accrued, fee = (
            mul_div_down(amount, state.shares, batch.shares) if batch.shares else 0 for amount in whole
        )
    debt = recorded + state.redist_debt + accrued + fee
    return Latest(recorded, accrued, fee, rate, debt, state.coll + state.redist_coll)


def compute_cr(coll: int, debt: int, price: int) -> int:
    """LiquityMath._computeCR: floored; the maximum without debt."""
    return mul_div_down(coll, price, debt) if debt else UINT256_MAX


@dataclass(frozen=True, slots=True)
class Split:
    """Where a liquidated trove's debt and collateral go; what exceeds the penalties stays the owner's, as surplus."""

    gas_coll: int
    offset_debt: int
    offset_coll: int
    redistributed_debt: int
    redistributed_coll: int
    surplus_coll: int


def liquidate(trove: Latest, price: int, pool: int, penalty: int, redistribution_penalty: int) -> Split:
    """TroveManager._getOffsetAndRedistributionVals with `pool` BOLD deposited.

    Penalties in WAD; `price` and the debt are above 0.
    """
    usable = pool - min(MIN_BOLD_IN_SP, pool)
    offset = min(trove.debt, usable)
    portion = mul_div_down(trove.coll, offset, trove.debt)
    # whoever liquidates is paid from what the pool takes, and so not at all where it takes nothing
    gas = min(portion // GAS_COMPENSATION_DIVISOR, GAS_COMPENSATION_CAP)
    to_pool = min(portion - gas, offset * (WAD + penalty) // price)
    surplus, rest, redistributed = portion - gas - to_pool, trove.debt - offset, 0
    if rest and trove.coll > portion:
        surplus += trove.coll - portion
        redistributed = min(surplus, rest * (WAD + redistribution_penalty) // price)
        surplus -= redistributed
    return Split(gas, offset, to_pool, rest, redistributed, surplus)
