from __future__ import annotations

from pathlib import Path

import pytest

from monitor.alerts.notify import Notifier
from monitor.alerts.setup import channels_of, pace_of
from monitor.alerts.webhook import Webhook
from monitor.core.config import Config, parse
from monitor.core.errors import ConfigError
from monitor.journal.rows import Severity

CANARY = "c4n4ry-in-the-file"
GOOD = """
[alerts]
escalate_to = "pager"
heartbeat_s = 60

[[alerts.channels]]
name = "phone"
url = "${PHONE}"
events = ["level", "action"]

[[alerts.channels]]
name = "pager"
url_file = "pager.url"
secret_file = "pager.secret"
min_severity = "critical"
events = ["heartbeat"]
finality = "final"
"""


def read(text: str, base: Path) -> Config:
    return parse(text, env={"PHONE": f"json://127.0.0.1/{CANARY}"}, base=base)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "pager.url").write_text(f"https://pager.example/{CANARY}\n")
    (tmp_path / "pager.secret").write_text(f"{CANARY}-secret\n")
    return tmp_path


def test_channels_are_made_as_the_file_says(base: Path) -> None:
    config = read(GOOD, base)
    assert config.alerts is not None
    phone, pager = channels_of(config.alerts)
    assert isinstance(phone.port, Notifier)
    assert isinstance(pager.port, Webhook)
    assert phone.wants.kinds == {"level", "action", "outcome", "reminder"}
    assert (phone.wants.least, phone.wants.only_final, phone.wants.last_resort) == (Severity.WARN, False, False)
    assert pager.wants.kinds == {"heartbeat", "reminder"}
    assert (pager.wants.least, pager.wants.only_final, pager.wants.last_resort) == (Severity.CRITICAL, True, True)
    assert (phone.heartbeat, pager.heartbeat) == (False, True)
    assert pace_of(config.alerts).heartbeat_s == 60
    [only] = channels_of(config.alerts, "pager")
    assert only.name == "pager"
    with pytest.raises(ConfigError, match="no channel 'fax'"):
        channels_of(config.alerts, "fax")
    assert CANARY not in repr(config) + str(config) + repr(config.alerts.model_dump())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("heartbeat_s = 60", "hartbeat_s = 60", "did you mean 'heartbeat_s'"),
        ('events = ["heartbeat"]', 'evnts = ["heartbeat"]', "did you mean 'events'"),
        ('events = ["level", "action"]', 'events = ["levels"]', "alerts.channels[1].events"),
        ('name = "pager"', 'name = "phone"', "a channel 'phone' is already there"),
        ('escalate_to = "pager"', 'escalate_to = "fax"', "unknown channel 'fax'"),
        ('url = "${PHONE}"', "", "no url"),
        ('url = "${PHONE}"', 'url = "${NOBODY}"', "environment variable NOBODY is not set"),
        ('url = "${PHONE}"', f'url = "{CANARY}"', "not a usable URL"),
        ('url = "${PHONE}"', 'url = "${PHONE}"\nsecret = "sixteen letters .."', "has an http(s) URL"),
        ('url = "${PHONE}"', f'url = "${{PHONE}}"\nsecret = "{CANARY[:9]}"', "at least 16"),
        ('url_file = "pager.url"', 'url_file = "none.url"', "cannot read none.url"),
        ('url_file = "pager.url"', 'url_file = "pager.url"\nurl = "${PHONE}"', "both there"),
        ('min_severity = "critical"', 'min_severity = "loud"', "min_severity"),
        ('events = ["heartbeat"]', "events = []", "no channel wants heartbeats"),
        ("heartbeat_s = 60", "heartbeat_s = -1", "heartbeat_s"),
    ],
)
def test_every_mistake_is_told_with_its_line_and_no_secret(base: Path, old: str, new: str, said: str) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(ConfigError) as wrong:
        read(GOOD.replace(old, new), base)
    assert said in str(wrong.value)
    assert "levmon.toml:" in str(wrong.value)
    assert CANARY not in str(wrong.value)
    assert CANARY[:9] not in str(wrong.value)


def test_a_file_with_something_else_in_it_is_refused_unseen(base: Path) -> None:
    (base / "pager.url").write_text(f"{CANARY} is no url")
    (base / "pager.secret").write_text("short")
    with pytest.raises(ConfigError) as wrong:
        read(GOOD, base)
    assert "pager.url: not a usable URL" in str(wrong.value)
    assert "pager.secret: a secret has at least 16" in str(wrong.value)
    assert CANARY not in str(wrong.value)
