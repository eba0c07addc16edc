"""Who owes what on a local Aave V3 market: a seeded cast of borrowers, from comfortable to nearly liquidatable.

Pure planning in integers: which assets, what size, what health factor is wanted in the end. The first loans are there
for the shapes that a monitor gets wrong (e-mode, stable debt, isolation, a frozen asset, two decimals, dust, a whale);
the rest is drawn at random, always the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from monitor.testing.aave_v3_listing import (
    ETH_EMODE,
    FROZEN_SYMBOL,
    ISOLATED_SYMBOL,
    LST_EMODE,
    ODD_SYMBOL,
    STABLE_EMODE,
    Listing,
    listings,
)
from monitor.testing.aave_v3_market import Version

STABLE_MODE, VARIABLE_MODE = 1, 2
SEED = 20_240_229
# wanted health factors in bps, nearest to liquidation first; a cast of 32 borrows one each
TARGETS_BPS = (
    *(10_050, 10_080, 10_120, 10_200, 10_300, 10_400, 10_500, 10_600, 10_800, 11_000, 11_300, 11_600, 12_000),
    *(12_500, 13_000, 13_500, 14_000, 14_500, 15_000, 15_500, 16_000, 17_000, 18_000, 19_000, 20_000, 22_000),
    *(25_000, 28_000, 32_000, 40_000, 55_000, 90_000),
)


@dataclass(frozen=True, slots=True)
class Debt:
    symbol: str
    share: int
    mode: int = VARIABLE_MODE


@dataclass(frozen=True, slots=True)
class Loan:
    """Shares are relative weights by value; `size_usd` is the value of all collateral when opened."""

    size_usd: int
    collateral: tuple[tuple[str, int], ...]
    debt: tuple[Debt, ...]
    emode: int = 0
    target_bps: int = 0


def _special(version: Version) -> tuple[Loan, ...]:
    odd = ODD_SYMBOL[version]
    fixed = STABLE_MODE if version == "3.0" else VARIABLE_MODE
    lst_emode = LST_EMODE if version == "3.6" else 0
    return (
        Loan(90_000, (("WETH", 6), ("WBTC", 4)), (Debt("USDC", 6, fixed), Debt("DAI", 4))),
        Loan(240_000, (("wstETH", 5), ("LINK", 3)), (Debt("DAI", 5, fixed), Debt("USDT", 3))),
        Loan(55_000, (("WBTC", 1),), (Debt("USDC", 2, fixed), Debt("USDC", 3), Debt("LINK", 1))),
        Loan(400_000, (("wstETH", 1),), (Debt("WETH", 1),), ETH_EMODE),
        Loan(310_000, (("wstETH", 7), ("WBTC", 3)), (Debt("WETH", 1),), ETH_EMODE),
        Loan(150_000, (("USDC", 1),), (Debt("DAI", 3), Debt("USDT", 2)), STABLE_EMODE),
        Loan(130_000, (("DAI", 6), ("WETH", 4)), (Debt("USDC", 1),), STABLE_EMODE),
        Loan(60_000, (("wstETH", 1),), (Debt("USDC", 1),), lst_emode),
        Loan(75_000, (("wstETH", 8), ("WETH", 2)), (Debt("USDC", 1),), lst_emode),
        Loan(80_000, ((ISOLATED_SYMBOL, 1),), (Debt("USDC", 2), Debt("DAI", 1))),
        Loan(25_000, ((ISOLATED_SYMBOL, 1),), (Debt("USDT", 1),)),
        Loan(70_000, ((FROZEN_SYMBOL, 5), ("WETH", 5)), (Debt("USDC", 1),)),
        Loan(65_000, (("WETH", 1),), (Debt(FROZEN_SYMBOL, 3), Debt("USDT", 2))),
        Loan(45_000, ((odd, 7), ("WBTC", 3)), (Debt("WETH", 1),)),
        Loan(52_000, (("WETH", 1),), (Debt(odd, 4), Debt("WBTC", 1))),
        Loan(40, (("WETH", 1), ("LINK", 1)), (Debt("USDC", 1),)),
        Loan(2_400, (("LINK", 1),), (Debt("DAI", 1), Debt("WBTC", 1))),
        Loan(20_000_000, (("WETH", 6), ("wstETH", 3), ("WBTC", 3)), (Debt("USDC", 5), Debt("DAI", 4), Debt("USDT", 3))),
        Loan(
            350_000,
            (("WETH", 2), ("WBTC", 3), ("USDC", 4), ("wstETH", 5), ("LINK", 6), (odd, 7)),
            (Debt("DAI", 3), Debt("USDT", 4), Debt("WBTC", 5), Debt("LINK", 6), Debt("WETH", 7)),
        ),
    )


def _drawn(random: Random, odd: str) -> Loan:
    volatile = ("WETH", "WBTC", "wstETH", "LINK")
    collateral = random.sample((*volatile, "USDC", "DAI", odd), random.choice((2, 2, 3)))
    others = [symbol for symbol in ("USDC", "DAI", "USDT", "WETH", "WBTC", "LINK") if symbol not in collateral]
    debts = random.sample(others, min(len(others), random.choice((2, 2, 3))))
    return Loan(
        random.randrange(5_000, 900_000),
        tuple((symbol, random.randrange(1, 10)) for symbol in collateral),
        tuple(Debt(symbol, random.randrange(1, 10)) for symbol in debts),
    )


def cast(version: Version) -> tuple[Loan, ...]:
    """One loan per entry of TARGETS_BPS; the wanted health factors are dealt out at random."""
    random = Random(SEED)
    special = _special(version)
    loans = [*special, *(_drawn(random, ODD_SYMBOL[version]) for _ in range(len(TARGETS_BPS) - len(special)))]
    targets = list(TARGETS_BPS)
    random.shuffle(targets)
    return tuple(replace(loan, target_bps=target) for loan, target in zip(loans, targets, strict=True))


def _terms(item: Listing, emode: int, version: Version) -> tuple[int, int]:
    """(ltv, threshold) in bps that count for this asset in the borrower's e-mode."""
    if emode == STABLE_EMODE and item.symbol in {"USDC", "DAI"}:
        return 93_00, 95_00
    if emode == ETH_EMODE and item.symbol in {"WETH", "wstETH"}:
        return 90_00, 93_00
    if version == "3.6" and emode == LST_EMODE and item.symbol == "wstETH":
        return 80_00, 84_00
    return item.ltv, item.threshold


@dataclass(frozen=True, slots=True)
class Opening:
    """A loan in raw amounts: what to supply and what to borrow."""

    loan: Loan
    supplies: tuple[tuple[str, int], ...]
    borrows: tuple[tuple[str, int, int], ...]


def opening(loan: Loan, version: Version) -> Opening:
    """Sized so that the loan can be taken: at least 4 % under the allowed LTV, and never under the wanted health."""
    listed = {item.symbol: item for item in listings(version)}
    weights = sum(weight for _, weight in loan.collateral)
    values = {symbol: loan.size_usd * 10**8 * weight // weights for symbol, weight in loan.collateral}
    supplies = tuple(
        (symbol, value * 10 ** listed[symbol].decimals // listed[symbol].price_e8) for symbol, value in values.items()
    )
    borrowable = backed = 0
    for symbol, value in values.items():
        ltv, threshold = _terms(listed[symbol], loan.emode, version)
        borrowable += value * ltv // 10_000
        backed += value * threshold // 10_000
    owed = min(borrowable * 96 // 100, backed * 10_000 // loan.target_bps)
    shares = sum(debt.share for debt in loan.debt)
    borrows = tuple(
        (
            debt.symbol,
            owed * debt.share // shares * 10 ** listed[debt.symbol].decimals // listed[debt.symbol].price_e8,
            debt.mode,
        )
        for debt in loan.debt
    )
    return Opening(loan, supplies, borrows)


# the part of each reserve that is lent out, in percent, once all loans are open; the kinks are at 90 and 65
UTILISATION = {"USDC": 78, "DAI": 86, "USDT": 92, "WETH": 55, "WBTC": 35, "LINK": 68}
OTHER_UTILISATION = 40
LEAST_LIQUIDITY_USD = 400_000


def liquidity(openings: tuple[Opening, ...], version: Version) -> dict[str, int]:
    """Raw amount that the lender supplies to each reserve."""
    amounts = {}
    for item in listings(version):
        owed = sum(amount for o in openings for symbol, amount, _ in o.borrows if symbol == item.symbol)
        supplied = sum(amount for o in openings for symbol, amount in o.supplies if symbol == item.symbol)
        least = LEAST_LIQUIDITY_USD * 10 ** (8 + item.decimals) // item.price_e8
        wanted = owed * 100 // UTILISATION.get(item.symbol, OTHER_UTILISATION) - supplied
        # never less than what is owed: the first borrower comes before the last supplier
        amounts[item.symbol] = max(least, wanted, owed + least // 4)
    return amounts
