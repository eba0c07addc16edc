"""`levmon tui`: what watch sees as a terminal view that is sorted, filtered and asked. It only shows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import level_options, source_options
from monitor.cli.signals import until_sigterm

if TYPE_CHECKING:
    from monitor.cli.session import Session
    from monitor.cli.targets import Wanted
    from monitor.cli.watch_command import Shown


@click.command("tui")
@click.argument("owners", nargs=-1, metavar="[OWNER]...")
@source_options
@level_options
@click.option(
    "--poll", type=click.FloatRange(0.05), help="Seconds between questions for a new block. [default: by chain]"
)
@click.option("--no-alerts", is_flag=True, help="Only show; tell the channels of [alerts] nothing.")
def command(owners: tuple[str, ...], poll: float | None, no_alerts: bool, **source: Any) -> int:
    """What watch sees as a view for the terminal, until q or Ctrl-Q.

    s sorts by the next column, r reverses, / filters; e explains the position under the cursor, w asks what if, j tells
    what was done for it. Needs a terminal, and levmon[tui].

    Ends with check's exit code for what was seen last.
    """
    from monitor.cli.attending import Care
    from monitor.cli.screen import live
    from monitor.cli.targets import Wanted
    from monitor.cli.watch_command import Shown
    from monitor.core.errors import ConfigError

    if not live():
        raise ConfigError("this is no terminal", hint="use levmon watch, which is lines in a pipe")
    try:
        import textual  # noqa: F401  # of an extra: better said before anything is read
    except ImportError:
        raise ConfigError("the terminal view is not installed", hint='pip install "levmon[tui]"') from None
    shown = Shown(None, 0.0, poll, as_json=False, alerts=not no_alerts, care=Care(None, public=False, log_json=False))
    return asyncio.run(_tui(Wanted(**source, owners=owners), shown))


async def _tui(wanted: Wanted, shown: Shown) -> int:
    from monitor.cli.resources import require_machine
    from monitor.cli.session import opened
    from monitor.cli.sinks import Sink
    from monitor.cli.watch_command import follow
    from monitor.pipeline.watch import Tick
    from monitor.pipeline.watchdog import Watchdog
    from monitor.policy.levels import exit_code
    from monitor.report import Report
    from monitor.tui.app import Terminal

    async with opened(wanted) as session, until_sigterm() as stop, Watchdog():
        require_machine(sum(len(chain.chain.pool.endpoints) for chain in session.chains))
        view = Terminal(lambda position_id: _journal(session, position_id))

        class ToView(Sink):
            """Hands each tick on."""

            def _render(self, chain: str, tick: Tick, before: dict[str, Report]) -> None:
                view.take(chain, tick)

        sink = ToView()
        shows = asyncio.create_task(view.run_async())
        try:
            await follow(session, shown, sink, stop, {shows})
        finally:
            view.exit()
            await asyncio.gather(shows, return_exceptions=True)
        return exit_code(sink.levels())


def _journal(session: Session, position_id: str) -> Sequence[str]:
    """What was done for a position, newest first. May raise: LevmonError."""
    from monitor.cli.guarding import guardian_of
    from monitor.core.text import clean
    from monitor.journal.view import JournalView

    targets = session.targets
    if targets.config is None or targets.config.guardian is None:
        return ["nothing: the file has no guardian"]
    actions = JournalView(guardian_of(targets.config, targets.path).journal_url).actions(position_id=position_id)
    told = [f"{one.id}  {one.draft.intent.kind}  {one.state.value}  {clean(one.note, 200)}" for one in actions[::-1]]
    return told or ["nothing was done for it"]
