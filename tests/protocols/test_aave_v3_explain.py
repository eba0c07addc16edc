"""The explanation: every number with its formula or its call, in the order of the reckoning, health last."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from monitor.core.types import Line
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3 import math as aave
from monitor.protocols.aave_v3.records import Category
from monitor.protocols.aave_v3.versions import TABLE
from tests.protocols.aave_v3_positions import BLOCK, NOW_S, OWNER, RAY, asset, bitmap, context, position, reserve
from tests.protocols.aave_v3_recordings import VERSIONS as RECORDED
from tests.protocols.aave_v3_recordings import context_of, positions
from tests.protocols.cassette import load

VERSIONS = tuple(TABLE)
NAMES = (
    "wadDiv",
    "rayMul",
    "rayMulFloor",
    "rayMulCeil",
    "percentMul",
    "percentMulFloor",
)


def reckon(formula: str, version: str) -> int:
    """What a reader would get: integers, floor division, and the contract's functions by their names."""
    grown: Any = aave.calculateCompoundedInterestTaylor if version >= "3.4" else aave.calculateCompoundedInterest
    known: dict[str, Any] = {name: getattr(aave, name) for name in NAMES} | {"calculateCompoundedInterest": grown}
    text = formula.partition(", down")[0].partition(", up")[0].partition(" = ")[0].partition(", at least")[0]
    text = re.sub(r"(?<![/])/(?!/)", "//", text.replace("1e27", str(RAY)))
    if formula.endswith(", up"):
        text = "-(-(" + text.replace("//", ") //") + ")"
    value: int = eval(text, {"__builtins__": {}}, known)  # noqa: S307  # our own text
    return value


def shown(line: Line) -> int | None:
    """The integer that the line claims: behind `=` in the formula, else its value."""
    behind = re.search(r" = (\d+)$", line.formula)
    if behind:
        return int(behind[1])
    return int(line.value) if re.fullmatch(r"\d+", line.value) else None


@pytest.mark.parametrize("version", RECORDED)
def test_a_reader_gets_every_number(version: str) -> None:
    checked = 0
    for _, facts, found in positions(load(f"aave-v3-{version}")):
        for line in PROTOCOL.explain(found, context_of(facts)):
            if not re.match(r"^[\w(]*\d.*[+*/(]|^rayMul|^wadDiv|^percentMul", line.formula):
                continue
            if re.search(r"/ 0(,|$)", line.formula):
                continue
            if line.name == "health factor" and "there is no debt" in line.formula:
                continue
            if line.formula.startswith(("two bits", "1 ")) or line.name.endswith("price"):
                continue
            claimed = shown(line)
            assert claimed is not None, line
            value = reckon(line.formula, version)
            assert max(value, 0) == claimed, line
            checked += 1
    assert checked > 500


@pytest.mark.parametrize("version", RECORDED)
def test_every_line_has_a_formula_or_a_source(version: str) -> None:
    for _, facts, found in positions(load(f"aave-v3-{version}")):
        lines = PROTOCOL.explain(found, context_of(facts))
        for line in lines:
            assert line.name
            assert line.value
            assert line.formula or line.source or line.name.startswith("gate ")
        assert lines[-1].name == "health factor"
        factor = PROTOCOL.evaluate(found).reported["healthFactor"]
        assert str(factor) in lines[-1].formula or lines[-1].value == "none"


def lines_of(version: str, **changes: Any) -> dict[str, Line]:
    held = [reserve(0, 10**6, word_={"category": 1}), reserve(1, 0, 500_000)]
    found = position(version, held, [300, 400], **changes)
    return {line.name: line for line in PROTOCOL.explain(found, context(found))}


def test_order_and_sources() -> None:
    found = position("3.6", [reserve(0, 10**6), reserve(1, 0, 500_000)], [300, 400])
    lines = PROTOCOL.explain(found, context(found))
    assert [line.name for line in lines] == [
        "rules",
        "block timestamp",
        "base unit",
        "user configuration",
        "T0 price",
        "T0 liquidity index",
        "T0 liquidity rate",
        "T0 last update",
        "T0 normalized income",
        "T0 scaled supply",
        "T0 supplied",
        "T0 liquidation threshold",
        "T0 collateral value",
        "T1 price",
        "T1 variable borrow index",
        "T1 variable borrow rate",
        "T1 last update",
        "T1 normalized debt",
        "T1 scaled debt",
        "T1 variable debt",
        "T1 debt value",
        "total collateral",
        "total debt",
        "weighted collateral",
        "average liquidation threshold",
        "average loan to value",
        "available borrows",
        "gate active",
        "gate pause",
        "gate grace",
        "gate collateral",
        "liquidatable now",
        "health factor",
    ]
    by_name = {line.name: line for line in lines}
    assert by_name["rules"].value == "Aave V3.6"
    assert by_name["block timestamp"] == Line("block timestamp", str(NOW_S), "", f"block {BLOCK.number} {BLOCK.hash}")
    assert by_name["user configuration"].source == f"pool.getUserConfiguration({OWNER})"
    assert by_name["T0 price"] == Line("T0 price", "0.000003", "300 in base units", "oracle.getAssetPrice(T0)")
    assert by_name["T0 liquidity index"].source == "pool.getReserveData(T0).liquidityIndex"
    assert by_name["T0 scaled supply"].source == "aToken(T0).scaledBalanceOf"
    assert by_name["T0 supplied"].value == "1000000 T0"
    assert by_name["T0 liquidation threshold"].value == "8000 bps"
    assert by_name["T1 variable borrow rate"].source == "pool.getReserveData(T1).currentVariableBorrowRate"
    assert by_name["T1 scaled debt"].source == "variableDebtToken(T1).scaledBalanceOf"
    assert by_name["T1 debt value"].formula == "500000 * 400 / 1, up"
    assert by_name["gate grace"] == Line("gate grace", "open")
    assert by_name["liquidatable now"].value == "no"
    assert lines[-1] == Line(
        "health factor",
        "1.200000000000000000",
        "wadDiv(2400000000000, 200000000) / 10000 = 1200000000000000000",
        "unhealthy below 1",
    )


def test_roundings_are_named_as_the_version_has_them() -> None:
    old, new = lines_of("3.4"), lines_of("3.5")
    assert old["T0 supplied"].formula.startswith("rayMul(")
    assert new["T0 supplied"].formula.startswith("rayMulFloor(")
    assert old["T1 variable debt"].formula.startswith("rayMul(")
    assert new["T1 variable debt"].formula.startswith("rayMulCeil(")
    assert old["T1 debt value"].formula.endswith("down")
    assert new["T1 debt value"].formula.endswith("up")
    assert old["health factor"].formula.startswith("wadDiv(percentMul(300000000, 8000), 200000000)")
    assert old["available borrows"].formula.startswith("percentMul(")
    assert new["available borrows"].formula.startswith("percentMulFloor(")


@pytest.mark.parametrize(
    ("version", "getter"), [("3.1", "getEModeCategoryData"), ("3.2", "getEModeCategoryCollateralConfig")]
)
def test_e_mode(version: str, getter: str) -> None:
    lines = lines_of(version, category=Category(1, 9000, 9300, 10100, collateral_bitmap=1))
    assert lines["e-mode category"] == Line("e-mode category", "1", "", f"pool.getUserEMode({OWNER})")
    source = f"pool.{getter}(1).liquidationThreshold"
    assert lines["e-mode threshold"] == Line("e-mode threshold", "9300 bps", "", source)
    assert lines["T0 liquidation threshold"].source == source
    assert ("e-mode collateral bitmap" in lines) is (version == "3.2")
    outside = lines_of(version, category=Category(2, 9000, 9300, 10100))
    assert outside["T0 liquidation threshold"].source == "pool.getReserveData(T0).configuration"


def test_a_categorys_own_price_source_is_named() -> None:
    source = "0x00000000000000000000000000000000000000fF"
    found = position(
        "3.0",
        [reserve(0, 10, word_={"category": 1})],
        {source: 7, asset(0): 5},
        Category(1, 1, 1, 1, price_source=source),
    )
    lines = {line.name: line for line in PROTOCOL.explain(found)}
    assert lines["T0 price"].source == f"oracle.getAssetPrice({source})"


def test_stable_debt_and_disabled_collateral() -> None:
    held = [
        reserve(0, 10**6, word_={"threshold": 0}),
        reserve(1, 0, 5, stable_principal=100, stable_rate=RAY, stable_update_s=NOW_S - 31_536_000),
    ]
    found = position("3.0", held, [300, 400])
    lines = {line.name: line for line in PROTOCOL.explain(found)}
    assert lines["T0 collateral value"].value == "0"
    assert lines["T1 stable debt"].value == "267 T1"
    assert lines["T1 stable debt"].formula.startswith(f"rayMul(100, calculateCompoundedInterest({RAY}, ({NOW_S} - ")
    off = position("3.0", held, [300, 400], user_configuration=bitmap([], [1]))
    assert "T0 supplied" not in {line.name for line in PROTOCOL.explain(off)}


def test_without_debt_and_without_an_answer() -> None:
    calm = position("3.6", [reserve(0, 10)], [1])
    assert PROTOCOL.explain(calm)[-1].value == "none"
    broken = replace(calm, prices={})
    assert PROTOCOL.explain(broken) == [Line("health factor", "unknown", f"no price for {asset(0)}")]
    assert PROTOCOL.explain(position("3.6", [], []))[-1].value == "none"
    sick = position("3.6", [reserve(0, 10), reserve(1, 0, 10)], [1, 1])
    told = {line.name: line.value for line in PROTOCOL.explain(sick)}
    assert told["liquidatable now"] == "unknown"
    assert told["gate liquidity"] == "unknown"
    assert {line.name: line.value for line in PROTOCOL.explain(sick, context(sick))}["liquidatable now"] == "yes"
