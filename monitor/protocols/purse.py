"""A guardian's purse, token by token: what it holds, what a contract may take of it, and how that bounds a step.

Whether a token lets the purse pay at all (it may be paused, or have blocked one side) is asked of the token itself,
with the transfer that the contract would make, of one unit. Must not know: any protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from monitor.core.actions import Intent, Step
from monitor.core.types import Address, Answer, Call, Ok, Reverted
from monitor.core.units import format_units
from monitor.protocols.base import APPROVE

CALLS = 3
"""How many calls `held_calls` makes of a token."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the purse has of a token and lets be taken, None where unread; `stuck`: why the token lets none go."""

    balance: int | None
    allowance: int | None
    stuck: str = ""


def held_calls(token: Address, guardian: Address, taker: Address) -> tuple[Call, ...]:
    """What `held` is made from; `taker` is the contract that the allowance is for."""
    return (
        Call(token, "erc20.balanceOf", (guardian,), allow_revert=True),
        Call(token, "erc20.allowance", (guardian, taker), allow_revert=True),
        Call(token, "erc20.transferFrom", (guardian, taker, 1), allow_revert=True, sender=taker),
    )


def held(answers: Sequence[Answer]) -> Held:
    """From the answers to `held_calls`, in their order."""
    balance, allowance = (answer.values[0] if isinstance(answer, Ok) else None for answer in answers[:2])
    transfer = answers[2]
    if not (isinstance(transfer, Reverted) and balance and allowance):
        return Held(balance, allowance)
    return Held(balance, allowance, transfer.reason or "transferFrom reverts")


def bounded(step: Step, purse: Held, most: int, limited_by: str, *, taker: Address, called: str, least: str) -> Step:
    """The step with the most that both the protocol and the purse allow, or refused with the reason.

    `most` and `limited_by` are the protocol's own bound; `taker` is who takes, `called` its name for people, and
    `least` what is said where the protocol's bound is below the step's least.
    """
    if purse.balance is None or purse.allowance is None:
        return replace(step, refused=f"the purse's {step.symbol} could not be read")
    bounds = (most, limited_by), (purse.balance, "the purse"), (purse.allowance, "the purse's allowance")
    bound, by = min(bounds)
    found = replace(step, most=bound, limited_by=by, purse=purse.balance)
    if by == "the purse's allowance":
        found = replace(found, remedy=_approval(found, taker, min(most, purse.balance)))
    if purse.stuck:
        return replace(found, refused=f"{step.symbol} does not let the purse pay: {purse.stuck}")
    if bound >= step.least:
        return found
    has, allowed = (format_units(amount, step.decimals) for amount in (purse.balance, purse.allowance))
    said = {
        "the purse": f"the purse holds {has} {step.symbol}",
        "the purse's allowance": f"the purse lets {called} take {allowed} of its {has} {step.symbol}",
    }
    return replace(found, refused=said.get(by, least))


def _approval(step: Step, taker: Address, amount: int) -> Intent:
    return Intent(
        kind=APPROVE.kind,
        chain_id=step.intent.chain_id,
        position_id=step.intent.position_id,
        owner=step.intent.owner,
        to=step.asset,
        args={"spender": taker, "amount": amount},
    )
