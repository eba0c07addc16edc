"""Aave V4 against its recorded contracts: the seven numbers, every liquidation call and its amounts; and by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from monitor.chain import abi
from monitor.chain.abi import checksum
from monitor.core.errors import ProtocolError
from monitor.core.plan import run
from monitor.core.types import (
    Address,
    Answer,
    BlockRef,
    Call,
    GateState,
    Known,
    Log,
    MarketRef,
    NoDebt,
    Ok,
    Position,
    Query,
    ReadPlan,
    Reverted,
    Side,
    Unknown,
    Unread,
    Unreadable,
)
from monitor.core.units import RAY, UINT256_MAX, WAD
from monitor.oracles.chainlink import Reading
from monitor.protocols.aave_v4 import PROTOCOL, REVERTS, Context
from monitor.protocols.aave_v4.events import EVENTS, Record, SpokeBook
from monitor.protocols.aave_v4.math import (
    FROZEN,
    MAX_RISK_PREMIUM_THRESHOLD,
    PAUSED,
    RECEIVE_SHARES,
    Facts,
    HubAsset,
    HubSpoke,
    LiquidationConfig,
    Reserve,
    ReserveFacts,
    Seizure,
    State,
    Terms,
    liquidation,
    liquidation_bonus,
)
from monitor.protocols.aave_v4.reading import RULE
from monitor.protocols.base import with_price
from tests.protocols.cassette import block_of, load

SAMPLES, LIQUIDATIONS, CALLS = 60, 9, 97
OPEN = HubSpoke(0, 0, MAX_RISK_PREMIUM_THRESHOLD, active=True, halted=False)
LET = Context((), tuple((at, OPEN) for at in range(5)))
"""What the recorded hubs let their spoke do: everything. It is told beside the recording, not in it."""


def replayed(plan: ReadPlan[Any], block: BlockRef) -> Any:
    """Answered from the recording; only symbols are not in it."""
    cassette = load("aave-v4")

    def one(query: Query) -> Answer:
        assert isinstance(query, Call)
        return Reverted(b"", "") if query.function.endswith(".symbol") else cassette.answerer(block)([query])[0]

    return run(plan, lambda queries: [one(query) for query in queries])


@cache
def facts_of(block: BlockRef) -> Facts:
    spoke = checksum(load("aave-v4").content["deployments"]["Spoke"])
    facts: Facts = replayed(PROTOCOL.static(MarketRef(31337, "aave-v4", spoke), block), block)
    return facts


@cache
def read(at: int) -> Position:
    sample = load("aave-v4").samples[at]
    block, owner = block_of(sample), checksum(sample["account"]["address"])
    (found,) = load("aave-v4").replay(PROTOCOL.state(facts_of(block), [owner], block), block)
    assert isinstance(found, Position)
    return found


def ints(told: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(value if str(value).startswith("0x") else int(value) for value in told.values())


def read_told(recorded: Mapping[str, Any], account: Mapping[str, Any], block: BlockRef) -> Position:
    """The position as a record tells it: liquidations have no calls of their own, but the market and the account."""
    market = recorded["market"]
    facts = facts_of(block_of(load("aave-v4").samples[0]))
    assert int(market["getReserveCount"]) == len(facts.reserves)
    nothing: Mapping[str, Any] = {
        "getUserPosition": dict.fromkeys("abcde", "0"),
        "getUserReserveStatus": {"0": False, "1": False},
    }

    def answer(query: Query) -> Answer:
        assert isinstance(query, Call)
        name = query.function.partition(".")[2]
        if name == "getLiquidationConfig":
            return Ok((ints(market[name]),))
        if name == "getAsset":
            rows = [
                row
                for row in market["reserves"].values()
                if checksum(row["getReserve"]["hub"]) == query.to and int(row["getReserve"]["assetId"]) == query.args[0]
            ]
            return Ok((ints(rows[0]["hub.getAsset"]),))
        row = market["reserves"][str(query.args[0])]
        if name == "getReserve":
            return Ok((ints(row[name]),))
        if name == "getReservePrice":
            return Ok((int(row[name]),))
        if name == "getDynamicReserveConfig":
            return Ok((ints(row[name][str(query.args[1])]),))
        told = account["positions"].get(str(query.args[0]), nothing)[name]
        return Ok((ints(told),)) if name == "getUserPosition" else Ok(tuple(told.values()))

    (found,) = run(
        PROTOCOL.state(facts, [checksum(account["address"])], block),
        lambda queries: [answer(query) for query in queries],
    )
    assert isinstance(found, Position)
    return found


def attempt(position: Position, call: Mapping[str, Any], at_s: int) -> Seizure | str:
    try:
        return liquidation(
            position.state,
            position.prices,
            at_s,
            int(call["collateralReserveId"]),
            int(call["debtReserveId"]),
            int(call["debtToCover"]),
            receive_shares=call["receiveShares"],
            spokes=dict(LET.spokes),
        )
    except REVERTS as reverts:
        return str(reverts)


def test_no_recording_is_left_out() -> None:
    recorded = load("aave-v4")
    calls = sum(len(sample["expected"]["liquidationCall"]) for sample in recorded.samples)
    assert (len(recorded.samples), len(recorded.liquidations), calls) == (SAMPLES, LIQUIDATIONS, CALLS)


@pytest.mark.parametrize("at", range(SAMPLES))
def test_recorded_samples_are_exact(at: int) -> None:
    sample, position = load("aave-v4").samples[at], read(at)
    expected = sample["expected"]
    health, told = PROTOCOL.evaluate(position, LET), expected["getUserAccountData"]
    assert health.liquidatable is expected["liquidatable"]
    if "revert" in told:
        assert isinstance(health.verdict, Unknown)
        assert "InvalidPrice" in health.verdict.reason
        assert health.reported == {}
    else:
        assert health.reported == {name: int(value) for name, value in told.items()}
        debt = int(told["totalDebtValueRay"])
        assert health.verdict == (Known(int(told["healthFactor"]), WAD) if debt else NoDebt())
        held = {one.facts.id: one for one in position.state.reserves}
        for number, one in expected["reserves"].items():
            mine, now_s = held[int(number)], position.block.timestamp
            assert mine.supplied(now_s) == int(one["getUserSuppliedAssets"])
            assert mine.debt(now_s) == int(one["getUserTotalDebt"])
    for call in expected["liquidationCall"]:
        outcome = attempt(position, call, position.block.timestamp)
        if call["succeeds"]:
            assert isinstance(outcome, Seizure)
        else:
            assert isinstance(outcome, str)
            assert call["reason"].partition("(")[0] in outcome


@pytest.mark.parametrize("at", range(SAMPLES))
def test_truth_is_what_the_adapter_reports(at: int) -> None:
    position = read(at)
    plan = PROTOCOL.truth(position.state.facts, [position.owner], position.block)
    (truth,) = load("aave-v4").replay(plan, position.block)
    assert truth.reported == PROTOCOL.evaluate(position).reported


@pytest.mark.parametrize("at", range(LIQUIDATIONS))
def test_recorded_liquidations_are_exact(at: int) -> None:
    recorded = load("aave-v4").liquidations[at]
    position = read_told(recorded, recorded["account"], block_of(recorded))
    outcome = attempt(position, recorded["call"], int(recorded["exec_block"]["timestamp"]))
    if not recorded["expected"]["succeeds"]:
        assert outcome == recorded["expected"]["reason"]
        return
    assert isinstance(outcome, Seizure)
    events = recorded["expected"]["events"]
    (told,) = [event for event in events if event["event"] == "LiquidationCall"]
    for name in (
        "debtAmountRestored",
        "drawnSharesLiquidated",
        "collateralAmountRemoved",
        "collateralSharesLiquidated",
        "collateralSharesToLiquidator",
    ):
        assert getattr(outcome, name) == int(told[name]), name
    assert outcome.premiumDebtRayLiquidated == int(told["premiumDelta"]["restoredPremiumRay"])
    assert outcome.deficit is any(event["event"] == "ReportDeficit" for event in events)


def records(accounts: Mapping[str, Any]) -> dict[tuple[Address, int], Record]:
    """What was recorded of accounts; where somebody has nothing at all is left out on both sides."""
    found: dict[tuple[Address, int], Record] = {}
    for owner, account in accounts.items():
        for number, told in account["positions"].items():
            drawn, premium, offset, supplied, key = ints(told["getUserPosition"])
            collateral, borrowing = told["getUserReserveStatus"].values()
            found[checksum(owner), int(number)] = Record(drawn, premium, offset, supplied, key, collateral)
            assert found[checksum(owner), int(number)].borrowing is borrowing
    return found


def test_the_recorded_events_lead_to_the_recorded_accounts() -> None:
    (recorded,) = load("aave-v4").content["replays"]
    spoke, initial = checksum(load("aave-v4").content["deployments"]["Spoke"]), recorded["initial"]
    newest = {int(at): int(row["getReserve"]["dynamicConfigKey"]) for at, row in initial["market"]["reserves"].items()}
    book = SpokeBook(records(initial["accounts"]), newest)
    before = dict(book.records)
    events = {abi.event(f"aave_v4.{name}").topic: f"aave_v4.{name}" for name in EVENTS}
    seen = set()
    for log in recorded["logs"]:
        topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
        if checksum(log["address"]) == spoke and topics[0] in events:
            place = int(log["blockNumber"]), log["blockHash"], int(log["logIndex"])
            data = bytes.fromhex(log["data"][2:])
            book.add(abi.decode_log(events[topics[0]], spoke, topics, data, *place))
            seen.add(events[topics[0]].partition(".")[2])
    assert seen == {
        "Supply",
        "Withdraw",
        "Borrow",
        "Repay",
        "LiquidationCall",
        "RefreshPremiumDebt",
        "RefreshAllUserDynamicConfig",
    }
    expected = records(recorded["expected_accounts"])
    assert len(expected) >= 40
    assert {place: one for place, one in book.records.items() if one != Record()} == {
        place: one for place, one in expected.items() if one != Record()
    }
    assert sum(before.get(place) != one for place, one in expected.items()) >= 20, "something must have happened"


def test_what_events_do_that_are_not_recorded() -> None:
    book, user = SpokeBook(), "0x" + "ee" * 20

    def told(event: str, **args: Any) -> Record:
        book.add(Log("0x" + "11" * 20, f"aave_v4.{event}", {"user": user, "reserveId": 2} | args, 1, "0x", 0))
        return book.of(user, 2)

    told("AddReserve")
    assert told("SetUsingAsCollateral", usingAsCollateral=True) == Record(collateral=True)
    told("AddDynamicReserveConfig", dynamicConfigKey=3, config=(1, 2, 3))
    assert told("Supply", suppliedShares=5).key == 0, "a new configuration is nobody's until it is taken over"
    assert told("RefreshSingleUserDynamicConfig").key == 3
    told("Borrow", drawnShares=7)
    told("RefreshPremiumDebt", premiumDelta=(4, 40, 0))
    told("AddDynamicReserveConfig", dynamicConfigKey=4, config=(1, 2, 3))
    assert told("RefreshAllUserDynamicConfig") == Record(7, 4, 40, 5, 4, collateral=True)
    assert told("ReportDeficit", drawnShares=7, premiumDelta=(-4, -40, 9)) == Record(0, 0, 0, 5, 4, collateral=True)
    assert not book.of(user, 2).borrowing


def test_facts_are_rechecked_and_unknown_revisions_refused() -> None:
    position = read(0)
    facts, block = position.state.facts, position.block
    assert replayed(PROTOCOL.recheck(facts, block), block) is True
    assert replayed(PROTOCOL.recheck(replace(facts, oracle=facts.market.address), block), block) is False
    assert replayed(PROTOCOL.recheck(replace(facts, reserves=facts.reserves[1:]), block), block) is False
    with pytest.raises(ProtocolError, match="revision 2"):
        run(PROTOCOL.static(facts.market, block), lambda queries: [Ok((2,)) for _ in queries])


def test_explain_ends_with_the_verdict() -> None:
    for at in range(0, SAMPLES, 4):
        verdict = PROTOCOL.evaluate(read(at)).verdict
        if isinstance(verdict, Known):
            assert PROTOCOL.explain(read(at))[-1].value == f"{verdict.numerator} / {verdict.denominator}"


# -- made by hand ------------------------------------------------------------------------------------------------------

WETH = ReserveFacts(0, "0x" + "cc" * 20, "WETH", 18, "0x" + "01" * 20, 0, "0x" + "cc" * 20)
USDC = ReserveFacts(1, "0x" + "bb" * 20, "USDC", 6, "0x" + "01" * 20, 1, "0x" + "bb" * 20)
FACTS = Facts(MarketRef(1, "aave-v4", "0x" + "11" * 20), "0x" + "33" * 20, (WETH, USDC))
HUB = HubAsset(10**30, 0, 10**30, 0, 0, 0, 0, 0, RAY, 0, 1_000_000, 0)
"""A share is worth a unit, and nobody else borrows."""
BLOCK = BlockRef(1, 100, "0x" + "01" * 32, "0x" + "00" * 32, 1_000_000)


def position(*, debt: int = 8000 * 10**6, price: int = 10_000 * 10**8, factor: int = 8000, **changes: Any) -> Position:
    """One WETH at 10,000 and 80 %, against 8,000 USDC: exactly one."""
    held = Reserve(WETH, HUB, 100, RECEIVE_SHARES, 3, True, False, 0, 0, 0, WAD, Terms(3, factor, 10_500, 1000))
    due = Reserve(USDC, HUB, 0, RECEIVE_SHARES, 0, False, True, debt, 0, 0, 0, None)
    state = State(FACTS, LiquidationConfig(105 * WAD // 100, 9 * WAD // 10, 5000), (held, due), {})
    prices = {WETH.key: price, USDC.key: 10**8}
    return Position("p", "0x" + "ee" * 20, BLOCK, RULE, prices, replace(state, **changes))


def with_reserve(start: Position, at: int, **changes: Any) -> Position:
    reserves = [replace(one, **changes) if one.facts.id == at else one for one in start.state.reserves]
    return replace(start, state=replace(start.state, reserves=tuple(reserves)))


def test_one_unit_of_price_around_the_boundary() -> None:
    start = position()
    turn = start.prices[WETH.key]
    for price, liquidatable in ((turn - 1, True), (turn, False), (turn + 1, False)):
        health = PROTOCOL.evaluate(with_price(start, WETH.key, price), LET)
        assert isinstance(health.verdict, Known)
        assert health.verdict.unhealthy is health.liquidatable is liquidatable
    assert PROTOCOL.evaluate(start).verdict == Known(WAD, WAD)


def test_the_accounts_own_key_decides_and_a_newer_one_is_told() -> None:
    start = with_reserve(position(price=10_001 * 10**8), 0, newest_key=4)
    health = PROTOCOL.evaluate(start, LET)
    assert isinstance(health.verdict, Known)
    assert not health.verdict.unhealthy
    assert any("takes over configuration 4" in note for note in health.notes)
    assert not PROTOCOL.evaluate(position()).notes


def test_the_worth_of_shares_follows_everything_that_the_hub_has() -> None:
    shares = 10**24
    plain = HUB.toAssetsDown(shares, 1_000_000)
    assert plain == shares
    for changes in ({"swept": 10**30}, {"deficit_ray": 10**30 * RAY}):
        assert replace(HUB, **changes).toAssetsDown(shares, 1_000_000) == 2 * shares - 1
    assert replace(HUB, realized_fees=5 * 10**29).toAssetsDown(shares, 1_000_000) < shares


def test_a_deposit_without_its_bit_or_with_a_factor_of_zero_counts_nothing() -> None:
    for changes in ({"collateral": False, "terms": None}, {"terms": Terms(3, 0, 10_500, 0)}):
        health = PROTOCOL.evaluate(with_reserve(position(), 0, **changes), LET)
        assert health.verdict == Known(0, WAD)
        assert health.collateral == 0
        assert [leg.enabled for leg in health.legs if leg.side is Side.COLLATERAL] == [False]
        assert health.liquidatable is False, "there is no collateral that could be named"


def test_debt_and_deposits_grow_from_the_last_accrual_and_round_up() -> None:
    busy = replace(HUB, drawn_shares=10**29, drawn_rate=RAY // 10)
    start = with_reserve(position(price=10_100 * 10**8), 1, hub=busy)
    assert busy.index(1_000_000) == RAY
    assert busy.index(1_000_000 + 31_536_000) == RAY + RAY // 10
    assert busy.index(1_000_001) == RAY + RAY // 10 // 31_536_000
    assert replace(busy, drawn_index=RAY + 1).index(1_000_001) == RAY + 1 + RAY // 10 // 31_536_000 + 1
    assert HUB.index(2_000_000) == RAY, "nobody borrows, nothing grows"
    assert PROTOCOL.evaluate(start, LET).liquidatable is False
    year = 31_536_000
    assert PROTOCOL.evaluate(start, LET, 1_000_000 + year).liquidatable is True
    probe = PROTOCOL.unhealthy_between_times(start)
    assert probe(1_000_000, 1_000_000) is False
    assert probe(1_000_000 + year, 1_000_000 + 2 * year) is True
    assert probe(1_000_000, 1_000_000 + year) is None
    assert isinstance(PROTOCOL.evaluate(start, LET, 999_999).verdict, Unknown), "the hub has accrued since"


def test_fees_are_taken_from_growth_and_rounded_down() -> None:
    busy = replace(HUB, drawn_shares=10**9 + 7, drawn_rate=RAY // 3, liquidity_fee=1_000)
    later = 1_000_000 + 12_345_678
    grown = busy.owed(busy.index(later)) - busy.owed(RAY)
    assert busy.assets(later) == busy.assets(1_000_000) + grown - grown // 10


def test_premium_debt_counts_and_is_rounded_apart() -> None:
    start = with_reserve(position(), 1, premium_shares=10, premium_offset_ray=10 * RAY - 1)
    (due,) = [one for one in start.state.reserves if one.borrowing]
    assert due.premium_ray(1_000_000) == 1
    assert due.debt(1_000_000) == 8000 * 10**6 + 1
    assert PROTOCOL.evaluate(start, LET).liquidatable is True, "a 10^27th of a unit turns it"


@pytest.mark.parametrize("price", [0, -1, None], ids=["zero", "negative", "none"])
def test_without_a_price_nothing_is_healthy_or_liquidatable(price: int | None) -> None:
    start = position()
    for key in (WETH.key, USDC.key):
        prices = {one: value for one, value in start.prices.items() if one != key or price is not None}
        if price is not None:
            prices[key] = price
        health = PROTOCOL.evaluate(replace(start, prices=prices), LET)
        assert isinstance(health.verdict, Unknown)
        assert health.liquidatable is False
    alone = with_reserve(start, 1, borrowing=False, drawn_shares=0)
    assert isinstance(PROTOCOL.evaluate(replace(alone, prices={}), LET).verdict, NoDebt)


def test_a_price_of_a_deposit_without_bits_is_not_asked() -> None:
    start = with_reserve(position(), 0, collateral=False, terms=None)
    assert PROTOCOL.evaluate(replace(start, prices={USDC.key: 10**8}), LET).verdict == Known(0, WAD)


@pytest.mark.parametrize("price", [2**200, 2**255], ids=["200", "255"])
def test_overflow_is_unknown_and_not_liquidatable(price: int) -> None:
    health = PROTOCOL.evaluate(with_price(position(), WETH.key, price), LET)
    assert isinstance(health.verdict, Unknown)
    assert health.liquidatable is False


def test_pauses_and_hubs_stop_liquidations_and_not_health() -> None:
    start = position(price=9_999 * 10**8)
    assert PROTOCOL.evaluate(start, LET).liquidatable is True
    assert PROTOCOL.evaluate(start).liquidatable is None, "hubs were not read"
    for at in (0, 1):
        assert PROTOCOL.evaluate(with_reserve(start, at, flags=PAUSED), LET).liquidatable is False
    for at, changes, outcome in (
        (0, {"halted": True}, True),  # shares can be taken still
        (1, {"halted": True}, False),
        (0, {"active": False}, False),
        (1, {"active": False}, False),
        (1, {"risk_premium_threshold": 1}, None),
    ):
        spokes = tuple((one, replace(OPEN, **changes) if one == at else OPEN) for one in (0, 1))
        health = PROTOCOL.evaluate(start, Context((), spokes))
        assert isinstance(health.verdict, Known)
        assert health.verdict.unhealthy
        assert health.liquidatable is outcome, (at, changes)
        assert any(gate.state is not GateState.OPEN for gate in health.gates)
    frozen = with_reserve(start, 0, flags=FROZEN | RECEIVE_SHARES)
    assert PROTOCOL.evaluate(frozen, LET).liquidatable is True, "for the underlying"
    with pytest.raises(REVERTS, match="CannotReceiveShares"):
        liquidation(frozen.state, frozen.prices, 1_000_000, 0, 1, receive_shares=True)
    empty = with_reserve(start, 0, hub=replace(HUB, liquidity=0, swept=10**30))
    assert PROTOCOL.evaluate(empty, LET).liquidatable is True, "for shares"
    with pytest.raises(REVERTS, match="InsufficientLiquidity"):
        liquidation(empty.state, empty.prices, 1_000_000, 0, 1)


def test_room_below_the_premium_cap() -> None:
    (due,) = [one for one in position().state.reserves if one.borrowing]
    wide = HubSpoke(10**12, 0, 10_000, active=True, halted=False)
    assert wide.has_room(due, 100)
    assert not replace(wide, premium_shares=10**12).has_room(due, 100)
    assert not replace(wide, drawn_shares=due.drawn_shares).has_room(due, 100)


def test_the_bonus_grows_as_health_falls() -> None:
    config = position().state.config
    assert [liquidation_bonus(config, factor, 10_500) for factor in (WAD // 2, 9 * WAD // 10)] == [10_500, 10_500]
    assert liquidation_bonus(config, 95 * WAD // 100, 10_500) == 10_375
    assert liquidation_bonus(config, WAD - 1, 10_500) == 10_250


def test_a_liquidation_restores_the_target_and_leaves_no_dust() -> None:
    start = position(debt=8000 * 10**6 * 100, price=9_999 * 100 * 10**8)
    moved = liquidation(start.state, start.prices, 1_000_000, 0, 1)
    assert 0 < moved.drawnSharesLiquidated < 8000 * 10**6 * 100
    after = with_reserve(
        with_reserve(start, 0, supplied_shares=WAD - moved.collateralSharesLiquidated),
        1,
        drawn_shares=8000 * 10**6 * 100 - moved.drawnSharesLiquidated,
    )
    health = PROTOCOL.evaluate(after).reported["healthFactor"]
    assert abs(health - 105 * WAD // 100) < WAD // 10**6
    small = position(debt=900 * 10**6, price=1_120 * 10**8)
    assert liquidation(small.state, small.prices, 1_000_000, 0, 1).debtAmountRestored == 900 * 10**6
    with pytest.raises(REVERTS, match="MustNotLeaveDust"):
        liquidation(small.state, small.prices, 1_000_000, 0, 1, 800 * 10**6)
    lost = position(price=100 * 10**8)
    assert liquidation(lost.state, lost.prices, 1_000_000, 0, 1).deficit
    for cover, code in ((0, "InvalidDebtToCover"), (UINT256_MAX, "HealthFactorNotBelowThreshold")):
        with pytest.raises(REVERTS, match=code):
            liquidation(position().state, position().prices, 1_000_000, 0, 1, cover)


def test_the_same_asset_twice_has_two_prices_of_one_symbol() -> None:
    twin = Ok(((WETH.asset, WETH.hub, 0, 18, 0, 0, 0),))
    told: Mapping[str, Answer] = {
        "ORACLE": Ok((FACTS.oracle,)),
        "SPOKE_REVISION": Ok((1,)),
        "getReserveCount": Ok((2,)),
        "getReserve": twin,
        "symbol": Ok(("WETH",)),
    }

    def one(query: Query) -> Answer:
        assert isinstance(query, Call)
        return told[query.function.partition(".")[2]]

    facts = run(PROTOCOL.static(FACTS.market, BLOCK), lambda queries: [one(query) for query in queries])
    keys = [f"{WETH.asset}/0", f"{WETH.asset}/1"]
    assert PROTOCOL.symbols(facts) == dict.fromkeys(keys, "WETH")
    legs, prices = PROTOCOL.evaluate(read(0)).legs, read(0).prices
    assert {leg.asset for leg in legs} == set(prices), "legs and prices go by one name"
    listed = PROTOCOL.prices(read(0).state.facts, [read(0)], None, BLOCK)
    assert {one.asset for one in listed} == set(prices)


def answers(broken: str, owner: Address) -> Callable[[Sequence[Query]], list[Answer]]:
    """What the spoke and the hub of the hand-made position would tell, one function of theirs left out."""
    reserves = {one.facts.id: one for one in position().state.reserves}

    def one(query: Query) -> Answer:
        assert isinstance(query, Call)
        name = query.function.partition(".")[2]
        if name == broken:
            return Unread("out of gas")
        if name == "getLiquidationConfig":
            return Ok(((105 * WAD // 100, 9 * WAD // 10, 5000),))
        if name == "getAsset":
            return Ok(((10**30, 0, 18, 10**30, 0, 0, 0, 0, 0, RAY, 0, 1_000_000, owner, owner, owner, owner, 0),))
        mine = reserves[query.args[0]]
        if name == "getReserve":
            facts = mine.facts
            return Ok(
                (
                    (
                        facts.asset,
                        facts.hub,
                        facts.asset_id,
                        facts.decimals,
                        mine.collateral_risk,
                        mine.flags,
                        mine.newest_key,
                    ),
                )
            )
        if name == "getReservePrice":
            return Ok((position().prices[mine.facts.key],))
        if name == "getUserPosition":
            return Ok(((mine.drawn_shares, 0, 0, mine.supplied_shares, 3 if mine.terms else 0),))
        if name == "getUserReserveStatus":
            return Ok((mine.collateral, mine.borrowing))
        assert name == "getDynamicReserveConfig"
        assert query.args == (0, 3)
        return Ok(((8000, 10_500, 1000),))

    return lambda queries: [one(query) for query in queries]


def test_what_could_not_be_read_is_unreadable_and_a_price_is_unknown() -> None:
    owner = position().owner
    plan = "getLiquidationConfig", "getReserve", "getAsset", "getUserPosition", "getUserReserveStatus"
    for broken in (*plan, "getDynamicReserveConfig"):
        (found,) = run(PROTOCOL.state(FACTS, [owner], BLOCK), answers(broken, owner))
        assert isinstance(found, Unreadable), broken
        assert "out of gas" in found.reason
    (found,) = run(PROTOCOL.state(FACTS, [owner], BLOCK), answers("getReservePrice", owner))
    assert isinstance(found, Position)
    assert isinstance(PROTOCOL.evaluate(found).verdict, Unknown)
    (whole,) = run(PROTOCOL.state(FACTS, [owner], BLOCK), answers("", owner))
    assert isinstance(whole, Position)
    assert (whole.state, whole.prices) == (position().state, position().prices)


def test_ages_and_hubs_are_context() -> None:
    def one(query: Query) -> Answer:
        assert isinstance(query, Call)
        name = query.function.partition(".")[2]
        if name == "getReserveSource":
            return Ok(("0x" + f"0{query.args[0] + 1}" * 20,))
        if name == "latestRoundData":
            return Ok((7, 1, 1, 999_990, 7))
        if name == "getSpoke":
            return Ok(((5, 6, 0, 0, 0, 0, 9, True, False, 0),)) if query.args[0] else Unread("out of gas")
        return Reverted(b"", "")

    found = run(PROTOCOL.context(FACTS, BLOCK), lambda queries: [one(query) for query in queries])
    assert found.spokes == ((1, HubSpoke(5, 6, 9, active=True, halted=False)),)
    health = PROTOCOL.evaluate(position(price=9_000 * 10**8), found)
    assert (health.input_age_s, health.liquidatable) == (10, None)
    assert isinstance(found.of(WETH.key), Reading)
    (price, _) = PROTOCOL.prices(FACTS, [position()], found, BLOCK)
    assert (price.asset, price.updated_at) == (WETH.asset, 999_990)
