"""Call data and return data for contracts whose functions are known by their signature.

Knows the ABI encoding of `name(type,...)` strings, of constructor arguments, of revert data. Knows no chain and no ABI
file: the signature beside a call says all that is needed, and is what a reader compares with the Solidity source.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from eth_abi import abi, grammar
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

PANIC = keccak(text="Panic(uint256)")[:4]
ERROR = keccak(text="Error(string)")[:4]


@lru_cache(maxsize=1024)
def types_of(signature: str) -> tuple[str, ...]:
    """The argument types of `name(t1,t2,...)` or of a bare tuple `(t1,t2,...)`, written as in the ABI."""
    types = signature[signature.index("(") :]
    if types == "()":
        return ()
    parsed = grammar.parse(types)
    if not isinstance(parsed, grammar.TupleType):
        raise TypeError(f"{signature} is no tuple of types")
    return tuple(component.to_type_str() for component in parsed.components)


@lru_cache(maxsize=1024)
def selector(signature: str) -> bytes:
    name = signature[: signature.index("(")]
    return keccak(text=f"{name}({','.join(types_of(signature))})")[:4]


def encode_call(signature: str, args: Sequence[Any]) -> bytes:
    return selector(signature) + abi.encode(types_of(signature), tuple(args))


def encode_args(types: str, args: Sequence[Any]) -> bytes:
    return abi.encode(types_of(types), tuple(args))


def decode(types: str, data: bytes) -> tuple[Any, ...]:
    """Values of a tuple `(t1,t2,...)`; top-level addresses come back checksummed. May raise: eth_abi DecodingError."""
    names = types_of(types)
    values = abi.decode(names, data)
    return tuple(
        to_checksum_address(value) if name == "address" else value for name, value in zip(names, values, strict=True)
    )


def revert_reason(data: bytes) -> str:
    """The text of Error(string), the code of Panic(uint256), else the bare data as hex (a custom error's selector)."""
    if data[:4] == ERROR:
        return str(abi.decode(["string"], data[4:])[0])
    if data[:4] == PANIC:
        return f"panic 0x{abi.decode(['uint256'], data[4:])[0]:02x}"
    return "0x" + data.hex()


def address_of(value: bytes | str) -> str:
    return to_checksum_address(value)
