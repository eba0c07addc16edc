"""A position's id taken apart again."""

from __future__ import annotations

from monitor.core.types import Address, MarketRef


def market_of(position_id: str) -> tuple[MarketRef, Address]:
    """The market and owner of a position's id, as MarketRef writes it."""
    chain, protocol, address, *rest = position_id.split("/")
    *more, owner = rest
    return MarketRef(int(chain.removeprefix("eip155:")), protocol, address, "/".join(more) or None), owner
