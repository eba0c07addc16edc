"""Rows O10 and O11: a sequencer that stops and comes back with other prices, and a stablecoin that loses its peg."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from monitor.chain import chains
from monitor.core.types import ReadPlan
from monitor.oracles.sequencer import Sequencer
from monitor.pipeline.beside import Sources
from monitor.pipeline.memory import ShortMemory
from monitor.testing.aave_v3 import deploy_feed, deploy_sentinel, set_sequencer, would_liquidate
from tests.faults.market import OracleLab, oracle_row
from tests.faults.rows import row
from tests.rescue.lab import RULE, RescueLab

pytestmark = [pytest.mark.anvil]


def always_open(*_: object) -> ReadPlan[bool]:
    yield from ()
    return True


@row(
    "O10",
    "with a sentinel nobody is liquidated before its grace has passed, without one in the first block: as the contract",
    "monitor.protocols.aave_v3.reading:_sentinel",
    limit="that blocks have stopped is told by the watch on heads",
    careless=always_open,
)
async def test_who_may_liquidate_after_an_outage(rescues: RescueLab) -> None:
    lab = rescues
    lab.dry = True
    sentinel = deploy_sentinel(lab.chain, lab.market)
    now_s = lab.chain.timestamp()
    set_sequencer(lab.chain, lab.market, sentinel, down=True, since=now_s)
    for health, down, after_s, liquidatable in (
        (Fraction(98, 100), True, 10, False),
        (Fraction(94, 100), True, 10, True),
        (Fraction(98, 100), False, 10, False),
        (Fraction(98, 100), False, sentinel.grace_s + 10, True),
    ):
        lab.to_health(health)
        since = lab.chain.timestamp()
        set_sequencer(lab.chain, lab.market, sentinel, down=down, since=since)
        lab.chain.set_next_timestamp(since + after_s)
        lab.chain.mine()
        lab.forget()
        await lab.look()
        truth = would_liquidate(lab.chain, lab.market, "WETH", "USDC", lab.owner)
        assert lab.report.health is not None
        assert lab.report.health.liquidatable is (truth is None) is liquidatable, (health, down, truth)
        assert lab.passes() == ["repay USDC"], "a rescue is never held back"
    lab.send(lab.market.provider, "setPriceOracleSentinel(address)", "0x" + "00" * 20)
    lab.to_health(Fraction(98, 100))
    await lab.look()
    assert lab.report.health is not None
    assert lab.report.health.liquidatable is True


@row(
    "O10",
    "the first block after an outage is acted upon, whatever number of observations is asked for",
    "monitor.policy.rules:OUTAGE_S",
    careless=10**9,
)
async def test_the_first_block_back(rescue: RescueLab) -> None:
    lab = rescue
    lab.rule, lab.dry = replace(RULE, confirm=5), True
    await lab.look()
    lab.to_health(Fraction(11, 10))
    await lab.look()
    assert lab.decisions() == [], "without an outage it waits"
    lab.chain.warp(3 * 3600)
    await lab.look()
    assert lab.passes() == ["repay USDC"]


def as_it_is(_: Any, rule: Any, *__: Any) -> Any:
    return rule


@row(
    "O10",
    "on a rollup levmon acts sooner, unless a sentinel gives it time",
    "monitor.pipeline.protect:Guard._buffered",
    careless=as_it_is,
)
async def test_a_larger_buffer(rescues: RescueLab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = rescues
    lab.dry = True
    lab.to_health(Fraction(123, 100))
    await lab.look()
    assert lab.decisions() == [], "1.23 is above the trigger of 1.2"
    monkeypatch.setattr(chains, "ROLLUPS", frozenset({lab.market.chain_id}))
    await lab.looks(1)
    assert [one.decision.cause for one in lab.decisions()] == ["health was below 1.25 in 1 observations in a row"]
    deploy_sentinel(lab.chain, lab.market)
    lab.forget()
    await lab.looks(2)
    assert lab.decisions() == []


def not_held_back(*_: object) -> str:
    return "nothing holds liquidations back"


@row(
    "O10",
    "the uptime feed: told that the sequencer is down, and when it is back until which second liquidators must wait",
    "monitor.oracles.sequencer:_held_back",
    careless=not_held_back,
)
async def test_the_uptime_feed(rescues: RescueLab) -> None:
    lab, chain = rescues, rescues.chain
    lab.dry = True
    sentinel = deploy_sentinel(chain, lab.market)
    feed = deploy_feed(chain, lab.market.admin, "sequencer", 0)
    lab.beside[lab.ref] = Sources(sequencer=feed)
    set_round = "setRound(uint80,int256,uint256,uint256)"
    began = chain.timestamp()
    lab.send(feed, set_round, 1, 0, began - 10 * 86_400, began)
    await lab.look()
    assert outage_of(lab) == (Sequencer.UP, "")
    assert lab.report.errors == ()
    lab.send(feed, set_round, 2, 1, began, began)
    set_sequencer(chain, lab.market, sentinel, down=True, since=began)
    await lab.look()
    state, text = outage_of(lab)
    assert state is Sequencer.DOWN
    assert "the rollup's sequencer is down" in text
    assert text in lab.report.errors
    lab.to_health(Fraction(98, 100))
    back = chain.timestamp()
    lab.send(feed, set_round, 3, 0, back, back)
    set_sequencer(chain, lab.market, sentinel, down=False, since=back)
    await lab.look()
    state, text = outage_of(lab)
    assert state is Sequencer.BACK
    left = re.search(r"most liquidations are held back for (\d+) s more", text)
    assert left is not None, text
    assert lab.seen is not None
    assert lab.seen.snapshot.block is not None
    free_at_s = lab.seen.snapshot.block.timestamp + int(left[1])
    for at_s, liquidatable in ((free_at_s - 1, False), (free_at_s, True)):
        snapshot = chain.snapshot()
        chain.set_next_timestamp(at_s)
        chain.mine()
        assert (would_liquidate(chain, lab.market, "WETH", "USDC", lab.owner) is None) == liquidatable
        chain.revert(snapshot)
    lab.send(lab.market.provider, "setPriceOracleSentinel(address)", "0x" + "00" * 20)
    lab.memory = ShortMemory()
    await lab.everyone()
    await lab.look()
    assert "nothing holds liquidations back" in outage_of(lab)[1]
    lab.send(feed, "setFault(uint256)", 1)
    await lab.look()
    assert outage_of(lab)[0] is Sequencer.UNKNOWN
    assert lab.report.health is not None, "health needs no feed"


def outage_of(lab: RescueLab) -> tuple[Sequencer, str]:
    assert lab.seen is not None
    found = lab.seen.snapshot.outage
    assert found is not None
    return found.state, found.text


def nothing_to_say(*_: Any) -> list[str]:
    return []


@oracle_row(
    "O11",
    "a stablecoin whose price is held at its peg: health by the held price, and told that the market's is lower",
    "monitor.oracles.chainlink:_cap_remarks",
    nothing_to_say,
)
async def test_a_lost_peg(lab: OracleLab) -> None:
    peg = int(lab.local.chain.call(lab.feed("USDC"), "latestAnswer()", "(int256)")[0])
    lab.odd_source("USDC", low=peg, high=2 * peg, cap=10 * peg)
    lab.memory = ShortMemory()  # a new source is read with new facts
    before = await lab.reports()
    holders = lab.holders(before, "USDC")
    assert holders
    for market, told in ((peg * 90 // 100, True), (peg * 999 // 1000, False)):
        lab.send(lab.feed("USDC"), "setAnswer(int256)", market)
        reports = await lab.reports()
        assert lab.check(reports)[1] == 0
        for owner in holders:
            health = reports[owner].health
            assert health is not None
            position = reports[owner].position
            assert position is not None
            assert position.prices[lab.local.market.reserves["USDC"].asset] == peg
            said = [note for note in health.notes if note.startswith("USDC") and "may have lost its peg" in note]
            assert bool(said) == told, health.notes
