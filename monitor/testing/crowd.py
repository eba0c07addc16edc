"""Synthetic Aave V3 markets with crowds of borrowers in columns, the same for the same seed, without any chain.

For the engine's bench and its tests: `market` makes what a block says of a market, `crowd` accounts whose health is
about what is asked for, up to the roundings that it must be judged with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitor.core.types import MarketRef
from monitor.protocols.aave_v3.bulk import AaveV3Bulk
from monitor.protocols.aave_v3.globals import Globals
from monitor.protocols.aave_v3.records import ZERO, Category, Facts, ReserveFacts, ReserveState
from monitor.protocols.aave_v3.versions import TABLE
from monitor.protocols.columns import F64, I64, U64, Columns

NOW_S = 1_700_000_000
RAY = 10**27
CHUNK = 50_000
DECIMALS = (18, 6, 8, 18, 18)
MODES = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Market:
    """A bulk, its globals, and the moment at which they are looked at."""

    bulk: AaveV3Bulk
    globals_: Globals
    at_s: int


def address(number: int) -> str:
    """The address of a reserve, or of anything else that needs one."""
    return f"0x{number + 1:040x}"


def market(version: str, seed: int, reserves: int = 30, decimals: tuple[int, ...] = DECIMALS) -> Market:
    """Reserves with accrued indexes and rates, and three e-mode categories; up to 3.1 one has a source of its own."""
    random = np.random.default_rng(seed)
    rules = TABLE[version]
    states, prices = {}, {}
    for number in range(reserves):
        places = decimals[number % len(decimals)]
        threshold = int(random.integers(5000, 9000))
        mode = int(random.choice([0, 0, *MODES])) if rules.reserve_e_mode else 0
        states[number] = ReserveState(
            asset=address(number),
            symbol=f"T{number}",
            id=number,
            configuration=threshold - 500 | threshold << 16 | 10500 << 32 | places << 48 | mode << 168 | 1 << 252,
            liquidity_index=RAY + int(random.uniform(0, 1e26)),
            liquidity_rate=int(random.uniform(0, 1e26)),
            variable_borrow_index=RAY + int(random.uniform(0, 3e26)),
            variable_borrow_rate=int(random.uniform(0, 2e26)),
            last_update_s=NOW_S - int(random.integers(10**6)),
            scaled_a_token=0,
            scaled_variable_debt=0,
        )
        prices[address(number)] = int(10 ** random.uniform(7, 12.5))
    categories = {}
    for mode in MODES:
        source = address(1000) if rules.reserve_e_mode and mode == 1 else ZERO
        bitmap = 0 if rules.reserve_e_mode else int(random.integers(1, 2 ** min(reserves, 62)))
        categories[mode] = Category(mode, 9000, 9300 + mode, 10100, source, bitmap)
        if source != ZERO:
            prices[source] = 10**9
    facts = Facts(
        market=MarketRef(1, "aave-v3", address(2000)),
        pool=address(2001),
        oracle=address(2002),
        sentinel=ZERO,
        implementation=ZERO,
        revision=rules.revision,
        version=version,
        candidates=(version,),
        base_symbol="USD",
        base_unit=10**8,
        reserves=tuple(
            ReserveFacts(one.asset, one.symbol, one.id, decimals[one.id % len(decimals)], address(3000 + one.id))
            for one in states.values()
        ),
    )
    return Market(AaveV3Bulk(facts, MODES), Globals(version, states, {}, categories, prices), NOW_S)


def crowd(
    of: Market,
    size: int,
    seed: int,
    health: tuple[float, float] = (1.0, 4.0),
    worth: tuple[float, float] = (9.0, 14.0),
    in_e_mode: float = 0.15,
) -> Columns:
    """Accounts with 1 to 3 collaterals and 1 or 2 debts, mean 2.9 balances.

    `health` is uniform in the range, before roundings. `worth`: the range of the collateral's value in digits.
    """
    random = np.random.default_rng(seed)
    parts = [_chunk(of, min(CHUNK, size - at), random, health, worth, in_e_mode) for at in range(0, size, CHUNK)]
    ends = np.cumsum([0, *(part.start[-1] for part in parts)])
    return Columns(
        owners=_owners(size, random),
        mode=np.concatenate([part.mode for part in parts]),
        flags=np.concatenate([part.flags for part in parts]),
        start=np.concatenate([np.zeros(1, np.int64), *(p.start[1:] + e for p, e in zip(parts, ends, strict=False))]),
        kind=np.concatenate([part.kind for part in parts]),
        low=np.concatenate([part.low for part in parts]),
        high=np.concatenate([part.high for part in parts]),
    )


def _owners(size: int, random: np.random.Generator) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    owners = random.integers(0, 256, (size, 20), dtype=np.uint8)
    owners[:, 16:] = np.arange(size, dtype=">u4").view(np.uint8).reshape(size, 4)
    return owners


def _chunk(
    of: Market,
    size: int,
    random: np.random.Generator,
    health: tuple[float, float],
    worth: tuple[float, float],
    in_e_mode: float,
) -> Columns:
    reserves = len(of.bulk.facts.reserves)
    mode = np.where(random.random(size) < in_e_mode, random.choice(MODES, size), 0).astype(np.uint8)
    lent, owed = random.choice([1, 2, 3], size, p=[0.55, 0.3, 0.15]), random.choice([1, 2], size, p=[0.7, 0.3])
    places = np.arange(5)
    # the first three are collateral, the last two debts; now and then a debt in the same asset
    chosen = np.argsort(random.random((size, reserves)), axis=1)[:, :5]
    chosen[:, 3] = np.where(random.random(size) < 0.05, chosen[:, 0], chosen[:, 3])
    held = np.where(places < 3, places < lent[:, None], places - 3 < owed[:, None])
    kind = (2 * chosen + (places < 3)).astype(np.uint16)
    share = random.dirichlet(np.ones(3), size), random.dirichlet(np.ones(2), size)
    share_ = np.where(held, np.hstack(share), 0)
    share_[:, :3] /= share_[:, :3].sum(axis=1, keepdims=True)
    share_[:, 3:] /= share_[:, 3:].sum(axis=1, keepdims=True)
    start = np.arange(0, 5 * size + 1, 5)
    flags = np.zeros((size, -(-of.bulk.kinds // 64)), np.uint64)
    for place in places:
        bit = np.uint64(1) << (kind[:, place] & 63).astype(np.uint64)
        flags[np.arange(size), kind[:, place] >> 6] |= np.where(held[:, place], bit, np.uint64(0))
    empty = np.zeros(5 * size, np.uint64)
    whole = Columns(_owners(size, random), mode, flags, start, kind.ravel(), empty, empty)
    weight = np.abs(of.bulk.weights(of.globals_, of.at_s).upper[of.bulk.codes(whole)]).reshape(size, 5)
    value = 10 ** random.uniform(*worth, size)
    value = np.where(places < 3, value[:, None], (value / random.uniform(*health, size))[:, None]) * share_
    amounts = np.divide(value, weight, out=np.zeros((size, 5)), where=held & (weight > 0)).ravel()
    high, low = _integers(amounts, random)
    return _without_zeros(whole, high, low)


def _integers(amounts: F64, random: np.random.Generator) -> tuple[U64, U64]:
    """Whole numbers near these, with low bits that a float would not have."""
    bounded = np.minimum(amounts, 2.0**127)
    high = np.floor(np.ldexp(bounded, -64))
    low = bounded - np.ldexp(high, 64)
    noise = random.integers(0, 1024, len(amounts)).astype(np.uint64)
    return high.astype(np.uint64), low.astype(np.uint64) ^ np.where(amounts > 2.0**55, noise, np.uint64(0))


def _without_zeros(whole: Columns, high: U64, low: U64) -> Columns:
    kept = (high | low) != 0
    # ordered by kind within each account
    rows: I64 = np.repeat(np.arange(len(whole)), 5)
    order = np.lexsort((whole.kind, rows))
    order = order[kept[order]]
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept.reshape(-1, 5).sum(axis=1))])
    return Columns(whole.owners, whole.mode, whole.flags, start, whole.kind[order], low[order], high[order])
