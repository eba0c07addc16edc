"""From what was read of a position to its Health, at its block and one block later.

A transaction sent now is mined in a later block, when interest has moved on: so the question is asked twice. What could
not be read becomes Unknown here and nowhere else, whatever the protocol.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from monitor.core.types import Health, Position, Unit, Unknown, Unreadable
from monitor.protocols.base import Protocol


def assess(
    protocol: Protocol[Any, Any], position: Position | Unreadable, context: Any = None, next_block_s: int = 0
) -> Health:
    """Health at the position's block; `at_next_block` is `liquidatable` one block of `next_block_s` seconds later.

    Prices and balances are those of the position's block both times; only interest accrues. With `next_block_s` 0
    nothing is said about the next block.
    """
    if isinstance(position, Unreadable):
        return Health(position.id, position.block, Unknown(position.reason), Unit("", 0))
    health = protocol.evaluate(position, context)
    if next_block_s <= 0:
        return health
    later = protocol.evaluate(position, context, position.block.timestamp + next_block_s)
    return replace(health, at_next_block=later.liquidatable)
