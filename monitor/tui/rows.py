"""Which positions are shown, in which order, as which words. Pure: built from reports, compares exact numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from monitor import wording
from monitor.core.text import clean
from monitor.report import Report

COLUMNS = ("level", "health", "buffer", "liquidated at", "market", "owner", "collateral", "debt")
URGENT = "health"
"""The column that sorts by urgency: unknown first, then the lowest health."""
SORTED_BY = ("health", "market", "owner", "collateral", "debt")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted to be seen. `text`: words that must all be somewhere in a row."""

    by: str = URGENT
    reverse: bool = False
    text: str = ""

    def next(self) -> Wish:
        """By the next column that sorts."""
        return replace(self, by=SORTED_BY[(SORTED_BY.index(self.by) + 1) % len(SORTED_BY)])


def chosen(reports: Iterable[Report], wish: Wish) -> list[Report]:
    """Those that fit, in order. What is unknown stays on top, however it is sorted."""
    words = wish.text.lower().split()
    fitting = [one for one in reports if all(word in _text(one) for word in words)]
    fitting.sort(key=wording.urgency)
    if wish.by != URGENT:
        fitting.sort(key=lambda one: _key(one, wish.by), reverse=wish.by in ("collateral", "debt"))
    if wish.reverse:
        fitting.reverse()
    return sorted(fitting, key=lambda one: one.verdict != "unknown")


def _text(report: Report) -> str:
    return " ".join((*cells(report), report.owner, report.id, report.cause)).lower()


def _key(report: Report, by: str) -> Any:
    if by == "market":
        return report.subject.market
    if by == "owner":
        return wording.full_owner(report).lower()
    health = report.health
    if health is None:
        return Fraction(-1)
    raw = health.collateral if by == "collateral" else health.debt
    return Fraction(raw, 10**health.unit.decimals)


def cells(report: Report) -> tuple[str, ...]:
    """One row, by COLUMNS."""
    return (
        report.level.value,
        wording.health_text(report),
        wording.buffer_text(report),
        wording.nearest_text(report),
        clean(report.subject.market, 24),
        wording.short_owner(report),
        wording.money(report.health, "collateral"),
        wording.money(report.health, "debt"),
    )
