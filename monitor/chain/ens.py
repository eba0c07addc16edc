"""ENS names to addresses: registry, then resolver, as a read plan on an Ethereum chain that the user has configured.

A name that is not plain, has no resolver or no address is refused: a wrong owner would be watched in silence. Names
that need an off-chain lookup are not followed.
"""

from __future__ import annotations

import re

from eth_utils.crypto import keccak

from monitor.chain.port import Chain, run
from monitor.core.errors import CallFailed, ConfigError
from monitor.core.types import Address, BlockRef, Call, Ok, ReadPlan

REGISTRY = "0x00000000000C2E074eC69A0dFb2997BA6C7d2e1e"
"""The ENS registry, the same on Ethereum and its test networks."""
ENS_CHAINS = (1, 11155111)
_PLAIN = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})+")
_NOBODY = "0x" + "00" * 20


def is_name(text: str) -> bool:
    """Whether a text can only be meant as an ENS name."""
    return "." in text and not text.startswith("0x")


def namehash(name: str) -> bytes:
    """ENSIP-1. May raise: ConfigError for names that are not plain lower-case ASCII.

    For those ENSIP-15 changes nothing; all others could be look-alikes of another name, and are not worth the risk.
    """
    if not _PLAIN.fullmatch(name) or any(label[2:4] == "--" for label in name.split(".")):
        raise ConfigError(
            f"{name!r} is no plain ENS name", hint="only a-z, 0-9, - and _ are looked up; write the address instead"
        )
    node = bytes(32)
    for label in reversed(name.split(".")):
        node = keccak(node + keccak(text=label))
    return node


def name_plan(name: str, registry: Address = REGISTRY) -> ReadPlan[Address]:
    """The address that a name points to. May raise: ConfigError."""
    node = namehash(name)
    (found,) = yield (Call(registry, "ens.resolver", (node,), allow_revert=True),)
    if not isinstance(found, Ok):
        raise ConfigError(f"ENS could not be asked for {name!r}: {found.reason}", hint="write the address instead")
    if found.values[0] == _NOBODY:
        raise ConfigError(f"there is no ENS name {name!r}", hint="check its spelling, or write the address")
    (found,) = yield (Call(found.values[0], "ens.addr", (node,), allow_revert=True),)
    if not isinstance(found, Ok) or found.values[0] == _NOBODY:
        raise ConfigError(f"the ENS name {name!r} has no address on the chain itself", hint="write the address instead")
    return str(found.values[0])


async def resolve(name: str, chain: Chain | None, block: BlockRef | None = None) -> Address:
    """The address of a name at `block` (default: the newest). May raise: ConfigError, ChainError."""
    if chain is None:
        raise ConfigError(
            f"{name!r} needs an Ethereum endpoint to be looked up", hint="configure a chain with chain_id = 1"
        )
    block = block or await chain.block("latest")
    try:
        return await run(chain, name_plan(name), block)
    except CallFailed as failed:
        raise ConfigError(f"{name!r} could not be looked up: {failed.answer.reason}") from None
