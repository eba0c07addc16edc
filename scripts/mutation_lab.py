"""Tries mutants inside one collected pytest session: a fork for each, with one function's code exchanged.

A baseline run learns how long each test takes and which functions of the modules it calls. A mutant then meets only the
tests that call the changed function, the quickest first, in a child forked after collection, so that a kill costs about
what one test costs. What is executed at import (constants, tables, default arguments) cannot be exchanged afterwards:
`patch` says so, and the caller imports the module anew. Limits are in CPU seconds, since a busy machine hangs nobody.

A function whose result some fixture or cache keeps may be called for one test and used by another: the second is then
not asked, which can only make a survivor of a mutant that all tests would kill.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

CPU_S = 4
"""What a test may take beyond five times what it took without a mutant."""
SLOW_S = 1.0
"""Tests that take longer with every call noted, about half of it without, are asked only about some modules."""
KILLERS = Path(".mutants") / "killers"
"""Where a process writes which test failed in it."""
Fate = str


class Swap(NamedTuple):
    """One function of a module, by its qualified name and first line, and the code it is to run."""

    name: str
    line: int
    code: CodeType


def patch(old: CodeType, new: CodeType, name: str = "") -> list[Swap] | None:
    """How to get from the module's old code to its new one by exchanging functions; None if that cannot be done."""
    if not _alike(old, new):
        return None
    swaps: list[Swap] = []
    for one, other in zip(old.co_consts, new.co_consts, strict=True):
        if not isinstance(one, CodeType):
            continue
        if _same(one, other):
            continue
        path = f"{name}.{one.co_name}" if name else one.co_name
        if one.co_flags & 0x2:  # CO_NEWLOCALS: a function, not the body of a class
            if one.co_name.startswith("<") or one.co_freevars != other.co_freevars:
                return None
            swaps.append(Swap(path, one.co_firstlineno, other))
        elif (inner := patch(one, other, path)) is None:
            return None
        else:
            swaps += inner
    return swaps


def _alike(old: CodeType, new: CodeType) -> bool:
    """Whether what is executed at import is the same, whatever the functions do that it defines."""
    return (old.co_code, old.co_names, old.co_varnames, len(old.co_consts)) == (
        new.co_code,
        new.co_names,
        new.co_varnames,
        len(new.co_consts),
    ) and all(
        isinstance(one, CodeType)
        if isinstance(other, CodeType)
        else (type(one), repr(one)) == (type(other), repr(other))
        for one, other in zip(old.co_consts, new.co_consts, strict=True)
    )


def _same(old: CodeType, new: CodeType) -> bool:
    return _alike(old, new) and all(
        _same(one, other) for one, other in zip(old.co_consts, new.co_consts, strict=True) if isinstance(one, CodeType)
    )


def function(module: Any, swap: Swap) -> FunctionType | None:
    """The function that the name stands for, under its decorators; None where it cannot be found."""
    found: Any = module
    for part in swap.name.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    seen = 0
    while found is not None and not isinstance(found, FunctionType) and (seen := seen + 1) < 5:
        for inside in ("__wrapped__", "__func__", "fget", "func"):
            if hasattr(found, inside):
                found = getattr(found, inside)
                break
        else:
            return None
    while hasattr(found, "__wrapped__"):
        found = found.__wrapped__
    right = isinstance(found, FunctionType) and found.__code__.co_firstlineno == swap.line
    return found if right else None


class Baseline(NamedTuple):
    """By test: CPU seconds, and the functions called as `path:line`."""

    seconds: dict[str, float]
    calls: dict[str, set[str]]

    def tests(self, functions: Iterable[str] | None, kills: Mapping[str, int], slow: bool = False) -> list[str]:
        """Those that call one of the functions (None: all): the likeliest to kill first, then the quickest.

        Without `slow` those are left out: they too could only turn a survivor into a kill.
        """
        wanted = None if functions is None else set(functions)
        found = [
            name
            for name, seconds in self.seconds.items()
            if (slow or seconds < SLOW_S) and (wanted is None or self.calls[name] & wanted)
        ]
        return sorted(found, key=lambda name: (-kills.get(name, 0), self.seconds[name], name))


class Failed(Exception):
    """A test did not pass."""


class Lab:
    """The pytest plugin: instead of running tests it hands the collected session to `work`."""

    def __init__(self, work: Callable[[Lab], None]) -> None:
        self._work = work
        self.items: dict[str, Any] = {}

    def pytest_runtestloop(self, session: Any) -> bool:
        self.items = {item.nodeid: item for item in session.items}
        self._work(self)
        return True

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            (KILLERS / str(os.getpid())).write_text(report.nodeid)
            sys.stdout.write(f"{report.nodeid}: {report.longreprtext[-2000:]}\n")
            sys.stdout.flush()
            os._exit(1)

    def run(self, names: list[str], usual_s: Mapping[str, float] | None = None) -> None:
        """The tests of these names in this process, which ends with code 1 at the first that fails.

        One that takes far more CPU than it usually does hangs: the process is ended by a timer of its own.
        """
        for name, after in zip(names, [*names[1:], None], strict=True):
            item = self.items[name]
            if usual_s is not None:
                signal.setitimer(signal.ITIMER_VIRTUAL, CPU_S + 5 * usual_s[name])
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=self.items.get(after or ""))

    def baseline(self, paths: dict[str, str]) -> Baseline:
        """Every test once, in this process. `paths`: file name of a module -> its path as the caller knows it."""
        seconds: dict[str, float] = {}
        calls: dict[str, set[str]] = {}
        for name in self.items:
            called: set[str] = set()

            def note(frame: Any, what: str, _: Any, called: set[str] = called) -> None:
                if what == "call" and (path := paths.get(frame.f_code.co_filename)):
                    called.add(f"{path}:{frame.f_code.co_firstlineno}")

            start = time.process_time()
            sys.setprofile(note)
            try:
                self.run([name])
            finally:
                sys.setprofile(None)
            seconds[name], calls[name] = time.process_time() - start, called
        return Baseline(seconds, calls)


def child(work: Callable[[], None], sink: Path) -> int:
    """Forks a process of its own group that does the work and ends with 0, or as the work ends it."""
    if pid := os.fork():
        return pid
    os.setsid()
    out = os.open(sink, os.O_WRONLY | os.O_CREAT | (0 if str(sink) == os.devnull else os.O_TRUNC))
    os.dup2(out, 1)
    os.dup2(out, 2)
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def fate(status: int) -> Fate:
    """What the end of a child says of its mutant."""
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGVTALRM:
        return "timeout"
    return "killed" if code else "survived"


def killer(pid: int) -> str:
    """The test that failed in that process, or nothing."""
    file = KILLERS / str(pid)
    if not file.exists():
        return ""
    name = file.read_text()
    file.unlink()
    return name


def save(baseline: Baseline, file: Path) -> None:
    file.write_text(json.dumps([baseline.seconds, {name: sorted(its) for name, its in baseline.calls.items()}]))


def load(file: Path) -> Baseline:
    seconds, calls = json.loads(file.read_text())
    return Baseline(seconds, {name: set(its) for name, its in calls.items()})
