"""A market of one line of arithmetic, and a chain that answers from a dict: for testing what is around protocols.

Health is collateral over debt as a wad; version 1 rounds down, version 2 up, so that only the contract's own numbers
tell them apart (a contract of version 3 rounds half up, as no candidate does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from monitor.chain.port import BlockAt
from monitor.core.errors import ChainError, ProtocolError
from monitor.core.types import (
    Address,
    Answer,
    BlockRef,
    Call,
    Created,
    Health,
    Known,
    Leg,
    Line,
    Log,
    LogQuery,
    MarketRef,
    NoDebt,
    Ok,
    Position,
    Price,
    Query,
    ReadPlan,
    Reverted,
    Rule,
    Side,
    Unit,
    Unknown,
    Unreadable,
)
from monitor.protocols.base import Deployment, Protocol, Truth, Version

WAD = 10**18
ASSETS = tuple("0x" + f"{n:02x}" * 20 for n in range(0xA0, 0xA6))
COIN = "0x" + "c0" * 20


def address(n: int) -> Address:
    return f"0x{n:040d}"


@dataclass(frozen=True, slots=True)
class Facts:
    market: MarketRef
    revision: int
    version: int


@dataclass(frozen=True, slots=True)
class State:
    version: int
    asset: Address
    collateral: int
    debt: int


class Toy(Protocol[Facts, int]):
    name = "toy"
    title = "A toy"
    versions: ClassVar[Sequence[Version]] = (Version("1", "by eye"), Version("2", "by eye"))
    deployments: ClassVar[Mapping[str, Deployment]] = {}
    facts_type = Facts

    def static(self, market: MarketRef, block: BlockRef) -> ReadPlan[Facts]:
        [answer] = yield [Call(market.address, "toy.revision")]
        if not isinstance(answer, Ok):
            raise ProtocolError("no toy")
        return Facts(market, answer.values[0], 0)

    def recheck(self, facts: Facts, block: BlockRef) -> ReadPlan[bool]:
        [answer] = yield [Call(facts.market.address, "toy.revision", allow_revert=True)]
        return answer == Ok((facts.revision,))

    def state(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
        market = facts.market
        answers = yield [Call(market.address, "toy.account", (owner,), allow_revert=True) for owner in owners]
        found: list[Position | Unreadable] = []
        for owner, answer in zip(owners, answers, strict=True):
            name = market.position_id(owner)
            if isinstance(answer, Ok):
                state = State(facts.version, *answer.values)
                rule = Rule(self.name, str(facts.version))
                found.append(Position(name, owner, block, rule, {state.asset: WAD}, state))
            else:
                found.append(Unreadable(name, owner, block, answer.reason))
        return found

    def context(self, facts: Facts, block: BlockRef) -> ReadPlan[int]:
        [answer] = yield [Call(facts.market.address, "toy.context")]
        return int(answer.values[0]) if isinstance(answer, Ok) else 0

    def evaluate(self, position: Position, context: int | None = None, at_s: int | None = None) -> Health:
        state: State = position.state
        unit = Unit("USD", 0)
        if state.asset not in position.prices:
            return Health(position.id, position.block, Unknown("no price"), unit)
        collateral = state.collateral * position.prices[state.asset] // WAD
        legs = (
            Leg(Side.COLLATERAL, state.asset, "TOY", 0, collateral, WAD, 18, collateral, 10_000),
            Leg(Side.DEBT, COIN, "COIN", 0, state.debt, WAD, 18, state.debt, 0),
        )
        if not state.debt:
            return Health(position.id, position.block, NoDebt(), unit, {"factor": 0}, legs=legs[:1])
        up = state.debt - 1 if state.version == 2 else 0
        factor = (collateral * WAD + up) // state.debt
        return Health(
            position.id,
            position.block,
            Known(factor, WAD),
            unit,
            {"factor": factor},
            liquidatable=None if context is None else factor < WAD,
            legs=legs,
            collateral=collateral,
            debt=state.debt,
        )

    def truth(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Truth]]:
        answers = yield [Call(facts.market.address, "toy.truth", (owner,), allow_revert=True) for owner in owners]
        return [
            Truth(owner, {"factor": answer.values[0]}) if isinstance(answer, Ok) else Truth(owner, {}, answer.reason)
            for owner, answer in zip(owners, answers, strict=True)
        ]

    def explain(self, position: Position, context: int | None = None) -> list[Line]:
        return [Line("collateral", str(position.state.collateral), "", "toy.account")]

    def prices(self, facts: Facts, positions: Sequence[Position], context: int | None, block: BlockRef) -> list[Price]:
        used = dict.fromkeys(key for position in positions for key in position.prices)
        return [Price(key, WAD, 18, "USD", block.timestamp, 60, "toy") for key in used]

    def symbols(self, facts: Facts) -> Mapping[str, str]:
        return dict.fromkeys(ASSETS, "TOY")

    def candidates(self, facts: Facts) -> tuple[Facts, ...]:
        return (replace(facts, version=1), replace(facts, version=2)) if facts.revision else ()

    def sample(self, facts: Facts, block: BlockRef, blocks: int) -> ReadPlan[list[Address]]:
        [answer] = yield [LogQuery(facts.market.address, "toy.Borrow", blocks, allow_revert=True)]
        return [log.args["owner"] for log in answer.values] if isinstance(answer, Ok) else []


TOY = Toy()


@dataclass
class Contract:
    """What is on the chain at one market's address: owner -> (asset, collateral, debt)."""

    accounts: dict[Address, tuple[Address, int, int]]
    version: int = 2
    revision: int = 7
    broken: set[str] = field(default_factory=set)
    """functions, or owners, that revert"""
    shift: tuple[int, int] = (0, 0)
    """how far what `account` tells of collateral and debt is from what `truth` reckons with"""

    def answer(self, query: Query, block: BlockRef) -> Answer:
        if isinstance(query, LogQuery):
            return Ok(
                tuple(Log(query.address, query.event, {"owner": owner}, 1, block.hash, 0) for owner in self.accounts)
            )
        assert isinstance(query, Call)
        name = query.function.partition(".")[2]
        owner = query.args[0] if query.args else ""
        if name in self.broken or owner in self.broken:
            return Reverted(b"", f"{name} is broken")
        asset, collateral, debt = self.accounts.get(owner, (ASSETS[0], 0, 0))
        up = {1: 0, 2: debt - 1, 3: debt // 2}[self.version]
        replies: dict[str, tuple[Any, ...]] = {
            "revision": (self.revision,),
            "context": (1,),
            "account": (asset, collateral + self.shift[0], debt + self.shift[1]),
            "truth": ((collateral * WAD + up) // debt if debt else 0,),
        }
        return Ok(replies[name])


class ToyChain:
    """Counts what it is asked. `fail` is called before each round and may raise."""

    chain_id = 31337

    def __init__(self, contracts: dict[Address, Contract]) -> None:
        self.contracts = contracts
        self.head = self.make_block(100)
        self.rounds: list[list[Query]] = []
        self.blocks = 0
        self.fail: Callable[[BlockRef], None] = lambda _: None
        self.down: ChainError | None = None

    def make_block(self, number: int, branch: str = "a") -> BlockRef:
        return BlockRef(
            31337, number, f"0x{branch}{number:063d}", f"0x{branch}{number - 1:063d}", 1_700_000_000 + number
        )

    async def block(self, at: BlockAt = "latest") -> BlockRef:
        self.blocks += 1
        if self.down is not None:
            raise self.down
        return self.make_block(at) if isinstance(at, int) else self.head

    async def headers(self, first: int, last: int) -> list[BlockRef]:
        return [self.make_block(number) for number in range(first, last + 1)]

    async def ask(self, queries: Sequence[Query], block: BlockRef) -> list[Answer]:
        self.rounds.append(list(queries))
        self.fail(block)
        return [
            self.contracts[to].answer(query, block)
            if (to := _to(query)) in self.contracts
            else Reverted(b"", "nothing")
            for query in queries
        ]

    async def close(self) -> None:
        """Nothing to release."""

    def asked(self, name: str) -> int:
        """How many queries named this function."""
        return sum(isinstance(q, Call) and q.function == f"toy.{name}" for batch in self.rounds for q in batch)


def _to(query: Query) -> Address:
    assert not isinstance(query, Created)
    return query.to if isinstance(query, Call) else query.address


def borrowers(count: int = 24, shapes: int = 4) -> dict[Address, tuple[Address, int, int]]:
    """Accounts whose ratio is no whole number, so that the versions' roundings differ."""
    return {address(n): (ASSETS[n % shapes], 1000 + n, 700 - n) for n in range(1, count + 1)}
