"""Compound V2 on Ethereum. Its forks are the modules next to this package, all of them one adapter (`fork`).

What this file must not know: any rule; it only names the deployment and the variant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from monitor.protocols.base import Deployment, Version
from monitor.protocols.compound_v2.fork import CompoundFork
from monitor.protocols.compound_v2.variant import Variant


class CompoundV2(CompoundFork):
    """Compound V2: interest by block, and deprecated markets in which anyone can be liquidated."""

    name = "compound-v2"
    title = "Compound V2"
    variant = Variant(deprecates=True)
    versions: ClassVar[Sequence[Version]] = (
        Version("a3214f67", "recorded contracts: liquidity, accrual, every liquidation call and its amounts equal", 64),
    )
    deployments: ClassVar[Mapping[str, Deployment]] = {
        "ethereum/compound-v2": Deployment(
            1,
            "0x3d9819210A31b4961b30EF54bE2aeD79B9c9Cd3B",
            "compound-finance/comet deployments/mainnet/usdc/roots.json, comptrollerV2",
        ),
    }


PROTOCOL = CompoundV2()
