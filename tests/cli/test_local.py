"""The command line on real contracts: what it prints, what it asks, and what it must never ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from monitor.chain import abi
from monitor.cli import check_command, sinks
from monitor.cli.targets import Wanted
from monitor.pipeline.watch import Tick
from monitor.protocols.aave_v3 import account
from monitor.testing import aave_v3
from monitor.testing.devchain import Transaction
from tests.cli.conftest import Levmon, config_for
from tests.cli.wire import Wire
from tests.localnet_fixtures import AnvilAave

pytestmark = [pytest.mark.anvil]

GETTER = bytes.fromhex("bf92857c")
KNOWN_LEVELS = {"ok", "watch", "warn", "critical"}
FIELDS = [
    "totalCollateralBase",
    "totalDebtBase",
    "availableBorrowsBase",
    "currentLiquidationThreshold",
    "ltv",
    "healthFactor",
]


def positions(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def calls_getter(bodies: list[bytes]) -> bool:
    return any(GETTER.hex().encode() in body.lower() for body in bodies)


def test_the_getter_is_the_one_that_is_looked_for() -> None:
    assert abi.function("aave_v3_pool.getUserAccountData").selector == GETTER


@pytest.mark.parametrize("anvil_aave", ["3.0", "3.6"], indirect=True)
def test_check_says_what_the_contract_says(levmon: Levmon, local: AnvilAave) -> None:
    ran = levmon("check", "--json")
    assert ran.code == 1
    assert not ran.err
    found = positions(ran.lines)
    assert [one["owner"] for one in found] == list(local.market.borrowers)
    for one in found:
        truth = aave_v3.account_data(local.chain, local.market, one["owner"])
        assert one["reported"] == dict(zip(FIELDS, map(str, truth), strict=True))
        assert one["health"]["num"] == one["reported"]["healthFactor"]
        assert one["level"] in KNOWN_LEVELS
        assert one["block"]["number"] == str(local.chain.block_number())


def test_the_table_is_sorted_and_fits(levmon: Levmon, local: AnvilAave, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = levmon("check")
    for width in (100, 80, 20):
        monkeypatch.setenv("COLUMNS", str(width))
        ran = levmon("check")
        rows = ran.lines[1 : 1 + len(local.market.borrowers)]
        assert all(len(line) <= max(width, 24) for line in ran.lines[: 1 + len(rows)]), width
        assert "\x1b" not in ran.out
        healths = [float(row.split()[1].rstrip("!")) for row in rows]
        assert healths == sorted(healths)
        assert rows[0].startswith("critical")
    assert ran.lines[-1] == "32 positions: 10 critical, 9 warn, 6 watch, 7 ok"


def test_without_a_file_a_flag_is_enough_and_the_same(levmon: Levmon, local: AnvilAave, home: Path, wire: Wire) -> None:
    [owner, other, *_] = local.market.borrowers
    with_file = positions(levmon("check", "--json", owner).lines)
    (home / "levmon.toml").unlink()
    market = f"aave-v3:{local.market.provider}"
    ran = levmon("check", "--json", "--market", market, "--rpc-url", wire.url, owner, owner.lower(), other)
    found = positions(ran.lines)
    assert [one["owner"] for one in found] == [owner, other]
    assert {**found[0], "market": "core"} == with_file[0]
    assert found[0]["market"] == market
    by_id = levmon("explain", found[0]["id"], "--rpc-url", wire.url, "--json")
    assert json.loads(by_id.out)["position"] == found[0]


def test_levels_of_the_file_hold_and_flags_overrule_them(levmon: Levmon, local: AnvilAave, home: Path) -> None:
    owner = local.market.borrowers[0]
    text = config_for("http://127.0.0.1:1", local.market.provider, ()).replace("http://127.0.0.1:1", local.process.url)
    own = f'[addresses]\ntreasury = "{owner}"\n[[positions]]\nmarket = "core"\nowner = "treasury"\n'
    (home / "levmon.toml").write_text(text + own + "watch = 1.69\nwarn = 1.2\n")
    assert levmon("check").code == 0
    assert positions(levmon("check", "--json", owner).lines)[0]["level"] == "ok"
    ran = levmon("check", "treasury", "--warn", "1.7", "--watch", "1.7")
    assert ran.code == 1
    assert "treasury" in ran.out


def test_a_chain_that_does_not_answer_makes_all_unknown(levmon: Levmon, local: AnvilAave, home: Path) -> None:
    (home / "levmon.toml").write_text(
        config_for("http://127.0.0.1:1", local.market.provider, local.market.borrowers[:3])
    )
    ran = levmon("check", "--json")
    assert ran.code == 3
    found = positions(ran.lines)
    assert [one["level"] for one in found] == ["unknown"] * 3
    assert all(one["errors"] and one["health"]["num"] is None for one in found)
    table = levmon("check")
    assert table.code == 3
    assert "3 positions: no" in " ".join(table.lines) or "3 positions: 127" in " ".join(table.lines)
    assert table.lines[-1] == "3 positions: 3 unknown"


def test_a_wrong_chain_is_refused(levmon: Levmon, local: AnvilAave, wire: Wire) -> None:
    ran = levmon("check", "--market", "ethereum/aave-v3/core", "--rpc-url", wire.url, local.market.borrowers[0])
    assert ran.code == 3
    assert "serves chain 31337, not 1" in ran.out


def test_a_market_that_is_none_is_unknown(levmon: Levmon, local: AnvilAave, wire: Wire) -> None:
    nowhere = f"aave-v3:{local.market.borrowers[1]}"
    ran = levmon("check", "--json", "--market", nowhere, "--rpc-url", wire.url, local.market.borrowers[0])
    assert ran.code == 3
    [found] = positions(ran.lines)
    assert "no such contract" in found["errors"][0]


def test_confirmed_markets_are_never_asked_for_their_own_numbers(
    levmon: Levmon, local: AnvilAave, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = local.market.borrowers[0]
    levmon("check")
    assert calls_getter(wire.take()), "confirming the rules needs the getter once"
    for args in (("check",), ("explain", f"core/{owner}"), ("whatif", f"core/{owner}", "--shock", "WETH=-20%")):
        assert levmon(*args).code == 1 or args[0] != "check"
        asked = wire.take()
        assert asked
        assert not calls_getter(asked), args
    levmon("watch", "--count", "1")
    assert not calls_getter(wire.take())
    levmon("verify")
    assert calls_getter(wire.take())
    monkeypatch.setattr("monitor.chain.cache.cache_home", lambda: Path("/dev/null/not-a-directory"))
    assert levmon("check").code == 1, "a cache that cannot be written only costs requests"
    assert calls_getter(wire.take())


def test_request_budgets_on_200_positions(levmon: Levmon, anvil_aave: AnvilAave, wire: Wire, home: Path) -> None:
    market, chain = anvil_aave.market, anvil_aave.chain
    more = tuple(chain.account(f"budget {number}") for number in range(200 - len(market.borrowers)))
    usdc = market.reserves["USDC"].asset
    supply = "supply(address,uint256,address,uint16)"
    chain.send_all(Transaction(market.lender, market.pool, supply, (usdc, 10**6, owner, 0)) for owner in more)
    (home / "levmon.toml").write_text(config_for(wire.url, market.provider, (*market.borrowers, *more)))
    wire.take()
    cold = levmon("check", "--json")
    cold_requests = len(wire.take())
    warm = levmon("check", "--json")
    warm_requests = len(wire.take())
    assert [one["verdict"] for one in positions(warm.lines)] == ["known"] * 32 + ["no_debt"] * 168
    assert cold.out == warm.out
    assert cold_requests <= 6
    assert warm_requests <= 4


def test_watch_tells_changes_and_asks_at_most_three_times_a_block(
    levmon: Levmon, local: AnvilAave, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    levmon("check")
    wire.take()
    show = sinks.Lines.show
    per_block: list[int] = []

    def show_and_fall(self: sinks.Lines, chain: str, tick: Tick) -> None:
        """After each tick the price of ETH falls."""
        # polls that found no news are no part of a block
        per_block.append(sum(b"eth_call" in body or b"eth_getLogs" in body for body in wire.take()) + 1)
        show(self, chain, tick)
        aave_v3.shock(local.chain, local.market, {"WETH": "-10%"})

    monkeypatch.setattr(sinks.Lines, "show", show_and_fall)
    ran = levmon("watch", "--count", "4", "--poll", "0.05")
    assert ran.code == 1
    assert max(per_block) <= 3
    changes = [line for line in ran.lines if " -> " in line]
    assert any("watch -> warn" in line for line in changes)
    assert any("warn -> critical" in line for line in changes)
    assert ran.lines[-1].startswith("local ")


def test_watch_with_json_prints_every_position_at_every_block(levmon: Levmon, local: AnvilAave) -> None:
    ran = levmon("watch", "--count", "1", "--json")
    assert ran.code == 1
    assert [one["owner"] for one in positions(ran.lines)] == list(local.market.borrowers)


def test_explain_ends_in_the_contracts_own_number(levmon: Levmon, local: AnvilAave) -> None:
    owner = local.market.borrowers[2]
    factor = aave_v3.account_data(local.chain, local.market, owner)[5]
    ran = levmon("explain", f"core/{owner}")
    assert str(factor) in ran.out.replace("\n      ", " ")
    assert "getReserveData" in ran.out
    told = json.loads(levmon("explain", f"core/{owner}", "--json").out)
    assert told["schema"] == "levmon.explanation/1"
    assert {"name", "value", "formula", "source"} == set(told["lines"][0])
    several = levmon("explain", owner, "--market", "core", "--json")
    assert json.loads(several.out)["position"]["owner"] == owner


def test_whatif_is_what_the_contract_says_after_the_same_move(levmon: Levmon, local: AnvilAave) -> None:
    for owner in local.market.borrowers[:8]:
        ran = levmon("whatif", f"core/{owner}", "--shock", "weth=-20%", "--shock", "USDC=+1%", "--json")
        told = json.loads(ran.out)["after"]
        snapshot = local.chain.snapshot()
        aave_v3.shock(local.chain, local.market, {"WETH": "-20%", "USDC": "+1%"})
        after = aave_v3.account_data(local.chain, local.market, owner)
        local.chain.revert(snapshot)
        # two blocks of interest lie between the two: prices decide, and they are the same to the unit
        ours, theirs = int(told["health"]["num"]), after[5]
        assert abs(ours - theirs) * 10**7 <= theirs
    with_words = levmon("whatif", f"core/{local.market.borrowers[0]}", "--shock", "NOPE=-1%")
    assert with_words.code == 2
    assert "WETH" in with_words.err


def test_verify_counts_and_shows_a_difference(
    levmon: Levmon, local: AnvilAave, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = levmon("verify")
    assert ran.code == 0
    assert ran.lines[-1] == "32 of 32 exact"
    number = local.chain.block_number()
    ranged = levmon("verify", "--block", f"{number - 4}..{number}/2", local.market.borrowers[0])
    assert ranged.lines[-1] == "3 of 3 exact"
    told = positions(levmon("verify", "--json", local.market.borrowers[0]).lines)
    assert told[0]["exact"] is True
    assert told[0]["contract"] == told[0]["recomputed"]

    exact = account.supplied_balance
    monkeypatch.setattr(account, "supplied_balance", lambda *args: exact(*args) + 10**6)
    wrong = levmon("verify")
    assert wrong.code == 1
    assert "differs" in wrong.out
    assert "totalCollateralBase" in wrong.out
    assert not wrong.lines[-1].startswith("32 of")


def test_doctor_finds_nothing_wrong_and_says_so(levmon: Levmon, local: AnvilAave, home: Path) -> None:
    ran = levmon("doctor", "--json")
    found = positions(ran.lines)
    assert ran.code == 0, ran.out
    assert any("confirmed on 32 borrowers" in one["detail"] for one in found)
    assert all(one["mend"] or one["state"] == "ok" for one in found)
    (home / "levmon.toml").write_text(config_for("http://127.0.0.1:1", local.market.provider, ()))
    down = levmon("doctor")
    assert down.code == 3
    assert "->" in down.out


def test_old_prices_are_marked(levmon: Levmon, local: AnvilAave) -> None:
    local.chain.warp(10 * 86_400)
    ran = levmon("check")
    assert "!" in ran.lines[1]
    assert "stale price of" in ran.out
    assert any("stale price" in error for one in positions(levmon("check", "--json").lines) for error in one["errors"])


def test_wanted_is_what_the_options_are() -> None:
    """Every option of source_options and level_options has its field, by name."""
    names = {param.name for param in check_command.command.params} - {"owners", "block", "as_json"}
    assert names <= set(Wanted.__slots__)
