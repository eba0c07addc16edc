"""Whole markets from the command line, beside what the contracts say of every account."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monitor.testing import aave_v3
from monitor.testing.aave_v3_market import AaveMarket
from monitor.testing.anvil import AnvilDevChain
from tests.cli.conftest import Levmon, Ran, config_for
from tests.localnet_fixtures import AnvilAave

pytestmark = [pytest.mark.anvil]
WAD = 10**18
VERSIONS = pytest.mark.parametrize("anvil_aave", ["3.0", "3.6"], indirect=True)


@pytest.fixture
def file(anvil_aave: AnvilAave, home: Path) -> str:
    """A levmon.toml without positions, and a file of all borrowers; answers the latter's name."""
    market = anvil_aave.market
    (home / "levmon.toml").write_text(config_for(anvil_aave.process.url, market.provider, ()))
    (home / "owners.txt").write_text("# everybody\n\n" + "\n".join(f"{owner}  # one" for owner in market.borrowers))
    return "owners.txt"


def objects(ran: Ran) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ran.lines]


def healths(chain: AnvilDevChain, market: AaveMarket) -> dict[str, int]:
    """By the contract's own getter."""
    return {owner: aave_v3.health_wad(chain, market, owner) for owner in market.borrowers}


@VERSIONS
def test_scan_finds_just_those_that_the_contract_says_are_below(
    levmon: Levmon, anvil_aave: AnvilAave, file: str
) -> None:
    said = healths(anvil_aave.chain, anvil_aave.market)
    middle = sorted(said.values())[len(said) // 2]
    threshold = f"{middle // WAD}.{middle % WAD:018d}"
    ran = levmon("scan", "core", "--owners", file, "--below", threshold, "--json")
    head, *shown = objects(ran)
    wanted = {owner: health for owner, health in said.items() if health < middle}
    assert wanted
    assert ran.code == 1
    assert head["below"] == head["shown"] == len(wanted)
    assert head["unhealthy"] == sum(health < WAD for health in said.values())
    assert (head["accounts"], head["unread"], head["unknown"]) == (len(said), 0, 0)
    assert {one["owner"]: int(one["reported"]["healthFactor"]) for one in shown} == wanted
    order = [int(one["reported"]["healthFactor"]) for one in shown]
    assert order == sorted(order)


def test_scan_moves_no_price_twice(levmon: Levmon, anvil_aave: AnvilAave, file: str) -> None:
    weth = anvil_aave.market.reserves["WETH"].asset
    for again in ("WETH=-20%", "weth=-30%", f"{weth}=-20%"):
        ran = levmon("scan", "core", "--owners", file, "--shock", "WETH=-30%", "--shock", again)
        assert (ran.code, ran.err.count("is moved twice")) == (2, 1), ran.err


@VERSIONS
def test_scan_after_a_shock_says_what_whatif_says(levmon: Levmon, file: str) -> None:
    ran = levmon("scan", "core", "--owners", file, "--below", "3", "--shock", "WETH=-30%", "--top", "3", "--json")
    _, *shown = objects(ran)
    assert len(shown) == 3
    for one in shown:
        [told] = objects(levmon("whatif", f"core/{one['owner']}", "--shock", "WETH=-30%", "--json"))
        assert told["after"]["health"] == one["health"]
        assert told["after"]["liquidatable"] == one["liquidatable"]


def test_scan_tells_people_who_and_how_many_more(levmon: Levmon, anvil_aave: AnvilAave, file: str) -> None:
    ran = levmon("scan", "core", "--owners", file, "--below", "500", "--top", "2")
    assert ran.code == 1
    text = " ".join(ran.out.split())
    assert "HEALTH BUFFER LIQUIDATED AT COLLATERAL DEBT OWNER" in text
    assert "more: --top" in text
    assert f"{len(anvil_aave.market.borrowers)} accounts, read by" in text
    nobody = levmon("scan", "core", "--owners", file, "--below", "0.01")
    assert nobody.code == 0
    assert "0 below 0.01" in nobody.out


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (("0x12",), "owners.txt, line 1: not an address"),
        (("", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed"), "owners.txt, line 2: wrong checksum"),
        (("# nobody",), "has no address in it"),
    ],
    ids=["short", "checksum", "empty"],
)
def test_a_file_of_owners_that_is_wrong_is_refused_with_its_line(
    levmon: Levmon, file: str, home: Path, lines: tuple[str, ...], told: str
) -> None:
    (home / file).write_text("\n".join(lines))
    ran = levmon("scan", "core", "--owners", file)
    assert ran.code == 2
    assert told in ran.err


@VERSIONS
def test_market_counts_everybody_and_adds_up_what_they_hold(levmon: Levmon, anvil_aave: AnvilAave, file: str) -> None:
    chain, market = anvil_aave.chain, anvil_aave.market
    said = healths(chain, market)
    [told] = objects(levmon("market", "core", "--owners", file, "--json"))
    counted = {one["from"]: one["accounts"] for one in told["spread"]}
    assert counted[None] == sum(health < WAD for health in said.values())
    assert sum(counted.values()) == sum(health < 2**255 for health in said.values())
    debts = [aave_v3.account_data(chain, market, owner)[1] for owner in said]
    for one in told["assets"]:
        owed = sum(debt(chain, market, one["symbol"], owner) for owner in said)
        # each account's is rounded by itself on chain, and once for all of them here
        assert abs(int(one["owed_raw"]) - owed) <= len(said), one["symbol"]
    spread = sum(round(float(one["debt"]) * 10**8) for one in told["spread"])
    assert abs(spread - sum(debts)) <= 10**8
    [weth] = [one for one in told["falls"] if one["assets"] == ["WETH"] and one["change_pct"] == "-30"]
    head, *_ = objects(
        levmon("scan", "core", "--owners", file, "--below", "1", "--shock", "WETH=-30%", "--top", "0", "--json")
    )
    assert weth["accounts"] == head["below"]


def debt(chain: AnvilDevChain, market: AaveMarket, symbol: str, owner: str) -> int:
    """What the reserve's own debt tokens say."""
    reserve = market.reserves[symbol]
    tokens = [token for token in (reserve.v_token, reserve.s_token) if token]
    return sum(int(chain.call(token, "balanceOf(address)", "(uint256)", owner)[0]) for token in tokens)


def test_discover_finds_every_borrower_and_goes_on_from_where_it_was(
    levmon: Levmon, anvil_aave: AnvilAave, file: str, home: Path
) -> None:
    everybody = set(anvil_aave.market.borrowers)
    ran = levmon("discover", "core", "--out", "found.txt")
    assert ran.code == 0
    assert f"{len(everybody)} borrowers" in ran.err
    assert set((home / "found.txt").read_text().split()) == everybody
    anvil_aave.chain.mine(70)  # so that some are final, and come from the file of the first run
    [told] = objects(levmon("discover", "core", "--json"))
    assert set(told["owners"]) == everybody
    by_logs, by_file = levmon("scan", "core", "--json"), levmon("scan", "core", "--owners", file, "--json")
    assert objects(by_logs)[1:] == objects(by_file)[1:]
    missing = levmon("discover", "core", "--out", "nowhere/found.txt")
    assert (missing.code, "cannot be written" in missing.err) == (2, True)


def test_market_draws_what_it_counts(levmon: Levmon, file: str) -> None:
    ran = levmon("market", "core", "--owners", file)
    assert ran.code == 0
    for title in ("COLLATERAL", "HEALTH", "BELOW 1 IF", "all but steady", "1.5 to 2", "█"):
        assert title in ran.out


@VERSIONS
def test_keep_follows_what_happens_and_goes_on_from_disk(levmon: Levmon, anvil_aave: AnvilAave, file: str) -> None:
    chain, market = anvil_aave.chain, anvil_aave.market
    common = ("keep", "core", "--near", "1000", "--count", "1", "--poll", "0.05", "--json")
    ran = levmon(*common, "--owners", file)
    assert ran.code in (0, 1), ran.err
    [first] = objects(ran)
    assert "accounts read at block" in ran.err
    assert near(first) == {owner: health for owner, health in healths(chain, market).items() if health < 1000 * WAD}

    aave_v3.shock(chain, market, {"WETH": "-10%"})
    chain.mine(3)
    ran = levmon(*common)
    [second] = objects(ran)
    assert "from disk" in ran.err
    assert near(second) == {owner: health for owner, health in healths(chain, market).items() if health < 1000 * WAD}
    assert near(second) != near(first)
    assert second["read_anew"] is None


def near(told: dict[str, Any]) -> dict[str, int]:
    assert all(one["den"] == str(WAD) for one in told["near"])
    return {one["owner"]: int(one["num"]) for one in told["near"]}


def test_keep_needs_permission_to_send(levmon: Levmon, file: str) -> None:
    refused = levmon("keep", "core", "--owners", file, "--broadcast")
    assert (refused.code, "--liquidate" in refused.err) == (2, True)
    unguarded = levmon("keep", "core", "--owners", file, "--liquidate")
    assert (unguarded.code, "guardian" in unguarded.err) == (2, True)
