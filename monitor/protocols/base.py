"""The contract that every protocol fulfils. A new protocol is one subclass, its ABI file and its test; no other edit.

A protocol is read in three plans, all pinned to one block hash:
- static: addresses, symbols, decimals, which rules apply. Cached on disk; `recheck` re-verifies it at each pinned hash.
- state: everything that decides health. Nothing that a recorded cassette of the market would not hold.
- context: ages of price sources, sentinels, grace periods, free liquidity: what gates a liquidation and what users are
  shown beside health. Where it is missing, gates are unknown, health is not.

What a protocol must not do: I/O, clocks, floats, or a call to the contract's own health getter outside `truth`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from monitor.core.actions import ArgRule, Intent, Move, Step, Template
from monitor.core.errors import ProtocolError
from monitor.core.guarding import GuardSetup
from monitor.core.liquidations import Liquidation
from monitor.core.plan import done
from monitor.core.types import (
    Address,
    BlockRef,
    Health,
    Known,
    Line,
    MarketRef,
    NoDebt,
    Position,
    Price,
    ReadPlan,
    Unreadable,
)

if TYPE_CHECKING:
    from monitor.protocols.whole import Whole

SAMPLE_BLOCKS = 50_000
"""How far back `sample` is asked to look. A static plan that asks the same question early saves the sample's round."""

APPROVE = Template(
    "erc20/approve",
    "erc20.approve",
    (ArgRule("spender", "intent", "spender"), ArgRule("amount", "intent", "allowance")),
    "let a listed contract take this much of the purse's tokens",
)
"""Of EIP-20, and so of every protocol that takes from a purse."""

M = TypeVar("M")
C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Deployment:
    """A known market: where it is, and the public source of the address."""

    chain_id: int
    address: Address
    source: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """A rule version and how its exactness was shown, e.g. ("3.6", "recorded contracts and localnet")."""

    name: str
    proof: str
    recorded: int = 0
    """Recorded accounts whose numbers are all compared, and all equal, in every run of the tests."""


@dataclass(frozen=True, slots=True)
class Helpers:
    """Who may bring a position back by the contracts' own rules, in plain words: not what levmon sends, but what is so.

    `purse`: what anybody may do for an owner with tokens of his own. `owner`: what only the owner can do, or allow.
    """

    purse: str
    owner: str

    def __str__(self) -> str:
        return f"anybody may, from a purse: {self.purse}. The owner may: {self.owner}"


@dataclass(frozen=True, slots=True)
class Truth:
    """The contract's own answer for one owner, by the same names as Health.reported. `error` where it reverts."""

    owner: Address
    reported: Mapping[str, int]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A position that somebody has: `state` knows it under `owner` in `market`; `name` in words, if it needs one."""

    market: MarketRef
    owner: Address
    name: str = ""


@dataclass(frozen=True, slots=True)
class Happening:
    """What somebody did to a position: `kind` in one word (`liquidated`, `repaid`, ...), `text` for people."""

    kind: str
    block_number: int
    log_index: int
    text: str


class Impossible(ProtocolError):
    """The contract would refuse this intent, or it would do nothing; says why, with the contract's own name for it."""


class Protocol(ABC, Generic[M, C]):
    """M: the market's static facts, C: its context; both frozen dataclasses of ints, text and tuples."""

    name: ClassVar[str]
    title: ClassVar[str]
    versions: ClassVar[Sequence[Version]]
    deployments: ClassVar[Mapping[str, Deployment]] = {}
    facts_type: ClassVar[type[Any]]
    """M itself, so that the cache can be written and read as JSON."""
    templates: ClassVar[tuple[Template, ...]] = ()
    """The calls that act on a position: all that a signer will ever sign for this protocol."""
    helpers: ClassVar[Helpers] = Helpers("its adapter does not say", "its adapter does not say")

    @abstractmethod
    def static(self, market: MarketRef, block: BlockRef) -> ReadPlan[M]:
        """Read the market's static facts. May raise: CallFailed, ProtocolError."""

    @abstractmethod
    def recheck(self, facts: M, block: BlockRef) -> ReadPlan[bool]:
        """Whether cached facts still hold at `block` (proxy moved, reserve added, oracle swapped). One round."""

    @abstractmethod
    def state(self, facts: M, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
        """Raw state of each owner, in order; a failed read makes that owner Unreadable, never empty."""

    @abstractmethod
    def context(self, facts: M, block: BlockRef) -> ReadPlan[C]:
        """What gates liquidations and how old the prices are. Needs no positions, so it travels with the state."""

    @abstractmethod
    def evaluate(self, position: Position, context: C | None = None, at_s: int | None = None) -> Health:
        """The contract's verdict from raw state, at the pinned block's timestamp or at `at_s` seconds (a later time).

        Without context the gates that need it are unknown. `at_next_block` is left to the engine.
        """

    @abstractmethod
    def truth(self, facts: M, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Truth]]:
        """The contract's own getter for each owner, for `verify` and for confirming rules. Nothing else may call it."""

    @abstractmethod
    def explain(self, position: Position, context: C | None = None) -> list[Line]:
        """Every number of the verdict with its formula and the call that it came from."""

    def find_positions(self, facts: M, owner: Address, block: BlockRef) -> ReadPlan[list[Found | Unreadable]]:
        """All positions of one person in this market, through proxies and sub-accounts; never empty.

        Unreadable: a part of the search failed, and positions may be missing. Default: the owner is the position.
        """
        return done([Found(facts.market, owner)])  # type: ignore[attr-defined]  # every protocol's facts name their market

    def prices(self, facts: M, positions: Sequence[Position], context: C | None, block: BlockRef) -> list[Price]:
        """The prices in use with source and age, for people. Default: none told."""
        return []

    def symbols(self, facts: M) -> Mapping[str, str]:
        """Price key -> symbol, for shocks by symbol and for tables."""
        return {}

    def whole(self, facts: M, block: BlockRef) -> ReadPlan[Whole | None]:
        """What it takes to read, follow and judge all accounts of the market. Default: None, it cannot be done.

        Import what needs numpy here, and not with the protocol. May raise: CallFailed, ProtocolError.
        """
        return done(None)

    # -- searches: defaults that are right where health moves one way only in each price and in time ----------------

    def price_keys(self, position: Position) -> Mapping[str, str]:
        """The keys of the prices that decide this position's health, with the symbols that they stand for."""
        return {key: key for key in position.prices}

    def price_sources(self, facts: M, keys: Sequence[str], block: BlockRef) -> ReadPlan[Mapping[str, Address]]:
        """The contract that the market's oracle takes each price from, so that a rehearsal can move it.

        Default: none known, and so nothing can be rehearsed.
        """
        return done({})

    def unhealthy_between_prices(
        self, position: Position, key: str, at_s: int | None = None
    ) -> Callable[[int, int], bool | None]:
        """A probe over the prices low..high of one key, all else equal.

        It answers True if the position is unhealthy at all of them, False if at none, None if undecided; a single
        price is never undecided. Override it where health may turn inside an interval whose ends agree.
        """

        def probe(low: int, high: int) -> bool | None:
            ends = [_unhealthy(self.evaluate(with_price(position, key, price), None, at_s)) for price in (low, high)]
            return ends[0] if ends[0] == ends[1] else None

        return probe

    def unhealthy_between_times(self, position: Position) -> Callable[[int, int], bool | None]:
        """The same over timestamps in seconds at constant prices."""

        def probe(low: int, high: int) -> bool | None:
            ends = [_unhealthy(self.evaluate(position, None, at_s)) for at_s in (low, high)]
            return ends[0] if ends[0] == ends[1] else None

        return probe

    # -- acting: protocols that declare templates override these ---------------------------------------------------

    def rescue_context(
        self,
        facts: M,
        guardian: Address,
        positions: Sequence[Position],
        block: BlockRef,
        guard: GuardSetup | None = None,
    ) -> ReadPlan[Any]:
        """What steps depend on besides the positions: the guardian's purse, allowances, caps, flags. Frozen.

        With `guard` also what the owners allow that contract to do, and what it would cost. Asked at the positions' own
        block. Default: nothing, and so no steps.
        """
        return done(None)

    def rescue_steps(self, facts: M, position: Position, rescue: Any, until_s: int) -> list[Step]:
        """Everything that could be done for the position from the purse, the impossible with its reason.

        Bounds hold if the step lands between the position's block and `until_s`.
        """
        return []

    def after(self, position: Position, intent: Intent, at_s: int) -> Position:
        """The position right after the intent, included in a block of timestamp `at_s` and nothing before it in there.

        Judge the result at `at_s` only: rates have moved with the intent, and are not known to the result. May raise:
        Impossible.
        """
        raise Impossible(f"{self.name} does not know {intent.kind}")

    def reaches_between_amounts(self, step: Step, target: Fraction, at_s: int) -> Callable[[int, int], bool | None]:
        """A probe over the amounts low..high of a step: whether health at `at_s` is at least `target` after it.

        It answers True if so at all of them, False if at none, None if undecided; a single amount is never undecided.
        Override it where health may turn inside an interval whose ends agree.
        """

        def probe(low: int, high: int) -> bool | None:
            ends = [
                reaches(self.evaluate(self.after(step.position, step.with_amount(a), at_s), None, at_s), target)
                for a in (low, high)
            ]
            return ends[0] if ends[0] == ends[1] else None

        return probe

    def amount_guess(self, step: Step, target: Fraction, at_s: int) -> int | None:
        """About the amount at which health at `at_s` is `target`, by a closed form. Only makes the search shorter."""
        return None

    def reaches_between_times(self, step: Step, target: Fraction, amount: int) -> Callable[[int, int], bool | None]:
        """The same for one amount over the timestamps low..high in seconds at which the step may land."""
        intent = step.with_amount(amount)

        def probe(low: int, high: int) -> bool | None:
            ends = [
                reaches(self.evaluate(self.after(step.position, intent, at_s), None, at_s), target)
                for at_s in (low, high)
            ]
            return ends[0] if ends[0] == ends[1] else None

        return probe

    def contracts(self, facts: M) -> tuple[Address, ...]:
        """The contracts whose code decides what an intent does. A decision rests on it."""
        return (facts.market.address,)  # type: ignore[attr-defined]  # every protocol's facts name their market

    def parameters(self, position: Position) -> Any:
        """What governance may change of the rules for this position, as a value with a stable repr."""
        return position.rule

    def waits_after_outage(self, facts: M) -> bool:
        """Whether nobody can liquidate right after a rollup's sequencer has come back. Default: nothing stops them."""
        return False

    def grace_after_outage(self, facts: M) -> ReadPlan[int | None]:
        """For how many seconds after an outage most liquidations are held back; 0: for none, None: could not be read.

        One round; no call fails the plan.
        """
        return done(0)

    def moves(self, facts: M, intent: Intent) -> tuple[Move, ...]:
        """What the intent moves to and from the guardian's purse, each asset once; empty if nothing."""
        return ()

    def trades(self, intent: Intent) -> tuple[Address, ...]:
        """The assets that the intent exchanges for one another on a market; empty if none."""
        return ()

    def happenings(self, facts: M, owner: Address, guardian: Address, blocks: int) -> ReadPlan[list[Happening]]:
        """What others than the guardian did to the owner's position in the last `blocks` blocks, oldest first."""
        return done([])

    def error_name(self, reason: str) -> str:
        """A revert reason as the contract's sources call it, e.g. `28` or `ReserveFrozen()` -> `ReserveFrozen`."""
        return reason

    # -- liquidating: for keepers, and to tell what a rescue avoids ------------------------------------------------

    def liquidations(
        self, facts: M, position: Position, rescue: Any, context: C | None, at_s: int
    ) -> list[Liquidation]:
        """Every (collateral, debt) pair with the most that a call included at `at_s` would move, or why it would fail.

        `rescue` is what `rescue_context` read of the liquidator's purse. Default: none.
        """
        return []

    def liquidated(self, pair: Liquidation, amount: int, context: C | None, at_s: int) -> Liquidation:
        """The same pair with at most `amount` of the debt covered, included at `at_s`. May raise: Impossible.

        The intent depends on the amount and on the time that the pair was told for, not on `at_s`.
        """
        raise Impossible(f"{self.name} knows no liquidations")

    def repeated(self, facts: M, pair: Liquidation, intent: Intent, context: C | None, at_s: int) -> Liquidation | None:
        """What an intent made earlier moves of the pair at `at_s`; None if it is for another. May raise: Impossible."""
        raise Impossible(f"{self.name} knows no liquidations")

    def flash_premium_bps(self, facts: M, block: BlockRef) -> ReadPlan[int | None]:
        """What the market takes for a flash loan, in basis points; None where it could not be read, or has none."""
        return done(None)

    def flash_liquidation(self, pair: Liquidation, trade: GuardSetup, fee: int, least: int, deadline_s: int) -> Intent:
        """The intent to do the pair with a flash loan through `trade`'s contract, for at least that much of the debt.

        `fee` is the tier of the pool that the collateral is sold in. May raise: Impossible.
        """
        raise Impossible(f"{self.name} knows no liquidations with a flash loan")

    def liquidation_loss(self, position: Position) -> int:
        """What the owner would lose to bonuses if all of the debt were liquidated, in the health's unit.

        0 where it is not known.
        """
        return 0

    # -- which rules apply: protocols with several rule versions override these two -------------------------------

    def candidates(self, facts: M) -> tuple[M, ...]:
        """Facts under each rule version that the market may follow, most likely first; empty: nothing to confirm.

        The market layer keeps the first that reproduces `truth` for at least 20 borrowers of mixed shape.
        """
        return ()

    def sample(self, facts: M, block: BlockRef, blocks: int) -> ReadPlan[list[Address]]:
        """Owners seen in the market's logs of the last `blocks` blocks, newest first, for confirming rules."""
        yield from ()
        return []


def with_price(position: Position, key: str, price: int) -> Position:
    """The position as it would be if the oracle said `price` for `key`."""
    return replace(position, prices={**position.prices, key: price})


def _unhealthy(health: Health) -> bool:
    return isinstance(health.verdict, Known) and health.verdict.unhealthy


def reaches(health: Health, target: Fraction) -> bool:
    """health >= target, exactly. Without debt it does; what is unknown does not."""
    verdict = health.verdict
    if isinstance(verdict, Known):
        return verdict.numerator * target.denominator >= target.numerator * verdict.denominator
    return isinstance(verdict, NoDebt)
