"""What the purse's allowances and the owner's settings on a guard stand in the way of: told before it is needed, once.

Reads nothing: judges the steps that were found at a head, and what was read of the guard with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from monitor.core.actions import Step
from monitor.core.errors import LevmonError
from monitor.core.registry import protocol as protocol_named
from monitor.pipeline.consent import unfit
from monitor.pipeline.events import Forbidden, Missing
from monitor.pipeline.guardians import PURSE, Protection
from monitor.pipeline.plans import Options, Outlook
from monitor.pipeline.reach import too_little
from monitor.protocols.aave_v3.guard import GuardState
from monitor.report import Report

TOO_LITTLE = "allowances"


@dataclass(slots=True)
class Permissions:
    """What was told of each position."""

    _missing: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _forbidden: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _unfit: dict[str, str] = field(default_factory=dict)

    def look(self, seen: Outlook, report: Report, choice: Options, protection: Protection) -> list[Missing | Forbidden]:
        """What only an allowance of the purse's, or the position's owner, stands in the way of, where that changed."""
        kinds = protection.kinds(report.subject.ref.protocol)
        wanted = {name.lower() for name in protection.assets}
        steps = [
            step
            for step in choice.steps
            if step.intent.kind in kinds and (not wanted or wanted & {step.asset.lower(), step.symbol.lower()})
        ]
        return [*self._purse(report, steps), *self._owner(report, steps), *self._settings(seen, report, protection)]

    def _purse(self, report: Report, steps: list[Step]) -> list[Missing | Forbidden]:
        symbols = tuple(dict.fromkeys(step.symbol for step in steps if step.remedy is not None and step.refused))
        if symbols == self._missing.get(report.id, ()):
            return []
        self._missing[report.id] = symbols
        return [Missing(report.subject, symbols)] if symbols else []

    def _owner(self, report: Report, steps: list[Step]) -> list[Missing | Forbidden]:
        traded = [step for step in steps if step.owner_must or step.swap is not None]
        reasons = tuple(dict.fromkeys(step.refused for step in traded)) if all(s.owner_must for s in traded) else ()
        before, self._forbidden[report.id] = self._forbidden.get(report.id, ()), reasons
        if not traded or reasons == before:  # without any, nothing is known but that health is not where it may act
            return []
        return [Forbidden(report.subject, reasons)]

    def _settings(self, seen: Outlook, report: Report, protection: Protection) -> list[Missing | Forbidden]:
        """Whether what the owner once wrote on the guard, and lets it take, is what the rule wants of it now."""
        purse = seen.purses.get(report.subject.ref)
        guard: GuardState | None = None if isinstance(purse, LevmonError) else getattr(purse, "guard", None)
        wishes = guard.wishes_of(report.subject.owner) if guard is not None else None
        if guard is None or wishes is None or set(protection.actions) <= set(PURSE) or self._forbidden.get(report.id):
            return []  # not known, or not asked for, or not even allowed
        before = self._unfit.get(report.id, "")
        why = told = unfit(wishes, protection)
        if not why:
            ref = report.subject.ref
            protocol, context = protocol_named(ref.protocol), seen.snapshot.markets[ref].context
            why = too_little(protocol, guard, report, protection, context, known=before.startswith(TOO_LITTLE))
            # its numbers move with every block
            told = f"{TOO_LITTLE} {[one for one in guard.allowances if one[0] == report.owner]}" if why else ""
        self._unfit[report.id] = told
        return [Forbidden(report.subject, (why,) if why else ())] if told != before else []
