"""Pages that are lists: what was done and why, what was told, and how levmon itself is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monitor.core.text import REASON_LIMIT, clean
from monitor.core.units import format_ratio
from monitor.web.behind import Endpoint
from monitor.web.board import Board
from monitor.web.portfolio import chains_part
from monitor.web.view import Templates, View

LONG = 600
DIGITS = 200


def actions(templates: Templates, found: Sequence[Mapping[str, Any]], holds: Sequence[Mapping[str, Any]]) -> View:
    """Each action with its way through the states, its transactions, and what was expected beside what came."""
    told = [_action(one) for one in reversed(found)]
    return View("list.html", "Actions", {"list": templates.fill("actions.html", actions=told, holds=holds)})


def _action(one: Mapping[str, Any]) -> dict[str, Any]:
    decision = one["decision"]
    return {
        **one,
        "verb": clean(one["kind"].rpartition("/")[2], 40),
        "why": [clean(str(decision[name]), LONG) for name in ("cause", "why") if decision.get(name)],
        "healths": _healths(one),
        "note": clean(one["note"], REASON_LIMIT),
        "steps": [
            {
                "at_s": int(record["at_s"]),
                "to": record.get("to", record["kind"]),
                "why": clean(record.get("why", ""), LONG),
            }
            for record in one["records"]
        ],
    }


def _healths(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Health at the decision, as it was expected, and as it came: the first look since the transaction was mined."""
    decision, after = one["decision"], one.get("outcome")
    came = ""
    if after is not None:
        health = _ratio([after["num"], after["den"]]) if after["num"] is not None else ""
        came = f"{health or ('no debt' if after['level'] == 'ok' else after['level'])} at block {after['block']}"
    elif one["mined"] is not None:
        came = "not looked at yet"
    before, expected = _ratio(decision.get("health_before")), _ratio(decision.get("health_expected"))
    told = [("at the decision", before), ("expected", expected), ("came", came)]
    return [(name, text) for name, text in told if text]


def _ratio(value: Any) -> str:
    """Of two integers in text; "" where it is none."""
    if not isinstance(value, list) or len(value) != 2 or not all(_integer(part) for part in value) or not int(value[1]):
        return ""
    return format_ratio(int(value[0]), int(value[1]), 4)


def _integer(text: Any) -> bool:
    return isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= DIGITS


def alerts(templates: Templates, found: Sequence[Mapping[str, Any]]) -> View:
    """Channels, and the newest alerts first."""
    channels = [one for one in found if one["schema"] == "levmon.channel/1"]
    told = [_alert(one) for one in reversed(found) if one["schema"] == "levmon.alert.listed/1"]
    return View("list.html", "Alerts", {"list": templates.fill("alerts.html", channels=channels, alerts=told)})


def _alert(one: Mapping[str, Any]) -> dict[str, Any]:
    return {name: clean(value, LONG) if isinstance(value, str) else value for name, value in one.items()}


def system(
    board: Board,
    templates: Templates,
    endpoints: Sequence[Endpoint],
    looked_s: int,
    findings: Sequence[Mapping[str, Any]],
) -> View:
    """Heads, endpoints by host, what happened to chains, and what doctor found."""
    parts = {
        "chains": chains_part(board, templates),
        "endpoints": templates.fill("endpoints.html", endpoints=endpoints, chains=list(board.chains.values())),
        "events": templates.fill(
            "events.html", events=[(one, clean(one.text, REASON_LIMIT)) for one in board.events[::-1]]
        ),
        "findings": templates.fill("findings.html", findings=findings, looked_s=looked_s),
    }
    return View("system.html", "System", parts)
