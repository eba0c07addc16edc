"""Alerts as text. Pure: from rows of the outbox to a title and a body, one alert in full, many by cause, worst first.

Whatever a token, a node or a channel chose to call itself is cleaned; `chat` makes a text mean nothing to the markup of
chat services, which differ, so that what they would read as markup is replaced by characters that look alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from monitor.alerts.channel import Letter
from monitor.core.text import clean
from monitor.core.types import Level
from monitor.core.units import format_ratio, format_units
from monitor.journal.outbox import OUTCOME, RANK
from monitor.journal.rows import Alert
from monitor.policy.levels import URGENCY

SCHEMA = "levmon.alert/1"
FEW = 3
"""So many alerts are told in full; more are grouped."""
GROUPS = 8
SAMPLES = 3
LISTED = 100
"""So many alerts of a group are listed for programs; the journal has all."""
LINE, BODY = 300, 1800
"""Characters; the smallest chat service takes 2,000."""

_LOOK_ALIKE = str.maketrans(
    {"*": "∗", "`": "ˋ", "[": "［", "]": "］", "<": "‹", ">": "›", "@": "＠", "#": "＃", "~": "∼", "|": "¦", "&": "＆"}
)
_DOMAIN = re.compile(r"(?<=\w)\.(?=[^\W\d_]{2,})")
_LINK = re.compile(r"(?<=\w):(?=/)")
_EMPHASIS = re.compile(r"__+|(?<!\w)_|_(?!\w)")

ACTIONS = ("action", OUTCOME)
STATES = {
    "planned": "a rescue was decided",
    "armed": "the rescue has its budget and nonce",
    "signed": "the rescue is signed",
    "broadcast": "the rescue was sent",
    "mined": "the rescue is in a block",
    "cancelling": "the rescue is being cancelled",
    "foreign_nonce": "somebody else used the key's nonce",
    "quarantined": "the rescue needs a person",
    "final_ok": "the rescue succeeded, for good",
    "final_reverted": "the rescue failed: it reverted",
    "final_cancelled": "the rescue was cancelled",
    "closed_noop": "the rescue was not needed any more",
    "closed_expired": "the rescue came too late and was not sent",
    "closed_rejected": "the rescue was not sent",
}
ADVICE = {
    "foreign_nonce": "You: find out who else has this key; then levmon resume.",
    "quarantined": "You: read levmon history, then levmon resume.",
    "final_reverted": "You: read levmon history; act by hand if health is still low.",
    "closed_expired": "You: act by hand if health is still low.",
    "closed_rejected": "You: act by hand if health is still low; levmon plan says what is possible.",
}


def letter(key: str, alerts: Sequence[Alert], *, plain: bool = False, worst_first: bool = True) -> Letter:
    """One message of these alerts. `plain`: ASCII and short, for a channel that refused the full text."""
    ranked = sorted(alerts, key=urgency) if worst_first else list(alerts)
    severity = max((alert.severity for alert in alerts), key=RANK.__getitem__)
    if len(ranked) <= FEW:
        title = _title(ranked)
        body = "\n\n".join("\n".join(_full(alert)) for alert in ranked)
    else:
        title = f"{_counts(ranked)}"
        body = "\n".join(_grouped(ranked))
    body = f"{_cut(body)}\nref {key[:8]}"
    content = _content(key, title, body, ranked, severity.value)
    if plain:
        title = f"levmon: {len(ranked)} alerts, worst {severity.value}"
        body = f"The full text was refused. See: levmon alerts list. ref {key[:8]}"
    return Letter(key, chat(f"levmon {title}" if not plain else title), chat(body), severity.value, content)


def urgency(alert: Alert) -> tuple[int, int, int, Fraction, int]:
    """Worst first: by severity, what got worse before what got better, unknown before critical, lowest health first."""
    detail = json.loads(alert.detail)
    level = detail.get("level") if alert.kind == "level" else None
    place = [one.value for one in URGENCY].index(level) if level in {one.value for one in URGENCY} else 0
    return (-RANK[alert.severity], int(better(detail)), place, _number(detail.get("health")), alert.id)


def better(detail: dict[str, Any]) -> bool:
    """Whether a level change is one for the better."""
    was, now = detail.get("was"), detail.get("level")
    if was is None or now is None:
        return False
    return URGENCY.index(Level(now)) > URGENCY.index(Level(was))


def chat(text: str) -> str:
    """Text that no chat service takes for markup, a mention or a link."""
    lines = text.replace("->", "→").translate(_LOOK_ALIKE).splitlines()
    for pattern, instead in ((_DOMAIN, "․"), (_LINK, "：")):
        lines = [pattern.sub(instead, line) for line in lines]
    return "\n".join(_EMPHASIS.sub(lambda found: "ˍ" * len(found[0]), line) for line in lines)


# -- one alert ---------------------------------------------------------------------------------------------------------


def _title(alerts: Sequence[Alert]) -> str:
    first = headline(alerts[0])
    return first if len(alerts) == 1 else f"{first} (and {len(alerts) - 1} more)"


def headline(alert: Alert) -> str:
    """One line: how loud, who, what."""
    detail = json.loads(alert.detail)
    loud = alert.severity.value.upper()
    if alert.kind == "correction":
        return f"CORRECTION: {_who(alert, detail)}"
    if alert.kind == "reminder":
        return f"{loud}: still {_word(detail, 'level')}, {_who(alert, detail)}"
    if alert.kind == "level":
        health = f", health {_word(detail, 'health')}" if detail.get("health") else ""
        told = "recovered" if better(detail) else loud
        return f"{told}: {_who(alert, detail)} is {_word(detail, 'level')}{health}"
    if alert.kind in ACTIONS and detail.get("state"):
        return f"{loud}: {STATES.get(str(detail['state']), _word(detail, 'state'))}, {_who(alert, detail)}"
    return f"{loud}: {_line(alert.body, 120)}"


def _who(alert: Alert, detail: dict[str, Any]) -> str:
    """A position as people know it, by its name where it has one."""
    market = clean(str(detail.get("market") or ""), 60)
    owner = clean(str(detail.get("name") or ""), 60) or _short(str(detail.get("position") or alert.subject))
    return f"{owner} in {market}" if market else owner


def _short(position: str) -> str:
    owner = position.rpartition("/")[2]
    return f"{owner[:8]}…{owner[-6:]}" if re.fullmatch(r"0x[0-9a-fA-F]{40}", owner) else clean(position, 100)


def _full(alert: Alert) -> Iterator[str]:
    detail = json.loads(alert.detail)
    yield headline(alert)
    if alert.kind in ACTIONS and detail.get("state"):
        yield from _action(alert, detail)
    else:
        yield _line(alert.body)
    if detail.get("before") and alert.kind == "level":
        yield f"health {_word(detail, 'before')} -> {_word(detail, 'health') or 'unknown'}"
    for label, key in (("", "nearest"), ("levmon: ", "does"), ("You: ", "advice")):
        if detail.get(key):
            yield f"{label}{_line(str(detail[key]))}"
    if detail.get("position"):
        yield clean(str(detail["position"]), 160)
    yield rests(alert)


def _action(alert: Alert, detail: dict[str, Any]) -> Iterator[str]:
    state = str(detail["state"])
    yield _line(alert.body.removeprefix(f"{state}: "))
    if detail.get("cause"):
        yield f"Why: {_line(str(detail['cause']))}"
    kind = str(detail.get("action") or "").rpartition("/")[2]
    amount = str(detail.get("amount") or "")
    if kind and detail.get("symbol") and amount.isdecimal():
        yield f"What: {clean(kind, 40)} {format_units(int(amount), int(detail.get('decimals') or 0))} " + clean(
            str(detail["symbol"])
        )
    before, expected = _ratio(detail.get("before")), _ratio(detail.get("expected"))
    if before or expected:
        yield f"Health: {before or 'unknown'} -> {expected or 'without debt'} expected"
    if detail.get("tx"):
        yield f"Transaction {clean(str(detail['tx']), 70)}"
    if state in ADVICE:
        yield ADVICE[state]


def rests(alert: Alert) -> str:
    """The block an alert rests on, and whether that may still change."""
    if alert.block_number is None:
        return "final"
    where = f"block {alert.block_number} of chain {alert.chain_id}"
    told = {"provisional": f"provisional: {where} may still be reorganised", "final": f"final: {where}"}
    return told.get(alert.standing, f"withdrawn: {where} has left the chain")


# -- many alerts -------------------------------------------------------------------------------------------------------


def _counts(alerts: Sequence[Alert]) -> str:
    parts = [
        f"{count} {severity.value}"
        for severity in sorted(RANK, key=RANK.__getitem__, reverse=True)
        if (count := sum(alert.severity is severity for alert in alerts))
    ]
    return f"{len(alerts)} alerts: {', '.join(parts)}"


def _grouped(alerts: Sequence[Alert]) -> Iterator[str]:
    """By cause, in the order of the worst of each."""
    groups: dict[str, list[Alert]] = {}
    for alert in alerts:
        groups.setdefault(_cause(alert), []).append(alert)
    for cause, inside in list(groups.items())[:GROUPS]:
        yield f"{len(inside)} x {cause}"
        for alert in inside[:SAMPLES]:
            yield f"  {_sample(alert)}"
        if len(inside) > SAMPLES:
            yield f"  and {len(inside) - SAMPLES} more"
    if len(groups) > GROUPS:
        rest = sum(len(inside) for inside in list(groups.values())[GROUPS:])
        yield f"and {rest} more of {len(groups) - GROUPS} other causes"
    yield "All of them: levmon alerts list"


def _cause(alert: Alert) -> str:
    detail = json.loads(alert.detail)
    if alert.kind == "level":
        told = "recovered to" if better(detail) else "now"
        return f"{told} {_word(detail, 'level')}: {_line(str(detail.get('cause') or ''), 120)}"
    if alert.kind in ACTIONS and detail.get("state"):
        return STATES.get(str(detail["state"]), _word(detail, "state"))
    if alert.kind == "correction":
        return f"correction: block {alert.body.split()[1] if alert.body.startswith('block ') else ''} left the chain"
    return f"{alert.kind}: {_line(alert.body, 120)}"


def _sample(alert: Alert) -> str:
    detail = json.loads(alert.detail)
    return _who(alert, detail) + (f", health {_word(detail, 'health')}" if detail.get("health") else "")


# -- for programs ------------------------------------------------------------------------------------------------------


def _content(key: str, title: str, body: str, alerts: Sequence[Alert], severity: str) -> dict[str, Any]:
    """The object of schema `levmon.alert/1`. `alerts` are the worst, `more` how many are not listed."""
    return {
        "schema": SCHEMA,
        "key": key,
        "severity": severity,
        "title": title,
        "text": body,
        "count": len(alerts),
        "more": max(len(alerts) - LISTED, 0),
        "alerts": [listed(alert) for alert in alerts[:LISTED]],
    }


def listed(alert: Alert) -> dict[str, Any]:
    """One alert for programs; texts are cleaned, numbers of the chain are text."""
    block = None
    if alert.block_number is not None:
        block = {"chain_id": alert.chain_id, "number": str(alert.block_number), "hash": alert.block_hash}
    return {
        "key": alert.dedupe_key,
        "kind": alert.kind,
        "severity": alert.severity.value,
        "subject": clean(alert.subject, 200),
        "at_s": str(alert.at_s),
        "standing": alert.standing,
        "block": block,
        "text": _line(alert.body),
        "detail": {name: _cleaned(value) for name, value in json.loads(alert.detail).items()},
    }


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value, LINE)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return value


# -- words -------------------------------------------------------------------------------------------------------------


def _line(text: str, limit: int = LINE) -> str:
    return clean(" ".join(text[: 4 * limit].split()), limit)


def _word(detail: dict[str, Any], name: str) -> str:
    return clean(str(detail.get(name) or ""), 40)


def _cut(body: str) -> str:
    return body if len(body) <= BODY else f"{body[:BODY]}…\nthe rest: levmon alerts list"


def _ratio(value: Any) -> str:
    """Two integers as text, as a health of four places, never rounded up."""
    if not isinstance(value, list) or len(value) != 2:
        return ""
    numerator, denominator = int(value[0]), int(value[1])
    return format_ratio(numerator, denominator, 4) if denominator else ""


def _number(health: Any) -> Fraction:
    """Health for the order alone; what has none comes before what has."""
    try:
        return Fraction(str(health))
    except (ValueError, ZeroDivisionError):
        return Fraction(0)
