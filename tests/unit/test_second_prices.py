"""A second price source: when it confirms a price and when it does not, and how a file names it. Boundaries exact."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.config import parse
from monitor.core.errors import ConfigError
from monitor.core.plan import run
from monitor.core.types import Answer, MarketRef, Ok, Query, Reverted, Unread
from monitor.oracles.second import SecondPrice, SecondSource, doubt, read_second
from monitor.pipeline.beside import Beside, doubts, sources, strangers_told
from monitor.pipeline.market import MarketState
from monitor.pipeline.plans import doubts_about
from monitor.pipeline.snapshot import Snapshot
from monitor.report import Subject, of_health
from tests.protocols import samples

FEED = "0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9e"
SOURCE = SecondSource(FEED, max_gap_bps=200, max_age_s=3600)
NOW_S = 1_700_000_000


def said(answer: int, decimals: int = 8, at_s: int = NOW_S) -> SecondPrice:
    return SecondPrice(SOURCE, answer, decimals, at_s)


@given(
    price=st.integers(0, 10**30),
    answer=st.integers(1, 10**30),
    decimals=st.integers(0, 36),
    places=st.integers(0, 77),
)
def test_it_confirms_what_is_within_the_gap_and_nothing_else(
    price: int, answer: int, decimals: int, places: int
) -> None:
    gap = abs(Fraction(price, 10**decimals) / Fraction(answer, 10**places) - 1)
    assert (doubt("X", price, decimals, said(answer, places), NOW_S) == "") == (gap <= Fraction(200, 10_000))


@pytest.mark.parametrize("price", [98_000_000, 102_000_000])
def test_the_gap_itself_is_still_within(price: int) -> None:
    step = 1 if price > 10**8 else -1
    assert doubt("X", price, 8, said(10**8), NOW_S) == ""
    assert "2.00 %" in doubt("X", price + step, 8, said(10**8), NOW_S)


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (said(10**8, at_s=NOW_S - 3600), ""),
        (said(10**8, at_s=NOW_S - 3601), "is stale, 3601 s old"),
        (said(10**8, at_s=NOW_S + 1), "no valid answer"),
        (said(10**8, at_s=0), "no valid answer"),
        (said(0), "no valid answer"),
        (said(-(10**8)), "no valid answer"),
        (said(10**8, decimals=78), "cannot be read"),
        (SecondPrice(SOURCE), "cannot be read"),
        (SecondPrice(SOURCE, 10**8, None, NOW_S), "cannot be read"),
    ],
)
def test_a_second_source_that_cannot_be_trusted_confirms_nothing(second: SecondPrice, told: str) -> None:
    found = doubt("X", 10**8, 8, second, NOW_S)
    assert told in found
    assert bool(found) == bool(told)


@pytest.mark.parametrize("broken", ["latestRoundData", "decimals"])
@pytest.mark.parametrize("how", [Reverted(b"", "no"), Unread("out of gas")], ids=["reverted", "unread"])
def test_what_cannot_be_read_is_no_price(broken: str, how: Answer) -> None:
    right = {"latestRoundData": Ok((7, 10**8, 1, NOW_S, 7)), "decimals": Ok((8,))}

    def answer(queries: list[Query], wrong: str = "") -> list[Answer]:
        names = [str(query).partition(".")[2].partition("(")[0] for query in queries]
        return [how if name == wrong else right[name] for name in names]

    assert run(read_second(SOURCE), lambda queries: answer(list(queries))) == said(10**8)
    assert run(read_second(SOURCE), lambda queries: answer(list(queries), broken)) == SecondPrice(SOURCE)


def test_assets_go_by_symbol_or_address_in_any_case() -> None:
    asset, other = "0x" + "Aa" * 20, "0x" + "Bb" * 20
    symbols = {asset: "WETH", other: "USDC"}
    for name in ("weth", asset.lower(), asset):
        beside = Beside({name: said(2 * 10**8)})
        assert doubts(beside, {asset: 10**8, other: 10**8}, symbols, lambda _: 8, NOW_S).keys() == {asset}
        assert strangers_told(beside, symbols) == []
    assert strangers_told(Beside({"WHET": said(1)}), symbols) == [
        "WHET: there is a second price source, and no such asset in this market"
    ]


def test_each_price_is_compared_with_its_own_decimals() -> None:
    """Compound's prices of two tokens differ in their decimals by as much as the tokens do."""
    for sample in samples.samples_of("compound-v2"):
        position = sample.position
        health = sample.protocol.evaluate(position, sample.context)
        places = {leg.asset: leg.price_decimals for leg in health.legs}
        if len(set(places.values())) > 1:
            break
    else:
        raise AssertionError("no recorded position has prices of different decimals")
    block = position.block
    told = {one: SecondPrice(SOURCE, position.prices[one], places[one], block.timestamp) for one in places}
    ref = MarketRef.parse(position.id.rpartition("/")[0])
    report = of_health(Subject(ref, "market", position.owner), position, health)
    states = {ref: MarketState(None, (position,), beside=Beside(told))}
    assert doubts_about(Snapshot(block, (report,), states), report) == {}
    wrong = {one: SecondPrice(SOURCE, 2 * position.prices[one], places[one], block.timestamp) for one in places}
    states = {ref: MarketState(None, (position,), beside=Beside(wrong))}
    assert doubts_about(Snapshot(block, (report,), states), report).keys() == places.keys()


FILE = f"""\
[chains.local]
chain_id = 31337
[[markets]]
name = "core"
chain = "local"
protocol = "aave-v3"
address = "{FEED}"
[markets.second_prices.WETH]
source = "{FEED}"
max_gap_bps = 150
"""


def test_a_file_names_them_by_market() -> None:
    config = parse(FILE)
    [(ref, found)] = sources(config).items()
    assert ref == config.ref(config.markets[0])
    assert found.second == {"WETH": SecondSource(FEED, 150, 90_000)}
    assert sources(None) == {}


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("max_gap_bps = 150", "max_gap = 150", 10, "did you mean 'max_gap_bps'"),
        ("max_gap_bps = 150", "max_gap_bps = 0", 10, "raise it"),
        (f'source = "{FEED}"', "", 8, "missing"),
    ],
)
def test_a_mistake_in_it_is_told_with_its_line(old: str, new: str, line: int, what: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        parse(FILE.replace(old, new, 1))
    assert f"levmon.toml:{line}:" in str(wrong.value)
    assert what in str(wrong.value)
