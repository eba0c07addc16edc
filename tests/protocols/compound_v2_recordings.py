"""The recorded comptrollers of Compound V2 and Venus as the adapter sees them.

The recordings hold neither texts nor pauses: their contracts had none set, no VAI controller and no Liquidator, which
is what `open_gates` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from monitor.chain.abi import checksum
from monitor.core.plan import run
from monitor.core.types import Answer, BlockRef, Call, MarketRef, Ok, Position, Query, Reverted
from monitor.oracles.chainlink import ZERO
from monitor.protocols import compound_v2, venus_core
from monitor.protocols.compound_v2.fork import CompoundFork
from monitor.protocols.compound_v2.math import Debt, Facts
from monitor.protocols.compound_v2.reading import Context, MarketGates
from tests.protocols.cassette import Cassette, block_of, load

FORKS: dict[str, CompoundFork] = {"compound-v2": compound_v2.PROTOCOL, "venus-core": venus_core.PROTOCOL}
TEXTS = (".symbol", ".decimals")
"""For people only, and not recorded."""


def without_texts(cassette: Cassette, block: BlockRef) -> Callable[[Sequence[Query]], list[Answer]]:
    answer = cassette.answerer(block)

    def answers(queries: Sequence[Query]) -> list[Answer]:
        return [
            Reverted(b"", "") if isinstance(query, Call) and query.function.endswith(TEXTS) else answer([query])[0]
            for query in queries
        ]

    return answers


@cache
def facts_of(name: str, block: BlockRef) -> Facts:
    """Read through the adapter."""
    cassette = load(name)
    market = MarketRef(31337, name, checksum(cassette.content["deployments"]["Comptroller"]))
    return run(FORKS[name].static(market, block), without_texts(cassette, block))


@cache
def read(name: str, at: int) -> Position:
    """The account of a sample, read from the cassette."""
    sample = load(name).samples[at]
    block = block_of(sample)
    owner = checksum(sample["account"]["address"])
    (found,) = load(name).replay(FORKS[name].state(facts_of(name, block), [owner], block), block)
    assert isinstance(found, Position)
    return found


def open_gates(facts: Facts) -> Context:
    return Context(False, tuple(MarketGates(one.token, False, False, False) for one in facts.markets), ZERO)


def with_snapshots(position: Position, account: Mapping[str, Any]) -> Position:
    """The position with the borrow snapshots that the recorder rebuilt from events: no debt is in doubt."""
    snapshots = {checksum(token): one for token, one in account["borrowSnapshot"].items()}
    holdings = tuple(
        replace(one, debt=Debt(int(known["principal"]), int(known["interestIndex"]), exact=True))
        if (known := snapshots.get(one.token))
        else one
        for one in position.state.holdings
    )
    return replace(position, state=replace(position.state, holdings=holdings))


def read_before(name: str, recorded: Mapping[str, Any]) -> Position:
    """The position before a recorded liquidation, whose block has no calls but its state in the record itself."""
    block, account, market = block_of(recorded), recorded["account"], recorded["market"]
    facts = facts_of(name, block_of(load(name).samples[0]))

    def answer(query: Query) -> Answer:
        assert isinstance(query, Call)
        function, args = query.function.partition(".")[2], query.args
        if query.to != facts.market.address and function not in ("getAccountSnapshot", "getUnderlyingPrice"):
            return Ok((int(_by(market["markets"], query.to)[function]),))
        numbers = _by(account["getAccountSnapshot"], query.to) or {}
        pool: Any = market.get("pools", {}).get(str(args[0])) if args else None
        return {
            "getAccountSnapshot": lambda: Ok(tuple(int(numbers.get(str(at), 0)) for at in range(4))),
            "getUnderlyingPrice": lambda: Ok((int(_by(market["markets"], args[0])[function]),)),
            "getAssetsIn": lambda: Ok((tuple(checksum(token) for token in account[function]),)),
            "userPoolId": lambda: Ok((int(account[function]),)),
            "pools": lambda: Ok(("", pool["isActive"], pool["allowCorePoolFallback"])),
            "poolMarkets": lambda: _row(_by(pool["poolMarkets"], args[1])),
            "markets": lambda: _row(_by(market["markets"], args[0])["markets"], 7 if name == "venus-core" else 2),
            "closeFactorMantissa": lambda: Ok((int(market[function]),)),
            "liquidationIncentiveMantissa": lambda: Ok((int(market[function]),)),
        }[function]()

    owner = checksum(account["address"])
    plan = FORKS[name].state(facts, [owner], block)
    (found,) = run(plan, lambda queries: [answer(query) for query in queries])
    assert isinstance(found, Position)
    return found


def _by(rows: Mapping[str, Any], token: str) -> Any:
    return next((row for key, row in rows.items() if checksum(key) == token), None)


def _row(fields: Mapping[str, Any], width: int = 7) -> Ok:
    return Ok(tuple(value if isinstance(value, bool) else int(value) for value in fields.values())[:width])
