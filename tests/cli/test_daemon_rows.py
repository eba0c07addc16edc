"""Rows P23 to P25: a daemon that cannot go on ends, and one that the machine does not grant enough does not begin."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from monitor.cli import newest, resources
from monitor.cli.protect_events import Events
from monitor.cli.sinks import JsonLines, Lines
from monitor.core.errors import ChainError, ConfigError
from monitor.core.types import BlockRef
from monitor.pipeline.snapshot import Snapshot
from monitor.pipeline.watch import Tick
from monitor.pipeline.watchdog import EXIT_CODE, Watchdog
from tests.execution.test_process_rows import in_child
from tests.faults.lab import Lab, outcome
from tests.faults.rows import row


@row(
    "P23",
    "a blocked event loop ends the process, and says where it was",
    "a watchdog",
)
def test_blocked_loop(folder: Path, off: str | None) -> None:
    said = folder / "stderr"

    def work() -> None:
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT, 0o600), 2)

        async def block() -> None:
            async with Watchdog(0.2 if off is None else 60):
                await asyncio.sleep(0.3)  # it comes round
                end = time.monotonic() + 1.5
                while time.monotonic() < end:
                    pass

        asyncio.run(block())
        os._exit(0)

    assert in_child(work) == EXIT_CODE
    told = said.read_text()
    assert "the event loop has been blocked" in told
    assert "in block" in told


async def test_a_loop_that_was_stopped_is_not_blocked() -> None:
    """SIGSTOP, a suspended machine: the watchdog's own thread did not run either."""
    ended: list[str] = []
    now = [0.0]

    class Clock:
        def monotonic(self) -> float:
            now[0] += 1000.0  # between any two looks a long time has passed
            return now[0]

        def time(self) -> float:
            return 0.0

        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(3600)

    async with Watchdog(0.04, end=ended.append, clock=Clock()):
        await asyncio.sleep(0.1)
    assert ended == []


class Chain:
    """Looks for new blocks until a bug ends it."""

    def heads(self, _: float | None) -> Chain:
        return self

    async def events(self) -> AsyncIterator[Any]:
        for number in (1, 0):
            yield 1 // number


async def patient(_: newest.Newest, __: float) -> None:
    """Waits for ever for somebody who has gone."""
    await asyncio.sleep(0)


@row(
    "P23",
    "a task that dies silently is noticed within a tick, and ends the command with an error",
    "monitor.cli.newest:next_head",
    careless=patient,
)
async def test_silent_task() -> None:
    chain: Any = Chain()
    async with newest.newest_heads(chain, None) as heads:
        seen = []
        for _ in range(3):
            try:
                seen.append(await newest.next_head(heads, 0.5))
            except ZeroDivisionError:
                return
        raise AssertionError(f"nobody noticed: {seen}")


def no_check(_: int) -> None:
    pass


def only_echo(text: str) -> None:
    click.echo(text)


@row(
    "P24",
    "the disk under the output is full: what cannot be said is lost, and the daemon goes on",
    "monitor.cli.screen:log",
    limit="levmon keeps no log file: rotating is for whoever keeps the output",
    careless=only_echo,
)
def test_full_log_disk() -> None:
    def work() -> None:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  # a buffer of its own, as after a start
        chain: Any = SimpleNamespace(name="local")
        tick = Tick(Snapshot(None, (), {}), trouble=ChainError("no head"))
        for events in (Events(True, JsonLines()), Events(False, Lines(0))):
            for _ in range(2000):  # far more than any buffer holds
                events.note(chain, "rules", "were read anew")
                events.alerts("all is well")
                events.show(chain, tick)
            events.lines.idle()
        os._exit(42)

    assert in_child(work) == 42


@row(
    "P25",
    "too few open files: it says so at the start, or takes what it may",
    "monitor.cli.resources:require_files",
    careless=no_check,
)
def test_ulimit() -> None:
    def refused() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        try:
            resources.require_files(3)
        except ConfigError as error:
            os._exit(42 if "ulimit -n 112" in error.hint else 1)
        os._exit(1)

    def raised() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256))
        resources.require_files(3)
        os._exit(42 if resource.getrlimit(resource.RLIMIT_NOFILE) == (112, 256) else 1)

    assert in_child(refused) == 42
    assert in_child(raised) == 42


@row(
    "P25",
    "too little memory (ulimit -v): it says so at the start, or takes what it may",
    "monitor.cli.resources:require_memory",
    careless=lambda: None,
)
def test_ulimit_of_memory() -> None:
    def limited(soft: int, hard: int) -> None:
        resources.MEMORY_MIB = 64 << 10  # so that the limits are far from what this process has already
        resource.setrlimit(resource.RLIMIT_AS, (soft << 30, hard << 30))

    def refused() -> None:
        limited(32, 48)
        try:
            resources.require_machine(1)
        except ConfigError as error:
            os._exit(42 if "ulimit -v 67108864" in error.hint else 1)
        os._exit(1)

    def raised() -> None:
        limited(32, 128)
        resources.require_machine(1)
        os._exit(42 if resource.getrlimit(resource.RLIMIT_AS) == (64 << 30, 128 << 30) else 1)

    assert in_child(refused) == 42
    assert in_child(raised) == 42


@row(
    "P25",
    "no file can be opened any more: the chain is unreadable until one can",
    limit="the operating system refuses",
)
async def test_out_of_files(lab: Lab) -> None:
    [proxy] = await lab.proxies()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208  # no file system is behind it
    holes = [os.open("/dev/null", os.O_RDONLY) for _ in range(opened)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(holes), before[1]))
        chain = lab.chain(proxy)
        error = await outcome(chain.block("latest"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for fd in holes:
            os.close(fd)
    assert isinstance(error, ChainError)
    assert isinstance(await outcome(chain.block("latest")), BlockRef)
