"""Signed bytes read back: the fields and the sender of an EIP-1559 transaction. Pure.

A signer is believed only so far as its bytes decode to exactly what was asked, from exactly the key that was asked:
then a broken or hostile one cannot make levmon journal or send anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import rlp
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from monitor.core.actions import Signed, SignRequest
from monitor.core.errors import WrongSignature
from monitor.core.types import Address
from monitor.execution.port import TxCall

HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


@dataclass(frozen=True, slots=True)
class DynamicFee:
    """An EIP-1559 transaction without access list."""

    chain_id: int
    nonce: int
    tip_wei: int
    max_fee_wei: int
    gas: int
    call: TxCall


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """What signed bytes say."""

    fields: DynamicFee
    sender: Address
    hash: str


def payload(fields: DynamicFee) -> list[Any]:
    """The RLP items in EIP-1559's order, without the signature."""
    call = fields.call
    to = bytes.fromhex(call.to[2:])
    return [
        fields.chain_id, fields.nonce, fields.tip_wei, fields.max_fee_wei, fields.gas, to, call.value_wei, call.data, []
    ]  # fmt: skip


def signing_hash(fields: DynamicFee) -> bytes:
    """What the key signs."""
    return bytes(keccak(b"\x02" + rlp.encode(payload(fields))))


def with_signature(fields: DynamicFee, v: int, r: int, s: int) -> bytes:
    """The signed bytes."""
    return b"\x02" + bytes(rlp.encode([*payload(fields), v, r, s]))


def tx_hash(raw: bytes) -> str:
    return "0x" + keccak(raw).hex()


def decode(raw: bytes) -> SignedTransaction:
    """May raise: WrongSignature, when this is no signed EIP-1559 transaction in canonical form."""
    try:
        if raw[:1] != b"\x02":
            raise WrongSignature("the signed bytes are no EIP-1559 transaction")
        items = rlp.decode(raw[1:])
        chain_id, nonce, tip, max_fee, gas, to, value, data, access, v, r, s = items
        numbers = [_number(item) for item in (chain_id, nonce, tip, max_fee, gas, value, v, r, s)]
    except (rlp.DecodingError, ValueError, TypeError) as error:
        raise WrongSignature(f"the signed bytes do not decode: {type(error).__name__}") from None
    if access or len(to) != 20:
        raise WrongSignature("the signed bytes have an access list or no recipient")
    chain, count, tip_wei, fee_wei, gas_units, value_wei, odd, r_value, s_value = numbers
    fields = DynamicFee(chain, count, tip_wei, fee_wei, gas_units, TxCall(to_checksum_address(to), data, value_wei))
    if odd > 1 or s_value > HALF_ORDER:
        raise WrongSignature("the signature is not in canonical form")
    try:
        key = Signature(vrs=(odd, r_value, s_value)).recover_public_key_from_msg_hash(signing_hash(fields))
    except (BadSignature, ValidationError):
        raise WrongSignature("the signature belongs to no key") from None
    return SignedTransaction(fields, key.to_checksum_address(), tx_hash(raw))


def _number(item: bytes) -> int:
    if item[:1] == b"\x00":
        raise ValueError("leading zero")
    return int.from_bytes(item, "big")


def verify(signed: Signed, request: SignRequest, call: TxCall) -> None:
    """May raise: WrongSignature, unless the bytes are exactly what was asked, from exactly that key."""
    found = decode(signed.raw)
    asked = DynamicFee(
        request.chain_id,
        request.nonce,
        request.max_priority_fee_per_gas_wei,
        request.max_fee_per_gas_wei,
        request.gas,
        call,
    )
    for name in DynamicFee.__dataclass_fields__:
        if getattr(found.fields, name) != getattr(asked, name):
            raise WrongSignature(f"the signer signed another {name} than it was asked for")
    if found.sender != request.sender:
        raise WrongSignature(f"the signature is of {found.sender}, not of {request.sender}")
    if found.hash != signed.hash:
        raise WrongSignature("the signer tells another hash than that of its bytes")


def cancel_call(sender: Address) -> TxCall:
    """A transfer of nothing to oneself."""
    return TxCall(sender, b"")
