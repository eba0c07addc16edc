"""Compound V3 against its recorded contracts: parameters, balances, verdicts, absorptions and their amounts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
from monitor.protocols.compound_v3 import PROTOCOL, Context
from monitor.protocols.compound_v3.math import (
    Asset,
    Facts,
    Overflows,
    Rates,
    State,
    Totals,
    absorb,
    accrued,
    debt_of,
    in_asset,
    utilization,
)
from tests.protocols.cassette import Cassette, CassetteMiss, block_of, load

CASSETTE = load("compound-v3")
SAMPLES = CASSETTE.samples
IDS = [f"{n}-{sample['name']}" for n, sample in enumerate(SAMPLES)]
UNRECORDED = (".symbol", ".description")
"""Texts for people, which the recordings do not hold."""


def without_texts(cassette: Cassette, block: BlockRef) -> Callable[[Sequence[Query]], list[Answer]]:
    answer = cassette.answerer(block)

    def answers(queries: Sequence[Query]) -> list[Answer]:
        return [
            Reverted(b"", "") if isinstance(query, Call) and query.function.endswith(UNRECORDED) else answer([query])[0]
            for query in queries
        ]

    return answers


def facts_of(recorded: Mapping[str, Any], block: BlockRef) -> Facts:
    """Read through the adapter."""
    market = MarketRef(31337, "compound-v3", checksum(recorded["comet"]))
    return run(PROTOCOL.static(market, block), without_texts(CASSETTE, block))


def read(sample: Mapping[str, Any]) -> Position:
    block = block_of(sample)
    facts = facts_of(sample, block)
    (found,) = CASSETTE.replay(PROTOCOL.state(facts, [checksum(sample["account"]["address"])], block), block)
    assert isinstance(found, Position)
    return found


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_recorded_samples_are_exact(sample: dict[str, Any]) -> None:
    position, expected = read(sample), sample["expected"]
    health = PROTOCOL.evaluate(position)
    for name in ("balanceOf", "borrowBalanceOf", "isLiquidatable", "isBorrowCollateralized"):
        told = expected[name]
        if isinstance(told, dict):
            assert name not in health.reported, "what the contract reverts on is not made up"
            assert isinstance(health.verdict, Unknown)
        else:
            assert health.reported[name] == int(told)
    assert health.liquidatable is expected["absorb"]["succeeds"]
    reason = expected["absorb"].get("reason")
    shut = {gate.name for gate in health.gates if gate.state == "shut"}
    assert shut == {"BadPrice()": {"price"}, "Paused()": {"absorb"}}.get(reason, set())
    if reason == "NotLiquidatable()":
        assert not isinstance(health.verdict, Known) or not health.verdict.unhealthy


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_truth_is_what_the_adapter_reports(sample: dict[str, Any]) -> None:
    position, block = read(sample), block_of(sample)
    (truth,) = CASSETTE.replay(PROTOCOL.truth(position.state.facts, [position.owner], block), block)
    if truth.error:
        assert isinstance(PROTOCOL.evaluate(position).verdict, Unknown)
    else:
        assert truth.reported == PROTOCOL.evaluate(position).reported


def test_the_samples_hold_every_kind_of_answer() -> None:
    """Also the stale getter: it says no while absorb succeeds, and the other way round never."""
    kinds = Counter(str(s["expected"]["absorb"].get("reason", True)) for s in SAMPLES)
    assert min(kinds[kind] for kind in ("True", "NotLiquidatable()", "BadPrice()", "Paused()")) >= 2
    stale = [s for s in SAMPLES if s["expected"]["isLiquidatable"] is False and s["expected"]["absorb"]["succeeds"]]
    assert stale
    assert all(PROTOCOL.evaluate(read(sample)).liquidatable for sample in stale)


def test_facts_are_rechecked() -> None:
    sample = SAMPLES[0]
    block = block_of(sample)
    facts = facts_of(sample, block)

    def recheck(known: Facts) -> bool:
        return run(PROTOCOL.recheck(known, block), CASSETTE.answerer(block))

    assert recheck(facts) is True
    dearer = replace(facts.assets[0], liquidate_factor=facts.assets[0].liquidate_factor + 1)
    assert recheck(replace(facts, assets=(dearer, *facts.assets[1:]))) is False
    assert recheck(replace(facts, base_feed=facts.assets[0].feed)) is False
    assert recheck(replace(facts, borrow_rates=replace(facts.borrow_rates, base=1))) is False


@pytest.mark.parametrize(
    "recorded", CASSETTE.liquidations, ids=[f"{n}-{one['name']}" for n, one in enumerate(CASSETTE.liquidations)]
)
def test_recorded_absorptions_are_predicted_at_the_block_that_they_land_in(recorded: dict[str, Any]) -> None:
    state, prices = state_of(recorded)
    lands_s = int(recorded["exec_block"]["timestamp"])
    position = Position("p", "o", block_of(recorded), read(SAMPLES[0]).rule, prices, state)
    expected = recorded["expected"]
    assert PROTOCOL.evaluate(position, at_s=lands_s).liquidatable is expected["succeeds"]
    if not expected["succeeds"]:
        return
    moved = absorb(state, prices, accrued(state.facts, state.totals, lands_s))
    events = expected["events"]
    assert [(asset.address.lower(), str(balance), str(value)) for asset, balance, value in moved.seized] == [
        (event["asset"].lower(), event["collateralAbsorbed"], event["usdValue"])
        for event in events
        if event["event"] == "AbsorbCollateral"
    ]
    (debt,) = (event for event in events if event["event"] == "AbsorbDebt")
    assert str(moved.base_paid_out) == debt["basePaidOut"]
    minted = [event["amount"] for event in events if event["event"] == "Transfer" and int(event["from"], 16) == 0]
    assert bool(minted) is (moved.new_balance > 0)
    # the supply that stays is told after its own rounding to a principal: never more, and at most a unit less
    assert all(0 <= moved.new_balance - int(amount) <= 1 for amount in minted)


def state_of(recorded: Mapping[str, Any]) -> tuple[State, dict[str, int]]:
    """State as a record's own `market` and `account` tell it."""
    market, account = recorded["market"], recorded["account"]
    assets = tuple(
        Asset(int(info["offset"]), info["asset"], f"asset{n}", info["priceFeed"], *map(int, list(info.values())[3:]))
        for n, info in enumerate(market["getAssetInfo"])
    )
    names = ("Kink", "PerSecondInterestRateSlopeLow", "PerSecondInterestRateSlopeHigh", "PerSecondInterestRateBase")
    curves = {side: Rates(*(int(market[f"{side}{name}"]) for name in names)) for side in ("supply", "borrow")}
    facts = Facts(
        MarketRef(31337, "compound-v3", recorded["comet"]),
        market["baseToken"],
        "BASE",
        market["baseTokenPriceFeed"],
        int(market["baseScale"]),
        int(market["baseBorrowMin"]),
        "USD",
        curves["supply"],
        curves["borrow"],
        assets,
    )
    numbers = [int(value) for value in market["totalsBasic"].values()]
    basic = account["userBasic"]
    held = tuple(
        (asset, int(account["userCollateral"][asset.address]))
        for asset in assets
        if in_asset(asset.number, int(basic["assetsIn"]), int(basic["_reserved"]))
    )
    prices = {asset.address: int(market["getPrice"][asset.feed]) for asset in assets}
    prices[facts.base] = int(market["getPrice"][facts.base_feed])
    return State(facts, Totals(*numbers[:2], *numbers[4:]), int(basic["principal"]), held, {}), prices


# -- made by hand ------------------------------------------------------------------------------------------------------


def position(
    *, principal: int = -1000 * 10**6, collateral: int = 10**18, price: int = 2000 * 10**8, second: bool = False
) -> Position:
    """1,000 of a dollar with 6 decimals owed against one whole token at 80 %."""
    market = MarketRef(1, "compound-v3", "0x" + "11" * 20)
    first = Asset(0, "0x" + "aa" * 20, "WETH", "0x" + "a1" * 20, 10**18, 7 * 10**17, 8 * 10**17, 9 * 10**17, 10**30)
    other = replace(first, number=1, address="0x" + "cc" * 20, symbol="LINK", feed="0x" + "c1" * 20)
    rates = Rates(8 * 10**17, 10**9, 10**10, 10**8)
    base = "0x" + "bb" * 20
    assets = (first, other)
    facts = Facts(market, base, "USDC", "0x" + "b1" * 20, 10**6, 0, "USD", rates, rates, assets)
    totals = Totals(10**15, 10**15, 10**13, 5 * 10**12, 1_000_000, 0)
    held = ((first, collateral), *(((other, 10**18),) if second else ()))
    state = State(facts, totals, principal, held, {other.address: "BadPrice()"})
    block = BlockRef(1, 100, "0x" + "01" * 32, "0x" + "00" * 32, 1_000_000)
    rule = read(SAMPLES[0]).rule
    return Position("p", "0x" + "ee" * 20, block, rule, {first.address: price, base: 10**8}, state)


def test_health_turns_between_two_neighbouring_prices() -> None:
    turn = 1250 * 10**8
    for price, unhealthy in ((turn - 1, True), (turn, False), (turn + 1, False)):
        health = PROTOCOL.evaluate(position(price=price))
        assert isinstance(health.verdict, Known)
        assert health.verdict.unhealthy is unhealthy
        assert health.liquidatable is unhealthy


def test_interest_that_nobody_has_accrued_counts() -> None:
    start = position(price=1250 * 10**8)
    later = PROTOCOL.evaluate(start, at_s=start.block.timestamp + 86_400)
    assert PROTOCOL.evaluate(start).liquidatable is False
    assert later.liquidatable is True
    assert later.reported["isLiquidatable"] == 0, "the getter looks at the indexes of the last accrual"


def test_a_failing_feed_behind_enough_collateral_is_unknown_and_not_liquidatable() -> None:
    """As the contract: it stops before that asset. What the position is worth is still not known."""
    enough, too_little = position(second=True), position(second=True, price=1000 * 10**8)
    for found in (enough, too_little):
        health = PROTOCOL.evaluate(found)
        assert isinstance(health.verdict, Unknown)
        assert health.liquidatable is False
    assert [gate.name for gate in PROTOCOL.evaluate(too_little).gates if gate.state == "shut"] == ["price"]
    assert [gate.name for gate in PROTOCOL.evaluate(enough).gates if gate.state == "shut"] == []


def test_a_debt_worth_nothing_is_no_debt() -> None:
    start = position(principal=-1)
    prices = {**start.prices, start.state.facts.base: 10**5}
    assert isinstance(PROTOCOL.evaluate(replace(start, prices=prices)).verdict, NoDebt)


def test_a_supplier_needs_no_prices() -> None:
    start = replace(position(principal=10**9, second=True), prices={})
    health = PROTOCOL.evaluate(start)
    assert isinstance(health.verdict, NoDebt)
    assert health.liquidatable is False
    assert health.reported == {
        "balanceOf": 10**9,
        "borrowBalanceOf": 0,
        "isLiquidatable": 0,
        "isBorrowCollateralized": 1,
    }


@pytest.mark.parametrize("price", [2**255, 2**250])
def test_overflow_is_unknown_and_not_liquidatable(price: int) -> None:
    health = PROTOCOL.evaluate(position(price=price))
    assert isinstance(health.verdict, Unknown)
    assert health.liquidatable is False


def test_an_index_that_does_not_fit_stops_the_contract() -> None:
    start = position()
    with pytest.raises(Overflows):
        accrued(start.state.facts, start.state.totals, start.block.timestamp + 10**15)


def test_assets_beyond_the_sixteenth_have_their_bits_elsewhere() -> None:
    assert [n for n in range(24) if in_asset(n, 0b101, 0b1000_0001)] == [0, 2, 16, 23]


def test_nothing_supplied_means_no_utilization() -> None:
    totals = replace(position().state.totals, total_supply_base=0)
    assert utilization(totals) == 0


def test_what_could_not_be_read_is_unreadable() -> None:
    start = position(second=True)
    facts = start.state.facts
    totals = Ok(((10**15, 10**15, 0, 0, 10**13, 10**12, 1_000_000, 0),))

    def answerer(broken: str) -> Callable[[Sequence[Query]], list[Answer]]:
        def one(query: Query) -> Answer:
            assert isinstance(query, Call)
            if query.function.endswith(broken):
                return Unread("out of gas")
            if query.function.endswith("totalsBasic"):
                return totals
            return Ok((-(10**9), 0, 0, 1, 0)) if query.function.endswith("userBasic") else Ok((10**18, 0))

        return lambda queries: [one(query) for query in queries]

    for broken in ("totalsBasic", "getPrice", "userBasic", "userCollateral"):
        (found,) = run(PROTOCOL.state(facts, [start.owner], start.block), answerer(broken))
        assert isinstance(found, Unreadable), broken
        assert "out of gas" in found.reason


def test_explain_ends_with_the_verdict() -> None:
    for sample in SAMPLES[::3]:
        found = read(sample)
        verdict = PROTOCOL.evaluate(found).verdict
        last = PROTOCOL.explain(found)[-1]
        if isinstance(verdict, Known):
            assert last.value == f"{verdict.numerator} / {verdict.denominator}"


def test_legs_hold_the_debt_and_every_collateral() -> None:
    health = PROTOCOL.evaluate(position())
    assert [(leg.side, leg.symbol, leg.amount) for leg in health.legs] == [
        (Side.COLLATERAL, "WETH", 10**18),
        (Side.DEBT, "USDC", 1000 * 10**6),
    ]
    assert (health.collateral, health.debt) == (2000 * 10**8, 1000 * 10**8)


def test_the_debt_is_what_the_token_would_say() -> None:
    start = position()
    later = accrued(start.state.facts, start.state.totals, start.block.timestamp + 1)
    # u = 1/2; rate = 10**8 + 10**9 / 2 per second
    assert later.base_borrow_index == 10**15 + 10**15 * 6 * 10**8 // 10**18
    assert debt_of(start.state.principal, later) == 1000 * 10**6 * later.base_borrow_index // 10**15


def test_context_tells_ages() -> None:
    """The recordings hold no rounds; a feed that tells nothing leaves the age unknown."""
    sample = SAMPLES[0]
    block = block_of(sample)
    facts = facts_of(sample, block)
    with pytest.raises(CassetteMiss):
        CASSETTE.replay(PROTOCOL.context(facts, block), block)
    silent = run(PROTOCOL.context(facts, block), lambda queries: [Reverted(b"", "") for _ in queries])
    assert isinstance(silent, Context)
    assert PROTOCOL.evaluate(read(sample), silent).input_age_s is None
