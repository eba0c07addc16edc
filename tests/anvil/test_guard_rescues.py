"""Deleverage and close on the real contracts: random positions, each effect to the wei, refusals tried."""

from __future__ import annotations

from collections.abc import AsyncIterator
from fractions import Fraction

import pytest

from monitor.chain.rpc_chain import RpcChain
from monitor.protocols.aave_v3 import effects
from monitor.testing import guard
from monitor.testing.guard_rescues import KINDS, GuardRescues
from monitor.testing.rescues import HEADER
from tests.localnet_fixtures import AnvilAave

pytestmark = [pytest.mark.anvil, pytest.mark.slow]
CASES = 6


@pytest.fixture
async def rescues(anvil_aave: AnvilAave) -> AsyncIterator[GuardRescues]:
    site = guard.deploy(anvil_aave.chain, anvil_aave.market)
    async with RpcChain(anvil_aave.process.url) as chain:
        yield GuardRescues(chain, anvil_aave.chain, anvil_aave.market, site, seed=1)


@pytest.mark.parametrize("anvil_aave", ["3.0", "3.6"], indirect=True)
async def test_positions_are_brought_to_their_targets_or_closed(rescues: GuardRescues) -> None:
    """The 200 of each kind are `scripts/prove_rescues`'s; some of them shows a mistake just as well."""
    for kind in KINDS:
        tally = await rescues.run(kind, CASES)
        print(f"\n{HEADER}\n{tally.line()}")  # noqa: T201  `pytest -s` shows it
        assert tally.wrong == []
        assert tally.exact == tally.sent >= tally.brought
        assert tally.brought + sum(tally.refused.values()) == CASES
        assert tally.brought >= CASES - 2


async def test_change_that_is_given_back_at_a_wrong_index_is_noticed(
    rescues: GuardRescues, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof can fail."""
    monkeypatch.setattr(effects, "minted_by", lambda _, amount, index: amount * 10**27 // (index + index // 10**6))
    tally = await rescues.run(KINDS[0], 4)
    assert tally.exact < tally.sent
    assert tally.wrong != []


async def test_nothing_is_sold_while_the_exchange_and_the_oracles_disagree(rescues: GuardRescues) -> None:
    """A price that only the protocol's oracle knows may be stale, mistaken or a lone spike: others must say it too."""
    at_odds, agreed = await rescues.around_arbitrage(Fraction(2))
    assert any("one of them is wrong" in reason for reason in at_odds)
    assert not any("one of them is wrong" in reason for reason in agreed)
