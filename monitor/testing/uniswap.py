"""Uniswap V3 on a local chain: the published contracts, and deep pools between the assets of an Aave market.

Every pool starts at the price that the market's own oracle gives, and `arbitrage` brings it back there after a shock,
as strangers do within a block or two on a live chain. Knows nothing of who trades, and computes no price impact: that
is asked of the quoter. The factory's pools have the bytecode that routers compute addresses from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import isqrt
from typing import Any, Self

from monitor.testing.aave_v3_market import AaveMarket
from monitor.testing.artifacts import uniswap
from monitor.testing.devchain import MAX_UINT256, ZERO_ADDRESS, DevChain, Transaction

FEE = 500  # in millionths of what is sold: the tier in which most of the value is traded
DEPTH_USD = 2 * 10**9  # on each side of a pool
MIN_TICK, MAX_TICK = -887_270, 887_270  # the whole range, in the steps of ten that this fee has
PLENTY = 2**160
Q96 = 2**96
_POSITION = "(address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256)"
_SALE = "(address,address,uint24,address,uint256,uint256,uint160)"


@dataclass(frozen=True, slots=True)
class Exchange:
    """Addresses. `provider` holds the liquidity, `arbitrageur` has every asset that has a pool. Both are accounts."""

    factory: str
    positions: str
    router: str
    quoter: str
    provider: str
    arbitrageur: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """May raise: TypeError when `raw` was not written by to_json."""
        return cls(**raw)


def deploy(chain: DevChain, market: AaveMarket) -> Exchange:
    """Factory, position manager, SwapRouter02 and QuoterV2, without pools.

    The market's WETH stands where the wrapped ether does: nobody here trades ether itself.
    """
    admin, weth = market.admin, market.reserves["WETH"].asset
    factory = chain.deploy(admin, uniswap("v3-core", "UniswapV3Factory").code)
    positions = chain.deploy(
        admin,
        uniswap("v3-periphery", "NonfungiblePositionManager").code,
        "(address,address,address)",
        [factory, weth, ZERO_ADDRESS],
    )
    router = chain.deploy(
        admin,
        uniswap("swap-router-contracts", "SwapRouter02").code,
        "(address,address,address,address)",
        [ZERO_ADDRESS, factory, positions, weth],
    )
    quoter = chain.deploy(
        admin, uniswap("swap-router-contracts", "lens/QuoterV2").code, "(address,address)", [factory, weth]
    )
    return Exchange(
        factory, positions, router, quoter, chain.account("uniswap provider"), chain.account("uniswap arbitrageur")
    )


def all_pairs(market: AaveMarket) -> list[tuple[str, str]]:
    return list(combinations(market.reserves, 2))


def add_pools(chain: DevChain, exchange: Exchange, market: AaveMarket, pairs: Iterable[tuple[str, str]]) -> None:
    """A pool per pair of symbols, full range, `DEPTH_USD` deep on both sides. May raise CallReverted: it exists."""
    chosen = list(pairs)
    symbols = sorted({symbol for pair in chosen for symbol in pair})
    prices = _prices(chain, market, symbols)
    steps = list(_endow(exchange, market, symbols))
    for pair in chosen:
        token0, token1 = _in_order(market, pair)
        create = "createAndInitializePoolIfNecessary(address,address,uint24,uint160)"
        tokens = market.reserves[token0].asset, market.reserves[token1].asset
        amounts = [DEPTH_USD * 10**8 * 10 ** market.reserves[s].decimals // prices[s] for s in (token0, token1)]
        start = _sqrt_price(market, prices, token0, token1)
        steps.append(Transaction(exchange.provider, exchange.positions, create, (*tokens, FEE, start)))
        position = (*tokens, FEE, MIN_TICK, MAX_TICK, *amounts, 0, 0, exchange.provider, MAX_UINT256)
        steps.append(Transaction(exchange.provider, exchange.positions, f"mint({_POSITION})", (position,)))
    chain.send_all(steps)


def _endow(exchange: Exchange, market: AaveMarket, symbols: Sequence[str]) -> Iterable[Transaction]:
    for symbol in symbols:
        asset = market.reserves[symbol].asset
        for holder, spender in (
            (exchange.provider, exchange.positions),
            (exchange.arbitrageur, exchange.router),
        ):
            yield Transaction(market.admin, asset, "mint(address,uint256)", (holder, PLENTY))
            yield Transaction(holder, asset, "approve(address,uint256)", (spender, MAX_UINT256))


def pool_of(chain: DevChain, exchange: Exchange, market: AaveMarket, pair: tuple[str, str]) -> str | None:
    tokens = [market.reserves[symbol].asset for symbol in pair]
    (pool,) = chain.call(exchange.factory, "getPool(address,address,uint24)", "(address)", *tokens, FEE)
    return None if pool == ZERO_ADDRESS else str(pool)


def arbitrage(
    chain: DevChain, exchange: Exchange, market: AaveMarket, pairs: Iterable[tuple[str, str]] | None = None
) -> int:
    """Trades pools (None: all) to the price that the market's oracle gives; answers how many had to be moved."""
    prices = _prices(chain, market, list(market.reserves))
    steps = []
    for pair in all_pairs(market) if pairs is None else pairs:
        if (pool := pool_of(chain, exchange, market, pair)) is None:
            continue
        token0, token1 = _in_order(market, pair)
        (now,) = chain.call(pool, "slot0()", "(uint160)")
        wanted = _sqrt_price(market, prices, token0, token1)
        if now != wanted:
            sold, bought = (token0, token1) if wanted < now else (token1, token0)
            sale = (market.reserves[sold].asset, market.reserves[bought].asset, FEE, exchange.arbitrageur)
            args = ((*sale, 2**128, 0, wanted),)
            steps.append(Transaction(exchange.arbitrageur, exchange.router, f"exactInputSingle({_SALE})", args))
    chain.send_all(steps)
    return len(steps)


def quote_exact_output(
    chain: DevChain, exchange: Exchange, market: AaveMarket, sold: str, bought: str, amount: int
) -> int:
    """What of `sold` buys `amount` of `bought` (symbols, raw amounts), fee included. May raise CallReverted."""
    question = (market.reserves[sold].asset, market.reserves[bought].asset, amount, FEE, 0)
    signature = "quoteExactOutputSingle((address,address,uint256,uint24,uint160))"
    return int(chain.call(exchange.quoter, signature, "(uint256,uint160,uint32,uint256)", question)[0])


def _prices(chain: DevChain, market: AaveMarket, symbols: Sequence[str]) -> dict[str, int]:
    signature = "getAssetPrice(address)"
    return {
        symbol: int(chain.call(market.oracle, signature, "(uint256)", market.reserves[symbol].asset)[0])
        for symbol in symbols
    }


def _in_order(market: AaveMarket, pair: tuple[str, str]) -> tuple[str, str]:
    """Symbols as the pool sorts them, by the tokens' addresses."""
    first, second = sorted(pair, key=lambda symbol: int(market.reserves[symbol].asset, 16))
    return first, second


def _sqrt_price(market: AaveMarket, prices: Mapping[str, int], token0: str, token1: str) -> int:
    """Square root of raw token1 for one raw token0, times 2**96, rounded down."""
    above = prices[token0] * 10 ** market.reserves[token1].decimals
    below = prices[token1] * 10 ** market.reserves[token0].decimals
    return isqrt(above * Q96 * Q96 // below)
