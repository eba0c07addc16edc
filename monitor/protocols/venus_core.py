"""Venus Core on BNB Chain, a fork of Compound V2: thresholds, pools, pauses per action, VAI. See compound_v2.fork.

What this file must not know: any rule; it only names the deployment and the variant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from monitor.protocols.base import Deployment, Helpers, Version
from monitor.protocols.compound_v2.fork import CompoundFork
from monitor.protocols.compound_v2.variant import Variant

_FILE = "npm @venusprotocol/venus-protocol 10.3.0 deployments/bscmainnet_addresses.json"
_UNITROLLER = "0xfD36E2c2a6789Db23113685031d7F16329158384"
_VAI_CONTROLLER = "0x004065D34C6b18cE4370ced1CeBDE94865DbFAFE"


class VenusCore(CompoundFork):
    """Venus Core: interest by block, liquidation by threshold in the pool that the account has selected.

    Debts of VAI and liquidations forced for one account are only read where the VAI controller is known; with another
    one the verdict is Unknown. Liquidations go through Venus' own Liquidator, open to anyone, whose list of restricted
    borrowers and whose rule that VAI comes first are not read.
    """

    name = "venus-core"
    title = "Venus Core"
    helpers = Helpers(
        "repay (repayBorrowBehalf), or mint for the owner (mintBehalf), which counts only where the owner has"
        " entered the market; either may be paused",
        "repay, add collateral, or enter the markets of what is held already",
    )
    variant = Variant(pools=True, vai={(56, _UNITROLLER): _VAI_CONTROLLER})
    versions: ClassVar[Sequence[Version]] = (
        Version("10.3.0", "recorded contracts: liquidity, accrual, every liquidation call and its amounts equal", 65),
    )
    deployments: ClassVar[Mapping[str, Deployment]] = {
        "bnb/venus-core": Deployment(56, _UNITROLLER, f"{_FILE}, Unitroller"),
    }


PROTOCOL = VenusCore()
