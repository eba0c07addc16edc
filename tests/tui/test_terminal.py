"""The terminal view as text: what stands where, what keys do, and that nothing unknown looks like anything else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Static

from monitor.cli import app as cli
from monitor.core.errors import ChainError, ConfigError
from monitor.core.types import BlockRef, Health, Known, Level, MarketRef, Unit
from monitor.pipeline.memory import ShortMemory
from monitor.pipeline.questions import explain
from monitor.pipeline.snapshot import Snapshot, snapshot
from monitor.pipeline.watch import Tick
from monitor.report import Report, Subject, unknown
from monitor.testing import EthTesterChain
from monitor.tui.app import Terminal
from monitor.tui.rows import SORTED_BY, Wish, chosen
from tests.localnet_fixtures import EthTesterAave

BLOCK = BlockRef(31337, 705, "0x" + "ab" * 32, "0x" + "cd" * 32, 1_700_000_000)
REF = MarketRef(31337, "toy", "0x" + "01" * 20)
SNAPSHOT = Path(__file__).with_name("terminal.txt")


def report(number: int, health: int, *, market: str = "core", debt: int = 100, name: str = "") -> Report:
    subject = Subject(REF, market, f"0x{number:040x}", name)
    found = Health(subject.id, BLOCK, Known(health, 100), Unit("USD", 0), {}, collateral=2 * debt, debt=debt)
    level = Level.CRITICAL if health < 110 else Level.WARN if health < 150 else Level.OK
    return Report(subject, level, "as told", BLOCK, found)


LOST = unknown(Subject(REF, "other", f"0x{9:040x}"), "the price feed reverted", BLOCK)
SEEN = (report(1, 180, debt=5), report(2, 104, name="treasury", debt=70), report(3, 130, market="lido"), LOST)


def text(view: Terminal) -> str:
    """The screen as it stands, without colours."""
    strips = view.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips) + "\n"


def told(view: Terminal) -> str:
    """What is told of one position, also what has to be scrolled to."""
    return str(view.query_one("#told", Static).content)


async def test_the_screen_as_text() -> None:
    view = Terminal(lambda _: [])
    async with view.run_test(size=(110, 16)) as pilot:
        view.take("local", Tick(Snapshot(BLOCK, SEEN, {})))
        await pilot.pause()
        assert text(view) == SNAPSHOT.read_text()


async def test_keys_sort_filter_and_find_the_place_again() -> None:
    view = Terminal(lambda _: [])
    async with view.run_test(size=(110, 24)) as pilot:
        view.take("local", Tick(Snapshot(BLOCK, SEEN, {})))
        await pilot.press("down", "down")
        assert view._here() == SEEN[2]
        await pilot.press("r")
        assert "by health, reversed" in text(view)
        assert view._here() == SEEN[2]
        await pilot.press("slash", *"lido", "enter")
        assert "1 of 4 positions, 1 unknown, by health, reversed, only 'lido'" in text(view)
        assert view._here() == SEEN[2]
        worse = replace(SEEN[2], level=Level.UNKNOWN, health=None)
        view.take("local", Tick(Snapshot(None, (worse,), {}), trouble=ChainError("no endpoint answers")))
        await pilot.pause()
        assert "no endpoint answers" in text(view)
        assert "1 of 4 positions, 2 unknown" in text(view)
        assert "1.3000" not in text(view)
        await pilot.press("q")


async def test_a_name_that_looks_like_markup_is_shown_as_it_is() -> None:
    view = Terminal(lambda _: ["[/]nonsense[bold"])
    hostile = report(5, 130, market="[red]core[/bold]", name="[/nobody]")
    async with view.run_test(size=(110, 24)) as pilot:
        for health in (130, 120):
            made = replace(hostile, health=report(5, health).health)
            view.take("[/]local", Tick(Snapshot(BLOCK, (made,), {})))
            await pilot.press("e")
            await pilot.press("j")
            await pilot.pause()
            for shown in ("[red]core[/bold]", "[/nobody]", "[/]nonsense[bold", "[/]local"):
                assert shown in text(view)


def test_order_is_exact_and_unknown_on_top() -> None:
    for by in SORTED_BY:
        for reverse in (False, True):
            assert chosen(SEEN, Wish(by, reverse))[0] == LOST
    assert [one.owner[-1] for one in chosen(SEEN, Wish())] == ["9", "2", "3", "1"]
    assert [one.owner[-1] for one in chosen(SEEN, Wish("debt"))] == ["9", "3", "2", "1"]
    assert [one.owner[-1] for one in chosen(SEEN, Wish("market"))] == ["9", "2", "1", "3"]
    assert [one.owner[-1] for one in chosen(SEEN, Wish(text="CORE critical"))] == ["2"]
    near = (report(1, 10**30), report(2, 10**30 - 1))
    assert [one.owner[-1] for one in chosen(near, Wish())] == ["2", "1"]
    wish = Wish()
    for _ in SORTED_BY:
        wish = wish.next()
    assert wish == Wish()


async def test_a_real_position_is_explained_and_asked_what_if(ethtester_aave: EthTesterAave) -> None:
    market, chain = ethtester_aave.market, EthTesterChain(ethtester_aave.tester)
    block = await chain.block("latest")
    subjects = [Subject(MarketRef(block.chain_id, "aave-v3", market.provider), "core", market.borrowers[0])]
    taken = await snapshot(chain, subjects, ShortMemory())
    said: list[str] = []

    def journal(position_id: str) -> list[str]:
        said.append(position_id)
        return ["nothing was done for it"]

    view = Terminal(journal)
    async with view.run_test(size=(140, 50)) as pilot:
        view.take("local", Tick(taken))
        await pilot.press("e")
        lines = explain(taken.reports[0], taken.markets[subjects[0].ref])
        assert len(lines) > 10
        assert all(f"{line.name} = {line.value}" in told(view) for line in lines)
        await pilot.press("w", *"WETH=-99% 1d", "enter")
        assert "after WETH=-99% 1d" in told(view)
        assert "then   critical" in told(view)
        await pilot.press("w", *"nonsense", "enter")
        assert "write ASSET=PERCENT" in told(view)
        await pilot.press("j")
        await pilot.pause()
        assert "nothing was done for it" in text(view)
        assert said == [taken.reports[0].id]
        await pilot.press("escape")
        await pilot.pause()
        assert "nothing was done for it" not in text(view)


def test_without_a_terminal_it_says_what_to_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        cli.run(["tui", "--market", "ethereum/aave-v3/core", "--rpc-url", "http://127.0.0.1:1"])
        == ConfigError.exit_code
    )
    assert "levmon watch" in capsys.readouterr().err
