"""The six numbers on accounts small enough to reckon by hand, on both sides of every version boundary."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.core.types import Health, Known, MarketRef, NoDebt, Position, Side, Unit, Unknown
from monitor.protocols.aave_v3 import PROTOCOL, words
from monitor.protocols.aave_v3.account import holdings
from monitor.protocols.aave_v3.protocol import MAX_COVER
from monitor.protocols.aave_v3.records import ZERO, Category, Facts, ReserveFacts, ReserveState, State
from monitor.protocols.aave_v3.versions import PROBES, TABLE, candidates
from tests.protocols.aave_v3_positions import NOW_S, RAY, asset, bitmap, context, position, reserve, word

VERSIONS = tuple(TABLE)
YEAR_S = 31_536_000
MAX = 2**256 - 1


def of(found: Position, at_s: int | None = None) -> Health:
    return PROTOCOL.evaluate(found, context(found), at_s)


def since(version: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The versions before `version`, and it with all later ones."""
    at = VERSIONS.index(version)
    return VERSIONS[:at], VERSIONS[at:]


def versions_split(version: str) -> list[tuple[str, bool]]:
    before, after = since(version)
    return [(v, False) for v in before] + [(v, True) for v in after]


def test_the_words() -> None:
    assert VERSIONS == ("3.0", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7")
    full = word(
        ltv=1,
        threshold=2,
        bonus=3,
        decimals=4,
        active=False,
        frozen=True,
        paused=True,
        fee=5,
        category=6,
        ceiling=7,
        virtual=True,
    )
    read = (words.ltv, words.liquidation_threshold, words.liquidation_bonus, words.decimals)
    assert [getter(full) for getter in read] == [1, 2, 3, 4]
    assert [words.active(full), words.frozen(full), words.paused(full)] == [False, True, True]
    assert words.liquidation_protocol_fee(full) == 5
    assert words.e_mode_category(full) == 6
    assert words.debt_ceiling(full) == 7
    assert words.virtual_accounting(full)
    for getter, bits in (
        (words.ltv, 16),
        (words.liquidation_threshold, 16),
        (words.decimals, 8),
        (words.debt_ceiling, 40),
    ):
        assert getter(MAX) == 2**bits - 1
    assert words.liquidation_protocol_fee(MAX) == words.liquidation_bonus(MAX) == 2**16 - 1
    assert words.e_mode_category(MAX) == 255
    assert [getter(0) for getter in (words.active, words.frozen, words.paused, words.virtual_accounting)] == [False] * 4


def test_the_bitmap() -> None:
    user = bitmap([0, 127], [2, 127])
    assert list(words.reserve_ids(user)) == [0, 2, 127]
    assert [words.is_using_as_collateral(user, n) for n in (0, 2, 126, 127)] == [True, False, False, True]
    assert [words.is_borrowing(user, n) for n in (0, 2, 126, 127)] == [False, True, False, True]
    assert words.collateral_count(user) == 2
    assert [words.in_bitmap(0b101, n) for n in (0, 1, 2, 3)] == [True, False, True, False]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_empty_account(version: str) -> None:
    health = of(position(version, [], []))
    assert health.reported == {
        "totalCollateralBase": 0,
        "totalDebtBase": 0,
        "availableBorrowsBase": 0,
        "currentLiquidationThreshold": 0,
        "ltv": 0,
        "healthFactor": MAX,
    }
    assert health.verdict == NoDebt()
    assert health.liquidatable is False
    assert health.unit == Unit("USD", 8)


@pytest.mark.parametrize("version", VERSIONS)
def test_collateral_without_debt(version: str) -> None:
    health = of(position(version, [reserve(0, 10)], [200]))
    assert health.reported == {
        "totalCollateralBase": 2000,
        "totalDebtBase": 0,
        "availableBorrowsBase": 1500,
        "currentLiquidationThreshold": 8000,
        "ltv": 7500,
        "healthFactor": MAX,
    }
    assert health.verdict == NoDebt()
    assert (health.collateral, health.debt) == (2000, 0)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("owed", "unhealthy"), [(1599, False), (1600, False), (1601, True)])
def test_exactly_one_is_healthy(version: str, owed: int, unhealthy: bool) -> None:
    health = of(position(version, [reserve(0, 10), reserve(1, 0, owed)], [200, 1]))
    assert isinstance(health.verdict, Known)
    assert health.verdict.unhealthy is unhealthy
    assert health.verdict.denominator == 10**18
    assert health.reported["healthFactor"] == health.verdict.numerator
    if owed == 1600:
        assert health.verdict.numerator == 10**18
    assert health.liquidatable is unhealthy


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("owed", "left"), [(1499, 1), (1500, 0), (1501, 0)])
def test_available_borrows_end_at_zero(version: str, owed: int, left: int) -> None:
    assert (
        of(position(version, [reserve(0, 10), reserve(1, 0, owed)], [200, 1])).reported["availableBorrowsBase"] == left
    )


@pytest.mark.parametrize(("version", "directed"), versions_split("3.5"))
def test_available_borrows_round_half_up_then_down(version: str, directed: bool) -> None:
    found = position(version, [reserve(0, 1, word_={"ltv": 5000})], [3])
    assert of(found).reported["availableBorrowsBase"] == (1 if directed else 2)


@pytest.mark.parametrize(("version", "directed"), versions_split("3.5"))
def test_balances_round_half_up_then_against_the_owner(version: str, directed: bool) -> None:
    index = RAY + RAY // 2  # 3 scaled are 4.5
    held = reserve(0, 3, liquidity_index=index), reserve(1, 0, 3, variable_borrow_index=index)
    rules = TABLE[version]
    supplied, owed = holdings(rules, position(version, held, [1, 1]).state, NOW_S)
    assert (supplied.supplied, owed.variable_debt) == ((4, 5) if directed else (5, 5))
    low = RAY + RAY // 4  # 1 scaled is 1.25
    held = reserve(0, 1, liquidity_index=low), reserve(1, 0, 1, variable_borrow_index=low)
    supplied, owed = holdings(rules, position(version, held, [1, 1]).state, NOW_S)
    assert (supplied.supplied, owed.variable_debt) == ((1, 2) if directed else (1, 1))


@pytest.mark.parametrize(("version", "directed"), versions_split("3.5"))
def test_debt_value_rounds_down_then_up(version: str, directed: bool) -> None:
    found = position(version, [reserve(0, 10), reserve(1, 0, 15, word_={"decimals": 1})], [200, 1])
    assert of(found).reported["totalDebtBase"] == (2 if directed else 1)


@pytest.mark.parametrize(("version", "directed"), versions_split("3.5"))
def test_health_is_floored_to_whole_basis_points_up_to_3_4(version: str, directed: bool) -> None:
    held = [reserve(0, 1), reserve(1, 2, word_={"threshold": 8001}), reserve(2, 0, 1)]
    health = of(position(version, held, [10_000, 10_000, 24_002]))
    assert health.reported["currentLiquidationThreshold"] == 8000
    assert health.reported["healthFactor"] == (10**18 if directed else 24_000 * 10**18 // 24_002 + 1)


@pytest.mark.parametrize(("version", "directed"), versions_split("3.5"))
def test_the_last_division_rounds_down_from_3_5(version: str, directed: bool) -> None:
    health = of(position(version, [reserve(0, 1), reserve(1, 0, 1)], [5, 3]))
    assert health.reported["healthFactor"] == (4 * 10**18 // 3 if directed else (4 * 10**18 + 1) // 3)
    down = of(position(version, [reserve(0, 1), reserve(1, 0, 1)], [10, 3]))
    assert down.reported["healthFactor"] == (8 * 10**18 // 3 if directed else 8 * 10**18 // 3 + 1)


@pytest.mark.parametrize(("version", "taylor"), versions_split("3.4"))
def test_compounding(version: str, taylor: bool) -> None:
    owed = reserve(1, 0, 10**27, variable_borrow_rate=RAY // 5)
    later = holdings(TABLE[version], position(version, [owed], [1]).state, NOW_S + YEAR_S)[0]
    # 1 + 1/5 + 1/50 + 1/750, and what the binomial loses by counting whole seconds
    assert later.variable_debt == (1221333333333333333333333333 if taylor else 1221332933560973813055552000)


@pytest.mark.parametrize("version", VERSIONS)
def test_interest_runs_from_the_last_update(version: str) -> None:
    held = reserve(0, 10**6, liquidity_rate=RAY // 10, last_update_s=NOW_S - YEAR_S)
    found = position(version, [held], [1])
    assert of(found).collateral == 1_100_000
    assert of(found, NOW_S + YEAR_S).collateral == 1_200_000
    assert of(found, NOW_S - YEAR_S).collateral == 10**6
    early = of(found, NOW_S - YEAR_S - 1)
    assert isinstance(early.verdict, Unknown)
    assert "arithmetic reverts" in early.verdict.reason


@pytest.mark.parametrize("version", VERSIONS)
def test_one_second_is_interest(version: str) -> None:
    held = [reserve(0, RAY, liquidity_rate=RAY), reserve(1, 0, RAY, variable_borrow_rate=RAY)]
    supplied, owed = holdings(TABLE[version], position(version, held, [1, 1]).state, NOW_S + 1)
    assert supplied.supplied == RAY + RAY // YEAR_S
    assert owed.normalized_debt >= RAY + RAY // YEAR_S


@pytest.mark.parametrize("version", ["3.0", "3.1"])
def test_a_single_unit_of_stable_debt(version: str) -> None:
    owed = reserve(1, 0, 0, stable_principal=1, stable_update_s=NOW_S)
    assert of(position(version, [reserve(0, 10), owed], [200, 7])).debt == 7


@pytest.mark.parametrize(("version", "gone"), versions_split("3.2"))
def test_stable_debt_counts_up_to_3_1(version: str, gone: bool) -> None:
    owed = reserve(1, 0, 0, stable_principal=100, stable_rate=RAY, stable_update_s=NOW_S - YEAR_S)
    found = position(version, [reserve(0, 10), owed], [200, 1])
    assert of(found).debt == (0 if gone else 267)  # 1 + 1 + 1/2 + 1/6, half up, less what the seconds cost


@pytest.mark.parametrize("version", ["3.0", "3.1"])
def test_stable_debt_stays_binomial_and_adds_to_variable_debt(version: str) -> None:
    owed = reserve(1, 0, 50, stable_principal=100, stable_update_s=NOW_S)
    health = of(position(version, [reserve(0, 10), owed], [200, 3]))
    assert health.debt == 450
    assert [leg.amount for leg in health.legs if leg.side is Side.DEBT] == [150]


# -- thresholds, e-mode ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "counts"), versions_split("3.6"))
def test_a_threshold_of_zero_keeps_collateral_out_up_to_3_5(version: str, counts: bool) -> None:
    dead = reserve(0, 10, word_={"threshold": 0, "ltv": 0})
    health = of(position(version, [dead, reserve(1, 10)], [200, 100]))
    assert health.collateral == (3000 if counts else 1000)
    assert health.reported["currentLiquidationThreshold"] == (8000 // 3 if counts else 8000)
    assert [leg.enabled for leg in health.legs] == [counts, True]


def category(**changes: Any) -> Category:
    return replace(Category(1, 9000, 9300, 10100, collateral_bitmap=0b01), **changes)


@pytest.mark.parametrize(("version", "bitmaps"), versions_split("3.2"))
def test_who_is_in_an_e_mode(version: str, bitmaps: bool) -> None:
    """Up to 3.1 the reserve's own word says it, from 3.2 the category's bitmap."""
    by_word, by_bitmap = reserve(1, 1, word_={"category": 1}), reserve(0, 1)
    health = of(position(version, [by_bitmap, by_word], [10_000, 10_000], category()))
    assert [leg.factor for leg in health.legs] == ([9300, 8000] if bitmaps else [8000, 9300])
    assert health.reported["currentLiquidationThreshold"] == 8650
    assert health.reported["ltv"] == 8250
    outside = of(position(version, [by_bitmap, by_word], [10_000, 10_000]))
    assert (outside.reported["currentLiquidationThreshold"], outside.reported["ltv"]) == (8000, 7500)


@pytest.mark.parametrize("version", VERSIONS)
def test_no_category_is_not_category_zero(version: str) -> None:
    """A reserve whose word says category 0 belongs to none."""
    health = of(position(version, [reserve(0, 1)], [1], category(id=2, collateral_bitmap=0)))
    assert health.reported["currentLiquidationThreshold"] == 8000


SOURCE = "0x00000000000000000000000000000000000000fF"


@pytest.mark.parametrize(("version", "none"), versions_split("3.2"))
def test_a_categorys_price_source_up_to_3_1(version: str, none: bool) -> None:
    inside = reserve(0, 10, word_={"category": 1})
    debt_inside = reserve(1, 0, 5, word_={"category": 1})
    outside = reserve(2, 0, 7)
    prices = {asset(0): 100, asset(1): 100, asset(2): 100, SOURCE: 300}
    found = position(
        version, [inside, debt_inside, outside], prices, category(price_source=SOURCE, collateral_bitmap=1)
    )
    health = of(found)
    assert health.collateral == (1000 if none else 3000)
    assert health.debt == (1200 if none else 2200)
    assert [leg.price for leg in health.legs] == ([100, 100, 100] if none else [300, 300, 100])
    keys = {asset(n): f"T{n}" for n in range(3)} if none else {SOURCE: "T0+T1", asset(2): "T2"}
    assert PROTOCOL.price_keys(found) == keys


@pytest.mark.parametrize("version", ["3.0", "3.1"])
def test_a_source_that_answers_zero_gives_way_to_the_assets_own_price(version: str) -> None:
    inside = reserve(0, 10, word_={"category": 1})
    found = position(version, [inside], {asset(0): 100, SOURCE: 0}, category(price_source=SOURCE))
    assert of(found).collateral == 1000


@pytest.mark.parametrize(("version", "overrides"), versions_split("3.6"))
def test_an_ltv_of_zero_in_e_mode(version: str, overrides: bool) -> None:
    """Up to 3.5 the reserve's own LTV of 0 wins; from 3.6 the category's LTV does."""
    frozen = reserve(0, 1, word_={"ltv": 0, "category": 1})
    assert of(position(version, [frozen], [10_000], category())).reported["ltv"] == (9000 if overrides else 0)


@pytest.mark.parametrize(("version", "heeded"), versions_split("3.6"))
def test_the_ltvzero_bitmap_from_3_6(version: str, heeded: bool) -> None:
    inside = reserve(0, 1, word_={"category": 1})
    health = of(position(version, [inside], [10_000], category(ltvzero_bitmap=1)))
    assert health.reported["ltv"] == (0 if heeded else 9000)
    assert health.reported["currentLiquidationThreshold"] == 9300


@pytest.mark.parametrize(("version", "heeded"), versions_split("3.7"))
def test_isolated_categories_from_3_7(version: str, heeded: bool) -> None:
    held = [reserve(0, 1, word_={"category": 1}), reserve(1, 1)]
    health = of(position(version, held, [10_000, 10_000], category(isolated=True)))
    assert health.reported["ltv"] == (4500 if heeded else 8250)
    assert health.reported["currentLiquidationThreshold"] == 8650


@pytest.mark.parametrize("version", ["3.6", "3.7"])
def test_a_threshold_only_in_e_mode(version: str) -> None:
    """From 3.6 an asset with no threshold of its own counts in e-mode."""
    only = reserve(0, 10, word_={"threshold": 0, "ltv": 0})
    found = position(version, [only, reserve(1, 0, 1860)], [200, 1], category())
    assert of(found).reported["healthFactor"] == 10**18


@pytest.mark.parametrize("version", VERSIONS)
def test_the_discount_of_3_3(version: str) -> None:
    """Only 3.3 reads a debt without virtual accounting from balanceOf, which raw state cannot tell."""
    plain = reserve(1, 0, 100, word_={"virtual": False})
    verdict = of(position(version, [reserve(0, 10), plain], [200, 1])).verdict
    if version == "3.3":
        assert isinstance(verdict, Unknown)
        assert "T1" in verdict.reason
    else:
        assert isinstance(verdict, Known)
    as_collateral = of(position(version, [reserve(0, 10, word_={"virtual": False})], [200])).verdict
    assert as_collateral == NoDebt()


# -- what may not be taken for health ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_debt_at_price_zero_is_unknown_and_not_free(version: str) -> None:
    held = [reserve(0, 10), reserve(1, 0, 1), reserve(2, 0, 1)]
    health = of(position(version, held, [200, 0, 100]))
    assert health.verdict == Unknown("T1: the oracle answers 0, so its debt would count for nothing")
    assert health.liquidatable is None
    assert health.reported["totalDebtBase"] == 100
    sick = of(position(version, held, [200, 0, 10**6])).verdict
    assert isinstance(sick, Known)
    assert sick.unhealthy


@pytest.mark.parametrize("version", VERSIONS)
def test_collateral_at_price_zero_is_worth_nothing(version: str) -> None:
    verdict = of(position(version, [reserve(0, 10), reserve(1, 0, 1)], [0, 100])).verdict
    assert verdict == Known(0, 10**18)


def test_a_missing_price_is_unknown() -> None:
    verdict = of(position("3.6", [reserve(0, 10), reserve(1, 0, 1)], {asset(0): 1})).verdict
    assert verdict == Unknown(f"no price for {asset(1)}")


@pytest.mark.parametrize("version", VERSIONS)
def test_overflow_is_unknown(version: str) -> None:
    verdict = of(position(version, [reserve(0, 2**127), reserve(1, 0, 1)], [2**130, 1])).verdict
    assert isinstance(verdict, Unknown)


@pytest.mark.parametrize("version", [v for v in VERSIONS if v < "3.5"])
def test_debt_dust_without_value(version: str) -> None:
    found = position(version, [reserve(0, 10), reserve(1, 0, 1, word_={"decimals": 6})], [200, 1])
    health = of(found)
    assert health.verdict == NoDebt()
    assert health.notes == ("the debt is worth less than the smallest unit that the contract counts in",)
    bit_only = position(version, [reserve(0, 10), reserve(1)], [200, 1], user_configuration=bitmap([0], [1]))
    assert of(bit_only).notes == ()
    assert [leg.symbol for leg in of(bit_only).legs] == ["T0"]


# -- what is shown -----------------------------------------------------------------------------------------------------


def test_legs_and_notes() -> None:
    held = [
        reserve(0, 10, word_={"frozen": True}),
        reserve(1, 20, 5, word_={"decimals": 1, "paused": True}),
        reserve(2, 3, word_={"active": False}),
    ]
    found = position("3.5", held, [100, 30, 7], category(collateral_bitmap=0), user_configuration=bitmap([0], [1, 2]))
    health = of(found)
    told = [(leg.side, leg.symbol, leg.amount, leg.value, leg.factor, leg.enabled, leg.price) for leg in health.legs]
    assert told == [
        (Side.COLLATERAL, "T0", 10, 1000, 8000, True, 100),
        (Side.COLLATERAL, "T1", 20, 60, 8000, False, 30),
        (Side.COLLATERAL, "T2", 3, 21, 8000, False, 7),
        (Side.DEBT, "T1", 5, 15, 0, True, 30),
    ]
    assert [leg.decimals for leg in health.legs] == [0, 1, 0, 1]
    assert {leg.price_decimals for leg in health.legs} == {8}
    assert health.notes == ("e-mode category 1", "T0 is frozen", "T1 is paused", "T2 is inactive")


@pytest.mark.parametrize(("version", "gone"), versions_split("3.7"))
def test_isolation_mode_is_told_up_to_3_6(version: str, gone: bool) -> None:
    notes = of(position(version, [reserve(0, 10, word_={"ceiling": 1})], [1])).notes
    assert notes == (() if gone else ("T0 is collateral in isolation mode",))
    assert of(position(version, [reserve(0, 0, 10, word_={"ceiling": 1})], [1])).notes == ()


# -- which version -----------------------------------------------------------------------------------------------------


def test_candidates() -> None:
    newest_first = [name for name, _ in PROBES]

    def known(oldest_missing: int) -> frozenset[str]:
        return frozenset(newest_first[oldest_missing:])

    assert [candidates(revision, known(at)) for revision, at in ((11, 0), (10, 1), (9, 2), (8, 2), (7, 3))] == [
        ("3.7",),
        ("3.6",),
        ("3.5", "3.4"),
        ("3.4", "3.5"),
        ("3.3",),
    ]
    assert [candidates(revision, known(at)) for revision, at in ((6, 4), (4, 5), (1, 6), (99, 6), (1, 2))] == [
        ("3.2",),
        ("3.1",),
        ("3.0",),
        ("3.0",),
        ("3.5", "3.4"),
    ]


def test_revisions_and_proofs() -> None:
    assert {v: r.revision for v, r in TABLE.items()} == {
        "3.0": 1,
        "3.1": 4,
        "3.2": 6,
        "3.3": 7,
        "3.4": 8,
        "3.5": 9,
        "3.6": 10,
        "3.7": 11,
    }
    unproven = {v.name for v in PROTOCOL.versions if "unproven" in v.proof}
    assert unproven == {"3.1", "3.2"}
    assert [v.name for v in PROTOCOL.versions] == list(VERSIONS)


# -- properties --------------------------------------------------------------------------------------------------------

amounts = st.integers(0, 10**6)
prices = st.integers(1, 10**6)


@settings(max_examples=60)
@given(data=st.data(), version=st.sampled_from(["3.5", "3.6", "3.7"]))
def test_health_is_monotone_in_pure_prices_from_3_5(data: st.DataObject, version: str) -> None:
    held = [reserve(n, data.draw(amounts) + 1, word_={"threshold": 5000 + 1000 * n, "decimals": n}) for n in range(3)]
    held.append(reserve(3, 0, data.draw(amounts) + 1, word_={"decimals": 2}))
    quoted = [data.draw(prices) for _ in held]
    which, more = data.draw(st.integers(0, 3)), data.draw(prices)
    before = of(position(version, held, quoted)).reported["healthFactor"]
    quoted[which] += more
    after = of(position(version, held, quoted)).reported["healthFactor"]
    assert after <= before if which == 3 else after >= before


@settings(max_examples=60)
@given(data=st.data(), version=st.sampled_from(VERSIONS))
def test_the_sums_are_the_legs(data: st.DataObject, version: str) -> None:
    held = [reserve(n, data.draw(amounts), data.draw(amounts), word_={"decimals": n}) for n in range(3)]
    health = of(position(version, held, [data.draw(prices) for _ in held]))
    by_side = {side: sum(leg.value for leg in health.legs if leg.side is side and leg.enabled) for side in Side}
    assert by_side == {Side.COLLATERAL: health.collateral, Side.DEBT: health.debt}
    assert health.reported["totalCollateralBase"] == health.collateral
    state: State = position(version, held, [1, 1, 1]).state
    assert state.base_unit == 10**8


FIELDS = {
    words.ltv: (0, 16),
    words.liquidation_threshold: (16, 16),
    words.liquidation_bonus: (32, 16),
    words.decimals: (48, 8),
    words.active: (56, 1),
    words.frozen: (57, 1),
    words.paused: (60, 1),
    words.reserve_factor: (64, 16),
    words.supply_cap: (116, 36),
    words.liquidation_protocol_fee: (152, 16),
    words.e_mode_category: (168, 8),
    words.debt_ceiling: (212, 40),
    words.virtual_accounting: (252, 1),
}


@pytest.mark.parametrize("read", FIELDS, ids=lambda read: read.__name__)
def test_a_field_is_its_bits_and_no_others(read: Any) -> None:
    """Positions and widths of ReserveConfiguration.sol, written down once more."""
    first, width = FIELDS[read]
    mask = (1 << width) - 1 << first
    assert read(mask) == (1 << width) - 1
    assert read((1 << 256) - 1 & ~mask) == 0
    assert read((1 << 256) - 1) == (1 << width) - 1


def test_a_bit_of_a_user_is_set_beside_others_and_taken_away() -> None:
    mine, others = 1 << 6, 1 << 7 | 1 << 5 | 1
    assert words.with_borrowing(others, 3, borrowing=True) == others | mine
    assert words.with_borrowing(others | mine, 3, borrowing=False) == others
    assert words.with_collateral(others & ~(1 << 7) | mine, 3) == others | mine


def test_a_reserve_without_stable_debt_has_nothing_of_it() -> None:
    names = [field.name for field in fields(ReserveState) if "stable" not in field.name]
    bare = ReserveState(**{name: getattr(reserve(0), name) for name in names})
    assert (bare.stable_principal, bare.stable_rate, bare.stable_update_s) == (0, 0, 0)


def test_the_cover_that_a_verdict_tries_is_all_of_it() -> None:
    assert int.from_bytes(b"\xff" * 32) == MAX_COVER


def test_prices_come_in_the_markets_order_and_strangers_last() -> None:
    listed = tuple(ReserveFacts(asset(number), f"T{number}", number, 0, ZERO) for number in (2, 0, 1))
    market = Facts(MarketRef(1, "aave-v3", ZERO), ZERO, ZERO, ZERO, ZERO, 1, "3.6", ("3.6",), "USD", 10**8, listed)
    found = position("3.6", [reserve(n, 1) for n in (0, 1, 2, 7)], [5, 6, 7, 8])
    told = PROTOCOL.prices(market, [found], None, found.block)
    assert [(one.asset, one.answer) for one in told] == [(asset(2), 7), (asset(0), 5), (asset(1), 6), (asset(7), 8)]
