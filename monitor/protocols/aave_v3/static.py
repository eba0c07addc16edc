"""The static plan: from the provider's address to a market's facts in three rounds, and whether they still hold.

Round one asks the provider where things are, round two asks the pool and the oracle what they are (revision, list,
which functions the pool knows), round three asks each reserve.
"""

from __future__ import annotations

from typing import Any

from monitor.core.errors import ProtocolError
from monitor.core.types import Address, Answer, Call, Log, LogQuery, MarketRef, Ok, ReadPlan
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.reading import A_TOKEN
from monitor.protocols.aave_v3.records import ZERO, CategoryFacts, Facts, ReserveFacts
from monitor.protocols.aave_v3.versions import TABLE, candidates
from monitor.protocols.base import SAMPLE_BLOCKS
from monitor.protocols.symbols import symbol_calls, symbol_of

MAX_DECIMALS = 36
"""The contract computes 10 ** decimals unchecked; beyond this no token is honest and prices lose all meaning."""
PROBED_CATEGORIES = 16
"""<= 3.1: how many e-mode categories are looked at for price sources of their own; others cost a round when met."""

_PROBE_ARGS: dict[str, tuple[Any, ...]] = {
    "getIsEModeCategoryIsolated": (0,),
    "getEModeCategoryLtvzeroBitmap": (0,),
    "isApprovedPositionManager": (ZERO, ZERO),
    "getReserveDeficit": (ZERO,),
    "getEModeCategoryCollateralConfig": (0,),
    "getLiquidationGracePeriod": (ZERO,),
}
_GETTERS = ("getPool", "getPriceOracle", "getPriceOracleSentinel")


def _provider_calls(provider: Address) -> tuple[Call, ...]:
    # the sentinel's getter left the interface with 3.7; the others must answer
    return tuple(
        Call(provider, f"aave_v3_provider.{name}", allow_revert=name == "getPriceOracleSentinel") for name in _GETTERS
    )


def _market_calls(market: MarketRef, pool: Address, oracle: Address) -> tuple[Call, ...]:
    return (
        Call(pool, "aave_v3_pool.POOL_REVISION"),
        Call(pool, "aave_v3_pool.getReservesList"),
        Call(oracle, "aave_v3_oracle.BASE_CURRENCY_UNIT"),
        Call(oracle, "aave_v3_oracle.BASE_CURRENCY"),
        # only its admin, which is the provider, may ask the proxy; where that is otherwise nothing is pinned
        Call(pool, "aave_v3_pool.implementation", allow_revert=True, sender=market.address),
    )


def read_static(market: MarketRef) -> ReadPlan[Facts]:
    """See Protocol.static."""
    pool_, oracle_, sentinel_ = yield _provider_calls(market.address)
    pool, oracle, sentinel = _one(pool_), _one(oracle_), _one(sentinel_)
    market_calls = _market_calls(market, pool, oracle)
    probes = tuple(Call(pool, f"aave_v3_pool.{name}", args, allow_revert=True) for name, args in _PROBE_ARGS.items())
    answers = yield (*market_calls, *probes)
    revision, assets, unit, currency, implementation = (_one(answer) for answer in answers[: len(market_calls)])
    if unit is None or str(unit).strip("0") != "1":
        raise ProtocolError(f"{market}: the oracle's base unit {unit} is not a power of ten")
    known = zip(_PROBE_ARGS, answers[len(market_calls) :], strict=True)
    models = candidates(revision, frozenset(name for name, answer in known if isinstance(answer, Ok)))
    numbers = range(1, PROBED_CATEGORIES + 1) if TABLE[models[0]].reserve_e_mode else range(0)
    answers = yield (
        *(call for asset in assets for call in _reserve_calls(pool, oracle, asset)),
        *(Call(pool, "aave_v3_pool.getEModeCategoryData", (n,), allow_revert=True) for n in numbers),
        *symbol_calls(currency),
        _borrows(pool, SAMPLE_BLOCKS),  # not needed here; asked now, the sample needs no round of its own
    )
    size = len(_reserve_calls(pool, oracle, ZERO))
    reserves = tuple(_reserve(asset, answers[at * size : (at + 1) * size]) for at, asset in enumerate(assets))
    rest = answers[len(assets) * size :]
    return Facts(
        market=market,
        pool=pool,
        oracle=oracle,
        sentinel=sentinel or ZERO,
        implementation=implementation or ZERO,
        revision=revision,
        version=models[0],
        candidates=models,
        base_symbol="USD" if currency == ZERO else symbol_of(currency, rest[-3], rest[-2]),
        base_unit=unit,
        reserves=reserves,
        categories=tuple(
            CategoryFacts(n, answer.values[0][4], answer.values[0][3])
            for n, answer in zip(numbers, rest, strict=False)
            if isinstance(answer, Ok) and answer.values[0][3] != ZERO
        ),
    )


def _one(answer: Answer) -> Any:
    return answer.values[0] if isinstance(answer, Ok) else None


def _reserve_calls(pool: Address, oracle: Address, asset: Address) -> tuple[Call, ...]:
    return (
        Call(pool, "aave_v3_pool.getReserveData", (asset,), allow_revert=True),
        Call(oracle, "aave_v3_oracle.getSourceOfAsset", (asset,), allow_revert=True),
        *symbol_calls(asset),
    )


def _reserve(asset: Address, answers: Any) -> ReserveFacts:
    data_, source_, text, word = answers
    data, source, name = _one(data_), _one(source_) or ZERO, symbol_of(asset, text, word)
    if data is None:
        return ReserveFacts(asset, name, -1, 0, ZERO, source, "its reserve data could not be read")
    decimals = words.decimals(data[0][0])
    refused = f"{decimals} decimals, more than {MAX_DECIMALS}" if decimals > MAX_DECIMALS else ""
    return ReserveFacts(asset, name, data[7], decimals, data[A_TOKEN], source, refused)


def read_recheck(facts: Facts) -> ReadPlan[bool]:
    """See Protocol.recheck: whatever cannot be read counts as changed."""
    fixed = (
        *_provider_calls(facts.market.address),
        *_market_calls(facts.market, facts.pool, facts.oracle),
    )
    # as the state plan asks it, so that one question serves both
    data = tuple(Call(facts.pool, "aave_v3_pool.getReserveData", (r.asset,), allow_revert=True) for r in facts.reserves)
    calls = [Call(c.to, c.function, c.args, allow_revert=True, sender=c.sender) for c in fixed]
    answers = [_one(answer) for answer in (yield (*calls, *data))]
    pool, oracle, sentinel, revision, assets, unit, _, implementation = answers[: len(fixed)]
    return (
        (pool, oracle, sentinel or ZERO) == (facts.pool, facts.oracle, facts.sentinel)
        and (revision, unit, implementation or ZERO) == (facts.revision, facts.base_unit, facts.implementation)
        and assets == tuple(r.asset for r in facts.reserves)
        and all(_same(reserve, now) for reserve, now in zip(facts.reserves, answers[len(fixed) :], strict=True))
    )


def _same(reserve: ReserveFacts, data: Any) -> bool:
    """Whether what was pinned of a reserve is as it was."""
    if data is None:
        return reserve.id == -1
    return (data[7], words.decimals(data[0][0]), data[A_TOKEN]) == (reserve.id, reserve.decimals, reserve.a_token)


def read_sample(facts: Facts, blocks: int) -> ReadPlan[list[Address]]:
    """See Protocol.sample: who borrowed of late."""
    (answer,) = yield (_borrows(facts.pool, blocks),)
    logs: tuple[Log, ...] = answer.values if isinstance(answer, Ok) else ()
    return list(dict.fromkeys(log.args["onBehalfOf"] for log in reversed(logs)))


def _borrows(pool: Address, blocks: int) -> LogQuery:
    return LogQuery(pool, "aave_v3_pool.Borrow", blocks, allow_revert=True)
