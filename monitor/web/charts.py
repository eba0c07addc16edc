"""Health and price over time as SVG, drawn here and coloured by our own style sheet: no script, no style of its own.

What was unknown is a gap, never a line through it. Numbers are rounded for drawing only.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from monitor.core.text import clean
from monitor.core.thresholds import Thresholds
from monitor.core.types import Known, Level
from monitor.history.rows import HistoryRow
from monitor.policy.levels import decimal
from monitor.web.view import utc

POINTS = 240
HOURS = 24
SPAN_S = HOURS * 3600
SHORTEST_S = 600
MINUTES_BELOW_H = 2
COLUMNS = 3
"""So many names stand beside each other below a chart."""
HIGHEST = 2
"""Health beyond so many times the highest threshold is drawn there."""

Points = list[tuple[float, float | None]]


def health(rows: Sequence[HistoryRow], levels: Thresholds, until_s: int) -> tuple[str, str]:
    """Health with the thresholds between levels, and what it says in words; "" where nothing was kept."""
    since_s, span_h = _span(rows, until_s)
    top = float(levels.watch) * HIGHEST
    values: Points = []
    for row in rows:
        at_h = (max(row.at_s, since_s) - until_s) / 3600
        if isinstance(row.verdict, Known):
            values.append((at_h, min(row.verdict.numerator / row.verdict.denominator, top)))
        else:
            values.append((at_h, None if row.level is Level.UNKNOWN else top))
    known = [value for _, value in values if value is not None]
    if not known:
        return "", ""
    values.append((0.0, values[-1][1]))  # what was kept last holds until something else is
    lines = [
        (f"{name} below {decimal(at)}", float(at))
        for name, at in (("watch", levels.watch), ("warn", levels.warn), ("critical", levels.critical))
    ]
    shown = [at for _, at in lines if at <= max(*known, float(levels.critical)) * 1.2]
    unknown = sum(value is None for _, value in values)
    gaps = f"; unknown at {unknown} of {len(values)} looks" if unknown else ""
    words = f"Health was between {min(known):.4f} and {max(known):.4f} in the last {_span_text(span_h)}{gaps}"
    chart = _chart("Health", (min([*known, *shown, 1.0]) * 0.98, max([*known, *shown]) * 1.02), span_h)
    chart.add("health", values)
    for name, at in [*lines, ("liquidation below 1", 1.0)]:
        chart.add(name, [(-span_h, at), (0.0, at)])
    return _svg(chart, words), words


def price(rows: Sequence[HistoryRow], until_s: int) -> tuple[str, str]:
    """The price of the asset that is nearest to its liquidation price, beside that; of the newest asset alone."""
    near = next((row.nearest for row in reversed(rows) if row.nearest is not None), None)
    if near is None:
        return "", ""
    since_s, span_h = _span(rows, until_s)
    now: Points = []
    then: Points = []
    for row in rows:
        at_h = (max(row.at_s, since_s) - until_s) / 3600
        same = row.nearest if row.nearest is not None and row.nearest.asset == near.asset else None
        now.append((at_h, None if same is None else same.current / 10**same.decimals))
        then.append((at_h, None if same is None else same.price / 10**same.decimals))
    now.append((0.0, now[-1][1]))
    then.append((0.0, then[-1][1]))
    values = [value for _, value in (*now, *then) if value is not None]
    symbol = clean(near.symbol)
    words = f"Price of {symbol}, and the price at which it is liquidated, all else unchanged, until {utc(until_s)}"
    chart = _chart(f"Price of {symbol}", (min(values) * 0.98, max(values) * 1.02), span_h)
    chart.add("price", now)
    chart.add("liquidated at", then)
    return _svg(chart, words), words


def _span(rows: Sequence[HistoryRow], until_s: int) -> tuple[int, float]:
    """From when it is drawn, and how many hours that is: a day, or as long as something was kept."""
    since_s = max(until_s - SPAN_S, min(rows[0].at_s, until_s - SHORTEST_S))
    return since_s, (until_s - since_s) / 3600


def _short(hours: float) -> str:
    return f"{hours:.3g} h" if hours >= MINUTES_BELOW_H else f"{hours * 60:.3g} min"


def _span_text(hours: float) -> str:
    return f"{hours:.3g} hours" if hours >= MINUTES_BELOW_H else f"{hours * 60:.0f} minutes"


def library() -> Any:
    """pygal, without its hook into every import: it is of Python 2's kind, finds nothing that is needed, and warns."""
    import pygal

    sys.meta_path[:] = [one for one in sys.meta_path if type(one).__module__ != "pygal"]
    return pygal


def _chart(title: str, span: tuple[float, float], span_h: float) -> Any:
    return library().XY(
        title=title,
        width=560,
        height=290,
        js=[],
        css=[],
        range=span,
        xrange=(-span_h, 0.0),
        show_dots=False,
        allow_interruptions=True,
        legend_at_bottom=True,
        legend_at_bottom_columns=COLUMNS,
        margin_bottom=24,
        truncate_legend=-1,
        x_labels=[-span_h * part / 4 for part in (4, 3, 2, 1, 0)],
        x_value_formatter=lambda hours: "now" if not hours else f"-{_short(-hours)}",
        value_formatter=lambda value: f"{value:,.4g}",
        no_prefix=True,
        disable_xml_declaration=True,
        print_values=False,
        max_scale=6,
    )


def _svg(chart: Any, words: str) -> str:
    """The drawing alone: without scripts, styles, comments and what only scripts would show."""
    from xml.etree import ElementTree as ET

    from markupsafe import Markup

    # drawn by pygal from numbers and cleaned text, and read back as a tree: what is not in it cannot be shown
    root = ET.fromstring(chart.render(is_unicode=False))  # noqa: S314  # our own drawing
    for parent in list(root.iter()):
        for child in list(parent):
            name = child.tag.rpartition("}")[2]
            if name in {"script", "style", "desc"} or child.get("class") in {"tooltip", "tooltip-overlay"}:
                parent.remove(child)
        for attribute in ("style", "onload", "id"):
            parent.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-label", words)
    ET.register_namespace("", "http://www.w3.org/2000/svg")
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704  # escaped by the writer of the tree
