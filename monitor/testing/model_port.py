"""The model chain behind the port that the executor talks through, with the faults of real endpoints.

Faults are decided by the seeded generator that is handed in: the same seed gives the same run. Nothing here awaits, so
that a test can drive a whole executor with `run_now`, without an event loop.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from eth_keys.datatypes import PrivateKey
from eth_utils.address import to_checksum_address

from monitor.core.actions import Intent, Signed, SignRequest
from monitor.core.errors import RpcUnavailable
from monitor.core.types import Address, BlockRef
from monitor.execution.port import (
    Account,
    NotSimulated,
    Occupant,
    Passed,
    Receipt,
    Rung,
    SendReply,
    Simulated,
    TxCall,
    WouldRevert,
)
from monitor.execution.transaction import DynamicFee, cancel_call, signing_hash, tx_hash, with_signature
from monitor.testing.devchain import account_key
from monitor.testing.model_chain import CALL_GAS, TRANSFER_GAS, ModelChain, TxRejected

T = TypeVar("T")


def run_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits. May raise what it raises."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise AssertionError("the coroutine waits for something")


@dataclass(slots=True)
class Faults:
    """Probabilities, each per endpoint and request."""

    lost_before: float = 0.0
    """the bytes never arrive, the answer neither"""
    lost_after: float = 0.0
    """the bytes arrive, the answer does not"""
    null_receipt: float = 0.0
    unread: float = 0.0
    """a question without an answer"""
    no_simulation: float = 0.0


class ModelPort:
    """ExecutionChain over a ModelChain. `endpoints` share the one pool but fail each for itself."""

    def __init__(
        self, chain: ModelChain, *, endpoints: int = 1, faults: Faults | None = None, rng: random.Random | None = None
    ) -> None:
        self.chain = chain
        self.endpoints = endpoints
        self.faults = faults or Faults()
        self._rng = rng or random.Random(0)
        self.sent: list[str] = []
        """hashes of all bytes that came to an endpoint"""

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._rng.random() < probability

    def _ask(self) -> None:
        if self._happens(self.faults.unread):
            raise RpcUnavailable("model: no answer")

    async def chain_id(self) -> int:
        self._ask()
        return self.chain.chain_id

    async def head(self) -> BlockRef:
        self._ask()
        return self.chain.head

    async def finalized(self) -> BlockRef:
        self._ask()
        return self.chain.finalized

    async def block_hash(self, number: int) -> str | None:
        self._ask()
        return self.chain.block_hash(number)

    async def account(self, address: Address, head: BlockRef, finalized: BlockRef) -> Account:
        self._ask()
        return Account(
            self.chain.nonce_at(address, head.number),
            self.chain.nonce_at(address, finalized.number),
            self.chain.balance(address),
            address in self.chain.delegated,
        )

    async def receipts(self, hashes: Sequence[str]) -> Mapping[str, Receipt]:
        self._ask()
        found = {}
        for one in hashes:
            receipt = self.chain.receipt(one)
            told = sum(1 for _ in range(self.endpoints) if not self._happens(self.faults.null_receipt))
            if receipt is not None and told:
                found[one] = Receipt(
                    one,
                    receipt.block_number,
                    receipt.block_hash,
                    receipt.ok,
                    receipt.gas_used,
                    receipt.gas_used * receipt.price_wei,
                    told,
                )
        return found

    async def known(self, hashes: Sequence[str]) -> frozenset[str]:
        self._ask()
        return frozenset(one for one in hashes if self.chain.knows(one))

    async def occupant(self, sender: Address, nonce: int) -> Occupant | None:
        self._ask()
        one = self.chain.occupant(sender, nonce)
        return Occupant(one.hash, one.tx.fields.call) if one else None

    async def pooled_fees(self, sender: Address, nonce: int) -> tuple[int, int] | None:
        self._ask()
        held = self.chain.pool.get((sender, nonce))
        return (held.max_fee_wei, held.tip_wei) if held else None

    async def tip_wei(self) -> int:
        self._ask()
        return 10**8

    async def send_raw(self, raw: bytes, *, private: bool = False) -> Sequence[SendReply]:
        return [self._deliver(f"node{n}", raw) for n in range(self.endpoints)]

    def _deliver(self, name: str, raw: bytes) -> SendReply:
        if self._happens(self.faults.lost_before):
            return SendReply(name)
        self.sent.append(tx_hash(raw))
        try:
            found = self.chain.send(raw)
            reply = SendReply(name, hash=found)
        except TxRejected as rejected:
            reply = SendReply(name, message=rejected.message, code=rejected.code)
        return SendReply(name) if self._happens(self.faults.lost_after) else reply

    async def simulate(self, sender: Address, call: TxCall, gas: int, block: BlockRef, rung: Rung) -> Simulated:
        self._ask()
        if self._happens(self.faults.no_simulation):
            return NotSimulated("model: timed out")
        if call.data in self.chain.reverting:
            return WouldRevert("model: reverts")
        return Passed(CALL_GAS if call.data else TRANSFER_GAS)


CONTRACT: Address = to_checksum_address("0x" + "c0de" * 10)


def build(intent: Intent) -> TxCall:
    """Calldata of the model's only kind of intent: an effect's number and an amount."""
    effect, amount = int(intent.args["effect"]), int(intent.args["amount"])
    return TxCall(intent.to, b"\xef\xfe\xc7\x01" + effect.to_bytes(32, "big") + amount.to_bytes(32, "big"))


class LocalSigner:
    """A key in this process, for tests: signs whatever it is asked, always the same bytes for the same request.

    `calls` makes the calldata; by default that of the model's only kind of intent.
    """

    def __init__(self, label: str = "guardian", calls: Callable[[Intent], TxCall] | None = None) -> None:
        self._build = calls or build
        self._key = PrivateKey(account_key(label))
        self.address: Address = self._key.public_key.to_checksum_address()
        self.asked: list[SignRequest] = []

    async def sign(self, request: SignRequest) -> Signed:
        self.asked.append(request)
        call = cancel_call(self.address) if request.intent is None else self._build(request.intent)
        raw = self.bytes_for(
            DynamicFee(
                request.chain_id,
                request.nonce,
                request.max_priority_fee_per_gas_wei,
                request.max_fee_per_gas_wei,
                request.gas,
                call,
            )
        )
        return Signed(raw, tx_hash(raw))

    def bytes_for(self, fields: DynamicFee) -> bytes:
        """Any transaction of this key: also what somebody else does who has it."""
        signature = self._key.sign_msg_hash(signing_hash(fields))
        return with_signature(fields, signature.v, signature.r, signature.s)
