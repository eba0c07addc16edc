"""What a rollup will charge for writing a transaction to its L1, from its own oracle at the pinned block.

A plan of one round, which travels with the state's. The calldata is not known yet, only how long it may be, so the
question is about bytes of that length that no compression shortens. Twice the answer is the bound: the L1's base fee
moves by an eighth a block while the transaction waits.

OP stack: GasPriceOracle, getL1FeeUpperBound since Fjord and getL1Fee before. Scroll: L1GasPriceOracle.getL1Fee.
Arbitrum: NodeInterface.gasEstimateL1Component, as more gas.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from monitor.chain.abi import checksum
from monitor.chain.chains import DataFee
from monitor.core.types import Call, Ok, ReadPlan

ORACLES = {
    DataFee.OP_STACK: checksum("0x420000000000000000000000000000000000000f"),
    DataFee.SCROLL: checksum("0x5300000000000000000000000000000000000002"),
    DataFee.ARBITRUM: checksum("0x00000000000000000000000000000000000000c8"),
}
ENVELOPE = 120
"""Bytes of an unsigned type-2 transaction around its calldata, with every number as large as it can be."""
WORD, SELECTOR = 32, 4
MARGIN = 2


@dataclass(frozen=True, slots=True)
class L1Fee:
    """A bound on what is paid beside the execution's gas: wei on top, or more gas."""

    wei: int = 0
    gas: int = 0


def size_of(words: int) -> int:
    """Bytes of an unsigned transaction whose call has so many arguments of one word."""
    return ENVELOPE + SELECTOR + WORD * words


def read_l1_fee(how: DataFee, size: int) -> ReadPlan[L1Fee | None]:
    """The bound for a transaction of so many bytes; None where the chain has one and it could not be read."""
    if how is DataFee.NONE:
        return L1Fee()
    oracle, data = ORACLES[how], incompressible(size)
    if how is DataFee.ARBITRUM:
        asked = [Call(oracle, "l1_fee.gasEstimateL1Component", (oracle, False, data), allow_revert=True)]
    else:
        asked = [Call(oracle, "l1_fee.getL1Fee", (data,), allow_revert=True)]
    if how is DataFee.OP_STACK:
        asked.append(Call(oracle, "l1_fee.getL1FeeUpperBound", (size,), allow_revert=True))
    answers = yield asked
    told = [int(answer.values[0]) for answer in answers if isinstance(answer, Ok)]
    if not told:
        return None
    most = max(told) * MARGIN
    return L1Fee(gas=most) if how is DataFee.ARBITRUM else L1Fee(wei=most)


def incompressible(size: int) -> bytes:
    """So many bytes without a pattern and without a zero, always the same."""
    blocks = (hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(size // 32 + 1))
    return b"".join(blocks)[:size].replace(b"\0", b"\1")
