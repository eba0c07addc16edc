"""What a protocol's logs do to the columns of its market: the contract that a replay keeps. Reads no chain.

A log is applied only where it says exactly what became of an account. Where it does not, the account is dirty: it is
read anew at the same block, and nothing of what the step made of it is kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from monitor.core.types import Address, BlockRef
from monitor.protocols.ledger import Account, Ledger


class Contradiction(Exception):
    """A log cannot be true of the state that it met: one of them is wrong, and all accounts must be read anew."""


@dataclass(frozen=True, slots=True)
class RawLog:
    """One log as its contract wrote it. `index` is its place in its block; addresses are 20 bytes, topics 32."""

    index: int
    address: bytes
    topics: tuple[bytes, ...]
    data: bytes

    def word(self, place: int) -> int:
        """A word of the data. May raise: Contradiction, when it is not that long."""
        part = self.data[32 * place : 32 * place + 32]
        if len(part) < 32:
            raise Contradiction(f"log {self.index} ends before its word {place}")
        return int.from_bytes(part, "big")

    def account(self, topic: int) -> bytes:
        """An indexed address. May raise: Contradiction, when there is no such topic."""
        if topic >= len(self.topics):
            raise Contradiction(f"log {self.index} has no topic {topic}")
        return self.topics[topic][12:]


@dataclass(frozen=True, slots=True)
class Watch:
    """Which logs to ask for: those of these contracts whose first topic is one of these."""

    addresses: tuple[Address, ...]
    topics: tuple[bytes, ...]


@dataclass(slots=True)
class Stage:
    """What the logs of one step make of a ledger, kept apart from it until everything is known."""

    ledger: Ledger
    unknown: Collection[int] = ()
    """rows whose state is not known: any log of theirs makes them dirty"""
    accounts: dict[bytes, Account] = field(default_factory=dict)
    """as the logs leave them"""
    before: dict[bytes, tuple[int, Account]] = field(default_factory=dict)
    """row and state in the ledger of each account that was looked up"""
    dirty: set[bytes] = field(default_factory=set)
    """accounts to be read anew, new ones among them"""
    recheck: str = ""
    """why the market's facts may no longer hold; empty if nothing says so"""

    def look_up(self, owners: Collection[bytes]) -> None:
        """Have these at hand: one look for all costs little more than for one."""
        asked = [owner for owner in owners if owner not in self.before]
        rows = {owner: row for owner, row in zip(asked, self.ledger.find_all(asked), strict=True) if row is not None}
        known = {owner: row for owner, row in rows.items() if row not in self.unknown}
        accounts = self.ledger.accounts(list(known.values()))
        self.before |= {owner: (row, was) for (owner, row), was in zip(known.items(), accounts, strict=True)}

    def account(self, owner: bytes) -> Account | None:
        """The account to be changed; None where it is not followed, or dirty already."""
        if owner in self.dirty:
            return None
        found = self.accounts.get(owner)
        if found is None:
            if owner not in self.before:
                self.look_up([owner])
            if owner not in self.before:
                if self.ledger.find(owner) is not None:
                    self.dirty.add(owner)
                return None
            found = self.accounts[owner] = self.before[owner][1].copy()
        return found

    def follows(self, owner: bytes) -> bool:
        return owner in self.accounts or owner in self.dirty or self.ledger.find(owner) is not None

    def spoil(self, owner: bytes) -> None:
        """The account is dirty."""
        self.dirty.add(owner)
        self.accounts.pop(owner, None)


class Replay(ABC):
    """How one market's logs change its columns, under the rules that its facts name."""

    watch: Watch

    @abstractmethod
    def apply(self, stage: Stage, logs: Sequence[RawLog], block: BlockRef) -> None:
        """Apply the watched logs of one block, in their order. May raise: Contradiction."""

    @abstractmethod
    def trim(self, account: Account) -> None:
        """Drop the balances that do not count, and which are therefore not followed."""
