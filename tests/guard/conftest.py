from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from monitor.testing.aave_v3_market import Version
from monitor.testing.anvil import AnvilProcess
from tests.guard.scene import POSITIONS, Scene, build, compiled
from tests.guard.switches import switched, unlocked


@pytest.fixture(scope="session")
def scenes() -> Iterator[Callable[[Version], Scene]]:
    """A market with a guard that every owner trusts, once per version, on an anvil of its own."""
    built: dict[Version, Scene] = {}
    with ExitStack() as stack:

        def of(version: Version) -> Scene:
            if version not in built:
                process = stack.enter_context(AnvilProcess())
                built[version] = _trusted(build(stack.enter_context(closing(process.chain())), version))
            return built[version]

        yield of


def _trusted(scene: Scene) -> Scene:
    for label in POSITIONS:
        scene.consent(label)
    return scene


@pytest.fixture
def scene(request: pytest.FixtureRequest, scenes: Callable[[Version], Scene]) -> Iterator[Scene]:
    """On Aave 3.0, or on the version that a test asks for."""
    with scenes(getattr(request, "param", "3.0")).undone() as fresh:
        yield fresh


@pytest.fixture(scope="session")
def built_with_switches(scenes: Callable[[Version], Scene]) -> Scene:
    return _trusted(scenes("3.0").with_guard(compiled(switched()[0])))


@pytest.fixture
def with_switches(built_with_switches: Scene) -> Iterator[Scene]:
    with built_with_switches.undone() as fresh:
        yield fresh


@pytest.fixture(scope="session")
def built_without_lock(scenes: Callable[[Version], Scene]) -> Scene:
    return _trusted(scenes("3.0").with_guard(compiled(unlocked())))


@pytest.fixture
def without_lock(built_without_lock: Scene) -> Iterator[Scene]:
    with built_without_lock.undone() as fresh:
        yield fresh
