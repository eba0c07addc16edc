"""What the board keeps up: order, sums, and that a page's changes are what changed and nothing else."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from monitor.core.types import Level
from monitor.web.board import Board, Chain
from monitor.web.defences import ALL
from monitor.web.portfolio import PAGE, Asked, Portfolio
from monitor.web.view import Templates
from tests.web.dash import block, dash, report, tick


def board_of(*reports: object) -> Board:
    board = Board()
    board.take(Chain("ethereum", 1, block(), 0), tick(reports))  # type: ignore[arg-type]  # they are reports
    return board


def test_unknown_stands_on_top_and_no_debt_last() -> None:
    board = board_of(report(1, 10**6), report(2, 0), report(3, 3 * 10**6), report(4, None), report(5, 29 * 10**5))
    assert [int(one[-40:], 16) for one in board.order()] == [4, 3, 5, 1, 2]
    assert board.order(Level.UNKNOWN) == board.order()[:1]
    assert board.order(None, "CORE") == board.order()
    assert board.order(None, f"{3:040x}") == board.order()[1:2]


def test_sums_are_those_of_the_newest_reports() -> None:
    board = board_of(report(1, 10**6), report(2, 0), report(3, 10**6))
    [one] = board.sums.values()
    assert (one.positions, one.collateral, one.debt) == (3, 9 * 10**6, 2 * 10**6)
    board.take(Chain("ethereum", 1, block(8), 0), tick([report(1, None), report(3, 5 * 10**5)]))
    [one] = board.sums.values()
    assert (one.positions, one.collateral, one.debt) == (2, 6 * 10**6, 5 * 10**5)
    assert sum(board.counts.values()) == 3
    assert board.counts[Level.UNKNOWN] == 1


def test_a_page_changes_by_what_changed() -> None:
    reports = [report(number, 10**6 + number) for number in range(250)]
    board = board_of(*reports)
    portfolio = Portfolio(board, Templates(ALL))
    first = portfolio.view(Asked())
    assert len(first.rows) == PAGE
    board.take(Chain("ethereum", 1, block(8), 0), tick([report(n, 10**6 + n, block(8)) for n in range(250)]))
    same = json.loads(portfolio.view(Asked()).changes(first))
    assert list(same["parts"]) == ["chains"], "only the block is another"
    worst, best = board.order()[0], board.order()[-1]
    moved = int(best[-40:], 16)
    board.take(Chain("ethereum", 1, block(9), 0), tick([report(moved, 29 * 10**5, block(9))]))
    told = json.loads(portfolio.view(Asked()).changes(first))
    assert set(told["parts"]) == {"chains", "summary", f"p{board.key(best)}"}
    assert told["order"][:2] == [f"p{board.key(best)}", f"p{board.key(worst)}"]
    assert portfolio.view(Asked()).changes(portfolio.view(Asked())) == ""


def test_queries_that_make_no_sense_show_the_first_page() -> None:
    for query in ({"page": "-1"}, {"page": "x"}, {"page": "9" * 99}, {"page": "٣"}, {"level": "fine"}):
        assert Asked.of(query) == Asked()
    portfolio = Portfolio(board_of(*(report(number, 10**6) for number in range(250))), Templates(ALL))
    assert len(portfolio.view(Asked(page=99)).rows) == 50, "beyond the end is the last"


def test_a_failed_chain_keeps_its_last_block_and_says_so() -> None:
    board = board_of(report(1, 10**6))
    board.take(Chain("ethereum", 1, None, 5, trouble="no endpoint answered"), tick([report(1, None)]))
    html = Portfolio(board, Templates(ALL)).view(Asked()).parts["chains"]
    assert "block 7," in html
    assert "no usable head: no endpoint answered" in html


def test_the_stream_sends_what_changed() -> None:
    with dash([report(1, 10**6), report(2, 10**6)]) as made:
        told = made.ask("/events?of=/", most=10**6)[2]
        assert told.startswith("data: ")
        parts = json.loads(told.partition("data: ")[2])["parts"]
        assert set(parts) == {"chains", "summary", "pages", "p0", "p1"}
        for page in ("/nothing", "/positions/nothing", "http://["):
            assert made.ask(f"/events?of={quote(page, safe='')}", most=1000)[0] in {400, 404}, page


def test_a_page_of_many_positions_is_small() -> None:
    with dash([report(number, 10**6 + number, name=f"name {number}") for number in range(5000)]) as made:
        _, _, text = made.ask("/")
        assert len(text) < 200_000
        assert "page 1 of 50, 5,000 positions" in text
        rows = re.findall(r'<tr id="p(\d+)"', text)
        assert len(rows) == PAGE
        _, _, text = made.ask("/?q=name%2077&page=1")
        assert "page 1 of 1, 11 positions" in text
