"""Real contracts on chains that live as long as a test or a demo.

Knows how to get anvil, solc and Aave's published code from npm, how to deploy on anvil or in-process on py-evm, and how
to move prices and time there. Must not be imported by levmon itself: only tests, scripts and users' own tests come
here. Names are resolved on first use, so that importing the package pulls in neither py-evm nor the chain's reader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monitor.testing.ethtester_chain import EthTesterChain

__all__ = ["EthTesterChain"]


def __getattr__(name: str) -> Any:
    if name == "EthTesterChain":
        from monitor.testing.ethtester_chain import EthTesterChain

        return EthTesterChain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
