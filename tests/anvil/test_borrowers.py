"""The crowd that benches and bulk readers work on: real contracts see it as it was meant."""

from __future__ import annotations

import pytest

from monitor.testing import aave_v3, borrowers
from monitor.testing.aave_v3_market import Version
from monitor.testing.anvil import AnvilProcess
from monitor.testing.wide_listing import wide_listings

pytestmark = pytest.mark.anvil


@pytest.mark.parametrize("version", ["3.0", "3.6"])
def test_a_crowd_is_what_it_was_drawn_to_be(version: Version) -> None:
    listed = wide_listings(version, 12)
    with AnvilProcess() as process:
        chain = process.chain()
        market = borrowers.seed(chain, version, 40, reserves=12)
        drawn = borrowers.draw(version, listed, 40, 1)
        health = [aave_v3.health_wad(chain, market, owner) for owner in market.borrowers]
        chain.close()
    assert [bytes.fromhex(owner[2:]) for owner in market.borrowers] == [one.owner for one in drawn]
    for one, found in zip(drawn, health, strict=True):
        assert abs(found - one.health_bps * 10**14) < one.health_bps * 10**14 // 300 + 10**15


def test_crowds_repeat_and_differ_by_seed() -> None:
    listed = wide_listings("3.6")
    first = borrowers.draw("3.6", listed, 2_000, 1)
    assert first == borrowers.draw("3.6", listed, 2_000, 1)
    assert first != borrowers.draw("3.6", listed, 2_000, 2)
    assert len({one.owner for one in first}) == 2_000
    near = sum(one.health_bps < 10_500 for one in first)
    assert 50 < near < 200
    assert 0 < sum(one.health_bps < 10_000 for one in first) < 60
    assert 2.5 < sum(len(one.supplies) + len(one.debts) for one in first) / 2_000 < 3.2


def test_a_wide_market_has_a_size() -> None:
    with pytest.raises(ValueError, match="10 to 30 reserves, not 31"):
        wide_listings("3.0", 31)
