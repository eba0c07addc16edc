"""Row O8: the Maker OSM's next price, an OSM that is stopped or void, and one that refuses whoever reads it.

On recorded contracts, which hold the OSM's storage words too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monitor.chain.abi import checksum
from monitor.core.plan import done, run
from monitor.core.types import Answer, Call, Known, Ok, Position, Query, Reverted, Unknown, Word
from monitor.health.solve import seconds_to_liquidation
from monitor.protocols.maker import PROTOCOL
from monitor.protocols.maker.math import NEXT, Facts, Path, State, paths
from tests.faults.rows import row
from tests.protocols.cassette import block_of
from tests.protocols.test_maker import CASSETTE, SAMPLES, answerer, facts_of, read

QUEUED = [sample for sample in SAMPLES if "osm-not-yet" in sample["name"]]
STORAGE = "monitor.protocols.maker:read_refused"
PATHS = "monitor.protocols.maker:paths"


def never_taken_over(state: State, prices: Mapping[str, int], now_s: int) -> list[Path]:
    """What a monitor of the current price knows."""
    return paths(state, {key: price for key, price in prices.items() if key != NEXT}, now_s)


def not_asked(_: Facts, answers: Mapping[Call, Answer]) -> Any:
    return done(dict(answers))


def reread(sample: Mapping[str, Any], *, packed: int | None = None, **changed: Answer) -> Position:
    """The sample with other answers of its OSM; `packed`: another word in the slot of its clock."""
    block = block_of(sample)
    facts, owner = facts_of(sample, block), checksum(sample["account"]["urn"])

    def one(query: Query) -> Answer:
        if isinstance(query, Word):
            if query.slot == 2 and packed is not None:
                return Ok((packed,))
            return CASSETTE.answerer(block)([query])[0]
        if isinstance(query, Call) and query.to == facts.pip and (name := query.function.partition(".")[2]) in changed:
            return changed[name]
        return answerer(sample, block)([query])[0]

    def answers(queries: Sequence[Query]) -> list[Answer]:
        return [one(query) for query in queries]

    (found,) = run(PROTOCOL.state(facts, [owner], block), answers)
    assert isinstance(found, Position)
    return found


@row(
    "O8",
    "a queued price that ends a vault: said with the seconds left, and health from then on",
    PATHS,
    careless=never_taken_over,
)
def test_the_next_price_is_foretold() -> None:
    assert len(QUEUED) >= 3
    for sample in QUEUED:
        position = read(sample)
        health, from_s = PROTOCOL.evaluate(position), position.state.ilk.next_from_s
        left_s = from_s - position.block.timestamp
        assert isinstance(health.verdict, Known)
        assert not health.verdict.unhealthy
        assert [note for note in health.notes if note.endswith(f"in {left_s} s: from {from_s} on")]
        verdict = PROTOCOL.evaluate(position, at_s=from_s).verdict
        assert isinstance(verdict, Known)
        assert verdict.unhealthy
        assert seconds_to_liquidation(PROTOCOL, position) == left_s


@row("O8", "an OSM that refuses its reader: its prices are read from its storage", STORAGE, careless=not_asked)
def test_a_whitelist_is_read_around() -> None:
    shut = Reverted(b"", "OSM/contract-not-whitelisted")
    for sample in (*QUEUED, SAMPLES[1]):
        around = reread(sample, peek=shut, peep=shut)
        assert around.prices == read(sample).prices
        assert PROTOCOL.evaluate(around) == PROTOCOL.evaluate(read(sample))


@row("O8", "an OSM whose storage is laid out in another way: not believed, unknown", limit="the rule has no switch")
def test_another_layout_is_not_believed() -> None:
    shut = Reverted(b"", "OSM/contract-not-whitelisted")
    for sample in QUEUED:
        verdict = PROTOCOL.evaluate(reread(sample, peek=shut, peep=shut, packed=7)).verdict
        assert isinstance(verdict, Unknown)
        assert "whitelisted" in verdict.reason


@row("O8", "an OSM that is stopped or void: said, and no health without a price", limit="the rule has no switch")
def test_a_stopped_osm_is_said() -> None:
    for sample in QUEUED:
        stopped = PROTOCOL.evaluate(reread(sample, stopped=Ok((1,))))
        assert any("stopped" in note for note in stopped.notes)
        nothing = Ok((bytes(32), False))
        void = PROTOCOL.evaluate(reread(sample, stopped=Ok((1,)), peek=nothing, peep=nothing))
        assert isinstance(void.verdict, Unknown)
        assert "no valid price" in void.verdict.reason
