"""What happens while positions are protected, as values: for whoever shows it, and whoever tells it to others."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.core.actions import Plan
from monitor.execution.port import Simulated
from monitor.journal.rows import Action
from monitor.policy.planner import Proposal
from monitor.policy.rules import Decision, LevelChange
from monitor.report import Subject


@dataclass(frozen=True, slots=True)
class Decided:
    """A rule wants an action: what came of it. `plan` None: nothing is possible, `proposal` says why."""

    subject: Subject
    decision: Decision
    proposal: Proposal
    plan: Plan | None
    simulated: Simulated | None = None
    action: Action | None = None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """An action is not where it was, or something else is said of it."""

    action: Action
    why: str


@dataclass(frozen=True, slots=True)
class Held:
    """Why nothing is signed, or "" once that is over."""

    why: str


@dataclass(frozen=True, slots=True)
class Missing:
    """The purse may not be used for something: an allowance is missing, told before it is needed."""

    subject: Subject
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Suspect:
    """A price jumped beyond belief, or ("" ) none is in doubt any more."""

    subject: Subject
    why: str


@dataclass(frozen=True, slots=True)
class Disputed:
    """A second source does not confirm a price: nothing is sold at it. "": every price is confirmed again."""

    subject: Subject
    why: str


@dataclass(frozen=True, slots=True)
class Forbidden:
    """All that a rule could do by the guard waits for the owner, who alone can allow it, or ((): no longer)."""

    subject: Subject
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unready:
    """What a rescue from the purse would lack if the rule acted now; "": nothing any more.

    `helpless`: it could not even begin.
    """

    subject: Subject
    why: str
    helpless: bool = False


@dataclass(frozen=True, slots=True)
class Concerned:
    """Something that will stand in the way of the next rescue, as it was told; see execution.concerns."""

    text: str


Event = LevelChange | Decided | Moved | Held | Missing | Forbidden | Suspect | Disputed | Unready | Concerned
