"""What the chain room does against bad nodes, as switches that are all on.

A fault test runs its scenario twice: with everything on, where levmon must behave, and with one defence off, where the
same assertions must fail. So a test that would pass anyway is noticed. Nothing outside tests switches one off: no
setting, flag or environment variable leads here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Defences:
    """Each is named after what it does; the fault row that needs it is in tests/faults."""

    failover: bool = True
    """ask the next endpoint when one fails, and never give up the last"""
    hedge: bool = True
    """do not wait longer than the hedge delay for one endpoint when another could answer"""
    hedge_cap: bool = True
    """ask a second endpoint beside a slow one for critical reads only, and only so often"""
    total_deadline: bool = True
    """one deadline for a whole request, not one for each read"""
    retry_after: bool = True
    """leave an endpoint alone as long as it asks (at most 60 s)"""
    item_retry: bool = True
    """judge every item of a batch by itself and ask again only for those that failed"""
    refuse: bool = True
    """leave an endpoint that answers 401 or 403 alone, and tell it by its alias"""
    strict_json: bool = True
    """answers must be JSON-RPC: our ids, exactly one of result and error, one answer each"""
    caps: bool = True
    """limit size, depth and length of integers before an answer is parsed"""
    strict_quantity: bool = True
    """quantities and data are hex as the specification writes it, and fit their width"""
    chain_id: bool = True
    """every request carries its own question for the chain id"""
    stale_head: bool = True
    """a head that is too old is an error and no basis for a decision"""
    laggards: bool = True
    """do not ask an endpoint for a block that it does not have"""
    hash_pin: bool = True
    """read by block hash, never by tag or number"""
    state_missing: bool = True
    """a node without the state of the pinned block is no answer; another node is asked"""
    quorum: bool = True
    """where configured, an answer needs the same bytes from several endpoints"""
    header_hash: bool = True
    """a block's hash is the hash of its header"""
    parent_link: bool = True
    """a block's parent is the block before it"""
    split: bool = True
    """a batch that runs out of gas or room is split until the item that did it stands alone"""
    canonical_logs: bool = True
    """logs are asked by range only together with proof that the range ends in the pinned block"""
    poll: bool = True
    """new heads over WebSocket are hints; asking is the truth"""
    watchdog: bool = True
    """a WebSocket that is open but says nothing is made anew"""
    back_fill: bool = True
    """blocks between two heads are fetched or counted as skipped"""
    reorg_check: bool = True
    """a head is checked against the blocks that were seen before it"""
    lagging_head: bool = True
    """a head that goes back along the same branch is an endpoint that lags"""
    bounded_wait: bool = True
    """timestamps of blocks may say anything: no wait is longer than a block time, no age is negative"""
    log_identity: bool = True
    """a log counts once, in its place, and only with the hash of the block that was asked for"""
    log_bloom: bool = True
    """that a block has no watched logs is believed only as far as its bloom filter says so"""
    no_redirect: bool = True
    """an answer from elsewhere is no answer"""

    def without(self, name: str) -> Defences:
        """All of these but one. May raise: ValueError when there is no such defence."""
        if name not in {field.name for field in fields(self)}:
            raise ValueError(f"no defence is called {name!r}")
        return replace(self, **{name: False})


ALL = Defences()
