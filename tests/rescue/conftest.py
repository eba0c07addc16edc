"""`rescue`: a protected position on Aave 3.6, with a full purse; `rescues`: the same on 3.0 and on 3.6."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path

import pytest

from monitor.chain.rpc_chain import RpcChain
from monitor.pipeline.memory import ShortMemory
from monitor.pipeline.snapshot import snapshot
from monitor.testing.aave_v3_market import Version
from tests.localnet_fixtures import AnvilAave
from tests.rescue.lab import RescueLab, borrowers

Markets = Callable[[Version], AnvilAave]


@pytest.fixture
async def rescue(anvil_markets: Markets, tmp_path: Path) -> AsyncIterator[RescueLab]:
    async with opened(anvil_markets("3.6"), tmp_path) as lab:
        yield lab


@pytest.fixture(params=["3.0", "3.6"])
async def rescues(request: pytest.FixtureRequest, anvil_markets: Markets, tmp_path: Path) -> AsyncIterator[RescueLab]:
    async with opened(anvil_markets(request.param), tmp_path) as lab:
        yield lab


@asynccontextmanager
async def opened(local: AnvilAave, folder: Path) -> AsyncIterator[RescueLab]:
    """Health 1.3, under a rule that acts below 1.2 and aims at 1.4; the chain is as before afterwards."""
    before = local.chain.snapshot()
    async with RpcChain(local.process.url) as reader:
        lab = RescueLab(local, reader, folder, ShortMemory())
        await snapshot(reader, list(borrowers(lab)), lab.memory)
        lab.owner = lab.borrow()
        lab.fill_purse("USDC", "WETH")
        lab.to_health(Fraction(13, 10))
        try:
            yield lab
        finally:
            lab.close()
    local.chain.revert(before)
