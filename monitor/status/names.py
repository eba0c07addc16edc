"""Every metric that a daemon exports, by its name without `levmon_`: the one list that pages, rules and tests go by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class About:
    """What a metric says. `of`: the commands that export it."""

    kind: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...] = ()
    of: tuple[str, ...] = ("watch", "serve", "protect", "keep")


_POSITION = ("chain", "market", "owner", "name", "position")
_WATCHED = ("watch", "serve", "protect")
_ENDPOINT = ("chain", "endpoint")
_KEPT = ("chain", "market")

METRICS = {
    "build_info": About("gauge", "Always 1; which levmon this is, and what it was started as.", ("version", "command")),
    "armed": About("gauge", "1 where it signs and sends."),
    "ready": About("gauge", "1 where all checks of /readyz hold."),
    "check_ok": About("gauge", "1 where this check of /readyz holds.", ("check",)),
    "head_block": About("gauge", "Number of the block that was judged last.", ("chain",)),
    "head_age_seconds": About("gauge", "Age of that block by this machine's clock.", ("chain",)),
    "head_age_limit_seconds": About("gauge", "Older than this a block is stale; absent on demand.", ("chain",)),
    "head_unknown": About("gauge", "1 while no fresh block can be judged.", ("chain",)),
    "blocks_skipped_total": About("counter", "Blocks that came while another was looked at.", ("chain",)),
    "reorganisations_total": About("counter", "Reorganisations that were noticed.", ("chain",)),
    "endpoint_state": About("gauge", "1 for the state that the endpoint is in.", (*_ENDPOINT, "state")),
    "endpoint_requests_total": About("counter", "HTTP requests sent.", _ENDPOINT),
    "endpoint_failed_requests_total": About("counter", "HTTP requests that failed.", _ENDPOINT),
    "endpoint_received_bytes_total": About("counter", "Bytes of answers.", _ENDPOINT),
    "endpoint_sent_bytes_total": About("counter", "Bytes of questions.", _ENDPOINT),
    "position_unknown": About("gauge", "1 while the position's health is not known.", _POSITION, _WATCHED),
    "position_health": About("gauge", "Health; absent while unknown and without debt.", _POSITION, _WATCHED),
    "position_distance_ratio": About(
        "gauge", "How far all collateral may fall before health is 1; absent with health.", _POSITION, _WATCHED
    ),
    "position_level": About("gauge", "0 ok, 1 watch, 2 warn, 3 critical; absent while unknown.", _POSITION, _WATCHED),
    "position_age_seconds": About("gauge", "Age of the block that it was judged at.", _POSITION, _WATCHED),
    "positions": About("gauge", "Positions by level, unknown among them.", ("chain", "level"), _WATCHED),
    "positions_listed": About("gauge", "Positions with series of their own, of at most 1,000.", (), _WATCHED),
    "market_unknown": About("gauge", "1 while the market cannot be judged.", _KEPT, ("keep",)),
    "market_accounts": About("gauge", "Accounts that are followed.", _KEPT, ("keep",)),
    "market_accounts_unhealthy": About("gauge", "Accounts below 1.", _KEPT, ("keep",)),
    "market_accounts_near": About("gauge", "Accounts below --near.", _KEPT, ("keep",)),
    "market_accounts_unknown": About("gauge", "Accounts of which nothing can be said.", _KEPT, ("keep",)),
    "market_look_seconds": About("gauge", "From a block's arrival to the decision.", _KEPT, ("keep",)),
    "alert_oldest_age_seconds": About("gauge", "How long the oldest alert waits; 0 where none does."),
    "alert_channel_failing": About("gauge", "1 while the channel does not take messages.", ("channel",)),
    "actions": About("gauge", "Actions in the journal by state.", ("state",), ("protect", "keep")),
    "holds": About("gauge", "Holds that levmon resume would lift.", (), ("protect", "keep")),
}
