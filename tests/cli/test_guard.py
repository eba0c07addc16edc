"""The own collateral pays, from the command line: consent, deleverage, close and stop-loss on real contracts."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.testing import aave_v3, localnet, uniswap
from tests.cli.guarded import GUARDIAN, Room, config_text, guarded, no_secret

pytestmark = [pytest.mark.anvil, pytest.mark.slow, pytest.mark.timeout(600)]
MARKET = "core36"
PAIR = ("WETH", "USDC")
STOP_LOSS = 1_500


@pytest.fixture(scope="module")
def net() -> Iterator[localnet.Localnet]:
    process, started = localnet.start(("3.6",), guarded=True)
    try:
        yield started
    finally:
        process.stop()


def with_guard(net: localnet.Localnet, room: Room) -> str:
    site = net.guards[MARKET]
    rule = f'actions = ["deleverage", "close"]\nstop_loss = {{ asset = "WETH", price = {STOP_LOSS} }}\n'
    return config_text(net, room).replace('actions = ["repay"]\n', rule) + (
        f'[guardian.guards.{MARKET}]\ncontract = "{site.guard}"\n'
        f'router = "{site.exchange.router}"\nquoter = "{site.exchange.quoter}"\nfees = [{uniswap.FEE}]\n'
    )


@pytest.fixture
def room(net: localnet.Localnet, tmp_path: Path) -> Iterator[Room]:
    """A guarded position with a signer that runs, whose owner has allowed nothing yet."""
    chain = net.chain()
    snapshot = chain.snapshot()
    with guarded(net, MARKET, tmp_path, with_guard) as room:
        at_one(net, room)
        room.signer()
        yield room
    no_secret(room)
    chain.revert(snapshot)
    chain.close()


def at_one(net: localnet.Localnet, room: Room) -> None:
    """Strangers bring the exchange to the oracle's price."""
    uniswap.arbitrage(room.chain, net.guards[MARKET].exchange, room.market, [PAIR])


def consent(room: Room) -> None:
    """The owner sends what `levmon guard` says is missing, and nothing else."""
    [told] = room.objects("guard", room.position, code=4)
    for one in told["missing"]:
        room.chain.send_data(room.owner, one["to"], bytes.fromhex(one["data"][2:]))


def owed(room: Room) -> int:
    return aave_v3.account_data(room.chain, room.market, room.owner)[1]


def test_an_owner_consents_and_is_deleveraged_and_closed_by_hand(room: Room, net: localnet.Localnet) -> None:
    assert "the owner has not configured the guard" in room.run("plan", room.position, "--close", code=4)
    consent(room)
    assert "nothing is missing" in room.run("guard", room.position)
    room.to_health(1.15)
    assert "one of them is wrong" in room.run("act", room.position, "--target", "1.4", "--broadcast", code=4)
    at_one(net, room)
    room.run("act", room.position, "--target", "1.4", "--broadcast", "--until", "mined")
    assert 1.4 <= room.health <= 1.4 * 1.005

    planned, simulated = room.objects("act", room.position, "--close")
    assert [plan["kind"] for plan in planned["plans"]] == ["aave-v3/close"]
    assert simulated["passes"] is True
    guard = net.guards[MARKET].guard
    room.chain.send(room.owner, guard, "set_paused(bool)", True)
    assert "PAUSED" in room.run("act", room.position, "--close", "--broadcast", code=4)
    room.chain.send(room.owner, guard, "set_paused(bool)", False)
    assert owed(room) > 0
    assert room.nonce == 1
    room.run("act", room.position, "--close", "--broadcast", "--until", "mined")
    assert owed(room) == 0
    assert room.nonce == 2
    assert [one["kind"] for one in room.objects("history")] == ["aave-v3/deleverage", "aave-v3/close"]


def test_a_stop_loss_closes_as_soon_as_the_owner_lets_it(room: Room, net: localnet.Localnet) -> None:
    consent(room)
    guard = net.guards[MARKET].guard
    room.chain.send(room.owner, guard, "set_caller(address,bool)", GUARDIAN, False)
    daemon = room.protect("--broadcast")
    daemon.until("its owner must act: CALLER: the owner does not let")
    feed = room.market.reserves["WETH"].feed
    aave_v3.set_price(room.chain, room.market, feed, (STOP_LOSS - 1) * 10**8)
    at_one(net, room)
    daemon.until("no plan")
    assert room.nonce == 0
    room.chain.send(room.owner, guard, "set_caller(address,bool)", GUARDIAN, True)
    daemon.until("its owner lets the guard act")
    daemon.until("mined")
    assert owed(room) == 0
    room.chain.mine(2)
    daemon.until("final_ok")
    assert daemon.end(signal.SIGTERM) in (0, 1)
    assert room.nonce == 1
