"""Morpho Blue against its recorded contracts: accrual, health, liquidations and their amounts, to the wei."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from monitor.core.errors import ProtocolError
from monitor.core.plan import run
from monitor.core.types import BlockRef, Known, MarketRef, NoDebt, Ok, Position, Unknown, Unread, Unreadable
from monitor.core.units import WAD
from monitor.protocols.morpho_blue import PROTOCOL
from monitor.protocols.morpho_blue.irm import WEXP_UPPER_VALUE, adaptive_rate, w_exp
from monitor.protocols.morpho_blue.math import Facts, Overflows, State, Token, Totals, accrue, liquidate
from tests.protocols.cassette import Cassette, block_of, load

CASSETTE = load("morpho-blue")
SAMPLES = CASSETTE.samples


def facts_of(cassette: Cassette, market: Mapping[str, Any]) -> Facts:
    deployed = cassette.content["deployments"]
    symbols = {address: name.removeprefix("token.") for name, address in deployed.items() if name.startswith("token.")}
    params = market["idToMarketParams"]
    loan, collateral = params["loanToken"], params["collateralToken"]
    return Facts(
        MarketRef(31337, "morpho-blue", deployed["Morpho"], market["id"]),
        Token(loan, symbols[loan], 18),
        Token(collateral, symbols[collateral], 18),
        params["oracle"],
        params["irm"],
        int(params["lltv"]),
        market["irmKind"] == "AdaptiveCurveIrm",
    )


def read(sample: Mapping[str, Any]) -> Position:
    block = block_of(sample)
    plan = PROTOCOL.state(facts_of(CASSETTE, sample["market"]), [sample["account"]["owner"]], block)
    (position,) = CASSETTE.replay(plan, block)
    assert isinstance(position, Position)
    return position


def totals_of(recorded: Mapping[str, str]) -> Totals:
    return Totals(*(int(value) for value in recorded.values()))


@pytest.mark.parametrize("sample", SAMPLES, ids=[f"{n}-{s['name']}" for n, s in enumerate(SAMPLES)])
def test_recorded_samples_are_exact(sample: dict[str, Any]) -> None:
    position, expected = read(sample), sample["expected"]
    state: State = position.state
    accrued = accrue(state.totals, state.borrow_rate, position.block.timestamp)
    assert accrued == totals_of(expected["market_after_accrueInterest"])
    health = PROTOCOL.evaluate(position)
    assert health.liquidatable is expected["liquidatable"]
    # the rate model is recomputed too, so that later times are exact and not this block's rate carried on
    assert (state.rate_at_target is not None) == (sample["market"]["irmKind"] == "AdaptiveCurveIrm")
    reason = expected["liquidate_probe"][0].get("reason")
    if reason == "position is healthy":
        assert isinstance(health.verdict, NoDebt) or not (
            isinstance(health.verdict, Known) and health.verdict.unhealthy
        )
    elif reason is not None and state.borrow_shares:
        assert isinstance(health.verdict, Unknown), "a position that cannot be judged is never healthy"


@pytest.mark.parametrize("name", ["liquidate_all_shares", "liquidate_all_collateral"])
def test_recorded_full_liquidations_have_their_amounts(name: str) -> None:
    seen = {True: 0, False: 0}
    for sample in SAMPLES:
        if name not in sample["expected"]:
            continue
        position, recorded = read(sample), sample["expected"][name]
        state: State = position.state
        amounts = (state.collateral, 0) if name.endswith("collateral") else (0, state.borrow_shares)
        succeeds = recorded.get("succeeds", True)
        seen[succeeds] += 1
        verdict = PROTOCOL.evaluate(position).verdict
        if not (isinstance(verdict, Known) and verdict.unhealthy):
            assert not succeeds
            continue
        price = position.prices[state.facts.collateral.address]
        totals = accrue(state.totals, state.borrow_rate, position.block.timestamp)
        if succeeds:
            moved = liquidate(state, totals, price, *amounts)
            assert [str(moved.seized), str(moved.repaid_assets)] == [recorded["0"], recorded["1"]]
        else:
            with pytest.raises(Overflows):
                liquidate(state, totals, price, *amounts)
    assert min(seen.values()) >= 10


@pytest.mark.parametrize(
    "recorded",
    [r for r in CASSETTE.liquidations if r["call"]["fn"] == "liquidate"],
    ids=lambda r: str(r["name"]),
)
def test_recorded_liquidations_are_predicted_at_the_block_that_they_land_in(recorded: dict[str, Any]) -> None:
    facts, market, account = facts_of(CASSETTE, recorded["market"]), recorded["market"], recorded["account"]
    rate_at_target = int(market["irm.rateAtTarget"]) if facts.adaptive else None
    supply_shares, borrow_shares, collateral = (int(value) for value in account["position"].values())
    totals, rate = totals_of(market["market"]), int(market.get("irm.borrowRateView", 0))
    state = State(facts, totals, supply_shares, borrow_shares, collateral, rate, rate_at_target)
    lands_s = int(recorded["exec_block"]["timestamp"])
    rate = rate if rate_at_target is None else adaptive_rate(totals, rate_at_target, lands_s)
    totals = accrue(totals, rate, lands_s)
    call = recorded["call"]
    moved = liquidate(state, totals, int(market["oracle.price"]), int(call["seizedAssets"]), int(call["repaidShares"]))
    (event,) = (e for e in recorded["expected"]["events"] if e["event"] == "Liquidate")
    names = ("repaidAssets", "repaidShares", "seizedAssets", "badDebtAssets", "badDebtShares")
    assert moved == type(moved)(*(int(event[name]) for name in names))


def position(*, collateral: int = 10**18, shares: int = 10**24, price: int = 2 * 10**36, rate: int = 0) -> Position:
    """One whole token of each kind has 18 decimals; a million shares are one asset."""
    market = MarketRef(1, "morpho-blue", "0x" + "11" * 20, "0x" + "22" * 32)
    a, b = "0x" + "aa" * 20, "0x" + "bb" * 20
    facts = Facts(
        market, Token(a, "LOAN", 18), Token(b, "COLL", 18), "0x" + "cc" * 20, "0x" + "dd" * 20, 86 * WAD // 100, False
    )
    block = BlockRef(1, 100, "0x" + "01" * 32, "0x" + "00" * 32, 1_000_000)
    totals = Totals(10**19, 10**25, 5 * 10**18, 5 * 10**24, 1_000_000, 0)
    state = State(facts, totals, 0, shares, collateral, rate, None)
    return Position("p", "0x" + "ee" * 20, block, PROTOCOL_RULE, {b: price}, state)


PROTOCOL_RULE = read(SAMPLES[0]).rule


def test_health_turns_between_two_neighbouring_prices() -> None:
    start = position()
    state: State = start.state
    borrowed = PROTOCOL.evaluate(start).debt
    # p* = ceil(ceil(borrowed * 1e18 / lltv) * 1e36 / collateral): healthy from there up
    least = -(-borrowed * WAD // state.facts.lltv)
    turn = -(-least * 10**36 // state.collateral)
    (key,) = start.prices
    for price, unhealthy in ((turn - 1, True), (turn, False), (turn + 1, False)):
        verdict = PROTOCOL.evaluate(replace(start, prices={key: price})).verdict
        assert isinstance(verdict, Known)
        assert verdict.unhealthy is unhealthy


def test_interest_alone_makes_a_position_unhealthy_later() -> None:
    start = position(collateral=6 * 10**17, rate=10**10)
    later = PROTOCOL.evaluate(start, at_s=start.block.timestamp + 365 * 86_400)
    now = PROTOCOL.evaluate(start)
    assert later.debt > now.debt
    assert now.liquidatable is False
    assert later.liquidatable is True
    assert later.notes
    assert not now.notes


def test_price_zero_leaves_any_debt_liquidatable() -> None:
    start = position(price=0)
    health = PROTOCOL.evaluate(start)
    assert health.verdict == Known(0, health.debt)
    assert health.liquidatable is True


def test_overflow_is_unknown_and_not_liquidatable() -> None:
    health = PROTOCOL.evaluate(position(price=2**250))
    assert isinstance(health.verdict, Unknown)
    assert health.liquidatable is False


@pytest.mark.parametrize("identity", [None, "0x12", "zz" * 32])
def test_a_market_without_its_id_is_refused(identity: str | None) -> None:
    market = MarketRef(1, "morpho-blue", "0x" + "11" * 20, identity)
    with pytest.raises(ProtocolError, match="32-byte id"):
        run(PROTOCOL.static(market, position().block), lambda _: [])


def test_an_unread_oracle_makes_the_position_unreadable() -> None:
    start = position()
    facts = start.state.facts

    def answer(queries: Any) -> list[Any]:
        return [
            Unread("out of gas")
            if query.function.endswith(".price")
            else Ok((10**19, 10**25, 0, 0, 1_000_000, 0))
            if query.function.endswith(".market")
            else Ok((0, 5, 5))
            if query.function.endswith(".position")
            else Ok((0,))
            for query in queries
        ]

    (unreadable,) = run(PROTOCOL.state(facts, [start.owner], start.block), answer)
    assert isinstance(unreadable, Unreadable)
    assert "out of gas" in unreadable.reason


def test_w_exp_bounds() -> None:
    assert w_exp(-41_446_531_673_892_822_313) == 0
    assert w_exp(93_859_467_695_000_404_319) == WEXP_UPPER_VALUE
    assert w_exp(0) == WAD
    # 2**k exactly at multiples of ln 2
    assert w_exp(693_147_180_559_945_309) == 2 * WAD


def test_explain_ends_with_the_verdict() -> None:
    for sample in SAMPLES[:40]:
        found = read(sample)
        verdict = PROTOCOL.evaluate(found).verdict
        last = PROTOCOL.explain(found)[-1]
        if isinstance(verdict, Known):
            assert last.value == f"{verdict.numerator} / {verdict.denominator}"
