"""The calls of Aave V3 that bring a position back and need nothing from its owner. Data only.

Interest mode 2 is the variable one, the only one since 3.2. `repay` takes at most the debt, whatever the amount says,
but 2**256 - 1 only from the owner, so exact amounts it is. Mirrors IPool.repay and IPool.supply of V3.0 to 3.7, and
approve of EIP-20.
"""

from __future__ import annotations

from monitor.core.actions import ArgRule, Template

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
APPROVE = Template(
    "erc20/approve",
    "erc20.approve",
    (ArgRule("spender", "intent", "spender"), ArgRule("amount", "intent", "allowance")),
    "let a listed contract take this much of the purse's tokens",
)
TEMPLATES = (REPAY, SUPPLY, APPROVE)
