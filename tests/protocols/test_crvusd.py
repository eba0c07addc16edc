"""crvUSD v1 against its recorded contracts: health, debt, x_down, every liquidate and its amounts; and by hand."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from monitor.chain.abi import checksum
from monitor.core.errors import ProtocolError
from monitor.core.plan import run
from monitor.core.slots import vyper_entry
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
    ReadPlan,
    Reverted,
    Side,
    Unknown,
    Unread,
    Unreadable,
    Word,
)
from monitor.core.units import WAD
from monitor.health.solve import liquidation_price, seconds_to_liquidation
from monitor.protocols.base import with_price
from monitor.protocols.crvusd import PROTOCOL
from monitor.protocols.crvusd.math import (
    Band,
    Facts,
    Reverts,
    Seizure,
    State,
    Token,
    bands,
    debt_of,
    exp_int,
    floor,
    get_sum_xy,
    judge,
    liquidation,
    ln_int,
    price_oracle,
    reach,
)
from monitor.protocols.crvusd.reading import RULE, read_state
from tests.protocols.cassette import block_of, load

SAMPLES, LIQUIDATIONS = 67, 8
NAMES = {
    "amm": "AMM",
    "collateral_token": "collateral(mock)",
    "price_oracle_contract": "price_oracle(DummyPriceOracle)",
}


def beside(query: Query) -> Answer | None:
    """What the recording tells of its contracts without a call: where they are, decimals, and their generation."""
    if not isinstance(query, Call):
        return None
    deployed = load("crvusd").content["deployments"]
    name = query.function.partition(".")[2]
    if name == "symbol":
        return Reverted(b"", "")
    if name == "extra_health":
        return Ok((0,))
    if name == "decimals":
        return Ok((8 if query.to == checksum(deployed["market1.WBTC.collateral(mock)"]) else 18,))
    if name == "borrowed_token":
        return Ok((checksum(deployed["Stablecoin(crvUSD)"]),))
    if name in NAMES:
        market = next(key.rpartition(".")[0] for key, at in deployed.items() if checksum(at) == query.to)
        return Ok((checksum(deployed[f"{market}.{NAMES[name]}"]),))
    return None


def replayed(plan: ReadPlan[Any], block: BlockRef) -> Any:
    recorded = load("crvusd").answerer(block)

    def one(query: Query) -> Answer:
        return beside(query) or recorded([query])[0]

    return run(plan, lambda queries: [one(query) for query in queries])


@cache
def facts_of(block: BlockRef, controller: str) -> Facts:
    market = MarketRef(31337, "crvusd", checksum(controller))
    facts: Facts = replayed(PROTOCOL.static(market, block), block)
    return facts


def position_of(recorded: Mapping[str, Any]) -> Position:
    block, owner = block_of(recorded), checksum(recorded["account"]["owner"])
    facts = facts_of(block, recorded["market"]["controller"])
    answers = load("crvusd").answerer(block)
    plan = PROTOCOL.state(facts, [owner], block)
    (found,) = run(plan, lambda queries: [untold(query, recorded) or answers([query])[0] for query in queries])
    assert isinstance(found, Position), found
    return found


def untold(query: Query, recorded: Mapping[str, Any]) -> Answer | None:
    """Before liquidations two getters were not asked: the debt is reckoned here, the sums are what was withdrawn."""
    if "call" not in recorded or not isinstance(query, Call):
        return None
    if query.function == "crvusd.debt":
        initial, multiplier = (int(word, 16) for word in recorded["account"]["Controller.storage(loan)"])
        return Ok((-(-initial * int(recorded["market"]["AMM.get_rate_mul"]) // multiplier),))
    if query.function == "crvusd.get_sum_xy":
        (told,) = [event for event in recorded["expected"]["events"] if event["event"] == "Withdraw"]
        return Ok(((int(told["amount_borrowed"]), int(told["amount_collateral"])),))
    return None


@cache
def read(at: int) -> Position:
    return position_of(load("crvusd").samples[at])


def each(one: Callable[[Query], Answer]) -> Callable[[Sequence[Query]], list[Answer]]:
    return lambda queries: [one(query) for query in queries]


def test_no_recording_is_left_out() -> None:
    assert (len(load("crvusd").samples), len(load("crvusd").liquidations)) == (SAMPLES, LIQUIDATIONS)


@pytest.mark.parametrize("at", range(SAMPLES))
def test_recorded_samples_are_exact(at: int) -> None:
    sample, position = load("crvusd").samples[at], read(at)
    expected, health = sample["expected"], PROTOCOL.evaluate(position)
    assert position.state.facts.base_price == int(sample["market"]["BASE_PRICE"])
    assert health.liquidatable is expected["liquidatable"]
    assert debt_of(position.state, position.block.timestamp) == int(expected["debt"])
    assert get_sum_xy(position.state) == tuple(map(int, expected["get_sum_xy"]))
    told = expected["health(full=true)"]
    if isinstance(told, dict):
        assert isinstance(health.verdict, Unknown if int(expected["debt"]) else NoDebt)
        assert health.reported == {}
        return
    assert health.verdict == Known(WAD + int(told), WAD)
    assert health.reported == {
        "health": int(told),
        "debt": int(expected["debt"]),
        "get_x_down": int(expected["get_x_down"]),
    }
    prices = [price for _, price, _ in bands(position.state, position.block.timestamp)]
    assert prices[0] == int(expected["p_oracle_up(n1)"])
    assert position.state.soft is (position.state.n1 <= int(sample["market"]["AMM.active_band"]))


@pytest.mark.parametrize("at", range(SAMPLES))
def test_truth_is_what_the_adapter_reports(at: int) -> None:
    position = read(at)
    plan = PROTOCOL.truth(position.state.facts, [position.owner], position.block)
    (truth,) = load("crvusd").replay(plan, position.block)
    assert truth.reported == PROTOCOL.evaluate(position).reported


@pytest.mark.parametrize("at", range(LIQUIDATIONS))
def test_recorded_liquidations_are_exact(at: int) -> None:
    recorded = load("crvusd").liquidations[at]
    position, at_s = position_of(recorded), int(recorded["exec_block"]["timestamp"])
    (price,) = position.prices.values()
    moved = liquidation(position.state, price, at_s)
    (told,) = [event for event in recorded["expected"]["events"] if event["event"] == "Liquidate"]
    assert moved == Seizure(int(told["debt"]), int(told["stablecoin_received"]), int(told["collateral_received"]))
    assert moved.paid == -int(recorded["expected"]["liquidator_stablecoin_delta"])


def test_facts_are_rechecked_and_other_generations_refused() -> None:
    position = read(0)
    facts, block = position.state.facts, position.block
    assert replayed(PROTOCOL.recheck(facts, block), block) is True
    assert replayed(PROTOCOL.recheck(replace(facts, oracle=facts.amm), block), block) is False
    for generation, words in ((Reverted(b"", ""), "v1 generation"), (Unread("out of gas"), "out of gas")):

        def answers(queries: Sequence[Query], generation: Answer = generation) -> list[Answer]:
            return [generation if query.allow_revert else Ok((facts.amm,)) for query in queries]

        with pytest.raises(ProtocolError, match=words):
            run(PROTOCOL.static(facts.market, block), answers)


def test_explain_ends_with_the_verdict() -> None:
    for at in range(0, SAMPLES, 4):
        verdict = PROTOCOL.evaluate(read(at)).verdict
        lines = PROTOCOL.explain(read(at))
        if isinstance(verdict, Known):
            assert lines[-1].value == f"{verdict.numerator} / {verdict.denominator}"
        else:
            assert lines == []


# -- the storage that is compared with the getters ---------------------------------------------------------------------


def test_storage_that_is_laid_out_otherwise_is_unreadable() -> None:
    """A word of every kind, off by one: each is caught by some getter, or by the loan's own numbers."""
    sample = next(one for one in load("crvusd").samples if "limiter-active" in one["name"])
    block, owner = block_of(sample), checksum(sample["account"]["owner"])
    facts, recorded = facts_of(block, sample["market"]["controller"]), load("crvusd").answerer(block)
    controller = vyper_entry(1, int(owner, 16))
    total = vyper_entry(17, int(sample["account"]["read_user_tick_numbers"][1]))
    for slot, change in ((4, 1), (5, 10**6), (6, 10), (7, 1), (12, 10**12), (controller, 10**6), (total, 10**21)):

        def one(query: Query, slot: int = slot, change: int = change) -> Answer:
            (answer,) = recorded([query])
            if isinstance(query, Word) and query.slot == slot and isinstance(answer, Ok):
                return Ok((answer.values[0] + change,))
            return answer

        (found,) = run(PROTOCOL.state(facts, [owner], block), each(one))
        assert isinstance(found, Unreadable), slot
        assert "laid out" in found.reason or "no sense" in found.reason


def test_what_could_not_be_read_is_unreadable_and_a_price_is_unknown() -> None:
    sample = load("crvusd").samples[0]
    block, owner = block_of(sample), checksum(sample["account"]["owner"])
    facts, recorded = facts_of(block, sample["market"]["controller"]), load("crvusd").answerer(block)

    def answers(broken: Callable[[Query], bool]) -> Callable[[Sequence[Query]], list[Answer]]:
        return lambda queries: [Unread("out of gas") if broken(query) else recorded([query])[0] for query in queries]

    asked: list[Query] = []
    (whole,) = run(read_state(facts, [owner], block), answers(lambda query: bool(asked.append(query))))  # type: ignore[func-returns-value]
    assert isinstance(whole, Position)
    for query in dict.fromkeys(asked):
        (found,) = run(read_state(facts, [owner], block), answers(lambda one, query=query: one == query))  # type: ignore[misc]
        if str(query).startswith("crvusd.price("):
            assert isinstance(found, Position)
            assert isinstance(PROTOCOL.evaluate(found).verdict, Unknown)
        else:
            assert isinstance(found, Unreadable), query
            assert "out of gas" in found.reason


# -- made by hand ------------------------------------------------------------------------------------------------------

WETH, CRVUSD = Token("0x" + "cc" * 20, "WETH", 18), Token("0x" + "bb" * 20, "crvUSD", 18)
FACTS = Facts(
    MarketRef(1, "crvusd", "0x" + "11" * 20), "0x" + "22" * 20, "0x" + "33" * 20, WETH, CRVUSD, 100, 3000 * WAD
)
BLOCK = BlockRef(1, 100, "0x" + "01" * 32, "0x" + "00" * 32, 1_000_000)


def position(*, price: int = 3000 * WAD, debt: int = 27_000 * WAD, **changes: Any) -> Position:
    """Ten WETH in the bands 1 to 4 below 3,000, all of them the loan's."""
    held = tuple(Band(0, 25 * WAD // 10, 10**21, 10**21) for _ in range(4))
    state = State(FACTS, 2, 0, 1_000_000, WAD, 0, 3000 * WAD, 0, debt, WAD, 6 * WAD // 100, 1, held)
    prices = {WETH.address: price}
    return Position("p", "0x" + "ee" * 20, BLOCK, RULE, prices, replace(state, **changes))


def health(start: Position, at_s: int | None = None) -> int:
    verdict = PROTOCOL.evaluate(start, None, at_s).verdict
    assert isinstance(verdict, Known)
    return verdict.numerator - WAD


def test_one_unit_of_price_around_the_boundary() -> None:
    start = position()
    assert not PROTOCOL.evaluate(start).liquidatable
    turn = liquidation_price(PROTOCOL, start, WETH.address, "below")
    assert turn is not None
    _, lower, _ = list(bands(start.state, 1_000_000))[-1]
    assert lower < turn < 3000 * WAD
    for price, liquidatable in ((turn - 1, True), (turn, True), (turn + 1, False)):
        found = PROTOCOL.evaluate(with_price(start, WETH.address, price))
        assert isinstance(found.verdict, Known)
        assert found.verdict.unhealthy is found.liquidatable is liquidatable


def test_health_counts_what_is_above_the_bands_only_outside_soft_liquidation() -> None:
    start = position()
    assert health(with_price(start, WETH.address, 6000 * WAD)) > WAD // 2
    soft = position(active_band=1)
    assert soft.state.soft
    assert health(with_price(soft, WETH.address, 6000 * WAD)) == health(with_price(soft, WETH.address, 3000 * WAD))
    assert "soft liquidation" in PROTOCOL.evaluate(soft).notes[0]


def test_debt_is_rounded_up_but_for_the_only_loan() -> None:
    start = position(debt=10, rate_mul=WAD + 1)
    assert debt_of(start.state, 1_000_000) == 11
    assert debt_of(replace(start.state, n_loans=1), 1_000_000) == 10
    assert debt_of(replace(start.state, rate_mul=WAD), 1_000_000) == 10


def test_bands_and_debt_drift_up_with_interest() -> None:
    start = position(rate=WAD // 10 // 31_536_000)
    year = 1_000_000 + 31_536_000
    before, after = (next(bands(start.state, at_s))[1] for at_s in (1_000_000, year))
    assert before < after < before * 111 // 100
    assert debt_of(start.state, 1_000_000) < debt_of(start.state, year)
    assert health(start, year) < health(start)
    seconds = seconds_to_liquidation(PROTOCOL, start)
    assert seconds is not None
    assert health(start, 1_000_000 + seconds) < 0 <= health(start, 1_000_000 + seconds - 1)


def test_the_oracle_is_limited_for_two_minutes_after_an_exchange() -> None:
    state = position(prev_p_o_time=1_000_000).state
    assert price_oracle(state, 6000 * WAD, 1_000_000) == 3750 * WAD
    assert price_oracle(state, 1000 * WAD, 1_000_119) == 2400 * WAD
    assert price_oracle(state, 1000 * WAD, 1_000_120) == 1000 * WAD
    assert price_oracle(state, 3100 * WAD, 1_000_000) == 3100 * WAD
    crashed = replace(position(price=1000 * WAD, prev_p_o_time=1_000_000), prices={WETH.address: 1000 * WAD})
    assert "two minutes" in PROTOCOL.evaluate(crashed).notes[0]
    assert health(crashed) > health(crashed, 1_000_120)


def test_what_is_converted_does_not_come_back_with_the_price() -> None:
    """A loan that is all borrowed coin: a higher price alone makes it worse, since trades would buy back at a loss."""
    sold = tuple(Band(7_500 * WAD, 0, 10**21, 10**21) for _ in range(4))
    start = position(bands=sold, active_band=5, price=2_500 * WAD)
    assert health(with_price(start, WETH.address, 6_000 * WAD)) < health(start)
    above = liquidation_price(PROTOCOL, start, WETH.address, "above")
    assert above is not None
    assert health(with_price(start, WETH.address, above)) < 0 <= health(with_price(start, WETH.address, above - 1))
    assert liquidation_price(PROTOCOL, start, WETH.address, "below") is None


def test_bounds_between_prices_and_times_hold_for_mixed_bands() -> None:
    chance = random.Random(20)
    for _ in range(300):
        a = chance.choice((10, 30, 100, 500))
        mixed = tuple(
            Band(
                chance.choice((0, chance.randrange(10**22))),
                chance.choice((0, chance.randrange(10**19))),
                10**21,
                10**20,
            )
            for _ in range(chance.randrange(1, 9))
        )
        n1 = chance.randrange(-5, 5)
        facts = replace(FACTS, A=a)
        state = position(facts=facts, bands=mixed, n1=n1, active_band=n1 + chance.randrange(len(mixed))).state
        state = replace(state, rate=chance.randrange(10**10), initial_debt=chance.randrange(10**18, 10**23))
        low, high = sorted(int(3000 * WAD * chance.uniform(0.5, 1.6)) for _ in range(2))
        now_s = 1_000_000 + chance.randrange(10**7)
        ends = [WAD + judge(state, low, now_s).health, WAD + judge(state, high, now_s + 10**6).health]
        span = low, high, now_s, now_s + 10**6
        most, least, slack = reach(state, *span)
        assert (ends[0] - slack) * least <= (ends[1] + slack) * most
        assert (ends[1] - slack) * least <= (ends[0] + slack) * most
        assert min(ends) >= floor(state, *span) - slack


@pytest.mark.parametrize("price", [0, 2**140, None], ids=["zero", "huge", "none"])
def test_where_the_contract_reverts_nothing_is_healthy_or_liquidatable(price: int | None) -> None:
    start = position(active_band=1)
    mixed = tuple(replace(band, x=10**20) for band in start.state.bands)
    state = replace(start.state, bands=mixed, price_error="price(): stale")
    found = PROTOCOL.evaluate(replace(start, state=state, prices={} if price is None else {WETH.address: price}))
    assert isinstance(found.verdict, Unknown)
    assert found.liquidatable is False


def test_without_a_loan_there_is_no_debt_and_without_shares_nothing_to_take() -> None:
    gone = position(initial_debt=0, bands=())
    assert isinstance(PROTOCOL.evaluate(replace(gone, prices={})).verdict, NoDebt)
    empty = tuple(replace(band, shares=0) for band in position().state.bands)
    found = PROTOCOL.evaluate(position(bands=empty))
    assert found.verdict == Known(0, WAD)
    assert found.liquidatable is False
    with pytest.raises(Reverts, match="No deposits"):
        liquidation(position(bands=empty).state, 3000 * WAD, 1_000_000)
    with pytest.raises(Reverts, match="Not enough rekt"):
        liquidation(position().state, 3000 * WAD, 1_000_000)


def test_legs_are_what_the_bands_hold_now() -> None:
    state = position(active_band=1).state
    mixed = (replace(state.bands[0], x=5 * WAD, y=WAD), *state.bands[1:])
    found = PROTOCOL.evaluate(position(active_band=1, bands=mixed))
    assert [(leg.side, leg.symbol) for leg in found.legs] == [
        (Side.COLLATERAL, "WETH"),
        (Side.COLLATERAL, "crvUSD"),
        (Side.DEBT, "crvUSD"),
    ]
    assert abs(found.legs[0].amount - 85 * WAD // 10) < 10
    assert found.legs[0].value == found.legs[0].amount * 3000


def test_logarithm_exponential_and_slots() -> None:
    assert exp_int(0) == WAD
    assert abs(ln_int(2 * WAD) - 693147180559945309) < 100
    assert abs(exp_int(ln_int(2 * WAD)) - 2 * WAD) < 100
    for power in (-41446531673892821376, 135305999368893231589):
        with pytest.raises(Reverts, match="too far"):
            exp_int(power)
    assert vyper_entry(17, -1) == vyper_entry(17, 2**256 - 1) != vyper_entry(17, 1)
