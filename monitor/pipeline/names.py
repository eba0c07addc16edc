"""Owners by ENS name, resolved at the newest block of an Ethereum chain."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.chain import ens
from monitor.chain.port import Chain, run
from monitor.core.errors import CallFailed, WrongChain
from monitor.core.plan import gather
from monitor.core.types import Address


async def fetch_ens_names(chain: Chain, names: Sequence[str]) -> dict[str, Address]:
    """Each name's address, all in two rounds. May raise: ConfigError for a name without one, ChainError."""
    block = await chain.block("latest")
    if chain.chain_id not in ens.ENS_CHAINS:
        raise WrongChain(f"ENS is asked on Ethereum, and this is chain {chain.chain_id}", hint="check [chains.X] rpc")
    found: dict[str, Address] = {}
    results = await run(chain, gather([ens.name_plan(name) for name in names]), block)
    for name, address in zip(names, results, strict=True):
        if isinstance(address, CallFailed):
            raise address
        found[name] = address
    return found
