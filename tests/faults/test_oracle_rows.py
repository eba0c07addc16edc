"""Rows O1, O2, O3, O5, O6, O9 and O14: price sources and tokens that misbehave under a real Aave V3 market."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from monitor.core.types import Answer, BlockRef, Call, Ok, PriceStatus, Query
from monitor.oracles.chainlink import VALID_FOR_S
from monitor.pipeline.memory import ShortMemory
from monitor.pipeline.watch import told_of_backward_rounds
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.reading import Book
from tests.faults.market import OracleLab, is_unknown, oracle_row

READ = "monitor.protocols.aave_v3.reading:Book.known"
WORDS = "monitor.protocols.aave_v3.verdict:remarks"
MAX_INT256 = 2**255 - 1


def nothing_to_say(*_: Any) -> list[str]:
    return []


def zero_if_unread(book: Book, query: Call) -> Any:
    """What a careless monitor does: a price that could not be read counts as 0."""
    answer = book.answers.get(query)
    if isinstance(answer, Ok):
        return answer.values[0]
    return 0 if query.function.endswith("getAssetPrice") else None


def always_fresh(*_: object) -> PriceStatus:
    return PriceStatus.FRESH


def never(*_: object) -> bool:
    return False


@oracle_row("O1", "a stale feed: health by the protocol's own price, said to be stale", WORDS, nothing_to_say)
async def test_stale_feed(lab: OracleLab) -> None:
    lab.local.chain.warp(VALID_FOR_S + 1000)
    for symbol in lab.local.market.reserves:
        if symbol != "WETH":
            lab.send(
                lab.feed(symbol),
                "setAnswer(int256)",
                int(lab.local.chain.call(lab.feed(symbol), "latestAnswer()", "(int256)")[0]),
            )
    reports = await lab.reports()
    assert lab.check(reports)[1] == 0
    holders = lab.holders(reports, "WETH")
    assert holders
    for owner, report in reports.items():
        assert report.health is not None
        said = [note for note in report.health.notes if note.startswith("WETH: the price is stale")]
        assert bool(said) == (owner in holders)


@oracle_row(
    "O1", "a stale feed: the price itself is marked", "monitor.core.types:Price.status", always_fresh, versions=("3.0",)
)
async def test_stale_price_is_marked(lab: OracleLab) -> None:
    lab.local.chain.warp(VALID_FOR_S + 1000)
    reports = await lab.reports()
    for owner in lab.holders(reports, "WETH"):
        assert lab.local.market.reserves["WETH"].asset in {price.asset for price in reports[owner].stale()}


@oracle_row("O2", "a price of zero or below: the contract has no answer, and neither have we", READ, zero_if_unread)
async def test_no_positive_price(lab: OracleLab) -> None:
    holders = lab.holders(await lab.reports(), "WETH")
    for answer in (0, -1, -(2**255)):
        lab.send(lab.feed("WETH"), "setAnswer(int256)", answer)
        reports = await lab.reports()
        known, unknown = lab.check(reports)
        assert known > 0
        assert unknown >= len(holders) > 0
        assert all(is_unknown(reports[owner]) for owner in holders)


def wrapping(number: int) -> int:
    return number % 2**256


@oracle_row(
    "O2",
    "a price of int256's maximum: the contract's arithmetic reverts, and ours with it",
    "monitor.protocols.aave_v3.math:uint256",
    wrapping,
)
async def test_largest_price(lab: OracleLab) -> None:
    holders = lab.holders(await lab.reports(), "WETH")
    lab.send(lab.feed("WETH"), "setAnswer(int256)", MAX_INT256)
    reports = await lab.reports()
    lab.check(reports)
    assert any(is_unknown(reports[owner]) for owner in holders)
    assert any(not is_unknown(report) for report in reports.values())


@oracle_row(
    "O3",
    "a feed that reverts, answers 16 bytes, or has no code: unknown at once, others unharmed",
    READ,
    zero_if_unread,
)
async def test_broken_feed(lab: OracleLab) -> None:
    holders = lab.holders(await lab.reports(), "WETH")
    for fault in (1, 2):
        lab.send(lab.feed("WETH"), "setFault(uint256)", fault)
        await broken_for(lab, holders)
    lab.send(lab.feed("WETH"), "setFault(uint256)", 0)
    assert lab.check(await lab.reports())[1] == 0
    lab.use_source("WETH", "0x" + "99" * 20)
    await broken_for(lab, holders)


async def broken_for(lab: OracleLab, holders: set[str]) -> None:
    reports = await lab.reports()
    known, _ = lab.check(reports)
    assert known > 0
    for owner in holders:
        assert is_unknown(reports[owner]), reports[owner]


@oracle_row("O5", "an answer at its aggregator's bound, or dated in the future, is remarked on", WORDS, nothing_to_say)
async def test_bounds_and_dates(lab: OracleLab) -> None:
    price = int(lab.local.chain.call(lab.feed("WETH"), "latestAnswer()", "(int256)")[0])
    await says(lab, "dated", expected=False)
    now = lab.local.chain.timestamp()
    lab.send(lab.feed("WETH"), "setRound(uint80,int256,uint256,uint256)", 500, price, now, now + 5000)
    await says(lab, "dated")
    lab.send(lab.feed("WETH"), "setAnswer(int256)", price)
    lab.odd_source("WETH", low=1, high=100 * price)
    await says(lab, "bound", expected=False)
    lab.odd_source("WETH", low=price, high=100 * price)
    await says(lab, "near the source's lower bound")
    lab.odd_source("WETH", low=1, high=price)
    await says(lab, "near the source's upper bound")


async def says(lab: OracleLab, words_: str, *, expected: bool = True) -> None:
    """Whether each holder of WETH is told so; health stays the contract's in any case."""
    # the market's facts name the price source: a new source is read with new facts
    lab.memory = ShortMemory()
    reports = await lab.reports()
    assert lab.check(reports)[1] == 0
    for owner in lab.holders(reports, "WETH"):
        health = reports[owner].health
        assert health is not None
        told = any("WETH" in note and words_ in note for note in health.notes)
        assert told == expected, (words_, health.notes)


@oracle_row(
    "O5",
    "rounds that go back are noticed between two readings",
    "monitor.pipeline.watch:went_back",
    never,
    versions=("3.0",),
)
async def test_round_goes_back(lab: OracleLab) -> None:
    price = int(lab.local.chain.call(lab.feed("WETH"), "latestAnswer()", "(int256)")[0])
    now = lab.local.chain.timestamp()
    setter = "setRound(uint80,int256,uint256,uint256)"
    lab.send(lab.feed("WETH"), setter, 500, price, now, now)
    before = await lab.look()
    lab.send(lab.feed("WETH"), setter, 499, price, now, now)
    after = await lab.look()
    holders = lab.holders({report.owner: report for report in after.reports}, "WETH")
    assert holders
    for first, second, expected in ((before, after, holders), (after, before, set())):
        told = told_of_backward_rounds(first, second)
        assert {report.owner for report in told.reports if "went back" in " ".join(report.errors)} == expected


@oracle_row(
    "O6",
    "a capped source: health by the capped price, and a gap of more than 0.5 % is told with both numbers",
    "monitor.oracles.chainlink:_cap_remarks",
    nothing_to_say,
)
async def test_capped(lab: OracleLab) -> None:
    price = int(lab.local.chain.call(lab.feed("WBTC"), "latestAnswer()", "(int256)")[0])
    for cap, told in ((price * 9715 // 10000, True), (price * 9990 // 10000, False)):
        lab.odd_source("WBTC", cap=cap)
        lab.memory = ShortMemory()
        reports = await lab.reports()
        assert lab.check(reports)[1] == 0
        holders = lab.holders(reports, "WBTC")
        assert holders
        for owner in holders:
            health = reports[owner].health
            assert health is not None
            assert all(leg.price == cap for leg in health.legs if leg.symbol == "WBTC")
            notes = [note for note in health.notes if note.startswith("WBTC") and "capped" in note]
            assert notes
            assert any(str(price) in note and str(cap) in note for note in notes) == told


class OddDecimals:
    """A chain in which one reserve's configuration tells other decimals."""

    def __init__(self, lab: OracleLab, symbol: str, decimals: int) -> None:
        self._chain = lab.chain
        self._asset = lab.local.market.reserves[symbol].asset
        self._decimals = decimals

    @property
    def chain_id(self) -> int:
        return self._chain.chain_id

    async def block(self, at: Any = "latest") -> BlockRef:
        return await self._chain.block(at)

    async def close(self) -> None:
        """The real chain is closed by its owner."""

    async def ask(self, queries: Sequence[Query], block: BlockRef) -> list[Answer]:
        answers = await self._chain.ask(queries, block)
        return [self._changed(query, answer) for query, answer in zip(queries, answers, strict=True)]

    def _changed(self, query: Query, answer: Answer) -> Answer:
        asked = isinstance(query, Call) and query.function.endswith(".getReserveData") and query.args == (self._asset,)
        if not asked or not isinstance(answer, Ok):
            return answer
        ((word, *_), *rest) = answer.values[0]
        told = word & ~(0xFF << 48) | self._decimals << 48
        assert words.decimals(told) == self._decimals
        return Ok((((told,), *rest),))


@oracle_row(
    "O14",
    "decimals that change are noticed at the next block; more than 36 are refused, never computed with",
    "monitor.protocols.aave_v3.static:MAX_DECIMALS",
    255,
)
async def test_odd_decimals(lab: OracleLab) -> None:
    healthy = await lab.reports()
    symbol = min(lab.local.market.reserves, key=lambda symbol: len(lab.holders(healthy, symbol)) or 99)
    holders = lab.holders(healthy, symbol)
    assert holders
    for decimals in (77, 37, 255):
        fresh = replace(lab, memory=ShortMemory())
        for told in (
            await lab.look(OddDecimals(lab, symbol, decimals)),
            await fresh.look(OddDecimals(lab, symbol, decimals)),
        ):
            reports = {report.owner: report for report in told.reports}
            for owner, report in reports.items():
                assert is_unknown(report) == (owner in holders), report
                assert owner not in holders or "decimals" in report.cause
    # well again, well known again
    assert lab.check(await lab.reports())[1] == 0


@oracle_row("O9", "a pull oracle: marked, with how far it is behind, and no other feed is", WORDS, nothing_to_say)
async def test_pull_oracle(lab: OracleLab) -> None:
    """Rounds as PythAggregatorV3 numbers them; a price ahead of time is told beside it."""
    holders = lab.holders(await lab.reports(), "WETH")
    (answer,) = lab.local.chain.call(lab.feed("WETH"), "latestAnswer()", "(int256)")
    for behind_s in (90, -90):
        at_s = lab.local.chain.timestamp() - behind_s
        lab.send(lab.feed("WETH"), "setRound(uint80,int256,uint256,uint256)", at_s, answer, at_s, at_s)
        reports = await lab.reports()
        assert lab.check(reports)[1] == 0
        for owner, report in reports.items():
            assert report.health is not None
            said = [note for note in report.health.notes if "a pull oracle" in note]
            assert bool(said) == (owner in holders)
            assert all(note.startswith("WETH: a pull oracle, ") for note in said)
            ahead = [note for note in report.health.notes if "in the future" in note]
            assert bool(ahead) == (owner in holders and behind_s < 0)
