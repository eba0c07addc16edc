"""One owner over many markets: few requests, the most urgent first, totals, and nothing lost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from monitor.cli import table
from monitor.core.types import BlockRef, Health, Known, Leg, Level, MarketRef, NoDebt, Side, Unit
from monitor.report import Report, Subject
from monitor.testing import morpho
from monitor.testing.anvil import AnvilProcess
from tests.cli.conftest import Levmon
from tests.cli.wire import Wire

MARKETS, HELD = 20, 3


@pytest.fixture
def twenty(home: Path) -> Iterator[tuple[Wire, str]]:
    """An owner with three positions in twenty real Morpho markets, all of them in the file."""
    with ExitStack() as stack:
        process = stack.enter_context(AnvilProcess())
        chain = process.chain()
        stack.callback(chain.close)
        first = morpho.deploy(chain)
        owner = chain.account("has three positions")
        markets = [first, *(morpho.beside(chain, first, (800 - number) * 10**15) for number in range(1, MARKETS))]
        for number, market in enumerate(markets[:HELD]):
            morpho.borrow(chain, market, owner, 10**18, (800 + 200 * number) * 10**6)
        wire = stack.enter_context(Wire(process.url))
        lines = [f'[chains.local]\nchain_id = {chain.chain_id}\nrpc = ["{wire.url}"]']
        lines += [
            f'[[markets]]\nname = "m{number}"\nchain = "local"\nprotocol = "morpho-blue"\n'
            f'address = "{market.morpho}"\nid = "{market.id}"'
            for number, market in enumerate(markets)
        ]
        (home / "levmon.toml").write_text("\n".join(lines))
        yield wire, owner


@pytest.mark.anvil
def test_one_owner_over_twenty_markets_takes_four_requests(levmon: Levmon, twenty: tuple[Wire, str]) -> None:
    wire, owner = twenty
    cold = levmon("check", "--json", owner)
    cold_requests = len(wire.take())
    warm = levmon("check", "--json", owner)
    warm_requests = len(wire.take())
    assert cold.out == warm.out
    reports = [json.loads(line) for line in warm.lines]
    assert len(reports) == MARKETS
    assert sorted(one["market"] for one in reports if one["verdict"] == "known") == ["m0", "m1", "m2"]
    assert {one["verdict"] for one in reports} == {"known", "no_debt"}
    assert len({one["block"]["hash"] for one in reports}) == 1
    assert (cold_requests <= 4, warm_requests <= 4) == (True, True), (cold_requests, warm_requests)
    shown = levmon("check", owner)
    rows = re.findall(r" (m\d+) +0x", shown.out)
    assert rows == ["m2", "m1", "m0"], "the nearest to liquidation first"
    assert "17 more without collateral or debt" in shown.out
    assert "together: collateral 6,000 USDC, debt 3,000 USDC of 3 positions" in shown.out
    assert shown.lines[-1].startswith("20 positions: ")


def test_a_chain_that_fails_is_unknown_in_every_market(levmon: Levmon, home: Path) -> None:
    """Neither absence nor the end of the others, and without them in no total."""
    lines: list[str] = []
    for name in ("one", "two"):
        lines.append(f'[chains.{name}]\nchain_id = {len(name)}{len(lines)}\nrpc = ["http://127.0.0.1:1"]')
        lines += [
            f'[[markets]]\nname = "{name}-{protocol}"\nchain = "{name}"\nprotocol = "{protocol}"\n'
            f'address = "{at}"{more}'
            for protocol, at, more in (
                ("maker", "0x" + "11" * 20, '\nid = "ETH-A"'),
                ("liquity-v2", "0x" + "22" * 20, ""),
                ("euler-v2", "0x" + "33" * 20, ""),
                ("aave-v4", "0x" + "44" * 20, ""),
            )
        ]
    (home / "levmon.toml").write_text("\n".join(lines))
    ran = levmon("check", "--json", "0x" + "55" * 20)
    assert ran.code == 3
    reports = [json.loads(line) for line in ran.lines]
    assert len(reports) == 8
    assert {one["verdict"] for one in reports} == {"unknown"}


BLOCK = BlockRef(1, 1, "0x" + "01" * 32, "0x" + "00" * 32, 1)


def report(number: int, debt: int | None, unit: str = "USD") -> Report:
    """A position of 300 against `debt`; None: it could not be read; 0: there is nothing at all."""
    subject = Subject(MarketRef(1, "toy", "0x" + "11" * 20), f"m{number}", f"0x{number:040x}")
    if debt is None:
        return Report(subject, Level.UNKNOWN, "", BLOCK)
    leg = Leg(Side.COLLATERAL, "0x" + "cc" * 20, "WETH", 0, 1, 1, 0, 300, 10_000)
    verdict = Known(300, debt) if debt else NoDebt()
    legs, collateral = ((leg,), 300) if debt else ((), 0)
    health = Health(subject.id, BLOCK, verdict, Unit(unit, 0), legs=legs, collateral=collateral, debt=debt)
    return Report(subject, Level.OK, "", BLOCK, health)


def test_totals_are_of_one_unit_and_leave_out_what_is_unknown() -> None:
    both = [report(1, 100), report(2, 50)]
    assert table.totals(both) == ["in USD together: collateral $600.00, debt $150.00 of 2 positions"]
    assert table.totals([*both, report(3, 10, "ETH"), report(4, None)]) == [
        *table.totals(both),
        "without what is unknown of 1",
    ]
    assert table.totals([report(1, 100), report(2, 10, "ETH")]) == [], "one of a kind has no sum"
    assert table.totals([]) == []


def test_many_positions_of_nothing_are_counted_and_unknown_ones_are_always_shown() -> None:
    nothing = [report(number, 0) for number in range(10, 20)]
    held = [report(1, 100), report(2, None)]
    assert table.worth_a_row([*held, *nothing]) == held
    assert table.worth_a_row([*held, *nothing[:4]]) == [*held, *nothing[:4]]
    assert table.worth_a_row(nothing) == nothing
    assert table.totals([*held, *nothing])[-1] == "10 more without collateral or debt"
