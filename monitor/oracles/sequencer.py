"""Whether a rollup's sequencer is up, as Chainlink's uptime feed of that rollup says: 0 up, 1 down, and since when.

Never decides health. Prices and balances of a rollup stand still while its sequencer does, and jump when it is back;
what liquidators may do then is the protocol's own rule, of which only the length of the grace period is taken here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from monitor.core.types import Address, Call, Ok, ReadPlan

RECENT_S = 3600
"""For so long it is told that the sequencer is back, also where nobody waits for anything."""


class Sequencer(StrEnum):
    """What can be said of one at a block."""

    UP = "up"
    BACK = "back"
    """up again, since so short a time that it matters"""
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Uptime:
    """What a feed says. `up` None: it could not be read, or has no round. `since_s`: when that began."""

    feed: Address
    up: bool | None = None
    since_s: int = 0


def read_uptime(feed: Address) -> ReadPlan[Uptime]:
    """One round. No call fails the plan. A feed that has not begun (startedAt 0) says nothing."""
    (answer,) = yield (Call(feed, "price_source.latestRoundData", allow_revert=True),)
    if not isinstance(answer, Ok):
        return Uptime(feed)
    _, status, started_at, _, _ = answer.values
    if status not in (0, 1) or started_at == 0:
        return Uptime(feed)
    return Uptime(feed, status == 0, started_at)


def state_of(uptime: Uptime, now_s: int, grace_s: int | None) -> Sequencer:
    """`grace_s`: for how long after its return liquidations are held back; None: not known."""
    if uptime.up is None:
        return Sequencer.UNKNOWN
    if not uptime.up:
        return Sequencer.DOWN
    return Sequencer.BACK if now_s - uptime.since_s <= max(RECENT_S, grace_s or 0) else Sequencer.UP


def remark(uptime: Uptime, now_s: int, grace_s: int | None) -> str:
    """What people should hear, in words; empty while all is as usual."""
    ago_s = now_s - uptime.since_s
    match state_of(uptime, now_s, grace_s):
        case Sequencer.UNKNOWN:
            return "whether the rollup's sequencer is up could not be read"
        case Sequencer.DOWN:
            return f"the rollup's sequencer is down, since {ago_s} s: prices may jump when it is back"
        case Sequencer.BACK:
            return f"the rollup's sequencer is back since {ago_s} s; {_held_back(ago_s, grace_s)}"
        case _:
            return ""


def _held_back(ago_s: int, grace_s: int | None) -> str:
    if grace_s is None:
        return "for how long liquidations are held back is not known"
    if not grace_s:
        return "nothing holds liquidations back"
    left_s = grace_s - ago_s
    if left_s < 0:
        return f"the grace period of {grace_s} s is over"
    return f"most liquidations are held back for {left_s + 1} s more"
