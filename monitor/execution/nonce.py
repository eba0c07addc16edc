"""Which nonce is next, and what it means when chain and journal disagree. Pure.

The nonce is the mutex: it is given out only where the chain's next nonce is exactly the journal's. A chain ahead of the
journal means that somebody else signs with this key; a chain behind it means that something of ours is not in yet, or
that the endpoint lags. Neither is a reason to guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class NonceState(StrEnum):
    """How the chain's nonce of a key relates to the journal's."""

    FREE = "free"
    PENDING = "pending"
    FOREIGN = "foreign"
    UNADOPTED = "unadopted"


@dataclass(frozen=True, slots=True)
class NonceView:
    """Both sides: what the chain would take next, and what the journal would give next (None: key never adopted)."""

    chain: int
    journal: int | None

    @property
    def state(self) -> NonceState:
        if self.journal is None:
            return NonceState.UNADOPTED
        if self.chain == self.journal:
            return NonceState.FREE
        return NonceState.FOREIGN if self.chain > self.journal else NonceState.PENDING
