"""The calls of Morpho Blue that bring a position back from a purse, and liquidation. Data only.

Anybody may repay and supply collateral for anybody. Debt is repaid by assets and never by shares, so that the amount is
the one that leaves the purse; the contract reverts where it is more than the debt. A liquidation is told by shares: by
collateral what is paid would follow the oracle without any bound. What a share costs grows with the market's interest,
from 10**-6 of an asset unit; it counts as twice that, and a market in which it is more is not liquidated in.
Mirrors IMorpho of 1.0.0.
"""

from __future__ import annotations

from monitor.core.actions import ArgRule, Template
from monitor.protocols.base import APPROVE

MARKET = ("loanToken", "collateralToken", "oracle", "irm", "lltv")
FIRST_SHARES = 10**6
"""Of a market's first unit of debt."""
SHARES_PER_UNIT = FIRST_SHARES // 2
"""What of a liquidation's shares counts as one unit of the loan asset."""


def _params(loan: str = "", collateral: str = "") -> tuple[ArgRule, ...]:
    roles = {"loanToken": loan, "collateralToken": collateral}
    return tuple(ArgRule(name, "intent", roles.get(name, "")) for name in MARKET)


NO_DATA = ArgRule("data", "constant", value="0x")

REPAY = Template(
    "morpho-blue/repay",
    "morpho_blue.repay",
    (
        *_params(loan="asset"),
        ArgRule("amount", "intent", "amount"),
        ArgRule("shares", "constant", value=0),
        ArgRule("onBehalf", "owner", "recipient"),
        NO_DATA,
    ),
    "repay debt of the owner from the purse",
    market=MARKET,
)
SUPPLY = Template(
    "morpho-blue/supply",
    "morpho_blue.supplyCollateral",
    (
        *_params(collateral="asset"),
        ArgRule("amount", "intent", "amount"),
        ArgRule("onBehalf", "owner", "recipient"),
        NO_DATA,
    ),
    "add collateral for the owner from the purse",
    market=MARKET,
)
LIQUIDATE = Template(
    "morpho-blue/liquidate",
    "morpho_blue.liquidate",
    (
        *_params(loan="asset", collateral="received"),
        ArgRule("borrower", "owner"),
        ArgRule("seizedAssets", "constant", value=0),
        ArgRule("repaidShares", "intent", "amount", per=SHARES_PER_UNIT),
        NO_DATA,
    ),
    "pay debt of an unhealthy position from the purse, and take its collateral with the bonus",
    opt_in="liquidate",
    event="morpho_blue.Liquidate",
    told=("borrower", "caller", "repaidAssets", "seizedAssets"),
    market=MARKET,
)
TEMPLATES = (REPAY, SUPPLY, APPROVE, LIQUIDATE)
