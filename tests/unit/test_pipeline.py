"""Snapshots around a toy protocol: confirmation, isolation, one block, and unknown wherever something is missing."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from monitor.chain.heads import Heads
from monitor.core.errors import ChainError, Reorged, RpcUnavailable, StateMissing
from monitor.core.types import BlockRef, Level, MarketRef
from monitor.pipeline import snapshot as snapshots
from monitor.pipeline import verify as verification
from monitor.pipeline.confirm import Confirmation
from monitor.pipeline.memory import ShortMemory
from monitor.pipeline.snapshot import Depth, Snapshot, snapshot
from monitor.pipeline.watch import watch
from monitor.report import Subject
from tests.unit.toy import TOY, Contract, ToyChain, address, borrowers

MARKET, OTHER = "0x" + "01" * 20, "0x" + "02" * 20
REF, OTHER_REF = MarketRef(31337, "toy", MARKET), MarketRef(31337, "toy", OTHER)
OWNERS = [address(1), address(2), address(99)]
SUBJECTS = [Subject(REF, "core", owner) for owner in OWNERS]
QUICK = Depth(liquidation_prices=False)


@pytest.fixture(autouse=True)
def _toy_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (snapshots, verification):
        monkeypatch.setattr(module, "protocol_named", lambda _: TOY)


async def take(chain: ToyChain, memory: ShortMemory | None = None, at: str | int = "latest") -> Snapshot:
    return await snapshot(chain, SUBJECTS, memory or ShortMemory(), at, QUICK)


def levels(taken: Snapshot) -> list[str]:
    return [report.level.value for report in taken.reports]


async def test_a_cold_market_is_confirmed_and_then_the_getter_is_left_alone() -> None:
    chain, memory = ToyChain({MARKET: Contract(borrowers(), version=2)}), ShortMemory()
    taken = await take(chain, memory)
    assert levels(taken) == ["warn", "warn", "ok"]
    assert [report.owner for report in taken.reports] == OWNERS
    known = memory.recall(REF, TOY)
    assert known is not None
    assert known.confirmation == Confirmation("2", 24, 4, 100)
    assert chain.asked("truth") == 25
    chain.rounds.clear()
    again = await take(chain, memory)
    assert [r.health for r in again.reports] == [r.health for r in taken.reports]
    assert len(chain.rounds) == 1
    assert chain.asked("truth") == 0


@pytest.mark.parametrize("version", [1, 2])
async def test_the_confirmed_rules_are_those_of_the_contract(version: int) -> None:
    chain, memory = ToyChain({MARKET: Contract(borrowers(), version=version)}), ShortMemory()
    await take(chain, memory)
    known = memory.recall(REF, TOY)
    assert known is not None
    assert known.facts.version == version


@pytest.mark.parametrize(
    ("contract", "told"),
    [
        (Contract(borrowers(19)), "exact for the 19 borrowers found"),
        (Contract(borrowers(24, shapes=2)), "(2 shapes), but 20 of 3 shapes are needed"),
        (Contract({}), "exact for the 0 borrowers found"),
        (Contract(borrowers(), version=3), "no known version reproduces"),
        (Contract(borrowers(), broken={"truth"}), "no known version reproduces"),
    ],
)
async def test_what_is_not_confirmed_is_unknown_and_not_remembered(contract: Contract, told: str) -> None:
    memory = ShortMemory()
    taken = await take(ToyChain({MARKET: contract}), memory)
    assert levels(taken) == ["unknown"] * 3
    assert all(told in report.cause for report in taken.reports), taken.reports[0].cause
    assert memory.recall(REF, TOY) is None


async def test_a_market_with_one_version_needs_no_confirmation() -> None:
    chain, memory = ToyChain({MARKET: Contract(borrowers(1), revision=0, version=1)}), ShortMemory()
    assert levels(await take(chain, memory)) == ["warn", "ok", "ok"]
    assert chain.asked("truth") == 0
    known = memory.recall(REF, TOY)
    assert known is not None
    assert known.confirmation is None


async def test_facts_that_no_longer_hold_are_read_and_confirmed_again_at_the_same_block() -> None:
    contract = Contract(borrowers(), version=1)
    chain, memory = ToyChain({MARKET: contract}), ShortMemory()
    await take(chain, memory)
    contract.version, contract.revision = 2, 8
    chain.head = chain.make_block(101)
    taken = await take(chain, memory)
    known = memory.recall(REF, TOY)
    assert known is not None
    assert (known.facts.revision, known.facts.version) == (8, 2)
    assert known.confirmation == Confirmation("2", 24, 4, 101)
    assert levels(taken) == ["warn", "warn", "ok"]


async def test_one_unreadable_owner_harms_no_other() -> None:
    contract = Contract(borrowers())
    chain, memory = ToyChain({MARKET: contract}), ShortMemory()
    await take(chain, memory)
    contract.broken = {OWNERS[1]}
    taken = await take(chain, memory)
    assert levels(taken) == ["warn", "unknown", "ok"]
    assert taken.reports[1].errors == ("account is broken",)


async def test_without_context_health_is_known_and_what_it_gates_is_not() -> None:
    contract = Contract(borrowers())
    chain, memory = ToyChain({MARKET: contract}), ShortMemory()
    await take(chain, memory)
    contract.broken = {"context"}
    [first, *_] = (await take(chain, memory)).reports
    assert first.level is Level.WARN
    assert first.health is not None
    assert first.health.liquidatable is None
    assert "context could not be read" in first.errors[0]


async def test_a_broken_market_harms_no_other_and_both_travel_together() -> None:
    chain = ToyChain({MARKET: Contract(borrowers()), OTHER: Contract(borrowers(), broken={"revision"})})
    subjects = [*SUBJECTS, Subject(OTHER_REF, "other", OWNERS[0])]
    taken = await snapshot(chain, subjects, ShortMemory(), depth=QUICK)
    assert levels(taken) == ["warn", "warn", "ok", "unknown"]
    assert "revision is broken" in taken.reports[3].cause
    assert len(chain.rounds) == 3


async def test_a_chain_that_fails_leaves_no_position_out() -> None:
    chain = ToyChain({MARKET: Contract(borrowers())})
    chain.down = RpcUnavailable("no endpoint answered", hint="check the URL")
    taken = await take(chain)
    assert levels(taken) == ["unknown"] * 3
    assert [report.owner for report in taken.reports] == OWNERS
    assert taken.reports[0].errors == ("no endpoint answered; check the URL",)
    assert taken.block is None


async def test_when_the_block_goes_everything_is_read_again_at_another_once() -> None:
    chain = ToyChain({MARKET: Contract(borrowers())})
    replaced = chain.make_block(100, "b")

    def reorganise(block: BlockRef) -> None:
        if block == chain.head != replaced:
            chain.head = replaced
            raise Reorged("gone")

    chain.fail = reorganise
    taken = await take(chain)
    assert taken.block == replaced
    assert {report.block for report in taken.reports} == {replaced}
    assert levels(taken) == ["warn", "warn", "ok"]


@pytest.mark.parametrize(("at", "asked"), [("latest", 2), (50, 2), ("0x" + "ab" * 32, 1)])
async def test_a_block_that_keeps_going_is_unknown_and_a_hash_is_never_replaced(at: str | int, asked: int) -> None:
    chain = ToyChain({MARKET: Contract(borrowers())})

    def missing(_: BlockRef) -> None:
        raise StateMissing("no state")

    chain.fail = missing
    taken = await take(chain, at=at)
    assert levels(taken) == ["unknown"] * 3
    assert chain.blocks == asked


async def test_verify_compares_owners_and_sample() -> None:
    contract = Contract(borrowers(), version=1)
    chain, memory = ToyChain({MARKET: contract}), ShortMemory()
    [done] = await verification.verify(chain, {REF: OWNERS[:1]}, memory, chain.head, 60)
    assert len(done.comparisons) == 24
    assert all(one.exact and one.version == "1" for one in done.comparisons)
    [alone] = await verification.verify(chain, {REF: OWNERS[:1]}, memory, chain.head, 0)
    assert [one.owner for one in alone.comparisons] == OWNERS[:1]


async def test_one_unit_more_of_any_input_makes_verify_differ() -> None:
    contract, memory = Contract(borrowers()), ShortMemory()
    chain = ToyChain({MARKET: contract})
    await take(chain, memory)
    for shift in ((1, 0), (0, 1), (-1, 0), (0, -1)):
        contract.shift = shift
        [done] = await verification.verify(chain, {REF: OWNERS[:2]}, memory, chain.head, 0)
        assert [one.exact for one in done.comparisons] == [False, False]
        assert "factor: contract" in done.comparisons[0].difference


async def test_verify_tells_what_it_could_not_compare() -> None:
    contract = Contract(borrowers())
    chain, memory = ToyChain({MARKET: contract, OTHER: Contract({}, broken={"revision"})}), ShortMemory()
    await take(chain, memory)
    contract.broken = {OWNERS[0]}
    first, second = await verification.verify(chain, {REF: OWNERS[:2], OTHER_REF: OWNERS}, memory, chain.head, 0)
    assert [(one.exact, one.error) for one in first.comparisons] == [(False, "account is broken"), (True, "")]
    assert "revision is broken" in second.trouble


class Clock:
    """Waiting costs nothing and lets the next block come."""

    def __init__(self, chain: ToyChain, *steps: int | ChainError) -> None:
        self.chain, self.steps, self.now = chain, list(steps), 1_700_000_100.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        step = self.steps.pop(0) if self.steps else 1
        if isinstance(step, ChainError):
            self.chain.down = step
        else:
            self.chain.down = None
            self.chain.head = self.chain.make_block(self.chain.head.number + step)


async def test_watch_counts_what_it_skipped_and_calls_silence_unknown() -> None:
    chain, memory = ToyChain({MARKET: Contract(borrowers())}), ShortMemory()
    heads = Heads(chain, clock=Clock(chain, 1, 3, RpcUnavailable("nobody answers"), 1))
    seen = []
    async with aclosing(watch(chain, SUBJECTS, memory, heads, QUICK)) as ticks:
        async for tick in ticks:
            block = tick.snapshot.block
            seen.append(
                (block.number if block else 0, tick.skipped, tick.trouble is not None, levels(tick.snapshot)[0])
            )
            if len(seen) == 5:
                break
    assert seen == [
        (100, 0, False, "warn"),
        (101, 0, False, "warn"),
        (104, 2, False, "warn"),
        (104, 0, True, "unknown"),
        (105, 0, False, "warn"),
    ]
    assert chain.asked("truth") == 25
