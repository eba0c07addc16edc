"""Who turns a transaction into signed bytes: a key in this process, or a remote signer (a KMS, a hardware module).

Whoever it is, what comes back is verified before it is believed: see transaction.verify.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from monitor.core.types import Address
from monitor.signer.keys import SecretKey
from monitor.signer.transaction import Transaction


class RemoteSigner(Protocol):
    """Signs transactions somewhere else. It may be slow, refuse, lie, or sign the same thing differently each time."""

    @property
    def addresses(self) -> frozenset[Address]:
        """Whom it can sign for."""
        ...

    async def sign(self, transaction: Transaction, sender: Address) -> bytes:
        """The signed bytes. May raise: SigningError."""
        ...


class LocalKeys:
    """Keys in this process. Signs the same thing to the same bytes, always."""

    def __init__(self, keys: Mapping[Address, SecretKey]) -> None:
        self._keys = dict(keys)

    @property
    def addresses(self) -> frozenset[Address]:
        return frozenset(self._keys)

    async def sign(self, transaction: Transaction, sender: Address) -> bytes:
        return transaction.signed(self._keys[sender].sign_hash(transaction.signing_hash))
