"""Euler V2 against its recorded contracts: liquidity, checkLiquidation and its amounts; and by hand."""

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
    GateState,
    Known,
    MarketRef,
    NoDebt,
    Ok,
    Position,
    Query,
    Reverted,
    Rule,
    Side,
    Unknown,
    Unread,
    Unreadable,
)
from monitor.core.units import RAY, WAD
from monitor.oracles.chainlink import ZERO
from monitor.protocols.base import Found, with_price
from monitor.protocols.euler_v2 import PROTOCOL
from monitor.protocols.euler_v2.math import (
    OP_LIQUIDATE,
    PRICE_DIGITS,
    Collateral,
    Facts,
    Ltv,
    Quote,
    Refused,
    Seizure,
    State,
    Token,
    check_liquidation,
    debt,
    rpow,
)
from tests.protocols.cassette import block_of, load

SAMPLES, LIQUIDATIONS = 65, 3
UNRECORDED = ("symbol", "decimals")
"""Texts for people. The vault's EVC is not recorded as a call either, but named among the deployments."""


@cache
def facts_of(block: BlockRef, vault: str) -> Facts:
    cassette = load("euler-v2")

    def one(query: Query) -> Answer:
        assert isinstance(query, Call)
        name = query.function.partition(".")[2]
        if name in UNRECORDED:
            return Reverted(b"", "")
        if name == "EVC":
            return Ok((checksum(cassette.content["deployments"]["EVC"]),))
        return cassette.answerer(block)([query])[0]

    plan = PROTOCOL.static(MarketRef(31337, "euler-v2", checksum(vault)), block)
    return run(plan, lambda queries: [one(query) for query in queries])


@cache
def read(at: int) -> Position:
    sample = load("euler-v2").samples[at]
    block, owner = block_of(sample), checksum(sample["account"]["account"])
    facts = facts_of(block, sample["market"]["liabilityVault"])
    (found,) = load("euler-v2").replay(PROTOCOL.state(facts, [owner], block), block)
    assert isinstance(found, Position)
    return found


def check(position: Position, collateral: str, now_s: int) -> Seizure | str:
    try:
        return check_liquidation(position.state, position.prices, now_s, collateral)
    except Refused as refused:
        return refused.message


def test_no_recording_is_left_out() -> None:
    assert (len(load("euler-v2").samples), len(load("euler-v2").liquidations)) == (SAMPLES, LIQUIDATIONS)


@pytest.mark.parametrize("at", range(SAMPLES))
def test_recorded_samples_are_exact(at: int) -> None:
    expected, position = load("euler-v2").samples[at]["expected"], read(at)
    health, told = PROTOCOL.evaluate(position), expected["accountLiquidity(true)"]
    assert health.liquidatable is expected["liquidatable"]
    if "revert" in told:
        assert health.reported == {}
        assert isinstance(health.verdict, Unknown if position.state.owed else NoDebt)
    else:
        assert health.reported == {name: int(value) for name, value in told.items()}
        collateral, liability = health.reported.values()
        assert health.verdict == (Known(collateral, liability + 1) if liability else NoDebt())
    moved = False
    for collateral_, answer in expected["checkLiquidation"].items():
        outcome = check(position, checksum(collateral_), position.block.timestamp)
        if "revert" in answer:
            assert isinstance(outcome, str)
            assert {"Panic(17)": "panic 0x11"}.get(answer["reason"], answer["reason"]) in outcome
        else:
            wanted = Seizure(int(answer["maxRepay"]), int(answer["maxYield"]))
            assert outcome == wanted
            moved |= wanted.any
    assert moved is expected["checkLiquidation_nonzero"]


@pytest.mark.parametrize("at", range(SAMPLES))
def test_truth_is_what_the_adapter_reports(at: int) -> None:
    position = read(at)
    plan = PROTOCOL.truth(position.state.facts, [position.owner], position.block)
    (truth,) = load("euler-v2").replay(plan, position.block)
    assert truth.reported == PROTOCOL.evaluate(position).reported


def test_facts_are_rechecked() -> None:
    position = read(0)
    facts, block = position.state.facts, position.block

    def recheck(known: Facts) -> bool:
        return load("euler-v2").replay(PROTOCOL.recheck(known, block), block)

    assert recheck(facts) is True
    assert recheck(replace(facts, collaterals=facts.collaterals[1:])) is False
    assert recheck(replace(facts, oracle=facts.evc)) is False
    assert (facts.unit_symbol, facts.unit_decimals) == ("USD", 18)


def test_explain_ends_with_the_verdict() -> None:
    for at in range(0, SAMPLES, 4):
        verdict = PROTOCOL.evaluate(read(at)).verdict
        last = PROTOCOL.explain(read(at))[-1]
        if isinstance(verdict, Known):
            assert last.value == f"{verdict.numerator} / {verdict.denominator}"


def test_a_debt_read_before_bounds_what_it_is_later() -> None:
    """The recorded liquidations landed after their block: never less than they took over, and at most a unit more."""
    for recorded in load("euler-v2").liquidations:
        account, vaults = recorded["account"], recorded["market"]["vaults"]
        rate = int(vaults[recorded["market"]["liabilityVault"]]["interestRate"])
        start = replace(
            position().state,
            owed=int(account["debtOfExact"]),
            interest_rate=rate,
            read_s=int(recorded["block"]["timestamp"]),
        )
        assert debt(start, start.read_s) == int(account["debtOf"])
        events = recorded["expected"]["events"]
        (repaid,) = [int(event["assets"]) for event in events if event["event"] == "Repay"]
        assert debt(start, int(recorded["exec_block"]["timestamp"])) - repaid in (0, 1)


# -- made by hand ------------------------------------------------------------------------------------------------------

VAULT, WETH = Token("0x" + "aa" * 20, "eWETH", 18), Token("0x" + "cc" * 20, "eWBTC", 8)
USDC = Token("0x" + "bb" * 20, "USDC", 6)


def position(
    *, owed: int = 1000 * 10**6 << 31, value: int = 1250 * WAD, ltv: Ltv | None = None, **changes: Any
) -> Position:
    """One share worth 1,250 at 80 % against 1,000: exactly equal, and so liquidatable."""
    facts = Facts(
        MarketRef(1, "euler-v2", "0x" + "11" * 20),
        "0x" + "22" * 20,
        USDC,
        "0x" + "33" * 20,
        "0x" + "00" * 18 + "0348",
        "USD",
        18,
        (VAULT, WETH),
    )
    held = Collateral(ltv or Ltv(7500, 8000, 0, 1, 0), Quote(VAULT, WAD, value))
    due = -(-owed >> 31)
    state = State(facts, 1_000_000, True, owed, 0, (held,), Quote(USDC, due, due * 10**12), 1500, 0, 0, ZERO, 0)
    block = BlockRef(1, 100, "0x" + "01" * 32, "0x" + "00" * 32, 1_000_000)
    state = replace(state, **changes)
    prices = {VAULT.address: held.quote.price, USDC.address: state.debt_quote.price}
    return Position("p", "0x" + "ee" * 20, block, Rule("euler-v2", "evk-5b98b42"), prices, state)


def test_equality_is_liquidatable_and_one_unit_of_price_above_it_is_not() -> None:
    start = position()
    turn = start.prices[VAULT.address]
    assert turn == 1250 * 10 ** (18 + PRICE_DIGITS)
    for price, unhealthy in ((turn - 1, True), (turn, True), (turn + 10 ** (PRICE_DIGITS + 1), False)):
        health = PROTOCOL.evaluate(with_price(start, VAULT.address, price))
        assert isinstance(health.verdict, Known)
        assert health.verdict.unhealthy is unhealthy
        assert health.liquidatable is unhealthy
    assert PROTOCOL.evaluate(start).verdict == Known(1000 * WAD, 1000 * WAD + 1)


def test_an_ltv_that_ramps_down_turns_health_at_constant_prices() -> None:
    ramp = Ltv(7000, 7000, 9000, 1_000_100, 100)
    assert [ramp.at(now_s) for now_s in (1_000_000, 1_000_001, 1_000_050, 1_000_099, 1_000_100, 2_000_000)] == [
        9000,
        8980,
        8000,
        7020,
        7000,
        7000,
    ]
    assert Ltv(7000, 9000, 7000, 1_000_100, 100).at(1_000_000) == 9000, "it only ramps down"
    start = position(ltv=ramp)
    assert PROTOCOL.evaluate(start).liquidatable is False
    assert PROTOCOL.evaluate(start, at_s=1_000_049).liquidatable is False
    assert PROTOCOL.evaluate(start, at_s=1_000_050).liquidatable is True
    assert "falls from 9000 to 7000" in PROTOCOL.evaluate(start).notes[0]


def test_interest_makes_the_debt_grow_and_never_less_than_the_vaults() -> None:
    rate = 10**18
    start = position(value=1251 * WAD, interest_rate=rate)
    assert debt(start.state, 1_000_000) == 1000 * 10**6
    later = debt(start.state, 1_000_000 + 86_400)
    exact = (start.state.owed * rpow(RAY + rate, 86_400, RAY) // RAY + (1 << 31) - 1) >> 31
    assert later - exact in (0, 1)
    assert PROTOCOL.evaluate(start).liquidatable is False
    assert PROTOCOL.evaluate(start, at_s=1_000_000 + 10**7).liquidatable is True
    assert rpow(2 * RAY, 10, RAY) == 1024 * RAY
    with pytest.raises(Refused):
        rpow(2 * RAY, 10**6, RAY)


def test_a_debt_is_rounded_up_to_the_next_unit() -> None:
    assert [debt(position(owed=owed).state, 1_000_000) for owed in (0, 1, 1 << 31, (1 << 31) + 1)] == [0, 1, 1, 2]


def test_cool_off_and_hooks_stop_liquidations_and_not_health() -> None:
    for changes, gate, state in (
        ({"cool_off_s": 10, "checked_s": 999_991}, "cool-off", GateState.SHUT),
        ({"hooked_ops": OP_LIQUIDATE}, "liquidate", GateState.SHUT),
        ({"hooked_ops": OP_LIQUIDATE, "hook_target": WETH.address}, "liquidate", GateState.UNKNOWN),
    ):
        health = PROTOCOL.evaluate(position(**changes))
        assert isinstance(health.verdict, Known)
        assert health.verdict.unhealthy
        assert health.liquidatable is (None if state is GateState.UNKNOWN else False)
        assert [one.name for one in health.gates if one.state is state] == [gate]
    assert PROTOCOL.evaluate(position(cool_off_s=10, checked_s=999_990)).liquidatable is True


def test_amounts_follow_the_discount_and_the_balance() -> None:
    start = position(value=1200 * WAD)
    # 960 of 1,000: a factor of 0.96
    assert check(start, VAULT.address, 1_000_000) == Seizure(1000 * 10**6, WAD * 1000 * 100 // 96 // 1200)
    deep = position(value=500 * WAD)
    # factor held at 0.85 by the maximum discount; all shares for 425
    assert check(deep, VAULT.address, 1_000_000) == Seizure(425 * 10**6, WAD)
    worthless = position(value=0)
    assert check(worthless, VAULT.address, 1_000_000) == Seizure(0, WAD)
    assert PROTOCOL.evaluate(worthless).liquidatable is True
    assert check(start, WETH.address, 1_000_000) == "E_CollateralDisabled()"
    assert check(start, USDC.address, 1_000_000) == "E_BadCollateral()"
    away = position(controlled=False)
    assert check(away, VAULT.address, 1_000_000) == "E_NoLiability()"


def test_a_collateral_whose_ltv_is_zero_counts_nothing_and_can_be_seized() -> None:
    start = position(ltv=Ltv(0, 0, 0, 1, 0))
    health = PROTOCOL.evaluate(start)
    assert health.verdict == Known(0, 1000 * WAD + 1)
    assert health.liquidatable is True
    assert [leg.enabled for leg in health.legs if leg.side is Side.COLLATERAL] == [False]


def test_an_oracle_that_reverts_is_unknown_and_no_matter_without_debt() -> None:
    start = position()
    silent = replace(start.state.collaterals[0], quote=Quote(VAULT, WAD, 0, "getQuote(eWETH): TooStale"))
    for owed, verdict in ((start.state.owed, Unknown), (0, NoDebt)):
        found = replace(start, state=replace(start.state, collaterals=(silent,), owed=owed), prices={})
        health = PROTOCOL.evaluate(found)
        assert isinstance(health.verdict, verdict)
        assert health.liquidatable is False
        assert "TooStale" in health.gates[-1].detail
    nobody = position()
    none = replace(nobody.state, facts=replace(nobody.state.facts, oracle=ZERO))
    assert isinstance(PROTOCOL.evaluate(replace(nobody, state=none)).verdict, Unknown)


def test_a_quote_is_exact_at_its_own_price_however_small_and_in_proportion_elsewhere() -> None:
    for quote in (Quote(VAULT, 3, 7), Quote(USDC, 10**40, 1), Quote(WETH, 12345678, 98765432109876543)):
        assert quote.at(quote.price, quote.amount) == quote.value
        assert quote.at(quote.price, quote.amount, up=True) == quote.value
        assert quote.at(2 * quote.price, quote.amount) == 2 * quote.value
        assert quote.at(quote.price, 2 * quote.amount) == 2 * quote.value
    assert Quote(USDC, 3, 10).at(Quote(USDC, 3, 10).price, 1, up=True) == 4
    assert Quote(VAULT, WAD, 0).at(10 ** (18 + PRICE_DIGITS), WAD) == WAD, "from nothing to one"


def test_a_debt_that_the_oracle_rounds_to_nothing_cannot_be_liquidated() -> None:
    dust = position(owed=1, debt_quote=Quote(USDC, 1, 0))
    health = PROTOCOL.evaluate(dust)
    assert isinstance(health.verdict, NoDebt)
    assert health.liquidatable is False
    assert "worth less" in health.notes[0]


def test_a_debt_in_the_unit_of_account_needs_no_quote() -> None:
    start = position()
    facts = replace(start.state.facts, unit=USDC.address, unit_symbol="USDC", unit_decimals=6)
    state = replace(start.state, facts=facts, debt_quote=Quote(USDC, 1000 * 10**6, 0))
    found = PROTOCOL.evaluate(replace(start, state=state, prices={VAULT.address: start.prices[VAULT.address]}))
    assert found.debt == 1000 * 10**6


@pytest.mark.parametrize("price", [2**300, 2**330], ids=["300", "330"])
def test_overflow_is_unknown_and_not_liquidatable(price: int) -> None:
    health = PROTOCOL.evaluate(with_price(position(), VAULT.address, price))
    assert isinstance(health.verdict, Unknown)
    assert health.liquidatable is False


def test_legs_hold_the_debt_and_every_collateral() -> None:
    health = PROTOCOL.evaluate(position())
    assert [(leg.side, leg.symbol, leg.amount, leg.value) for leg in health.legs] == [
        (Side.COLLATERAL, "eWETH", WAD, 1250 * WAD),
        (Side.DEBT, "USDC", 1000 * 10**6, 1000 * WAD),
    ]
    assert (health.collateral, health.debt) == (1250 * WAD, 1000 * WAD)


def test_what_could_not_be_read_is_unreadable() -> None:
    start = position()
    facts = start.state.facts
    told: Mapping[str, tuple[Any, ...]] = {
        "getControllers": ((facts.market.address,),),
        "getCollaterals": ((USDC.address, VAULT.address),),
        "hookConfig": (ZERO, 0),
        "LTVFull": (7500, 8000, 0, 1, 0),
    }

    def answers(broken: str) -> Callable[[Sequence[Query]], list[Answer]]:
        def one(query: Query) -> Answer:
            assert isinstance(query, Call)
            name = query.function.partition(".")[2]
            return Unread("out of gas") if name == broken else Ok(told.get(name, (7,)))

        return lambda queries: [one(query) for query in queries]

    names = (*told, "debtOfExact", "balanceOf", "getQuote", "interestRate", "maxLiquidationDiscount")
    for broken in (*names, "liquidationCoolOffTime", "getLastAccountStatusCheckTimestamp"):
        (found,) = run(PROTOCOL.state(facts, [start.owner], start.block), answers(broken))
        assert isinstance(found, Unreadable), broken
        assert "out of gas" in found.reason
    (whole,) = run(PROTOCOL.state(facts, [start.owner], start.block), answers(""))
    assert isinstance(whole, Position)
    assert [one.token.symbol for one in whole.state.collaterals] == ["eWETH"], (
        "what the vault does not know is no matter"
    )
    assert whole.state.controlled


def test_sub_accounts_are_found_by_who_controls_them() -> None:
    start = position()
    facts, owner = start.state.facts, checksum("0x" + "ee" * 19 + "05")
    sub = checksum("0x" + "ee" * 19 + "02")  # number 7: by exclusive or

    def answers(controllers: Mapping[str, str], broken: str = "") -> Callable[[Sequence[Query]], list[Answer]]:
        def one(query: Query) -> Answer:
            assert isinstance(query, Call)
            assert (query.to, query.function) == (facts.evc, "euler_v2.getControllers")
            (who,) = query.args
            return Unread("out of gas") if who == broken else Ok(((controllers[who],) if who in controllers else (),))

        return lambda queries: [one(query) for query in queries]

    def found(controllers: Mapping[str, str], broken: str = "") -> list[Found | Unreadable]:
        return run(PROTOCOL.find_positions(facts, owner, start.block), answers(controllers, broken))

    mine = facts.market.address
    assert found({sub: mine}) == [Found(facts.market, sub, "sub-account 7")]
    assert found({owner: mine, sub: mine}) == [Found(facts.market, owner), Found(facts.market, sub, "sub-account 7")]
    assert found({}) == [Found(facts.market, owner)]
    assert found({sub: WETH.address}) == [Found(facts.market, owner)], "controlled by another vault"
    (lost,) = found({}, broken=sub)
    assert isinstance(lost, Unreadable)
    assert "1 of 256" in lost.reason
    assert len(found({owner: mine}, broken=sub)) == 2


def test_symbols_and_a_unit_that_is_a_token_are_told() -> None:
    weth = "0x" + "dd" * 20
    told: Mapping[str, tuple[Any, ...]] = {
        "EVC": (ZERO,),
        "oracle": (ZERO,),
        "asset": (USDC.address,),
        "unitOfAccount": (weth,),
        "LTVList": ((VAULT.address,),),
        "symbol": ("WETH",),
        "decimals": (18,),
    }

    def one(query: Query) -> Answer:
        assert isinstance(query, Call)
        file, _, name = query.function.partition(".")
        return Reverted(b"", "") if file == "erc20_bytes32" else Ok(told[name])

    market = position().state.facts.market
    facts = run(PROTOCOL.static(market, position().block), lambda queries: [one(query) for query in queries])
    assert (facts.unit_symbol, facts.unit_decimals, facts.collaterals) == (
        "WETH",
        18,
        (Token(VAULT.address, "WETH", 18),),
    )
    assert PROTOCOL.symbols(facts)[USDC.address] == "WETH"
