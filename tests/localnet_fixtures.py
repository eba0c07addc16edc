"""Pytest plugin: real Aave V3 markets on local chains.

`anvil_aave` and `ethtester_aave` deploy once per session and version, and give each test the chain as it was right
after deployment. The version is 3.0 unless a test asks for another or for both, as in
`@pytest.mark.parametrize("anvil_aave", ["3.0", "3.6"], indirect=True)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from eth_tester import EthereumTester

from monitor.testing import aave_v3
from monitor.testing.aave_v3_market import AaveMarket, Version
from monitor.testing.anvil import AnvilDevChain, AnvilProcess
from monitor.testing.in_process import market_in_process
from monitor.testing.py_evm import EthTesterDevChain


class AnvilAave(NamedTuple):
    process: AnvilProcess
    market: AaveMarket
    chain: AnvilDevChain


class EthTesterAave(NamedTuple):
    tester: EthereumTester
    market: AaveMarket
    chain: EthTesterDevChain


@pytest.fixture(scope="session")
def anvil_markets() -> Iterator[Callable[[Version], AnvilAave]]:
    """One anvil per version, started when first asked for."""
    started: dict[Version, AnvilAave] = {}
    with ExitStack() as stack:

        def market(version: Version) -> AnvilAave:
            if version not in started:
                # all states: after hundreds of tests that were undone the deployment's are the oldest
                process = stack.enter_context(AnvilProcess(states=None))
                chain = process.chain()
                stack.callback(chain.close)
                started[version] = AnvilAave(process, aave_v3.deploy(chain, version), chain)
            return started[version]

        yield market


@pytest.fixture
def anvil_aave(request: pytest.FixtureRequest, anvil_markets: Callable[[Version], AnvilAave]) -> Iterator[AnvilAave]:
    local = anvil_markets(getattr(request, "param", "3.0"))
    snapshot = local.chain.snapshot()
    yield local
    local.chain.revert(snapshot)


@pytest.fixture(scope="session")
def ethtester_markets() -> Callable[[Version], EthTesterAave]:
    """One chain in this process per version, made when first asked for."""
    deployed: dict[Version, EthTesterAave] = {}

    def market(version: Version) -> EthTesterAave:
        if version not in deployed:
            chain, aave = market_in_process(version)
            deployed[version] = EthTesterAave(chain.tester, aave, chain)
        return deployed[version]

    return market


@pytest.fixture
def ethtester_aave(
    request: pytest.FixtureRequest, ethtester_markets: Callable[[Version], EthTesterAave]
) -> Iterator[EthTesterAave]:
    local = ethtester_markets(getattr(request, "param", "3.0"))
    snapshot = local.chain.snapshot()
    yield local
    local.chain.revert(snapshot)
