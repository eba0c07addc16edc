"""What the alerts room does against channels that fail and chains that change their mind, as switches that are all on.

As in monitor.chain.defences: a fault test runs its scenario with everything on, and with one defence off, where the
same assertions must fail. Nothing outside tests switches one off.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Defences:
    """Each is named after what it does."""

    retry: bool = True
    """what did not arrive is sent again"""
    same_key: bool = True
    """a message has one key and one content from before its first try on"""
    mark_after: bool = True
    """a message counts as delivered once the channel has taken it, not before"""
    backoff: bool = True
    """a channel that fails is left alone for longer each time, and as long as it asks"""
    tell_others: bool = True
    """that a channel fails is told on the others"""
    escalate: bool = True
    """what nobody could be told goes to the channel of last resort"""
    group: bool = True
    """many alerts are one message"""
    worst_first: bool = True
    """the worst stands first"""
    correct: bool = True
    """what rests on a block that left the chain is corrected"""
    wait_final: bool = True
    """who wants to be told only what is final is told nothing else"""
    no_journal: bool = True
    """alerts that cannot be journaled are sent all the same"""

    def without(self, name: str) -> Defences:
        """All of these but one. May raise: ValueError when there is no such defence."""
        if name not in {field.name for field in fields(self)}:
            raise ValueError(f"no defence is called {name!r}")
        return replace(self, **{name: False})


ALL = Defences()
