"""`levmon alerts test|list`: whether channels work, and what was told, waits, or cannot be told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import config_option, json_option
from monitor.core.errors import ConfigError

if TYPE_CHECKING:
    from monitor.alerts.channel import Channel
    from monitor.core.alerting import AlertsConfig
    from monitor.journal.view import JournalView, Standing

FAILED = 4


@click.group("alerts")
def command() -> None:
    """Try the channels of [alerts], and see what was told."""


@command.command("test")
@click.option("--channel", metavar="NAME", help="Only this channel.  [default: all]")
@config_option
@json_option
def test(channel: str | None, config_file: Path | None, as_json: bool) -> int:
    """Send a marked test message to each channel, and say what became of it.

    Exit code 4 if a channel did not take it.
    """
    from monitor.alerts.setup import channels_of

    alerts, _ = _alerts(config_file)
    results = asyncio.run(_try(channels_of(alerts, channel)))
    for name, error, took_ms in results:
        if as_json:
            told = {"schema": "levmon.channel/1", "channel": name, "delivered": not error, "error": error}
            click.echo(json.dumps({**told, "took_ms": took_ms}, separators=(",", ":")))
        else:
            click.echo(f"{name}: {f'failed: {error}' if error else f'delivered in {took_ms} ms'}")
    return FAILED if any(error for _, error, _ in results) else 0


async def _try(channels: list[Channel]) -> list[tuple[str, str, int]]:
    return list(await asyncio.gather(*map(_one, channels)))


async def _one(channel: Channel) -> tuple[str, str, int]:
    """Name, error or "", milliseconds."""
    from monitor.alerts.channel import Letter, Undelivered

    began, error = time.monotonic(), ""
    key = f"test/{time.time_ns()}"
    text = "This is a test by `levmon alerts test`. Nothing has happened and nothing is to be done."
    content = {"schema": "levmon.test/1", "key": key, "severity": "info", "text": text}
    try:
        await channel.port.send(Letter(key, "levmon TEST", text, "info", content))
    except Undelivered as failed:
        error = failed.message
    finally:
        await channel.port.close()
    return channel.name, error, int((time.monotonic() - began) * 1000)


@command.command("list")
@click.option("--last", type=click.IntRange(1), default=50, show_default=True, help="Only so many alerts, the newest.")
@config_option
@json_option
def listing(last: int, config_file: Path | None, as_json: bool) -> None:
    """How each channel fares, and the newest alerts: pending with their age, delivered, or withdrawn. Asks nobody."""
    from monitor.alerts.render import headline, rests
    from monitor.alerts.setup import wants_of
    from monitor.cli.screen import echo

    if as_json:
        for one in told(config_file, last):
            click.echo(json.dumps(one, separators=(",", ":")))
        return
    alerts, path = _alerts(config_file)
    now_s = int(time.time())
    lines: list[str] = []
    for name, view in _journals(alerts, path, config_file):
        standing = view.alerts(wants_of(alerts), last)
        lines += [f"{name}:", *(f"  {line}" for line in _fares(standing, now_s))]
        for alert in standing.alerts:
            age = f"{max(now_s - (alert.seen_s or now_s), 0)} s"
            waits = standing.waiting.get(alert.id, ())
            state = (
                f"pending {age} for {', '.join(waits)}" if waits else "open" if alert.id in standing.open else "told"
            )
            lines.append(f"  {alert.id:>6}  {state:<24} {headline(alert)}  ({rests(alert)})")
    echo(lines or ["no alerts yet"])


def told(config_file: Path | None, last: int) -> list[dict[str, Any]]:
    """Objects of the schemas `levmon.channel/1` and `levmon.alert.listed/1`, by journal. May raise: ConfigError."""
    from monitor.alerts.render import listed
    from monitor.alerts.setup import wants_of

    alerts, path = _alerts(config_file)
    found: list[dict[str, Any]] = []
    for name, view in _journals(alerts, path, config_file):
        standing = view.alerts(wants_of(alerts), last)
        found += [
            {"schema": "levmon.channel/1", "journal": name, **channel}
            for channel in _channels(standing, int(time.time()))
        ]
        for alert in standing.alerts:
            waits = list(standing.waiting.get(alert.id, ()))
            found.append({"schema": "levmon.alert.listed/1", "journal": name, **listed(alert), "waits_for": waits})
    return found


def _channels(standing: Standing, now_s: int) -> Iterator[dict[str, Any]]:
    for one in standing.channels:
        since_s = one.failing_since_s
        yield {
            "channel": one.name,
            "pending": standing.pending.get(one.name, 0),
            "failing_s": None if since_s is None else str(now_s - since_s),
            "failures": one.failures,
            "error": one.error,
            "delivered_s": None if one.delivered_s is None else str(one.delivered_s),
        }


def _fares(standing: Standing, now_s: int) -> Iterator[str]:
    for one in _channels(standing, now_s):
        state = f"failing for {one['failing_s']} s: {one['error']}" if one["failures"] else "well"
        yield f"channel {one['channel']}: {one['pending']} pending; {state}"


def _alerts(config_file: Path | None) -> tuple[AlertsConfig, Path]:
    from monitor.cli.guarding import config_of

    config, path = config_of(config_file)
    if config.alerts is None or not config.alerts.channels:
        raise ConfigError("no channel is configured", hint="add [[alerts.channels]] to levmon.toml; see the README")
    return config.alerts, path


def _journals(alerts: AlertsConfig, path: Path, config_file: Path | None) -> Iterator[tuple[str, JournalView]]:
    """The guardian's journal and that of who only looks, as far as they exist."""
    from monitor.cli.guarding import config_of, guardian_of
    from monitor.cli.telling import journal_url
    from monitor.journal.view import JournalView

    config, _ = config_of(config_file)
    if config.guardian is not None:
        yield config.guardian.journal, JournalView(guardian_of(config, path).journal_url)
    yield alerts.journal, JournalView(journal_url(alerts, path.absolute().parent))
