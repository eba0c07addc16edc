"""What levmon does to a position: intents, plans, and the state an action is in. Frozen, integers, no I/O.

An intent says what a transaction is for; the calldata is built from it twice, by the planner for the simulation and by
the signer for the signature, each from the template that the protocol declares. One action is one decision to change
one position; it owns at most one (chain, signer, nonce). Attempts are the signed byte strings for that nonce.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from monitor.core.types import Address, BlockRef, Health, Position


@dataclass(frozen=True, slots=True)
class Intent:
    """What one transaction is for. `kind` names a template, `args` its arguments by name: integers, addresses, text.

    `to` is the contract called; `owner` the position's owner, whom a template may demand as recipient.
    """

    kind: str
    chain_id: int
    position_id: str
    owner: Address
    to: Address
    args: Mapping[str, int | str]
    value_wei: int = 0

    @property
    def hash(self) -> str:
        """sha256 over the canonical JSON: the same intent has the same hash in every process and run."""
        content = {
            "kind": self.kind,
            "chain_id": self.chain_id,
            "position_id": self.position_id,
            "owner": self.owner,
            "to": self.to,
            "args": {name: str(value) for name, value in sorted(self.args.items())},
            "value_wei": str(self.value_wei),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ArgRule:
    """Where one argument of a template's function comes from.

    `source`: `intent` (taken from Intent.args[name]), `owner` (Intent.owner, nothing else), or `constant` (`value`).
    `role`: what the number or address means to the signer's limits: `asset` (must be on its list), `amount` (of the
    asset, counted against limits), `allowance` (bounded, not counted: nothing moves yet), `received` (comes in; must be
    on its list too), `recipient` (must be the owner), `spender` (must be a contract on its list), or empty. Without an
    `asset` the contract called is the asset.
    """

    name: str
    source: str
    role: str = ""
    value: int | str = 0


@dataclass(frozen=True, slots=True)
class Template:
    """How the calldata of one kind of intent is made: `function` is `abi.function` of abis/. Data, never code.

    With an `opt_in` it acts on positions of strangers: the signer's configuration must allow that under this name, and
    its amounts count against limits of their own. `event` is the `abi.Event` that tells afterwards what it did.
    """

    kind: str
    function: str
    args: tuple[ArgRule, ...]
    note: str
    opt_in: str = ""
    event: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that could be done for a position, before anybody knows how much of it: a plan without its amount.

    `intent` has the template's arguments; its `amount` is a placeholder (see `with_amount`). `position` is the state
    that the step acts on. `least` and `most` bound the amount, in `asset`'s smallest unit; `price` is that of a
    whole token in the health's unit. With `refused` the step is impossible, and says why; `remedy` would lift a limit.
    """

    position: Position
    intent: Intent
    asset: Address
    symbol: str
    decimals: int
    price: int
    least: int
    most: int
    gas: int
    purse: int = 0
    """What the purse holds of the asset."""
    limited_by: str = ""
    """What sets `most`, for people."""
    refused: str = ""
    remedy: Intent | None = None

    @property
    def key(self) -> str:
        """`kind symbol`, e.g. `aave-v3/repay USDC`."""
        return f"{self.intent.kind} {self.symbol}"

    def with_amount(self, amount: int) -> Intent:
        """The intent to do `amount` of it."""
        return replace(self.intent, args={**self.intent.args, "amount": amount})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one plan may cost at most: gas units, wei per gas, wei in all, and until which chain time it may land.

    `l1_data_fee_wei`: what of the cost is no gas.
    """

    gas: int
    max_fee_per_gas_wei: int
    max_cost_wei: int
    valid_until_s: int
    l1_data_fee_wei: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to bring one position back: the intent, why this one, what it costs, and the health it should lead to.

    `amount` in `asset`'s smallest unit; `before` and `expected` are health now and after inclusion.
    """

    key: str
    position_id: str
    block: BlockRef
    intent: Intent
    asset: Address
    symbol: str
    amount: int
    decimals: int
    before: Health
    expected: Health
    why: str
    limits: Limits
    refused: tuple[str, ...] = ()
    """Better steps that were impossible, each with its reason."""
    loss_avoided_wei: int = 0
    """What the owner would lose to liquidators otherwise; 0 where it is not known."""


class ActionState(StrEnum):
    """Where an action is. FINAL_* and CLOSED_* never change; anything earlier may regress."""

    PLANNED = "planned"
    ARMED = "armed"
    SIGNED = "signed"
    BROADCAST = "broadcast"
    MINED = "mined"
    CANCELLING = "cancelling"
    FOREIGN_NONCE = "foreign_nonce"
    QUARANTINED = "quarantined"
    FINAL_OK = "final_ok"
    FINAL_REVERTED = "final_reverted"
    FINAL_CANCELLED = "final_cancelled"
    CLOSED_NOOP = "closed_noop"
    CLOSED_EXPIRED = "closed_expired"
    CLOSED_REJECTED = "closed_rejected"


@dataclass(frozen=True, slots=True)
class SignRequest:
    """What the executor asks of a signer: an intent (or, to cancel, none) with the transaction's remaining fields."""

    action_id: str
    epoch: int
    chain_id: int
    sender: Address
    nonce: int
    intent: Intent | None
    gas: int
    max_fee_per_gas_wei: int
    max_priority_fee_per_gas_wei: int

    @property
    def is_cancel(self) -> bool:
        """A transfer of nothing to oneself, which uses the nonce up."""
        return self.intent is None


@dataclass(frozen=True, slots=True)
class Signed:
    """Signed bytes and their hash, as checked by the caller: sender recovered, every field decoded and equal."""

    raw: bytes
    hash: str
