"""A page as parts: each a piece of HTML under an id, so that only those that have changed need travel again.

`Templates` fills them from the files beside it; every text is escaped there, and nowhere else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from monitor.core.text import clean
from monitor.web.defences import Defences

HERE = Path(__file__).parent
STATIC = HERE / "static"


@dataclass(frozen=True, slots=True)
class View:
    """`parts` by the id of the element that they are; `rows` are those of the page's one table, in order, by theirs."""

    template: str
    title: str
    parts: Mapping[str, str]
    rows: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def changes(self, before: View) -> str:
        """What turns `before` into this, as JSON; "" where nothing has changed."""
        told: dict[str, Any] = {}
        parts = {name: html for name, html in self.parts.items() if before.parts.get(name) != html}
        rows = {name: html for name, html in self.rows.items() if before.rows.get(name) != html}
        if parts or rows:
            told["parts"] = parts | rows
        if list(self.rows) != list(before.rows):
            told["order"] = list(self.rows)
        return json.dumps(told, separators=(",", ":")) if told else ""


class Templates:
    """The files of templates/, filled."""

    def __init__(self, defences: Defences) -> None:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        self._env = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=defences.escape,  # noqa: S701  # a fault test shows what it is for
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        filters: dict[str, Callable[..., str]] = {"clean": clean, "path": path, "utc": utc, "marked": marked}
        self._env.filters.update(filters)
        for name in self._env.list_templates():  # compiled now, not when somebody waits
            self._env.get_template(name)

    def fill(self, name: str, **given: Any) -> str:
        """A template as HTML, to be taken into another as it is."""
        from markupsafe import Markup

        return Markup(self._env.get_template(name).render(given))  # noqa: S704  # escaped by the template

    def page(self, view: View, **given: Any) -> str:
        """A whole page."""
        return self.fill(view.template, title=view.title, parts=view.parts, rows=view.rows, **view.more, **given)


def path(text: str) -> str:
    """One piece of a URL's path, slashes and all."""
    return quote(text, safe="")


def utc(at_s: int) -> str:
    """A moment as people write it, in UTC."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at_s))
    except (OverflowError, ValueError, OSError):
        return f"second {at_s}"


def marked(at_s: int) -> str:
    """A moment for a machine."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))
    except (OverflowError, ValueError, OSError):
        return ""
