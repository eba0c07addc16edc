"""The central types: frozen, slotted, integers. Everything that moves through the house is one of these.

Addresses are EIP-55 checksummed text, made so at the edges (configuration, ABI codec), so that plain equality works.
Knows nothing of any protocol, node or clock.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Address = str


@dataclass(frozen=True, slots=True)
class BlockRef:
    """One block by hash. Every value read from a chain carries the block that it was read at."""

    chain_id: int
    number: int
    hash: str
    parent_hash: str
    timestamp: int
    base_fee: int | None = None


# -- what read plans ask and are answered ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """A view call. `function` is `abi.function` of a file in abis/, e.g. `aave_v3_pool.getReserveData`.

    With `allow_revert` a failure is handed to the plan as an answer; without, it is raised in the plan as CallFailed.
    `sender` is msg.sender where it matters.
    """

    to: Address
    function: str
    args: tuple[Any, ...] = ()
    allow_revert: bool = False
    sender: Address | None = None

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.args))}) at {self.to}"


@dataclass(frozen=True, slots=True)
class LogQuery:
    """All logs of `event` (`abi.Event`) that `address` emitted in the last `blocks` blocks up to the pinned one."""

    address: Address
    event: str
    blocks: int
    allow_revert: bool = False

    def __str__(self) -> str:
        return f"logs {self.event} of {self.address} in {self.blocks} blocks"


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a contract's storage, for what no getter tells. Only where the contract's own layout is known.

    Answered with one unsigned integer. A slot that was never written reads 0, so what is read wants a cross-check.
    """

    address: Address
    slot: int
    allow_revert: bool = False

    def __str__(self) -> str:
        return f"storage word {self.slot:#x} of {self.address}"


@dataclass(frozen=True, slots=True)
class Created:
    """What creation code of ours answers: that of a file in abis/, called with `data` behind it and never deployed.

    The answer is one value, its bytes. What cannot be done on a chain is Unread; there is always another way to ask.
    """

    file: str
    data: bytes
    allow_revert: bool = True

    def __str__(self) -> str:
        return f"{self.file} about {len(self.data)} bytes"


@dataclass(frozen=True, slots=True)
class Log:
    """A decoded log. `args` by the ABI's names."""

    address: Address
    event: str
    args: Mapping[str, Any]
    block_number: int
    block_hash: str
    log_index: int


Query = Call | LogQuery | Word | Created


@dataclass(frozen=True, slots=True)
class Ok:
    """The decoded outputs in ABI order (structs as tuples); for a LogQuery the logs in chain order, for a Word it."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Reverted:
    """The contract refused. `reason` is the decoded text or error name, else the data in hex."""

    data: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Unread:
    """No trustworthy answer: out of gas, undecodable bytes, node limit. Never a zero, never `healthy`."""

    reason: str


Answer = Ok | Reverted | Unread

ReadPlan: TypeAlias = Generator[Sequence[Query], Sequence[Answer], T]
"""A generator that yields batches of queries, is sent their answers in the same order, and returns T.

The same plan runs against a JSON-RPC node, eth-tester, a recorded cassette or a fake, sync or async (core.plan)."""


# -- markets, positions, health --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MarketRef:
    """Where a market is: the protocol's minimal address, and an id inside it where one contract holds many markets."""

    chain_id: int
    protocol: str
    address: Address
    id: str | None = None

    def __str__(self) -> str:
        tail = f"/{self.id}" if self.id else ""
        return f"eip155:{self.chain_id}/{self.protocol}/{self.address}{tail}"

    @classmethod
    def parse(cls, text: str) -> MarketRef:
        """The market that `str` wrote so. May raise: ValueError."""
        chain, protocol, address, *identity = text.split("/", 3)
        return cls(int(chain.removeprefix("eip155:")), protocol, address, identity[0] if identity else None)

    def position_id(self, owner: Address) -> str:
        """The text id of the owner's position here."""
        return f"{self}/{owner}"


@dataclass(frozen=True, slots=True)
class Rule:
    """Which exact rule applies to a position: the protocol's name and its rule version, e.g. (aave-v3, 3.6)."""

    protocol: str
    version: str


S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Position:
    """One owner's position as raw chain state at one block, enough to recompute everything without a node.

    `state` is the protocol's own frozen dataclass of integers. `prices` are the oracle answers that the contract would
    use, by key (normally the asset's address), apart from the state so that shocks and searches can replace them.
    """

    id: str
    owner: Address
    block: BlockRef
    rule: Rule
    prices: Mapping[str, int]
    state: Any


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A position that could not be read. It becomes Unknown(reason), never absence and never healthy."""

    id: str
    owner: Address
    block: BlockRef
    reason: str


class Side(StrEnum):
    """Which side of the balance sheet a leg is on."""

    COLLATERAL = "collateral"
    DEBT = "debt"


@dataclass(frozen=True, slots=True)
class Leg:
    """One asset of a position as the contract values it.

    `amount` in the asset's smallest unit, `price` with `price_decimals`, `value` in the health's unit, `factor` the
    liquidation threshold (or its equivalent) in basis points of one; `enabled` is False for a deposit that does not
    count as collateral.
    """

    side: Side
    asset: Address
    symbol: str
    decimals: int
    amount: int
    price: int
    price_decimals: int
    value: int
    factor: int
    factor_decimals: int = 4
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """Health as an exact ratio; below one the contract would call the position unhealthy. `denominator > 0`.

    Where the contract compares a rounded health factor, numerator is that integer and denominator is 10**18.
    """

    numerator: int
    denominator: int

    @property
    def unhealthy(self) -> bool:
        """numerator < denominator: strict, as the contracts compare."""
        return self.numerator < self.denominator


@dataclass(frozen=True, slots=True)
class NoDebt:
    """There is nothing to liquidate."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Health could not be determined; `reason` says why."""

    reason: str


Verdict = Known | NoDebt | Unknown


class GateState(StrEnum):
    """Whether a condition besides health lets a liquidation through."""

    OPEN = "open"
    SHUT = "shut"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Gate:
    """A condition besides health that can block (shut) or allow (open) a liquidation, or is not known."""

    name: str
    state: GateState
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Unit:
    """What values are counted in, e.g. USD with 8 decimals."""

    symbol: str
    decimals: int


@dataclass(frozen=True, slots=True)
class Health:
    """What the contract would say of a position at one block (or at a later time or other prices, if asked so).

    `reported` holds the contract's own getter, recomputed, by the ABI's names. `liquidatable`: the liquidation call
    with maximum cover from a funded stranger succeeds now for at least one pair; None while any gate that matters is
    unknown.
    `input_age_s` is the age of the oldest price that the position uses, None where the source does not tell.
    """

    position_id: str
    block: BlockRef
    verdict: Verdict
    unit: Unit
    reported: Mapping[str, int] = field(default_factory=dict)
    gates: tuple[Gate, ...] = ()
    liquidatable: bool | None = None
    at_next_block: bool | None = None
    legs: tuple[Leg, ...] = ()
    collateral: int = 0
    debt: int = 0
    input_age_s: int | None = None
    notes: tuple[str, ...] = ()


class PriceStatus(StrEnum):
    """Whether a price may be trusted for its age and value."""

    FRESH = "fresh"
    STALE = "stale"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Price:
    """An oracle's answer with its age: `answer` with `decimals` in `unit`, `updated_at` seconds (None: not told).

    `round_id` is the source's own count of its answers, None where it has none.
    """

    asset: Address
    answer: int
    decimals: int
    unit: str
    updated_at: int | None
    valid_for: int | None
    source: str
    round_id: int | None = None

    def status(self, now_s: int) -> PriceStatus:
        """INVALID: not positive, or from the future; STALE: older than `valid_for` seconds; else FRESH."""
        if self.answer <= 0 or (self.updated_at is not None and self.updated_at > now_s):
            return PriceStatus.INVALID
        if self.updated_at is None or self.valid_for is None:
            return PriceStatus.FRESH
        return PriceStatus.STALE if now_s - self.updated_at > self.valid_for else PriceStatus.FRESH


@dataclass(frozen=True, slots=True)
class LiquidationPrice:
    """The first price of one asset, all others unchanged, at which the position turns unhealthy.

    `direction` is `below` (falls to) or `above` (rises to); `price` has `decimals`.
    """

    asset: Address
    symbol: str
    price: int
    decimals: int
    current: int
    direction: str


@dataclass(frozen=True, slots=True)
class Line:
    """One number of an explanation: its value as text, the formula with numbers, and the call that it came from."""

    name: str
    value: str
    formula: str = ""
    source: str = ""


class Level(StrEnum):
    """How loud to be about a position."""

    OK = "ok"
    WATCH = "watch"
    WARN = "warn"
    CRITICAL = "critical"
    UNKNOWN = "unknown"
