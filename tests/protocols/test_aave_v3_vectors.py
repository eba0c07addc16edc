"""Recorded contracts, version by version: all six numbers, liquidatability and liquidation amounts, to the wei."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.chain.abi import checksum
from monitor.core.types import Known, NoDebt, Position, Unreadable
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.liquidation import Refusal, Seizure
from tests.protocols.aave_v3_recordings import VERSIONS, context_of, read, read_before
from tests.protocols.cassette import load

# samples and liquidations per recording, written down so that collecting tests need not read the recordings
COUNTS = {"3.0": (68, 8), "3.3": (69, 14), "3.4": (71, 9), "3.5": (72, 10), "3.6": (68, 10), "3.7": (65, 10)}
SAMPLES = [(version, at) for version in VERSIONS for at in range(COUNTS[version][0])]
LIQUIDATIONS = [(version, at) for version in VERSIONS for at in range(COUNTS[version][1])]


def test_no_recording_is_left_out() -> None:
    for version in VERSIONS:
        cassette = load(f"aave-v3-{version}")
        assert (len(cassette.samples), len(cassette.liquidations)) == COUNTS[version]


@pytest.mark.parametrize(("version", "at"), SAMPLES)
def test_sample(version: str, at: int) -> None:
    cassette = load(f"aave-v3-{version}")
    sample = cassette.samples[at]
    facts, position = read(cassette, sample)
    expected = sample["expected"]["getUserAccountData"]
    if "revert" in expected:
        assert isinstance(position, Unreadable)
        assert sample["expected"]["liquidatable"] is not True
        return
    assert isinstance(position, Position)
    health = PROTOCOL.evaluate(position, context_of(facts))
    assert health.reported == {name: int(value) for name, value in expected.items()}
    assert health.liquidatable is sample["expected"]["liquidatable"]
    factor = health.reported["healthFactor"]
    assert health.verdict == (Known(factor, 10**18) if health.debt else NoDebt())


@pytest.mark.parametrize(("version", "at"), SAMPLES)
def test_every_recorded_call(version: str, at: int) -> None:
    cassette = load(f"aave-v3-{version}")
    sample = cassette.samples[at]
    facts, position = read(cassette, sample)
    for call in sample["expected"]["liquidationCall"]:
        if isinstance(position, Unreadable):
            assert not call["succeeds"]
            continue
        outcome = _call(facts, position, call, at_s=position.block.timestamp)
        assert isinstance(outcome, Seizure) is call["succeeds"], call.get("reason")


@pytest.mark.parametrize(("version", "at"), LIQUIDATIONS)
def test_liquidation_amounts(version: str, at: int) -> None:
    cassette = load(f"aave-v3-{version}")
    recorded = cassette.liquidations[at]
    facts, position = read_before(cassette, recorded)
    expected = recorded["expected"]
    outcome = _call(facts, position, recorded["call"], at_s=int(recorded["exec_block"]["timestamp"]))
    if expected["succeeds"]:
        assert isinstance(outcome, Seizure), outcome
        assert outcome.debt_to_cover == int(expected["debtToCover"])
        assert outcome.collateral == int(expected["liquidatedCollateralAmount"])
    else:
        assert isinstance(outcome, Refusal)
        assert outcome.gate.name == "dust"
        assert expected["reason"] == "MustNotLeaveDust()"


def _call(facts: Any, position: Any, call: Any, at_s: int) -> Seizure | Refusal:
    return PROTOCOL.liquidation(
        position,
        checksum(call["collateralAsset"]),
        checksum(call["debtAsset"]),
        context_of(facts),
        debt_to_cover=int(call["debtToCover"]),
        receive_a_token=call["receiveAToken"],
        at_s=at_s,
    )
