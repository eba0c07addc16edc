"""The calls of Aave V2 that bring a position back from a purse, and liquidation. Data only.

Anybody may repay and deposit for anybody. Only variable debt is repaid: rate mode 2. `repay` takes at most the debt,
whatever the amount says, but 2**256 - 1 only from the owner, so exact amounts it is. Mirrors ILendingPool of
protocol-v2 1.0.1.
"""

from __future__ import annotations

from monitor.core.actions import ArgRule, Template
from monitor.protocols.base import APPROVE

VARIABLE = 2

REPAY = Template(
    "aave-v2/repay",
    "aave_v2.repay",
    (
        ArgRule("asset", "intent", "asset"),
        ArgRule("amount", "intent", "amount"),
        ArgRule("rateMode", "constant", value=VARIABLE),
        ArgRule("onBehalfOf", "owner", "recipient"),
    ),
    "repay variable debt of the owner from the purse",
)
SUPPLY = Template(
    "aave-v2/supply",
    "aave_v2.deposit",
    (
        ArgRule("asset", "intent", "asset"),
        ArgRule("amount", "intent", "amount"),
        ArgRule("onBehalfOf", "owner", "recipient"),
        ArgRule("referralCode", "constant", value=0),
    ),
    "add collateral for the owner from the purse",
)
LIQUIDATE = Template(
    "aave-v2/liquidate",
    "aave_v2.liquidationCall",
    (
        ArgRule("collateralAsset", "intent", "received"),
        ArgRule("debtAsset", "intent", "asset"),
        ArgRule("user", "owner"),
        ArgRule("debtToCover", "intent", "amount"),
        ArgRule("receiveAToken", "constant", value=0),
    ),
    "pay debt of an unhealthy position from the purse, and take its collateral with the bonus",
    opt_in="liquidate",
    event="aave_v2.LiquidationCall",
    told=("user", "liquidator", "debtToCover", "liquidatedCollateralAmount"),
)
TEMPLATES = (REPAY, SUPPLY, APPROVE, LIQUIDATE)
