"""Following heads over random forks: the branch always ends up as the node's chain, and tells exactly what left."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.chain.branch import Branch, Growth
from monitor.core.errors import BadAnswer
from monitor.core.types import BlockRef


def block(number: int, parent: str, salt: int = 0) -> BlockRef:
    name = hashlib.sha256(f"{salt} {number} {parent}".encode()).hexdigest()
    return BlockRef(1, number, "0x" + name, parent, 1_700_000_000 + number)


def extend(chain: Sequence[BlockRef], count: int, salt: int) -> list[BlockRef]:
    grown = list(chain)
    for _ in range(count):
        grown.append(block(len(grown), grown[-1].hash if grown else "0x" + "00" * 32, salt))
    return grown


def see(branch: Branch, chain: Sequence[BlockRef], head: BlockRef | None = None) -> Growth | None:
    question = branch.grow(head or chain[-1])
    try:
        first, last = next(question)
        while True:
            assert 0 <= first <= last < len(chain)
            first, last = question.send(chain[first : last + 1])
    except StopIteration as done:
        result: Growth | None = done.value
        return result


moves = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), min_size=1, max_size=25)


@given(moves)
def test_forks_are_told_exactly(moves: list[tuple[int, int]]) -> None:
    chain = extend([], 50, 0)
    branch = Branch(window=64)
    followed = [block.hash for block in chain]  # what a reader of the growths believes
    see(branch, chain)
    for salt, (back, forth) in enumerate(moves, 1):
        chain = extend(chain[: max(len(chain) - back, 1)], forth, salt if back else 0)
        before = branch.tip
        growth = see(branch, chain)
        if growth is None:
            assert branch.tip == before
            assert before is not None
            assert before.number >= chain[-1].number
            continue
        if growth.reorg is not None:
            left = [name for name in followed[::-1] if name in set(growth.reorg.removed)]
            assert list(growth.reorg.removed) == left
            assert not {block.hash for block in chain} & set(left)
            if growth.reorg.ancestor is not None:
                assert growth.reorg.ancestor in chain
                followed = followed[: growth.reorg.ancestor.number + 1]
        first = growth.blocks[0].number
        followed = [*(block.hash for block in chain[:first]), *(block.hash for block in growth.blocks)]
        assert branch.tip == chain[-1]
        assert followed == [block.hash for block in chain]


def test_a_longer_gap_than_the_window_starts_anew() -> None:
    chain = extend([], 10, 0)
    branch = Branch(window=16)
    see(branch, chain)
    growth = see(branch, extend(chain, 100, 0))
    assert growth is not None
    assert (len(growth.blocks), growth.unseen, growth.reorg) == (1, 99, None)
    other = extend(extend([], 5, 0), 300, 7)
    growth = see(branch, other)
    assert growth is not None
    assert growth.reorg is not None
    assert growth.reorg.ancestor is None


def test_links_that_contradict_each_other_change_nothing() -> None:
    chain = extend([], 10, 0)
    branch = Branch()
    see(branch, chain[:8])
    tip = branch.tip
    with pytest.raises(BadAnswer):
        see(branch, chain, BlockRef(1, 8, "0x" + "22" * 32, "0x" + "33" * 32, 5))
    assert branch.tip == tip
    growth = see(branch, chain)
    assert growth is not None
    assert growth.reorg is None
    assert [block.number for block in growth.blocks] == [8, 9]


def test_the_same_head_and_an_older_one_are_no_news() -> None:
    chain = extend([], 200, 0)
    branch = Branch(window=16)
    see(branch, chain)
    for head in (chain[-1], chain[-2], chain[-16], chain[-17], chain[0]):
        assert see(branch, chain, head) is None
    assert branch.tip == chain[-1]
