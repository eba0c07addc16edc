"""[alerts] of levmon.toml: which channels are told what, and what happens when nobody can be told.

URLs and secrets come by `${ENV}` or from files, and never show. Whether Apprise knows a URL is found out where the
channel is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from monitor.core.errors import ConfigError
from monitor.core.secret import Secret, channel_url
from monitor.core.toml_model import Database, Name, Table, lift

Mistake = tuple[tuple[str | int, ...], str, str]
"""Where, what, and how to mend it."""

EventKind = Literal["level", "action", "hold", "allowance", "channel", "run", "heartbeat"]
EVENTS: tuple[EventKind, ...] = ("level", "action", "hold", "allowance", "channel", "run", "heartbeat")
SECRET_LEAST = 16


def _url(value: object) -> Secret:
    if not isinstance(value, str):
        raise ValueError("not a URL\nwrite it as text in quotes")  # noqa: TRY004  # pydantic collects ValueError
    made: Secret = lift(channel_url, value)
    return made


def _secret(value: object) -> Secret:
    if not isinstance(value, str) or len(value.strip()) < SECRET_LEAST:
        raise ValueError(f"a secret has at least {SECRET_LEAST} characters\nput a random one into secret_file")
    return Secret(value.strip())


class ChannelConfig(Table):
    """One channel. With a secret it is a signed webhook, otherwise `url` is Apprise's.

    `events`: what it is told about, none: only what is escalated. `finality = "final"`: only what no reorganisation
    can change.
    """

    name: Name
    url: Annotated[Secret, BeforeValidator(_url)] | None = None
    url_file: str | None = None
    secret: Annotated[Secret, BeforeValidator(_secret)] | None = None
    secret_file: str | None = None
    min_severity: Literal["info", "warn", "critical"] = "warn"
    events: Annotated[tuple[EventKind, ...], Field(strict=False)] = EVENTS
    finality: Literal["provisional", "final"] = "provisional"


class AlertsConfig(Table):
    """All channels. `journal`: where alerts are kept by commands that do not act; those that act use the guardian's.

    `group_s`: at most three messages to a channel in so many seconds. `heartbeat_s` 0: none. What is critical and was
    told to nobody, or has not ended, after `escalation_s` goes to `escalate_to`.
    """

    channels: Annotated[tuple[ChannelConfig, ...], Field(strict=False)] = ()
    journal: Database = "alerts.db"
    group_s: Annotated[int, Field(ge=1, le=3600)] = 30
    heartbeat_s: Annotated[int, Field(ge=0, le=7 * 86_400)] = 0
    escalation_s: Annotated[int, Field(ge=10, le=86_400)] = 600
    escalate_to: str | None = None


def check(alerts: AlertsConfig | None) -> Iterator[Mistake]:
    """What no single field can know."""
    if alerts is None:
        return
    names: set[str] = set()
    for index, channel in enumerate(alerts.channels):
        path = ("alerts", "channels", index)
        if channel.name in names:
            yield ((*path, "name"), f"a channel {channel.name!r} is already there", "give it another name")
        names.add(channel.name)
        if channel.url is None:
            yield (path, "no url", 'add url = "${NAME}" or url_file = "..." to this table')
        elif channel.secret is not None and not channel.url.shown.startswith("http"):
            yield ((*path, "url"), "a signed webhook has an http(s) URL", "remove the secret, or change the URL")
    if alerts.escalate_to is not None and alerts.escalate_to not in names:
        known = ", ".join(sorted(names)) or "none"
        yield (("alerts", "escalate_to"), f"unknown channel {alerts.escalate_to!r}", f"known: {known}")
    if alerts.heartbeat_s and not any("heartbeat" in channel.events for channel in alerts.channels):
        yield (("alerts", "heartbeat_s"), "no channel wants heartbeats", 'add "heartbeat" to the events of one')


SECRET_FILES = (("url_file", "url"), ("secret_file", "secret"))
"""Which key names a file, and which other key its content stands for."""


def parse_secret(key: str, text: str) -> None:
    """Whether the text of a file can stand for that key. May raise: ConfigError."""
    if key == "url":
        channel_url(text)
    elif len(text.strip()) < SECRET_LEAST:
        raise ConfigError(f"a secret has at least {SECRET_LEAST} characters", hint="put a random one into the file")
