"""What is remembered of markets: for as long as the process lives, and on disk between runs.

Nothing here is believed without a re-check at the pinned block (market.py); a memory only saves requests.
"""

from __future__ import annotations

from typing import Any
from typing import Protocol as Port

from monitor.chain.cache import FactsCache
from monitor.core.types import MarketRef
from monitor.pipeline.confirm import Confirmation
from monitor.pipeline.market import Remembered
from monitor.protocols.base import Protocol


class Memory(Port):
    """What is remembered of markets between runs."""

    def recall(self, ref: MarketRef, protocol: Protocol[Any, Any]) -> Remembered | None:
        """The facts of a market, or None when there are none that can be read."""
        ...

    def remember(self, ref: MarketRef, protocol: Protocol[Any, Any], known: Remembered) -> None:
        """Keep them. A memory that cannot be written is no error: the next run is a cold one."""
        ...


class ShortMemory:
    """Remembers as long as the process lives."""

    def __init__(self, longer: Memory | None = None) -> None:
        self._known: dict[MarketRef, Remembered] = {}
        self._longer = longer

    def recall(self, ref: MarketRef, protocol: Protocol[Any, Any]) -> Remembered | None:
        """What this process knows, else what the longer memory does."""
        if ref not in self._known and self._longer is not None:
            known = self._longer.recall(ref, protocol)
            if known is not None:
                self._known[ref] = known
        return self._known.get(ref)

    def remember(self, ref: MarketRef, protocol: Protocol[Any, Any], known: Remembered) -> None:
        """Keep it here, and for longer if it is new."""
        if self._known.get(ref) == known:
            return
        self._known[ref] = known
        if self._longer is not None:
            self._longer.remember(ref, protocol, known)


class DiskMemory:
    """Remembers in the user's cache directory: facts and how their rules were confirmed, together or not at all."""

    def __init__(self, cache: FactsCache | None = None) -> None:
        self._cache = FactsCache() if cache is None else cache

    def recall(self, ref: MarketRef, protocol: Protocol[Any, Any]) -> Remembered | None:
        """What an earlier run wrote, if it can be believed."""
        found = self._cache.load(ref, _kind(protocol))
        return None if found is None else Remembered(*found)

    def remember(self, ref: MarketRef, protocol: Protocol[Any, Any], known: Remembered) -> None:
        """Write it for the next run."""
        self._cache.store(ref, _kind(protocol), (known.facts, known.confirmation))


def _kind(protocol: Protocol[Any, Any]) -> Any:
    return tuple[protocol.facts_type, Confirmation | None]  # type: ignore[name-defined]  # made at run time
