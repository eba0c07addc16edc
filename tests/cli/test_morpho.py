"""Morpho Blue from the command line on the real contract: shown, planned, rescued, protected and liquidated."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from eth_keyfile.keyfile import create_keyfile_json

from monitor.testing import localnet, morpho
from monitor.testing.devchain import account_key
from monitor.testing.morpho import MorphoMarket
from tests.cli.guarded import GUARDIAN, PASSWORD_CANARY, RPC_CANARY, Room, no_secret

pytestmark = [pytest.mark.anvil, pytest.mark.slow, pytest.mark.timeout(600)]
TOML = """
[chains.local]
chain_id = 31337
rpc = ["{url}/?key={key}"]
finality = 1

[[markets]]
name = "morpho"
chain = "local"
protocol = "morpho-blue"
address = "{morpho}"
id = "{id}"

[guardian]
address = "{guardian}"
armed = true
gas_per_day = 1
max_fee_gwei = 50

[guardian.limits]
unit = "USDC"
per_action = 40_000
per_position_day = 50_000
per_key_day = 100_000

[guardian.liquidate]
unit = "USDC"
per_action = 40_000
per_position_day = 50_000
per_key_day = 100_000

[[protect]]
name = "first"
market = "morpho"
owner = "{owner}"
trigger = 1.2
target = 1.4
observations = 1
cooldown_s = 0
retry_s = 0
"""


@pytest.fixture(scope="module")
def net() -> Iterator[localnet.Localnet]:
    process, started = localnet.start((), beside=("morpho",))
    try:
        yield started
    finally:
        process.stop()


@pytest.fixture
def room(net: localnet.Localnet, tmp_path: Path) -> Iterator[Room]:
    """`owner` owes 10,800 USDC against 10 WETH, which is a health of about 1.59."""
    chain, market = net.chain(), market_of(net)
    snapshot = chain.snapshot()
    made = Room(tmp_path, chain, cast(Any, market), "morpho", market.borrowers[-1])
    chain.rpc("anvil_setBalance", GUARDIAN, hex(10 * 10**18))
    chain.send(market.admin, market.params[0], "mint(address,uint256)", GUARDIAN, 10**12)
    keystore, password = tmp_path / "keystore.json", tmp_path / "password"
    secret = account_key("guardian of the cli")
    keystore.write_text(json.dumps(create_keyfile_json(secret, PASSWORD_CANARY.encode(), kdf="pbkdf2", iterations=2)))
    password.touch(0o600)
    password.write_text(PASSWORD_CANARY)
    names = {"url": net.url, "key": RPC_CANARY, "guardian": GUARDIAN, "owner": made.owner}
    (tmp_path / "levmon.toml").write_text(TOML.format(morpho=market.morpho, id=market.id, **names))
    made.run("keys", "init", "--keystore", str(keystore), "--password-file", str(password))
    yield made
    for daemon in made.daemons:
        if daemon.process.poll() is None:
            daemon.end(signal.SIGKILL)
    no_secret(made)
    chain.revert(snapshot)
    chain.close()


def market_of(net: localnet.Localnet) -> MorphoMarket:
    assert net.morpho is not None
    return net.morpho


def fall(room: Room, net: localnet.Localnet, percent: int) -> None:
    """To so many percent of the price."""
    morpho.set_price(room.chain, market_of(net), 2_000 * 10**24 * percent // 100)


def health(room: Room, code: int) -> float:
    (told,) = room.objects("explain", room.position, code=code)
    return float(told["position"]["health"]["factor"])


def test_rescued_by_hand_and_unattended(net: localnet.Localnet, room: Room) -> None:
    assert f'markets = ["{market_of(net).id}"]' in (room.path / "signer.toml").read_text()
    fall(room, net, 70)
    assert 1.1 < health(room, 1) < 1.13
    lacking = room.run("plan", room.position, code=4)
    assert "the purse lets Morpho take 0 of its" in " ".join(lacking.split())
    room.signer()
    room.run("approve", room.position, "USDC", "--broadcast", "--until", "mined")
    assert "morpho-blue/repay" in room.run("plan", room.position)
    room.run("act", room.position, "--broadcast", "--until", "mined")
    assert 1.4 <= health(room, 1) < 1.407
    fall(room, net, 58)
    guard = room.protect("--broadcast")
    guard.until("mined")
    assert guard.end(signal.SIGTERM) in (0, 1)
    assert 1.4 <= health(room, 1) < 1.407


def test_all_borrowers_of_the_market_are_found_and_judged(net: localnet.Localnet, room: Room) -> None:
    found = room.run("discover", "morpho")
    assert all(owner in found for owner in market_of(net).borrowers)
    fall(room, net, 98)
    told = [json.loads(line) for line in room.run("scan", "morpho", "--json", code=1).splitlines() if line[0] == "{"]
    assert [one["owner"] for one in told if one.get("liquidatable")] == [market_of(net).borrowers[0]]


def test_liquidated_for_what_was_predicted(net: localnet.Localnet, room: Room) -> None:
    fall(room, net, 60)
    room.signer()
    room.run("approve", room.position, "USDC", "--broadcast", "--until", "mined")
    (told, *_) = room.objects("liquidate", room.position)
    (bid,) = told["bids"]
    assert bid["debt"]["symbol"] == "USDC"
    before = balances(room, net)
    room.run("liquidate", room.position, "--broadcast", "--until", "mined")
    after = balances(room, net)
    for raw, name in ((before[0] - after[0], "paid"), (after[1] - before[1], "received")):
        assert int(bid["at_first"][name]) <= raw <= int(bid["at_last"][name])
    story = " ".join(room.run("history", room.position).split())
    assert f"paid {(before[0] - after[0]) // 10**6}." in story
    assert "(predicted " in story


def balances(room: Room, net: localnet.Localnet) -> tuple[int, int]:
    """What the guardian has of USDC and WETH."""
    usdc, weth = (
        int(room.chain.call(str(token), "balanceOf(address)", "(uint256)", GUARDIAN)[0])
        for token in market_of(net).params[:2]
    )
    return usdc, weth
