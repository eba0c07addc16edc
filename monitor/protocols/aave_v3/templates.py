"""The calls of Aave V3 that bring a position back, from a purse or by a guard as its owner allows, and liquidation.

Data only. Interest mode 2 is the variable one, the only one since 3.2; the guard finds the mode itself. `repay` takes
at most the debt, whatever the amount says, but 2**256 - 1 only from the owner, so exact amounts it is. Mirrors
IPool.repay, supply and liquidationCall of V3.0 to 3.7, approve of EIP-20, and monitor/contracts/guard.vy.
"""

from __future__ import annotations

from monitor.core.actions import ArgRule, Template
from monitor.protocols.base import APPROVE

VARIABLE = 2

REPAY = Template(
    "aave-v3/repay",
    "aave_v3_pool.repay",
    (
        ArgRule("asset", "intent", "asset"),
        ArgRule("amount", "intent", "amount"),
        ArgRule("interestRateMode", "constant", value=VARIABLE),
        ArgRule("onBehalfOf", "owner", "recipient"),
    ),
    "repay variable debt of the owner from the purse",
)
SUPPLY = Template(
    "aave-v3/supply",
    "aave_v3_pool.supply",
    (
        ArgRule("asset", "intent", "asset"),
        ArgRule("amount", "intent", "amount"),
        ArgRule("onBehalfOf", "owner", "recipient"),
        ArgRule("referralCode", "constant", value=0),
    ),
    "add collateral for the owner from the purse",
)
LIQUIDATE = Template(
    "aave-v3/liquidate",
    "aave_v3_pool.liquidationCall",
    (
        ArgRule("collateralAsset", "intent", "received"),
        ArgRule("debtAsset", "intent", "asset"),
        ArgRule("user", "owner"),
        ArgRule("debtToCover", "intent", "amount"),
        ArgRule("receiveAToken", "constant", value=0),
    ),
    "pay debt of an unhealthy position from the purse, and take its collateral with the bonus",
    opt_in="liquidate",
    event="aave_v3_pool.LiquidationCall",
    told=("user", "liquidator", "debtToCover", "liquidatedCollateralAmount"),
)
LIQUIDATE_FLASH = Template(
    "aave-v3/liquidate-flash",
    "liquidator.liquidate",
    (
        ArgRule("user", "owner"),
        ArgRule("collateral", "intent", "received"),
        ArgRule("debt", "intent", "asset"),
        ArgRule("cover", "intent", "amount"),
        ArgRule("min_profit", "intent"),
        ArgRule("deadline", "intent"),
        ArgRule("router", "intent", "router"),
        ArgRule("fee", "intent"),
    ),
    "the same with a flash loan, through our liquidator: what does not bring the profit named reverts",
    opt_in="liquidate",
    event="liquidator.Liquidated",
    told=("user", "", "", ""),
)
GUARDED = (
    ArgRule("owner", "owner", "recipient"),
    ArgRule("action_id", "intent", "action"),
    ArgRule("deadline", "intent"),
    ArgRule("collateral", "intent", "collateral"),
    ArgRule("debt", "intent", "asset"),
    ArgRule("amount", "intent", "amount"),
    ArgRule("max_collateral", "intent", "bound"),
    ArgRule("router", "intent", "router"),
    ArgRule("fee", "intent"),
)
DELEVERAGE = Template(
    "aave-v3/deleverage", "guard.deleverage", GUARDED, "repay debt with the owner's collateral through the guard"
)
CLOSE = Template("aave-v3/close", "guard.close", GUARDED, "repay all of a debt with the owner's collateral")
BY_GUARD = frozenset({DELEVERAGE.kind, CLOSE.kind})
TEMPLATES = (REPAY, SUPPLY, APPROVE, LIQUIDATE, LIQUIDATE_FLASH, DELEVERAGE, CLOSE)
