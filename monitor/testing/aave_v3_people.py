"""Brings people into a fresh local Aave V3 market: a lender, a liquidator, borrowers, and a month of time.

Loans are opened at the allowed LTV and then, after interest has accrued, collateral is withdrawn until each has the
health factor that its plan wants: this is the only way to stand at 1.005, since nobody may borrow that much. Health is
asked of the pool.
"""

from __future__ import annotations

from collections.abc import Sequence

from monitor.testing.aave_v3_listing import FROZEN_SYMBOL, ISOLATED_SYMBOL, LST_EMODE
from monitor.testing.aave_v3_loans import Opening, liquidity
from monitor.testing.aave_v3_market import AaveMarket
from monitor.testing.devchain import MAX_UINT256, DevChain, Transaction

DAY_S = 86_400
SUPPLY = "supply(address,uint256,address,uint16)"
BORROW = "borrow(address,uint256,uint256,uint16,address)"


def populate(chain: DevChain, plans: Sequence[tuple[AaveMarket, tuple[Opening, ...]]]) -> None:
    """All markets at once, so that none is a month older than another."""
    loans = [
        [(market, user, loan) for user, loan in zip(market.borrowers, openings, strict=True)]
        for market, openings in plans
    ]
    early = [loan for market in loans for loan in market[: len(market) // 2]]
    late = [loan for market in loans for loan in market[len(market) // 2 :]]
    chain.send_all(step for market, openings in plans for step in _fund(market, openings))
    chain.send_all(step for loan in early for step in _open(*loan))
    chain.warp(19 * DAY_S + 7)
    chain.send_all(step for loan in late for step in _open(*loan))
    chain.warp(11 * DAY_S + 13)
    # some reserves are touched now and some keep an old lastUpdateTimestamp, as in life
    chain.send_all(
        Transaction(market.lender, market.pool, SUPPLY, (market.reserves[symbol].asset, 10**6, market.lender, 0))
        for market, _ in plans
        for symbol in ("WETH", "USDC", "LINK")
    )
    chain.warp(DAY_S)
    chain.send_all(step for loan in (*early, *late) for step in _tune(chain, *loan))
    for market, _ in plans:
        _restrict(chain, market)


def _fund(market: AaveMarket, openings: tuple[Opening, ...]) -> list[Transaction]:
    """The lender can pay for everyone's collateral, the liquidator for everyone's debt."""
    amounts = liquidity(openings, market.version)
    steps = []
    for symbol, reserve in market.reserves.items():
        for holder in (market.lender, market.liquidator):
            plenty = 10**9 * 10**reserve.decimals
            steps.append(Transaction(market.admin, reserve.asset, "mint(address,uint256)", (holder, plenty)))
            steps.append(Transaction(holder, reserve.asset, "approve(address,uint256)", (market.pool, MAX_UINT256)))
        steps.append(
            Transaction(market.lender, market.pool, SUPPLY, (reserve.asset, amounts[symbol], market.lender, 0))
        )
    return steps


def _open(market: AaveMarket, user: str, opening: Opening) -> list[Transaction]:
    """The lender supplies in the borrower's name, which turns the asset into collateral unless it is isolated."""
    steps = []
    for symbol, amount in opening.supplies:
        asset = market.reserves[symbol].asset
        steps.append(Transaction(market.lender, market.pool, SUPPLY, (asset, amount, user, 0)))
        if symbol == ISOLATED_SYMBOL:
            use = "setUserUseReserveAsCollateral(address,bool)"
            steps.append(Transaction(user, market.pool, use, (asset, True)))
    if opening.loan.emode:
        steps.append(Transaction(user, market.pool, "setUserEMode(uint8)", (opening.loan.emode,)))
    steps.extend(
        Transaction(user, market.pool, BORROW, (market.reserves[symbol].asset, amount, mode, 0, user))
        for symbol, amount, mode in opening.borrows
    )
    return steps


def _tune(chain: DevChain, market: AaveMarket, user: str, opening: Opening) -> list[Transaction]:
    """Withdraw the same part of every collateral, which lowers the health factor by just that part."""
    words = "(uint256,uint256,uint256,uint256,uint256,uint256)"
    health_wad = int(chain.call(market.pool, "getUserAccountData(address)", words, user)[5])
    target_wad = opening.loan.target_bps * 10**14
    if health_wad <= target_wad:
        return []
    steps = []
    for symbol, _ in opening.supplies:
        reserve = market.reserves[symbol]
        (balance,) = chain.call(reserve.a_token, "balanceOf(address)", "(uint256)", user)
        if amount := balance * (health_wad - target_wad) // health_wad:
            withdraw = "withdraw(address,uint256,address)"
            steps.append(Transaction(user, market.pool, withdraw, (reserve.asset, amount, user)))
    return steps


def _restrict(chain: DevChain, market: AaveMarket) -> None:
    """What governance did after the loans were taken: one asset is frozen, one has LTV zero in its e-mode (3.6)."""
    frozen = market.reserves[FROZEN_SYMBOL].asset
    chain.send(market.admin, market.configurator, "setReserveFreeze(address,bool)", frozen, True)
    if market.version == "3.6":
        ltvzero = "setAssetLtvzeroInEMode(address,uint8,bool)"
        chain.send(market.admin, market.configurator, ltvzero, market.reserves["wstETH"].asset, LST_EMODE, True)
