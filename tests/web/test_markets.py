"""What watched positions come to in each market, and what falls with prices: beside the whole market's own integers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from fractions import Fraction

import numpy as np

from monitor.core.types import BlockRef, Known, MarketRef, Side
from monitor.pipeline.market import MarketState, Remembered
from monitor.pipeline.snapshot import Depth, Snapshot, judge
from monitor.pipeline.watch import Tick
from monitor.report import Report, Subject
from monitor.testing.crowd import NOW_S, Market, address, crowd, market
from monitor.web.board import Board, Chain
from monitor.web.markets import EDGES, MOVES, TOGETHER, Cell, Markets, pictures
from tests.web.dash import dash, report

AT = BlockRef(1, 7, "0x" + "00" * 32, "0x" + "11" * 32, NOW_S)
SIZE = 40


def watched(size: int = SIZE) -> tuple[Market, Board, MarketRef]:
    """Accounts of a whole market, each watched as a single position. Every second asset is worth one dollar."""
    of = market("3.6", 1)
    of = replace(of, globals_=of.bulk.at_prices(of.globals_, {address(number): 10**8 for number in range(0, 30, 2)}))
    columns = crowd(of, size, 2, (0.95, 2.5))
    found = tuple(of.bulk.position(of.globals_, columns, row, AT) for row in range(size))
    ref = of.bulk.facts.market
    states = {ref: MarketState(Remembered(of.bulk.facts, None), found)}
    subjects = [Subject(ref, "core", one.owner) for one in found]
    reports = judge(subjects, states, AT, Depth(liquidation_prices=False)).reports
    board = Board()
    board.take(Chain("ethereum", 1, AT, 0), Tick(Snapshot(AT, reports, states)))
    return of, board, ref


def test_what_falls_is_what_the_whole_market_says() -> None:
    async def counted() -> None:
        of, board, ref = watched()
        markets = Markets(board, rest=0)
        falls = await counted_of(markets, ref)
        columns = crowd(of, SIZE, 2, (0.95, 2.5))
        prices = of.bulk.prices(of.globals_)
        (picture,) = markets.pictures()
        steady = {key for key, asset in picture.assets if asset.steady}
        rows = dict(falls)
        assert len(rows) == 4
        for name, cells in rows.items():
            moved = set(prices) - steady
            if name != TOGETHER:
                moved = {key for key, asset in picture.assets if asset.symbol == name}
            for move, cell in zip(MOVES, cells, strict=True):
                shocked = {key: int(prices[key] * (1 + move)) for key in moved}
                there = of.bulk.at_prices(of.globals_, shocked)
                verdicts = of.bulk.exact(there, columns, np.arange(SIZE), of.at_s)
                assert cell.accounts == sum(one is not None and one[0] < one[1] for one in verdicts), (name, move)
                assert cell.unknown == 0
        assert 0 < rows[TOGETHER][0].accounts < rows[TOGETHER][-1].accounts

    asyncio.run(counted())


async def counted_of(markets: Markets, ref: MarketRef) -> tuple[tuple[str, tuple[Cell, ...]], ...]:
    """Once what was asked for is counted: an open page hears of it by the board."""
    version = markets.board.version
    found = await markets.falls()
    if ref not in found:
        await markets.board.changed(version)
    return (await markets.falls())[ref].rows


def test_counting_ends_and_begins_again_with_news() -> None:
    async def counted() -> None:
        _, board, ref = watched()
        markets = Markets(board, rest=0)
        first = await counted_of(markets, ref)
        version = board.version
        assert await counted_of(markets, ref) is first, "nothing new, nothing to count"
        assert board.version == version, "so that an open page does not keep itself busy"
        board.take(Chain("ethereum", 1, AT, 0), Tick(Snapshot(AT, (), {})))
        version = board.version
        assert await counted_of(markets, ref) is first, "what was counted is shown until something newer is"
        await board.changed(version)
        assert await counted_of(markets, ref) is not first

    asyncio.run(counted())


def test_sums_and_distances() -> None:
    _, board, _ = watched()
    (picture,) = pictures(board.reports.values())
    healths = [one.health for one in board.reports.values() if one.health is not None]
    legs = [leg for health in healths for leg in health.legs]
    assert sum(one.owed for _, one in picture.assets) == sum(leg.value for leg in legs if leg.side is Side.DEBT)
    assert sum(picture.accounts) == sum(isinstance(health.verdict, Known) for health in healths)
    below = [one for one in healths if isinstance(one.verdict, Known) and one.verdict.unhealthy]
    assert (picture.accounts[0], picture.debt[0]) == (len(below), sum(one.debt for one in below))
    far = [
        one
        for one in healths
        if isinstance(one.verdict, Known)
        and 1 - Fraction(one.verdict.denominator, one.verdict.numerator) >= Fraction(EDGES[-1], 100)
    ]
    assert picture.accounts[-1] == len(far)


def test_the_page_tells_of_what_is_not_known() -> None:
    reports: list[Report] = [report(1, 10**6), report(2, None), report(3, 0)]
    with dash(reports) as made:
        status, _, text = made.ask("/markets")
        assert status == 200
        assert "1 of them unknown and in none of these sums" in text
        assert "toy on chain 1: 3 positions" in text
        assert "Up to 2 of them could not be judged" in text, "the unknown one, and that of a protocol without a rule"
        assert made.ask("/api/v1/markets")[0] == 200
        assert made.said == []
