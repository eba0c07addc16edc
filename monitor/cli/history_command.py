"""`levmon history`: what the journal holds, told as a story: each decision, why, and every transaction made for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import config_option, json_option

if TYPE_CHECKING:
    from monitor.journal.rows import Action, Hold, Record


@click.command("history")
@click.argument("position", required=False, metavar="[POSITION]")
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="Only so many actions, the newest.")
@config_option
@json_option
def command(position: str | None, last: int, config_file: Path | None, as_json: bool) -> None:
    """Decisions, actions and transactions, from the journal, oldest first. Asks no node.

    POSITION is an id, MARKET/OWNER, an owner's address or label; without it all are told. May be run beside `protect`.
    """
    from monitor.cli.guarding import config_of, guardian_of
    from monitor.cli.screen import echo, width
    from monitor.journal.view import JournalView

    config, path = config_of(config_file)
    view = JournalView(guardian_of(config, path).journal_url)
    actions = [action for action in view.actions() if position is None or _fits(action, position, config)][-last:]
    holds = view.holds() if position is None else ()
    if as_json:
        for action in actions:
            click.echo(json.dumps(action_dict(action, view.records(action.id)), separators=(",", ":")))
        for hold in holds:
            told = {"schema": "levmon.hold/1", "scope": hold.scope, "reason": hold.reason}
            click.echo(json.dumps(told, separators=(",", ":")))
        return
    lines: list[str] = []
    for action in actions:
        lines += [*_story(action, view.records(action.id), width()), ""]
    echo([*lines, *_foot(actions, holds)])


def _fits(action: Action, position: str, config: Any) -> bool:
    from monitor.core.errors import ConfigError

    market, _, owner = position.rpartition("/")
    try:
        owner = config.owner(owner)
    except ConfigError:
        return False
    if not action.position_id.lower().endswith(f"/{owner.lower()}"):
        return False
    if not market:
        return True
    named = next((one for one in config.markets if one.name == market), None)
    head = str(config.ref(named)) if named is not None else market
    return action.position_id.lower().startswith(f"{head}/".lower())


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
