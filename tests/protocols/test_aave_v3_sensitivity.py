"""Every raw input by one unit: either a reported number changes, and so the comparison with the contract fails, or the
input is one of those that the six numbers do not depend on, which are listed here by name.

The accounts are as large as the contract's own types allow, so that one part in 1e27 of an index shows.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from monitor.core.types import Position
from monitor.pipeline.confirm import difference
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.records import ZERO, Category, ReserveState, State
from monitor.protocols.aave_v3.versions import TABLE
from monitor.protocols.base import Truth
from tests.protocols.aave_v3_positions import NOW_S, RAY, asset, position, reserve
from tests.protocols.aave_v3_recordings import VERSIONS as RECORDED
from tests.protocols.aave_v3_recordings import positions
from tests.protocols.cassette import load

VERSIONS = tuple(TABLE)
YEAR_S = 31_536_000
SOURCE = "0x00000000000000000000000000000000000000fF"

# bit of the configuration -> up to and from which version it moves a reported number
LTV, THRESHOLD, DECIMALS, CATEGORY = 0, 16, 48, 168
IRRELEVANT_BITS = {
    "liquidation bonus": 32,
    "active": 56,
    "frozen": 57,
    "borrowing": 58,
    "stable": 59,
    "paused": 60,
    "isolation": 61,
    "siloed": 62,
    "flash loan": 63,
    "reserve factor": 64,
    "borrow cap": 80,
    "supply cap": 116,
    "protocol fee": 152,
    "unbacked cap": 176,
    "debt ceiling": 212,
}


def large(version: str) -> Position:
    """Collateral (one in e-mode, one not) and debt (variable and, up to 3.1, stable), a year after the last update."""
    common: dict[str, Any] = {
        "liquidity_index": 2 * RAY + 7,
        "liquidity_rate": RAY // 20,
        "variable_borrow_index": 3 * RAY + 7,
        "variable_borrow_rate": RAY // 10,
        "last_update_s": NOW_S - YEAR_S,
    }
    reserves = [
        reserve(0, 2**118 + 1, word_={"decimals": 18, "threshold": 9_600, "ltv": 9_500}, **common),
        reserve(1, 2**118 + 3, word_={"decimals": 18, "category": 1}, **common),
        reserve(2, 0, 2**115 + 1, word_={"decimals": 18, "category": 1}, **common),
    ]
    if TABLE[version].stable_debt:
        reserves[2] = replace(
            reserves[2], stable_principal=2**115, stable_rate=RAY // 30, stable_update_s=NOW_S - YEAR_S
        )
    own = Category(1, 9_000, 9_300, 10_100, collateral_bitmap=0b010)
    prices: dict[str, int] = {asset(n): 10**18 + n for n in range(3)}
    if TABLE[version].reserve_e_mode:
        own = replace(own, price_source=SOURCE, collateral_bitmap=0)
        prices[SOURCE] = 10**18 + 9
    return position(version, reserves, prices, own)


def verify_fails(before: Position, after: Position) -> bool:
    """Whether `verify` would tell the two apart, were `before` what the contract holds."""
    truth = Truth(before.owner, PROTOCOL.evaluate(before).reported)
    return bool(difference(PROTOCOL.evaluate(after), truth))


def with_reserve(found: Position, number: int, **changes: Any) -> Position:
    state: State = found.state
    reserves = [replace(r, **changes) if r.id == number else r for r in state.reserves]
    return replace(found, state=replace(state, reserves=tuple(reserves)))


def with_category(found: Position, **changes: Any) -> Position:
    state: State = found.state
    assert state.category is not None
    return replace(found, state=replace(state, category=replace(state.category, **changes)))


COLLATERAL = {"liquidity_index", "liquidity_rate", "scaled_a_token"}
DEBT = {"variable_borrow_index", "variable_borrow_rate", "scaled_variable_debt"}
STABLE = {"stable_principal", "stable_rate", "stable_update_s"}
IDENTITY = {"asset", "symbol", "id", "configuration"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("step", [1, -1])
def test_every_number_of_a_reserve(version: str, step: int) -> None:
    found = large(version)
    assert not verify_fails(found, found)
    for held in found.state.reserves:
        for field in fields(ReserveState):
            if field.name in IDENTITY:
                continue
            value = getattr(held, field.name)
            if value + step < 0:
                continue
            matters = field.name == "last_update_s" or field.name in (COLLATERAL if held.scaled_a_token else DEBT)
            if field.name in STABLE:
                matters = TABLE[version].stable_debt and held.stable_principal > 0
            changed = with_reserve(found, held.id, **{field.name: value + step})
            assert verify_fails(found, changed) is matters, (field.name, held.symbol)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("step", [1, -1])
def test_every_price(version: str, step: int) -> None:
    found = large(version)
    first_kind = TABLE[version].reserve_e_mode
    unused = {asset(1), asset(2)} if first_kind else set()
    for key, price in found.prices.items():
        changed = replace(found, prices={**found.prices, key: price + step})
        assert verify_fails(found, changed) is (key not in unused), key


@pytest.mark.parametrize("version", VERSIONS)
def test_every_field_of_the_configuration(version: str) -> None:
    found = large(version)
    outside, inside, owed = found.state.reserves
    first_kind = TABLE[version].reserve_e_mode

    def fails(held: ReserveState, bit: int) -> bool:
        return verify_fails(found, with_reserve(found, held.id, configuration=held.configuration ^ 1 << bit))

    assert fails(outside, LTV)
    assert fails(outside, THRESHOLD)
    assert not fails(inside, LTV)
    assert not fails(inside, THRESHOLD)
    assert all(fails(held, DECIMALS) for held in (outside, inside, owed))
    assert not fails(owed, LTV)
    assert not fails(owed, THRESHOLD)
    assert [fails(held, CATEGORY) for held in (outside, inside, owed)] == [first_kind] * 3
    for name, bit in IRRELEVANT_BITS.items():
        assert not any(fails(held, bit) for held in (outside, inside, owed)), name


@pytest.mark.parametrize("version", VERSIONS)
def test_every_number_of_the_category(version: str) -> None:
    # averages are floored to whole basis points: with little outside the category each of its own shows
    found = with_reserve(large(version), 0, scaled_a_token=2**60)
    rules = TABLE[version]
    for step in (1, -1):
        assert verify_fails(found, with_category(found, ltv=9_000 + step))
        assert verify_fails(found, with_category(found, liquidation_threshold=9_300 + step))
        assert not verify_fails(found, with_category(found, liquidation_bonus=10_100 + step))
    assert verify_fails(large(version), with_category(large(version), collateral_bitmap=0b011)) is (
        not rules.reserve_e_mode
    )
    assert verify_fails(found, with_category(found, ltvzero_bitmap=0b010)) is rules.ltvzero_bitmap
    assert verify_fails(found, with_category(found, isolated=True)) is rules.isolated_e_mode
    if rules.reserve_e_mode:
        assert verify_fails(found, with_category(found, price_source=ZERO))
        assert verify_fails(found, with_category(found, id=2))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_bit_of_the_user(version: str) -> None:
    found = large(version)
    state: State = found.state
    for number in range(3):
        for bit in (2 * number, 2 * number + 1):
            held = state.reserves[number]
            has = held.scaled_variable_debt if bit % 2 == 0 else held.scaled_a_token
            changed = replace(found, state=replace(state, user_configuration=state.user_configuration ^ 1 << bit))
            assert verify_fails(found, changed) is (has > 0), bit


@pytest.mark.parametrize("version", VERSIONS)
def test_the_moment(version: str) -> None:
    found = large(version)
    for step in (1, -1):
        later = replace(found, block=replace(found.block, timestamp=NOW_S + step))
        assert verify_fails(found, later)


@pytest.mark.parametrize("version", RECORDED)
def test_another_versions_rules_are_caught_by_the_recordings(version: str) -> None:
    """Each neighbour's rules differ from what the contracts answered for at least one recorded account."""
    at = VERSIONS.index(version)
    recorded = positions(load(f"aave-v3-{version}"))
    same: list[str] = []
    for other in (v for v in VERSIONS if v != version):
        wrong = 0
        for sample, _, found in recorded:
            truth = {name: int(value) for name, value in sample["expected"]["getUserAccountData"].items()}
            as_other = replace(found, rule=replace(found.rule, version=other))
            wrong += bool(difference(PROTOCOL.evaluate(as_other), Truth(found.owner, truth)))
        if not wrong:
            same.append(other)
    # the same formulas: 3.1 and 3.0; without GHO, 3.3 and 3.2; without isolated categories, 3.7 and 3.6
    twins = {"3.0": ["3.1"], "3.3": ["3.2"], "3.6": ["3.7"]}
    assert same == twins.get(version, [])
    assert VERSIONS[at] == version
