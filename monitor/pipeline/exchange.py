"""Strangers who trade an exchange's pools to the oracle's prices on a stage, as they do within blocks on a live chain.

Nothing of the pools is written by force: a stranger is given tokens there and trades, so that what a rescue meets
afterwards is the liquidity that is really there at the new price. Uniswap V3 alone, by the router that the guard uses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from math import isqrt
from typing import Any

from monitor.chain.abi import function
from monitor.core.errors import ChainError
from monitor.core.guarding import GuardSetup
from monitor.core.types import Address, Call, Health, Ok, Position, Side
from monitor.core.units import format_ratio
from monitor.execution.port import TxCall
from monitor.pipeline.stage import Stage

STRANGER = "0x00000000000000000000000000000000000057A6"
PLENTY = 2**95
"""Of a token: more than pools hold, and no more than tokens with narrow books can count."""
GAS = 20_000_000
COIN_WEI = 10**24
Q96 = 2**96
NOBODY = "0x" + "00" * 20


@dataclass(frozen=True, slots=True)
class Token:
    """An asset with the oracle's price of a whole one; all prices in one unit."""

    asset: Address
    symbol: str
    decimals: int
    price: int


def pairs_of(health: Health, position: Position) -> list[tuple[Token, Token]]:
    """Each deposit with each debt of a position, at its own prices."""
    sides: dict[Side, dict[Address, Token]] = {Side.COLLATERAL: {}, Side.DEBT: {}}
    for leg in health.legs:
        price = position.prices.get(leg.asset, 0)
        if leg.amount and price > 0:
            sides[leg.side][leg.asset] = Token(leg.asset, leg.symbol, leg.decimals, price)
    both = product(sides[Side.COLLATERAL].values(), sides[Side.DEBT].values())
    return [(deposit, debt) for deposit, debt in both if deposit.asset != debt.asset]


async def follow(stage: Stage, setup: GuardSetup, pairs: Iterable[tuple[Token, Token]], fee_wei: int) -> list[str]:
    """Trade every pool of these pairs to the oracle's price; in words, what could not be. May raise: ChainError."""
    found = []
    for pair in pairs:
        for tier in setup.fees_of((pair[0].symbol, pair[1].symbol)):
            try:
                await _trade(stage, setup.router, pair, tier, fee_wei)
            except ChainError as error:
                names = "/".join(token.symbol for token in pair)
                found.append(f"the exchange's {names} at {tier} could not be made to follow: {error.message}")
    return found


async def _trade(stage: Stage, router: Address, pair: tuple[Token, Token], tier: int, fee_wei: int) -> None:
    first, second = sorted(pair, key=lambda token: int(token.asset, 16))
    pool = await _pool(stage, router, first, second, tier)
    if pool == NOBODY:
        return
    wanted = sqrt_price(first, second)
    now = await _sqrt_price_now(stage, pool)
    if now == wanted:
        return
    sold, bought = (first, second) if wanted < now else (second, first)
    await stage.endow(STRANGER, sold.asset, PLENTY, COIN_WEI)
    trade = (sold.asset, bought.asset, tier, STRANGER, PLENTY, 0, wanted)
    for call in (
        TxCall(sold.asset, function("erc20.approve").encode((router, PLENTY))),
        TxCall(router, function("uniswap_router.exactInputSingle").encode((trade,))),
    ):
        receipt = await stage.send(STRANGER, call, GAS, fee_wei, 0)
        if int(receipt["status"], 16) != 1:
            raise ChainError("a stranger's trade reverted")
    if (reached := await _sqrt_price_now(stage, pool)) != wanted:
        raise ChainError(f"its price came to {format_ratio(reached * reached * 100, wanted * wanted, 2)} % of that")


async def _pool(stage: Stage, router: Address, first: Token, second: Token, tier: int) -> Address:
    (factory,) = await _ask(stage, Call(router, "uniswap_router.factory", allow_revert=True))
    (pool,) = await _ask(
        stage, Call(factory, "uniswap_pool.getPool", (first.asset, second.asset, tier), allow_revert=True)
    )
    return str(pool)


async def _sqrt_price_now(stage: Stage, pool: Address) -> int:
    return int((await _ask(stage, Call(pool, "uniswap_pool.slot0", allow_revert=True)))[0])


async def _ask(stage: Stage, call: Call) -> tuple[Any, ...]:
    (answer,) = await stage.chain.ask([call], await stage.chain.block("latest"))
    if not isinstance(answer, Ok):
        raise ChainError(f"{call.function} could not be read: is that a router of Uniswap V3?")
    return answer.values


def sqrt_price(first: Token, second: Token) -> int:
    """Square root of the second's smallest units for one of the first's, times 2**96, down: as pools have it."""
    above = first.price * 10**second.decimals
    below = second.price * 10**first.decimals
    return isqrt(above * Q96 * Q96 // below)
