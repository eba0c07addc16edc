"""Owners by ENS name, resolved at the newest block of an Ethereum chain."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.chain import ens
from monitor.chain.port import Chain, run
from monitor.core.errors import WrongChain
from monitor.core.types import Address

ETHEREUM = 1


async def fetch_ens_names(chain: Chain, names: Sequence[str]) -> dict[str, Address]:
    """Each name's address. May raise: ConfigError for a name without one, ChainError."""
    block = await chain.block("latest")
    if chain.chain_id != ETHEREUM:
        raise WrongChain(f"ENS is asked on Ethereum, and this is chain {chain.chain_id}", hint="check [chains.X] rpc")
    return await run(chain, ens.resolve(names), block)
