"""The two rungs that ask through the protocol's lens: with the contracts' code overridden, and as creation code.

The lens only calls getters. By state override it becomes an account of nobody, and every contract whose getters were
proven to read plain mappings is given a few bytes of code that read just these: the same answers for a tenth of the
gas. Contracts that could not be proven keep their own code. Without override the lens runs as creation code, whose
"deployed contract" is the answer; then its size is limited.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from monitor.chain import abi
from monitor.chain.aggregate import CREATED_CODE_BYTES, CREATION_CODE_BYTES
from monitor.chain.bulk.places import locate, stub
from monitor.chain.bulk.rung import Rung
from monitor.chain.bulk.wire import RungFailed, TooMuch, Wire
from monitor.core.errors import DecodeError
from monitor.core.types import Address
from monitor.protocols.columns import U8
from monitor.protocols.survey import Part, Survey

LENS_ADDRESS = "0x" + b"levmonLens".rjust(20, b"\0").hex()
LEAST_GAS = 3_000_000
"""More than any one account takes through the stubs or through real getters in proxies."""
GAS_A_CREATED_BYTE = 200
ANSWER_BYTES = 60
"""About what an account's answer takes; where it takes more, the lens answers about fewer accounts."""
NO_LIMIT = 2**32 - 1


class OverrideLens(Rung):
    """The best: one call, about what the storage reads themselves cost."""

    name = "lens by state override"
    most = 5_000

    def __init__(self, survey: Survey) -> None:
        super().__init__(survey)
        self._overrides: dict[str, Any] = {}

    async def prepare(self, wire: Wire, owners: U8) -> None:
        places = await locate(wire, self.survey.getters())
        wanted: dict[Address, list[bytes]] = {}
        for getter in self.survey.getters():
            wanted.setdefault(getter.contract, []).append(getter.selector)
        by_contract: dict[Address, dict[bytes, Any]] = {}
        for getter, place in places.items():
            by_contract.setdefault(getter.contract, {})[getter.selector] = place
        stubs = {
            contract: {"code": "0x" + stub(its).hex()}
            for contract, its in by_contract.items()
            if len(its) == len(wanted[contract])
        }
        if self.survey.flags.contract not in stubs:
            raise RungFailed("where the market keeps its accounts' flags could not be found")
        self._overrides = {LENS_ADDRESS: {"code": abi.load(self.survey.lens).bytecode}, **stubs}

    async def read(self, wire: Wire, owners: U8) -> Part:
        question = self.survey.question(owners, NO_LIMIT, LEAST_GAS)
        return _part(self, await wire.call(question, LENS_ADDRESS, self._overrides), len(owners))


class CreatedLens(Rung):
    """Needs nothing of the endpoint but eth_call."""

    name = "lens as creation code"

    def __init__(self, survey: Survey) -> None:
        super().__init__(survey)
        self._code = bytes.fromhex(abi.load(survey.lens).bytecode[2:])
        fixed = len(self._code) + len(survey.question(np.zeros((0, 20), np.uint8), 0, 0))
        self.most = max(1, min((CREATION_CODE_BYTES - fixed) // 20, CREATED_CODE_BYTES // ANSWER_BYTES))

    async def prepare(self, wire: Wire, owners: U8) -> None:
        """Nothing: it only calls getters."""

    async def read(self, wire: Wire, owners: U8) -> Part:
        least = LEAST_GAS + GAS_A_CREATED_BYTE * CREATED_CODE_BYTES
        question = self.survey.question(owners, CREATED_CODE_BYTES, least)
        return _part(self, await wire.call(self._code + question), len(owners))


def _part(rung: Rung, answer: bytes, count: int) -> Part:
    try:
        reading = rung.survey.reading(answer, count)
    except DecodeError as wrong:
        raise RungFailed(wrong.message) from None
    if not len(reading.part):
        raise TooMuch(f"{reading.gas[0]} gas were not enough for one account")
    rung.gas_an_account = (reading.gas[0] - reading.gas[1]) // len(reading.part)
    return reading.part
