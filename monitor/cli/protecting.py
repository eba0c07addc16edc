"""Which positions of a chain are protected, and by which rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from monitor.core.types import MarketRef
from monitor.report import Subject

if TYPE_CHECKING:
    from monitor.cli.session import Open
    from monitor.cli.targets import Targets
    from monitor.pipeline.guardians import Protection


def protected_subjects(chain: Open, targets: Targets, protections: Sequence[Protection]) -> dict[Subject, Protection]:
    """Every position of the chain that a [[protect]] means: those named by owner, and of the file those that fit."""
    from monitor.pipeline.guardians import protection_of

    markets = chain.markets()
    subjects = {subject.id: subject for subject in chain.subjects}
    for protection in protections:
        for ref, name in markets.items():
            owner = _owner(protection.selector, ref)
            if owner and ref.position_id(owner) not in subjects:
                label = targets.config.label(owner) if targets.config else ""
                subjects[ref.position_id(owner)] = Subject(ref, name, owner, label, protection.rule.levels)
    found = {}
    for subject in subjects.values():
        protection_found = protection_of(protections, subject.id)
        if protection_found is not None:
            found[subject] = protection_found
    return found


def reread(chain: Open, targets: Targets) -> dict[str, Protection]:
    """By position: what the file says now of the positions of this chain. May raise: ConfigError."""
    from monitor.core import config as configuration
    from monitor.core.errors import ConfigError
    from monitor.pipeline.guardians import protections

    if targets.path is None:
        raise ConfigError("there is no file to read anew")
    found = protected_subjects(chain, targets, protections(configuration.load(targets.path)))
    return {subject.id: protection for subject, protection in found.items()}


def _owner(selector: str, ref: MarketRef) -> str:
    """The owner, if the selector is the exact id of a position in this market."""
    head = f"{ref}/"
    return selector[len(head) :] if selector.startswith(head) and "*" not in selector and "?" not in selector else ""
