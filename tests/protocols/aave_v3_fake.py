"""A pool that exists only as answers: what a plan asks is looked up, what is not there reverts, rounds are counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from monitor.core.plan import advance
from monitor.core.types import (
    Answer,
    BlockRef,
    Call,
    Created,
    Log,
    LogQuery,
    MarketRef,
    Ok,
    Query,
    ReadPlan,
    Reverted,
    Unread,
)
from monitor.protocols.aave_v3.records import ZERO
from tests.protocols.aave_v3_positions import NOW_S, RAY, asset, word

T = TypeVar("T")


def address(number: int) -> str:
    return f"0x{number:040x}"


PROVIDER, POOL, ORACLE, SENTINEL, IMPLEMENTATION = (address(0xA00 + n) for n in range(5))
BLOCK = BlockRef(1, 100, "0x" + "11" * 32, "0x" + "22" * 32, NOW_S)
MARKET = MarketRef(1, "aave-v3", PROVIDER)

Key = tuple[str, str, tuple[Any, ...]]


def token(number: int, kind: int) -> str:
    """aToken (0), stable (1) and variable debt token (2) of a reserve."""
    return address(0xB00 + 16 * number + kind)


def source(number: int) -> str:
    return address(0xC00 + number)


@dataclass
class FakePool:
    """Answers by (contract, function, args); `logs` newest last."""

    answers: dict[Key, Answer] = field(default_factory=dict)
    logs: list[Log] = field(default_factory=list)
    rounds: list[Sequence[Query]] = field(default_factory=list)

    def say(self, to: str, function: str, *args: Any, is_: Any) -> None:
        """One output value, or a ready Answer."""
        self.answers[to, function, args] = is_ if isinstance(is_, (Ok, Reverted, Unread)) else Ok((is_,))

    def mute(self, to: str, function: str, *args: Any) -> None:
        del self.answers[to, function, args]

    def run(self, plan: ReadPlan[T]) -> T:
        """Run a plan, counting its rounds anew. May raise what the plan raises."""
        self.rounds = []
        try:
            batch = next(plan)
            while True:
                self.rounds.append(batch)
                batch = advance(plan, batch, [self._answer(query) for query in batch])
        except StopIteration as done:
            result: T = done.value
            return result

    def _answer(self, query: Query) -> Answer:
        if isinstance(query, LogQuery):
            return Ok(tuple(log for log in self.logs if log.address == query.address))
        if isinstance(query, Created):
            return Unread("no creation code here")
        assert isinstance(query, Call)
        return self.answers.get((query.to, query.function, query.args), Reverted(b"", "no such function"))

    def list_reserve(self, number: int, *, price: int = 10**8, id_: int | None = None, **configuration: Any) -> None:
        """A reserve whose id is its number unless told otherwise, appended to the pool's list."""
        key = (POOL, "aave_v3_pool.getReservesList", ())
        listed = self.answers[key].values[0] if key in self.answers else ()  # type: ignore[union-attr]
        self.say(POOL, "aave_v3_pool.getReservesList", is_=(*listed, asset(number)))
        tokens = (token(number, 0), token(number, 1), token(number, 2))
        data = ((word(**configuration),), RAY, 11, 2 * RAY, 12, 0, NOW_S - 5, number if id_ is None else id_)
        self.say(POOL, "aave_v3_pool.getReserveData", asset(number), is_=(*data, *tokens, ZERO, 0, 0, 0))
        self.say(ORACLE, "aave_v3_oracle.getAssetPrice", asset(number), is_=price)
        self.say(ORACLE, "aave_v3_oracle.getSourceOfAsset", asset(number), is_=source(number))
        self.say(asset(number), "erc20.symbol", is_=f"T{number}")
        self.say(asset(number), "erc20.balanceOf", token(number, 0), is_=777)
        self.say(POOL, "aave_v3_pool.getLiquidationGracePeriod", asset(number), is_=number)
        self.say(POOL, "aave_v3_pool.getVirtualUnderlyingBalance", asset(number), is_=666)

    def open_account(self, owner: str, user_configuration: int, category: int = 0) -> None:
        self.say(POOL, "aave_v3_pool.getUserConfiguration", owner, is_=(user_configuration,))
        self.say(POOL, "aave_v3_pool.getUserEMode", owner, is_=category)

    def give(
        self, owner: str, number: int, supplied: int, owed: int = 0, stable: tuple[int, int, int] = (0, 0, 0)
    ) -> None:
        self.say(token(number, 0), "aave_v3_token.scaledBalanceOf", owner, is_=supplied)
        self.say(token(number, 2), "aave_v3_token.scaledBalanceOf", owner, is_=owed)
        names = ("principalBalanceOf", "getUserStableRate", "getUserLastUpdated")
        for name, value in zip(names, stable, strict=True):
            self.say(token(number, 1), f"aave_v3_token.{name}", owner, is_=value)


def fake_pool(reserves: int = 3, revision: int = 10, functions: Sequence[str] = ()) -> FakePool:
    """A market with that many reserves. `functions` are the probes that answer besides those of list_reserve."""
    pool = FakePool()
    pool.say(PROVIDER, "aave_v3_provider.getPool", is_=POOL)
    pool.say(PROVIDER, "aave_v3_provider.getPriceOracle", is_=ORACLE)
    pool.say(PROVIDER, "aave_v3_provider.getPriceOracleSentinel", is_=ZERO)
    pool.say(POOL, "aave_v3_pool.POOL_REVISION", is_=revision)
    pool.say(POOL, "aave_v3_pool.implementation", is_=IMPLEMENTATION)
    pool.say(ORACLE, "aave_v3_oracle.BASE_CURRENCY_UNIT", is_=10**8)
    pool.say(ORACLE, "aave_v3_oracle.BASE_CURRENCY", is_=ZERO)
    arguments: dict[str, tuple[Any, ...]] = {
        "getIsEModeCategoryIsolated": (0,),
        "getEModeCategoryLtvzeroBitmap": (0,),
        "isApprovedPositionManager": (ZERO, ZERO),
        "getReserveDeficit": (ZERO,),
        "getEModeCategoryCollateralConfig": (0,),
        "getLiquidationGracePeriod": (ZERO,),
    }
    for name in functions:
        pool.say(POOL, f"aave_v3_pool.{name}", *arguments[name], is_=0)
    for number in range(reserves):
        pool.list_reserve(number, decimals=number)
    return pool


SINCE_3_6 = (
    "getEModeCategoryLtvzeroBitmap",
    "isApprovedPositionManager",
    "getReserveDeficit",
    "getEModeCategoryCollateralConfig",
    "getLiquidationGracePeriod",
)
