"""BENQI on Avalanche, a fork of Compound V2 by timestamp. See compound_v2.fork.

What this file must not know: any rule; it only names the deployment and the variant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from monitor.protocols.base import Deployment, Version
from monitor.protocols.compound_v2.fork import CompoundFork
from monitor.protocols.compound_v2.variant import Variant


class Benqi(CompoundFork):
    """BENQI: interest by second. Its oracle does not refuse a negative answer: such a price reads as a huge one."""

    name = "benqi"
    title = "BENQI"
    variant = Variant(seconds=True)
    versions: ClassVar[Sequence[Version]] = (
        Version("e0cfd244", "by source: the functions that decide are Compound V2's, which recordings prove"),
    )
    deployments: ClassVar[Mapping[str, Deployment]] = {
        "avalanche/benqi": Deployment(
            43114,
            "0x486Af39519B4Dc9a7fCcd318217352830E8AD9b4",
            "several public repositories that use it; none of BENQI's own was at hand",
        ),
    }


PROTOCOL = Benqi()
