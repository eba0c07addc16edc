"""Liquity V2 against its recorded contracts: debts with interest and batch fees, ratios, liquidations and amounts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from monitor.chain import abi
from monitor.chain.abi import checksum
from monitor.core.errors import ProtocolError
from monitor.core.plan import run
from monitor.core.types import (
    Answer,
    BlockRef,
    Call,
    Known,
    Log,
    MarketRef,
    NoDebt,
    Ok,
    Position,
    Query,
    Reverted,
    Unknown,
    Unread,
    Unreadable,
)
from monitor.health.solve import liquidation_price, seconds_to_liquidation
from monitor.protocols.base import Found
from monitor.protocols.liquity_v2 import PROTOCOL, Context
from monitor.protocols.liquity_v2.events import BranchBook
from monitor.protocols.liquity_v2.math import ACTIVE, CLOSED, ZOMBIE, Batch, Facts, State, latest, liquidate
from tests.protocols.cassette import block_of, load

CASSETTE = load("liquity-v2")
SAMPLES = CASSETTE.samples
IDS = [f"{n}-{sample['name']}" for n, sample in enumerate(SAMPLES)]
DEPLOYED = CASSETTE.content["deployments"]
ADDRESSES = {
    "troveManager": "TroveManager",
    "priceFeed": "PriceFeed(mock)",
    "troveNFT": "TroveNFT",
    "stabilityPool": "StabilityPool",
    "collToken": "collToken(mock)",
}
NOBODY, ZERO = "0x" + "99" * 20, "0x" + "00" * 20


def answerer(branch: str, block: BlockRef) -> Callable[[Sequence[Query]], list[Answer]]:
    """The cassette. It holds the addresses that a registry would tell, but not its telling them; and no symbols."""
    recorded = CASSETTE.answerer(block)

    def one(query: Query) -> Answer:
        assert isinstance(query, Call)
        name = query.function.partition(".")[2]
        if name in ADDRESSES:
            return Ok((checksum(DEPLOYED[f"branch{branch}.{ADDRESSES[name]}"]),))
        if name == "boldToken":
            return Ok((checksum(DEPLOYED["BoldToken"]),))
        return Reverted(b"", "") if name == "symbol" else recorded([query])[0]

    return lambda queries: [one(query) for query in queries]


def market_of(sample: Mapping[str, Any], identity: str | None = None) -> MarketRef:
    registry = checksum(DEPLOYED[f"branch{sample['market']['branch']}.AddressesRegistry"])
    return MarketRef(31337, "liquity-v2", registry, identity)


def owner_of(sample: Mapping[str, Any]) -> str:
    owner = sample["account"]["TroveNFT.ownerOf"]
    return checksum(owner) if isinstance(owner, str) else NOBODY


def read(sample: Mapping[str, Any]) -> Position:
    block, answers = block_of(sample), answerer(sample["market"]["branch"], block_of(sample))
    facts = run(PROTOCOL.static(market_of(sample, sample["account"]["troveId"]), block), answers)
    (found,) = run(PROTOCOL.state(facts, [owner_of(sample)], block), answers)
    assert isinstance(found, Position)
    return found


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_recorded_samples_are_exact(sample: dict[str, Any]) -> None:
    position, expected = read(sample), sample["expected"]
    health = PROTOCOL.evaluate(position)
    assert health.liquidatable is expected["liquidatable"]
    told = {name: int(value) for name, value in expected["getLatestTroveData"].items()}
    told = {name: value for name, value in told.items() if name in health.reported}
    ratio = {"ICR": int(expected["getCurrentICR"])} if "getCurrentICR" in expected else {}
    assert health.reported == told | ratio
    assert len(told) == 8
    reason = expected["batchLiquidateTroves"].get("reason")
    shut = {gate.name for gate in health.gates if gate.state == "shut"}
    if reason == "OnlyOneTroveLeft()":
        assert shut == {"more than one trove"}
        assert isinstance(health.verdict, Known)
        assert health.verdict.unhealthy
    elif reason == "NothingToLiquidate()":
        assert not isinstance(health.verdict, Known) or not health.verdict.unhealthy
    elif reason is not None:
        assert shut == {"price"}
        assert isinstance(health.verdict, Unknown)


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_truth_is_what_the_adapter_reports(sample: dict[str, Any]) -> None:
    position, block = read(sample), block_of(sample)
    plan = PROTOCOL.truth(position.state.facts, [position.owner], block)
    (truth,) = run(plan, answerer(sample["market"]["branch"], block))
    assert truth.error == ""
    assert truth.reported == PROTOCOL.evaluate(position).reported


def test_the_samples_hold_every_kind_of_case() -> None:
    kinds: Counter[str] = Counter()
    for sample in SAMPLES:
        state: State = read(sample).state
        kinds["batch"] += state.batch is not None
        kinds["zombie"] += state.status == ZOMBIE
        kinds["shut down"] += state.shutdown_s > 0
        kinds["redistributed"] += state.redist_debt > 0
        kinds["liquidatable"] += sample["expected"]["liquidatable"]
    assert min(kinds.values()) >= 8, kinds


PENALTY = 5 * 10**16
REDISTRIBUTION_PENALTIES = {"0": 10**17, "1": 2 * 10**17}


@pytest.mark.parametrize(
    "recorded", CASSETTE.liquidations, ids=[f"{n}-{one['name']}" for n, one in enumerate(CASSETTE.liquidations)]
)
def test_recorded_liquidations_are_predicted_at_the_block_that_they_land_in(recorded: dict[str, Any]) -> None:
    state, market = state_of(recorded), recorded["market"]
    lands_s, price = int(recorded["exec_block"]["timestamp"]), int(market["PriceFeed.fetchPrice"]["0"])
    position = Position("p", "o", block_of(recorded), read(SAMPLES[0]).rule, {state.facts.coll: price}, state)
    assert PROTOCOL.evaluate(position, at_s=lands_s).liquidatable is True
    trove, pool = latest(state, lands_s), int(market["StabilityPool.getTotalBoldDeposits"])
    split = liquidate(trove, price, pool, PENALTY, REDISTRIBUTION_PENALTIES[market["branch"]])
    events = {event["event"]: event for event in recorded["expected"]["events"]}
    done, told = events["TroveOperation"], events["Liquidation"]
    assert (-trove.debt, -trove.coll) == (int(done["_debtChangeFromOperation"]), int(done["_collChangeFromOperation"]))
    amounts = {
        "_collGasCompensation": split.gas_coll,
        "_debtOffsetBySP": split.offset_debt,
        "_collSentToSP": split.offset_coll,
        "_debtRedistributed": split.redistributed_debt,
        "_collRedistributed": split.redistributed_coll,
        "_collSurplus": split.surplus_coll,
    }
    assert amounts == {name: int(told[name]) for name in amounts}


def state_of(recorded: Mapping[str, Any]) -> State:
    """State as a record's own `market` and `account` tell it; redistribution from the recorded sums per stake."""
    market, account = recorded["market"], recorded["account"]
    trove, shared = account["Troves"], account.get("getLatestBatchData")
    facts = replace(FACTS, mcr=int(market["AddressesRegistry.MCR"]))
    batch = None
    if shared:
        names = "recordedDebt", "annualInterestRate", "annualManagementFee", "lastDebtUpdateTime", "totalDebtShares"
        batch = Batch(trove["interestBatchManager"], *(int(shared[name]) for name in names))
    stake, sums = int(trove["stake"]), account["rewardSnapshots"]
    return State(
        facts=facts,
        trove_id=int(account["troveId"]),
        status=int(trove["status"]),
        debt=int(trove["debt"]),
        coll=int(trove["coll"]),
        rate=int(trove["annualInterestRate"]),
        updated_s=int(trove["lastDebtUpdateTime"]),
        shares=int(trove["batchDebtShares"]),
        batch=batch,
        redist_debt=stake * (int(market["L_boldDebt"]) - int(sums["boldDebt"])) // 10**18,
        redist_coll=stake * (int(market["L_coll"]) - int(sums["coll"])) // 10**18,
        shutdown_s=int(market["TroveManager.shutdownTime"]),
        troves=int(market["TroveManager.getTroveIdsCount"]),
    )


def replayed(branch: str) -> BranchBook:
    """The branch's TroveManager from its recorded logs, read as a node's."""
    (recorded,) = CASSETTE.content["replays"]
    names = "TroveUpdated", "BatchedTroveUpdated", "BatchUpdated", "TroveOperation", "Liquidation"
    events = {abi.event(f"liquity_v2.{name}").topic: f"liquity_v2.{name}" for name in names}
    book = BranchBook()
    for log in recorded["logs"]:
        topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
        if log["address"] == recorded["addresses"][f"branch{branch}.TroveManager"] and topics[0] in events:
            place = int(log["blockNumber"]), log["blockHash"], int(log["logIndex"])
            data = bytes.fromhex(log["data"][2:])
            read_log = abi.decode_log(events[topics[0]], log["address"], topics, data, *place)
            book.add(read_log, int(recorded["block_timestamps"][log["blockNumber"]]))
    return book


@pytest.mark.parametrize("branch", ["0", "1"])
def test_the_recorded_events_lead_to_the_recorded_troves(branch: str) -> None:
    (recorded,) = CASSETTE.content["replays"]
    book, market = replayed(branch), recorded["final"]["market"][branch]
    assert (book.l_coll, book.l_debt) == (int(market["L_coll"]), int(market["L_boldDebt"]))
    expected = {key: one for key, one in recorded["expected_accounts"].items() if key.startswith(f"{branch}:")}
    assert len(expected) >= 7
    for account in expected.values():
        identity, told = int(account["troveId"]), account["Troves"]
        if told["status"] == "3":
            assert identity not in book.troves
            continue
        trove = book.troves[identity]
        names = "debt", "coll", "stake", "annualInterestRate", "lastDebtUpdateTime", "batchDebtShares"
        assert [trove.debt, trove.coll, trove.stake, trove.rate, trove.updated_s, trove.shares] == [
            int(told[name]) for name in names
        ]
        assert checksum(trove.manager or ZERO) == checksum(told["interestBatchManager"])
        sums = account["rewardSnapshots"]
        assert (trove.snapshot_coll, trove.snapshot_debt) == (int(sums["coll"]), int(sums["boldDebt"]))
        if trove.manager is not None:
            assert book.batches[trove.manager] == state_of({"market": market, "account": account}).batch


@pytest.mark.parametrize("branch", ["0", "1"])
def test_what_is_rebuilt_owes_what_the_contract_says(branch: str) -> None:
    (recorded,) = CASSETTE.content["replays"]
    book, final = replayed(branch), recorded["final"]
    told = final["market"][branch]["MultiTroveGetter.getMultipleSortedTroves(branch,0,40)"]
    assert told
    for one in told:
        identity = int(one["id"])
        trove, (debt, coll) = book.troves[identity], book.pending(identity)
        batch = book.batches[trove.manager] if trove.manager else None
        own = trove.debt, trove.coll, trove.rate, trove.updated_s, trove.shares
        state = State(FACTS, identity, ACTIVE, *own, batch, debt, coll, 0, 10)
        now = latest(state, int(final["block"]["timestamp"]))
        assert (now.debt, now.coll) == (int(one["entireDebt"]), int(one["entireColl"]))


def test_pending_debt_applied_in_a_batch_is_no_leaving() -> None:
    book, manager = BranchBook(), "0x" + "ba" * 20
    sums = {"_snapshotOfTotalCollRedist": 0, "_snapshotOfTotalDebtRedist": 0}
    batch = {"_interestBatchManager": manager, "_debt": 9, "_annualInterestRate": 1, "_annualManagementFee": 2}

    def add(event: str, **args: Any) -> None:
        book.add(Log(NOBODY, f"liquity_v2.{event}", args, 1, "", 0), NOW_S)

    add("BatchUpdated", **batch, _totalDebtShares=10)
    add("BatchedTroveUpdated", _troveId=1, _interestBatchManager=manager, _batchDebtShares=4, _coll=5, _stake=5, **sums)
    whole = {"_troveId": 1, "_debt": 7, "_coll": 6, "_stake": 6, "_annualInterestRate": 1}
    add("TroveUpdated", **whole, **sums)
    add("TroveOperation", _troveId=1, _operation=4)
    add("BatchUpdated", **batch, _totalDebtShares=13)
    trove = book.troves[1]
    assert (trove.manager, trove.shares, trove.coll, trove.debt) == (manager, 7, 6, 0)
    add("TroveUpdated", **whole, **sums)
    add("TroveOperation", _troveId=1, _operation=9)
    add("BatchUpdated", **batch, _totalDebtShares=6)
    trove = book.troves[1]
    assert (trove.manager, trove.shares, trove.debt, trove.updated_s) == (None, 0, 7, NOW_S)


def test_facts_are_rechecked() -> None:
    sample = SAMPLES[0]
    block, answers = block_of(sample), answerer(sample["market"]["branch"], block_of(sample))
    facts = read(sample).state.facts
    assert run(PROTOCOL.recheck(facts, block), answers) is True
    assert run(PROTOCOL.recheck(replace(facts, mcr=facts.mcr + 1), block), answers) is False
    assert run(PROTOCOL.recheck(replace(facts, price_feed=facts.coll), block), answers) is False
    assert run(PROTOCOL.recheck(facts, block), lambda queries: [Unread("gone") for _ in queries]) is False


def test_context_tells_the_branch() -> None:
    sample = SAMPLES[0]
    position, market = read(sample), sample["market"]
    context = CASSETTE.replay(PROTOCOL.context(position.state.facts, block_of(sample)), block_of(sample))
    assert context == Context(
        coll=int(market["TroveManager.getEntireBranchColl"]),
        debt=int(market["TroveManager.getEntireBranchDebt"]),
        stability_pool=int(market["StabilityPool.getTotalBoldDeposits"]),
    )
    poor = replace(context, coll=1)
    assert any("anyone may shut it down" in note for note in PROTOCOL.evaluate(position, poor).notes)
    assert not PROTOCOL.evaluate(position, Context(None, None, None)).notes[1:]


# -- made by hand ------------------------------------------------------------------------------------------------------

NOW_S = 1_800_000_000
YEAR_S = 365 * 86_400
COLL = "0x" + "c1" * 20
FACTS = Facts(
    MarketRef(1, "liquity-v2", "0x" + "10" * 20, "7"),
    manager="0x" + "02" * 20,
    price_feed="0x" + "03" * 20,
    nft="0x" + "04" * 20,
    stability_pool="0x" + "05" * 20,
    coll=COLL,
    bold="0x" + "06" * 20,
    mcr=11 * 10**17,
    ccr=15 * 10**17,
    scr=11 * 10**17,
    symbol="WETH",
)
BLOCK = BlockRef(1, 100, "0x" + "01" * 32, "0x" + "00" * 32, NOW_S)


def position(*, price: int | None = 1_100 * 10**18, **changes: Any) -> Position:
    """Ten WETH against 10,000 BOLD at 5 % a year: 110 % at a price of 1,100."""
    state = State(FACTS, 7, ACTIVE, 10**22, 10**19, 5 * 10**16, NOW_S, 0, None, 0, 0, 0, 10)
    prices = {} if price is None else {COLL: price}
    return Position("p", NOBODY, BLOCK, read(SAMPLES[0]).rule, prices, replace(state, **changes))


def batched(**changes: Any) -> Position:
    """A third of a batch that owes 30,000 at 5 % and a fee of 1 %."""
    batch = Batch("0x" + "ba" * 20, 3 * 10**22, 5 * 10**16, 10**16, NOW_S, 3 * 10**22)
    return position(debt=0, rate=0, updated_s=0, shares=10**22, batch=replace(batch, **changes))


def test_health_turns_between_two_neighbouring_prices() -> None:
    turn = 1_100 * 10**18
    for price, unhealthy in ((turn - 1, True), (turn, False), (turn + 1, False)):
        health = PROTOCOL.evaluate(position(price=price))
        assert isinstance(health.verdict, Known)
        assert health.verdict.unhealthy is unhealthy
        assert health.liquidatable is unhealthy
    assert liquidation_price(PROTOCOL, position(price=2 * turn), COLL, "below") == turn - 1


def test_each_branch_has_its_own_minimum() -> None:
    other = position(price=1_199 * 10**18)
    assert PROTOCOL.evaluate(other).liquidatable is False
    dearer = replace(other, state=replace(other.state, facts=replace(FACTS, mcr=12 * 10**17)))
    assert PROTOCOL.evaluate(dearer).liquidatable is True


def test_interest_that_nobody_has_applied_counts() -> None:
    start = position()
    later = PROTOCOL.evaluate(start, at_s=NOW_S + YEAR_S)
    assert later.reported["accruedInterest"] == 5 * 10**20
    assert later.liquidatable is True
    assert seconds_to_liquidation(PROTOCOL, start) == 1
    assert seconds_to_liquidation(PROTOCOL, position(rate=0)) is None


def test_interest_is_rounded_down_twice() -> None:
    """Once per year and once per unit: 0.9 of a unit either way is nothing."""
    tiny = position(debt=10**9, rate=10**9, updated_s=NOW_S - 9 * YEAR_S // 10)
    assert latest(tiny.state, NOW_S).interest == 0


def test_a_batch_is_cut_by_shares_three_times() -> None:
    start = batched(debt=100, rate=10**18, fee=10**17, shares=3, updated_s=NOW_S - YEAR_S)
    trove = latest(replace(start.state, shares=1), NOW_S)
    assert (trove.recorded_debt, trove.interest, trove.fee, trove.debt) == (33, 33, 3, 69)
    assert 69 < (100 + 100 + 10) // 3
    assert latest(replace(start.state, batch=replace(start.state.batch, shares=0)), NOW_S).debt == 0


def test_a_batch_pays_its_manager_too() -> None:
    alone, member = (latest(one.state, NOW_S + YEAR_S) for one in (position(), batched()))
    assert alone.debt == 10_500 * 10**18
    assert (member.fee, member.debt) == (10**20, 10_600 * 10**18)
    assert member.rate == 5 * 10**16, "a member's own rate is stored as 0"
    assert any("batch manager" in note for note in PROTOCOL.evaluate(batched()).notes)


def test_interest_stops_at_the_shutdown() -> None:
    for shutdown_s, owed in ((NOW_S + YEAR_S, 5 * 10**20), (NOW_S, 0), (NOW_S - 1, 0)):
        start = position(shutdown_s=shutdown_s)
        assert latest(start.state, NOW_S + 3 * YEAR_S).interest == owed
        assert "shut down" in PROTOCOL.evaluate(start).notes[0]


def test_redistributions_count_before_any_event() -> None:
    health = PROTOCOL.evaluate(position(redist_debt=10**20, redist_coll=10**17))
    assert (health.reported["entireDebt"], health.reported["entireColl"]) == (101 * 10**20, 101 * 10**17)
    assert PROTOCOL.evaluate(position(redist_debt=1)).liquidatable is True


def test_zombies_are_liquidated_like_any_other() -> None:
    health = PROTOCOL.evaluate(position(status=ZOMBIE, price=10**20))
    assert health.liquidatable is True
    assert "zombie" in health.notes[0]


def test_closed_and_empty_troves_have_no_debt() -> None:
    for start in (position(status=CLOSED), position(status=3), position(status=ZOMBIE, debt=0)):
        health = PROTOCOL.evaluate(start)
        assert isinstance(health.verdict, NoDebt)
        assert health.liquidatable is False


def test_a_trove_that_never_was_is_unknown() -> None:
    """A mistyped id must not look like a paid debt."""
    assert isinstance(PROTOCOL.evaluate(position(status=0)).verdict, Unknown)


def test_the_last_trove_is_never_liquidated() -> None:
    health = PROTOCOL.evaluate(position(price=10**18, troves=1))
    assert isinstance(health.verdict, Known)
    assert health.verdict.unhealthy
    assert health.liquidatable is False


@pytest.mark.parametrize("price", [None, 0, 2**250])
def test_without_a_usable_price_health_is_unknown_and_nobody_is_liquidated(price: int | None) -> None:
    health = PROTOCOL.evaluate(position(price=price, price_error="feed down"))
    assert isinstance(health.verdict, Unknown)
    assert health.liquidatable is False


def test_a_failed_oracle_is_told_and_its_last_price_still_decides() -> None:
    health = PROTOCOL.evaluate(position(price=10**20, oracle_failed=True))
    assert health.liquidatable is True
    assert "shuts the branch down" in health.notes[0]


def test_surplus_is_the_owners_and_the_pool_keeps_one_bold() -> None:
    trove = latest(position().state, NOW_S)
    split = liquidate(trove, 1_100 * 10**18, 10**30, PENALTY, 10**17)
    assert split.offset_debt == trove.debt
    assert split.offset_coll == 10**22 * 105 * 10**16 // (1_100 * 10**18)
    assert split.gas_coll + split.offset_coll + split.surplus_coll == trove.coll
    nothing = liquidate(trove, 1_100 * 10**18, 10**18, PENALTY, 10**17)
    assert (nothing.offset_debt, nothing.redistributed_debt) == (0, trove.debt)


# -- reading -----------------------------------------------------------------------------------------------------------

TROVE = (10**22, 10**19, 10**19, ACTIVE, 0, NOW_S, NOW_S, 5 * 10**16, "0x" + "00" * 20, 0)
LATEST = ((10**22, 10**19, 0, 0, 0, 10**22, 5 * 10**16, 0, 0, NOW_S),)
MINE, OTHERS = "0x" + "e1" * 20, "0x" + "e2" * 20


def branch(owners: Sequence[str], trove: tuple[Any, ...] = TROVE, **broken: Answer) -> Any:
    """A branch whose troves belong to `owners`, in order; `broken` answers by function."""
    answers: dict[str, Answer] = {
        "fetchPrice": Ok((1_500 * 10**18, False)),
        "shutdownTime": Ok((0,)),
        "getTroveIdsCount": Ok((len(owners),)),
        "Troves": Ok(trove),
        "getLatestTroveData": Ok(LATEST),
        "getLatestBatchData": Ok(((10**22, 0, 0, 0, 10**22, 5 * 10**16, 0, 10**16, 0, 0, NOW_S, NOW_S),)),
    } | broken

    def one(query: Query) -> Answer:
        assert isinstance(query, Call)
        name = query.function.partition(".")[2]
        if name in answers:
            return answers[name]
        return Ok((owners[query.args[0]],)) if name == "ownerOf" else Ok((query.args[0],))

    return lambda queries: [one(query) for query in queries]


def found(answers: Any, *owners: str, identity: str | None = None) -> list[Position | Unreadable]:
    facts = replace(FACTS, market=replace(FACTS.market, id=identity))
    return run(PROTOCOL.state(facts, owners, BLOCK), answers)


def test_an_owner_without_an_id_is_looked_for_among_all_troves() -> None:
    one, none, several = found(branch([OTHERS, MINE, OTHERS]), MINE, NOBODY, OTHERS)
    assert isinstance(one, Position)
    assert one.state.trove_id == 1
    assert isinstance(none, Position)
    assert isinstance(PROTOCOL.evaluate(none).verdict, NoDebt)
    assert isinstance(several, Unreadable)
    assert "2 troves" in several.reason
    assert "0x0, 0x2" in several.reason


def test_every_trove_of_an_owner_is_found() -> None:
    facts, answers = replace(FACTS, market=replace(FACTS.market, id=None)), branch([OTHERS, MINE, OTHERS])
    first, last = run(PROTOCOL.find_positions(facts, OTHERS, BLOCK), answers)
    for one, identity in ((first, "0x0"), (last, "0x2")):
        assert isinstance(one, Found)
        assert (one.owner, one.market.id) == (OTHERS, identity)
        (position,) = found(answers, OTHERS, identity=identity)
        assert isinstance(position, Position)
        assert position.state.trove_id == int(identity, 0)
    for owner in (MINE, NOBODY):
        assert run(PROTOCOL.find_positions(facts, owner, BLOCK), answers) == [Found(facts.market, owner)]
    named = replace(FACTS, market=replace(FACTS.market, id="0x2"))
    assert run(PROTOCOL.find_positions(named, OTHERS, BLOCK), answers) == [Found(named.market, OTHERS)]
    torn = branch([OTHERS, MINE], ownerOf=Unread("out of gas"))
    (lost,) = run(PROTOCOL.find_positions(facts, OTHERS, BLOCK), torn)
    assert isinstance(lost, Unreadable)


def test_a_trove_that_was_handed_on_is_not_the_old_owners() -> None:
    (gone,) = found(branch([OTHERS]), MINE, identity="0x0")
    assert isinstance(gone, Unreadable)
    assert OTHERS in gone.reason


@pytest.mark.parametrize("identity", [None, "0"])
def test_what_could_not_be_read_is_unreadable(identity: str | None) -> None:
    torn = Unread("out of gas")
    names = ["fetchPrice", "shutdownTime", "getTroveIdsCount", "Troves", "getLatestTroveData", "ownerOf"]
    names += ["getLatestBatchData"] if identity else ["getTroveFromTroveIdsArray"]
    in_batch = (*TROVE[:8], "0x" + "ba" * 20, 10**22)
    for name in names:
        (one,) = found(branch([MINE], in_batch, **{name: torn}), MINE, identity=identity)
        assert isinstance(one, Unreadable), name
        assert "out of gas" in one.reason


def test_a_feed_that_reverts_is_unknown_and_not_unreadable() -> None:
    (one,) = found(branch([MINE], fetchPrice=Reverted(b"", "feed down")), MINE, identity="0")
    assert isinstance(one, Position)
    verdict = PROTOCOL.evaluate(one).verdict
    assert isinstance(verdict, Unknown)
    assert "feed down" in verdict.reason


@pytest.mark.parametrize("identity", ["weth", "-1", str(2**256), ""])
def test_what_is_no_troves_id_is_said_so(identity: str) -> None:
    with pytest.raises(ProtocolError):
        run(PROTOCOL.static(replace(FACTS.market, id=identity), BLOCK), branch([]))


def test_explain_ends_with_the_verdict() -> None:
    for sample in SAMPLES[::3]:
        one = read(sample)
        verdict = PROTOCOL.evaluate(one).verdict
        last = PROTOCOL.explain(one)[-1]
        if isinstance(verdict, Known):
            assert last.value == f"{verdict.numerator} / {verdict.denominator}"


def test_prices_and_symbols_go_by_the_collateral() -> None:
    start = position()
    (price,) = PROTOCOL.prices(FACTS, [start], None, BLOCK)
    assert (price.asset, price.answer, price.source) == (COLL, 1_100 * 10**18, FACTS.price_feed)
    assert PROTOCOL.price_keys(start) == PROTOCOL.symbols(FACTS) == {COLL: "WETH"}
