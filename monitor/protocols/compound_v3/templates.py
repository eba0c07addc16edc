"""The calls of Comet that bring a position back from a purse. Data only.

Anybody may supply to anybody, from whoever sends the call. Supplying the base asset to a borrower repays its debt; what
is more than the debt is not given back but stays with the owner as supply, so a repayment is never more than is owed at
its block. The amount 2**256 - 1, which Comet takes for all of the debt, has no limit and is never used.
"""

from __future__ import annotations

from monitor.core.actions import ArgRule, Template
from monitor.protocols.base import APPROVE

_ARGS = (
    ArgRule("dst", "owner", "recipient"),
    ArgRule("asset", "intent", "asset"),
    ArgRule("amount", "intent", "amount"),
)
REPAY = Template("compound-v3/repay", "compound_v3.supplyTo", _ARGS, "repay debt of the owner from the purse")
SUPPLY = Template("compound-v3/supply", "compound_v3.supplyTo", _ARGS, "add collateral for the owner from the purse")
TEMPLATES = (REPAY, SUPPLY, APPROVE)
