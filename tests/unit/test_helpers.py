"""What people are told where no rescue can be sent: in plain words, what a purse and what the owner may do."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from monitor.cli.guarding import Prospect, prospect_dict, prospect_lines, stranger
from monitor.core.registry import protocol, protocols
from monitor.pipeline import plans
from monitor.pipeline.guardians import ANY
from monitor.pipeline.market import MarketState, Remembered
from monitor.pipeline.snapshot import Snapshot
from monitor.policy.planner import Proposal, Refusal
from monitor.protocols.base import Protocol
from monitor.report import Subject, of_health
from tests.protocols.samples import samples_of

GUARDIAN = stranger("0x" + "11" * 20)
SENT = {"aave-v2", "aave-v3", "compound-v3", "morpho-blue"}


def prospect(name: str) -> Prospect:
    """The first recorded position of the protocol, looked at from a purse that holds nothing."""
    sample = next(iter(samples_of(name)))
    subject = Subject(sample.facts.market, sample.position.owner, "m")
    report = of_health(subject, sample.position, sample.protocol.evaluate(sample.position, sample.context))
    state = MarketState(Remembered(sample.facts, None), (sample.position,), sample.context)
    seen = plans.Outlook(Snapshot(report.block, (report,), {subject.ref: state}), {subject.ref: None})
    found = plans.plan_for(seen, report, GUARDIAN, ANY, Fraction(3)) if name not in SENT else Proposal()
    chain: Any = None
    return Prospect(chain, seen, report, GUARDIAN, ANY, Fraction(3), found)


@pytest.mark.parametrize("name", sorted(protocols()))
def test_every_protocol_says_who_may_help(name: str) -> None:
    said = protocol(name).helpers
    assert said != Protocol.helpers
    assert said.purse.strip()
    assert said.owner.strip()
    assert not {said.purse[-1], said.owner[-1]} & {".", " "}


@pytest.mark.parametrize("name", sorted(set(protocols()) - SENT - {"moonwell", "benqi"}))
def test_a_plan_that_cannot_be_sent_says_what_people_can_do(name: str) -> None:
    found = prospect(name)
    helpers = protocol(name).helpers
    lines = " ".join(" ".join(prospect_lines(found, 80)).split())
    assert f"levmon sends no rescue on {protocol(name).title}. By its contracts anybody may" in lines
    assert helpers.purse in lines
    assert helpers.owner in lines
    told = prospect_dict(found)
    assert told["helpers"] == {"purse": helpers.purse, "owner": helpers.owner}
    assert helpers.purse in told["note"]


def test_where_nothing_reaches_the_target_the_owner_is_told_what_else_there_is() -> None:
    found = prospect("compound-v3")
    shown = Prospect(
        found.chain,
        found.seen,
        found.report,
        GUARDIAN,
        ANY,
        found.target,
        Proposal(refused=(Refusal("compound-v3/repay X", "the purse holds 0 X"),)),
    )
    last = " ".join(" ".join(prospect_lines(shown, None)).split())
    assert last.endswith(str(protocol("compound-v3").helpers))
