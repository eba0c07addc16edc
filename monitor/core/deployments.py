"""Markets by name: known deployments of all protocols, and PROTOCOL:ADDRESS[/ID]."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from monitor.core import registry
from monitor.core.address import parse_address
from monitor.core.errors import ConfigError
from monitor.core.types import Address


@dataclass(frozen=True, slots=True)
class NamedMarket:
    """What a market's name says. `chain_id` is None when only the node can tell."""

    name: str
    chain_id: int | None
    protocol: str
    address: Address
    id: str | None


def known_deployment(name: str) -> NamedMarket:
    """A known market by its public name, such as ethereum/aave-v3/core. May raise: ConfigError.

    Where one contract holds many markets the id follows: ethereum/morpho-blue/0x...
    """
    found: dict[str, tuple[str, Any]] = {}
    for protocol, one in registry.protocols().items():
        found |= {key: (protocol, deployment) for key, deployment in one.deployments.items()}
    head, _, tail = name.rpartition("/")
    if name in found:
        protocol, deployment = found[name]
        return NamedMarket(name, deployment.chain_id, protocol, deployment.address, deployment.id)
    if head in found and found[head][1].id is None and tail.startswith("0x"):
        protocol, deployment = found[head]
        return NamedMarket(name, deployment.chain_id, protocol, deployment.address, tail)
    near = difflib.get_close_matches(name, found, 3)
    raise ConfigError(
        f"unknown market {name!r}",
        hint=(f"did you mean {' or '.join(near)}? " if near else "")
        + "write its name in the file, a name of `levmon protocols NAME`, or PROTOCOL:ADDRESS",
    )


def parse_market(text: str) -> NamedMarket:
    """PROTOCOL:ADDRESS[/ID], eip155:CHAIN/PROTOCOL/ADDRESS[/ID], or a known deployment. May raise: ConfigError."""
    if text.startswith("eip155:"):
        chain, _, rest = text.removeprefix("eip155:").partition("/")
        protocol, _, rest = rest.partition("/")
        if not (chain.isascii() and chain.isdecimal() and protocol and rest):
            raise ConfigError(f"not a market: {text!r}", hint="write eip155:CHAIN/PROTOCOL/ADDRESS[/ID]")
        return _at(f"{protocol}:{rest}", int(chain), protocol, rest)
    protocol, colon, rest = text.partition(":")
    return _at(text, None, protocol, rest) if colon else known_deployment(text)


def _at(name: str, chain_id: int | None, protocol: str, place: str) -> NamedMarket:
    registry.protocol(protocol)
    address, _, identity = place.partition("/")
    return NamedMarket(name, chain_id, protocol, parse_address(address), identity or None)
