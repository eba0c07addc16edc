"""Recorded contracts (`levmon.vectors/1`): calls at a block with the bytes that came back, and a Chain of them.

One format for what `levmon verify --record` writes and for the golden files of the tests, gzip where the name ends in
.gz. `calls` holds each eth_call by block hash, contract, calldata and sender; `samples` says which positions they are
of, and what the contract's own getter said. Of code there are only hashes. Nothing is made up: what was not recorded is
a NotRecorded, and a file whose `digest` does not fit its content is refused.

Must not know: protocols, and what the numbers mean.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from eth_abi.abi import encode

from monitor.chain import abi
from monitor.chain.port import BlockAt, Chain
from monitor.core.errors import ChainError, ConfigError, DecodeError
from monitor.core.plan import run
from monitor.core.types import Answer, BlockRef, Call, Created, LogQuery, Ok, Query, ReadPlan, Reverted, Unread, Word

SCHEMA = "levmon.vectors/1"
LOCAL_CHAIN = 31337
T = TypeVar("T")


class NotRecorded(ChainError):
    """A plan asked for something that the recording does not hold."""


@dataclass(frozen=True)
class Recording:
    """One file: its content, its calls by (block hash, contract, calldata, sender if told), its words by slot."""

    content: Mapping[str, Any]
    calls: Mapping[tuple[str, str, bytes, str], Mapping[str, Any]]
    words: Mapping[tuple[str, str, int], int]

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Self:
        """May raise: KeyError, ValueError where the content does not fit the schema."""
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
        return cls(content, calls, words)

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
        """Answers queries at that block. May raise: NotRecorded."""
        return lambda queries: [self.answer(block, query) for query in queries]

    def replay(self, plan: ReadPlan[T], block: BlockRef) -> T:
        """Run a plan at that block. May raise: NotRecorded, CallFailed."""
        return run(plan, self.answerer(block))

    def answer(self, block: BlockRef, query: Query) -> Answer:
        """What came back for one query at that block. No logs, nor creation code's answers. May raise: NotRecorded."""
        if isinstance(query, LogQuery | Created):
            return Unread("logs and what creation code answers are not recorded")
        if isinstance(query, Word):
            word = self.words.get((block.hash, query.address.lower(), query.slot))
            if word is None:
                raise NotRecorded(f"{query} at block {block.number}")
            return Ok((word,))
        function = abi.function(query.function)
        place = (block.hash, query.to.lower(), function.encode(query.args))
        recorded = self.calls.get((*place, (query.sender or "").lower())) or self.calls.get((*place, ""))
        if recorded is None:
            raise NotRecorded(f"{query} at block {block.number}")
        if "unread" in recorded:
            return Unread(recorded["unread"])
        data = bytes.fromhex(recorded.get("revert", recorded.get("result"))[2:])
        if "revert" in recorded:
            return Reverted(data, abi.revert_reason(data, query.function))
        try:
            return Ok(function.decode(data))
        except DecodeError as wrong:
            return Unread(wrong.message)


def block_of(recorded: Mapping[str, Any]) -> BlockRef:
    """The block of a sample or a liquidation; where the file does not say which chain, it is a local one."""
    block = recorded["block"]
    return BlockRef(
        int(recorded.get("chain_id", LOCAL_CHAIN)),
        int(block["number"]),
        block["hash"],
        "0x" + "00" * 32,
        int(block["timestamp"]),
    )


def load(path: Path) -> Recording:
    """Read a file. May raise: ConfigError where it is none of ours, or not as it was written."""
    try:
        raw = path.read_bytes()
        content = json.loads(gzip.decompress(raw) if path.name.endswith(".gz") else raw)
        if content["schema"] != SCHEMA:
            raise ConfigError(f"{path.name} has the schema {content['schema']!r}, not {SCHEMA!r}")
        recording = Recording.of(content)
    except OSError as failed:
        raise ConfigError(f"{path.name} cannot be read: {failed.strerror or failed}") from None
    except (ValueError, KeyError, TypeError, AttributeError, EOFError) as wrong:
        raise ConfigError(f"{path.name} is no recording: {type(wrong).__name__}: {wrong}") from None
    if "digest" in content and content["digest"] != digest(content):
        raise ConfigError(f"{path.name} is not as it was written: its digest does not fit", hint="record it again")
    return recording


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file with its digest, the same bytes for the same content. May raise: ConfigError."""
    whole = {"schema": SCHEMA, **content}
    text = json.dumps({**whole, "digest": digest(whole)}, separators=(",", ":")).encode()
    try:
        path.write_bytes(gzip.compress(text, mtime=0) if path.name.endswith(".gz") else text)
    except OSError as failed:
        raise ConfigError(f"{path.name} cannot be written: {failed.strerror or failed}") from None


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 over everything but the digest itself. It finds slips and bad copies; it is no signature."""
    plain = {key: value for key, value in content.items() if key != "digest"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Recorder:
    """A Chain that hands everything on to another one and keeps calls and words with their answers, no logs."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._kept: dict[tuple[str, Call | Word], Answer] = {}

    @property
    def chain_id(self) -> int:
        return self._chain.chain_id

    async def block(self, at: BlockAt = "latest") -> BlockRef:
        """May raise: ChainError."""
        return await self._chain.block(at)

    async def ask(self, queries: Sequence[Query], block: BlockRef) -> list[Answer]:
        """May raise: ChainError."""
        answers = await self._chain.ask(queries, block)
        for query, answer in zip(queries, answers, strict=True):
            if not isinstance(query, LogQuery | Created):
                self._kept[block.hash, query] = answer
        return answers

    async def close(self) -> None:
        """Left to whoever made the chain."""

    def calls(self) -> list[dict[str, Any]]:
        """As the file holds them, each once."""
        found: dict[tuple[str, ...], dict[str, Any]] = {}
        for (block_hash, call), answer in self._kept.items():
            if isinstance(call, Word):
                if isinstance(answer, Ok):
                    slot, word = f"{call.slot:#066x}", f"{answer.values[0]:#066x}"
                    row = {"block_hash": block_hash, "to": call.address, "slot": slot, "storage": word}
                    found[block_hash, call.address, slot] = row
                continue
            function = abi.function(call.function)
            data = "0x" + function.encode(call.args).hex()
            row = {"block_hash": block_hash, "to": call.to, "data": data}
            if call.sender:
                row["from"] = call.sender
            answered, key = row | _answered(answer, function.outputs), (block_hash, call.to, data, call.sender or "")
            # the same call may be read in two ways, as a token's symbol is: the longer answer holds the shorter
            found[key] = max(found.get(key, answered), answered, key=lambda one: len(one.get("result", "")))
        return list(found.values())

    def contracts(self) -> list[str]:
        """Who was asked."""
        return sorted({call.address if isinstance(call, Word) else call.to for _, call in self._kept})


def _answered(answer: Answer, outputs: tuple[str, ...]) -> dict[str, str]:
    if isinstance(answer, Ok):
        return {"result": "0x" + encode(outputs, answer.values).hex()}
    if isinstance(answer, Reverted):
        return {"revert": "0x" + answer.data.hex()}
    return {"unread": answer.reason}


class RecordedChain:
    """The Chain that a recording is: its blocks by number or hash, and the answers that were given at them."""

    def __init__(self, recording: Recording, chain_id: int) -> None:
        self._recording = recording
        self.chain_id = chain_id

    async def block(self, at: BlockAt = "latest") -> BlockRef:
        """May raise: NotRecorded."""
        for sample in self._recording.samples:
            block = block_of(sample)
            if block.chain_id == self.chain_id and at in (block.number, block.hash):
                return block
        raise NotRecorded(f"block {at} of chain {self.chain_id}")

    async def ask(self, queries: Sequence[Query], block: BlockRef) -> list[Answer]:
        """May raise: NotRecorded."""
        return self._recording.answerer(block)(queries)

    async def close(self) -> None:
        """Nothing to release."""
