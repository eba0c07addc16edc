"""What acting needs of a chain and of a signer. Adapters: JSON-RPC endpoints, and the model chain of the tests.

Everything that an adapter answers was checked for identity (asked hash = answered hash); how many endpoints said so
comes along as `witnesses`, because settling needs two where there are two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from monitor.core.actions import Signed, SignRequest
from monitor.core.errors import SignerRefused as SignerRefused  # noqa: PLC0414  # as before
from monitor.core.errors import SignerUnavailable as SignerUnavailable  # noqa: PLC0414
from monitor.core.errors import WrongSignature as WrongSignature  # noqa: PLC0414
from monitor.core.types import Address, BlockRef


@dataclass(frozen=True, slots=True)
class TxCall:
    """What a transaction does, without nonce, fees and signature.

    `code`: it answers 0, or the code of an error without a revert. Known of calls that we make, not of those found.
    """

    to: Address
    data: bytes
    value_wei: int = 0
    code: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class RawLog:
    """One log of a receipt, as it is."""

    address: Address
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a transaction is included. `fee_wei` is what it cost in all, the L1 part included."""

    hash: str
    block_number: int
    block_hash: str
    ok: bool
    gas_used: int
    fee_wei: int
    witnesses: int = 1
    """how many endpoints tell the same"""
    disputed: bool = False
    """some endpoint tells otherwise (null is not otherwise: it may lag)"""
    logs: tuple[RawLog, ...] = ()
    error: str = ""
    """why it is not `ok` though it did not revert"""


@dataclass(frozen=True, slots=True)
class Occupant:
    """The transaction that used a nonce, found on chain by sender and nonce."""

    hash: str
    call: TxCall


@dataclass(frozen=True, slots=True)
class Account:
    """A key as the chain sees it. `code` is true for contracts and delegated (EIP-7702) accounts."""

    nonce: int
    nonce_final: int
    balance_wei: int
    code: bool = False


@dataclass(frozen=True, slots=True)
class SendReply:
    """One endpoint's answer to signed bytes: a hash, or an error, or neither when the answer was lost."""

    endpoint: str
    hash: str | None = None
    message: str | None = None
    code: int = 0


class Rung(StrEnum):
    """Ways to simulate, best first."""

    SIMULATE_V1 = "eth_simulateV1"
    OVERRIDE = "eth_call with state override"
    CALL = "eth_call"


@dataclass(frozen=True, slots=True)
class Passed:
    """The transaction would succeed on the pinned state; `gas` is None where the rung does not tell."""

    gas: int | None


@dataclass(frozen=True, slots=True)
class WouldRevert:
    """The transaction would revert; `reason` decoded. `needs_gas`: the limit with which it might not."""

    reason: str
    needs_gas: int | None = None


@dataclass(frozen=True, slots=True)
class NotSimulated:
    """No answer, or this endpoint cannot: `unsupported` lets the next rung try."""

    reason: str
    unsupported: bool = False


Simulated = Passed | WouldRevert | NotSimulated


class ExecutionChain(Protocol):
    """One chain, as far as acting needs it. All methods may raise: ChainError."""

    @property
    def endpoints(self) -> int:
        """How many endpoints are asked, for `witnesses`."""
        ...

    async def chain_id(self) -> int:
        """Asked anew each time."""
        ...

    async def head(self) -> BlockRef: ...

    async def finalized(self) -> BlockRef:
        """By tag, or by the chain's depth where the tag is missing."""
        ...

    async def block_hash(self, number: int) -> str | None:
        """The canonical hash at that height."""
        ...

    async def account(self, address: Address, head: BlockRef, finalized: BlockRef) -> Account: ...

    async def receipts(self, hashes: Sequence[str]) -> Mapping[str, Receipt]:
        """Those that any endpoint has."""
        ...

    async def known(self, hashes: Sequence[str]) -> frozenset[str]:
        """Those that some endpoint has in its pool or chain."""
        ...

    async def occupant(self, sender: Address, nonce: int) -> Occupant | None:
        """The included transaction of that nonce; None where it cannot be found out."""
        ...

    async def pooled_fees(self, sender: Address, nonce: int) -> tuple[int, int] | None:
        """(max fee, tip) of the pool's transaction of that nonce; None where the node does not tell."""
        ...

    async def tip_wei(self) -> int:
        """A usual priority fee."""
        ...

    async def send_raw(self, raw: bytes, *, private: bool = False) -> Sequence[SendReply]:
        """The same bytes to all endpoints, or to the private relay only. Never raises for one endpoint's sake."""
        ...

    async def simulate(self, sender: Address, call: TxCall, gas: int, block: BlockRef, rung: Rung) -> Simulated: ...


class Signer(Protocol):
    """A key behind its own rules. May raise: SignerRefused, SignerUnavailable."""

    async def sign(self, request: SignRequest) -> Signed: ...
