"""Reports to keep, as a daemon would see them."""

from __future__ import annotations

from dataclasses import replace

from monitor import report
from monitor.core.types import BlockRef, Health, Known, LiquidationPrice, MarketRef, NoDebt, Position, Rule, Unit
from monitor.report import Report, Subject

OWNER, PROVIDER, TOKEN = "0x" + "11" * 20, "0x" + "22" * 20, "0x" + "33" * 20
REF = MarketRef(31337, "aave-v3", PROVIDER)
SUBJECT = Subject(REF, "core", OWNER, "treasury")
START_S = 1_700_000_000
WAD = 10**18


def block(number: int, branch: str = "a") -> BlockRef:
    """Twelve seconds after the one before; `branch` tells blocks of one number apart."""
    return BlockRef(31337, number, f"0x{branch}{number:063x}", f"0x{branch}{number - 1:063x}", START_S + 12 * number)


def seen(number: int, numerator: int | None, denominator: int = WAD, *, branch: str = "a", owner: int = 0) -> Report:
    """A look at one block; without a numerator there is no debt."""
    subject = SUBJECT if owner == 0 else replace(SUBJECT, owner=f"0x{owner:040x}")
    at = block(number, branch)
    verdict = NoDebt() if numerator is None else Known(numerator, denominator)
    health = Health(subject.id, at, verdict, Unit("USD", 8), liquidatable=False, collateral=2**255, debt=number)
    position = Position(subject.id, subject.owner, at, Rule("aave-v3", "3.6"), {}, None)
    price = LiquidationPrice(TOKEN, "WETH", 2**200 + number, 8, 2**201, "below")
    return report.of_health(subject, position, health, liquidation_prices=(price,))


def unknown(number: int | None, reason: str = "the node is down") -> Report:
    """Nothing is known at this block, or of any."""
    return report.unknown(SUBJECT, reason, None if number is None else block(number))
