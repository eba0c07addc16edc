"""The positions of the golden files, for the contract suite, by what each protocol's own test already reads.

The rule, so that a new protocol needs no line here: `tests/protocols/test_NAME.py` has a `read` that takes one recorded
sample (or its number, `at`) of the golden file NAME, and its state holds the `facts` that it was read by; or it
has `contract_samples`, as where `levmon verify --record` wrote the file. Those with several recordings, or with
another's, are named below.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from monitor.chain.recording import Recording
from monitor.core.registry import protocol
from monitor.core.types import Answer, BlockRef, Call, Position, Query
from monitor.testing.contract_samples import Sample
from tests.protocols import aave_v3_recordings, compound_v2_recordings
from tests.protocols.cassette import load


@cache
def samples_of(name: str) -> list[Sample]:
    """All positions that the recordings of a protocol hold."""
    return SPECIAL.get(name, _by_rule)(name)


def _by_rule(name: str) -> list[Sample]:
    module: Any = importlib.import_module(f"tests.protocols.test_{name.replace('-', '_')}")
    if hasattr(module, "contract_samples"):
        told: list[Sample] = module.contract_samples()
        return told
    assert hasattr(module, "read"), f"{module.__name__} has no read(sample): see the first lines of {__name__}"
    recording = load(name)
    by_number = "at" in inspect.signature(module.read).parameters
    positions = [module.read(at if by_number else sample) for at, sample in enumerate(recording.samples)]
    return [Sample(protocol(name), one.state.facts, one, recording) for one in positions if isinstance(one, Position)]


def _aave_v3(name: str) -> list[Sample]:
    return [
        Sample(protocol(name), facts, position, recording, aave_v3_recordings.context_of(facts))
        for version in aave_v3_recordings.VERSIONS
        for recording in [load(f"aave-v3-{version}")]
        for _, facts, position in aave_v3_recordings.positions(recording)
    ]


def _compound(name: str) -> list[Sample]:
    recording = load(name)
    positions = [compound_v2_recordings.read(name, at) for at in range(len(recording.samples))]
    return [
        Sample(protocol(name), one.state.facts, one, recording, compound_v2_recordings.open_gates(one.state.facts))
        for one in positions
    ]


class _BySecond(Recording):
    """Compound V2's recording with its blocks for seconds: what a fork that counts seconds would have answered."""

    def answer(self, block: BlockRef, query: Query) -> Answer:
        """May raise: NotRecorded."""
        if isinstance(query, Call) and query.function in BLOCKWISE:
            query = replace(query, function=BLOCKWISE[query.function])
        return super().answer(block, query)


BLOCKWISE = {
    "compound_v2.accrualBlockTimestamp": "compound_v2.accrualBlockNumber",
    "compound_v2.borrowRatePerTimestamp": "compound_v2.borrowRatePerBlock",
}


def _by_second(name: str) -> list[Sample]:
    fork, recording = protocol(name), _BySecond.of(load("compound-v2").content)
    found = []
    for one in samples_of("compound-v2"):
        block = replace(one.position.block, timestamp=one.position.block.number)
        facts = replace(one.facts, market=replace(one.facts.market, protocol=name))
        (position,) = recording.replay(fork.state(facts, [one.position.owner], block), block)
        assert isinstance(position, Position)
        found.append(Sample(fork, facts, position, recording, one.context))
    return found


SPECIAL: Mapping[str, Callable[[str], list[Sample]]] = {
    "aave-v3": _aave_v3,
    "compound-v2": _compound,
    "venus-core": _compound,
    "benqi": _by_second,
    "moonwell": _by_second,
}
