from __future__ import annotations

import json
import re
from typing import Any

import pytest

from monitor.alerts.render import BODY, chat, letter, urgency
from monitor.core.types import Level
from monitor.journal.rows import Alert, Severity

HOSTILE = "**@everyone** [x](https://evil.example/a) <b>`_&\x1b]8;;\x07\u202e\u0000# ~|" + "A" * 20_000
OWNER = "0x000000000000000000000000000000000000dEaD"


def alert(number: int = 1, kind: str = "level", **detail: Any) -> Alert:
    severity = detail.pop("severity", Severity.CRITICAL)
    body = detail.pop("body", "ok -> critical: health is below 1.1")
    full = {"position": f"eip155:1/aave-v3/0xm/{OWNER}", "was": "ok", "level": "critical", **detail}
    return Alert(
        number,
        number,
        f"k/{number}",
        severity,
        OWNER,
        body,
        0,
        kind,
        json.dumps(full),
        1,
        20_000_000,
        "0xb",
        "provisional",
    )


def test_one_alert_says_what_happened_what_levmon_does_and_what_to_do() -> None:
    made = letter(
        "abcdef0123456789",
        [
            alert(
                market="core",
                name="treasury",
                health="1.0512",
                before="1.3120",
                nearest="liquidated when WETH alone falls to 1800 (-4.9 %)",
                does="rescues below 1.15, to 1.4",
                advice="repay debt or add collateral now",
            )
        ],
    )
    assert made.title == "levmon CRITICAL: treasury in core is critical, health 1.0512"
    for said in (
        "health 1.3120 → 1.0512",
        "falls to 1800",
        "levmon: rescues below 1.15, to 1.4",
        "You: repay debt or add collateral now",
        "provisional: block 20000000 of chain 1 may still be reorganised",
        "ref abcdef01",
    ):
        assert said in made.body
    assert made.content["alerts"][0]["block"] == {"chain_id": 1, "number": "20000000", "hash": "0xb"}


def test_a_rescue_is_told_with_its_amount_and_health() -> None:
    told = alert(
        kind="action",
        state="mined",
        body="mined: in block 5",
        action="aave-v3/repay",
        symbol="USDC",
        decimals=6,
        amount="4000500000",
        before=["105", "100"],
        expected=["14", "10"],
        cause="health was below 1.15",
        tx="0x" + "ab" * 32,
        was=None,
        level=None,
    )
    made = letter("k" * 16, [told])
    assert "the rescue is in a block" in made.title
    for said in (
        "What: repay 4000.5 USDC",
        "Health: 1.0500 → 1.4000 expected",
        "Why: health was below 1.15",
        "0xabab",
    ):
        assert said in made.body


@pytest.mark.parametrize("field", ["name", "market", "nearest", "symbol", "cause", "does", "position", "health"])
def test_no_name_means_anything_to_a_chat_or_a_terminal(field: str) -> None:
    detail: dict[str, Any] = {"state": "mined", "action": "a/repay", "amount": "1", "symbol": "T", field: HOSTILE}
    for kind in ("level", "action", "reminder", "correction"):
        made = letter("k" * 16, [alert(kind=kind, body=HOSTILE, **detail)])
        many = letter("k" * 16, [alert(n, kind=kind, body=HOSTILE, **detail) for n in range(9)])
        for text in (made.title, made.body, many.title, many.body):
            assert not re.search(r"[*`\[\]<>@#~|&\x00-\x09\x0b-\x1f\u202e]", text)
            assert "://" not in text
            assert "evil.example" not in text
            assert len(text) < BODY + 200
        told = json.dumps(made.content)
        assert "\\u202e" not in told
        assert len(told) < 20_000


def test_chat_leaves_plain_text_alone() -> None:
    plain = "health 1.0512 is below 1.1; levmon plan core/0xdead (-4.9 %), block 20000000"
    assert chat(plain) == plain
    assert chat("final_ok") == "final_ok"
    assert chat("_x_ __y__") == "ˍxˍ ˍˍyˍˍ"


def test_better_and_unknown_are_in_their_place() -> None:
    recovered = alert(1, was="critical", level="ok")
    critical, lower = alert(2, health="1.05"), alert(3, health="1.01")
    unknown = alert(4, level=Level.UNKNOWN.value)
    warn = alert(5, level="warn", severity=Severity.WARN)
    ranked = sorted([recovered, critical, lower, unknown, warn], key=urgency)
    assert [one.id for one in ranked] == [4, 3, 2, 1, 5]
    assert "recovered" in letter("k" * 16, [recovered]).title


def test_a_plain_letter_is_short_and_ascii_but_keeps_its_key() -> None:
    made = letter("k" * 16, [alert(n, name="Ünïcode") for n in range(50)], plain=True)
    assert made.body.isascii()
    assert made.title.isascii()
    assert len(made.title + made.body) < 160
    assert made.key == "k" * 16
    assert "50 alerts, worst critical" in made.title


def test_many_causes_are_bounded() -> None:
    made = letter("k" * 16, [alert(n, kind="hold", body=f"reason {n} " + "x" * 200, was=None) for n in range(500)])
    assert len(made.body) < 2000
    assert made.content["count"] == 500
    assert made.content["more"] == 400
