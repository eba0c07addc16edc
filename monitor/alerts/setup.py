"""Channels as levmon.toml describes them: a secret makes a signed webhook, anything else is Apprise's."""

from __future__ import annotations

from monitor.alerts.channel import Channel, Port
from monitor.alerts.notify import Notifier
from monitor.alerts.outbox import Pace
from monitor.alerts.webhook import Webhook
from monitor.core.alerting import AlertsConfig, ChannelConfig
from monitor.core.errors import ConfigError
from monitor.journal.outbox import OUTCOME, Wants
from monitor.journal.rows import Severity


def pace_of(config: AlertsConfig) -> Pace:
    return Pace(config.group_s, config.heartbeat_s, config.escalation_s)


def wants_of(config: AlertsConfig) -> list[Wants]:
    """What each channel is told, in the order of the file."""
    return [_wants(one, last_resort=one.name == config.escalate_to) for one in config.channels]


def channels_of(config: AlertsConfig, only: str | None = None) -> list[Channel]:
    """All channels, or the one of that name. May raise: ConfigError, which names the channel and no URL."""
    made = []
    for one, wants in zip(config.channels, wants_of(config), strict=True):
        if only is None or one.name == only:
            made.append(Channel(wants, _port(one), heartbeat="heartbeat" in one.events))
    if only is not None and not made:
        known = ", ".join(one.name for one in config.channels) or "none"
        raise ConfigError(f"no channel {only!r}", hint=f"known: {known}")
    return made


def _wants(config: ChannelConfig, *, last_resort: bool) -> Wants:
    kinds = {str(event) for event in config.events}
    if "level" in kinds or last_resort:
        kinds.add("reminder")
    if "action" in kinds:
        kinds.add(OUTCOME)
    only_final = config.finality == "final"
    return Wants(config.name, Severity(config.min_severity), frozenset(kinds), only_final, last_resort)


def _port(config: ChannelConfig) -> Port:
    if config.url is None:
        raise ConfigError(f"channel {config.name} has no url")
    if config.secret is not None:
        return Webhook(config.url, config.secret)
    return Notifier(config.url)
