"""The one table of what differs between Aave V3.0 and 3.7, and which versions a pool may be running.

Source: core-v3 1.19.3 (3.0) and aave-v3-origin at the tags v3.1.0, v3.2.1, v3.3.0, v3.4.0, v3.5.0, v3.6.0 and commit
fd1fbd91 (3.7.0): GenericLogic, LiquidationLogic, ValidationLogic, MathUtils, TokenMath. Every other module here asks
this table and never compares version names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

RECORDED_AND_LIVE = "recorded contracts and localnet"
RECORDED = "recorded contracts"
BY_SOURCE = "by source, unproven"


@dataclass(frozen=True, slots=True)
class Rules:
    """How one version reckons. Booleans are named after what they switch on."""

    version: str
    revision: int
    """POOL_REVISION of the reference build; forks count on their own."""
    proof: str
    stable_debt: bool = False
    """<= 3.1: stable debt tokens count."""
    reserve_e_mode: bool = False
    """<= 3.1: a reserve belongs to one e-mode category, which may have a price source of its own. Later: bitmaps."""
    threshold_gates_collateral: bool = False
    """<= 3.5: a reserve with a threshold of 0 of its own is no collateral; an LTV of 0 of its own stays 0 in e-mode."""
    ltvzero_bitmap: bool = False
    """>= 3.6: e-mode categories can zero the LTV of single reserves."""
    isolated_e_mode: bool = False
    """>= 3.7: in an isolated category everything outside it has LTV 0."""
    taylor_interest: bool = False
    """>= 3.4: compounded interest by nested rayMul instead of the binomial."""
    directed_rounding: bool = False
    """>= 3.5: collateral rounds down, debt up, and the health factor is not floored to whole basis points."""
    discounted_debt: bool = False
    """3.3 only: a reserve without virtual accounting (GHO) counts with the discount of its debt token's balanceOf."""
    grace_periods: bool = True
    """>= 3.1: reserves have a liquidation grace period and a virtual balance."""
    sentinel: bool = True
    """<= 3.6: a price oracle sentinel can hold liquidations back while the health factor is at least 0.95."""
    value_close_factor: bool = False
    """>= 3.3: close factor by value, no dust may be left, bad debt is burnt."""
    stale_index_on_same_asset: bool = False
    """3.5 and 3.6: collateral and debt in the same asset use the stored liquidity index for the seizure."""
    floored_seizure: bool = False
    """>= 3.7: the seized collateral and its fee round against the liquidator; bad debt is told by scaled amounts."""
    bit_by_scaled_debt: bool = False
    """>= 3.4: a repayment clears the borrowing bit if no scaled debt is left; before, if the whole balance was paid."""
    named_errors: bool = False
    """>= 3.4: errors have selectors and names; before, the pool reverts with a number as text."""
    debt_ceiling_of_user: bool = False
    """<= 3.2: the debt ceiling's book is touched if the user is isolated after the seizure."""
    debt_ceiling_of_collateral: bool = False
    """3.3 to 3.6: the debt ceiling's book is touched if the collateral has a ceiling."""


TABLE: Mapping[str, Rules] = {
    rules.version: rules
    for rules in (
        Rules(
            "3.0",
            1,
            RECORDED_AND_LIVE,
            stable_debt=True,
            reserve_e_mode=True,
            threshold_gates_collateral=True,
            grace_periods=False,
            debt_ceiling_of_user=True,
        ),
        Rules(
            "3.1",
            4,
            BY_SOURCE,
            stable_debt=True,
            reserve_e_mode=True,
            threshold_gates_collateral=True,
            debt_ceiling_of_user=True,
        ),
        Rules("3.2", 6, BY_SOURCE, threshold_gates_collateral=True, debt_ceiling_of_user=True),
        Rules(
            "3.3",
            7,
            RECORDED,
            threshold_gates_collateral=True,
            discounted_debt=True,
            value_close_factor=True,
            debt_ceiling_of_collateral=True,
        ),
        Rules(
            "3.4",
            8,
            RECORDED,
            threshold_gates_collateral=True,
            taylor_interest=True,
            bit_by_scaled_debt=True,
            named_errors=True,
            value_close_factor=True,
            debt_ceiling_of_collateral=True,
        ),
        Rules(
            "3.5",
            9,
            RECORDED,
            threshold_gates_collateral=True,
            taylor_interest=True,
            bit_by_scaled_debt=True,
            named_errors=True,
            directed_rounding=True,
            value_close_factor=True,
            stale_index_on_same_asset=True,
            debt_ceiling_of_collateral=True,
        ),
        Rules(
            "3.6",
            10,
            RECORDED_AND_LIVE,
            ltvzero_bitmap=True,
            taylor_interest=True,
            bit_by_scaled_debt=True,
            named_errors=True,
            directed_rounding=True,
            value_close_factor=True,
            stale_index_on_same_asset=True,
            debt_ceiling_of_collateral=True,
        ),
        Rules(
            "3.7",
            11,
            RECORDED,
            ltvzero_bitmap=True,
            isolated_e_mode=True,
            taylor_interest=True,
            bit_by_scaled_debt=True,
            named_errors=True,
            directed_rounding=True,
            sentinel=False,
            value_close_factor=True,
            floored_seizure=True,
        ),
    )
}

# Functions that a version added, newest first, with the versions that have them and lack the ones before.
# 3.5 added none that reads can see, so a pool with position managers and no ltvzero bitmaps may be either.
PROBES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("getIsEModeCategoryIsolated", ("3.7",)),
    ("getEModeCategoryLtvzeroBitmap", ("3.6",)),
    ("isApprovedPositionManager", ("3.5", "3.4")),
    ("getReserveDeficit", ("3.3",)),
    ("getEModeCategoryCollateralConfig", ("3.2",)),
    ("getLiquidationGracePeriod", ("3.1",)),
)
OLDEST = ("3.0",)


def candidates(revision: int, functions: frozenset[str]) -> tuple[str, ...]:
    """The versions that a pool may follow, most likely first, from POOL_REVISION and the PROBES that answered.

    A revision that the probed functions contradict is a fork's own count and is not heeded.
    """
    family = next((versions for name, versions in PROBES if name in functions), OLDEST)
    return tuple(sorted(family, key=lambda version: TABLE[version].revision != revision))
