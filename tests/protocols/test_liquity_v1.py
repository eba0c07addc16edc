"""Liquity V1 against its recorded contracts, in normal and in recovery mode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from monitor.core.plan import run
from monitor.core.types import GateState, Known, MarketRef, NoDebt, Ok, Position, Unknown, Unread, Unreadable
from monitor.protocols.liquity_v1 import ETH, PROTOCOL, Facts, State, compute_cr
from tests.protocols.cassette import block_of, load

CASSETTE = load("liquity-v1")
SAMPLES = CASSETTE.samples
DEPLOYED = CASSETTE.content["deployments"]
FACTS = Facts(
    MarketRef(31337, "liquity-v1", DEPLOYED["TroveManager"]),
    DEPLOYED["PriceFeed(PriceFeedTestnet)"],
    DEPLOYED["ActivePool"],
    DEPLOYED["DefaultPool"],
    DEPLOYED["StabilityPool"],
    DEPLOYED["LUSDToken"],
    11 * 10**17,
    15 * 10**17,
)


def read(sample: Mapping[str, Any]) -> Position:
    block = block_of(sample)
    (position,) = CASSETTE.replay(PROTOCOL.state(FACTS, [sample["account"]["owner"]], block), block)
    assert isinstance(position, Position)
    return position


@pytest.mark.parametrize("sample", SAMPLES, ids=[f"{n}-{s['name']}" for n, s in enumerate(SAMPLES)])
def test_recorded_samples_are_exact(sample: dict[str, Any]) -> None:
    position, expected, market = read(sample), sample["expected"], sample["market"]
    health = PROTOCOL.evaluate(position)
    assert health.liquidatable is expected["liquidatable"]
    for name, value in expected["getEntireDebtAndColl"].items():
        assert health.reported[name] == int(value), name
    if "ICR" in health.reported:
        assert health.reported["ICR"] == int(expected["getCurrentICR"])
        recovery = any(note.startswith("recovery mode") for note in health.notes)
        assert recovery is market["TroveManager.checkRecoveryMode(price)"]
        system = position.state.system
        total = compute_cr(system.coll, system.debt, position.prices[ETH])
        assert total == int(market["TroveManager.getTCR(price)"])
    if health.liquidatable:
        assert isinstance(health.verdict, Known)
        assert health.verdict.unhealthy


@pytest.mark.parametrize("sample", SAMPLES[::5], ids=[f"{n}-{s['name']}" for n, s in enumerate(SAMPLES[::5])])
def test_truth_is_what_evaluate_says(sample: dict[str, Any]) -> None:
    block = block_of(sample)
    (truth,) = CASSETTE.replay(PROTOCOL.truth(FACTS, [sample["account"]["owner"]], block), block)
    reported = PROTOCOL.evaluate(read(sample)).reported
    assert truth.error or dict(truth.reported).items() <= reported.items()


def test_the_recordings_hold_every_kind_of_case() -> None:
    kinds = Counter(
        (bool(health.notes), health.liquidatable, type(health.verdict))
        for health in (PROTOCOL.evaluate(read(sample)) for sample in SAMPLES)
    )
    wanted = [(r, y, Known) for r in (True, False) for y in (True, False)]
    assert all(kinds[kind] >= 5 for kind in wanted), kinds
    assert kinds[False, False, NoDebt]
    assert kinds[False, False, Unknown]


def trove(**changes: Any) -> Position:
    """A trove of 5 ETH and 5,000 LUSD in a system that is well off at 2,000 USD."""
    position = read(SAMPLES[0])
    state: State = position.state
    system = replace(state.system, active_eth=10**21, active_debt=10**24, stability_pool=10**24, owners=10)
    state = replace(state, debt=5_000 * 10**18, coll=5 * 10**18, stake=5 * 10**18, system=system)
    system = replace(system, **{k: v for k, v in changes.items() if k in system.__slots__})
    own = {k: v for k, v in changes.items() if k in State.__slots__ and k != "system"}
    return replace(
        position, state=replace(state, system=system, **own), prices={ETH: changes.get("price", 2_000 * 10**18)}
    )


def test_normal_mode_compares_with_110_percent_to_the_wei() -> None:
    for price, unhealthy in ((1_100 * 10**18 - 1, True), (1_100 * 10**18, False)):
        # with so much collateral in the system recovery mode is far away
        verdict = PROTOCOL.evaluate(trove(price=price, active_eth=10**24)).verdict
        assert isinstance(verdict, Known)
        assert verdict.unhealthy is unhealthy


def test_recovery_mode_reaches_troves_below_the_system_ratio_if_the_pool_can_absorb_them() -> None:
    at_risk = {"price": 1_200 * 10**18, "active_eth": 11 * 10**20}
    health = PROTOCOL.evaluate(trove(**at_risk))
    assert health.liquidatable is True
    assert health.verdict == Known(12 * 10**17, 132 * 10**16)
    debt = 5_000 * 10**18
    assert PROTOCOL.evaluate(trove(**at_risk, stability_pool=debt)).liquidatable is True
    blocked = PROTOCOL.evaluate(trove(**at_risk, stability_pool=debt - 1))
    assert blocked.liquidatable is False
    assert [gate.name for gate in blocked.gates if gate.state is GateState.SHUT] == ["stability pool"]


def test_the_last_trove_is_never_liquidated() -> None:
    health = PROTOCOL.evaluate(trove(price=10**18, owners=1))
    assert isinstance(health.verdict, Known)
    assert health.verdict.unhealthy
    assert health.liquidatable is False


def test_pending_redistribution_counts_before_any_event() -> None:
    plain, pending = trove(), trove(l_lusd_debt=10**20, l_eth=10**17)
    assert PROTOCOL.evaluate(pending).debt == PROTOCOL.evaluate(plain).debt + 5 * 10**20
    assert PROTOCOL.evaluate(pending).reported["pendingETHReward"] == 5 * 10**17
    # debt is redistributed by its own term, even where the ETH term stands still
    assert PROTOCOL.evaluate(trove(l_lusd_debt=10**20)).debt == PROTOCOL.evaluate(pending).debt


def test_closed_troves_have_no_debt() -> None:
    assert PROTOCOL.evaluate(trove(status=3)).verdict == NoDebt()


def test_an_unread_price_makes_the_trove_unreadable() -> None:
    def answer(queries: Any) -> list[Any]:
        return [
            Unread("no answer")
            if query.function.endswith("fetchPrice")
            else Ok((0,) * 5 if "Troves" in query.function else (0, 0) if "Snapshots" in query.function else (0,))
            for query in queries
        ]

    start = trove()
    (unreadable,) = run(PROTOCOL.state(FACTS, [start.owner], start.block), answer)
    assert isinstance(unreadable, Unreadable)


def test_explain_ends_with_the_verdict() -> None:
    health = PROTOCOL.evaluate(trove())
    assert isinstance(health.verdict, Known)
    last = PROTOCOL.explain(trove())[-1]
    assert last.value == f"{health.verdict.numerator} / {health.verdict.denominator}"
