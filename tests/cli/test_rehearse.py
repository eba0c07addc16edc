"""`levmon rehearse` on real contracts: a second anvil forks the first, through a wire on which only reads may pass."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.core.errors import ChainError
from monitor.pipeline import stage
from monitor.pipeline.forward import READS, Forward
from monitor.testing import aave_v3
from monitor.testing.artifacts import find_anvil
from monitor.testing.devchain import MAX_UINT256
from tests.cli.conftest import Levmon, config_for
from tests.cli.guarded import GUARDIAN, borrower
from tests.cli.wire import Wire
from tests.localnet_fixtures import AnvilAave

pytestmark = pytest.mark.anvil
both_versions = pytest.mark.parametrize("anvil_aave", ["3.0", "3.6"], indirect=True)
PROTECT = """
[[protect]]
market = "core"
owner = "{owner}"
trigger = 1.2
target = 1.4
actions = ["repay"]
{more}
"""
GUARD = f"""
[guardian]
address = "{GUARDIAN}"
gas_per_day = 1
max_fee_gwei = 50
[guardian.limits]
per_action = 5_000
per_position_day = 5_000
per_key_day = 5_000
"""


class Rehearsed:
    """A market with guarded borrowers, and a file for some of them."""

    def __init__(self, local: AnvilAave, home: Path, wire: Wire) -> None:
        self.local, self.home, self.wire = local, home, wire
        self.anvil = ("--anvil", str(find_anvil()))
        chain, market = local.chain, local.market
        chain.rpc("anvil_setBalance", GUARDIAN, hex(10**18))
        usdc = market.reserves["USDC"]
        self.owner = borrower(chain, market, "rehearsed")
        chain.send(market.admin, usdc.asset, "mint(address,uint256)", GUARDIAN, 10**6 * 10**6)
        chain.send(GUARDIAN, usdc.asset, "approve(address,uint256)", market.pool, MAX_UINT256)

    def write(self, **rules: str) -> None:
        """A file that protects these owners, each with more lines for its rule."""
        text = config_for(self.wire.url, self.local.market.provider, self.local.market.borrowers[:1])
        blocks = "".join(PROTECT.format(owner=owner, more=more) for owner, more in rules.items())
        (self.home / "levmon.toml").write_text(text + GUARD + blocks)

    def state(self) -> list[int]:
        """The chain's height, its prices, and the position's health."""
        chain, market = self.local.chain, self.local.market
        prices = [aave_v3.price_of(chain, one.feed) for one in market.reserves.values()]
        return [chain.block_number(), *prices, aave_v3.health_wad(chain, market, self.owner)]


@pytest.fixture
def rehearsed(anvil_aave: AnvilAave, home: Path, wire: Wire) -> Rehearsed:
    return Rehearsed(anvil_aave, home, wire)


def objects(out: str) -> Iterator[dict[str, Any]]:
    for line in out.splitlines():
        yield json.loads(line)


@both_versions
def test_a_rescue_that_would_land(rehearsed: Rehearsed, levmon: Levmon) -> None:
    rehearsed.write(**{rehearsed.owner: ""})
    before = rehearsed.state()
    rehearsed.wire.take()
    ran = levmon("rehearse", *rehearsed.anvil, "--json")
    assert ran.code == 0, ran.err + ran.out
    assert "rehearsing 1 of 1" in ran.err
    [told] = objects(ran.out)
    assert told["schema"] == "levmon.rehearsal/1"
    assert told["lands"] is True
    assert 1.19 < float(told["health"]["triggered"]["shown"]) < 1.2
    assert 1.4 <= float(told["health"]["after"]["shown"]) < 1.407
    [step] = told["steps"]
    assert step["kind"] == "aave-v3/repay"
    assert 50_000 < int(step["gas_used"]) < 400_000
    assert [price["symbol"] for price in told["prices"]] == ["WETH"]
    # nothing of it happened on the chain itself, and nothing but reads came to its endpoint
    assert before == rehearsed.state()
    methods = {item["method"] for body in rehearsed.wire.take() for item in items(body)}
    assert methods <= READS
    shown = levmon("rehearse", "--in-place")
    assert "would land" in shown.out
    assert "1 of 1 rescues would land" in shown.out


def items(body: bytes) -> list[dict[str, Any]]:
    content = json.loads(body)
    return content if isinstance(content, list) else [content]


def test_what_would_not_land_and_why(rehearsed: Rehearsed, levmon: Levmon) -> None:
    chain, market = rehearsed.local.chain, rehearsed.local.market
    other, idle = borrower(chain, market, "needs DAI"), chain.account("idle")
    rehearsed.write(**{rehearsed.owner: "", other: 'assets = ["DAI"]', idle: ""})
    ran = levmon("rehearse", *rehearsed.anvil, "--json")
    assert ran.code == 4
    told = {one["position"].rpartition("/")[2]: one for one in objects(ran.out)}
    assert told[rehearsed.owner]["lands"] is True
    assert told[other]["lands"] is False
    assert "this asset is not to be used here" in told[other]["why"]
    assert told[idle]["lands"] is True
    assert "without debt" in told[idle]["why"]
    usdc = market.reserves["USDC"]
    for reason, broken in (
        ("the purse lets the pool take 0 of its", lambda: approve(rehearsed, 0)),
        ("health only comes to 1.2", lambda: approve(rehearsed, 100 * 10**usdc.decimals)),
        ("wei for gas and reserve", lambda: chain.rpc("anvil_setBalance", GUARDIAN, "0x1")),
    ):
        snapshot = chain.snapshot()
        broken()
        rehearsed.write(**{rehearsed.owner: ""})
        ran = levmon("rehearse", "--in-place")
        assert ran.code == 4
        assert "WOULD NOT LAND" in ran.out
        assert reason in ran.out
        assert "0 of 1 rescues would land" in ran.out
        said = "its rescue would fall short" in levmon("plan", f"core/{rehearsed.owner}").out
        assert said == ("wei for gas" not in reason), "all but the gas is foretold without a fork"
        chain.revert(snapshot)


def approve(rehearsed: Rehearsed, amount: int) -> None:
    market = rehearsed.local.market
    usdc = market.reserves["USDC"].asset
    rehearsed.local.chain.send(GUARDIAN, usdc, "approve(address,uint256)", market.pool, amount)


@both_versions
def test_in_place_on_a_local_chain_leaves_no_trace(rehearsed: Rehearsed, levmon: Levmon) -> None:
    rehearsed.write(**{rehearsed.owner: ""})
    before = rehearsed.state()
    ran = levmon("rehearse", "--in-place", "--json")
    assert ran.code == 0, ran.err + ran.out
    assert [one["lands"] for one in objects(ran.out)] == [True]
    assert before == rehearsed.state()


async def test_the_door_lets_only_reads_through(anvil_aave: AnvilAave) -> None:
    from monitor.chain.rpc_chain import RpcChain

    async with RpcChain(anvil_aave.process.url) as chain, Forward(chain) as door, RpcChain(door.url) as behind:
        block = await behind.block("latest")
        assert block.number == anvil_aave.chain.block_number()
        beyond = stage.Stage(behind)
        for attempt in (beyond.mine(), beyond.snapshot(), beyond.set_price(GUARDIAN, 1)):
            with pytest.raises(ChainError, match="only reads"):
                await attempt
        with pytest.raises(ChainError, match="only reads"):
            await beyond._ask("eth_sendRawTransaction", "0x00")
        assert "eth_sendRawTransaction" in door.refused
        assert block == await chain.block("latest")
