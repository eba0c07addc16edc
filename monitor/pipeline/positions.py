"""Ids: a position's taken apart again, and a decision's made."""

from __future__ import annotations

import hashlib

from monitor.core.actions import Intent
from monitor.core.types import Address, BlockRef, MarketRef


def market_of(position_id: str) -> tuple[MarketRef, Address]:
    """The market and owner of a position's id, as MarketRef writes it."""
    chain, protocol, address, *rest = position_id.split("/")
    *more, owner = rest
    return MarketRef(int(chain.removeprefix("eip155:")), protocol, address, "/".join(more) or None), owner


def draft_id(intent: Intent, block: BlockRef) -> str:
    """The same for the same intent at the same block, so that deciding twice makes one action."""
    name = hashlib.sha256(f"{intent.position_id} {block.hash} {intent.hash}".encode()).hexdigest()[:12]
    return f"{name}-{block.number}"
