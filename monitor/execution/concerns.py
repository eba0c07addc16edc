"""What will stand in the way of the next rescue though no action is at fault: told when it begins, and when it is over.

Little money for gas, an account with code, a chain that stands still. Nothing here decides about an action. A concern
is told once for as long as it lasts, and once more by the next process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from monitor.core.actions import ActionState
from monitor.core.types import Address, BlockRef
from monitor.execution.fees import FeePolicy, Urgency, offer
from monitor.execution.port import Account
from monitor.journal.outbox import Note, Outbox
from monitor.journal.rows import Action, Severity
from monitor.journal.store import Journal

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Concern:
    """`scope` as holds have it (`chain:1`, `signer:1:0x..`); `name` tells concerns of one scope apart."""

    scope: str
    name: str
    severity: Severity
    text: str


def of_account(
    head: BlockRef, address: Address, account: Account, gas: int, reserve_wei: int, policy: FeePolicy, *, known: bool
) -> list[Concern]:
    """`gas`: units that should be payable at today's fees, above the reserve. `known`: it was too little before.

    What was too little must become a third more than enough, so that a fee that wavers is not told block by block.
    """
    scope, found = f"signer:{head.chain_id}:{address}", []
    wanted = gas * offer(head.base_fee or 0, 0, Urgency.PRESSING, policy).max_fee_wei + reserve_wei
    if account.balance_wei < wanted + (wanted // 3 if known else 0):
        text = f"the key has {account.balance_wei} wei left; the next rescues may take {wanted}: send it some"
        found.append(Concern(scope, "gas", Severity.WARN, text))
    if account.code:
        text = "the key's account has code (delegated, EIP-7702): one transaction at a time, and others may spend it"
        found.append(Concern(scope, "code", Severity.WARN, text))
    return found


class Once:
    """What was said of each action since its state changed, so that it is not said again with other numbers."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[ActionState, set[str]]] = {}

    def new(self, action: Action, why: str) -> bool:
        """Whether it was not said yet; it counts as said from now on."""
        state, said = self._said.get(action.id, (action.state, set()))
        if state is not action.state:
            said = set()
        shape = _NUMBER.sub("#", why)
        fresh = shape not in said and _NUMBER.sub("#", action.note) != shape
        self._said[action.id] = (action.state, said | {shape})
        return fresh

    def keep(self, actions: Iterable[Action]) -> None:
        """Forget all but these."""
        ids = {action.id for action in actions}
        self._said = {name: said for name, said in self._said.items() if name in ids}


class Concerns:
    """Those that were told and are not over."""

    def __init__(self, journal: Journal) -> None:
        self._outbox = Outbox(journal)
        self._known: dict[tuple[str, str], Concern] = {}

    def known(self, scope: str, name: str) -> bool:
        return (scope, name) in self._known

    def tell(self, found: Iterable[Concern], at_s: int) -> list[str]:
        """What began since the last time, and what is over; the words of it. May raise: JournalError."""
        now = {(one.scope, one.name): one for one in found}
        began = [one for key, one in now.items() if key not in self._known]
        over = [one for key, one in self._known.items() if key not in now]
        notes = [Note("concern", one.scope, one.severity, one.text, detail={"name": one.name}) for one in began]
        notes += [
            Note("concern", one.scope, Severity.INFO, f"over: {one.text}", detail={"name": one.name}) for one in over
        ]
        if notes:
            self._outbox.note(notes, at_s)
        self._known = now
        return [note.body for note in notes]
