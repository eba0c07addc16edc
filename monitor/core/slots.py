"""Where compilers keep the entries of mappings: the hash of the mapping's slot and the key. Knows no contract.

Solidity hashes the key first, Vyper the slot first.
"""

from __future__ import annotations

from eth_utils.crypto import keccak

WORD = 2**256


def vyper_entry(slot: int, key: int) -> int:
    """The slot of `mapping[key]` of a Vyper HashMap at `slot`; a signed key is taken as its two's complement."""
    return int.from_bytes(keccak(slot.to_bytes(32, "big") + (key % WORD).to_bytes(32, "big")), "big")
