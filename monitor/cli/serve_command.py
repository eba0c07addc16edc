"""`levmon serve`: what watch sees, as a dashboard in the browser and as a JSON API. It only shows."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import level_options, source_options
from monitor.cli.signals import until_sigterm

if TYPE_CHECKING:
    from monitor.cli.serving import Looked
    from monitor.cli.targets import Wanted
    from monitor.cli.watch_command import Shown


@click.command("serve")
@click.argument("owners", nargs=-1, metavar="[OWNER]...")
@source_options
@level_options
@click.option(
    "--listen", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="Where; port 0: a free one."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="Show nothing without the token in this file (mode 600, at least 32 characters).",
)
@click.option(
    "--public-url",
    metavar="URL",
    help="https://NAME under which people reach it: says that TLS is in front. Needed, with a token, for any other "
    "place than this machine.",
)
@click.option(
    "--poll", type=click.FloatRange(0.05), help="Seconds between questions for a new block. [default: by chain]"
)
@click.option("--no-alerts", is_flag=True, help="Only show; tell the channels of [alerts] nothing.")
def command(
    owners: tuple[str, ...],
    listen: str,
    token_file: Path | None,
    public_url: str | None,
    poll: float | None,
    no_alerts: bool,
    **source: Any,
) -> int:
    """What watch sees as a dashboard in the browser, until Ctrl-C.

    Pages renew themselves with every block, and work without JavaScript. The same data is below /api/v1 as JSON.
    Nothing can be changed from there: no setting, no URL, no transaction. /healthz, /readyz and /metrics are there too.

    Ends on SIGTERM, with check's exit code for what was seen last.
    """
    from monitor.cli.attending import Care
    from monitor.cli.serving import Looked
    from monitor.cli.targets import Wanted
    from monitor.cli.watch_command import Shown
    from monitor.core.errors import ConfigError

    if any(find_spec(name) is None for name in ("jinja2", "pygal")):
        raise ConfigError("the dashboard is not installed", hint='pip install "levmon[web]"')
    looked = Looked()
    care = Care(None, public=False, log_json=False, shows=looked.show)
    shown = Shown(None, 0.0, poll, as_json=False, alerts=not no_alerts, care=care)
    return asyncio.run(_serve(Wanted(**source, owners=owners), shown, looked, Place(listen, token_file, public_url)))


@dataclass(frozen=True, slots=True)
class Place:
    """`--listen`, `--token-file` and `--public-url`."""

    listen: str
    token_file: Path | None
    public_url: str | None


async def _serve(wanted: Wanted, shown: Shown, looked: Looked, place: Place) -> int:
    from monitor.cli.resources import require_machine
    from monitor.cli.serving import BehindTheSession, ToPages
    from monitor.cli.session import opened
    from monitor.cli.watch_command import follow
    from monitor.pipeline.watchdog import Watchdog
    from monitor.policy.levels import exit_code
    from monitor.web.access import access_for, parse_listen, read_token
    from monitor.web.app import Pages
    from monitor.web.board import Board
    from monitor.web.thread import PageThread, bound

    host, port = parse_listen(place.listen)
    token, public_url = read_token(place.token_file) if place.token_file else None, place.public_url
    access_for(host, port, token, public_url)  # before anything listens
    async with opened(wanted) as session, until_sigterm() as stop, Watchdog():
        require_machine(sum(len(chain.chain.pool.endpoints) for chain in session.chains))
        listener = bound(host, port)
        port = listener.getsockname()[1]
        access = access_for(host, port, token, public_url)
        board = Board()
        behind = BehindTheSession(session, asyncio.get_running_loop(), wanted)
        sink = ToPages(board)
        say = _say
        with PageThread(listener, lambda: Pages(board, behind, access, say).app(looked.routes())) as pages:
            sink.pages = pages
            shown_host = f"[{host}]" if ":" in host else host
            _say(f"the dashboard is at {public_url or f'http://{shown_host}:{port}/'}")
            ended = asyncio.ensure_future(asyncio.wrap_future(pages.ended))
            await follow(session, shown, sink, stop, {ended}, command="serve")
        return exit_code(sink.levels())


def _say(text: str) -> None:
    click.echo(f"levmon: {text}", err=True)
    sys.stderr.flush()
