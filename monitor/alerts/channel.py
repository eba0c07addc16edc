"""A channel: its name, what it wants to be told, and the port that carries a message to it. Knows no journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from monitor.core.errors import LevmonError
from monitor.journal.outbox import Wants


class Undelivered(LevmonError):
    """The channel did not take a message, or did not say that it did. The text holds no part of a URL.

    `refused`: it says no to this very content, so that a plainer one is worth a try.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after_s: int = 0, refused: bool = False) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as it leaves: `key` is the same each time it is sent; `content` is for programs."""

    key: str
    title: str
    body: str
    severity: str = "info"
    content: dict[str, Any] = field(default_factory=dict)


class Port(Protocol):
    """Carries letters."""

    async def prepare(self) -> None:
        """Find out early whether anything can be sent at all. May raise: Undelivered."""
        ...

    async def send(self, letter: Letter) -> None:
        """Return once it was taken, within the port's own deadline. May raise: Undelivered."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Channel:
    """Where alerts go. `heartbeat`: it is told now and then that levmon lives."""

    wants: Wants
    port: Port
    heartbeat: bool = False

    @property
    def name(self) -> str:
        return self.wants.name
