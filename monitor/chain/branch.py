"""The blocks that were seen lately, as one branch, and what a new head means for it. Sans I/O: it asks by yielding.

A branch is linked by parent hashes without gaps. What a head can mean: more of the same branch, another branch (a
reorganisation, with the last common block), an endpoint that lags, or a lie (links that do not fit each other).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from monitor.chain.defences import ALL, Defences
from monitor.core.errors import BadAnswer
from monitor.core.types import BlockRef

WINDOW = 128
Headers = Generator[tuple[int, int], Sequence[BlockRef], "Growth | None"]
"""Yields (first, last) block numbers, is sent these headers, returns what happened."""


@dataclass(frozen=True, slots=True)
class Reorg:
    """Blocks that left the chain. `removed`: their hashes, newest first. `ancestor`: the last block that stayed, None
    where it is older than the window.
    """

    ancestor: BlockRef | None
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Growth:
    """The blocks that are new, oldest first; the last is the head. `unseen` counts blocks before them that were not
    fetched, because the gap is longer than the window.
    """

    blocks: tuple[BlockRef, ...]
    reorg: Reorg | None = None
    unseen: int = 0


class Branch:
    """The newest blocks of the followed chain by number, at most `window`."""

    def __init__(self, window: int = WINDOW, defences: Defences = ALL, seen: Iterable[BlockRef] = ()) -> None:
        """`seen`: linked blocks that are known already."""
        self._blocks: dict[int, BlockRef] = {block.number: block for block in seen}
        self._window = window
        self._defences = defences

    @property
    def tip(self) -> BlockRef | None:
        return self._blocks[max(self._blocks)] if self._blocks else None

    def grow(self, head: BlockRef) -> Headers:
        """What `head` means; None when it is no news. May raise: BadAnswer when links contradict each other."""
        tip = self.tip
        if tip is None:
            return self._accept([head])
        if not self._defences.reorg_check:
            return self._accept([head]) if head.number > tip.number or not self._defences.lagging_head else None
        known = self._blocks.get(head.number)
        if head.number < min(self._blocks) or (known is not None and known.hash == head.hash):
            # the same branch further back (or so far back that nobody can tell): whoever says so lags
            return None if self._defences.lagging_head or head == tip else self._rewind(head)
        if head.number == tip.number + 1 and (head.parent_hash == tip.hash or not self._defences.parent_link):
            return self._accept([head])
        if head.number > tip.number + self._window:
            return (yield from self._jump(head, tip))
        return (yield from self._connect(head, tip))

    def _rewind(self, head: BlockRef) -> Growth:
        """What a careless follower makes of a head that goes back; only reached with the defence off."""
        removed = [self._blocks.pop(n).hash for n in sorted(self._blocks, reverse=True) if n > head.number]
        return Growth((head,), Reorg(head, tuple(removed)))

    def _connect(self, head: BlockRef, tip: BlockRef) -> Headers:
        """Fetch back from the head, in growing steps, until it meets the branch or the window ends."""
        fresh: list[BlockRef] = [head]
        oldest = min(self._blocks)
        # a gap is fetched whole at once, together with the tip's own number; a reorg in steps of 4, 8, 16, ...
        step = max(head.number - tip.number, 4)
        while fresh[0].number > oldest:
            last = fresh[0].number - 1
            first = max(last - step + 1, oldest)
            headers = yield first, last
            self._check_links([*headers, fresh[0]])
            for block in reversed(headers):
                if self._blocks.get(block.number) == block:
                    return self._accept(fresh, block)
                fresh.insert(0, block)
            step *= 2
        return self._accept(fresh, None)

    def _check_links(self, blocks: Sequence[BlockRef]) -> None:
        if not self._defences.parent_link:
            return
        for parent, child in pairwise(blocks):
            if child.number != parent.number + 1 or child.parent_hash != parent.hash:
                raise BadAnswer(f"block {child.number} ({child.hash}) does not follow block {parent.number}")

    def _jump(self, head: BlockRef, tip: BlockRef) -> Headers:
        """Too far ahead to fetch everything: look whether the old tip is still there, and start anew."""
        (then,) = yield tip.number, tip.number
        removed = tuple(self._blocks[n].hash for n in sorted(self._blocks, reverse=True))
        reorg = None if then.hash == tip.hash else Reorg(None, removed)
        self._blocks.clear()
        growth = self._accept([head])
        return Growth(growth.blocks, reorg, head.number - tip.number - 1)

    def _accept(self, fresh: Sequence[BlockRef], ancestor: BlockRef | None = None) -> Growth:
        """Take new blocks in. Without an ancestor nothing of the old branch stays, unless they follow its tip."""
        tip = self.tip
        if tip is not None and ancestor is None and fresh[0].number == tip.number + 1:
            ancestor = tip
        stays = ancestor.number if ancestor is not None else -1
        removed = [self._blocks.pop(n).hash for n in sorted(self._blocks, reverse=True) if n > stays or stays < 0]
        self._blocks.update((block.number, block) for block in fresh)
        newest = max(self._blocks)
        for number in [n for n in self._blocks if n <= newest - self._window]:
            del self._blocks[number]
        return Growth(tuple(fresh), Reorg(ancestor, tuple(removed)) if removed else None)
