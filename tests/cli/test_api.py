"""The Python API on an in-process chain: sync, async, and in a running event loop."""

from __future__ import annotations

import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

import monitor
from monitor.core.errors import ConfigError, WrongChain
from monitor.testing import EthTesterChain, aave_v3
from tests.localnet_fixtures import EthTesterAave

pytestmark = pytest.mark.usefixtures("home")


def named(local: EthTesterAave) -> str:
    return f"aave-v3:{local.market.provider}"


@pytest.mark.parametrize("ethtester_aave", ["3.0", "3.6"], indirect=True)
def test_check_and_verify_on_eth_tester(ethtester_aave: EthTesterAave) -> None:
    chain, market = EthTesterChain(ethtester_aave.tester), ethtester_aave.market
    owners = [*market.borrowers, market.lender]
    reports = monitor.check(named(ethtester_aave), [*owners, owners[0].lower()], rpc=chain, cache=False)
    assert [report.owner for report in reports] == owners
    for report in reports:
        truth = aave_v3.account_data(ethtester_aave.chain, market, report.owner)
        assert report.health is not None
        assert tuple(report.health.reported.values()) == truth
    assert reports[-1].verdict == "no_debt"
    assert reports[-1].level is monitor.Level.OK
    compared = monitor.verify(named(ethtester_aave), rpc=chain)
    assert len(compared) == len(market.borrowers)
    assert all(one.exact for one in compared)


async def test_in_a_running_loop_the_sync_form_names_the_async_one(ethtester_aave: EthTesterAave) -> None:
    chain, market = EthTesterChain(ethtester_aave.tester), ethtester_aave.market
    with pytest.raises(ConfigError, match="already running") as caught:
        monitor.check(named(ethtester_aave), market.borrowers[0], rpc=chain)
    assert "await monitor.acheck" in caught.value.hint
    [report] = await monitor.acheck(named(ethtester_aave), market.borrowers[0], rpc=chain)
    levels = monitor.thresholds(watch="3", warn="3", critical="3")
    [loud] = await monitor.acheck(named(ethtester_aave), market.borrowers[0], rpc=chain, levels=levels)
    assert (report.level, loud.level) == (monitor.Level.WATCH, monitor.Level.CRITICAL)
    [one] = await monitor.averify(named(ethtester_aave), market.borrowers[:1], rpc=chain, sample=0)
    assert one.exact


async def test_watch_yields_reports_for_each_block(ethtester_aave: EthTesterAave) -> None:
    chain, market = EthTesterChain(ethtester_aave.tester), ethtester_aave.market
    numbers, healths = [], []
    async with aclosing(monitor.watch(named(ethtester_aave), market.borrowers[:1], rpc=chain, poll_s=0.01)) as ticks:
        async for [report] in ticks:
            assert report.block is not None
            numbers.append(report.block.number)
            healths.append(report.to_dict()["health"]["num"])
            if len(numbers) == 2:
                break
            aave_v3.shock(ethtester_aave.chain, market, {"WETH": "-20%"})
    assert numbers[1] > numbers[0]
    assert int(healths[1]) < int(healths[0])


async def test_wrong_arguments_are_errors_and_not_reports(ethtester_aave: EthTesterAave) -> None:
    chain, owner = EthTesterChain(ethtester_aave.tester), ethtester_aave.market.borrowers[0]
    with pytest.raises(WrongChain):
        await monitor.acheck("ethereum/aave-v3/core", owner, rpc=chain)
    with pytest.raises(ConfigError):
        await monitor.acheck("ethereum/aave-v3/cor", owner, rpc=chain)
    with pytest.raises(ConfigError):
        await monitor.acheck(named(ethtester_aave), "treasury", rpc=chain)
    with pytest.raises(ConfigError):
        monitor.thresholds(watch="1.1", warn="1.5")
    with pytest.raises(monitor.LevmonError):
        await monitor.acheck(named(ethtester_aave), owner, rpc="http://127.0.0.1:1")


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, monitor; print(*sys.modules)"
    root = Path(monitor.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    loaded = done.stdout.split()
    assert "monitor" in loaded
    assert not [name for name in loaded if name.startswith(("web3", "eth_", "aiohttp", "pydantic", "rich", "click"))]
    with pytest.raises(AttributeError):
        _ = monitor.nonsense
