"""Keccak-256 of many 64-byte messages at once: the places of mapping entries. A tenth of what one by one takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monitor.protocols.columns import I64, U8, U64

_ROUNDS = 24
_WORD = 2**64 - 1


def _constants() -> tuple[list[int], list[int]]:
    """Round constants and the rotation of each lane, from their definitions in FIPS 202."""
    register, bits = 1, []
    for _ in range(7 * _ROUNDS):
        bits.append(register & 1)
        register = register << 1 ^ (0x171 if register >> 7 else 0)
    rounds = [sum(bits[7 * n + j] << (1 << j) - 1 for j in range(7)) for n in range(_ROUNDS)]
    turns, x, y = [0] * 25, 1, 0
    for t in range(24):
        turns[x + 5 * y] = (t + 1) * (t + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    return rounds, turns


_ROUND, _TURN = _constants()


def _turned(lane: U64, by: int) -> U64:
    found: U64 = lane << np.uint64(by) | lane >> np.uint64(64 - by) if by else lane
    return found


def entry_keys(owners: U8, slots: I64) -> U8:
    """(m, 32): where Solidity keeps `mapping(address => ...)` at each of these slots (below 2**64) for each owner."""
    count = len(owners)
    message = np.zeros((count, 64), np.uint8)
    message[:, 12:32] = owners
    message[:, 56:] = slots.astype(">u8")[:, None].view(np.uint8)
    words: NDArray[np.uint64] = message.view("<u8")
    lanes = [words[:, n].copy() if n < 8 else np.zeros(count, np.uint64) for n in range(25)]
    lanes[8] |= np.uint64(1)
    lanes[16] |= np.uint64(1 << 63)
    for constant in _ROUND:
        columns = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
        mixed = [columns[(x - 1) % 5] ^ _turned(columns[(x + 1) % 5], 1) for x in range(5)]
        moved: list[U64] = [lanes[0]] * 25
        for x in range(5):
            for y in range(5):
                moved[y + 5 * ((2 * x + 3 * y) % 5)] = _turned(lanes[x + 5 * y] ^ mixed[x], _TURN[x + 5 * y])
        lanes = [
            moved[x + 5 * y] ^ (~moved[(x + 1) % 5 + 5 * y] & moved[(x + 2) % 5 + 5 * y])
            for y in range(5)
            for x in range(5)
        ]
        lanes[0] = lanes[0] ^ np.uint64(constant)
    return np.stack(lanes[:4], axis=1).astype("<u8").view(np.uint8)
