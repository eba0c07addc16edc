"""Compound V2 and Venus Core against their recorded contracts; what every fork must get right, by hand."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
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
from monitor.core.units import WAD
from monitor.oracles.chainlink import ZERO
from monitor.protocols import benqi, compound_v2, moonwell, venus_core
from monitor.protocols.base import with_price
from monitor.protocols.compound_v2.math import (
    BORROW_RATE_MAX,
    Debt,
    Facts,
    Holding,
    Market,
    MarketFacts,
    Overflows,
    Pair,
    Refusal,
    Rejected,
    Seizure,
    State,
    Stuck,
    accrued,
    liquidate,
    liquidity,
    worst_accruals,
)
from monitor.protocols.compound_v2.reading import Context
from monitor.protocols.compound_v2.variant import blocks_until
from tests.protocols.cassette import CassetteMiss, block_of, load
from tests.protocols.compound_v2_recordings import FORKS, facts_of, open_gates, read, read_before, with_snapshots

COUNTS = {"compound-v2": (64, 7), "venus-core": (65, 6)}
SAMPLES = [(name, at) for name in COUNTS for at in range(COUNTS[name][0])]
LIQUIDATIONS = [(name, at) for name in COUNTS for at in range(COUNTS[name][1])]
GETTER = ("error", "liquidity", "shortfall")
# (code, and reason) that the recorded contracts answer, by what this adapter calls it
CODES = {"3": "INSUFFICIENT_SHORTFALL", "17": "TOO_MUCH_REPAY"}


def test_no_recording_is_left_out() -> None:
    for name, counts in COUNTS.items():
        assert (len(load(name).samples), len(load(name).liquidations)) == counts


@pytest.mark.parametrize(("name", "at"), SAMPLES)
def test_recorded_samples_are_exact(name: str, at: int) -> None:
    sample = load(name).samples[at]
    position, protocol = read(name, at), FORKS[name]
    state, now = position.state, position.block.number
    health = protocol.evaluate(position, open_gates(state.facts))
    told = sample["expected"]["getAccountLiquidity"]
    assert health.reported == {getter: int(told[str(number)]) for number, getter in enumerate(GETTER)}
    for token, expected in sample["expected"]["accrued"].items():
        holding = state.of(checksum(token))
        if holding is None:
            assert name == "venus-core", "Venus is only asked for what was entered"
            continue
        market = accrued(holding.market, now)
        assert market.exchange_rate == int(expected["exchangeRateCurrent"])
        low, high = holding.debt.at(market.index)
        assert low <= int(expected["borrowBalanceCurrent"]) <= high <= low + 1
    if health.reported["error"]:
        assert health.liquidatable is False
        assert isinstance(health.verdict, Unknown if state.debts else NoDebt)
    elif sample["expected"]["liquidatable"]:
        assert health.liquidatable is True
        assert isinstance(health.verdict, Known)
        assert health.verdict.unhealthy
    elif health.liquidatable:  # by a pair that the recorder did not try
        assert not _recorded_pairs(sample) & _passing_pairs(name, position)


def _recorded_pairs(sample: dict[str, Any]) -> set[tuple[str, str]]:
    calls = sample["expected"]["liquidateBorrow"]
    return {(checksum(one["cTokenBorrowed"]), checksum(one["cTokenCollateral"])) for one in calls}


def _passing_pairs(name: str, position: Position) -> set[tuple[str, str]]:
    state = position.state
    return {
        (debt.token, seized.token)
        for debt in state.debts
        for seized in state.holdings
        if seized.tokens
        and isinstance(_call(name, position, debt.token, seized.token, None, position.block.number), Seizure)
    }


def _call(name: str, position: Position, debt: str, seized: str, repay: int | None, now: int) -> Seizure | Refusal:
    pair = Pair(checksum(debt), checksum(seized), members_only=name == "venus-core")
    try:
        return liquidate(position.state, position.prices, now, pair, repay)
    except Rejected as rejected:
        return Refusal(f"code {rejected.code}")


@pytest.mark.parametrize(("name", "at"), SAMPLES)
def test_every_recorded_call_with_known_snapshots(name: str, at: int) -> None:
    """515 calls; what the adapter reads without snapshots differs from this in no verdict, only in doubt."""
    sample = load(name).samples[at]
    plain = read(name, at)
    position = with_snapshots(plain, sample["account"])
    for call in sample["expected"]["liquidateBorrow"]:
        terms = call["cTokenBorrowed"], call["cTokenCollateral"], int(call["repayAmount"]), position.block.number
        outcome, guarded = _call(name, position, *terms), _call(name, plain, *terms)
        assert isinstance(outcome, Seizure) is call["succeeds"]
        assert guarded == outcome or isinstance(guarded, Refusal), "in doubt it is never more than what succeeds"
        if isinstance(outcome, Refusal) and call.get("reason") == "LIQUIDATE_SEIZE_TOO_MUCH":
            assert outcome.reason == call["reason"]
        elif isinstance(outcome, Refusal):
            code = str(int(call["revert"][-64:], 16)) if "revert" in call else ""
            assert outcome.reason == CODES.get(code, f"code {code}") or not code


@pytest.mark.parametrize(("name", "at"), LIQUIDATIONS)
def test_recorded_liquidations_are_predicted_at_the_block_that_they_land_in(name: str, at: int) -> None:
    recorded = load(name).liquidations[at]
    call, expected = recorded["call"], recorded["expected"]
    position = with_snapshots(read_before(name, recorded), recorded["account"])
    repay, lands = int(call["repayAmount"]), int(recorded["exec_block"]["number"])
    outcome = _call(name, position, call["cTokenBorrowed"], call["cTokenCollateral"], repay, lands)
    if expected["succeeds"]:
        assert outcome == Seizure(int(expected["repayAmount"]), int(expected["seizeTokens"]))
    else:
        assert isinstance(outcome, Refusal)
        assert outcome.reason == {"LIQUIDATE_SEIZE_TOO_MUCH": expected["reason"]}.get(
            str(expected["reason"]), "INSUFFICIENT_SHORTFALL"
        )


@pytest.mark.parametrize("name", list(COUNTS))
def test_replayed_logs_lead_to_the_recorded_interest(name: str) -> None:
    """The first AccrueInterest of each market says what the rate and the totals read before it lead to."""
    replayed = load(name).content["replays"][0]
    topic = "0x4dec04e750ca11537cabcd8a9eab06494de08da3735bc8871cd41250e190bc04"
    first: dict[str, dict[str, Any]] = {}
    for log in replayed["logs"]:
        if log["topics"][0] == topic:
            first.setdefault(log["address"], log)
    compared = 0
    for token, log in first.items():
        market = _market_of(replayed["initial"]["market"]["markets"][token])
        words = [int(log["data"][at : at + 64], 16) for at in range(2, 258, 64)]
        if words[0] == market.cash:  # else somebody donated in between
            grown = accrued(market, int(log["blockNumber"]))
            assert [grown.borrows - market.borrows, grown.index, grown.borrows] == words[1:]
            compared += 1
    assert compared >= 3


def _market_of(rows: dict[str, Any]) -> Market:
    names = ("getCash", "totalBorrows", "totalReserves", "totalSupply", "borrowIndex", "accrualBlockNumber")
    more = ("reserveFactorMantissa", "borrowRatePerBlock", "exchangeRateStored")
    numbers: list[Any] = [int(rows[name]) for name in (*names, *more)]
    return Market(MarketFacts("0x", "0x", rows["symbol"], 18), *numbers, *[True, 0, 0, 0])


@pytest.mark.parametrize("name", list(COUNTS))
def test_truth_is_what_the_adapter_reports(name: str) -> None:
    for at in range(0, COUNTS[name][0], 4):
        position, block = read(name, at), read(name, at).block
        (truth,) = load(name).replay(FORKS[name].truth(position.state.facts, [position.owner], block), block)
        assert truth.reported == FORKS[name].evaluate(position).reported


def test_the_samples_hold_every_kind_of_answer() -> None:
    """Also the stale getter: liquidity at the last accrual, and a liquidation that succeeds all the same."""
    for name in COUNTS:
        calls = [call for sample in load(name).samples for call in sample["expected"]["liquidateBorrow"]]
        kinds = Counter(str(call.get("reason")) for call in calls)
        assert kinds["LIQUIDATE_SEIZE_TOO_MUCH"]
        assert sum(call["succeeds"] for call in calls) > 10
        stale = [
            at
            for at, sample in enumerate(load(name).samples)
            if int(sample["expected"]["getAccountLiquidity"]["1"]) and sample["expected"]["liquidatable"]
        ]
        assert stale
        for at in stale:
            position = read(name, at)
            assert FORKS[name].evaluate(position, open_gates(position.state.facts)).liquidatable


@pytest.mark.parametrize("name", list(COUNTS))
def test_facts_are_rechecked(name: str) -> None:
    block = block_of(load(name).samples[0])
    facts = facts_of(name, block)

    def recheck(known: Facts) -> bool:
        return load(name).replay(FORKS[name].recheck(known, block), block)

    assert recheck(facts) is True
    assert recheck(replace(facts, markets=facts.markets[1:])) is False
    assert recheck(replace(facts, oracle=facts.market.address)) is False
    assert [one.decimals for one in facts.markets[:4]] == [18, 6, 8, 18], "told from the rate where a token is silent"


@pytest.mark.parametrize("name", list(COUNTS))
def test_no_liquidatable_account_is_called_healthy(name: str) -> None:
    for at in range(COUNTS[name][0]):
        position = read(name, at)
        health = FORKS[name].evaluate(position, open_gates(position.state.facts))
        if health.liquidatable is not False:
            assert isinstance(health.verdict, Unknown) or (
                isinstance(health.verdict, Known) and health.verdict.unhealthy
            )


@pytest.mark.parametrize("name", list(COUNTS))
def test_explain_ends_with_the_verdict(name: str) -> None:
    for at in range(0, COUNTS[name][0], 5):
        position = read(name, at)
        verdict = FORKS[name].evaluate(position).verdict
        last = FORKS[name].explain(position)[-1]
        if isinstance(verdict, Known):
            assert last.value == f"{verdict.numerator} / {verdict.denominator}"


@pytest.mark.parametrize("name", list(COUNTS))
def test_probes_say_of_single_prices_and_times_what_the_verdict_says(name: str) -> None:
    for at in range(0, COUNTS[name][0], 6):
        position, protocol = read(name, at), FORKS[name]
        moments = [position.block.timestamp + later for later in (0, 1, 10**6, 10**9)]
        for key, price in position.prices.items():
            probe = protocol.unhealthy_between_prices(position, key)
            for one in (price // 100, price - 1, price, price + 1, price * 100):
                verdict = protocol.evaluate(with_price(position, key, one)).verdict
                assert probe(one, one) is (isinstance(verdict, Known) and verdict.unhealthy)
        for moment in moments:
            verdict = protocol.evaluate(position, at_s=moment).verdict
            told = protocol.unhealthy_between_times(position)(moment, moment)
            assert told is (isinstance(verdict, Known) and verdict.unhealthy)


# -- made by hand ------------------------------------------------------------------------------------------------------

ETH = MarketFacts("0x" + "aa" * 20, None, "ETH", 18)
DAI = MarketFacts("0x" + "bb" * 20, "0x" + "b1" * 20, "DAI", 18)
BAT = MarketFacts("0x" + "cc" * 20, "0x" + "c1" * 20, "BAT", 18)


def market(facts: MarketFacts, **changes: int) -> Market:
    """A rate of 0.02, half lent out, interest of 10**-8 a tick, 80 % counted, 8 % of incentive."""
    plain = Market(
        facts=facts,
        cash=10**24,
        borrows=10**24,
        reserves=0,
        supply=10**16,
        index=WAD,
        accrued_at=100,
        reserve_factor=0,
        borrow_rate=10**10,
        exchange_rate=2 * 10**26,
        listed=True,
        collateral_factor=8 * 10**17,
        liquidation_factor=8 * 10**17,
        incentive=108 * 10**16,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # all that tests change are numbers


def holding(facts: MarketFacts, tokens: int = 0, debt: int = 0, *, entered: bool = True, **changes: int) -> Holding:
    there = market(facts, **changes)
    return Holding(there, entered, tokens, Debt(debt, there.index))


def position(*holdings: Holding, venus: bool = False, chain_id: int = 1, **changes: Any) -> Position:
    """By default one whole ETH at 1,250 against 1,000 DAI: exactly at the threshold."""
    held = holdings or (holding(ETH, tokens=5 * 10**9), holding(DAI, debt=1000 * WAD))
    facts = Facts(MarketRef(chain_id, "compound-v2", "0x" + "11" * 20), "0x" + "22" * 20, (ETH, DAI, BAT))
    state = State(facts, 5 * 10**17, held, venus, {})
    prices = {ETH.token: 1250 * WAD, DAI.token: WAD, BAT.token: WAD}
    block = BlockRef(chain_id, 100, "0x" + "01" * 32, "0x" + "00" * 32, 1_000_000)
    rule = Rule("compound-v2", "a3214f67")
    return Position("p", "0x" + "ee" * 20, block, rule, prices, replace(state, **changes))


PROTOCOL, VENUS = compound_v2.PROTOCOL, venus_core.PROTOCOL


def gates(found: Position) -> Context:
    return open_gates(found.state.facts)


def test_health_turns_between_two_neighbouring_prices() -> None:
    turn = 1250 * WAD
    for price, unhealthy in ((turn - 1, True), (turn, False), (turn + 1, False)):
        found = with_price(position(), ETH.token, price)
        health = PROTOCOL.evaluate(found, gates(found))
        assert isinstance(health.verdict, Known)
        assert health.verdict.unhealthy is unhealthy
        assert health.liquidatable is unhealthy
        assert health.reported["shortfall"] == (1 if unhealthy else 0)


def test_interest_that_nobody_has_accrued_counts() -> None:
    start = position()
    later = PROTOCOL.evaluate(start, gates(start), start.block.timestamp + 86_400)
    assert PROTOCOL.evaluate(start, gates(start)).liquidatable is False
    assert later.liquidatable is True
    assert later.reported["shortfall"] == 0, "the getter looks at the indexes of the last accrual"


def test_a_stale_third_market_makes_unhealthy_what_the_bare_call_refuses() -> None:
    """The call accrues DAI or BAT with its collateral, not both; whoever calls may accrue the other first."""
    idle = holding(ETH, tokens=5 * 10**9, borrows=0, cash=2 * 10**24)
    held = idle, holding(DAI, debt=500 * WAD), holding(BAT, debt=500 * WAD)
    start = replace(position(*held), block=replace(position().block, number=100_100))
    (_, dai, bat) = held
    interest = [accrued(one.market, 100_100).index * 500 - 500 * WAD for one in (dai, bat)]
    room = sum(interest) * 3 // 4  # more than one market's interest, less than both
    found = with_price(start, ETH.token, (1000 * WAD + room) * 10 // 8)
    health = PROTOCOL.evaluate(found, gates(found))
    assert isinstance(health.verdict, Known)
    assert health.verdict.unhealthy
    assert health.liquidatable is False
    assert {DAI.token, BAT.token} <= worst_accruals(found.state, found.prices, 100_100)


def test_collateral_that_accrues_only_helps_where_the_call_accrues_it() -> None:
    """Two collaterals: the one that is not seized is left stale, since nobody who liquidates would accrue it."""
    held = holding(ETH, tokens=5 * 10**9), holding(BAT, tokens=5 * 10**9), holding(DAI, debt=1000 * WAD)
    assert worst_accruals(position(*held).state, position().prices, 200) == {BAT.token, DAI.token}


def test_the_worst_accruals_are_the_worst_of_all_that_a_stranger_could_make() -> None:
    """Against every set of markets that holds a debt and a collateral, over seeded accounts of three stale markets."""
    dice = random.Random(20_240_817)
    for _ in range(60):
        held = [
            holding(
                facts,
                tokens=dice.choice((0, 10**9, 7 * 10**9)),
                debt=dice.choice((0, 300 * WAD, 900 * WAD)),
                borrow_rate=dice.choice((0, 10**10, 10**12)),
                borrows=dice.choice((10**22, 10**24)),
                accrued_at=dice.choice((100, 90_000)),
                exchange_rate=2 * 10**26,
            )
            for facts in (ETH, DAI, BAT)
        ]
        found = position(*held)
        tokens = [one.token for one in held]
        calls = [{owed.token, one.token} for owed in held if owed.debt.principal for one in held if one.tokens]
        sets = [set(some) for size in range(4) for some in combinations(tokens, size)]
        margins = [
            liquidity(found.state, found.prices, 100_000, accrue).margin
            for accrue in sets
            if any(call <= accrue for call in calls)
        ]
        if margins:
            worst = worst_accruals(found.state, found.prices, 100_000)
            assert liquidity(found.state, found.prices, 100_000, worst).margin == min(margins)


def test_the_price_of_an_entered_market_without_balance_is_needed_except_on_venus() -> None:
    held = holding(ETH, tokens=5 * 10**9), holding(DAI, debt=1000 * WAD), holding(BAT)
    for price in (0, None):
        found = position(*held)
        prices = {token: amount for token, amount in found.prices.items() if token != BAT.token}
        found = replace(found, prices=prices if price is None else {**prices, BAT.token: price})
        health = PROTOCOL.evaluate(found, gates(found))
        assert isinstance(health.verdict, Unknown)
        assert health.reported == {"error": 13, "liquidity": 0, "shortfall": 0}
        assert health.liquidatable is False
        assert [gate.name for gate in health.gates if gate.state is GateState.SHUT] == ["liquidity"]
        spared = replace(found, state=replace(found.state, skips_empty=True))
        assert isinstance(VENUS.evaluate(spared, gates(spared)).verdict, Known)


def test_tokens_count_only_where_the_market_was_entered_but_can_be_seized_elsewhere() -> None:
    held = holding(ETH, tokens=5 * 10**9, entered=False), holding(DAI, debt=10 * WAD)
    found = position(*held)
    health = PROTOCOL.evaluate(found, gates(found))
    assert health.verdict == Known(0, 10 * WAD)
    assert health.liquidatable is True
    assert VENUS.evaluate(found, gates(found)).liquidatable is False, "MARKET_NOT_COLLATERAL"
    assert [(leg.symbol, leg.enabled) for leg in health.legs] == [("ETH", False), ("DAI", True)]


def test_a_deprecated_market_lets_anyone_liquidate_whatever_the_health() -> None:
    found = position(holding(ETH, tokens=5 * 10**9), holding(DAI, debt=WAD, collateral_factor=0, reserve_factor=WAD))
    paused = replace(gates(found), gates=tuple(replace(one, released=True) for one in gates(found).gates))
    health = PROTOCOL.evaluate(found, paused)
    assert isinstance(health.verdict, Known)
    assert not health.verdict.unhealthy
    assert health.liquidatable is True
    assert "whatever the health" in health.notes[0]
    assert PROTOCOL.evaluate(found, gates(found)).liquidatable is False, "borrowing is not paused"
    assert PROTOCOL.evaluate(found).liquidatable is None, "whether it is paused was not read"
    assert moonwell.PROTOCOL.evaluate(found, paused).liquidatable is False, "a rule of Compound's own"


def test_forced_liquidation_and_pauses_of_venus() -> None:
    found = position(venus=True)
    free = gates(found)
    forced = replace(free, gates=tuple(replace(one, released=one.token == DAI.token) for one in free.gates))
    assert VENUS.evaluate(found, free).liquidatable is False
    assert VENUS.evaluate(found, forced).liquidatable is True
    mine = replace(found, state=replace(found.state, forced=(DAI.token,)))
    assert VENUS.evaluate(mine, free).liquidatable is True
    low = with_price(found, ETH.token, 1249 * WAD)
    assert VENUS.evaluate(low, free).liquidatable is True
    for shut in (
        replace(free, shut=True),
        replace(free, gates=tuple(replace(one, repaying_shut=True) for one in free.gates)),
        replace(free, gates=tuple(replace(one, seizing_shut=True) for one in free.gates)),
    ):
        health = VENUS.evaluate(low, shut)
        assert health.liquidatable is False
        assert any(gate.state is GateState.SHUT for gate in health.gates)
    assert VENUS.evaluate(low).liquidatable is None


def test_a_seize_pause_stops_liquidations_and_not_health() -> None:
    found = with_price(position(), ETH.token, 1249 * WAD)
    health = PROTOCOL.evaluate(found, replace(gates(found), shut=True))
    assert isinstance(health.verdict, Known)
    assert health.verdict.unhealthy
    assert health.liquidatable is False
    assert PROTOCOL.evaluate(found).liquidatable is None


def test_vai_is_a_debt_and_an_unread_controller_is_unknown() -> None:
    found = position(venus=True, vai=1)
    owing = replace(found, state=replace(found.state, facts=replace(found.state.facts, vai=BAT.token)))
    told = replace(gates(found), vai=BAT.token)
    health = VENUS.evaluate(owing, told)
    assert health.verdict == Known(1000 * WAD, 1000 * WAD + 1)
    assert "VAI" in [leg.symbol for leg in health.legs]
    plain = position(venus=True)
    for vai in (BAT.token, None):
        health = VENUS.evaluate(plain, replace(gates(plain), vai=vai))
        assert isinstance(health.verdict, Unknown)
        assert health.liquidatable is None
    assert isinstance(VENUS.evaluate(plain, gates(plain)).verdict, Known)


def test_the_last_unit_of_a_debt_is_not_made_up() -> None:
    """At an index above the stored one the debt is known up to one unit: where that decides, the verdict is Unknown."""
    held = holding(ETH, tokens=5 * 10**9), holding(DAI, debt=1000 * WAD + 7)
    start = replace(position(*held), block=replace(position().block, number=101))
    low, high = held[1].debt.at(accrued(held[1].market, 101).index)
    assert high == low + 1
    turning = [low * 10**18 // (8 * 10**17) + step for step in range(-2, 4)]
    kinds = []
    for price in turning:
        found = with_price(start, ETH.token, price)
        still = replace(held[0], market=replace(held[0].market, accrued_at=101))
        found = replace(found, state=replace(found.state, holdings=(still, held[1])))
        verdict = PROTOCOL.evaluate(found, gates(found)).verdict
        kinds.append(
            "?" if isinstance(verdict, Unknown) else "-" if isinstance(verdict, Known) and verdict.unhealthy else "+"
        )
    assert "".join(kinds).strip("-").strip("+") == "?"


def test_a_dust_debt_cannot_be_liquidated() -> None:
    """Half of one unit is none: LiquidateCloseAmountIsZero."""
    found = position(holding(DAI, debt=1), holding(ETH, tokens=1))
    found = with_price(found, DAI.token, 10**30)
    health = PROTOCOL.evaluate(found, gates(found))
    assert isinstance(health.verdict, Known)
    assert health.verdict.unhealthy
    assert health.liquidatable is False


def test_a_debt_worth_nothing_is_no_debt_and_so_is_none() -> None:
    worthless = with_price(position(holding(DAI, debt=1)), DAI.token, 1)
    assert isinstance(PROTOCOL.evaluate(worthless).verdict, NoDebt)
    supplier = with_price(position(holding(ETH, tokens=10)), ETH.token, 0)
    health = PROTOCOL.evaluate(supplier)
    assert isinstance(health.verdict, NoDebt)
    assert health.liquidatable is False
    assert health.reported["error"] == 13


@pytest.mark.parametrize("price", [2**255, 2**250])
def test_overflow_is_unknown_and_not_liquidatable(price: int) -> None:
    found = with_price(position(), ETH.token, price)
    health = PROTOCOL.evaluate(found, gates(found))
    assert isinstance(health.verdict, Unknown)
    assert health.liquidatable is False
    assert health.reported == {}


def test_a_rate_beyond_the_maximum_stops_the_market() -> None:
    with pytest.raises(Stuck, match="absurdly high"):
        accrued(market(DAI, borrow_rate=BORROW_RATE_MAX + 1), 101)
    assert accrued(market(DAI, borrow_rate=BORROW_RATE_MAX), 101).index > WAD
    found = position(holding(ETH, tokens=5 * 10**9), holding(DAI, debt=2000 * WAD, borrow_rate=BORROW_RATE_MAX + 1))
    found = replace(found, block=replace(found.block, number=101))
    health = PROTOCOL.evaluate(found, gates(found))
    assert isinstance(health.verdict, Unknown)
    assert health.liquidatable is False


def test_donated_cash_moves_the_rate_and_an_odd_rate_is_unknown() -> None:
    donated = accrued(market(ETH, cash=2 * 10**24), 101)
    assert donated.exchange_rate > accrued(market(ETH), 101).exchange_rate
    found = position(holding(ETH, tokens=5 * 10**9, cash=2 * 10**24), holding(DAI, debt=WAD))
    health = PROTOCOL.evaluate(found, gates(found))
    assert isinstance(health.verdict, Unknown)
    assert health.liquidatable is None


def test_an_empty_market_keeps_its_first_rate() -> None:
    assert accrued(market(ETH, supply=0, borrows=0, cash=7), 500).exchange_rate == 2 * 10**26


def test_block_clocks_take_the_most_blocks_that_can_come_and_second_clocks_take_seconds() -> None:
    assert [blocks_until(1, seconds) for seconds in (1, 12, 13)] == [1, 1, 2]
    assert blocks_until(56, 9) == 20
    start = position(chain_id=5)
    assert isinstance(PROTOCOL.evaluate(start, gates(start), start.block.timestamp).verdict, Known)
    later = PROTOCOL.evaluate(start, gates(start), start.block.timestamp + 1)
    assert isinstance(later.verdict, Unknown)
    assert later.liquidatable is None
    by_second = replace(start, block=replace(start.block, timestamp=100))
    for fork in (moonwell.PROTOCOL, benqi.PROTOCOL):
        assert fork.evaluate(by_second, gates(start)).liquidatable is False
        assert fork.evaluate(by_second, gates(start), 101).liquidatable is True


def test_the_most_that_passes_is_never_more_than_the_tokens_there() -> None:
    found = with_price(position(holding(ETH, tokens=10**6), holding(DAI, debt=1000 * WAD)), ETH.token, WAD)
    pair = Pair(DAI.token, ETH.token)
    most = liquidate(found.state, found.prices, 100, pair)
    assert isinstance(most, Seizure)
    assert most.tokens <= 10**6
    more = liquidate(found.state, found.prices, 100, pair, most.repay + 10**12)
    assert more == Refusal("LIQUIDATE_SEIZE_TOO_MUCH")
    assert liquidate(found.state, found.prices, 100, pair, 500 * WAD + 1) == Refusal("TOO_MUCH_REPAY")
    worthless = position(holding(ETH, tokens=1, exchange_rate=0, cash=0, borrows=0), holding(DAI, debt=WAD))
    with pytest.raises(Overflows, match="zero"):
        liquidate(worthless.state, found.prices, 100, pair)
    unlisted = replace(found.state, holdings=(replace(found.state.holdings[0], market=market(ETH, listed=0)),))
    assert liquidate(unlisted, found.prices, 100, pair) == Refusal("MARKET_NOT_LISTED")


def test_legs_hold_the_debt_and_every_collateral() -> None:
    health = PROTOCOL.evaluate(position())
    assert [(leg.side, leg.symbol, leg.amount) for leg in health.legs] == [
        (Side.COLLATERAL, "ETH", WAD),
        (Side.DEBT, "DAI", 1000 * WAD),
    ]
    assert (health.collateral, health.debt) == (1250 * WAD, 1000 * WAD)


# -- reading -----------------------------------------------------------------------------------------------------------


def answers(fork: str, broken: str = "") -> Callable[[Sequence[Query]], list[Answer]]:
    """A comptroller with two markets; `broken` is the getter that no node answers."""
    numbers = {"closeFactorMantissa": 5 * 10**17, "liquidationIncentiveMantissa": WAD, "getUnderlyingPrice": WAD}
    more: dict[str, tuple[Any, ...]] = {
        "getAllMarkets": ((ETH.token, DAI.token),),
        "oracle": (BAT.token,),
        "getAssetsIn": ((ETH.token,),),
        "getAccountSnapshot": (0, 1000, 10, 2 * 10**26),
        "userPoolId": (7,),
        "pools": ("", True, False),
        "markets": (True, 8 * 10**17, False, 9 * 10**17, WAD, 0, True) if fork == "venus" else (True, 8 * 10**17),
        "poolMarkets": (False, 0, False, 0, 0, 0, False),
        "isForcedLiquidationEnabledForUser": (True,),
        "getVAIRepayAmount": (5,),
        "vaiController": (BAT.token,),
    }

    def one(query: Query) -> Answer:
        assert isinstance(query, Call)
        name = query.function.partition(".")[2]
        if name == broken:
            return Unread("out of gas")
        if name == "underlying" and query.to == ETH.token:
            return Unread("no data")
        if name in ("symbol", "decimals"):
            return Reverted(b"", "")
        if name in more:
            return Ok(more[name])
        return Ok((DAI.underlying,)) if name == "underlying" else Ok((numbers.get(name, 1),))

    return lambda queries: [one(query) for query in queries]


def test_a_market_of_the_chains_own_coin_has_no_underlying() -> None:
    ref, block = MarketRef(1, "compound-v2", "0x" + "11" * 20), position().block
    facts = run(PROTOCOL.static(ref, block), answers("compound"))
    underlying = str(DAI.underlying)
    assert [(one.symbol, one.underlying) for one in facts.markets] == [("ETH", None), (underlying[:8], underlying)]
    assert PROTOCOL.symbols(facts)[ETH.token] == "ETH"


def test_what_could_not_be_read_is_unreadable() -> None:
    start = position()
    shared = (
        "closeFactorMantissa",
        "getAssetsIn",
        "getAccountSnapshot",
        "markets",
        "getUnderlyingPrice",
        "borrowIndex",
    )
    for broken in (*shared, "liquidationIncentiveMantissa", "accrualBlockNumber", "borrowRatePerBlock"):
        (found,) = run(PROTOCOL.state(start.state.facts, [start.owner], start.block), answers("compound", broken))
        assert isinstance(found, Unreadable), broken
        assert "out of gas" in found.reason
    facts = replace(start.state.facts, vai=BAT.token)
    for broken in (
        *shared,
        "userPoolId",
        "pools",
        "poolMarkets",
        "getVAIRepayAmount",
        "isForcedLiquidationEnabledForUser",
    ):
        (found,) = run(VENUS.state(facts, [start.owner], start.block), answers("venus", broken))
        assert isinstance(found, Unreadable), broken
    (whole,) = run(VENUS.state(facts, [start.owner], start.block), answers("venus"))
    assert isinstance(whole, Position)
    assert (whole.state.vai, whole.state.pool, whole.state.forced) == (5, 7, (ETH.token,))
    assert whole.state.holdings[0].market.liquidation_factor == 0, "a pool that does not fall back counts what it lists"


def test_a_market_that_the_facts_do_not_know_is_unreadable() -> None:
    start = position()
    facts = replace(start.state.facts, markets=(DAI,))
    (found,) = run(PROTOCOL.state(facts, [start.owner], start.block), answers("compound"))
    assert isinstance(found, Unreadable)
    assert "do not know" in found.reason


def test_the_vai_controller_of_the_known_deployment_is_read() -> None:
    known = VENUS.deployments["bnb/venus-core"]
    ref = MarketRef(56, "venus-core", known.address)
    facts = run(VENUS.static(ref, position().block), answers("venus"))
    assert facts.vai == "0x004065D34C6b18cE4370ced1CeBDE94865DbFAFE"
    assert run(VENUS.recheck(replace(facts, vai=BAT.token), position().block), answers("venus")) is True
    assert run(VENUS.recheck(facts, position().block), answers("venus")) is False


@pytest.mark.parametrize("name", list(COUNTS))
def test_gates_that_are_not_told_are_unknown(name: str) -> None:
    """The recordings hold no pauses."""
    block = block_of(load(name).samples[0])
    facts = facts_of(name, block)
    with pytest.raises(CassetteMiss):
        load(name).replay(FORKS[name].context(facts, block), block)
    silent = run(FORKS[name].context(facts, block), lambda queries: [Reverted(b"", "") for _ in queries])
    assert silent.shut is None
    assert {one.released for one in silent.gates} == {None}
    told = run(FORKS[name].context(facts, block), _all_open)
    assert replace(told, vai=ZERO) == open_gates(facts)


def _all_open(queries: Sequence[Query]) -> list[Answer]:
    return [
        Ok((ZERO,)) if isinstance(one, Call) and one.function.endswith("vaiController") else Ok((False,))
        for one in queries
    ]
