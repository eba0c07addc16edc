"""The two rungs that ask through the protocol's lens: with the contracts' code overridden, and as creation code.

The lens only calls getters. By state override it takes the place of the contract that keeps flags and modes, which it
then finds in its own storage, and every contract whose getter was proven to read a plain mapping is given a few bytes
of code that read just this: the same answers for a tenth of the gas. Contracts that could not be proven, or that are
asked more than one thing, keep their own code. Without override the lens runs as creation code, whose "deployed
contract" is the answer; then its size is limited.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from monitor.chain import abi
from monitor.chain.aggregate import CREATED_CODE_BYTES, CREATION_CODE_BYTES
from monitor.chain.bulk.places import locate, stub
from monitor.chain.bulk.rung import Rung
from monitor.chain.bulk.wire import RungFailed, TooMuch, Wire
from monitor.core.errors import DecodeError
from monitor.protocols.columns import U8
from monitor.protocols.survey import Getter, Part, Survey

LEAST_GAS = 3_000_000
"""More than any one account takes through the stubs or through real getters in proxies."""
GAS_A_CREATED_BYTE = 200
ANSWER_BYTES = 60
"""About what an account's answer takes; where it takes more, the lens answers about fewer accounts."""
NO_LIMIT = 2**32 - 1


class OverrideLens(Rung):
    """The best: one call, about what the storage reads themselves cost."""

    name = "lens by state override"
    by_lens = True
    most = 5_000

    def __init__(self, survey: Survey) -> None:
        super().__init__(survey)
        self._overrides: dict[str, Any] = {}
        self._slots = 0, 0
        self._place = ""

    async def prepare(self, wire: Wire, owners: U8) -> None:
        survey = self.survey
        its_flags, its_mode = of_lens(survey)
        places = await locate(wire, survey.getters())
        flags, mode = places.get(its_flags), places.get(its_mode)
        whole = flags is not None and (flags.shift, flags.bits) == (0, 256)
        if flags is None or mode is None or not whole or mode.shift or its_flags.contract != its_mode.contract:
            raise RungFailed("where the market keeps its accounts' flags and modes could not be found")
        self._slots = flags.slot, mode.slot
        asked = Counter(getter.contract for getter in survey.getters())
        self._overrides = {
            getter.contract: {"code": "0x" + stub(place).hex()}
            for getter, place in places.items()
            if asked[getter.contract] == 1
        }
        self._place = its_flags.contract
        self._overrides[self._place] = {"code": abi.load(survey.lens).bytecode}

    async def read(self, wire: Wire, owners: U8) -> Part:
        question = self.survey.question(owners, NO_LIMIT, LEAST_GAS, self._slots)
        return _part(self, await wire.call(question, self._place, self._overrides), len(owners))


class CreatedLens(Rung):
    """Needs nothing of the endpoint but eth_call."""

    name = "lens as creation code"
    by_lens = True

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


def of_lens(survey: Survey) -> tuple[Getter, Getter]:
    """The getters of flags and modes, which every lens reads. May raise: RungFailed, where there is no lens."""
    if not survey.lens or survey.flags is None or survey.mode is None:
        raise RungFailed("there is no lens for markets of this kind")
    return survey.flags, survey.mode


def _part(rung: Rung, answer: bytes, count: int) -> Part:
    try:
        reading = rung.survey.reading(answer, count)
    except DecodeError as wrong:
        raise RungFailed(wrong.message) from None
    if not len(reading.part):
        raise TooMuch(f"{reading.gas[0]} gas were not enough for one account")
    rung.gas_an_account = (reading.gas[0] - reading.gas[1]) // len(reading.part)
    return reading.part
