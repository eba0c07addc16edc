"""The decoder of static types against the general codec: the same values, and the same bytes refused."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address

from monitor.chain.static_words import static_of

TYPES = (
    ("uint256",),
    ("uint8", "bool", "address", "int256", "int24", "bytes32", "bytes4"),
    ("(uint256,uint128,(address,bool)[2],int8)", "uint40"),
    ("((uint256),uint128,uint128,uint128,uint128,uint128,uint40,uint16,address,address,address)",),
    ("bytes3[3]", "uint16"),
)


def value(dice: Random, kind: str) -> Any:
    if kind.startswith("int"):
        half = 1 << int(kind[3:]) - 1
        return dice.choice((-half, half - 1, dice.randrange(-half, half)))
    if kind.startswith("uint"):
        return dice.choice((0, (1 << int(kind[4:])) - 1, dice.getrandbits(int(kind[4:]))))
    if kind.startswith("bytes"):
        return dice.randbytes(int(kind[5:]))
    return dice.random() < 0.5 if kind == "bool" else to_checksum_address(dice.randbytes(20))


def filled(dice: Random, kind: str) -> Any:
    """A value of any type of the table."""
    from monitor.chain.static_words import split_tuple

    if kind.endswith("]"):
        inner, _, count = kind[:-1].rpartition("[")
        return tuple(filled(dice, inner) for _ in range(int(count)))
    if kind.startswith("("):
        return tuple(filled(dice, part) for part in split_tuple(kind))
    return value(dice, kind)


def plain(found: Any) -> Any:
    """As the general codec has it: addresses in lower case."""
    if isinstance(found, tuple):
        return tuple(plain(part) for part in found)
    return found.lower() if isinstance(found, str) else found


@pytest.mark.parametrize("types", TYPES, ids=range(len(TYPES)))
def test_it_agrees_with_the_general_codec(types: tuple[str, ...]) -> None:
    dice = Random(len(types))
    read = static_of(types)
    assert read is not None
    refused = 0
    for _ in range(400):
        values = tuple(filled(dice, kind) for kind in types)
        data = bytearray(encode(types, values))
        assert read(bytes(data)) == values
        assert read(bytes(data) + b"more") == values
        for _ in range(dice.choice((1, 1, 3))):
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        if dice.random() < 0.1:
            del data[-dice.randint(1, 40) :]
        try:
            general = decode(types, bytes(data))
        except (DecodingError, OverflowError):
            refused += 1
            with pytest.raises(ValueError):
                read(bytes(data))
        else:
            assert plain(read(bytes(data))) == plain(general)
    assert refused > 20


@pytest.mark.parametrize("types", [("string",), ("bytes",), ("uint256[]",), ("(uint8,bytes)",), ("bytes[2]", "uint8")])
def test_dynamic_types_are_left_to_the_general_codec(types: tuple[str, ...]) -> None:
    assert static_of(types) is None
