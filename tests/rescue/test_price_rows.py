"""Row O7: a price source that is misconfigured, and says a thousandth of the price."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from monitor.core.actions import ActionState
from monitor.journal.rows import Severity
from monitor.pipeline.events import Suspect
from tests.faults.rows import row
from tests.rescue.lab import RULE, RescueLab

pytestmark = [pytest.mark.anvil]


def believed(watch: Any, seen: Any) -> Any:
    """Every price is taken as it comes."""
    return {**watch.prices, **seen.prices}, ()


def forgotten(*_: Any) -> None:
    """Nobody writes it down."""


@row(
    "O7",
    "a price that falls by 99.9 % between two blocks: critical, and nothing is done until it is back",
    "monitor.policy.rules:_doubt",
    careless=believed,
)
async def test_a_price_beyond_belief(rescue: RescueLab) -> None:
    lab = rescue
    lab.rule = replace(RULE, hard_trigger=Fraction(105, 100))
    await lab.look()
    usual = lab.price("WETH")
    lab.set_price("WETH", usual // 1000)
    assert lab.health < 1
    found = [event for event in await lab.look() if isinstance(event, Suspect)]
    assert [event.why for event in found] == [
        f"a price jumped beyond belief between two blocks: WETH from {usual} to {usual // 1000}"
    ]
    await lab.looks(3)
    assert lab.states() == []
    loud = [one for one in lab.acting.journal.pending_alerts(100) if one.severity == Severity.CRITICAL]
    assert any("beyond belief" in one.body for one in loud)
    # back within bounds the hold ends by itself, and real falls count again
    lab.set_price("WETH", usual)
    await lab.looks(2)
    assert lab.acting.journal.holds() == ()
    lab.set_price("WETH", usual // 1000)
    await lab.look()
    assert len(lab.acting.journal.holds()) == 1
    lab.set_price("WETH", usual * 80 // 100)
    await lab.looks(3)
    assert lab.acting.journal.holds() == ()
    assert lab.states() == [ActionState.FINAL_OK], lab.whys()


@row(
    "O7",
    "started anew under such a price, it still knows what it never saw: the hold is in the journal",
    "monitor.journal.store:Journal.hold",
    careless=forgotten,
)
async def test_a_price_beyond_belief_after_a_restart(rescue: RescueLab) -> None:
    lab = rescue
    await lab.look()
    usual = lab.price("WETH")
    lab.set_price("WETH", usual // 1000)
    await lab.look()
    lab.forget()
    await lab.looks(3)
    assert lab.nonce == 0
    assert lab.states() == [ActionState.PLANNED]
    assert any("beyond belief" in why for why in lab.whys())
    # released by a person once the price is right, what was planned at the wrong one is made anew
    lab.set_price("WETH", usual * 85 // 100)
    lab.acting.journal.release(f"position:{lab.position}", lab.chain.timestamp())
    lab.forget()
    await lab.looks(4)
    assert lab.states() == [ActionState.CLOSED_EXPIRED, ActionState.FINAL_OK], lab.whys()
    assert any("would overshoot" in why for why in lab.whys())
    assert lab.health < Fraction(142, 100)


@row(
    "O7",
    "with suspect_oracle = repay it repays all the same, and neither supplies nor sells",
    "monitor.policy.rules:_doubt",
    careless=believed,
)
async def test_a_price_beyond_belief_with_consent(rescue: RescueLab) -> None:
    lab = rescue
    lab.dry = True
    lab.rule = replace(RULE, trust_jumps=True)
    lab.actions = ("repay", "supply")
    await lab.look()
    lab.set_price("WETH", lab.price("WETH") // 1000)
    await lab.look()
    [decided] = lab.decisions()
    refused = {refusal.key: refusal.reason for refusal in decided.proposal.refused}
    assert refused.get("aave-v3/supply WETH") == "this kind of step is not allowed here"
    assert lab.passes() == ["repay USDC"]
