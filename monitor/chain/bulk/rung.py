"""What a rung of the ladder is: one way to read the raw state of many accounts from one endpoint at one block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from monitor.chain.bulk.wire import Wire
from monitor.protocols.columns import U8
from monitor.protocols.survey import Part, Survey


class Rung(ABC):
    """Made for one market and endpoint; `prepare` comes first, and what it finds serves all later blocks."""

    name: ClassVar[str]
    by_lens: ClassVar[bool] = False
    """Whether it is nothing for markets without a lens."""
    most: int
    """Accounts that are asked for at once, at first."""
    gas_an_account: int | None = None
    """Of the last answer that told it."""

    def __init__(self, survey: Survey) -> None:
        self.survey = survey

    @abstractmethod
    async def prepare(self, wire: Wire, owners: U8) -> None:
        """Find out what reading needs to know, if anything, with real accounts to learn from.

        May raise: TooMuch, RungFailed, ChainError.
        """

    @abstractmethod
    async def read(self, wire: Wire, owners: U8) -> Part:
        """The first len(part) of the owners, at least one. May raise: TooMuch, RungFailed, ChainError."""
