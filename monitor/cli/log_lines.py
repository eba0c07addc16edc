"""`--log-json`: what a daemon says, as one object of schema `levmon.log/1` a line, for journald and log collectors.

Only what changes is said, as in the lines for people, and now and then that all is as it was; `--json` beside it is for
programs that want every position at every block.
"""

from __future__ import annotations

import json
import time
from typing import Any

import click

from monitor.cli import screen, table
from monitor.cli.sinks import Sink, events
from monitor.core.text import clean
from monitor.core.types import Level
from monitor.pipeline.watch import Tick
from monitor.report import Report

SEVERITY = {Level.CRITICAL: "critical", Level.UNKNOWN: "warn", Level.WARN: "warn"}


def entry(kind: str, text: str, severity: str = "info", **fields: Any) -> str:
    """One line; its time is this machine's, in UTC."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    head = {"schema": "levmon.log/1", "time": at, "severity": severity, "kind": kind}
    return json.dumps({**head, **fields, "text": click.unstyle(text)}, separators=(",", ":"))


def say(text: str) -> None:
    """Something about the run itself, on standard error like the plain one."""
    click.echo(entry("run", clean(text, 1000)), err=True)


class LogLines(Sink):
    """Changes of levels and of the chain, and a summary every so many seconds."""

    def __init__(self, heartbeat_s: float) -> None:
        super().__init__()
        self._heartbeat_s = heartbeat_s
        self.idle_s = max(heartbeat_s, 1.0)
        self._told_at = float("-inf")
        self._came_at = time.monotonic()

    def idle(self) -> None:
        quiet_s = int(time.monotonic() - self._came_at)
        text = f"no new block for {quiet_s} s; {table.summary(list(self._newest.values()))}"
        screen.log(entry("summary", text, "warn", quiet_s=quiet_s))

    def _render(self, chain: str, tick: Tick, before: dict[str, Report]) -> None:
        number = str(tick.snapshot.block.number) if tick.snapshot.block else None
        at: dict[str, Any] = {"chain": chain, "block": number}
        lines = [entry("chain", text, "warn", **at) for text in events(tick)]
        for report in sorted(tick.snapshot.reports, key=table.urgency):
            was = before.get(report.id)
            level = Level.OK if was is None else was.level
            if report.level is not level:
                lines.append(_change(report, None if was is None else level, at))
        self._came_at = now = time.monotonic()
        if lines or now - self._told_at >= self._heartbeat_s:
            self._told_at = now
            lines.append(entry("summary", table.summary(tick.snapshot.reports), skipped=tick.skipped, **at))
            screen.log("\n".join(lines))


def _change(report: Report, was: Level | None, at: dict[str, Any]) -> str:
    fields = {
        "position": report.id,
        "market": clean(report.subject.market, 100),
        "name": clean(report.subject.name, 100),
        "was": None if was is None else was.value,
        "level": report.level.value,
        "health": report.to_dict()["health"]["factor"],
    }
    return entry("level", report.cause, SEVERITY.get(report.level, "info"), **at, **fields)
