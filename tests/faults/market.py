"""Rows about prices: a real Aave V3 market on anvil, whose oracle is made to misbehave.

What levmon does about prices lives in the pure rooms, which have no switches. There a defence is switched off by
putting in its place what a careless monitor would do: `oracle_row` names the function and takes the replacement.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from monitor.chain.rpc_chain import RpcChain
from monitor.core.types import Known, MarketRef, Position, Unknown
from monitor.pipeline.memory import ShortMemory
from monitor.pipeline.snapshot import Snapshot, snapshot
from monitor.report import Report, Subject
from monitor.testing.aave_v3 import account_data
from monitor.testing.contracts import compile_contract
from monitor.testing.devchain import CallReverted
from tests.faults.rows import declare
from tests.localnet_fixtures import AnvilAave

FIELDS = (
    "totalCollateralBase",
    "totalDebtBase",
    "availableBorrowsBase",
    "currentLiquidationThreshold",
    "ltv",
    "healthFactor",
)


@dataclass
class OracleLab:
    """A market that has been confirmed while it was well, and reports of all its borrowers."""

    local: AnvilAave
    chain: RpcChain
    memory: ShortMemory = field(default_factory=ShortMemory)

    @property
    def ref(self) -> MarketRef:
        return MarketRef(self.local.market.chain_id, "aave-v3", self.local.market.provider)

    async def look(self, chain: Any = None) -> Snapshot:
        subjects = [Subject(self.ref, "local", owner) for owner in self.local.market.borrowers]
        return await snapshot(chain or self.chain, subjects, self.memory)

    async def reports(self) -> dict[str, Report]:
        """By owner."""
        return {report.owner: report for report in (await self.look()).reports}

    def truth(self, owner: str) -> dict[str, int] | None:
        """The contract's own six numbers; None where it reverts."""
        try:
            return dict(zip(FIELDS, account_data(self.local.chain, self.local.market, owner), strict=True))
        except CallReverted:
            return None

    def check(self, reports: dict[str, Report]) -> tuple[int, int]:
        """Each known report is the contract's to the last digit, and where the contract has none it is unknown.

        Answers how many are known and how many unknown.
        """
        known = 0
        for owner, report in reports.items():
            truth = self.truth(owner)
            assert report.health is not None or truth is None, (owner, report.cause)
            if truth is None:
                assert report.verdict == "unknown", owner
                assert report.level == "unknown", owner
                assert report.cause, owner
            elif report.verdict != "unknown":
                assert report.health is not None
                assert report.health.reported == truth, owner
                known += 1
        return known, len(reports) - known

    def holders(self, reports: dict[str, Report], symbol: str) -> set[str]:
        """The owners whose position holds the asset, as the reports of a healthy market tell."""
        asset = self.local.market.reserves[symbol].asset
        return {
            owner
            for owner, report in reports.items()
            if isinstance(report.position, Position) and asset in report.position.prices
        }

    def feed(self, symbol: str) -> str:
        return self.local.market.reserves[symbol].feed

    def send(self, to: str, signature: str, *args: Any) -> None:
        self.local.chain.send(self.local.market.admin, to, signature, *args)

    def use_source(self, symbol: str, source: str) -> None:
        """Let the oracle take the asset's price from there."""
        asset = self.local.market.reserves[symbol].asset
        self.send(self.local.market.oracle, "setAssetSources(address[],address[])", [asset], [source])

    def odd_source(self, symbol: str, low: int = 0, high: int = 0, cap: int = 0) -> str:
        """Put an OddSource before the asset's feed."""
        source = self.local.chain.deploy(
            self.local.market.admin,
            bytes.fromhex(odd_code()[2:]),
            "(address,int192,int192,int256)",
            [self.feed(symbol), low, high, cap],
        )
        self.use_source(symbol, source)
        return source


@cache
def odd_code() -> str:
    return str(compile_contract(Path(__file__).with_name("OddSource.vy"))["bytecode"])


def is_unknown(report: Report) -> bool:
    """Level and verdict say so, with a reason."""
    verdict = report.health.verdict if report.health else None
    assert not isinstance(verdict, Known) or report.level != "unknown"
    return (verdict is None or isinstance(verdict, Unknown)) and report.level == "unknown" and bool(report.cause)


Scenario = Callable[[OracleLab], Awaitable[None]]


def oracle_row(
    name: str, behaviour: str, defence: str, careless: Any, versions: tuple[str, ...] = ("3.0", "3.6")
) -> Callable[[Scenario], Any]:
    """As rows.row with `careless`, on a market of each version."""
    module, _, attribute = defence.partition(":")

    def decorate(scenario: Scenario) -> Any:
        declare(scenario, name, behaviour, f"{module.rpartition('.')[2]}.{attribute}", "")

        @pytest.mark.anvil
        @pytest.mark.parametrize(
            ("without", "anvil_aave"),
            [*((None, version) for version in versions), (attribute, versions[0])],
            indirect=["anvil_aave"],
        )
        async def test(without: str | None, anvil_aave: AnvilAave, monkeypatch: pytest.MonkeyPatch) -> None:
            chain = RpcChain(anvil_aave.process.url)
            try:
                lab = OracleLab(anvil_aave, chain)
                healthy = await lab.reports()
                known, unknown = lab.check(healthy)
                assert known >= 20
                assert unknown == 0
                if without is None:
                    await scenario(lab)
                    return
                monkeypatch.setattr(f"{module}.{attribute}", careless)
                with pytest.raises(AssertionError):
                    await scenario(lab)
            finally:
                await chain.close()

        test.__name__ = test.__qualname__ = scenario.__name__
        test.__module__ = scenario.__module__
        test.__doc__ = scenario.__doc__
        return test

    return decorate
