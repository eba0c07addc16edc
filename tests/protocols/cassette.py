"""Replays recorded contracts (`levmon.vectors/1`): read plans are answered from a file's calls, at one block's hash.

Nothing is made up: a query that was not recorded is a CassetteMiss, which fails the test that asked.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from monitor.chain import abi
from monitor.core.plan import run
from monitor.core.types import Answer, BlockRef, Call, Ok, Query, ReadPlan, Reverted, Word

GOLDEN = Path(__file__).parents[1] / "golden"
T = TypeVar("T")


class CassetteMiss(Exception):
    """A plan asked for something that the recording does not hold."""


@dataclass(frozen=True)
class Cassette:
    """One recording: its samples, its calls by (block hash, contract, calldata, sender if told), its words by slot."""

    content: Mapping[str, Any]
    calls: Mapping[tuple[str, str, bytes, str], Mapping[str, Any]]
    words: Mapping[tuple[str, str, int], int]

    @property
    def samples(self) -> list[dict[str, Any]]:
        """Accounts at blocks, with what the contracts said of them."""
        samples: list[dict[str, Any]] = self.content["samples"]
        return samples

    @property
    def liquidations(self) -> list[dict[str, Any]]:
        """Recorded liquidation calls with the state before and the amounts moved."""
        liquidations: list[dict[str, Any]] = self.content["liquidations"]
        return liquidations

    def answerer(self, block: BlockRef) -> Callable[[Sequence[Query]], list[Answer]]:
        """Answers queries at that block. May raise: CassetteMiss."""
        return lambda queries: [self._answer(block, query) for query in queries]

    def replay(self, plan: ReadPlan[T], block: BlockRef) -> T:
        """Run a plan at that block. May raise: CassetteMiss, CallFailed."""
        return run(plan, self.answerer(block))

    def _answer(self, block: BlockRef, query: Query) -> Answer:
        if isinstance(query, Word):
            word = self.words.get((block.hash, query.address.lower(), query.slot))
            if word is None:
                raise CassetteMiss(f"{query} at block {block.number}")
            return Ok((word,))
        if not isinstance(query, Call):
            raise CassetteMiss(f"{query}")
        function = abi.function(query.function)
        place = (block.hash, query.to.lower(), function.encode(query.args))
        recorded = self.calls.get((*place, (query.sender or "").lower())) or self.calls.get((*place, ""))
        if recorded is None:
            raise CassetteMiss(f"{query} at block {block.number}")
        if "revert" in recorded:
            data = bytes.fromhex(recorded["revert"][2:])
            return Reverted(data, abi.revert_reason(data, query.function))
        return Ok(function.decode(bytes.fromhex(recorded["result"][2:])))


@cache
def load(name: str) -> Cassette:
    """The recording `name` of tests/golden."""
    content = json.loads(gzip.decompress((GOLDEN / f"{name}.json.gz").read_bytes()))
    calls = {
        (c["block_hash"], c["to"].lower(), bytes.fromhex(c["data"][2:]), c.get("from", "").lower()): c
        for c in content["calls"]
        if "data" in c
    }
    words = {
        (c["block_hash"], c["to"].lower(), int(c["slot"], 16)): int(c["storage"], 16)
        for c in content["calls"]
        if "slot" in c
    }
    return Cassette(content, calls, words)


def block_of(recorded: Mapping[str, Any], chain_id: int = 31337) -> BlockRef:
    """The block of a sample or liquidation."""
    block = recorded["block"]
    return BlockRef(chain_id, int(block["number"]), block["hash"], "0x" + "00" * 32, int(block["timestamp"]))
