"""The table for people: order, cells, narrow terminals, hostile names."""

from __future__ import annotations

from dataclasses import replace

import click
import pytest

from monitor import report
from monitor.cli import sinks, table
from monitor.core.types import (
    BlockRef,
    Gate,
    GateState,
    Health,
    Known,
    Leg,
    Level,
    LiquidationPrice,
    MarketRef,
    NoDebt,
    Position,
    Price,
    Rule,
    Side,
    Unit,
    Unknown,
    Verdict,
)
from monitor.pipeline.snapshot import Snapshot
from monitor.pipeline.watch import Tick
from monitor.report import Report, Subject

WAD = 10**18
TOKEN = "0x" + "33" * 20
REF = MarketRef(31337, "aave-v3", "0x" + "22" * 20)
BLOCK = BlockRef(31337, 705, "0x" + "ab" * 32, "0x" + "cd" * 32, 1_700_000_000)


def made(number: int, verdict: Verdict, *, name: str = "", market: str = "core", symbol: str = "WETH") -> Report:
    owner = f"0x{number:040x}"
    subject = Subject(REF, market, owner, name)
    position = Position(subject.id, owner, BLOCK, Rule("aave-v3", "3.0"), {TOKEN: 1}, None)
    leg = Leg(Side.COLLATERAL, TOKEN, symbol, 18, WAD, 10**8, 8, 2 * 10**8, 8250)
    health = Health(
        subject.id,
        BLOCK,
        verdict,
        Unit("USD", 8),
        liquidatable=False,
        legs=(leg,),
        collateral=123_456 * 10**8,
        debt=10**9,
    )
    price = LiquidationPrice(TOKEN, symbol, 185_000_000_000, 8, 200_000_000_000, "below")
    return report.of_health(subject, position, health, liquidation_prices=(price,))


def test_unknown_comes_first_then_the_lowest_health_and_no_debt_last() -> None:
    reports = [
        made(1, NoDebt()),
        made(2, Known(3 * WAD, WAD)),
        made(3, Known(WAD - 1, WAD)),
        made(4, Unknown("the oracle reverts")),
        made(5, Known(11, 10)),
    ]
    rows = [click.unstyle(line) for line in table.render(reports, None)][1:]
    assert [row.split()[-1] for row in rows] == [f"0x{n:040x}" for n in (4, 3, 5, 2, 1)]
    assert [row.split()[0] for row in rows] == ["unknown", "critical", "warn", "ok", "ok"]


@pytest.mark.parametrize(
    ("verdict", "shown"),
    [
        (Known(WAD - 1, WAD), "0.9999"),
        (Known(99_999 * WAD // 100_000, WAD), "0.9999"),
        (Known(WAD, WAD), "1.0000"),
        (Known(1_234_567 * WAD // 1000, WAD), "1,234"),
        (Known(10**9, 1), "> 1 million"),
        (Known(0, 1), "0.0000"),
        (NoDebt(), "no debt"),
        (Unknown("why"), "?"),
    ],
)
def test_health_is_truncated_and_never_rounded_up(verdict: Verdict, shown: str) -> None:
    assert table.health_text(made(1, verdict)) == shown


def test_a_stale_price_marks_health() -> None:
    old = Price(TOKEN, 1, 8, "USD", BLOCK.timestamp - 61, 60, "feed")
    assert table.health_text(replace(made(1, Known(2 * WAD, WAD)), prices=(old,))) == "2.0000!"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (0, "$0.00"),
        (99_999_999_999, "$999.99"),
        (100_000_000_000, "$1,000"),
        (99_999_999_999_999, "$999,999"),
        (100_000_000_000_000, "$1.00M"),
        (999_999_999_999_999, "$9.99M"),
        (2_000_071_600_000_000, "$20.0M"),
        (123_456_789_012_345_678, "$1,234.5M"),
    ],
)
def test_money_is_short_and_truncated(raw: int, shown: str) -> None:
    health = Health("x", BLOCK, NoDebt(), Unit("USD", 8), collateral=raw)
    assert table.money(health, "collateral") == shown
    assert table.money(replace(health, unit=Unit("WETH\x1b", 8)), "collateral") == shown[1:] + " WETH…"


@pytest.mark.parametrize("width", [10, 24, 40, 60, 80, 120, 300])
def test_it_never_is_wider_than_the_terminal(width: int) -> None:
    reports = [made(n, Known(n * WAD, WAD), market="a-market-with-a-long-name") for n in range(1, 9)]
    reports += [made(n, Known(n * WAD, WAD), name="a-label-that-is-long") for n in range(9, 12)]
    lines = [click.unstyle(line) for line in table.render(reports, width)]
    assert max(map(len, lines)) <= max(width, table.NARROWEST)
    assert len(lines) == len(reports) + 1
    assert "LEVEL" in lines[0]
    assert "HEALTH" in lines[0]
    assert ("COLLATERAL" in lines[0]) == (width >= 120)


def test_hostile_names_cannot_reach_the_terminal() -> None:
    hostile = made(1, Known(WAD - 1, WAD), symbol="\x1b[2J\u202eX", name="\x1b]0;owned\x07", market="a\nb")
    other = made(2, Unknown("revert: \x1b[31m[red]boom[/red]\r\n"))
    lines = [
        click.unstyle(line) for line in (*table.render([hostile, other], None), *table.notes([hostile, other], 80))
    ]
    assert all(line.isprintable() for line in lines)
    assert any("[red]boom[/red]" in line for line in lines)


def test_notes_tell_why_and_whether_it_can_be_liquidated() -> None:
    below = made(1, Known(WAD - 1, WAD))
    gate = Gate("sentinel", GateState.UNKNOWN)
    assert below.health is not None
    unsure = replace(below, health=replace(below.health, liquidatable=None, gates=(gate,)))
    now = replace(below, health=replace(below.health, liquidatable=True))
    shut = replace(below, health=replace(below.health, gates=(Gate("pause", GateState.SHUT),)))
    assert "not known (sentinel unknown)" in table.notes([unsure], None)[0]
    assert "can be liquidated now" in table.notes([now], None)[0]
    assert "cannot be liquidated now (pause shut)" in table.notes([shut], None)[0]
    soon = replace(below, health=replace(below.health, verdict=Known(WAD, WAD), at_next_block=True))
    assert "one block later" in table.notes([soon], None)[0]
    many = [made(n, Unknown("no endpoint answered")) for n in range(5)]
    assert table.notes(many, None) == ["  5 positions: no endpoint answered"]


def test_the_summary_counts_each_level_most_urgent_first() -> None:
    reports = [made(1, Known(3 * WAD, WAD)), made(2, Unknown("x")), made(3, Known(1, 2)), made(4, NoDebt())]
    assert click.unstyle(table.summary(reports)) == "4 positions: 1 unknown, 1 critical, 2 ok"
    assert click.unstyle(table.summary(reports[:1])) == "1 position: 1 ok"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s old"),
        (119, "119 s old"),
        (120, "2 min old"),
        (7200, "2 h old"),
        (172_800, "2 d old"),
        (-5, "5 s ahead"),
    ],
)
def test_ages(seconds: int, shown: str) -> None:
    assert table.ago(seconds).startswith(shown)


def tick(*reports: Report) -> Tick:
    return Tick(Snapshot(BLOCK, reports, {}), skipped=2)


def test_lines_tell_changes_once_and_what_was_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    sink = sinks.Lines(heartbeat_s=3600)
    calm, worse = made(1, Known(3 * WAD, WAD)), made(1, Known(WAD, WAD))
    for reports in ([calm], [calm], [worse], [worse]):
        sink.show("local", tick(*reports))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "local 705  1 position: 1 ok; 2 blocks skipped since the line before",
        f"local 705  ok -> critical  health 1.0000  {worse.owner} in core: health is below 1.1",
        "local 705  1 position: 1 critical; 4 blocks skipped since the line before",
    ]
    assert sink.levels() == {Level.CRITICAL}


def test_many_that_become_unknown_together_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    sink = sinks.Lines(heartbeat_s=3600)
    sink.show("local", tick(*(made(n, Known(3 * WAD, WAD)) for n in range(5))))
    sink.show("local", tick(*(made(n, Unknown("nobody answers")) for n in range(5))))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "local 705  unknown  5 positions: nobody answers"
    assert len(lines) == 3


def test_a_heartbeat_says_that_nothing_came(capsys: pytest.CaptureFixture[str]) -> None:
    sink = sinks.Lines(heartbeat_s=0)
    sink.show("local", tick(made(1, Known(3 * WAD, WAD))))
    sink.idle()
    assert capsys.readouterr().out.splitlines()[-1].startswith("no new block for 0 s; 1 position: 1 ok")
