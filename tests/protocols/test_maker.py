"""Sky (Maker) against its recorded contracts: bark now, after drips and pokes, and what it sends to auction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from monitor.chain.abi import checksum, revert_reason
from monitor.core.errors import ProtocolError
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
    Unknown,
    Unread,
    Unreadable,
    Word,
)
from monitor.health.engine import assess
from monitor.health.solve import liquidation_price, seconds_to_liquidation
from monitor.health.whatif import whatif
from monitor.protocols.base import Found
from monitor.protocols.maker import PROTOCOL, Context
from monitor.protocols.maker.math import (
    NEXT,
    SPOT,
    ZERO,
    Barked,
    Facts,
    Ilk,
    Path,
    Refused,
    State,
    bark,
    dripped,
    paths,
    poked,
    rpow,
)
from monitor.protocols.maker.notes import FORK, FROB, Note, VatBook, read_note
from tests.protocols.cassette import block_of, load

CASSETTE = load("maker")
SAMPLES = CASSETTE.samples
IDS = [f"{n}-{sample['name']}" for n, sample in enumerate(SAMPLES)]
DEPLOYED = {**CASSETTE.content["deployments"], "MCD_DAI": CASSETTE.content["deployments"]["DAI(mock)"]}
CHAINLOG = "0x" + "10" * 20
"""The recordings hold the addresses that a chainlog would tell, and no chainlog."""


def answerer(sample: Mapping[str, Any], block: BlockRef) -> Callable[[Sequence[Query]], list[Answer]]:
    """The cassette, behind a chainlog of the recorded deployments; `bark` answers as it did for the sample."""
    recorded = CASSETTE.answerer(block)

    def one(query: Query) -> Answer:
        assert isinstance(query, Call)
        if query.function == "maker.getAddress":
            key = query.args[0].rstrip(b"\0").decode()
            return Ok((checksum(DEPLOYED[key]),)) if key in DEPLOYED else Reverted(b"", "dss-chain-log/invalid-key")
        if query.function == "maker_dog.bark":
            barked = sample["expected"]["bark"]
            if barked["succeeds"]:
                return Ok((int(barked["auction_id"]),))
            return Reverted(data := bytes.fromhex(barked["revert"][2:]), revert_reason(data, query.function))
        return recorded([query])[0]

    return lambda queries: [one(query) for query in queries]


def facts_of(sample: Mapping[str, Any], block: BlockRef) -> Facts:
    """Read through the adapter."""
    market = MarketRef(31337, "maker", CHAINLOG, sample["market"]["ilk_name"])
    return run(PROTOCOL.static(market, block), answerer(sample, block))


READ: dict[tuple[str, str], Position] = {}


def read(sample: Mapping[str, Any]) -> Position:
    """The sample's position, read once: it never changes."""
    block = block_of(sample)
    place = block.hash, sample["account"]["urn"]
    if place in READ:
        return READ[place]
    facts, owner = facts_of(sample, block), checksum(sample["account"]["urn"])
    (found,) = run(PROTOCOL.state(facts, [owner], block), answerer(sample, block))
    assert isinstance(found, Position)
    READ[place] = found
    return found


def way(position: Position, *moves: str) -> Path:
    """The rate and spot after those moves."""
    found = paths(position.state, position.prices, position.block.timestamp)
    return next(one for one in found if set(one.moves) == set(moves))


def barks(position: Position, path: Path) -> bool | str:
    try:
        bark(position.state, path)
    except Refused as refused:
        return refused.message
    return True


def left_of(position: Position, moved: Barked) -> dict[str, str]:
    """The urn after a bark, as recordings write it."""
    return {"ink": str(position.state.ink - moved.dink), "art": str(position.state.art - moved.dart)}


def reason_of(barked: Mapping[str, Any]) -> bool | str:
    """From the bytes: one contract leaves its longest reason with bytes behind it that are no padding."""
    if barked["succeeds"]:
        return True
    data = bytes.fromhex(barked["revert"][2:])
    return data[68 : 68 + int.from_bytes(data[36:68], "big")].decode()


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_recorded_samples_are_exact(sample: dict[str, Any]) -> None:
    position, expected = read(sample), sample["expected"]
    health = PROTOCOL.evaluate(position)
    assert health.liquidatable is expected["liquidatable"]
    assert barks(position, way(position)) == reason_of(expected["bark"])
    if health.liquidatable:
        assert left_of(position, bark(position.state, way(position))) == expected["bark"]["Vat.urns_after"]
    shut = {gate.name for gate in health.gates if gate.state == "shut"}
    named = {"Dog/not-live": "dog", "Dog/liquidation-limit-hit": "room", "Clipper/stopped-incorrect": "clipper"}
    refused = named.get(str(reason_of(expected["bark"])))
    assert refused is None or refused in shut


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_recorded_drips_and_pokes_are_exact(sample: dict[str, Any]) -> None:
    """What the vat holds after the calls that anyone may make, and what bark then does."""
    position, expected = read(sample), sample["expected"]
    ilk, prices, now_s = position.state.ilk, position.prices, position.block.timestamp
    rate = dripped(ilk, now_s)
    assert rate == int(expected["after_drip"]["Vat.ilks"]["rate"])
    cur, next_ = prices.get(position.state.facts.pip), prices.get(NEXT)
    moved = expected["after_osmpoke_drip_poke"]
    due = moved["osm_poke_ok"]
    assert due is (now_s >= ilk.next_from_s and not ilk.osm_stopped)
    shifts = due and sample["market"]["OSM.src.peek"]["1"]
    for told, feed in ((expected["after_drip_poke"], cur), (moved, next_ if shifts else cur)):
        spot = 0 if feed is None else poked(ilk, feed)
        assert (rate, spot) == (int(told["Vat.ilks"]["rate"]), int(told["Vat.ilks"]["spot"]))
        path = Path((), rate, spot, feed)
        assert barks(position, path) == reason_of(told["bark"])
        if told is moved and told["bark"]["succeeds"]:
            assert left_of(position, bark(position.state, path)) == told["Vat.urns"]


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_health_is_never_above_what_anyone_can_bring_about(sample: dict[str, Any]) -> None:
    position, expected = read(sample), sample["expected"]
    health, next_block = PROTOCOL.evaluate(position), assess(PROTOCOL, position, None, 1)
    done = [expected["bark"], expected["after_drip_poke"]["bark"], expected["after_osmpoke_drip_poke"]["bark"]]
    if any(one["succeeds"] for one in done):
        assert isinstance(health.verdict, Known)
        assert health.verdict.unhealthy
        assert next_block.at_next_block is True
    if isinstance(health.verdict, Known) and not health.verdict.unhealthy:
        assert {reason_of(one) for one in done} <= {"Dog/not-unsafe", "Dog/not-live"}


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_truth_is_what_the_adapter_reports(sample: dict[str, Any]) -> None:
    position, block = read(sample), block_of(sample)
    plan = PROTOCOL.truth(position.state.facts, [position.owner], block)
    (truth,) = run(plan, answerer(sample, block))
    assert truth.error == ""
    assert truth.reported == PROTOCOL.evaluate(position).reported


def test_the_samples_hold_every_kind_of_answer() -> None:
    kinds = Counter(str(reason_of(sample["expected"]["bark"])) for sample in SAMPLES)
    reasons = "True", "Dog/not-unsafe", "Dog/liquidation-limit-hit", "Dog/not-live", "Clipper/stopped-incorrect"
    assert all(kinds[reason] >= 2 for reason in reasons)
    assert kinds["Dog/dusty-auction-from-partial-liquidation"] == 1
    hidden = [
        sample
        for sample in SAMPLES
        if not sample["expected"]["liquidatable"] and sample["expected"]["after_drip_poke"]["bark"]["succeeds"]
    ]
    assert hidden, "vaults that bark spares only until somebody drips"
    for sample in hidden:
        health = PROTOCOL.evaluate(read(sample))
        assert isinstance(health.verdict, Known)
        assert health.verdict.unhealthy
        assert any("jug.drip" in note for note in health.notes)


@pytest.mark.parametrize(
    "recorded", CASSETTE.liquidations, ids=[f"{n}-{one['name']}" for n, one in enumerate(CASSETTE.liquidations)]
)
def test_recorded_barks_are_predicted(recorded: dict[str, Any]) -> None:
    position = given(recorded)
    kick, told = recorded["expected"]["events"]
    moved = bark(position.state, way(position))
    assert (moved.dink, moved.dart, moved.due) == tuple(int(told[name]) for name in ("ink", "art", "due"))
    assert (moved.dink, moved.tab) == (int(kick["lot"]), int(kick["tab"]))
    assert moved.start > 0
    assert left_of(position, moved) == recorded["expected"]["Vat.urns"]


def given(recorded: Mapping[str, Any]) -> Position:
    """A position as a record's own `market` and `account` tell it."""
    market, urn = recorded["market"], recorded["account"]
    facts = facts_of(SAMPLES[0], block_of(SAMPLES[0]))
    ref = MarketRef(31337, "maker", CHAINLOG, market["ilk_name"])
    facts = replace(facts, market=ref, pip=market["pip"], clip=market["clip"])
    vat, dog = market["Vat.ilks"], market["Dog.ilks"]
    ilk = Ilk(
        rate=int(vat["rate"]),
        dust=int(vat["dust"]),
        mat=int(market["Spotter.ilks"]["mat"]),
        par=int(market["Spotter.par"]),
        duty=int(market["Jug.ilks"]["duty"]),
        rho_s=int(market["Jug.ilks"]["rho"]),
        base=int(market["Jug.base"]),
        chop=int(dog["chop"]),
        hole=int(dog["hole"]),
        dirt=int(dog["dirt"]),
        all_hole=int(market["Dog.Hole"]),
        all_dirt=int(market["Dog.Dirt"]),
        dog_live=market["Dog.live"] == "1",
        vat_live=market["Vat.live"] == "1",
        clip_stopped=int(market["Clipper.stopped"]),
    )
    prices = {facts.pip: int(market["OSM.peek(from Spotter)"]["0"], 16), SPOT: int(vat["spot"])}
    state = State(facts, ilk, urn["urn"], int(urn["Vat.urns"]["ink"]), int(urn["Vat.urns"]["art"]), {})
    return Position("p", urn["urn"], block_of(recorded), read(SAMPLES[0]).rule, prices, state)


def test_the_recorded_notes_lead_to_the_recorded_vat() -> None:
    """Every urn and every ilk, from the vat's logs alone."""
    (recorded,) = CASSETTE.content["replays"]
    book = VatBook()
    for log in recorded["logs"]:
        if log["address"] == DEPLOYED["MCD_VAT"]:
            topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
            book.add(read_note(topics, bytes.fromhex(log["data"][2:])))
    expected = recorded["expected_accounts"]
    urns = {(name.rstrip(b"\0").decode(), urn): amounts for (name, urn), amounts in book.urns.items()}
    assert {f"{name}:{checksum(urn)}": pair for (name, urn), pair in urns.items() if any(pair)} == {
        key: (int(urn["ink"]), int(urn["art"]))
        for key, urn in expected["urns"].items()
        if urn != {"ink": "0", "art": "0"}
    }
    assert {
        name.rstrip(b"\0").decode(): [str(number) for number in (one.art, one.rate, one.spot, one.line, one.dust)]
        for name, one in book.ilks.items()
    } == {name: list(numbers.values()) for name, numbers in expected["ilks"].items()}


def note(selector: bytes, *words: int | bytes) -> Note:
    padded = (
        word.ljust(32, b"\0") if isinstance(word, bytes) else word.to_bytes(32, "big", signed=word < 0)
        for word in words
    )
    data = (selector + b"".join(padded)).ljust(224, b"\0")
    head = (32).to_bytes(32, "big") + (224).to_bytes(32, "big")
    topics = [selector.ljust(32, b"\0"), *(data[4 + 32 * k : 36 + 32 * k] for k in range(3))]
    return read_note(topics, head + data)


def test_a_fork_moves_a_vault_without_a_frob() -> None:
    ilk, source, target = b"ETH-A", 0xAA, 0xBB
    book = VatBook()
    book.add(note(FROB, ilk, source, source, source, 10, 7))
    book.add(note(FORK, ilk, source, target, 4, 3))
    book.add(note(FORK, ilk, target, source, -1, 0))
    key = ilk.ljust(32, b"\0")
    assert book.urns == {(key, f"0x{source:040x}"): (5, 4), (key, f"0x{target:040x}"): (5, 3)}
    assert book.ilks[key].art == 7


def test_a_note_of_another_contract_is_not_read_as_the_vats() -> None:
    """There the caller comes second, and the arguments one later."""
    (recorded,) = CASSETTE.content["replays"]
    foreign = next(log for log in recorded["logs"] if log["address"] == DEPLOYED["MCD_JUG"])
    topics = [bytes.fromhex(topic[2:]) for topic in foreign["topics"]]
    data = bytes.fromhex(foreign["data"][2:])
    with pytest.raises(ProtocolError):
        read_note(topics, data)
    with pytest.raises(ProtocolError):
        read_note(topics[:1], data)


def test_facts_are_rechecked() -> None:
    sample = SAMPLES[0]
    block = block_of(sample)
    facts = facts_of(sample, block)

    def recheck(known: Facts) -> bool:
        return run(PROTOCOL.recheck(known, block), answerer(sample, block))

    assert recheck(facts) is True
    assert recheck(replace(facts, jug=facts.vat)) is False
    assert recheck(replace(facts, pip=facts.jug)) is False
    assert recheck(replace(facts, clip=facts.jug)) is False
    assert run(PROTOCOL.recheck(facts, block), lambda queries: [Unread("gone") for _ in queries]) is False


def test_the_next_price_is_taken_over_only_if_its_source_answers() -> None:
    """The verdict takes the worse of both; whether the source answers now is told beside it."""
    sample = next(one for one in SAMPLES if one["name"] == "osm-src-invalid")
    block = block_of(sample)
    facts = facts_of(sample, block)
    source = CASSETTE.replay(source_of(facts), block)

    def answers(queries: Sequence[Query]) -> list[Answer]:
        assert all(isinstance(query, Call) for query in queries)
        peeks = [query for query in queries if isinstance(query, Call) and query.to == source]
        assert all(query.sender == facts.pip for query in peeks), "the source answers only those it knows"
        return [Ok((b"", False))] if peeks else CASSETTE.answerer(block)(queries)

    context = run(PROTOCOL.context(facts, block), answers)
    assert context == Context(source_valid=False)
    assert any("source" in note for note in PROTOCOL.evaluate(read(sample), context).notes)


def source_of(facts: Facts) -> Any:
    (answer,) = yield (Call(facts.pip, "maker.src"),)
    return answer.values[0]


# -- made by hand ------------------------------------------------------------------------------------------------------

NOW_S = 1_700_000_000
RAY = 10**27
PIP = "0x" + "a1" * 20


FACTS = Facts(
    MarketRef(1, "maker", CHAINLOG, "ETH-A"),
    vat="0x" + "02" * 20,
    jug="0x" + "03" * 20,
    spotter="0x" + "04" * 20,
    dog="0x" + "05" * 20,
    dai="0x" + "06" * 20,
    manager=ZERO,
    get_cdps=ZERO,
    proxies=ZERO,
    pip=PIP,
    clip="0x" + "c1" * 20,
    is_osm=True,
)


def position(
    *, ink: int = 10 * 10**18, art: int = 10_000 * 10**18, price: int = 1_500 * 10**18, **changes: Any
) -> Position:
    """Ten of ETH-A against 10,000 DAI at 150 %: safe at 1,500 and not below."""
    ilk = Ilk(
        rate=RAY,
        dust=7_500 * 10**45,
        mat=15 * 10**26,
        par=RAY,
        duty=RAY + 3 * 10**18,
        rho_s=NOW_S,
        base=0,
        chop=113 * 10**16,
        hole=10**54,
        dirt=0,
        all_hole=10**54,
        all_dirt=0,
        dog_live=True,
        vat_live=True,
        clip_stopped=0,
        hop_s=3600,
        zzz_s=NOW_S - NOW_S % 3600,
    )
    ilk = replace(ilk, **{name: value for name, value in changes.items() if name in Ilk.__slots__})
    prices = {PIP: price, NEXT: changes.get("next_price", price), SPOT: changes.get("spot", poked(ilk, price))}
    block = BlockRef(1, 100, "0x" + "01" * 32, "0x" + "00" * 32, NOW_S)
    return Position(
        "p", "0x" + "ee" * 20, block, read(SAMPLES[0]).rule, prices, State(FACTS, ilk, "0x" + "ee" * 20, ink, art, {})
    )


def test_health_turns_between_two_neighbouring_prices() -> None:
    turn = 1_500 * 10**18
    for price, is_unhealthy in ((turn - 1, True), (turn, False), (turn + 1, False)):
        health = PROTOCOL.evaluate(position(price=price))
        assert isinstance(health.verdict, Known)
        assert health.verdict.unhealthy is is_unhealthy
        assert health.liquidatable is is_unhealthy
    assert liquidation_price(PROTOCOL, position(price=2 * turn), PIP, "below") == turn - 1


def test_equality_is_safe() -> None:
    verdict = PROTOCOL.evaluate(position()).verdict
    assert isinstance(verdict, Known)
    assert verdict.numerator == verdict.denominator


def test_stored_spot_alone_is_not_health() -> None:
    """The price has fallen, and nobody has poked yet: bark says no until somebody does."""
    stale = position(price=1_400 * 10**18, spot=RAY * 1000)
    health = assess(PROTOCOL, stale, None, 12)
    assert isinstance(health.verdict, Known)
    assert health.verdict.unhealthy
    assert (health.liquidatable, health.at_next_block) == (False, True)
    assert any("spotter.poke" in note for note in health.notes)


def test_a_spot_stored_lower_than_the_price_counts_until_it_is_poked() -> None:
    health = PROTOCOL.evaluate(position(price=2_000 * 10**18, spot=RAY * 999))
    assert health.liquidatable is True


def test_a_raised_ratio_counts_before_it_is_poked() -> None:
    raised = position(mat=16 * 10**26, spot=RAY * 1000)
    health = PROTOCOL.evaluate(raised)
    assert isinstance(health.verdict, Known)
    assert health.verdict.unhealthy
    assert health.liquidatable is False


def test_the_next_price_counts_from_the_second_that_the_osm_takes_it_over() -> None:
    start = position(price=2_000 * 10**18, next_price=1_000 * 10**18, duty=RAY)
    due_s = start.state.ilk.next_from_s
    assert due_s % 3600 == 0
    for at_s, is_unhealthy in ((due_s - 1, False), (due_s, True)):
        health = PROTOCOL.evaluate(start, None, at_s)
        assert isinstance(health.verdict, Known)
        assert health.verdict.unhealthy is is_unhealthy
        assert health.liquidatable is is_unhealthy
    assert seconds_to_liquidation(PROTOCOL, start) == due_s - NOW_S
    assert any(str(due_s) in note for note in PROTOCOL.evaluate(start).notes)
    stopped = position(price=2_000 * 10**18, next_price=1_000 * 10**18, duty=RAY, osm_stopped=True)
    assert seconds_to_liquidation(PROTOCOL, stopped) is None


def test_fees_that_nobody_has_dripped_count() -> None:
    start = position(rho_s=NOW_S - 86_400)
    health = PROTOCOL.evaluate(start)
    assert isinstance(health.verdict, Known)
    assert health.verdict.unhealthy
    assert health.liquidatable is False
    assert health.verdict.denominator == start.state.art * dripped(start.state.ilk, NOW_S)
    assert seconds_to_liquidation(PROTOCOL, position()) == 1


def test_a_fee_below_zero_never_helps() -> None:
    """Whoever barks will not drip first."""
    start = position(rho_s=NOW_S - 86_400, duty=RAY - 10**19)
    assert dripped(start.state.ilk, NOW_S) < RAY
    verdict = PROTOCOL.evaluate(start).verdict
    assert isinstance(verdict, Known)
    assert verdict.denominator == start.state.art * RAY


def test_the_base_fee_and_par_are_read_and_not_assumed() -> None:
    start = position(base=10**18, rho_s=NOW_S - 1, par=2 * RAY)
    assert dripped(start.state.ilk, NOW_S) == RAY + 4 * 10**18
    assert poked(start.state.ilk, 1_500 * 10**18) == 500 * RAY


def test_powers_round_half_up_at_every_step() -> None:
    assert rpow(RAY + 1, 2) == RAY + 2
    assert rpow(5 * 10**26, 90) == 1, "0.5**90 is 0.8 of the smallest unit"
    assert [rpow(0, 0), rpow(0, 1), rpow(7, 0)] == [RAY, 0, RAY]
    with pytest.raises(Refused):
        rpow(2**200, 2)


def test_a_void_price_is_unknown_whatever_the_stored_spot_says() -> None:
    for art in (10_000 * 10**18, 1):
        start = position(art=art)
        void = replace(start, prices={SPOT: start.prices[SPOT]})
        health = PROTOCOL.evaluate(void)
        assert isinstance(health.verdict, Unknown)
        assert health.liquidatable is False
        assert "price" in {gate.name for gate in health.gates if gate.state == "shut"}


def test_a_spot_of_zero_spares_everybody_until_it_is_poked() -> None:
    health = PROTOCOL.evaluate(position(price=1_400 * 10**18, spot=0))
    assert health.liquidatable is False
    assert isinstance(health.verdict, Known)
    assert health.verdict.unhealthy


def test_an_unreadable_next_price_is_unknown_once_it_may_count() -> None:
    start = position()
    prices = {PIP: start.prices[PIP], SPOT: start.prices[SPOT]}
    torn = replace(start, prices=prices, state=replace(start.state, price_errors={NEXT: "peep() reverts"}))
    due_s = torn.state.ilk.next_from_s
    assert isinstance(PROTOCOL.evaluate(torn, None, due_s - 1).verdict, Known)
    assert isinstance(PROTOCOL.evaluate(torn, None, due_s).verdict, Unknown)


def test_no_debt_needs_no_price() -> None:
    start = replace(position(art=0), prices={})
    health = PROTOCOL.evaluate(start)
    assert isinstance(health.verdict, NoDebt)
    assert health.liquidatable is False


def test_overflow_is_unknown_and_not_liquidatable() -> None:
    health = PROTOCOL.evaluate(position(ink=2**255))
    assert isinstance(health.verdict, Unknown)
    assert health.liquidatable is False


def test_room_decides_how_much_is_taken() -> None:
    broke = {"price": 1_000 * 10**18, "art": 100_000 * 10**18, "ink": 10**20}
    whole, none = position(**broke), position(**broke, hole=5, dirt=5)
    assert bark(whole.state, way(whole)).dart == 100_000 * 10**18
    assert barks(none, way(none)) == "Dog/liquidation-limit-hit"
    full = position(**broke, all_dirt=10**54)
    assert barks(full, way(full)) == "Dog/liquidation-limit-hit"
    part = position(**broke, hole=11_300 * 10**45)
    moved = bark(part.state, way(part))
    assert (moved.dart, moved.dink) == (10_000 * 10**18, 10**19)
    rest_is_just_enough = position(**broke, hole=104_525 * 10**45)
    assert bark(rest_is_just_enough.state, way(rest_is_just_enough)).dart == 92_500 * 10**18
    rest_is_dust = position(**broke, hole=109_000 * 10**45)
    assert bark(rest_is_dust.state, way(rest_is_dust)).dart == 100_000 * 10**18
    dusty = position(**broke, hole=8_000 * 10**45)
    assert barks(dusty, way(dusty)) == "Dog/dusty-auction-from-partial-liquidation"
    health = PROTOCOL.evaluate(dusty)
    assert health.liquidatable is False
    assert [gate.name for gate in health.gates if gate.state == "shut"] == ["bark"]
    assert isinstance(health.verdict, Known)
    assert health.verdict.unhealthy, "what cannot be auctioned is not safe for that"


def test_after_a_partial_liquidation_the_rest_is_as_unsafe() -> None:
    start = position(price=1_000 * 10**18, art=100_000 * 10**18, ink=10**20, hole=11_300 * 10**45)
    moved = bark(start.state, way(start))
    rest = replace(start.state, ink=start.state.ink - moved.dink, art=start.state.art - moved.dart)
    assert PROTOCOL.evaluate(replace(start, state=rest)).liquidatable is True


def test_shut_down_the_vat_keeps_its_rate_and_spot() -> None:
    start = position(rho_s=NOW_S - 86_400, price=1_000 * 10**18, spot=RAY * 1000, vat_live=False)
    assert {path.moves for path in paths(start.state, start.prices, NOW_S)} == {()}
    assert PROTOCOL.evaluate(start).notes[0] == "the system is shut down"


def test_without_a_clipper_nothing_is_auctioned() -> None:
    start = position(price=1_000 * 10**18)
    bare = replace(start, state=replace(start.state, facts=replace(start.state.facts, clip=ZERO)))
    health = PROTOCOL.evaluate(bare)
    assert health.liquidatable is False
    assert "clipper" in {gate.name for gate in health.gates if gate.state == "shut"}


def test_a_debt_below_dust_is_told() -> None:
    assert any("dust" in note for note in PROTOCOL.evaluate(position(dust=10_001 * 10**45)).notes)
    assert not any("dust" in note for note in PROTOCOL.evaluate(position(dust=10_000 * 10**45)).notes)


def test_a_shock_moves_what_is_stored_and_queued_along() -> None:
    start = position(duty=RAY)
    symbols = PROTOCOL.symbols(start.state.facts)
    assert set(symbols) == set(start.prices)
    for percent, is_unhealthy in ((-1, True), (1, False)):
        health = whatif(PROTOCOL, start, None, dict.fromkeys(symbols, Fraction(percent, 100)))
        assert isinstance(health.verdict, Known)
        assert health.verdict.unhealthy is is_unhealthy
        assert health.verdict.numerator * 100 == health.verdict.denominator * (100 + percent)


# -- reading -----------------------------------------------------------------------------------------------------------


WALLET, PROXY, OLD, NEW, THIRD = ("0x" + pair * 20 for pair in ("e1", "e2", "e3", "e4", "e5"))
OTHER_ILK = b"WBTC-A".ljust(32, b"\0")


def holding(
    amounts: Mapping[str, tuple[int, int]], lists: Mapping[str, Sequence[tuple[int, str, bytes]]], **broken: Answer
) -> tuple[list[Position | Unreadable], list[Any]]:
    """What is read of WALLET and what truth says, with vaults of the manager's by who holds them."""
    facts, block, answers = wallet(amounts, lists, **broken)
    found = run(PROTOCOL.state(facts, [WALLET], block), answers)
    return found, run(PROTOCOL.truth(facts, [WALLET], block), answers)


def wallet(
    amounts: Mapping[str, tuple[int, int]], lists: Mapping[str, Sequence[tuple[int, str, bytes]]], **broken: Answer
) -> tuple[Facts, BlockRef, Callable[[Sequence[Query]], list[Answer]]]:
    """A market in which WALLET holds vaults, and what it answers."""
    sample = SAMPLES[0]
    block = block_of(sample)
    facts = replace(facts_of(sample, block), get_cdps="0x" + "d1" * 20, proxies="0x" + "d2" * 20)

    def one(query: Query) -> Answer:
        assert isinstance(query, Call)
        name = query.function.partition(".")[2]
        if name in broken:
            return broken[name]
        if name == "proxies":
            return Ok((PROXY if PROXY in lists and query.args[0] == WALLET else ZERO,))
        if name == "getCdpsAsc":
            rows = lists.get(query.args[1], ())
            return Ok(tuple(tuple(row[at] for row in rows) for at in range(3)))
        if name == "urns":
            return Ok(amounts.get(query.args[1], (0, 0)))
        if name == "bark":
            return Reverted(b"", query.args[1])
        return CASSETTE.answerer(block)([query])[0]

    return facts, block, lambda queries: [one(query) for query in queries]


ILK = b"WBTC-B".ljust(32, b"\0")


@pytest.mark.parametrize("holder", [WALLET, PROXY])
def test_a_wallet_stands_for_the_one_vault_that_it_holds(holder: str) -> None:
    """Itself or through its proxy; what it has closed and what is of other ilks does not count."""
    lists = {holder: [(6, OLD, ILK), (7, NEW, ILK), (8, THIRD, OTHER_ILK)]}
    (found,), (truth,) = holding({NEW: (10**18, 10**21), THIRD: (1, 1)}, lists)
    assert isinstance(found, Position)
    assert (found.owner, found.state.urn, found.state.art) == (WALLET, NEW, 10**21)
    assert truth.reported == PROTOCOL.evaluate(found).reported


def test_of_several_vaults_none_hides_another() -> None:
    lists = {WALLET: [(6, OLD, ILK)], PROXY: [(7, NEW, ILK)]}
    for urns, count in (({OLD: (1, 1), NEW: (1, 1)}, 2), ({WALLET: (1, 0), OLD: (1, 1), NEW: (0, 1)}, 3)):
        (found,), (truth,) = holding(urns, lists)
        assert isinstance(found, Unreadable)
        assert f"{count} vaults" in found.reason
        assert f"{NEW} (vault 7)" in found.reason
        assert truth.error == found.reason


def test_every_vault_of_a_wallet_and_of_its_proxy_is_found() -> None:
    lists = {WALLET: [(6, OLD, ILK)], PROXY: [(7, NEW, ILK), (8, THIRD, OTHER_ILK)]}
    both = {OLD: (1, 1), NEW: (10**18, 10**21), THIRD: (1, 1)}
    facts, block, answers = wallet(both, lists)
    found = run(PROTOCOL.find_positions(facts, WALLET, block), answers)
    assert found == [Found(facts.market, OLD, "vault 6"), Found(facts.market, NEW, "vault 7")]
    urns = [one.owner for one in found]
    old, new = run(PROTOCOL.state(facts, urns, block), answers)
    assert isinstance(old, Position)
    assert isinstance(new, Position)
    assert (old.state.urn, new.state.urn) == (OLD, NEW), "each is read under the name that it was found by"
    for amounts in ({}, {NEW: (1, 1)}):
        facts, block, answers = wallet(amounts, lists)
        assert run(PROTOCOL.find_positions(facts, WALLET, block), answers) == [Found(facts.market, WALLET)]
    facts, block, answers = wallet(both, lists, getCdpsAsc=Unread("out of gas"))
    (lost,) = run(PROTOCOL.find_positions(facts, WALLET, block), answers)
    assert isinstance(lost, Unreadable)
    assert "out of gas" in lost.reason


def test_a_wallet_without_vaults_has_no_debt() -> None:
    for lists in ({}, {WALLET: [(6, OLD, ILK)]}):
        (found,), _ = holding({}, lists)
        assert isinstance(found, Position)
        assert isinstance(PROTOCOL.evaluate(found).verdict, NoDebt)


@pytest.mark.parametrize("name", ["proxies", "getCdpsAsc", "urns"])
def test_vaults_that_could_not_be_listed_are_not_taken_for_none(name: str) -> None:
    (found,), _ = holding({}, {PROXY: [(6, OLD, ILK)]}, **{name: Unread("out of gas")})
    assert isinstance(found, Unreadable)
    assert "out of gas" in found.reason


def test_a_wallet_is_not_called_free_of_debt_where_nobody_can_say_what_it_owns() -> None:
    """Lockstake's urns are not in the manager's list."""
    sample = next(one for one in SAMPLES if one["name"] == "zero-debt/empty-urn")
    block, owner = block_of(sample), checksum(sample["account"]["urn"])
    facts = facts_of(sample, block)
    engine = replace(facts, market=replace(facts.market, id="LSEV2-SKY-A"))

    def answers(queries: Sequence[Query]) -> list[Answer]:
        """As for the ilk that is recorded."""
        recorded = [
            replace(query, args=(facts.ilk, *query.args[1:])) if isinstance(query, Call) and query.args else query
            for query in queries
        ]
        return answerer(sample, block)(recorded)

    (found,) = run(PROTOCOL.state(engine, [owner], block), answers)
    assert isinstance(found, Unreadable)
    assert "name the urn" in found.reason


def test_what_could_not_be_read_is_unreadable() -> None:
    sample = SAMPLES[0]
    block = block_of(sample)
    facts, owner = facts_of(sample, block), checksum(sample["account"]["urn"])
    asked: list[Query] = []

    def breaking(number: int, failure: Answer) -> Callable[[Sequence[Query]], list[Answer]]:
        def answers(queries: Sequence[Query]) -> list[Answer]:
            asked[:] = queries
            return [failure if at == number else answerer(sample, block)([one])[0] for at, one in enumerate(queries)]

        return answers

    (found,) = run(PROTOCOL.state(facts, [owner], block), breaking(-1, Unread("")))
    assert isinstance(found, Position)
    for number, query in enumerate(list(asked)):
        (found,) = run(PROTOCOL.state(facts, [owner], block), breaking(number, Unread("out of gas")))
        assert isinstance(found, Unreadable), str(query)
        assert "out of gas" in found.reason


def test_a_pip_that_refuses_the_spotter_and_tells_no_storage_makes_health_unknown() -> None:
    sample = SAMPLES[1]
    block = block_of(sample)
    facts, owner = facts_of(sample, block), checksum(sample["account"]["urn"])

    def answers(queries: Sequence[Query]) -> list[Answer]:
        shut = Reverted(b"", "OSM/contract-not-whitelisted")
        refusing = "maker.peek", "maker.src"
        return [
            Unread("no storage")
            if isinstance(query, Word)
            else shut
            if isinstance(query, Call) and query.function in refusing
            else answerer(sample, block)([query])[0]
            for query in queries
        ]

    (found,) = run(PROTOCOL.state(facts, [owner], block), answers)
    assert isinstance(found, Position)
    verdict = PROTOCOL.evaluate(found).verdict
    assert isinstance(verdict, Unknown)
    assert "whitelisted" in verdict.reason


def test_a_pip_without_a_hop_is_read_without_one() -> None:
    sample = SAMPLES[0]
    block = block_of(sample)

    def plain(queries: Sequence[Query]) -> list[Answer]:
        lacking = "maker.hop", "maker.zzz", "maker.stopped", "maker.peep"
        return [
            Reverted(b"", "")
            if isinstance(query, Call) and query.to == sample["market"]["pip"] and query.function in lacking
            else answerer(sample, block)([query])[0]
            for query in queries
        ]

    facts = run(PROTOCOL.static(MarketRef(31337, "maker", CHAINLOG, "WBTC-B"), block), plain)
    assert facts.is_osm is False
    (found,) = run(PROTOCOL.state(facts, [checksum(sample["account"]["urn"])], block), plain)
    assert isinstance(found, Position)
    assert PROTOCOL.evaluate(found).input_age_s is None
    assert run(PROTOCOL.context(facts, block), plain) == Context(None)


@pytest.mark.parametrize("name", [None, "DOGE-A", "x" * 33])
def test_a_market_that_does_not_exist_is_said_so(name: str | None) -> None:
    def answers(queries: Sequence[Query]) -> list[Answer]:
        def one(query: Query) -> Answer:
            assert isinstance(query, Call)
            if query.function == "maker.getAddress":
                return Ok(("0x" + "11" * 20,))
            return Ok((ZERO, 0)) if query.function == "maker_spotter.ilks" else Ok((ZERO, 0, 0, 0))

        return [one(query) for query in queries]

    with pytest.raises(ProtocolError):
        run(PROTOCOL.static(MarketRef(1, "maker", CHAINLOG, name), position().block), answers)


def test_explain_ends_with_the_verdict() -> None:
    for sample in SAMPLES[::3]:
        found = read(sample)
        verdict = PROTOCOL.evaluate(found).verdict
        last = PROTOCOL.explain(found)[-1]
        if isinstance(verdict, Known):
            assert last.value == f"{verdict.numerator} / {verdict.denominator}"


def test_prices_are_as_old_as_the_poke_that_took_them_over() -> None:
    start = position()
    told = PROTOCOL.prices(start.state.facts, [start], None, start.block)
    assert [(price.asset, price.updated_at, price.valid_for) for price in told] == [
        (key, start.state.ilk.zzz_s, 7200) for key in (PIP, NEXT)
    ]
    assert PROTOCOL.price_keys(start) == {PIP: "ETH"}
    assert PROTOCOL.evaluate(start).input_age_s == NOW_S - start.state.ilk.zzz_s
