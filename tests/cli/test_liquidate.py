"""Liquidating from the command line on real contracts: real signer process, real journal, moved tokens counted."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.testing import aave_v3, localnet, uniswap
from monitor.testing.artifacts import own_contract
from tests.cli.guarded import GUARDIAN, Room, borrower, config_text, guarded, no_secret
from tests.cli.hook import Hook, alerts_text

pytestmark = [pytest.mark.anvil, pytest.mark.slow, pytest.mark.timeout(600)]
KEEPER = """
[guardian.liquidate]
per_action = 6_000
per_position_day = 8_000
per_key_day = 10_000
haircut_bps = 50
min_profit = 5
"""


def unwrapped(text: str) -> str:
    """Where lines break depends on the chain's numbers; what they say does not."""
    return " ".join(text.split())


@pytest.fixture(scope="module")
def net() -> Iterator[localnet.Localnet]:
    process, started = localnet.start(("3.6",), guarded=True)
    try:
        yield started
    finally:
        process.stop()


@pytest.fixture
def room(net: localnet.Localnet, tmp_path: Path) -> Iterator[Room]:
    """A keeper's files; `room.owner` is a stranger to them who owes 10,000 USDC against ETH."""
    chain = net.chain()
    snapshot = chain.snapshot()
    with guarded(net, next(iter(net.markets)), tmp_path) as made:
        (tmp_path / "levmon.toml").write_text(config_text(net, made, more=KEEPER))
        keys = ("--keystore", str(tmp_path / "keystore.json"), "--password-file", str(tmp_path / "password"))
        made.run("keys", "init", "--force", *keys)
        made.owner = borrower(made.chain, made.market, "stranger")
        yield made
        no_secret(made)
    chain.revert(snapshot)
    chain.close()


def balance(room: Room, symbol: str, who: str = GUARDIAN) -> int:
    asset = room.market.reserves[symbol].asset
    return int(room.chain.call(asset, "balanceOf(address)", "(uint256)", who)[0])


def test_a_stranger_is_liquidated_for_just_what_was_said(room: Room) -> None:
    assert "is not below 1" in room.objects("liquidate", room.position, code=4)[0]["note"]
    room.to_health(0.97)
    [told] = room.objects("liquidate", room.position, code=4)
    assert "allowance allows no USDC" in told["passed"][0]["reason"]

    room.signer()
    room.run("approve", f"{room.name}/{GUARDIAN}", "USDC", "--broadcast", "--until", "mined")
    room.chain.mine(3)
    told, simulation = room.objects("liquidate", room.position)
    assert simulation["passes"] is True
    [bid] = told["bids"]
    assert told["native"]["symbol"] == "WETH"
    # at most half of the debt at this health, within the limit of 6,000
    assert 4_990 * 10**6 < int(bid["at_last"]["paid"]) < 5_010 * 10**6
    assert bid["debt_to_cover"] == bid["at_last"]["paid"]
    profit = {name: int(bid["profit"][name]) for name in ("worth", "paid", "gas", "l1_data_fee", "net")}
    assert profit["net"] == profit["worth"] - profit["paid"] - profit["gas"] - profit["l1_data_fee"] > 5 * 10**6
    assert "nothing was signed" in room.run("liquidate", room.position)
    assert room.nonce == 1

    usdc, weth = balance(room, "USDC"), balance(room, "WETH")
    chosen, *_, last = room.objects("liquidate", room.position, "--broadcast", "--until", "mined")
    assert last["state"] == "mined"
    paid, received = usdc - balance(room, "USDC"), balance(room, "WETH") - weth
    bid = chosen["bids"][0]
    for raw, name in ((paid, "paid"), (received, "received")):
        assert int(bid["at_first"][name]) <= raw <= int(bid["at_last"][name])
    story = unwrapped(room.run("history", room.position))
    assert f"paid {paid // 10**6}." in story
    assert "(predicted " in story
    assert "HealthFactorNotBelowThreshold" in room.run("liquidate", room.position, "--broadcast", code=4)
    assert room.nonce == 2
    [action] = [one for one in room.objects("history", room.position) if one["kind"] == "aave-v3/liquidate"]
    assert action["asset"] == f"liquidate:{room.market.reserves['USDC'].asset}"
    assert action["decision"]["predicted"]["first"] == bid["at_first"]


def test_limits_wishes_and_profit_are_minded(room: Room) -> None:
    room.to_health(0.9)
    room.signer()
    room.run("approve", f"{room.name}/{GUARDIAN}", "USDC", "--broadcast", "--until", "mined")
    room.chain.mine(3)
    [told, _] = room.objects("liquidate", room.position)
    assert 5_990 * 10**6 < int(told["bids"][0]["debt_to_cover"]) < 6_010 * 10**6
    for wish, why in (
        (("--min-profit", "100000"), "is not above 100012."),
        (("--debt", "DAI"), "USDC is not to be paid"),
        (("--collateral", "LINK"), "WETH is not wanted"),
    ):
        [told] = room.objects("liquidate", room.position, *wish, code=4)
        assert why in told["passed"][0]["reason"]
    # the limits of the signer's own file hold, whatever levmon.toml says
    rules = room.path / "signer.toml"
    assert "liquidate = true" in rules.read_text()
    config = room.path / "levmon.toml"
    config.write_text(config.read_text().replace("per_action = 6_000", "per_action = 7_000"))
    assert "for one action" in room.run("liquidate", room.position, "--broadcast", code=4)
    assert room.nonce == 1
    config.write_text(config.read_text().replace(KEEPER.replace("6_000", "7_000"), ""))
    assert "add [guardian.liquidate]" in room.run("liquidate", room.position, code=2)
    assert "pay " in room.run("liquidate", room.position, "--guardian", room.market.liquidator)
    assert aave_v3.health_wad(room.chain, room.market, room.owner) < 10**18


def test_a_flash_loan_pays_where_the_purse_is_empty(room: Room, net: localnet.Localnet) -> None:
    exchange = net.guards[room.name].exchange
    code = own_contract("liquidator").code
    contract = room.chain.deploy(room.market.admin, code, "(address,address)", [room.market.pool, GUARDIAN])
    places = (("contract", contract), ("router", exchange.router), ("quoter", exchange.quoter))
    flash = f"[guardian.liquidate.flash.{room.name}]\n" + "\n".join(f'{name} = "{at}"' for name, at in places)
    config = room.path / "levmon.toml"
    config.write_text(f"{config.read_text()}\n{flash}\n")
    keys = ("--keystore", str(room.path / "keystore.json"), "--password-file", str(room.path / "password"))
    room.run("keys", "init", "--force", *keys)
    usdc = room.market.reserves["USDC"].asset
    room.chain.rpc("anvil_impersonateAccount", GUARDIAN)
    room.chain.send(GUARDIAN, usdc, "transfer(address,uint256)", room.market.admin, balance(room, "USDC"))
    room.chain.rpc("anvil_stopImpersonatingAccount", GUARDIAN)
    room.run("keys", "adopt", "--yes")
    room.to_health(0.97)
    uniswap.arbitrage(room.chain, exchange, room.market, [("WETH", "USDC")])
    room.signer()
    assert "the purse allows no USDC" in room.objects("liquidate", room.position, code=4)[0]["passed"][0]["reason"]
    told, *_, last = room.objects("liquidate", room.position, "--flash", "--broadcast", "--until", "mined")
    assert last["state"] == "mined"
    [bid] = told["bids"]
    assert balance(room, "USDC") >= int(bid["profit"]["net"]) + int(bid["profit"]["gas"]) > 10**8
    assert balance(room, "WETH") == 0
    assert "before gas (at least " in unwrapped(room.run("history", room.position))


def objects(room: Room, *args: str, code: int) -> list[dict[str, Any]]:
    """What one block came to; how the accounts were read is told beside it, for people."""
    said = room.run(*args, "--count", "1", "--json", code=code).splitlines()
    return [json.loads(line) for line in said if line.startswith("{")]


def test_a_kept_market_hands_over_whom_it_finds_unhealthy(room: Room) -> None:
    """Dry it says what it would do; armed it liquidates, once, within the same limits, and sees the outcome."""
    owners = room.path / "owners.txt"
    owners.write_text(room.owner)
    keep = ("keep", room.name, "--owners", str(owners), "--poll", "0.1", "--liquidate")
    room.signer()
    room.run("approve", f"{room.name}/{GUARDIAN}", "USDC", "--broadcast", "--until", "mined")
    room.chain.mine(3)
    healthy = objects(room, *keep, code=0)
    assert [one["schema"] for one in healthy] == ["levmon.keep/1"]

    room.to_health(0.97)
    told = objects(room, *keep, code=1)
    [bid] = [one for one in told if one.get("kind") == "would liquidate"]
    assert bid["position"].endswith(room.owner)
    assert "profit" in bid["text"]
    assert room.nonce == 1

    usdc = balance(room, "USDC")
    with Hook() as hook:
        with (room.path / "levmon.toml").open("a") as file:
            file.write(alerts_text(hook))
        kept = room.start(*keep, "--broadcast")
        kept.until("liquidating")
        kept.until("broadcast")
        room.chain.mine(1)
        kept.until("paid 5")
        assert usdc - balance(room, "USDC") > 4_990 * 10**6
        kept.end(signal.SIGTERM)
    sent = "\n".join(f"{alert['kind']}: {alert['text']}" for alert in hook.alerts)
    assert f"run: keep {room.name} (liquidates) started" in sent
    assert "action: planned: aave-v3/liquidate" in sent
    assert re.search(r"outcome: mined: in block \d+; paid 5\d{3}\.", sent)
    assert room.nonce == 2
    [action] = [one for one in room.objects("history", room.position) if one["kind"] == "aave-v3/liquidate"]
    assert action["decision"]["cause"] == "kept market"
    # code that nobody has agreed to
    room.to_health(0.97)
    (implementation,) = room.chain.call(room.market.pool, "implementation()", "(address)", sender=room.market.provider)
    room.chain.rpc("anvil_setCode", implementation, room.chain.rpc("eth_getCode", implementation, "latest") + "00")
    kept = room.start(*keep, "--broadcast")
    kept.until("not that with which its rules were confirmed")
    kept.end(signal.SIGTERM)
    assert "the market's code is not that" in unwrapped(room.run("liquidate", room.position, "--broadcast", code=4))
    assert room.nonce == 2
