"""One position's JSON, and that nothing in it is rounded, hidden or hostile."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import pytest

from monitor import report
from monitor.core.text import clean
from monitor.core.thresholds import Thresholds
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
    Unreadable,
    Verdict,
)
from monitor.report import Subject

OWNER, PROVIDER, TOKEN = "0x" + "11" * 20, "0x" + "22" * 20, "0x" + "33" * 20
REF = MarketRef(31337, "aave-v3", PROVIDER)
SUBJECT = Subject(REF, "core", OWNER, "treasury")
BLOCK = BlockRef(31337, 705, "0x" + "ab" * 32, "0x" + "cd" * 32, 1_700_000_000)
POSITION = Position(SUBJECT.id, OWNER, BLOCK, Rule("aave-v3", "3.0"), {TOKEN: 5}, None)
FACTOR = 1_693_946_440_073_450_572
HEALTH = Health(
    SUBJECT.id,
    BLOCK,
    Known(FACTOR, 10**18),
    Unit("USD", 8),
    {"healthFactor": FACTOR, "totalDebtBase": 2**255},
    (Gate("pause", GateState.SHUT, "WETH is paused"),),
    liquidatable=False,
    legs=(
        Leg(
            Side.COLLATERAL, TOKEN, "WETH", 18, 27_023_755_052_638_413_360, 199_937_654_321, 8, 5_403_066_196_169, 8250
        ),
        Leg(Side.DEBT, TOKEN, "USDC", 6, 1, 100_000_000, 8, 100, 0),
    ),
    collateral=5_403_066_196_169,
    debt=100,
    input_age_s=12,
)
PRICE = LiquidationPrice(TOKEN, "WETH", 66_448_000_000, 8, 199_937_654_321, "below")

KEYS = [
    *("schema", "id", "chain_id", "protocol", "market", "owner", "name", "block", "verdict", "health", "reported"),
    *("liquidatable", "gates", "level", "collateral", "debt", "liquidation_prices", "input_age_s", "errors"),
]


def parsed(made: report.Report) -> dict[str, object]:
    line = made.to_json()
    assert "\n" not in line
    found: dict[str, object] = json.loads(line)
    assert list(found) == KEYS
    return found


def test_a_known_position_has_exactly_the_fields_of_the_schema() -> None:
    found = parsed(report.of_health(SUBJECT, POSITION, HEALTH, liquidation_prices=(PRICE,)))
    assert found == {
        "schema": "levmon.position/1",
        "id": f"eip155:31337/aave-v3/{PROVIDER}/{OWNER}",
        "chain_id": 31337,
        "protocol": "aave-v3",
        "market": "core",
        "owner": OWNER,
        "name": "treasury",
        "block": {"number": "705", "hash": BLOCK.hash, "timestamp": "1700000000"},
        "verdict": "known",
        "health": {"num": str(FACTOR), "den": str(10**18), "factor": "1.693946440073450572"},
        "reported": {"healthFactor": str(FACTOR), "totalDebtBase": str(2**255)},
        "liquidatable": False,
        "gates": [{"name": "pause", "state": "shut", "detail": "WETH is paused"}],
        "level": "watch",
        "collateral": [
            {
                "asset": TOKEN,
                "symbol": "WETH",
                "decimals": 18,
                "amount_raw": "27023755052638413360",
                "amount": "27.02375505263841336",
                "price_raw": "199937654321",
                "price": "1999.37654321",
                "value": "54030.66196169",
                "factor": "0.825",
            }
        ],
        "debt": [
            {
                "asset": TOKEN,
                "symbol": "USDC",
                "decimals": 6,
                "amount_raw": "1",
                "amount": "0.000001",
                "price_raw": "100000000",
                "price": "1",
                "value": "0.000001",
                "factor": "0",
            }
        ],
        "liquidation_prices": [
            {"asset": TOKEN, "symbol": "WETH", "price": "664.48", "direction": "below", "change_pct": "-66.765639"}
        ],
        "input_age_s": 12,
        "errors": [],
    }


@pytest.mark.parametrize(
    ("verdict", "word", "level"), [(NoDebt(), "no_debt", "ok"), (Unknown("the oracle reverts"), "unknown", "unknown")]
)
def test_without_a_ratio_num_and_den_are_null(verdict: Verdict, word: str, level: str) -> None:
    found = parsed(report.of_health(SUBJECT, POSITION, replace(HEALTH, verdict=verdict)))
    assert found["verdict"] == word
    assert found["level"] == level
    assert found["health"] == {"num": None, "den": None, "factor": None}
    assert found["reported"] == {"healthFactor": str(FACTOR), "totalDebtBase": str(2**255)}
    assert found["errors"] == (["the oracle reverts"] if word == "unknown" else [])


def test_what_could_not_be_read_is_unknown_with_its_reason_and_never_absent() -> None:
    made = report.of_unreadable(SUBJECT, Unreadable(SUBJECT.id, OWNER, BLOCK, "balance could not be read"))
    assert (made.level, made.verdict) == (Level.UNKNOWN, "unknown")
    assert parsed(made)["errors"] == ["balance could not be read"]
    without_block = parsed(report.unknown(SUBJECT, "no endpoint answered\n  check the URL"))
    assert without_block["block"] == {"number": None, "hash": None, "timestamp": None}
    assert without_block["liquidatable"] is None
    assert without_block["errors"] == ["no endpoint answered; check the URL"]


def test_thresholds_of_the_subject_decide_the_level() -> None:
    strict = replace(SUBJECT, thresholds=Thresholds(Fraction(3), Fraction(2), Fraction(17, 10)))
    assert report.of_health(SUBJECT, POSITION, HEALTH).level is Level.WATCH
    assert report.of_health(strict, POSITION, HEALTH).level is Level.CRITICAL


def test_stale_prices_are_told() -> None:
    old = Price(TOKEN, 5, 8, "USD", BLOCK.timestamp - 90_001, 90_000, "a feed")
    fresh = replace(old, updated_at=BLOCK.timestamp - 90_000)
    invalid = replace(old, answer=0, updated_at=None)
    made = report.of_health(SUBJECT, POSITION, HEALTH, prices=(old, fresh, invalid), symbols={TOKEN: "WETH"})
    assert made.stale() == (old, invalid)
    assert made.errors == (
        "stale price of WETH: 90001 s old, valid for 90000 s",
        "invalid price of WETH: not a positive number",
    )


@pytest.mark.parametrize(
    ("price", "current", "expected"),
    [
        (80, 100, "-20"),
        (1, 3, "-66.666666"),
        (4, 3, "33.333333"),
        (100, 100, "0"),
        (5, 0, "0"),
        (3 * 10**9 - 1, 3 * 10**9, "0"),
    ],
)
def test_changes_are_truncated_toward_zero(price: int, current: int, expected: str) -> None:
    assert report.change_pct(replace(PRICE, price=price, current=current), 6) == expected


def test_the_nearest_price_is_the_smallest_relative_move() -> None:
    far, near = replace(PRICE, price=50, current=100), replace(PRICE, price=1300, current=1000, direction="above")
    assert report.nearest((far, near)) is near
    assert report.nearest((replace(far, current=0), far)) is far
    assert report.nearest(()) is None


def test_buffer_is_what_the_collateral_may_lose() -> None:
    assert report.buffer_pct(Known(2, 1), 1) == "50.0"
    assert report.buffer_pct(Known(10**18 + 1, 10**18), 2) == "0.00"
    assert report.buffer_pct(Known(1, 2), 1) == "-100.0"


HOSTILE = {
    "\x1b[31mRED": "\\u{1b}[31mRED",
    "A\u202eBCD": "A\\u{202e}BCD",
    "new\nline": "new\\u{a}line",
    "zero\u200bwidth": "zero\\u{200b}widt…",
    "a" * 100_000: "a" * 16 + "…",
    "Z\u0301\u0301": "Z\\u{301}\\u{301}",
    "WETH": "WETH",
    "稳定币": "稳定币",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_symbols_are_shown_as_code_points(text: str) -> None:
    shown = HOSTILE[text]
    assert clean(text) == shown
    leg = replace(HEALTH.legs[0], symbol=text)
    made = report.of_health(SUBJECT, POSITION, replace(HEALTH, legs=(leg,)))
    assert made.to_dict()["collateral"][0]["symbol"] == shown
