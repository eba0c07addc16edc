"""A type-2 transaction (EIP-1559) before and after its signature, byte for byte.

`verify` is the last word on a signature: the signed bytes must be exactly the encoding of the transaction asked for,
with a low-s signature of the expected sender. There is one encoding of a transaction, so comparing bytes compares
every field, also those that one would forget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import rlp
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_utils.address import to_canonical_address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException
from rlp.sedes import big_endian_int

from monitor.core.actions import Signed
from monitor.core.errors import WrongSignature
from monitor.core.types import Address

TYPE = b"\x02"
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""Signatures with a larger s are refused by nodes (EIP-2)."""
_NAMES = (
    "chain id",
    "nonce",
    "priority fee",
    "max fee",
    "gas",
    "target",
    "value",
    "calldata",
    "access list",
)


@dataclass(frozen=True, slots=True)
class Transaction:
    """What will be signed. Fees in wei per gas; no access list."""

    chain_id: int
    nonce: int
    max_priority_fee_per_gas_wei: int
    max_fee_per_gas_wei: int
    gas: int
    to: Address
    value_wei: int
    data: bytes

    @property
    def fields(self) -> list[Any]:
        """The fields in the order of EIP-1559, as RLP takes them."""
        return [
            self.chain_id,
            self.nonce,
            self.max_priority_fee_per_gas_wei,
            self.max_fee_per_gas_wei,
            self.gas,
            to_canonical_address(self.to),
            self.value_wei,
            self.data,
            [],
        ]

    @property
    def signing_hash(self) -> bytes:
        """What is signed."""
        return keccak(TYPE + bytes(rlp.encode(self.fields)))

    @property
    def cost_wei(self) -> int:
        """The most that it can cost its sender."""
        return self.gas * self.max_fee_per_gas_wei + self.value_wei

    def signed(self, signature: Signature) -> bytes:
        """The bytes to broadcast."""
        return TYPE + bytes(rlp.encode([*self.fields, signature.v, signature.r, signature.s]))


def verify(transaction: Transaction, sender: Address, raw: bytes) -> Signed:
    """`raw` if it is exactly `transaction` signed by `sender`. May raise: WrongSignature, which names what differs."""
    signature = _signature(transaction, raw)
    try:
        signer = signature.recover_public_key_from_msg_hash(transaction.signing_hash).to_checksum_address()
    except (BadSignature, ValidationError):
        raise WrongSignature("the signature is of no key at all") from None
    if signer != sender:
        raise WrongSignature(
            f"signed by {signer}, not by {sender}", hint="the signer holds another key: check its config"
        )
    if transaction.signed(signature) != raw:
        raise WrongSignature("the signed bytes are another encoding of the transaction")
    return Signed(raw, "0x" + keccak(raw).hex())


def _signature(transaction: Transaction, raw: bytes) -> Signature:
    """The signature inside `raw`, once every other field is right. May raise: WrongSignature."""
    if raw[:1] != TYPE:
        raise WrongSignature("not a type-2 transaction")
    try:
        parts = rlp.decode(raw[1:])
    except RLPException:
        raise WrongSignature("not the RLP of a transaction") from None
    if not isinstance(parts, list) or len(parts) != len(_NAMES) + 3:
        raise WrongSignature("not a signed type-2 transaction")
    wanted = rlp.decode(rlp.encode(transaction.fields))
    for name, given, right in zip(_NAMES, parts, wanted, strict=False):
        if given != right:
            raise WrongSignature(f"signed with another {name} than asked for")
    try:
        v, r, s = (int(big_endian_int.deserialize(part)) for part in parts[-3:])
        if s > HALF_ORDER:
            raise WrongSignature("the signature is not the low-s one")
        return Signature(vrs=(v, r, s))
    except (RLPException, TypeError, BadSignature, ValidationError):
        raise WrongSignature("the signature is malformed") from None
