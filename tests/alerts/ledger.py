"""What tests of alerts share: a real journal in a folder, blocks, and notes to tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monitor.core.types import BlockRef, Level
from monitor.journal.outbox import Note, Outbox, Told, Wants
from monitor.journal.rows import Severity
from monitor.journal.store import Journal

ALL_KINDS = frozenset({"level", "action", "outcome", "hold", "channel", "reminder", "run", "held"})
NOW_S = 1_700_000_000


def block(number: int, branch: str = "a") -> BlockRef:
    return BlockRef(31337, number, f"0x{branch}{number:063x}", f"0x{branch}{number - 1:063x}", NOW_S + 12 * number)


def opened(folder: Path, name: str = "journal.db", **more: Any) -> Outbox:
    return Outbox(Journal(f"sqlite:///{folder / name}", now_s=NOW_S, **more))


def fell(number: int = 1, *, who: int = 1, branch: str = "a", level: Level = Level.CRITICAL) -> tuple[Note, Told]:
    """A position's level is worse than it was."""
    position = f"eip155:31337/toy/0xmarket/0x{who:040x}"
    detail = {"position": position, "was": "ok", "level": level.value, "health": "1.0500", "before": "1.3000"}
    severity = Severity.CRITICAL if level in (Level.CRITICAL, Level.UNKNOWN) else Severity.WARN
    note = Note("level", position, severity, f"health fell, {level.value}", "", detail, block(number, branch))
    return note, Told(position, level, "1.0500", NOW_S)


def put(outbox: Outbox, *pairs: tuple[Note, Told]) -> None:
    outbox.note([note for note, _ in pairs], NOW_S, [told for _, told in pairs])


def everything(name: str = "phone", **more: Any) -> Wants:
    return Wants(name, kinds=ALL_KINDS, **more)
