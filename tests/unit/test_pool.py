"""The pool against endpoints that follow a random script: each request gets its own answer or a typed error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.chain.endpoint import EndpointState
from monitor.chain.jsonrpc import Failure, Reply, Request, Result
from monitor.chain.pool import Patience, Pool
from monitor.chain.transport import AccessRefused
from monitor.core.errors import BadAnswer, ChainError, ConfigError, RateLimited, RpcUnavailable, WrongChain
from monitor.core.secret import RpcUrl
from monitor.testing.clock import FakeClock

ERRORS: dict[str, Callable[[], ChainError]] = {
    "down": lambda: RpcUnavailable("down"),
    "rubbish": lambda: BadAnswer("rubbish"),
    "busy": lambda: RateLimited("busy", retry_after_s=3),
    "refused": lambda: AccessRefused("refused"),
}
ITEMS = {
    "item busy": Failure(-32005, "limit exceeded"),
    "item lacks": Failure(-32000, "header not found"),
    "item odd": Failure(-32603, "internal error"),
}
FINAL = Failure(3, "execution reverted", "0x")


@dataclass
class Scripted:
    """Stands where a transport is. An entry is a word of the tables above, `other chain`, or `well`."""

    script: list[str]
    asked: list[list[str]] = field(default_factory=list)
    alias: str = "scripted"

    async def send(self, requests: Sequence[Request]) -> list[Reply]:
        await asyncio.sleep(0)
        self.asked.append([request.method for request in requests])
        word = self.script.pop(0) if self.script else "well"
        if word in ERRORS:
            error = ERRORS[word]()
            raise error
        replies: list[Reply] = []
        for place, request in enumerate(requests):
            if request.method == "eth_chainId":
                replies.append(Result("0x2" if word == "other chain" else "0x1"))
            elif request.method == "reverts":
                replies.append(FINAL)
            elif word in ITEMS and place % 2 == len(self.asked) % 2:
                replies.append(ITEMS[word])
            else:
                replies.append(Result(request.method))
        return replies

    async def close(self) -> None:
        """Nothing to close."""


def pool_of(*scripts: Sequence[str], tries: int = 2) -> tuple[Pool, list[Scripted], FakeClock]:
    clock = FakeClock()
    urls = [RpcUrl(f"http://host{n}.example") for n in range(len(scripts))]
    pool = Pool(urls, chain_id=1, clock=clock, patience=Patience(hedge_s=5, tries=tries))
    ends = [Scripted(list(script), alias=f"host{n}.example") for n, script in enumerate(scripts)]
    for endpoint, end in zip(pool.endpoints, ends, strict=True):
        endpoint.transport = end  # type: ignore[assignment]  # as much of a transport as a pool uses
    return pool, ends, clock


words = st.lists(st.sampled_from((*ERRORS, *ITEMS, "other chain", "well", "well")), max_size=5)


@given(st.lists(words, min_size=1, max_size=4), st.integers(1, 7), st.integers(1, 3))
def test_each_request_gets_its_own_answer_or_there_is_an_error(
    scripts: list[list[str]], size: int, rounds: int
) -> None:
    pool, _, _ = pool_of(*scripts)
    requests = [Request("reverts" if n == 3 else f"q{n}", (), n // 3) for n in range(size)]

    async def use() -> None:
        for _ in range(rounds):
            try:
                replies = await pool.send(requests)
            except ChainError:
                continue
            assert len(replies) == len(requests)
            for request, reply in zip(requests, replies, strict=True):
                wanted: Reply = FINAL if request.method == "reverts" else Result(request.method)
                assert reply == wanted or reply in ITEMS.values()

    asyncio.run(use())


@given(st.lists(words, min_size=1, max_size=3))
def test_whatever_was_is_forgotten_in_time(scripts: list[list[str]]) -> None:
    """No endpoint is given up for good: once all are well, and time has passed, the pool answers."""
    pool, ends, clock = pool_of(*scripts)

    async def use() -> None:
        for _ in range(3):
            await asyncio.gather(pool.send([Request("q")]), return_exceptions=True)
        for end in ends:
            end.script.clear()
        clock.now += 61
        assert await pool.send([Request("q")]) == [Result("q")]

    asyncio.run(use())


def ask(pool: Pool, *methods: str) -> list[Reply]:
    return asyncio.run(pool.send([Request(method) for method in methods]))


def test_only_failed_items_are_asked_again_and_elsewhere() -> None:
    pool, (first, second), _ = pool_of(["item odd"], [])
    assert ask(pool, "a", "b", "c") == [Result("a"), Result("b"), Result("c")]
    assert first.asked == [["eth_chainId", "a", "b", "c"]]
    assert second.asked == [["eth_chainId", "a", "c"]]


def test_a_group_is_asked_again_as_a_whole() -> None:
    pool, (_, second), _ = pool_of(["item lacks"], [])
    grouped = [Request("a", (), 9), Request("b", (), 9), Request("c", ())]
    assert asyncio.run(pool.send(grouped)) == [Result("a"), Result("b"), Result("c")]
    assert second.asked == [["eth_chainId", "a", "b", "c"]]


def test_a_revert_is_an_answer_and_never_asked_again() -> None:
    pool, (first, second), _ = pool_of([], [])
    assert ask(pool, "reverts") == [FINAL]
    assert len(first.asked) == 1
    assert second.asked == []


def test_failures_decay_so_that_a_flapping_endpoint_stays_behind() -> None:
    pool, (flapping, steady), _ = pool_of(["down"] * 3, [])
    for _ in range(3):
        ask(pool, "q")
    assert len(flapping.asked) == 1
    assert len(steady.asked) == 3
    assert pool.endpoints[0].state is EndpointState.UNREACHABLE


def test_a_single_endpoint_is_asked_again_after_a_pause() -> None:
    pool, (only,), clock = pool_of(["down"])
    assert ask(pool, "q") == [Result("q")]
    assert clock.slept == [0.2]
    assert len(only.asked) == 2


@pytest.mark.parametrize(("word", "kind"), [("refused", AccessRefused), ("other chain", WrongChain)])
def test_what_time_cannot_mend_is_told_at_once(word: str, kind: type[ChainError]) -> None:
    pool, (only,), clock = pool_of([word, word])
    with pytest.raises(kind):
        ask(pool, "q")
    assert clock.slept == []
    assert len(only.asked) == 1


def test_all_errors_are_told_by_host() -> None:
    pool, _, _ = pool_of(["down"] * 2, ["rubbish"] * 2)
    with pytest.raises(RpcUnavailable) as caught:
        ask(pool, "q")
    assert "down" in caught.value.message
    assert "rubbish" in caught.value.message


def test_an_endpoint_that_rests_is_not_asked_even_when_it_is_the_only_one() -> None:
    pool, (only,), clock = pool_of(["busy", "busy"], tries=1)
    for _ in range(3):
        with pytest.raises(RateLimited) as caught:
            ask(pool, "q")
        assert 0 < caught.value.retry_after_s <= 3
    assert len(only.asked) == 1
    clock.now += 3
    only.script.clear()
    assert ask(pool, "q") == [Result("q")]


def test_there_must_be_one() -> None:
    with pytest.raises(ConfigError):
        Pool([])
