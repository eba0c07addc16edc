"""The view itself: a table, a line to filter or ask what-if in, and what is told of one position.

Keys do everything, and each stands in the footer. A tick redraws the rows that changed and keeps the place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import DataTable, Footer, Input, Static

from monitor import wording
from monitor.core.errors import LevmonError
from monitor.core.text import clean
from monitor.core.types import MarketRef
from monitor.core.units import parse_decimal
from monitor.pipeline.market import MarketState
from monitor.pipeline.questions import after, explain, parse_shock
from monitor.pipeline.watch import Tick
from monitor.report import Report
from monitor.tui.rows import COLUMNS, Wish, cells, chosen

Journal = Callable[[str], Sequence[str]]
"""What the journal says of a position, in lines. May raise: LevmonError."""
HINT = "e explains, w asks what if, j tells what was done; Esc closes this"


class Terminal(App[None]):
    """Use `run_async`; hand it ticks with `take`."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: auto; max-height: 4; }
    #ask { display: none; height: 3; }
    #detail { display: none; height: 50%; border-top: solid $primary; }
    .shown { display: block !important; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("s", "sort", "Sort"),
        ("r", "reverse", "Reverse"),
        ("slash", "filter", "Filter"),
        ("e", "tell('explain')", "Explain"),
        ("w", "whatif", "What if"),
        ("j", "tell('journal')", "Journal"),
        ("escape", "close", "Close"),
        ("q", "quit", "Quit"),
    ]

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self.wish = Wish()
        self._journal = journal
        self._reports: dict[str, Report] = {}
        self._states: dict[MarketRef, MarketState] = {}
        self._heads: dict[str, str] = {}
        self._asking = ""
        self._stands = False
        """whether there is something to draw on: a tick may come before"""

    def compose(self) -> ComposeResult:
        yield Static("waiting for the first block", id="head", markup=False)
        yield Input(id="ask")
        yield DataTable[Text](id="table", cursor_type="row", zebra_stripes=True)
        with VerticalScroll(id="detail"):
            yield Static("", id="told", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        table = self.query_one("#table", DataTable)
        for name in COLUMNS:
            table.add_column(name.upper(), key=name)
        table.focus()
        self._stands = True
        self._draw()

    # -- what comes ----------------------------------------------------------------------------------------------

    def take(self, chain: str, tick: Tick) -> None:
        """A tick of the chain of that name. Where it tells of trouble its reports are unknown, and so shown."""
        self._reports |= {report.id: report for report in tick.snapshot.reports}
        self._states |= tick.snapshot.markets
        block = tick.snapshot.block
        at = f"block {block.number}" if block is not None else "no block"
        trouble = f"; {clean(tick.trouble.message, 200)}" if tick.trouble is not None else ""
        self._heads[chain] = f"{chain}: {at}{trouble}"
        if self._stands:
            self._draw()

    def _draw(self) -> None:
        table = self.query_one("#table", DataTable)
        here = self._here()
        rows = chosen(self._reports.values(), self.wish)
        wanted = [report.id for report in rows]
        if [key.value for key in table.rows] == wanted:
            for report in rows:
                for name, text in zip(COLUMNS, cells(report), strict=True):
                    if str(table.get_cell(report.id, name)) != text:
                        table.update_cell(report.id, name, Text(text))
        else:
            table.clear()
            for report in rows:
                table.add_row(*map(Text, cells(report)), key=report.id)  # text, which a table would read as markup
            if here is not None and here.id in wanted:
                table.move_cursor(row=wanted.index(here.id))
        order = f"by {self.wish.by}{', reversed' if self.wish.reverse else ''}"
        only = f", only {self.wish.text!r}" if self.wish.text else ""
        heads = "; ".join(self._heads.values()) or "waiting for the first block"
        unknown = sum(report.verdict == "unknown" for report in self._reports.values())
        counts = f"{len(rows)} of {len(self._reports)} positions, {unknown} unknown"
        self.query_one("#head", Static).update(f"{heads}\n{counts}, {order}{only}")

    def _here(self) -> Report | None:
        """The position that the cursor is on."""
        table = self.query_one("#table", DataTable)
        if not table.row_count or not 0 <= table.cursor_row < table.row_count:
            return None
        key = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
        return self._reports.get(key or "")

    # -- what is asked -------------------------------------------------------------------------------------------

    def action_sort(self) -> None:
        self.wish = self.wish.next()
        self._draw()

    def action_reverse(self) -> None:
        self.wish = replace(self.wish, reverse=not self.wish.reverse)
        self._draw()

    def action_filter(self) -> None:
        self._ask("filter", "words that must be in a row, such as: critical core", self.wish.text)

    def action_whatif(self) -> None:
        if self._here() is not None:
            self._ask("whatif", "price moves and days, such as: WETH=-20% WBTC=-10% 7d", "")

    def _ask(self, what: str, hint: str, text: str) -> None:
        self._asking = what
        ask = self.query_one("#ask", Input)
        ask.placeholder, ask.value = hint, text
        ask.add_class("shown")
        ask.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """A filter holds until another; what-if answers below."""
        self.query_one("#ask", Input).remove_class("shown")
        self.query_one("#table", DataTable).focus()
        if self._asking == "filter":
            self.wish = replace(self.wish, text=event.value)
            self._draw()
        else:
            self._tell(lambda report: self._whatif(report, event.value))

    def action_tell(self, what: str) -> None:
        self._tell(self._explain if what == "explain" else lambda report: self._journal(report.id))

    def action_close(self) -> None:
        for name in ("#ask", "#detail"):
            self.query_one(name).remove_class("shown")
        self.query_one("#table", DataTable).focus()

    def _tell(self, of: Callable[[Report], Sequence[str]]) -> None:
        report = self._here()
        if report is None:
            return
        try:
            lines = of(report)
        except LevmonError as wrong:
            lines = [wrong.message, wrong.hint]
        told = [f"{wording.full_owner(report)} in {clean(report.subject.market, 80)}", *lines, "", HINT]
        self.query_one("#told", Static).update("\n".join(told))
        self.query_one("#detail").add_class("shown")

    def _explain(self, report: Report) -> list[str]:
        head = f"{report.level.value}: health {wording.health_text(report)}, {report.cause}"
        lines = explain(report, self._states.get(report.subject.ref))
        told = [f"{clean(x.name, 60)} = {clean(x.value, 80)}   {clean(x.formula, 200)}".rstrip() for x in lines]
        return [head, *wording.remarks(report), *told]

    def _whatif(self, report: Report, text: str) -> list[str]:
        """By the same exact rule. May raise: LevmonError."""
        words = text.split()
        days = [word for word in words if word.endswith("d") and "=" not in word]
        shocks = [parse_shock(word) for word in words if word not in days]
        total = sum((parse_decimal(word[:-1]) for word in days), Fraction(0))
        made, touched = after(report, self._states.get(report.subject.ref), shocks, total)
        before = (
            f"now    {report.level.value}: health {wording.health_text(report)}, buffer {wording.buffer_text(report)}"
        )
        then = f"then   {made.level.value}: health {wording.health_text(made)}, buffer {wording.buffer_text(made)}"
        none = [] if touched or not shocks else ["none of these prices touches it"]
        return [f"after {text or 'nothing'}:", before, then, made.cause, *none]
