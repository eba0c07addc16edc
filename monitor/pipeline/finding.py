"""All positions of the owners that are asked about: vaults, troves, proxies and sub-accounts, at the snapshot's block.

Asks nothing where an owner is the position. A search that fails is a position that is unknown, and never none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from monitor.chain.port import Chain, run
from monitor.core.errors import LevmonError
from monitor.core.plan import gather, once
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import BlockRef, ReadPlan, Unreadable
from monitor.pipeline.market import Remembered, held
from monitor.pipeline.memory import Memory
from monitor.protocols.base import Found, Protocol
from monitor.report import Subject


@dataclass(frozen=True, slots=True)
class Search:
    """What was found in place of the owners, and the searches that failed, by whose they were."""

    subjects: tuple[Subject, ...]
    lost: tuple[tuple[Subject, Unreadable], ...] = ()


async def find(chain: Chain, subjects: Sequence[Subject], memory: Memory, block: BlockRef) -> Search:
    """Each subject, or in its place its owner's positions in the market. May raise: ChainError."""
    plans = []
    for subject in subjects:
        protocol: Protocol[Any, Any] = protocol_named(subject.ref.protocol)
        if type(protocol).find_positions is not Protocol.find_positions:
            plans.append(held(_find(protocol, subject, memory.recall(subject.ref, protocol), block)))
        else:
            plans.append(held(_same(subject)))
    kept: dict[str, Subject] = {}
    lost = []
    answers = await run(chain, gather(plans), block)
    for subject, found in zip(subjects, answers, strict=True):
        if isinstance(found, LevmonError):
            lost.append((subject, Unreadable(subject.id, subject.owner, block, found.message)))
            continue
        for one in found:
            if isinstance(one, Unreadable):
                lost.append((subject, one))
            else:
                made = _subject(subject, one)
                kept.setdefault(made.id, made)
    asked = {subject.id: subject for subject in subjects}
    return Search(tuple(asked.get(name, made) for name, made in kept.items()), tuple(lost))


def _same(subject: Subject) -> ReadPlan[list[Found | Unreadable]]:
    yield from ()
    return [Found(subject.ref, subject.owner)]


def _find(
    protocol: Protocol[Any, Any], subject: Subject, known: Remembered | None, block: BlockRef
) -> ReadPlan[list[Found | Unreadable]]:
    """With remembered facts in one go with their re-check; else facts first. May raise: CallFailed, ProtocolError."""
    if known is not None:
        plans: list[ReadPlan[Any]] = [
            held(protocol.recheck(known.facts, block)),
            held(protocol.find_positions(known.facts, subject.owner, block)),
        ]
        holds, found = yield from gather(plans)
        if holds is True and not isinstance(found, LevmonError):
            return found  # type: ignore[no-any-return]  # the second plan's
    return (yield from once(_cold(protocol, subject, block)))


def _cold(protocol: Protocol[Any, Any], subject: Subject, block: BlockRef) -> ReadPlan[list[Found | Unreadable]]:
    facts = yield from protocol.static(subject.ref, block)
    return (yield from protocol.find_positions(facts, subject.owner, block))


def _subject(asked: Subject, found: Found) -> Subject:
    """The position under the asked owner's thresholds; its name says what it is and whose."""
    if (found.market, found.owner) == (asked.ref, asked.owner):
        return asked
    ref = found.market
    market = asked.market if ref == asked.ref else f"{ref.protocol}:{ref.address}/{ref.id}"
    whose = asked.name or f"{asked.owner[:6]}…{asked.owner[-4:]}"
    return replace(asked, ref=ref, market=market, owner=found.owner, name=f"{found.name} of {whose}".strip())
