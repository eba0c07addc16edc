"""The guard contract beside a local Aave V3 market, with an exchange to trade on and owners who consent.

`deploy` is asked for where it is needed: most tests have no use for a market with an exchange. Flash loans cost five
basis points afterwards, as on mainnet; a fresh market takes nothing for them, and that would hide who pays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from eth_utils.crypto import keccak

from monitor.testing import uniswap
from monitor.testing.aave_v3_market import AaveMarket
from monitor.testing.artifacts import own_contract
from monitor.testing.devchain import MAX_UINT256, DevChain, Transaction
from monitor.testing.uniswap import Exchange

WAD = 10**18
FLASH_PREMIUM_BPS = 5
_ACTION = "(address,bytes32,uint256,address,address,uint256,uint256,address,uint24)"
DELEVERAGE, CLOSE = f"deleverage{_ACTION}", f"close{_ACTION}"


@dataclass(frozen=True, slots=True)
class GuardSite:
    """Where the guard of one market is, and where it can trade."""

    guard: str
    exchange: Exchange

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """May raise: KeyError, TypeError when `raw` was not written by to_json."""
        return cls(raw["guard"], Exchange.from_json(raw["exchange"]))


@dataclass(frozen=True, slots=True)
class Consent:
    """What an owner writes into the guard (see `Settings` in guard.vy), and which collateral it may sell."""

    trigger_wad: int = 12 * WAD // 10
    close_below_wad: int = MAX_UINT256
    low_wad: int = 12 * WAD // 10
    high_wad: int = 3 * WAD
    max_slippage_bps: int = 100
    daily_cap_e8: int = 10**9 * 10**8
    collateral: tuple[str, ...] = ()
    """Symbols; empty for all that the market lists."""


DEFAULT_CONSENT = Consent()


def deploy(chain: DevChain, market: AaveMarket, pairs: Iterable[tuple[str, str]] | None = None) -> GuardSite:
    """The guard, an exchange, and pools for these pairs of symbols (None: for all)."""
    change, args = "updateFlashloanPremiumTotal(uint128)", (FLASH_PREMIUM_BPS,)
    if market.version == "3.6":
        change = "updateFlashloanPremium(uint128)"
    chain.send(market.admin, market.configurator, change, *args)
    exchange = uniswap.deploy(chain, market)
    uniswap.add_pools(chain, exchange, market, uniswap.all_pairs(market) if pairs is None else pairs)
    guard = chain.deploy(market.admin, own_contract("guard").code, "(address)", [market.pool])
    return GuardSite(guard, exchange)


def code_hash(chain: DevChain, address: str) -> bytes:
    return keccak(chain.code(address))


def consent(
    chain: DevChain,
    market: AaveMarket,
    site: GuardSite,
    owner: str,
    caller: str,
    consent: Consent = DEFAULT_CONSENT,
) -> None:
    """The owner lets the guard sell collateral, at the word of `caller`, through the exchange's router."""
    router = site.exchange.router
    chain.send_all(
        [
            Transaction(
                owner,
                site.guard,
                "configure(uint256,uint256,uint256,uint256,uint256,uint256)",
                (
                    consent.trigger_wad,
                    consent.close_below_wad,
                    consent.low_wad,
                    consent.high_wad,
                    consent.max_slippage_bps,
                    consent.daily_cap_e8,
                ),
            ),
            Transaction(owner, site.guard, "set_caller(address,bool)", (caller, True)),
            Transaction(owner, site.guard, "set_router(address,bytes32)", (router, code_hash(chain, router))),
            *approvals(market, site.guard, owner, consent.collateral or tuple(market.reserves)),
        ]
    )


def approvals(market: AaveMarket, guard: str, owner: str, symbols: Sequence[str]) -> list[Transaction]:
    """The owner's aTokens of these assets may be moved by the guard."""
    return [
        Transaction(owner, market.reserves[symbol].a_token, "approve(address,uint256)", (guard, MAX_UINT256))
        for symbol in symbols
    ]
