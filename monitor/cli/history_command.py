"""`levmon history`: what the journal holds, told as a story: each decision, why, and every transaction made for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import config_option, json_option

if TYPE_CHECKING:
    from monitor.core.config import Config
    from monitor.history.rows import HistoryRow, Tracked
    from monitor.journal.rows import Action, Hold, Record
    from monitor.journal.view import JournalView

NEVER_S = 2**40


@click.command("history")
@click.argument("position", required=False, metavar="[POSITION]")
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="Only so many actions, the newest.")
@click.option("--plot", is_flag=True, help="Draw the position's health over time first; A: an action, !: an alert.")
@click.option(
    "--hours", type=click.FloatRange(0.01, 24 * 3660), default=24, show_default=True, help="So far back with --plot."
)
@config_option
@json_option
def command(position: str | None, last: int, plot: bool, hours: float, config_file: Path | None, as_json: bool) -> None:
    """Decisions, actions and transactions, from the journal, oldest first. Asks no node.

    POSITION is an id, MARKET/OWNER, an owner's address or label; without it all are told. May be run beside `protect`.
    """
    from monitor.core.errors import ConfigError

    if plot and position is None:
        raise ConfigError("--plot needs a position", hint="levmon history POSITION --plot; levmon check names them")
    from monitor.cli.guarding import config_of, guardian_of, kept_journal
    from monitor.cli.screen import echo, width
    from monitor.journal.view import JournalView

    config, path = config_of(config_file)
    kept = _kept(config, path, position, hours) if plot and position is not None else []
    view = JournalView(kept_journal(config, path) if plot else guardian_of(config, path).journal_url)
    fits = [action for action in view.actions() if position is None or _fits(action.position_id, position, config)]
    actions = fits[-last:]
    holds = view.holds() if position is None else ()
    if as_json:
        from monitor.cli.history_plot import row_dict

        for one, rows, _, _ in kept:
            for row in rows:
                click.echo(json.dumps(row_dict(one.position_id, row), separators=(",", ":")))
        for action in actions:
            click.echo(json.dumps(action_dict(action, view.records(action.id)), separators=(",", ":")))
        for hold in holds:
            told = {"schema": "levmon.hold/1", "scope": hold.scope, "reason": hold.reason}
            click.echo(json.dumps(told, separators=(",", ":")))
        return
    lines: list[str] = []
    for one, rows, since_s, until_s in kept:
        lines += [*_drawn(one, rows, (since_s, until_s), _marks(view, actions, one), config, width()), ""]
    if plot and not kept:
        lines += [f"Nothing was kept of the health of {position}; watch, serve and protect keep it.", ""]
    for action in actions:
        lines += [*_story(action, view.records(action.id), width()), ""]
    echo([*lines, *_foot(actions, holds)])


def _fits(position_id: str, position: str, config: Config) -> bool:
    from monitor.core.errors import ConfigError

    if position_id.lower() == position.lower():
        return True
    market, _, owner = position.rpartition("/")
    try:
        owner = config.owner(owner)
    except ConfigError:
        return False
    if not position_id.lower().endswith(f"/{owner.lower()}"):
        return False
    if not market:
        return True
    named = next((one for one in config.markets if one.name == market), None)
    head = str(config.ref(named)) if named is not None else market
    return position_id.lower().startswith(f"{head}/".lower())


def _kept(
    config: Config, path: Path | None, position: str, hours: float
) -> list[tuple[Tracked, list[HistoryRow], int, int]]:
    """What was kept of each position that is meant, and from when until when: until now, or later by the chain's clock.

    May raise: HistoryError.
    """
    import time

    from monitor.cli.recording import history_url
    from monitor.history.store import HistoryView

    view = HistoryView(history_url(config, path))
    found = []
    try:
        for one in view.positions():
            if not _fits(one.position_id, position, config):
                continue
            now_s = int(time.time())
            newest = view.rows(one.position_id, now_s, NEVER_S, 2)
            until_s = max([now_s, *(row.at_s for row in newest)])
            since_s = until_s - int(hours * 3600)
            if rows := view.rows(one.position_id, since_s, until_s):
                found.append((one, rows, since_s, until_s))
    finally:
        view.close()
    return found


def _marks(view: JournalView, actions: Sequence[Action], one: Tracked) -> list[tuple[int, str]]:
    """When something was told or done. What was done is drawn over what was told."""
    told = [(row["at_s"], "!") for row in view.everything("alerts") if row["subject"] == one.position_id]
    return [*told, *((action.created_s, "A") for action in actions if action.position_id == one.position_id)]


def _drawn(
    one: Tracked,
    rows: Sequence[HistoryRow],
    span: tuple[int, int],
    marks: Sequence[tuple[int, str]],
    config: Config,
    columns: int | None,
) -> Iterator[str]:
    from monitor.cli.history_plot import plot
    from monitor.core.text import clean

    meant = (told for told in config.positions if _fits(one.position_id, f"{told.market}/{told.owner}", config))
    at = config.thresholds(next(meant, None))
    lines = {"watch": at.watch, "warn": at.warn, "critical": at.critical, "liquidation": Fraction(1)}
    yield click.style(f"Health of {clean(one.name) or one.position_id}", bold=True)
    yield from plot(rows, *span, lines, marks, columns=min(columns or 100, 160) - 12)
    if marks:
        yield "A: an action was decided; !: an alert"


def action_dict(action: Action, records: Sequence[Record]) -> dict[str, Any]:
    """The object of schema `levmon.history/1`."""
    draft, mined = action.draft, action.mined
    return {
        "schema": "levmon.history/1",
        "action": action.id,
        "position": action.position_id,
        "kind": draft.intent.kind,
        "asset": draft.asset,
        "amount_raw": str(draft.amount),
        "state": action.state.value,
        "note": action.note,
        "decided_s": str(action.created_s),
        "changed_s": str(action.changed_s),
        "nonce": None if action.nonce is None else str(action.nonce),
        "decision": json.loads(draft.decision),
        "mined": None
        if mined is None
        else {"hash": mined.hash, "block": str(mined.block_number), "block_hash": mined.block_hash, "ok": mined.ok},
        "attempts": [
            {
                "kind": one.kind.value,
                "stage": one.stage.value,
                "hash": one.hash,
                "max_fee_wei": str(one.max_fee_wei),
                "tip_wei": str(one.tip_wei),
                "said": one.said,
            }
            for one in action.attempts
        ],
        "records": [
            {"seq": record.seq, "at_s": str(record.at_s), "kind": record.kind, **_change(record)} for record in records
        ],
    }


def _change(record: Record) -> dict[str, Any]:
    body = json.loads(record.body)
    return {name: body[name] for name in ("from", "to", "why") if name in body}


def _story(action: Action, records: Sequence[Record], columns: int | None) -> Iterator[str]:
    from monitor.cli.guarding import wrapped
    from monitor.core.text import clean

    decision = json.loads(action.draft.decision)
    state = action.state.value
    yield click.style(f"{action.id}  {action.draft.intent.kind}  {state}", bold=True, fg=_colour(state))
    yield f"   {action.position_id}"
    for text in (decision.get("cause"), decision.get("why")):
        if text:
            yield from wrapped(f"   {clean(str(text), 600)}", columns)
    for record in records:
        change = _change(record)
        if record.kind == "decision":
            yield f"   {_time(record.at_s)}  decided at block {action.draft.block.number}"
        elif change.get("why"):
            yield from wrapped(f"   {_time(record.at_s)}  {change.get('to', '')}: {clean(change['why'], 300)}", columns)


def _foot(actions: Sequence[Action], holds: Sequence[Hold]) -> Iterator[str]:
    from monitor.core.text import clean

    for hold in holds:
        yield click.style(f"on hold: {hold.scope}: {clean(hold.reason, 400)}", fg="red")
    still = sum(action.open for action in actions)
    yield f"{len(actions)} action{'' if len(actions) == 1 else 's'}, {still} still open"


def _colour(state: str) -> str:
    return {"final_ok": "green", "mined": "cyan"}.get(state, "yellow")


def _time(at_s: int) -> str:
    """Chain time, in UTC."""
    import datetime as dt

    return dt.datetime.fromtimestamp(at_s, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
