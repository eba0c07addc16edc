"""What `repay` and `supplyCollateral` on behalf of an owner do to the raw state, to the wei. Morpho.sol 1.0.0.

Repaying accrues interest first, supplying collateral does not. The rate moves with a repayment, which does not matter
in the same second; so the state that comes out is to be judged at that second and no later.
"""

from __future__ import annotations

from dataclasses import replace

from monitor.core.actions import Intent
from monitor.core.types import BlockRef, Position
from monitor.protocols.base import Impossible
from monitor.protocols.morpho_blue.irm import adaptive_rate
from monitor.protocols.morpho_blue.math import (
    VIRTUAL_ASSETS,
    VIRTUAL_SHARES,
    Overflows,
    State,
    Totals,
    accrue,
    to_shares_down,
    u128,
)
from monitor.protocols.morpho_blue.templates import REPAY, SUPPLY


def after(position: Position, intent: Intent, at_s: int) -> Position:
    """See Protocol.after."""
    state: State = position.state
    amount = int(intent.args["amount"])
    if amount <= 0:
        raise Impossible("inconsistent input: nothing is no amount" if intent.kind == REPAY.kind else "zero assets")
    try:
        if intent.kind == REPAY.kind:
            changed = repaid(state, totals_at(state, position.block, at_s), amount)
        elif intent.kind == SUPPLY.kind:
            changed = replace(state, collateral=u128(state.collateral + u128(amount)))
        else:
            raise Impossible(f"no effect is known of {intent.kind}")
    except Overflows as overflow:
        raise Impossible(f"the contract's own arithmetic reverts: {overflow.message}") from None
    return replace(position, state=changed)


def repaid(state: State, totals: Totals, assets: int) -> State:
    """Morpho.repay by assets, on accrued totals. May raise: Impossible, Overflows."""
    shares = u128(to_shares_down(assets, totals.total_borrow_assets, totals.total_borrow_shares))
    if shares > state.borrow_shares:
        raise Impossible(f"panic 0x11: {assets} is more than the debt")
    left = replace(
        totals,
        total_borrow_assets=max(0, totals.total_borrow_assets - u128(assets)),
        total_borrow_shares=totals.total_borrow_shares - shares,
    )
    return replace(state, totals=left, borrow_shares=state.borrow_shares - shares)


def most_repaid(state: State, totals: Totals) -> int:
    """The most assets that `repay` takes: those that burn no more shares than the owner has, so that a rest stays."""
    worth = (state.borrow_shares + 1) * (totals.total_borrow_assets + VIRTUAL_ASSETS) - 1
    return worth // (totals.total_borrow_shares + VIRTUAL_SHARES)


def totals_at(state: State, block: BlockRef, at_s: int) -> Totals:
    """The market's totals accrued to `at_s`. May raise: Overflows."""
    return accrue(state.totals, rate_at(state, block, at_s), at_s)


def rate_at(state: State, block: BlockRef, at_s: int) -> int:
    """The borrow rate from lastUpdate to `at_s`, WAD per second; that of the block where the model is not known."""
    if state.rate_at_target is not None and at_s != block.timestamp:
        return adaptive_rate(state.totals, state.rate_at_target, at_s)
    return state.borrow_rate
