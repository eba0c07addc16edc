"""A real market of Aave V2 on a local chain, from the compiled contracts in npm @aave/protocol-v2 1.0.1.

Prices are in ETH, by our own feeds. Of the debt assets DAI gives its suppliers nothing, so that the quirk of such a
reserve shows: its next action drops the interest since the last. Health is never computed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from monitor.testing.aave_v3 import deploy_token
from monitor.testing.artifacts import own_contract, protocol_v2
from monitor.testing.devchain import MAX_UINT256, ZERO_ADDRESS, DevChain

ETHER = 10**18
RAY = 10**27
VARIABLE, STABLE = 2, 1


@dataclass(frozen=True, slots=True)
class Listed:
    """One asset: its place, its feed (none for WETH, whose price is 1), and its price in wei."""

    symbol: str
    decimals: int
    price_wei: int
    ltv: int
    threshold: int
    bonus: int
    reserve_factor: int
    asset: str = ""
    feed: str = ""


LISTED = (
    Listed("WETH", 18, ETHER, 8000, 8250, 10500, 1000),
    Listed("USDC", 6, ETHER // 2000, 8000, 8500, 10450, 1000),
    Listed("DAI", 18, ETHER // 2000, 7700, 9000, 10400, 10000),
    Listed("WBTC", 8, 30 * ETHER, 7200, 8200, 10650, 2000),
    Listed("LINK", 18, ETHER // 130, 7000, 8300, 10750, 2000),
)
COLLATERALS, DEBTS = ("WBTC", "LINK"), ("USDC", "DAI", "WETH")


@dataclass(frozen=True, slots=True)
class AaveV2Market:
    """Where things are. `borrowers`: those that `populate` made."""

    provider: str
    pool: str
    configurator: str
    admin: str
    reserves: tuple[Listed, ...]
    borrowers: tuple[str, ...] = ()

    def of(self, symbol: str) -> Listed:
        return next(one for one in self.reserves if one.symbol == symbol)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        reserves = tuple(Listed(**one) for one in raw["reserves"])
        return cls(**{**raw, "reserves": reserves, "borrowers": tuple(raw["borrowers"])})


def deploy(chain: DevChain) -> AaveV2Market:
    """A market with plenty of each asset to lend."""
    admin = chain.account("aave v2 admin")
    provider = chain.deploy(
        admin, protocol_v2("protocol/configuration/LendingPoolAddressesProvider").code, "(string)", ["local"]
    )
    for role in ("setPoolAdmin(address)", "setEmergencyAdmin(address)"):
        chain.send(admin, provider, role, admin)
    _pieces(chain, admin, provider)
    reserves = tuple(_token(chain, admin, one) for one in LISTED)
    fed = [one for one in reserves if one.feed]
    oracle = chain.deploy(
        admin,
        protocol_v2("misc/AaveOracle").code,
        "(address[],address[],address,address)",
        [[one.asset for one in fed], [one.feed for one in fed], ZERO_ADDRESS, reserves[0].asset],
    )
    rates = chain.deploy(admin, protocol_v2("mocks/oracle/LendingRateOracle").code)
    chain.send(admin, provider, "setPriceOracle(address)", oracle)
    chain.send(admin, provider, "setLendingRateOracle(address)", rates)
    (pool,) = chain.call(provider, "getLendingPool()", "(address)")
    (configurator,) = chain.call(provider, "getLendingPoolConfigurator()", "(address)")
    market = AaveV2Market(provider, pool, configurator, admin, reserves)
    lender = chain.account("aave v2 lender")
    for one in reserves:
        chain.send(admin, rates, "setMarketBorrowRate(address,uint256)", one.asset, RAY * 3 // 100)
        _list(chain, market, one)
        deposit(chain, market, lender, one, 10**6 * ETHER * 10**one.decimals // one.price_wei)
    return market


def _pieces(chain: DevChain, admin: str, provider: str) -> None:
    """Libraries, pool, configurator and the collateral manager."""
    logic = "protocol/libraries/logic/"
    libraries = {"GenericLogic": chain.deploy(admin, protocol_v2(f"{logic}GenericLogic").code)}
    libraries["ReserveLogic"] = chain.deploy(admin, protocol_v2(f"{logic}ReserveLogic").code)
    libraries["ValidationLogic"] = chain.deploy(admin, protocol_v2(f"{logic}ValidationLogic").linked(libraries))
    for setter, name in (
        ("setLendingPoolImpl(address)", "LendingPool"),
        ("setLendingPoolConfiguratorImpl(address)", "LendingPoolConfigurator"),
        ("setLendingPoolCollateralManager(address)", "LendingPoolCollateralManager"),
    ):
        code = protocol_v2(f"protocol/lendingpool/{name}").linked(libraries)
        chain.send(admin, provider, setter, chain.deploy(admin, code))


def _token(chain: DevChain, admin: str, one: Listed) -> Listed:
    asset = deploy_token(chain, admin, one.symbol, one.decimals)
    if one.symbol == "WETH":
        return replace(one, asset=asset)
    terms = [18, f"{one.symbol} / ETH", one.price_wei]
    return replace(
        one, asset=asset, feed=chain.deploy(admin, own_contract("PriceFeed").code, "(uint8,string,int256)", terms)
    )


def _list(chain: DevChain, market: AaveV2Market, one: Listed) -> None:
    admin, pool = market.admin, market.pool
    ray = [RAY * bps // 10_000 for bps in (8000, 100, 400, 6000, 200, 6000)]
    strategy = chain.deploy(
        admin,
        protocol_v2("protocol/lendingpool/DefaultReserveInterestRateStrategy").code,
        f"(address{',uint256' * 6})",
        [market.provider, *ray],
    )
    tokens = []
    for name, letter in (("AToken", "a"), ("StableDebtToken", "s"), ("VariableDebtToken", "v")):
        places = [pool, one.asset, *([chain.account("treasury")] if name == "AToken" else [])]
        texts = [f"Local {name} {one.symbol}", f"{letter}{one.symbol}"]
        kinds = f"({'address,' * len(places)}string,string,address)"
        code = protocol_v2(f"protocol/tokenization/{name}").code
        tokens.append(chain.deploy(admin, code, kinds, [*places, *texts, ZERO_ADDRESS]))
    for signature, args in (
        ("initReserve(address,address,address,uint8,address)", (*tokens, one.decimals, strategy)),
        (
            "configureReserveAsCollateral(address,uint256,uint256,uint256)",
            (one.asset, one.ltv, one.threshold, one.bonus),
        ),
        ("enableBorrowingOnReserve(address,bool)", (one.asset, True)),
        ("setReserveFactor(address,uint256)", (one.asset, one.reserve_factor)),
    ):
        chain.send(admin, market.configurator, signature, *args)


def fund(chain: DevChain, market: AaveV2Market, holder: str, one: Listed, amount: int) -> None:
    """Mint to the holder, who lets the pool take all of it."""
    chain.send(market.admin, one.asset, "mint(address,uint256)", holder, amount)
    chain.send(holder, one.asset, "approve(address,uint256)", market.pool, MAX_UINT256)


def deposit(chain: DevChain, market: AaveV2Market, owner: str, one: Listed, amount: int) -> None:
    """The owner's own, which counts as collateral from then on."""
    fund(chain, market, owner, one, amount)
    chain.send(owner, market.pool, "deposit(address,uint256,address,uint16)", one.asset, amount, owner, 0)


def borrow(chain: DevChain, market: AaveV2Market, owner: str, one: Listed, amount: int, mode: int = VARIABLE) -> None:
    """May raise: CallReverted."""
    draw = "borrow(address,uint256,uint256,uint16,address)"
    chain.send(owner, market.pool, draw, one.asset, amount, mode, 0, owner)


def set_price(chain: DevChain, market: AaveV2Market, feed: str, price_wei: int) -> None:
    """Wei for a whole token."""
    chain.send(market.admin, feed, "setAnswer(int256)", price_wei)


def populate(chain: DevChain, market: AaveV2Market) -> AaveV2Market:
    """The market with a borrower for each health from about 1.02 up to 1.6: LINK against USDC and DAI."""
    link = market.of("LINK")
    borrowers = []
    for number, percent in enumerate((98, 90, 82, 75, 68, 62)):
        owner = chain.account(f"aave v2 borrower {number}")
        deposit(chain, market, owner, link, 13_000 * 10**18)
        for symbol in ("USDC", "DAI"):
            one = market.of(symbol)
            worth = 100 * ETHER * link.ltv * percent // (2 * 10_000 * 100)
            borrow(chain, market, owner, one, worth * 10**one.decimals // one.price_wei)
        borrowers.append(owner)
    return replace(market, borrowers=tuple(borrowers))
