"""Broadcasting: the same bytes to everyone, every answer classified, nothing believed that was not proven.

An attempt has arrived when some endpoint took it or already had these very bytes. Every other answer, silence included,
leaves open whether it did: it is then sent again with the next block, and receipts are looked for all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.execution.classify import ARRIVED, SendClass, classify
from monitor.execution.defences import ALL, Defences
from monitor.execution.port import ExecutionChain
from monitor.journal.rows import Action, Attempt, AttemptKind


@dataclass(frozen=True, slots=True)
class PrivateRelay:
    """Send privately for so many blocks; then publicly, where that is allowed, else not at all."""

    blocks: int = 25
    then_public: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt at all endpoints."""

    attempt: Attempt
    classes: tuple[tuple[str, SendClass], ...]
    private: bool = False

    @property
    def arrived(self) -> bool:
        return any(what in ARRIVED for _, what in self.classes)

    @property
    def hostile(self) -> tuple[str, ...]:
        """Endpoints that answered the hash of other bytes."""
        return tuple(endpoint for endpoint, what in self.classes if what is SendClass.WRONG_HASH)

    def has(self, wanted: SendClass) -> bool:
        return any(what is wanted for _, what in self.classes)

    @property
    def said(self) -> str:
        """The classes, each once, for the journal; a private channel is named."""
        names = sorted({str(what) for _, what in self.classes})
        return ("private: " if self.private else "") + ", ".join(names)


def sendable(action: Action) -> list[Attempt]:
    """Newest first; once there is a cancel, only cancels: the intent is not helped along any more."""
    attempts = [attempt for attempt in action.signed if attempt.raw is not None]
    if action.cancelling:
        attempts = [attempt for attempt in attempts if attempt.kind is AttemptKind.CANCEL]
    return attempts[::-1]


def channel(attempt: Attempt, head_number: int, relay: PrivateRelay | None, defences: Defences = ALL) -> bool | None:
    """True private, False public, None: not at all any more. Cancels are public, they have nothing to hide."""
    if relay is None or attempt.kind is AttemptKind.CANCEL:
        return False
    if head_number - attempt.block_number < relay.blocks:
        return True
    if not defences.private_fallback:
        return True
    return False if relay.then_public or not defences.private_only else None


async def broadcast(
    chain: ExecutionChain, attempts: Sequence[Attempt], *, private: bool, defences: Defences = ALL
) -> list[Outcome]:
    """Send newest first until one has arrived: an older one is only worth sending where the newer was refused."""
    outcomes: list[Outcome] = []
    for attempt in attempts:
        if attempt.raw is None or attempt.hash is None:
            continue
        expected = attempt.hash
        replies = await chain.send_raw(attempt.raw, private=private)
        classes = tuple((reply.endpoint, classify(reply, expected, defences)) for reply in replies)
        outcomes.append(Outcome(attempt, classes, private))
        if outcomes[-1].arrived:
            break
    return outcomes
