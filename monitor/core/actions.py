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
from fractions import Fraction

from monitor.core.curve import Curve
from monitor.core.types import Address, BlockRef, Health, Position
from monitor.core.units import BPS, mul_div_up


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
    asset, counted against limits), `spent` (an amount, of the asset that the signer's own file names for the contract
    called), `allowance` (bounded, not counted: nothing moves yet), `received` (comes in; must be on its list too),
    `recipient` (must be the owner), `spender` (must be a contract on its list), `collateral` (another asset on its
    list, sold for the first), `router` (must be on its list of routers), `bound` (a number that must be finite),
    `action` (32 bytes that make the action happen once), or empty. Without an `asset` the contract called is the asset.
    A struct has one rule for each of its fields, in order; of bytes only the constant `0x`, none, is known.
    `per`: so many of the number count as one unit of the asset against limits, rounded up.
    """

    name: str
    source: str
    role: str = ""
    value: int | str = 0
    per: int = 1


@dataclass(frozen=True, slots=True)
class Template:
    """How the calldata of one kind of intent is made: `function` is `abi.function` of abis/. Data, never code.

    With an `opt_in` it acts on positions of strangers: the signer's configuration must allow that under this name, and
    its amounts count against limits of their own. `event` is the `abi.Event` that tells afterwards what it did, and
    `told` the names of its arguments for whom, by whom, what was paid and what was received. `market`: the arguments
    which say in what market of a contract that holds many it acts; keccak256 of their words is the market's id, which
    must be on the signer's list for that contract. `code`: the function answers 0, or the code of an error without a
    revert; then it did nothing unless its `event` says otherwise, of that owner and by that sender.
    """

    kind: str
    function: str
    args: tuple[ArgRule, ...]
    note: str
    opt_in: str = ""
    event: str = ""
    told: tuple[str, str, str, str] = ("", "", "", "")
    market: tuple[str, ...] = ()
    code: bool = False


ROUNDING = 2
"""In units of a collateral: what two roundings may differ by."""


@dataclass(frozen=True, slots=True)
class Swap:
    """What it takes to pay a step's amount with the owner's own collateral, and what the chain demands of it.

    `sold` is the collateral that it costs, fees included, by the amount repaid, never too low at the position's block.
    The exchange may take `tolerance_bps` more until inclusion, but never more than `worth` per unit repaid (by the
    protocol's oracle and the owner's own limit) nor than `held`. Health outside low..high afterwards reverts.
    """

    collateral: Address
    symbol: str
    decimals: int
    price: int
    sold: Curve
    tolerance_bps: int
    worth: Fraction
    held: int
    low: Fraction | None = None
    high: Fraction | None = None

    def limit(self, amount: int) -> int:
        """The most collateral that may go for repaying `amount`. May raise: ValueError where nothing is known."""
        wanted = mul_div_up(self.sold.at(amount), BPS + self.tolerance_bps, BPS)
        return min(wanted, int(amount * self.worth), self.held)

    def outside(self, health: Fraction | None) -> str:
        """On which side the health lies outside of what the owner allows; empty if inside. None: without debt."""
        if self.low is not None and health is not None and health < self.low:
            return "below what the owner lets the guard leave"
        if self.high is not None and (health is None or health > self.high):
            return "above what the owner lets the guard leave"
        return ""

    def feasible(self, amount: int) -> bool:
        """Whether the exchange's price of the moment is within what may go, with room for rounding."""
        if amount > self.sold.most:
            return False
        return self.sold.at(amount) + ROUNDING <= min(int(amount * self.worth), self.held)


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
    swap: Swap | None = None
    """Set where the owner's collateral pays and not the purse."""
    grain: int = 1
    """Only multiples of it are looked at: finer ones drown in the rounding of what pays."""
    closes: bool = False
    """It pays as much of a debt as it can, whatever health is wanted: `amount` is the most that it may come to."""
    owner_must: str = ""
    """What the position's owner has to do before the step is possible; nobody else can."""

    @property
    def key(self) -> str:
        """`kind symbol`, e.g. `aave-v3/repay USDC` or `aave-v3/deleverage USDC by WETH`."""
        return f"{self.intent.kind} {self.symbol}" + (f" by {self.swap.symbol}" if self.swap else "")

    def with_amount(self, amount: int) -> Intent:
        """The intent to do `amount` of it. May raise: ValueError for an amount that no exchange was asked about."""
        args = {**self.intent.args, "amount": amount}
        if self.swap is not None:
            args["max_collateral"] = self.swap.limit(amount)
        return replace(self.intent, args=args)

    def loss(self, amount: int) -> Fraction:
        """What `amount` of it takes away for good, in the health's unit: all of it, or what the exchange costs."""
        worth = Fraction(amount * self.price, 10**self.decimals)
        if self.swap is None:
            return worth
        return max(Fraction(self.swap.sold.at(amount) * self.swap.price, 10**self.swap.decimals) - worth, Fraction(0))


@dataclass(frozen=True, slots=True)
class Move:
    """What an intent moves between the guardian's purse and `holder`: what leaves one of the two arrives at the other.

    `pays`: the purse pays, and no more than the intent's amount; else it receives.
    """

    asset: Address
    holder: Address
    pays: bool


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
