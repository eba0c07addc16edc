"""Every gate and every rounding of liquidationCall, on both sides of the version that changed it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from monitor.core.errors import ProtocolError
from monitor.core.types import Gate, GateState, Position
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.liquidation import Refusal, Seizure
from monitor.protocols.aave_v3.records import Category, Context, ReserveContext, ReserveState
from monitor.protocols.aave_v3.versions import TABLE
from tests.protocols.aave_v3_positions import NOW_S, RAY, asset, bitmap, context, position, reserve

VERSIONS = tuple(TABLE)
SOURCE = "0x00000000000000000000000000000000000000fF"
SENTINEL = "0x00000000000000000000000000000000000000EE"
E8 = 10**8
OPEN, SHUT, UNKNOWN = GateState.OPEN, GateState.SHUT, GateState.UNKNOWN


def split(version: str) -> list[tuple[str, bool]]:
    return [(v, VERSIONS.index(v) >= VERSIONS.index(version)) for v in VERSIONS]


def sick(
    version: str, health_pct: int = 90, collateral: dict[str, Any] | None = None, debt: dict[str, Any] | None = None
) -> Position:
    """100,000 of collateral at 80 %, and debt that makes the health factor `health_pct` percent, in units of 1e-8."""
    owed = 80_000 * E8 * 100 // health_pct
    held = [reserve(0, 100_000 * E8, word_=collateral or {}), reserve(1, 0, owed, word_=debt or {})]
    return position(version, held, [1, 1])


def gates(found: Position, context_: Context | None) -> dict[str, Gate]:
    return {gate.name: gate for gate in PROTOCOL.evaluate(found, context_).gates}


def liquidate(found: Position, **changes: Any) -> Seizure | Refusal:
    return PROTOCOL.liquidation(found, asset(0), asset(1), changes.pop("context", context(found)), **changes)


def seized(found: Position, **changes: Any) -> tuple[int, int, int]:
    outcome = liquidate(found, **changes)
    assert isinstance(outcome, Seizure), outcome
    return outcome.debt_to_cover, outcome.collateral, outcome.protocol_fee


def refused(found: Position, **changes: Any) -> str:
    outcome = liquidate(found, **changes)
    assert isinstance(outcome, Refusal), outcome
    assert outcome.gate.state is SHUT
    return outcome.gate.name


@pytest.mark.parametrize("version", VERSIONS)
def test_a_healthy_account_is_refused_for_its_health_only(version: str) -> None:
    found = sick(version, 100)
    assert refused(found) == "health"
    health = PROTOCOL.evaluate(found, context(found))
    assert health.liquidatable is False
    assert {gate.state for gate in health.gates} == {OPEN}
    assert "health" not in {gate.name for gate in health.gates}
    assert PROTOCOL.evaluate(found, None).liquidatable is False


@pytest.mark.parametrize("version", VERSIONS)
def test_a_sick_account_is_taken(version: str) -> None:
    found = sick(version)
    found = replace(found, state=replace(found.state, sentinel=SENTINEL))
    assert PROTOCOL.evaluate(found, context(found)).liquidatable is True
    assert isinstance(liquidate(found), Seizure)
    expected = ["active", "pause"]
    expected += ["sentinel"] if version < "3.7" else []
    expected += ["grace"] if version > "3.0" else []
    expected += ["collateral", *(["dust"] if version >= "3.3" else []), "amounts", "liquidity"]
    assert list(gates(found, context(found))) == expected
    edge = replace(sick(version, 99), state=replace(sick(version, 99).state, sentinel=SENTINEL))
    assert list(gates(edge, context(edge))) == expected
    assert {gate.state for gate in gates(edge, context(edge)).values()} == {OPEN}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("side", ["collateral", "debt"])
@pytest.mark.parametrize(
    ("flag", "gate", "word"), [({"active": False}, "active", "active"), ({"paused": True}, "pause", "paused")]
)
def test_inactive_and_paused(version: str, side: str, flag: dict[str, bool], gate: str, word: str) -> None:
    found = sick(version, **{side: flag})  # type: ignore[arg-type]
    assert refused(found) == gate
    assert PROTOCOL.evaluate(found, context(found)).liquidatable is False
    shut = gates(found, context(found))[gate]
    assert shut.state is SHUT
    assert "amounts" not in gates(found, context(found))
    assert word in shut.detail
    assert ("T0" in shut.detail, "T1" in shut.detail) == (side == "collateral", side == "debt")


@pytest.mark.parametrize("version", VERSIONS)
def test_frozen_is_no_gate(version: str) -> None:
    assert isinstance(liquidate(sick(version, collateral={"frozen": True}, debt={"frozen": True})), Seizure)


@pytest.mark.parametrize(("version", "gone"), split("3.7"))
def test_sentinel_up_to_3_6(version: str, gone: bool) -> None:
    def at(health_pct: int) -> Position:
        found = sick(version, health_pct)
        return replace(found, state=replace(found.state, sentinel=SENTINEL))

    allowed, held_back, unread = (context(at(99), sentinel=answer) for answer in (True, False, None))
    assert PROTOCOL.evaluate(at(99), allowed).liquidatable is True
    assert PROTOCOL.evaluate(at(99), held_back).liquidatable is gone
    assert PROTOCOL.evaluate(at(99), unread).liquidatable is (True if gone else None)
    # strictly below 0.95 nobody asks
    exact = dollars(version, 95, (80_000,))
    exact = replace(exact, state=replace(exact.state, sentinel=SENTINEL))
    assert PROTOCOL.evaluate(exact, held_back).reported["healthFactor"] == 95 * 10**16
    assert PROTOCOL.evaluate(exact, held_back).liquidatable is gone
    assert PROTOCOL.evaluate(at(94), held_back).liquidatable is True
    assert PROTOCOL.evaluate(at(94), unread).liquidatable is True
    if gone:
        assert "sentinel" not in gates(at(99), held_back)
    else:
        assert gates(at(99), held_back)["sentinel"].state is SHUT
        assert gates(at(99), None)["sentinel"].state is UNKNOWN
        assert gates(at(94), None)["sentinel"] == Gate("sentinel", OPEN, "bypassed below 0.95")
        assert refused(at(99), context=held_back) == "sentinel"
    assert "sentinel" not in gates(sick(version), context(sick(version)))


@pytest.mark.parametrize(("version", "heeded"), split("3.1"))
@pytest.mark.parametrize("side", [0, 1])
def test_grace_periods_from_3_1(version: str, heeded: bool, side: int) -> None:
    found = sick(version)

    def until(second: int | None) -> Context:
        one = [ReserveContext(asset(n), second if n == side else 0, 2**127, 2**127) for n in (0, 1)]
        return Context(True, tuple(one))

    verdicts = [PROTOCOL.evaluate(found, until(NOW_S + later)).liquidatable for later in (-1, 0, 1)]
    assert verdicts == ([True, False, False] if heeded else [True, True, True])
    assert PROTOCOL.evaluate(found, until(None)).liquidatable is (None if heeded else True)
    if heeded:
        assert PROTOCOL.evaluate(found, until(NOW_S), NOW_S + 1).liquidatable is True
        assert gates(found, until(NOW_S))["grace"] == Gate("grace", SHUT, f"T{side} until {NOW_S}")
        assert refused(found, context=until(NOW_S)) == "grace"
    else:
        assert "grace" not in gates(found, until(NOW_S))


@pytest.mark.parametrize(("version", "heeded"), split("3.1"))
def test_liquidity(version: str, heeded: bool) -> None:
    found = sick(version)
    needed = seized(found)[1]

    def holding(underlying: int | None, virtual: int | None) -> Context:
        return Context(True, tuple(ReserveContext(asset(n), 0, underlying, virtual) for n in (0, 1)))

    for lacking, answer in ((0, True), (1, False)):
        assert PROTOCOL.evaluate(found, holding(needed - lacking, 2**127)).liquidatable is answer
        assert PROTOCOL.evaluate(found, holding(2**127, needed - lacking)).liquidatable is (answer or not heeded)
    assert PROTOCOL.evaluate(found, holding(None, 2**127)).liquidatable is None
    assert PROTOCOL.evaluate(found, holding(2**127, None)).liquidatable is (None if heeded else True)
    assert PROTOCOL.evaluate(found, None).liquidatable is None
    unread = [gate.name for gate in gates(found, None).values() if gate.state is UNKNOWN]
    assert unread == ["grace", "liquidity"] if heeded else ["liquidity"]
    detail = gates(found, holding(needed - 1, needed - 2))["liquidity"].detail
    assert detail == f"T0 has {needed - 2 if heeded else needed - 1} of {needed} to pay out"
    assert refused(found, context=holding(needed - 1, 2**127)) == "liquidity"
    assert isinstance(liquidate(found, context=holding(0, 0), receive_a_token=True), Seizure)
    assert isinstance(liquidate(found, context=None), Seizure)


@pytest.mark.parametrize("version", ["3.1", "3.2"])
def test_without_virtual_accounting_its_balance_is_not_asked(version: str) -> None:
    found = sick(version, collateral={"virtual": False})
    empty = Context(True, tuple(ReserveContext(asset(n), 0, 2**127, 0) for n in (0, 1)))
    assert PROTOCOL.evaluate(found, empty).liquidatable is True
    assert PROTOCOL.evaluate(sick(version), empty).liquidatable is False


@pytest.mark.parametrize("version", ["3.4", "3.7"])
def test_from_3_4_every_reserve_has_a_virtual_balance(version: str) -> None:
    empty = Context(True, tuple(ReserveContext(asset(n), 0, 2**127, 0) for n in (0, 1)))
    assert PROTOCOL.evaluate(sick(version, collateral={"virtual": False}), empty).liquidatable is False


@pytest.mark.parametrize("version", VERSIONS)
def test_collateral_must_be_used_as_such(version: str) -> None:
    held = [reserve(0, 10**13), reserve(1, 10**13), reserve(2, 0, 10**13)]
    found = position(version, held, [1, 1, 1], user_configuration=bitmap([0], [2]))
    assert isinstance(PROTOCOL.liquidation(found, asset(0), asset(2), context(found)), Seizure)
    off = PROTOCOL.liquidation(found, asset(1), asset(2), context(found))
    assert isinstance(off, Refusal)
    assert off.gate.name == "collateral"


@pytest.mark.parametrize(("version", "counts"), split("3.6"))
def test_collateral_without_a_threshold_of_its_own(version: str, counts: bool) -> None:
    held = [reserve(0, 10**13, word_={"threshold": 0}), reserve(1, 0, 10**13)]
    found = position(version, held, [1, 1])
    assert (refused(found) if not counts else isinstance(liquidate(found), Seizure)) == (
        True if counts else "collateral"
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_there_must_be_debt_in_the_asset(version: str) -> None:
    held = [reserve(0, 10**13), reserve(1, 5), reserve(2, 0, 10**13)]
    found = position(version, held, [1, 1, 1])
    assert refused(found) == "debt"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_asset_that_the_owner_does_not_have(version: str) -> None:
    found = sick(version)
    for pair in ((asset(7), asset(1)), (asset(0), asset(7))):
        with pytest.raises(ProtocolError, match=asset(7)):
            PROTOCOL.liquidation(found, *pair)


@pytest.mark.parametrize("version", VERSIONS)
def test_one_good_pair_is_enough(version: str) -> None:
    held = [reserve(0, 10**13, word_={"paused": True}), reserve(1, 10**13), reserve(2, 0, 3 * 10**13)]
    found = position(version, held, [1, 1, 1])
    health = PROTOCOL.evaluate(found, context(found))
    assert health.liquidatable is True
    assert {gate.state for gate in health.gates} == {OPEN}


@pytest.mark.parametrize("version", VERSIONS)
def test_gates_are_those_of_the_pair_nearest_to_liquidation(version: str) -> None:
    both = [reserve(0, 10**13, word_={"paused": True, "active": False}), reserve(1, 10**13, word_={"paused": True})]
    found = position(version, [*both, reserve(2, 0, 3 * 10**13)], [1, 1, 1])
    for context_ in (context(found), None):
        states = {gate.name: gate.state for gate in PROTOCOL.evaluate(found, context_).gates}
        assert (states["active"], states["pause"]) == (OPEN, SHUT)
    health = PROTOCOL.evaluate(position(version, [reserve(0, 5)], [1]))
    assert (health.gates, health.liquidatable) == ((), False)


@pytest.mark.parametrize("version", [v for v in VERSIONS if v > "3.0"])
@pytest.mark.parametrize("side", [0, 1])
def test_two_assets_of_one_symbol_are_still_two(version: str, side: int) -> None:
    found = sick(version)
    alike = tuple(replace(held, symbol="USDC") for held in found.state.reserves)
    found = replace(found, state=replace(found.state, reserves=alike))
    graces = [ReserveContext(asset(n), NOW_S if n == side else 0, 2**127, 2**127) for n in (0, 1)]
    assert PROTOCOL.evaluate(found, Context(True, tuple(graces))).liquidatable is False
    unread = [ReserveContext(asset(n), None if n == side else 0, 2**127, 2**127) for n in (0, 1)]
    assert PROTOCOL.evaluate(found, Context(True, tuple(unread))).liquidatable is None


# -- close factor ------------------------------------------------------------------------------------------------------


def dollars(
    version: str, health_pct: int, debts: tuple[int, ...], collaterals: tuple[int, ...] = (100_000,)
) -> Position:
    """Whole dollars with 8 decimals; the threshold is set so that the health factor is `health_pct` percent."""
    # value * threshold / debt = health
    threshold = sum(debts) * health_pct * 100 // sum(collaterals)
    held = [
        reserve(n, amount * E8, word_={"threshold": threshold, "bonus": 10_000}) for n, amount in enumerate(collaterals)
    ]
    first = len(collaterals)
    held += [reserve(first + n, 0, amount * E8) for n, amount in enumerate(debts)]
    return position(version, held, [1] * len(held))


@pytest.mark.parametrize("version", ["3.0", "3.1", "3.2"])
@pytest.mark.parametrize(("health_pct", "share"), [(99, 50), (96, 50), (95, 100), (94, 100)])
def test_half_of_one_debt_up_to_3_2(version: str, health_pct: int, share: int) -> None:
    found = dollars(version, health_pct, (50_000, 30_000))
    assert seized(found)[0] == 50_000 * E8 * share // 100


@pytest.mark.parametrize("version", ["3.0", "3.1", "3.2"])
def test_half_of_an_odd_debt_rounds_up(version: str) -> None:
    found = position(version, [reserve(0, 100, word_={"bonus": 10_000}), reserve(1, 0, 81)], [1, 1])
    assert seized(found)[0] == 41


@pytest.mark.parametrize("version", ["3.3", "3.4", "3.5", "3.6", "3.7"])
@pytest.mark.parametrize(
    ("health_pct", "debts", "cover"),
    [
        (99, (50_000, 30_000), 40_000),  # half of all debt, taken from the larger
        (99, (30_000, 50_000), 30_000),  # this one is less than half of all
        (99, (40_000, 40_000), 40_000),  # exactly half: all of it
        (96, (80_000,), 40_000),
        (95, (80_000,), 80_000),  # at 0.95 all
        (99, (1_990, 10), 1_990),  # small debts are taken whole
        (99, (2_000,), 1_000),
    ],
)
def test_close_factor_by_value_from_3_3(version: str, health_pct: int, debts: tuple[int, ...], cover: int) -> None:
    found = dollars(version, health_pct, debts)
    assert PROTOCOL.evaluate(found, None).reported["healthFactor"] == health_pct * 10**16
    assert seized(found)[0] == cover * E8


@pytest.mark.parametrize("version", ["3.3", "3.4"])
def test_exactly_half_by_value_is_taken_whole(version: str) -> None:
    """What half the value would buy is a unit less, because the debt's value was rounded down."""
    owed = 3 * 10**11 + 1  # at 7 and one decimal worth 2.1e11
    held = [
        reserve(0, 10**12, word_={"threshold": 4_100, "bonus": 10_000}),
        reserve(1, 0, owed, word_={"decimals": 1}),
        reserve(2, 0, 21 * 10**10),
    ]
    found = position(version, held, [1, 7, 1])
    assert seized(found)[0] == owed


@pytest.mark.parametrize("version", ["3.3", "3.4", "3.5", "3.6", "3.7"])
@pytest.mark.parametrize(("collateral", "cover"), [(2_000, 1_000), (1_999, 1_999)])
def test_small_collateral_lifts_the_close_factor(version: str, collateral: int, cover: int) -> None:
    held = [reserve(0, collateral * E8, word_={"bonus": 10_000}), reserve(1, 450 * E8), reserve(2, 0, 2_000 * E8)]
    found = position(version, held, [1, 1, 1])
    outcome = PROTOCOL.liquidation(found, asset(0), asset(2), context(found))
    assert isinstance(outcome, Seizure)
    assert outcome.debt_to_cover == cover * E8


@pytest.mark.parametrize("version", VERSIONS)
def test_less_than_the_maximum_may_be_asked(version: str) -> None:
    assert seized(dollars(version, 90, (80_000,)), debt_to_cover=5_000 * E8) == (5_000 * E8, 5_000 * E8, 0)


# -- dust --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "heeded"), split("3.3"))
def test_dust_of_debt(version: str, heeded: bool) -> None:
    found = dollars(version, 90, (80_000,))
    assert seized(found, debt_to_cover=79_000 * E8)[0] == 79_000 * E8
    over = {"debt_to_cover": 79_000 * E8 + 1}
    assert (refused(found, **over) == "dust") if heeded else seized(found, **over)
    assert seized(found, debt_to_cover=80_000 * E8)[0] == 80_000 * E8


@pytest.mark.parametrize(("version", "heeded"), split("3.3"))
def test_dust_of_collateral(version: str, heeded: bool) -> None:
    held = [reserve(0, 10_000 * E8, word_={"bonus": 10_000}), reserve(1, 80_000 * E8), reserve(2, 0, 80_000 * E8)]
    found = position(version, held, [1, 1, 1])

    def take(amount: int) -> Seizure | Refusal:
        return PROTOCOL.liquidation(found, asset(0), asset(2), context(found), debt_to_cover=amount)

    assert isinstance(take(9_000 * E8), Seizure)
    assert isinstance(take(9_000 * E8 + 1), Refusal) is heeded
    assert isinstance(take(10_000 * E8), Seizure)


@pytest.mark.parametrize("version", ["3.3", "3.4", "3.5", "3.6", "3.7"])
def test_dust_is_valued_at_its_own_price_and_after_the_fee(version: str) -> None:
    word_ = {"bonus": 11_000, "fee": 5_000, "decimals": 1}
    held = [reserve(0, 10_000 * E8, word_=word_), reserve(1, 10_000 * E8), reserve(2, 0, 40_000 * E8)]
    found = position(version, held, [20, 1, 2])

    def take(amount: int) -> Seizure | Refusal:
        return PROTOCOL.liquidation(found, asset(0), asset(2), context(found), debt_to_cover=amount)

    # 20,000 dollars of collateral; a cover of 8,500 tokens at 2 takes 18,700 with the bonus and leaves 1,300
    assert isinstance(take(8_500 * E8), Seizure)
    edge = 19_000 * E8 * 10 // 22
    assert isinstance(take(edge), Seizure)
    assert isinstance(take(edge + 10), Refusal)


@pytest.mark.parametrize("version", ["3.3", "3.4", "3.5", "3.6", "3.7"])
def test_dust_makes_the_maximum_fail(version: str) -> None:
    """Half of 2,000.01 dollars leaves enough debt; a larger bonus leaves too little collateral."""
    held = [reserve(0, 250_000 * 10**6, word_={"threshold": 7_900, "bonus": 10_500}), reserve(1, 0, 200_001 * 10**6)]
    found = position(version, held, [1, 1])
    assert PROTOCOL.evaluate(found, context(found)).liquidatable is True
    short = replace(found, state=replace(found.state, reserves=(_bonus(held[0], 14_500), held[1])))
    assert PROTOCOL.evaluate(short, context(short)).liquidatable is True
    dust = replace(found, state=replace(found.state, reserves=(_bonus(held[0], 16_500), held[1])))
    assert refused(dust) == "dust"
    assert PROTOCOL.evaluate(dust, context(dust)).liquidatable is False
    assert PROTOCOL.evaluate(dust, context(dust)).verdict.unhealthy  # type: ignore[union-attr]


def _bonus(held: ReserveState, bonus: int) -> ReserveState:
    return replace(held, configuration=held.configuration & ~(0xFFFF << 32) | bonus << 32)


@pytest.mark.parametrize(("version", "up"), split("3.5"))
def test_leftover_debt_is_valued_up_from_3_5(version: str, up: bool) -> None:
    if version < "3.3":
        return
    held = [reserve(0, 100_000 * E8, word_={"bonus": 10_000}), reserve(1, 0, 90_000 * 10 * E8, word_={"decimals": 1})]
    found = position(version, held, [1, 1])
    cover = 90_000 * 10 * E8 - (1_000 * 10 * E8 - 1)  # leaves a tenth of a unit less than 1,000
    assert isinstance(liquidate(found, debt_to_cover=cover), Seizure) is up


# -- amounts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_bonus_and_fee(version: str) -> None:
    found = position(
        version,
        [reserve(0, 10**15, word_={"threshold": 1000, "bonus": 10_500, "fee": 1_000}), reserve(1, 0, 2 * 10**14)],
        [1, 1],
    )
    # 2e14 of debt buys 2.1e14; the bonus is 1e13 and a tenth of it goes to the treasury
    assert seized(found) == (2 * 10**14, 209 * 10**12, 10**12)


@pytest.mark.parametrize(("version", "floored"), split("3.7"))
def test_seizure_rounds_half_up_then_down_from_3_7(version: str, floored: bool) -> None:
    held = [reserve(0, 100, word_={"threshold": 1, "bonus": 10_500}), reserve(1, 0, 30)]
    assert seized(position(version, held, [1, 1])) == (30, 31 if floored else 32, 0)  # 31.5
    held = [reserve(0, 100, word_={"threshold": 1, "bonus": 10_500, "fee": 5_000}), reserve(1, 0, 30)]
    # 32: 30.48 without bonus, half up 30, so 2 of bonus, 1 of fee; 31: 29.5 down 29, 2 of bonus, 1 of fee
    assert seized(position(version, held, [1, 1])) == (30, 30 if floored else 31, 1)
    held = [reserve(0, 100, word_={"threshold": 1, "bonus": 10_500, "fee": 1_000}), reserve(1, 0, 30)]
    assert seized(position(version, held, [1, 1])) == (30, 30 if floored else 32, 1 if floored else 0)  # 0.2 of fee, up


@pytest.mark.parametrize(("version", "up"), split("3.5"))
def test_debt_needed_for_all_collateral(version: str, up: bool) -> None:
    """100 of collateral at 105 % need 95.24 of debt: half up 95, from 3.5 up 96."""
    held = [reserve(0, 100, word_={"bonus": 10_500}), reserve(1, 0, 10_000)]
    assert seized(position(version, held, [1, 1])) == (96 if up else 95, 100, 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_prices_and_units_when_all_collateral_goes(version: str) -> None:
    held = [
        reserve(0, 5_500, word_={"decimals": 2, "bonus": 11_000}),
        reserve(1, 0, 10**9, word_={"decimals": 3}),
    ]
    # 55 tokens at 400 are 22,000, or without bonus 20,000, which are 1,000 debt tokens at 20
    assert seized(position(version, held, [400, 20])) == (10**6, 5_500, 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_fee_of_one_basis_point(version: str) -> None:
    held = [reserve(0, 10**15, word_={"threshold": 1, "bonus": 11_000, "fee": 1}), reserve(1, 0, 10**12)]
    assert seized(position(version, held, [1, 1]), debt_to_cover=10**12)[2] == 10**7


@pytest.mark.parametrize("version", ["3.3", "3.4", "3.5", "3.6", "3.7"])
def test_all_collateral_includes_the_fee(version: str) -> None:
    held = [reserve(0, 11_000, word_={"bonus": 11_000, "fee": 5_000}), reserve(1, 0, 20_000)]
    outcome = liquidate(position(version, held, [1, 1]))
    assert isinstance(outcome, Seizure)
    assert (outcome.collateral, outcome.protocol_fee, outcome.clears_collateral) == (10_500, 500, True)
    more = liquidate(position(version, [*held, reserve(2, 1)], [1, 1, 1]))
    assert isinstance(more, Seizure)
    assert not more.clears_collateral


@pytest.mark.parametrize("version", VERSIONS)
def test_prices_and_units(version: str) -> None:
    held = [
        reserve(0, 10**7, word_={"decimals": 3, "threshold": 1, "bonus": 11_000}),
        reserve(1, 0, 7_000, word_={"decimals": 2}),
    ]
    found = position(version, held, [400, 30_000])
    # 70 debt tokens at 30,000 are 2,100,000, which with bonus buy 2,310,000 / 400 = 5,775 tokens
    assert seized(found) == (7_000, 5_775_000, 0)


@pytest.mark.parametrize(("version", "bitmaps"), split("3.2"))
def test_the_categorys_bonus(version: str, bitmaps: bool) -> None:
    own = Category(1, 1, 1, 12_000, collateral_bitmap=1)
    inside = position(version, [reserve(0, 10**6, word_={"category": 1}), reserve(1, 0, 10_000)], [1, 1], own)
    assert seized(inside)[1] == 12_000
    by_word = position(version, [reserve(0, 10**6), reserve(1, 0, 10**6)], [1, 1], own)
    covered = seized(by_word, debt_to_cover=10_000)[1] if version < "3.3" else seized(by_word)[1]
    assert covered == (
        10**6 if bitmaps and version >= "3.3" else 12_000 if bitmaps else 10_500 if version < "3.3" else 0
    )


@pytest.mark.parametrize("version", ["3.0", "3.1"])
def test_the_categorys_price_source_prices_every_debt(version: str) -> None:
    """In e-mode the debt is priced by the category's source even if it is of another category."""
    own = Category(1, 1, 1, 10_000, price_source=SOURCE)
    prices = {asset(0): 100, asset(1): 100, SOURCE: 200}
    outside = position(version, [reserve(0, 10**6), reserve(1, 0, 10**6)], prices, own)
    assert seized(outside, debt_to_cover=1_000)[1] == 2_100
    inside = position(version, [reserve(0, 10**6, word_={"category": 1}), reserve(1, 0, 10**7)], prices, own)
    assert seized(inside, debt_to_cover=1_000)[1] == 1_000


@pytest.mark.parametrize("version", VERSIONS)
def test_a_price_of_zero_makes_the_division_revert(version: str) -> None:
    found = position(version, [reserve(0, 100), reserve(1, 0, 100)], [0, 1])
    assert refused(found) == "amounts"
    assert PROTOCOL.evaluate(found, context(found)).liquidatable is False


@pytest.mark.parametrize("version", VERSIONS)
def test_amounts_that_overflow_revert(version: str) -> None:
    held = [reserve(0, 10**36, word_={"decimals": 36}), reserve(1, 0, 10**37, word_={"decimals": 0, "threshold": 0})]
    found = position(version, held, [10**20, 10**19])
    assert PROTOCOL.evaluate(found, context(found)).verdict.unhealthy  # type: ignore[union-attr]
    assert refused(found) == "amounts"


# -- burns that round to nothing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_collateral_that_rounds_to_nothing(version: str) -> None:
    """One debt unit worth less than one collateral unit seizes nothing, which burn refuses; aTokens may be moved."""
    held = [reserve(0, 10**6, word_={"bonus": 10_000}), reserve(1, 0, 10**9), reserve(2, 0, 1, word_={"decimals": 0})]
    found = position(version, held, [1000, 1000, 1])
    taken = PROTOCOL.liquidation(found, asset(0), asset(2), context(found))
    assert isinstance(taken, Refusal)
    assert taken.gate == Gate("amounts", SHUT, "the collateral to seize rounds to 0")
    moved = PROTOCOL.liquidation(found, asset(0), asset(2), context(found), receive_a_token=True)
    assert isinstance(moved, Seizure)


@pytest.mark.parametrize(("version", "up"), split("3.5"))
def test_one_wei_of_collateral_at_a_high_index(version: str, up: bool) -> None:
    """One unit is 1/3 scaled: half up nothing, from 3.5 up one."""
    tall = reserve(0, 10**6, liquidity_index=3 * RAY, word_={"bonus": 10_000, "threshold": 1})
    found = position(version, [tall, reserve(1, 0, 10**9)], [1, 1])
    outcome = liquidate(found, debt_to_cover=1)
    if version >= "3.3":
        assert isinstance(outcome, Refusal)  # dust comes first
        assert outcome.gate.name == "dust"
    else:
        assert isinstance(outcome, Seizure) is up
    both = [gate.name for gate in _all_gates(found, 1) if gate.state is SHUT]
    assert ("amounts" in both) is not up


def _all_gates(found: Position, cover: int) -> tuple[Gate, ...]:
    from monitor.protocols.aave_v3.liquidation import Attempt, liquidation_call
    from monitor.protocols.aave_v3.verdict import account_of

    account = account_of(found)
    attempt = Attempt(account.rules, account.state, account.data, found.prices, context(found), NOW_S, cover)
    return liquidation_call(attempt, account.held[0], account.held[1]).gates


@pytest.mark.parametrize(("version", "down"), split("3.5"))
def test_one_wei_of_debt(version: str, down: bool) -> None:
    """One unit of debt at an index of 1.5 is 0.67 scaled: half up one, from 3.5 down nothing."""
    held = [
        reserve(0, 10**12, word_={"bonus": 10_000, "threshold": 1}),
        reserve(1, 0, 10**12, variable_borrow_index=RAY * 3 // 2),
    ]
    shut = [gate for gate in _all_gates(position(version, held, [1, 1]), 1) if gate.state is SHUT]
    assert (Gate("amounts", SHUT, "the debt to cover rounds to 0") in shut) is down


@pytest.mark.parametrize(("version", "burnt"), split("3.3"))
def test_bad_debt_is_burnt_whole_from_3_3(version: str, burnt: bool) -> None:
    """The last collateral pays for no whole unit of debt: refused, unless all debt is burnt with it."""
    held = [reserve(0, 1, word_={"bonus": 10_000}), reserve(1, 0, 10)]
    found = position(version, held, [1, 1000])
    if version >= "3.5":
        assert seized(found) == (0, 1, 0)
    elif burnt:
        assert seized(found) == (0, 1, 0)
        outcome = liquidate(found)
        assert isinstance(outcome, Seizure)
        assert outcome.clears_collateral
    else:
        assert refused(found) == "amounts"


@pytest.mark.parametrize(("version", "scaled"), split("3.7"))
def test_what_counts_as_all_collateral(version: str, scaled: bool) -> None:
    """Up to 3.6 equal values do; from 3.7 the scaled amounts that are really burnt."""
    if version < "3.3":
        assert not liquidate(sick(version)).clears_collateral  # type: ignore[union-attr]
        return
    # fee and payout each round up in scaled terms: 100 units at an index of 1.9 are 53 scaled, 99 of them 53 too
    tall = reserve(0, 53, liquidity_index=RAY * 19 // 10, word_={"bonus": 10_000, "threshold": 1})
    found = position(version, [tall, reserve(1, 0, 99), reserve(2, 0, 10**6)], [1, 1, 1])
    outcome = liquidate(found)
    assert isinstance(outcome, Seizure)
    assert outcome.collateral == 99
    assert outcome.clears_collateral is scaled


@pytest.mark.parametrize("version", ["3.0", "3.1"])
def test_stable_debt_in_a_seizure(version: str) -> None:
    held = [reserve(0, 100_000, word_={"bonus": 10_000})]
    both = [*held, reserve(1, 0, 40_000, stable_principal=50_000, stable_update_s=NOW_S)]
    assert seized(position(version, both, [1, 1]))[0] == 90_000
    stable = [*held, reserve(1, 0, 0, stable_principal=90_000, stable_update_s=NOW_S)]
    assert seized(position(version, stable, [1, 1]))[0] == 90_000
    nothing = [*held, reserve(1, 0, 0, stable_principal=90_000, stable_update_s=NOW_S)]
    assert refused(position(version, nothing, [1, 1]), debt_to_cover=0) == "amounts"


@pytest.mark.parametrize(("version", "stale"), [(v, v in ("3.5", "3.6")) for v in VERSIONS])
def test_the_stored_index_of_3_5_and_3_6(version: str, stale: bool) -> None:
    """Collateral and debt in one asset: these two versions seize by the index from before the call."""
    year = 31_536_000
    both = reserve(0, 1_000, 3_000, liquidity_rate=RAY, last_update_s=NOW_S - year, word_={"bonus": 10_000})
    found = position(version, [both], [1])
    outcome = PROTOCOL.liquidation(found, asset(0), asset(0), context(found))
    assert isinstance(outcome, Seizure)
    assert outcome.collateral == (1_000 if stale else 2_000)
    other = position(version, [replace(both, scaled_variable_debt=0), reserve(1, 0, 3_000)], [1, 1])
    assert seized(other)[1] == 2_000


@pytest.mark.parametrize("version", VERSIONS)
def test_repaid_debt_adds_to_the_virtual_balance_of_its_own_asset(version: str) -> None:
    both = reserve(0, 10_000, 9_000, word_={"bonus": 10_000})
    found = position(version, [both], [1])
    poor = Context(True, (ReserveContext(asset(0), 0, 9_000, 0),))
    assert isinstance(PROTOCOL.liquidation(found, asset(0), asset(0), poor), Seizure)
    poorer = Context(True, (ReserveContext(asset(0), 0, 8_999, 0),))
    assert isinstance(PROTOCOL.liquidation(found, asset(0), asset(0), poorer), Refusal)


# -- debt ceilings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "gone"), split("3.7"))
@pytest.mark.parametrize(("decimals", "reckoned"), [(1, False), (2, True)])
def test_isolated_debt_of_few_decimals_up_to_3_6(version: str, gone: bool, decimals: int, reckoned: bool) -> None:
    """The ceiling's book divides by 10 ** (decimals - 2), which reverts below two."""
    held = [reserve(0, 10**9, word_={"ceiling": 1, "threshold": 1}), reserve(1, 0, 10**6, word_={"decimals": decimals})]
    found = position(version, held, [1, 1_000])
    assert isinstance(liquidate(found), Seizure) is (reckoned or gone)
    if not (reckoned or gone):
        assert refused(found) == "amounts"


@pytest.mark.parametrize(("version", "of_collateral"), split("3.3"))
def test_whose_ceiling_is_asked(version: str, of_collateral: bool) -> None:
    """Up to 3.2 the isolated user's after the seizure, from 3.3 the seized collateral's."""
    if version == "3.7":
        return
    word = {"threshold": 1, "bonus": 10_000}
    plain, capped = reserve(4, 10**9, word_=word), reserve(3, 10**9, word_=word | {"ceiling": 1})
    debt = reserve(2, 0, 2 * 10**9)
    found = position(version, [plain, capped, debt], [1, 1, 1])
    # all of the plain collateral goes; then the capped one is the only one left, and the user isolated
    by_plain = PROTOCOL.liquidation(found, asset(4), asset(2), context(found))
    by_capped = PROTOCOL.liquidation(found, asset(3), asset(2), context(found))
    assert isinstance(by_plain, Seizure) is of_collateral
    assert isinstance(by_capped, Seizure) is not of_collateral
    part = PROTOCOL.liquidation(found, asset(4), asset(2), context(found), debt_to_cover=10**9 - 1)
    assert isinstance(part, Seizure) is (version < "3.3")
