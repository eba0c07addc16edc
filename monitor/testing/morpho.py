"""A real Morpho Blue market on a local chain: one loan token, one collateral token, an oracle with a setter.

The package carries Morpho's sources with a linear rate model and an oracle of its own for tests; the adaptive curve is
not published there. Health is never computed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from monitor.testing.aave_v3 import deploy_token
from monitor.testing.devchain import MAX_UINT256, DevChain
from monitor.testing.solc import MORPHO, compiled

PARAMS = "(address,address,address,address,uint256)"
WAD = 10**18


@dataclass(frozen=True, slots=True)
class MorphoMarket:
    """Where things are. `id` is the market's id as 0x text; WETH (18 decimals) is lent USDC (6 decimals) against.

    `borrowers`: those that `populate` made.
    """

    morpho: str
    id: str
    params: tuple[str, str, str, str, int]
    admin: str
    lender: str
    borrowers: tuple[str, ...] = ()

    @property
    def oracle(self) -> str:
        return self.params[2]

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        loan, collateral, oracle, irm, lltv = raw["params"]
        lists = {"params": (loan, collateral, oracle, irm, lltv), "borrowers": tuple(raw["borrowers"])}
        return cls(**{**raw, **lists})


def deploy(chain: DevChain, lltv_wad: int = 86 * WAD // 100) -> MorphoMarket:
    """A market with a million USDC to lend, at 2,000 USDC for a WETH."""
    admin, lender = chain.account("morpho admin"), chain.account("morpho lender")
    morpho = chain.deploy(admin, compiled(MORPHO, "Morpho").code, "(address)", [admin])
    irm = chain.deploy(admin, compiled(MORPHO, "IrmMock").code)
    oracle = chain.deploy(admin, compiled(MORPHO, "OracleMock").code)
    loan, collateral = deploy_token(chain, admin, "USDC", 6), deploy_token(chain, admin, "WETH", 18)
    params = (loan, collateral, oracle, irm, lltv_wad)
    chain.send(admin, morpho, "enableIrm(address)", irm)
    chain.send(admin, morpho, "enableLltv(uint256)", lltv_wad)
    chain.send(admin, morpho, f"createMarket({PARAMS})", params)
    market = MorphoMarket(morpho, identity(params), params, admin, lender)
    set_price(chain, market, 2_000 * 10**24)
    _lend(chain, market)
    return market


def beside(chain: DevChain, first: MorphoMarket, lltv_wad: int) -> MorphoMarket:
    """Another market of the same Morpho, tokens and oracle with another LLTV, with a hundred thousand USDC to lend."""
    params = (*first.params[:4], lltv_wad)
    chain.send(first.admin, first.morpho, "enableLltv(uint256)", lltv_wad)
    chain.send(first.admin, first.morpho, f"createMarket({PARAMS})", params)
    market = MorphoMarket(first.morpho, identity(params), params, first.admin, first.lender)
    fund(chain, market, params[0], first.lender, 10**11)
    chain.send(
        first.lender,
        first.morpho,
        f"supply({PARAMS},uint256,uint256,address,bytes)",
        params,
        10**11,
        0,
        first.lender,
        b"",
    )
    return market


def identity(params: tuple[str, str, str, str, int]) -> str:
    """The id of a market with these parameters as 0x text."""
    return "0x" + keccak(encode(("address", "address", "address", "address", "uint256"), params)).hex()


def _lend(chain: DevChain, market: MorphoMarket) -> None:
    lender = market.lender
    fund(chain, market, market.params[0], lender, 10**12)
    supply = f"supply({PARAMS},uint256,uint256,address,bytes)"
    chain.send(lender, market.morpho, supply, market.params, 10**12, 0, lender, b"")


def set_price(chain: DevChain, market: MorphoMarket, price: int) -> None:
    """Loan units for a collateral unit times 10**36: 2,000 USDC for a WETH is 2,000 * 10**24."""
    chain.send(market.admin, market.oracle, "setPrice(uint256)", price)


def borrow(chain: DevChain, market: MorphoMarket, owner: str, collateral: int, assets: int) -> None:
    """The owner deposits WETH and borrows USDC. May raise: CallReverted."""
    fund(chain, market, market.params[1], owner, collateral)
    deposit = f"supplyCollateral({PARAMS},uint256,address,bytes)"
    chain.send(owner, market.morpho, deposit, market.params, collateral, owner, b"")
    draw = f"borrow({PARAMS},uint256,uint256,address,address)"
    chain.send(owner, market.morpho, draw, market.params, assets, 0, owner, owner)


def populate(chain: DevChain, market: MorphoMarket) -> MorphoMarket:
    """The market with a borrower for each health from 1.01 up to 1.6, about."""
    borrowers = []
    for number, percent in enumerate((85, 83, 80, 76, 71, 65, 59, 54)):
        owner = chain.account(f"morpho borrower {number}")
        borrow(chain, market, owner, 10**19, 2_000 * 10**7 * percent // 100)
        borrowers.append(owner)
    return replace(market, borrowers=tuple(borrowers))


def price_of(chain: DevChain, market: MorphoMarket) -> int:
    """See set_price."""
    (price,) = chain.call(market.oracle, "price()", "(uint256)")
    return int(price)


def fund(chain: DevChain, market: MorphoMarket, token: str, holder: str, amount: int) -> None:
    """Mint to the holder, who lets Morpho take all of it."""
    chain.send(market.admin, token, "mint(address,uint256)", holder, amount)
    chain.send(holder, token, "approve(address,uint256)", market.morpho, MAX_UINT256)
