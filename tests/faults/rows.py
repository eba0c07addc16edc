"""A row of the fault matrix is a scenario that must hold with every defence on, and must fail with its defence off.

`row` makes a scenario a test of one row, run twice, and puts it into the table. What a scenario gets goes by the names
of its parameters: `folder` a directory of its own, `off` the defence that is off (None: all on), `lab` an anvil with
proxies whose readers have that defence off already; every other name is a fixture. A scenario may be a coroutine.

Where the room under test has switches, `defence` is the name of one. A pure room has none: there `careless` takes the
place of what `defence` names as `module:attribute`, in the second run.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

OFF_WITHIN_S = 30.0
TESTS = Path(__file__).parents[1]
_OURS = frozenset({"off", "folder", "lab"})


@dataclass(frozen=True)
class Row:
    """One line of the table. `module` is the test file below tests/, without its ending."""

    row: str
    behaviour: str
    module: str
    test: str
    defence: str | None
    limit: str


ROWS: dict[tuple[str, str], Row] = {}
"""By module and test: the same one is the same line, however often its file is imported."""

Scenario = Callable[..., Any]


def declare(scenario: Scenario, name: str, behaviour: str, defence: str | None, limit: str) -> None:
    """Put a scenario into the table. Without a defence it runs once, and `limit` must say why."""
    if defence is None and not limit:
        raise AssertionError(f"{name} has neither a defence nor a limit")
    file = Path(scenario.__code__.co_filename).relative_to(TESTS).with_suffix("")
    made = Row(name, behaviour, file.as_posix(), scenario.__name__, defence, limit)
    ROWS[made.module, made.test] = made


def row(
    name: str, behaviour: str, defence: str | None = None, limit: str = "", *, careless: Any = None
) -> Callable[[Scenario], Any]:
    """Make a scenario the test of a row; `limit` says what it does not show, or why there is no second run."""

    def decorate(scenario: Scenario) -> Any:
        declare(scenario, name, behaviour, defence, limit)
        names = list(inspect.signature(scenario).parameters)
        needs_lab = "lab" in names
        test = _async_test(scenario, names, defence, careless) if inspect.iscoroutinefunction(scenario) else None
        test = test or _plain_test(scenario, names, defence, careless)
        test.__name__ = test.__qualname__ = scenario.__name__
        test.__module__ = scenario.__module__
        test.__doc__ = scenario.__doc__
        asked = ["without", *(["tmp_path"] if "folder" in names else []), *(n for n in names if n not in _OURS)]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        vars(test)["__signature__"] = inspect.Signature([inspect.Parameter(one, kind) for one in asked])
        offs = [None, _short(defence)] if defence else [None]
        test = pytest.mark.parametrize("without", offs, ids=str)(test)
        return pytest.mark.anvil(test) if needs_lab else test

    return decorate


def _short(defence: str) -> str:
    return defence.rpartition(":")[2]


def _plain_test(scenario: Scenario, names: list[str], defence: str | None, careless: Any) -> Scenario:
    def test(**given: Any) -> None:
        with _without(given["without"], defence, careless), _fails(given["without"]):
            scenario(**_arguments(names, given))

    return test


def _async_test(scenario: Scenario, names: list[str], defence: str | None, careless: Any) -> Scenario:
    async def test(**given: Any) -> None:
        off = given["without"]
        with _without(off, defence, careless):
            if "lab" not in names:
                await _run(scenario, _arguments(names, given), off)
                return
            from monitor.chain.defences import ALL
            from tests.faults.lab import open_lab

            async with open_lab(ALL.without(off) if off and careless is None else ALL) as lab:
                await _run(scenario, {**_arguments(names, given), "lab": lab}, off)

    return test


async def _run(scenario: Scenario, arguments: dict[str, Any], off: str | None) -> None:
    with _fails(off):
        async with asyncio.timeout(None if off is None else OFF_WITHIN_S):
            await scenario(**arguments)


def _arguments(names: list[str], given: dict[str, Any]) -> dict[str, Any]:
    ours = {"off": given["without"], "folder": given.get("tmp_path")}
    return {name: ours[name] if name in ours else given[name] for name in names if name != "lab"}


@contextmanager
def _fails(off: str | None) -> Iterator[None]:
    """With a defence off the scenario must end in an AssertionError, else it proves nothing."""
    if off is None:
        yield
        return
    with pytest.raises(AssertionError):
        yield


@contextmanager
def _without(off: str | None, defence: str | None, careless: Any) -> Iterator[None]:
    if off is None or careless is None or defence is None:
        yield
        return
    with patch(defence.replace(":", "."), careless):
        yield
