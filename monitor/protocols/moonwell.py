"""Moonwell on Base, Optimism, Moonbeam and Moonriver, a fork of Compound V2 by timestamp. See compound_v2.fork.

What this file must not know: any rule; it only names the deployments and the variant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from monitor.protocols.base import Deployment, Version
from monitor.protocols.compound_v2.fork import CompoundFork
from monitor.protocols.compound_v2.variant import Variant

_SOURCE = "moonwell-fi/moonwell-contracts-v2 45866f4c chains/"


class Moonwell(CompoundFork):
    """Moonwell: interest by second.

    Its oracle may serve an older round until somebody pays for the newer one: the price in use can differ from the feed
    and change without an event. Read is what the oracle answers at the block.
    """

    name = "moonwell"
    title = "Moonwell"
    variant = Variant(seconds=True)
    versions: ClassVar[Sequence[Version]] = (
        Version("45866f4c", "by source: the functions that decide are Compound V2's, which recordings prove"),
    )
    deployments: ClassVar[Mapping[str, Deployment]] = {
        "base/moonwell": Deployment(
            8453, "0xfBb21d0380beE3312B33c4353c8936a0F13EF26C", f"{_SOURCE}8453.json, UNITROLLER"
        ),
        "optimism/moonwell": Deployment(
            10, "0xCa889f40aae37FFf165BccF69aeF1E82b5C511B9", f"{_SOURCE}10.json, UNITROLLER"
        ),
        "moonbeam/moonwell": Deployment(
            1284, "0x8E00D5e02E65A19337Cdba98bbA9F84d4186a180", f"{_SOURCE}1284.json, UNITROLLER"
        ),
        "moonriver/moonwell": Deployment(
            1285, "0x0b7a0EAA884849c6Af7a129e899536dDDcA4905E", f"{_SOURCE}1285.json, UNITROLLER"
        ),
    }


PROTOCOL = Moonwell()
