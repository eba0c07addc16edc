"""What the journal does against loss, as switches that are all on.

As in monitor.chain.defences: a fault test runs its scenario with everything on, where levmon must behave, and with one
defence off, where the same assertions must fail. Nothing outside tests switches one off.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Defences:
    """Each is named after what it does."""

    lock: bool = True
    """one process works with a journal at a time"""
    one_commit: bool = True
    """what belongs together happens in one transaction, migrations included, or not at all"""
    verify: bool = True
    """a journal that is damaged, edited, of another schema or not durable does not open"""
    fail_closed: bool = True
    """after a failed write everything is refused until the journal was opened and verified anew"""

    read_back: bool = True
    """after a lost connection it is looked up whether the last commit happened, and that the journal is the same"""

    def without(self, name: str) -> Defences:
        """All of these but one. May raise: ValueError when there is no such defence."""
        if name not in {field.name for field in fields(self)}:
            raise ValueError(f"no defence is called {name!r}")
        return replace(self, **{name: False})


ALL = Defences()
