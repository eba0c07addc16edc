"""The stream of heads: silence and errors are events, told once; nothing waits longer than it should."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from monitor.chain.heads import Head, Heads, Trouble, require_fresh
from monitor.chain.port import BlockAt
from monitor.core.errors import ChainError, RateLimited, RpcUnavailable, StaleHead
from monitor.core.types import BlockRef
from monitor.testing.clock import FakeClock

START = 1_700_000_000


def block(number: int, chain_id: int = 1) -> BlockRef:
    return BlockRef(chain_id, number, f"0x{number + 1:064x}", f"0x{number:064x}", START + 12 * number)


class Script:
    """A chain of 12 s blocks whose answers to `latest` are written down beforehand."""

    def __init__(self, *answers: int | ChainError, chain_id: int = 1) -> None:
        self._answers = list(answers)
        self.chain_id = chain_id

    async def block(self, at: BlockAt = "latest") -> BlockRef:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, ChainError):
            raise answer
        return block(answer, self.chain_id)

    async def headers(self, first: int, last: int) -> list[BlockRef]:
        return [block(number, self.chain_id) for number in range(first, last + 1)]


async def events(heads: Heads, count: int) -> list[Head | Trouble]:
    found = []
    async with aclosing(heads.events()) as stream:
        async for event in stream:
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_heads_and_what_was_skipped() -> None:
    clock = FakeClock(START)
    heads = Heads(Script(0, 0, 1, 1, 4, 4, 5), clock=clock, limit_s=10**9)
    found = await events(heads, 4)
    assert [(e.block.number, e.skipped) for e in found if isinstance(e, Head)] == [(0, 0), (1, 0), (4, 2), (5, 0)]
    assert max(clock.slept) <= 12


async def test_trouble_is_told_once_per_kind_and_again_after_recovery() -> None:
    down, busy = RpcUnavailable("down"), RateLimited("busy", retry_after_s=1)
    source = Script(0, down, down, down, busy, busy, down, 1, down, 2)
    found = await events(Heads(source, clock=FakeClock(START), limit_s=10**9), 7)
    told = [e.block.number if isinstance(e, Head) else e.error.message for e in found]
    assert told == [0, "down", "busy", "down", 1, "down", 2]


async def test_recovery_without_a_new_block_makes_the_next_failure_news() -> None:
    down = RpcUnavailable("down")
    found = await events(Heads(Script(0, down, 0, down, 1), clock=FakeClock(START), limit_s=10**9), 4)
    assert [type(event) for event in found] == [Head, Trouble, Trouble, Head]


async def test_a_stale_head_is_trouble_and_its_blocks_count_as_skipped_later() -> None:
    clock = FakeClock(START)
    heads = Heads(Script(0, 0, 3, 100), clock=clock, limit_s=60)
    assert [head.block.number for head in await heads.poll()] == [0]
    clock.now = START + 1200
    for _ in range(2):
        with pytest.raises(StaleHead):
            await heads.poll()
    (head,) = await heads.poll()
    assert (head.block.number, head.skipped, head.age_s) == (100, 99, 0)


async def test_the_first_head_may_be_stale_too() -> None:
    (event,) = await events(Heads(Script(0), clock=FakeClock(START + 3600)), 1)
    assert isinstance(event, Trouble)
    assert isinstance(event.error, StaleHead)
    assert "3600 s old" in event.error.message


def test_age_is_judged_by_chain() -> None:
    require_fresh(block(0), FakeClock(START + 60))
    require_fresh(block(0), FakeClock(START - 1000))
    require_fresh(block(0, chain_id=31337), FakeClock(START + 10**9))
    with pytest.raises(StaleHead):
        require_fresh(block(0), FakeClock(START + 61))
    with pytest.raises(StaleHead):
        require_fresh(block(0, chain_id=31337), FakeClock(START + 61), 60)


async def test_the_next_poll_is_when_the_next_block_is_due() -> None:
    clock = FakeClock(START)
    heads = Heads(Script(0), clock=clock)
    assert heads.delay_s() == 1  # nothing is known yet
    await heads.poll()
    assert heads.delay_s() == 12
    clock.now += 10
    assert heads.delay_s() == 3  # too late to wait for the exact moment
    clock.now += 100
    assert heads.delay_s() == 3
    assert Heads(Script(0), poll_s=0.5).delay_s() == 0.5


class Bell:
    """Hints by hand."""

    def __init__(self) -> None:
        self.rung = asyncio.Event()

    async def wait(self) -> None:
        await self.rung.wait()
        self.rung.clear()

    async def close(self) -> None:
        """Nothing to close."""


class Patient(FakeClock):
    """A clock that never comes to the end of a wait."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


async def test_a_hint_is_enough_to_ask() -> None:
    bell = Bell()
    heads = Heads(Script(0, 1), clock=Patient(START), hints=bell, limit_s=10**9)
    async with aclosing(heads.events()) as stream:
        first = await anext(stream)
        bell.rung.set()
        second = await anext(stream)
    assert [event.block.number for event in (first, second) if isinstance(event, Head)] == [0, 1]


async def test_cancelling_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    follower = asyncio.create_task(events(Heads(Script(0), clock=Patient(START), hints=Bell()), 5))
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(asyncio.all_tasks() - before) > 1
    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)
    assert asyncio.all_tasks() == before
