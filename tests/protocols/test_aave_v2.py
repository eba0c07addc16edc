"""Aave V2 against its recorded contracts: the six numbers, every liquidation call and its amounts; and by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from monitor.chain.abi import checksum
from monitor.core.plan import run
from monitor.core.types import (
    Answer,
    BlockRef,
    Call,
    Known,
    MarketRef,
    NoDebt,
    Ok,
    Position,
    Query,
    Reverted,
    Side,
    Unknown,
    Unread,
    Unreadable,
)
from monitor.core.units import RAY, WAD
from monitor.oracles.chainlink import ZERO
from monitor.protocols.aave_v2 import PROTOCOL, REVERTS
from monitor.protocols.aave_v2.math import (
    Facts,
    Refusal,
    Reserve,
    ReserveFacts,
    Seizure,
    State,
    calculateCompoundedInterest,
    liquidation,
)
from monitor.protocols.aave_v3 import math as aave_v3
from monitor.protocols.base import with_price
from tests.protocols.cassette import CassetteMiss, block_of, load

SAMPLES, LIQUIDATIONS = 65, 8
NAMES = {"getLendingPool": "LendingPool", "getPriceOracle": "AaveOracle"}
"""The provider's calls are not in the recording, but what it answers is."""


def answerer(block: BlockRef) -> Callable[[Sequence[Query]], list[Answer]]:
    cassette = load("aave-v2")
    deployed = cassette.content["deployments"]

    def one(query: Query) -> Answer:
        assert isinstance(query, Call)
        name = query.function.partition(".")[2]
        if query.to == deployed["LendingPoolAddressesProvider"]:
            return Ok((checksum(deployed[NAMES[name]]),))
        if name == "symbol" or name.startswith("BASE_CURRENCY"):  # this oracle is of the old kind
            return Reverted(b"", "")
        return cassette.answerer(block)([query])[0]

    return lambda queries: [one(query) for query in queries]


@cache
def facts_of(block: BlockRef) -> Facts:
    provider = checksum(load("aave-v2").content["deployments"]["LendingPoolAddressesProvider"])
    return run(PROTOCOL.static(MarketRef(31337, "aave-v2", provider), block), answerer(block))


@cache
def read(at: int) -> Position:
    sample = load("aave-v2").samples[at]
    block, owner = block_of(sample), checksum(sample["account"]["address"])
    (found,) = load("aave-v2").replay(PROTOCOL.state(facts_of(block), [owner], block), block)
    assert isinstance(found, Position)
    return found


def read_before(recorded: Mapping[str, Any]) -> Position:
    """The position before a recorded liquidation, whose block has no calls but its state in the record itself."""
    market, account, block = recorded["market"], recorded["account"], block_of(recorded)
    facts = facts_of(block_of(load("aave-v2").samples[0]))

    def answer(query: Query) -> Answer:
        assert isinstance(query, Call)
        name = query.function.partition(".")[2]
        if name == "paused":
            return Ok((market[name],))
        if name == "getUserConfiguration":
            return Ok(((int(account[name]),),))
        if name in ("getReserveData", "getAssetPrice"):
            told = next(row for asset, row in market["reserves"].items() if checksum(asset) == query.args[0])[name]
            if name == "getAssetPrice":
                return Ok((int(told),))
            numbers = [value if str(value).startswith("0x") else int(value) for value in list(told.values())[1:]]
            return Ok((((int(told["configuration"]["data"]),), *numbers),))
        for asset, row in market["reserves"].items():
            for token in ("aToken", "variableDebtToken", "stableDebtToken"):
                if checksum(row["getReserveData"][f"{token}Address"]) == query.to:
                    return Ok((int(account["balances"][asset][f"{token}.{name}"]),))
        raise KeyError(str(query))

    owner = checksum(account["address"])
    (found,) = run(PROTOCOL.state(facts, [owner], block), lambda queries: [answer(query) for query in queries])
    assert isinstance(found, Position)
    return found


def call(position: Position, recorded: Mapping[str, Any], at_s: int) -> Seizure | Refusal:
    try:
        return liquidation(
            position.state,
            position.prices,
            at_s,
            checksum(recorded["collateralAsset"]),
            checksum(recorded["debtAsset"]),
            int(recorded["debtToCover"]),
            receive_a_token=recorded["receiveAToken"],
        )
    except REVERTS:
        return Refusal("23")


def test_no_recording_is_left_out() -> None:
    assert (len(load("aave-v2").samples), len(load("aave-v2").liquidations)) == (SAMPLES, LIQUIDATIONS)


@pytest.mark.parametrize("at", range(SAMPLES))
def test_recorded_samples_are_exact(at: int) -> None:
    sample, position = load("aave-v2").samples[at], read(at)
    health, expected = PROTOCOL.evaluate(position), sample["expected"]["getUserAccountData"]
    assert health.liquidatable is sample["expected"]["liquidatable"]
    if "revert" in expected:
        assert isinstance(health.verdict, Unknown)
        assert health.reported == {}
    else:
        assert health.reported == {name: int(value) for name, value in expected.items()}
        assert health.verdict == (Known(health.reported["healthFactor"], WAD) if health.debt else NoDebt())
    for recorded in sample["expected"]["liquidationCall"]:
        outcome = call(position, recorded, position.block.timestamp)
        assert isinstance(outcome, Seizure) is recorded["succeeds"]
        assert recorded["succeeds"] or outcome == Refusal(recorded["reason"])


@pytest.mark.parametrize("at", range(LIQUIDATIONS))
def test_recorded_liquidations_are_predicted_at_the_block_that_they_land_in(at: int) -> None:
    recorded = load("aave-v2").liquidations[at]
    position, expected = read_before(recorded), recorded["expected"]
    outcome = call(position, recorded["call"], int(recorded["exec_block"]["timestamp"]))
    assert outcome == Seizure(int(expected["debtToCover"]), int(expected["liquidatedCollateralAmount"]))


def test_truth_is_what_the_adapter_reports() -> None:
    errors = 0
    for at in range(SAMPLES):
        position = read(at)
        plan = PROTOCOL.truth(position.state.facts, [position.owner], position.block)
        (truth,) = load("aave-v2").replay(plan, position.block)
        assert truth.reported == PROTOCOL.evaluate(position).reported
        errors += bool(truth.error)
    assert errors == 2, "accounts that the zero price belongs to"


def test_the_samples_hold_what_only_v2_has() -> None:
    """Stable debt in accounts, and boundaries where health turns the wrong way: a unit more, and it is unhealthy."""
    found = [read(at) for at in range(SAMPLES)]
    assert any(one.stable_principal for position in found for one in position.state.reserves)
    names = {sample["name"] for sample in load("aave-v2").samples if sample["expected"]["liquidatable"]}
    assert "price-boundary+1/LINK" in names


def test_facts_are_rechecked() -> None:
    position = read(0)
    facts, block = position.state.facts, position.block

    def recheck(known: Facts) -> bool:
        return run(PROTOCOL.recheck(known, block), answerer(block))

    assert recheck(facts) is True
    assert recheck(replace(facts, reserves=facts.reserves[1:])) is False
    assert recheck(replace(facts, oracle=facts.pool)) is False
    assert (facts.base, facts.base_decimals, facts.reserves[1].decimals) == ("ETH", 18, 6)


def test_explain_ends_with_the_verdict() -> None:
    for at in range(0, SAMPLES, 4):
        verdict = PROTOCOL.evaluate(read(at)).verdict
        last = PROTOCOL.explain(read(at))[-1]
        if isinstance(verdict, Known):
            assert last.value == f"{verdict.numerator} / {verdict.denominator}"


@pytest.mark.parametrize("at", range(50, 64))
def test_probes_agree_with_every_price_and_time_that_they_span(at: int) -> None:
    """Around the recorded boundaries, where flooring the average threshold makes health jump."""
    position = read(at)
    now_s = position.block.timestamp
    for key, price in position.prices.items():
        probe = PROTOCOL.unhealthy_between_prices(position, key)
        single = {one: probe(one, one) for one in range(max(price - 3, 1), price + 4)}
        assert None not in single.values()
        for one, said in single.items():
            health = PROTOCOL.evaluate(with_price(position, key, one))
            assert said is (isinstance(health.verdict, Known) and health.verdict.unhealthy)
        assert probe(min(single), max(single)) in (
            None,
            *(set(single.values()) if len(set(single.values())) == 1 else ()),
        )
        assert probe(price // 1000, price * 1000) in (None, single[price])
    times = PROTOCOL.unhealthy_between_times(position)
    assert times(now_s, now_s) is not None
    assert times(now_s, now_s + 86_400) in (None, times(now_s, now_s))


# -- made by hand ------------------------------------------------------------------------------------------------------

WETH, DAI = "0x" + "aa" * 20, "0x" + "bb" * 20
ACTIVE = 1 << 56 | 1 << 58
WORD = ACTIVE | 18 << 48 | 10_500 << 32 | 8_000 << 16 | 7_500


def reserve(asset: str, number: int, **changes: Any) -> Reserve:
    facts = ReserveFacts(number, asset, {WETH: "WETH", DAI: "DAI"}[asset], 18, asset)
    plain = Reserve(facts, WORD, RAY, RAY, 0, 0, 1_000_000, collateral=False, borrowing=False)
    return replace(plain, **changes)


def position(
    *, paused: bool = False, deposit: Mapping[str, Any] | None = None, debt: Mapping[str, Any] | None = None
) -> Position:
    """One WETH at 1 against 1,600 DAI at 0.0005: exactly at the threshold."""
    facts = Facts(
        MarketRef(1, "aave-v2", "0x" + "11" * 20),
        "0x" + "22" * 20,
        "0x" + "33" * 20,
        "ETH",
        18,
        (ReserveFacts(0, WETH, "WETH", 18, WETH), ReserveFacts(1, DAI, "DAI", 18, DAI)),
    )
    held = reserve(WETH, 0, collateral=True, scaled_a_token=WAD, **(deposit or {}))
    owed = reserve(DAI, 1, **{"borrowing": True, "scaled_variable_debt": 1600 * WAD, **(debt or {})})
    block = BlockRef(1, 100, "0x" + "01" * 32, "0x" + "00" * 32, 1_000_000)
    prices = {WETH: WAD, DAI: 5 * 10**14}
    return Position("p", "0x" + "ee" * 20, block, read(0).rule, prices, State(facts, paused, (held, owed), {}))


def test_health_turns_between_two_neighbouring_prices() -> None:
    for price, unhealthy in ((5 * 10**14 - 1, False), (5 * 10**14, False), (5 * 10**14 + 1, True)):
        health = PROTOCOL.evaluate(with_price(position(), DAI, price))
        assert isinstance(health.verdict, Known)
        assert health.verdict.unhealthy is unhealthy
        assert health.liquidatable is unhealthy


def test_debt_compounds_with_a_rate_that_is_floored_per_second() -> None:
    rate, year = 10**26, 365 * 86_400
    r = rate // year
    assert calculateCompoundedInterest(rate, 0) == RAY
    assert calculateCompoundedInterest(rate, 1) == RAY + r
    assert calculateCompoundedInterest(rate, year) != aave_v3.calculateCompoundedInterest(rate, year)
    start = position(debt={"variable_borrow_rate": rate})
    later = PROTOCOL.evaluate(start, at_s=start.block.timestamp + 1)
    assert PROTOCOL.evaluate(start).liquidatable is False
    assert later.liquidatable is True


def test_stable_debt_grows_at_the_accounts_own_rate_from_its_own_time() -> None:
    stable = {"scaled_variable_debt": 0, "stable_principal": 1600 * WAD, "stable_rate": 10**26}
    fresh = PROTOCOL.evaluate(position(debt={**stable, "stable_update_s": 1_000_000}))
    older = PROTOCOL.evaluate(position(debt={**stable, "stable_update_s": 999_000}))
    assert isinstance(fresh.verdict, Known)
    assert isinstance(older.verdict, Known)
    assert not fresh.verdict.unhealthy
    assert older.verdict.unhealthy
    assert older.liquidatable is True


def test_one_pause_stops_all_liquidations_and_not_health() -> None:
    low = with_price(position(paused=True), DAI, 10**15)
    health = PROTOCOL.evaluate(low)
    assert isinstance(health.verdict, Known)
    assert health.verdict.unhealthy
    assert health.liquidatable is False
    assert liquidation(low.state, low.prices, 1_000_000, WETH, DAI) == Refusal("64")


def test_a_frozen_reserve_is_liquidated_and_an_inactive_one_is_not() -> None:
    for word, liquidatable in ((WORD | 1 << 57, True), (WORD & ~(1 << 56), False)):
        low = with_price(position(deposit={"configuration": word}), DAI, 10**15)
        assert PROTOCOL.evaluate(low).liquidatable is liquidatable


def test_a_call_covers_half_of_the_debt_however_unhealthy_it_is() -> None:
    low = with_price(position(), DAI, 5 * 10**14 + 1)
    moved = liquidation(low.state, low.prices, 1_000_000, WETH, DAI)
    assert isinstance(moved, Seizure)
    assert moved.debt_to_cover == 800 * WAD
    dire = with_price(position(), DAI, 10**15)
    taken = liquidation(dire.state, dire.prices, 1_000_000, WETH, DAI)
    assert isinstance(taken, Seizure)
    assert taken.collateral == 84 * WAD // 100
    gone = with_price(position(), DAI, 10**16)
    rest = liquidation(gone.state, gone.prices, 1_000_000, WETH, DAI)
    assert isinstance(rest, Seizure)
    assert rest.collateral == WAD
    assert rest.debt_to_cover < 800 * WAD


def test_the_calls_own_codes() -> None:
    low = with_price(position(), DAI, 10**15)
    terms = low.state, low.prices, 1_000_000
    assert liquidation(*terms, DAI, DAI) == Refusal("43")
    assert liquidation(*terms, WETH, WETH) == Refusal("44")
    assert liquidation(*terms, WETH, DAI, receive_a_token=False, liquidity=1) == Refusal("45")
    assert liquidation(*terms, WETH, DAI, 0) == Refusal("23")
    fine = position()
    assert liquidation(fine.state, fine.prices, 1_000_000, WETH, DAI) == Refusal("42")
    none = with_price(position(deposit={"configuration": WORD & ~(0xFFFF << 16)}), DAI, 10**15)
    assert liquidation(none.state, none.prices, 1_000_000, WETH, DAI) == Refusal("43")
    assert PROTOCOL.evaluate(none).verdict == Known(0, WAD)


def test_interest_that_the_next_action_drops_is_told_and_can_stop_a_call() -> None:
    """While suppliers earn nothing the stored index stays, so that burning the view's debt may burn too much."""
    odd = {"variable_borrow_rate": 10**27, "liquidity_rate": 0, "scaled_variable_debt": WAD, "last_update_s": 1}
    mixed = position(debt={**odd, "stable_principal": 1600 * WAD, "stable_update_s": 1_000_000})
    low = with_price(mixed, DAI, 10**15)
    assert any("drops the interest" in note for note in PROTOCOL.evaluate(low).notes)
    assert liquidation(low.state, low.prices, 1_000_000, WETH, DAI) == Refusal("23")
    usual = replace(low.state, reserves=(low.state.reserves[0], replace(low.state.reserves[1], liquidity_rate=1)))
    assert isinstance(liquidation(usual, low.prices, 1_000_000, WETH, DAI), Seizure)


def test_a_price_that_reverts_is_unknown_for_a_debtor_and_no_matter_without_debt() -> None:
    start = position()
    silent = replace(start, prices={DAI: WAD}, state=replace(start.state, price_errors={WETH: "no source"}))
    health = PROTOCOL.evaluate(silent)
    assert isinstance(health.verdict, Unknown)
    assert health.liquidatable is False
    assert "no source" in health.gates[-1].detail
    supplier = replace(silent, state=replace(silent.state, reserves=silent.state.reserves[:1]))
    assert isinstance(PROTOCOL.evaluate(supplier).verdict, NoDebt)
    worthless = with_price(start, WETH, 0)
    assert PROTOCOL.evaluate(worthless).verdict == Known(0, WAD)
    assert PROTOCOL.evaluate(worthless).liquidatable is False, "the call divides by the price"


@pytest.mark.parametrize("price", [2**255, 2**250])
def test_overflow_is_unknown_and_not_liquidatable(price: int) -> None:
    health = PROTOCOL.evaluate(with_price(position(), DAI, price))
    assert isinstance(health.verdict, Unknown)
    assert health.liquidatable is False
    probe = PROTOCOL.unhealthy_between_prices(position(), DAI)
    assert probe(price, price) is False
    assert probe(1, price) is None


def test_legs_hold_the_debt_and_every_deposit() -> None:
    health = PROTOCOL.evaluate(position())
    assert [(leg.side, leg.symbol, leg.amount, leg.value) for leg in health.legs] == [
        (Side.COLLATERAL, "WETH", WAD, WAD),
        (Side.DEBT, "DAI", 1600 * WAD, 8 * 10**17),
    ]


def test_what_could_not_be_read_is_unreadable() -> None:
    start = position()
    data = ((WORD,), RAY, RAY, 0, 0, 0, 1_000_000, *(["0x" + f"{n}" * 40 for n in range(4, 8)]), 0)
    told = {"getReserveData": (data,), "getUserConfiguration": ((0b0110,),), "paused": (False,)}

    def answers(broken: str, word: int = 0b0110) -> Callable[[Sequence[Query]], list[Answer]]:
        def one(query: Query) -> Answer:
            assert isinstance(query, Call)
            name = query.function.partition(".")[2]
            if name == broken:
                return Unread("out of gas")
            return Ok(((word,),)) if name == "getUserConfiguration" else Ok(told.get(name, (1,)))

        return lambda queries: [one(query) for query in queries]

    names = ("paused", "getReserveData", "getUserConfiguration", "getAssetPrice", "scaledBalanceOf")
    for broken in (*names, "principalBalanceOf", "getUserStableRate", "getUserLastUpdated"):
        (found,) = run(PROTOCOL.state(start.state.facts, [start.owner], start.block), answers(broken))
        assert isinstance(found, Unreadable), broken
        assert "out of gas" in found.reason
    (whole,) = run(PROTOCOL.state(start.state.facts, [start.owner], start.block), answers(""))
    assert isinstance(whole, Position)
    assert [(one.collateral, one.borrowing) for one in whole.state.reserves] == [(True, False), (False, True)]
    (added,) = run(PROTOCOL.state(start.state.facts, [start.owner], start.block), answers("", 1 << 4))
    assert isinstance(added, Unreadable)
    assert "added" in added.reason


def test_a_market_in_dollars_says_so() -> None:
    def one(query: Query) -> Answer:
        assert isinstance(query, Call)
        told: dict[str, tuple[Any, ...]] = {
            "BASE_CURRENCY": (ZERO,),
            "BASE_CURRENCY_UNIT": (10**8,),
            "symbol": ("WETH",),
        }
        reserves = ((WORD,), 0, 0, 0, 0, 0, 0, ZERO, ZERO, ZERO, ZERO, 0)
        told |= {"getReservesList": ((WETH,),), "getReserveData": (reserves,)}
        return Ok(told.get(query.function.partition(".")[2], ("0x" + "55" * 20,)))

    market = MarketRef(43114, "aave-v2", "0x" + "11" * 20)
    facts = run(PROTOCOL.static(market, position().block), lambda queries: [one(query) for query in queries])
    assert (facts.base, facts.base_decimals) == ("USD", 8)
    assert PROTOCOL.symbols(facts) == {WETH: "WETH"}


def test_context_tells_ages() -> None:
    """The recordings hold no rounds; a source that tells nothing leaves the age unknown."""
    facts, block = read(0).state.facts, read(0).block
    with pytest.raises(CassetteMiss):
        load("aave-v2").replay(PROTOCOL.context(facts, block), block)

    def one(query: Query) -> Answer:
        name = query.function.partition(".")[2] if isinstance(query, Call) else ""
        if name == "getSourceOfAsset":
            return Ok(("0x" + "77" * 20,))
        return Ok((1, 2, 3, block.timestamp - 50, 1)) if name == "latestRoundData" else Reverted(b"", "")

    told = run(PROTOCOL.context(facts, block), lambda queries: [one(query) for query in queries])
    assert PROTOCOL.evaluate(read(3), told).input_age_s == 50
    silent = run(PROTOCOL.context(facts, block), lambda queries: [Reverted(b"", "") for _ in queries])
    assert PROTOCOL.evaluate(read(3), silent).input_age_s is None
    sources = run(PROTOCOL.price_sources(facts, [facts.reserves[0].asset], block), lambda queries: [one(queries[0])])
    assert sources == {facts.reserves[0].asset: "0x" + "77" * 20}
