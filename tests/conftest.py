"""What every test shares: local markets as fixtures, and the same random examples in every run."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import settings

from tests import canaries

pytest_plugins = ["tests.localnet_fixtures"]

# a failure must be the same on every machine; scripts and nightly runs look for new examples
settings.register_profile("levmon", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("levmon")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that gives a secret away fails, whatever else it shows."""
    report = yield
    at_end = report.when == "teardown" and item.get_closest_marker("misplaces_secrets") is None
    folder = getattr(item, "funcargs", {}).get("tmp_path") if at_end else None
    if told := canaries.found(report.sections, report.longreprtext, folder):
        report.outcome = "failed"
        report.longrepr = "a secret was given away:\n" + "\n".join(told)
        report.sections = []
    return report
