"""Reports in words, for every sink alike: health, distance, money and ages as people read them, nothing rounded up.

Pure text: no markup, no colour, no width. Whatever a token or a node chose is cleaned.
"""

from __future__ import annotations

from fractions import Fraction

from monitor.core.text import clean
from monitor.core.types import Health, Known, Level, NoDebt
from monitor.core.units import format_ratio, format_units
from monitor.report import Report, buffer_pct, nearest


def urgency(report: Report) -> tuple[int, Fraction, str]:
    """Sort key: unknown first, then the lowest health; no debt last."""
    verdict = report.health.verdict if report.health else None
    if report.level is Level.UNKNOWN:
        return (0, Fraction(0), report.id)
    if isinstance(verdict, Known):
        return (1, Fraction(verdict.numerator, verdict.denominator), report.id)
    return (2, Fraction(0), report.id)


def health_text(report: Report) -> str:
    """Health to 4 decimals, truncated; `!` marks one that rests on a price that is too old or invalid."""
    verdict = report.health.verdict if report.health else None
    if isinstance(verdict, NoDebt):
        return "no debt"
    if not isinstance(verdict, Known):
        return "?"
    whole = verdict.numerator // verdict.denominator
    text = f"{whole:,}" if whole >= 1000 else format_ratio(verdict.numerator, verdict.denominator, 4)
    return (text if whole < 10**6 else "> 1 million") + ("!" if report.stale() else "")


def buffer_text(report: Report) -> str:
    """How far the collateral's value may fall, in percent."""
    verdict = report.health.verdict if report.health else None
    return f"{buffer_pct(verdict, 1)}%" if isinstance(verdict, Known) and verdict.numerator else ""


def nearest_text(report: Report) -> str:
    """The liquidation price that is nearest, and which way."""
    price = nearest(report.liquidation_prices)
    if price is None:
        return ""
    sign = "<" if price.direction == "below" else ">"
    return f"{clean(price.symbol, 12)} {sign} {amount_text(price.price, price.decimals)}"


def amount_text(raw: int, decimals: int) -> str:
    """A price or amount in at most about 9 characters, truncated: cents from 10 on, more places below."""
    places = 2 if raw >= 10 * 10**decimals else 4 if raw >= 10**decimals else 8
    text = format_ratio(raw, 10**decimals, places) if raw < 10**6 * 10**decimals else str(raw // 10**decimals)
    whole, dot, fraction = text.partition(".")
    return f"{int(whole):,}{dot}{fraction}"


def money(health: Health | None, side: str) -> str:
    """Value in the market's unit with separators, truncated; whole units from a thousand on, millions beyond."""
    if health is None or (not health.legs and not health.unit.symbol):
        return ""
    raw = health.collateral if side == "collateral" else health.debt
    one = 10**health.unit.decimals
    whole = raw // one
    if whole >= 10**6:
        places = 2 if whole < 10**7 else 1
        text = f"{whole // 10**6:,}{format_ratio(raw % (one * 10**6), one * 10**6, places)[1:]}M"
    else:
        text = f"{whole:,}" if whole >= 1000 else format_ratio(raw, one, 2)
    return f"${text}" if health.unit.symbol == "USD" else f"{text} {clean(health.unit.symbol, 8)}".rstrip()


def full_owner(report: Report) -> str:
    """The owner's name, or the whole address."""
    return clean(report.subject.name, 40) if report.subject.name else report.owner


def short_owner(report: Report) -> str:
    """The owner's name, or both ends of the address."""
    return clean(report.subject.name, 14) if report.subject.name else f"{report.owner[:6]}…{report.owner[-4:]}"


def remarks(report: Report) -> list[str]:
    said = list(report.errors)
    health = report.health
    if health is not None and isinstance(health.verdict, Known) and health.verdict.unhealthy:
        shut = [gate for gate in health.gates if gate.state != "open"]
        why = "; ".join(f"{gate.name} {gate.state.value}" for gate in shut[:3])
        if health.liquidatable:
            said.append("can be liquidated now")
        elif health.liquidatable is None:
            said.append(f"below 1; whether it can be liquidated is not known ({why or 'a gate is unknown'})")
        else:
            said.append(f"below 1, but cannot be liquidated now ({why or 'a gate is shut'})")
    if health is not None and health.at_next_block and not health.liquidatable:
        said.append("can be liquidated one block later, by interest alone")
    return [clean(text, 400) for text in said]


def ago(seconds: int) -> str:
    """An age in words."""
    if seconds < 0:
        return f"{-seconds} s ahead of this machine's clock"
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name} old"
    return f"{seconds} s old"


def exact(raw: int, decimals: int) -> str:
    """The whole decimal with separators."""
    whole, dot, fraction = format_units(raw, decimals).partition(".")
    return f"{int(whole):,}{dot}{fraction}"
