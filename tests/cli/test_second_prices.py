"""Second price sources from a file to what people read, on a real market: read in the state's own rounds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monitor.testing import aave_v3
from tests.cli.conftest import Levmon
from tests.cli.wire import Wire
from tests.localnet_fixtures import AnvilAave

pytestmark = pytest.mark.anvil


def test_a_disputed_price_is_told_and_health_is_the_same(
    local: AnvilAave, home: Path, levmon: Levmon, wire: Wire
) -> None:
    chain, market, path = local.chain, local.market, home / "levmon.toml"
    levmon("check", "--json")
    wire.take()
    levmon("check", "--json")
    usual = len(wire.take())
    feed = aave_v3.deploy_feed(chain, market.admin, "second", aave_v3.price_of(chain, market.reserves["WETH"].feed))
    head, positions = path.read_text().split("[[positions]]", 1)
    table = f'[markets.second_prices.WETH]\nsource = "{feed}"\n'
    path.write_text(f"{head}{table}[[positions]]{positions}")
    assert "second prices: WETH: as the market's" in levmon("doctor").out
    wire.take()
    confirmed = levmon("check", "--json")
    assert len(wire.take()) == usual, "a second source costs no request of its own"
    chain.send(market.admin, feed, "setAnswer(int256)", 1)
    disputed = levmon("check", "--json")
    for before, after in zip(confirmed.lines, disputed.lines, strict=True):
        one, other = json.loads(before), json.loads(after)
        assert one["level"] == other["level"]
        truth = aave_v3.health_wad(chain, market, other["owner"])
        assert int((other["health"] or {"num": truth})["num"]) == truth
        told = [error for error in other["errors"] if "above the second source's 0.00000001" in error]
        assert not [error for error in one["errors"] if "second" in error]
        assert bool(told) == any(leg["symbol"] == "WETH" for leg in (*other["collateral"], *other["debt"]))
    assert disputed.code == confirmed.code
    assert "nothing is sold at such a price" in levmon("doctor").out
    path.write_text(path.read_text().replace("second_prices.WETH", "second_prices.WHET"))
    mistaken = levmon("doctor")
    assert "WHET: there is a second price source, and no such asset" in mistaken.out
    assert mistaken.code == 2
