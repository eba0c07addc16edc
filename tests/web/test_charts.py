"""Charts: a gap where nothing was known, our own markup alone, and words for who does not see them."""

from __future__ import annotations

import re
from urllib.parse import quote

from monitor.core.thresholds import DEFAULT
from monitor.core.types import Known, Level, LiquidationPrice, Unknown
from monitor.history.rows import HistoryRow
from monitor.web import charts
from tests.web.dash import ASSET, Told, dash, report

NOW_S = 1_700_000_007


def kept(minutes: int, health: int | None, symbol: str = "WETH") -> HistoryRow:
    at_s = NOW_S - minutes * 60
    if health is None:
        return HistoryRow(at_s, Level.UNKNOWN, Unknown("no endpoint answered"))
    near = LiquidationPrice(ASSET, symbol, 1500, 2, 1500 + health, "below")
    return HistoryRow(at_s, Level.OK, Known(health, 1000), nearest=near)


def lines_of(svg: str) -> list[str]:
    """The drawn pieces of the first series."""
    [first] = re.findall(r'<g class="series serie-0 color-0">(.*?)</g>', svg)
    return re.findall(r'<path d="([^"]*)"', first)


def test_what_was_unknown_is_a_gap() -> None:
    whole, _ = charts.health([kept(60 - n, 1300 + n) for n in range(60)], DEFAULT, NOW_S)
    assert len(lines_of(whole)) == 1
    rows = [kept(60 - n, None if 20 <= n < 30 else 1300 + n) for n in range(60)]
    broken, words = charts.health(rows, DEFAULT, NOW_S)
    assert len(lines_of(broken)) == 2
    assert words == "Health was between 1.3000 and 1.3590 in the last 60 minutes; unknown at 10 of 61 looks"


def test_nothing_known_is_no_chart() -> None:
    assert charts.health([kept(5, None)], DEFAULT, NOW_S) == ("", "")
    assert charts.price([kept(5, None)], NOW_S) == ("", "")


def test_a_hostile_symbol_is_text_in_a_chart() -> None:
    svg, _ = charts.price([kept(9, 1300, "<script>a</script>"), kept(3, 1400, "<script>a</script>")], NOW_S)
    assert "<script" not in svg
    assert "&lt;script" in svg
    assert not re.search(r"\sstyle=|<style|\son\w+=", svg)


def test_the_page_shows_what_was_kept() -> None:
    with dash([report(1, 10**6)], behind=Told(history=[kept(9, 1300), kept(3, 1400)])) as made:
        [position] = made.board.reports
        _, _, text = made.ask(f"/positions/{quote(position, safe='')}")
        assert text.count("<svg") == 2
        assert 'aria-label="Health was between 1.3000 and 1.4000' in text
    with dash([report(1, 10**6)]) as made:
        assert "Nothing was kept of it" in made.ask(f"/positions/{quote(position, safe='')}")[2]
